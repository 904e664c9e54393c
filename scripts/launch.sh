# shellcheck shell=bash
# Shared by the launch scripts, which source it. It finds Python, checks the settings, keeps the recipe's number of clips
# per update on any number of GPUs, and runs fairseq. Each script's header lists its own settings; these hold for all:
#
#   NGPU          GPUs to use on this machine (default: every visible one; 0: the CPU)
#   NPROC         processes when running on the CPU (default 1)
#   BATCH_SIZE    clips per GPU and step (default: what keeps the recipe's clips per update)
#   CONFIG        another yaml: a name in config/ or a path
#   DRY_RUN=1     print the command instead of running it; NGPU is then taken as given
#   NNODES, RDZV_ENDPOINT   several machines: their number, and host:port of one of them (the same on each)
#
# Arguments are hydra overrides, key=value, and win over everything else. Paths, in settings and in overrides, are
# relative to the current directory. The log of a run is SAVE_DIR/train.log.
#
# DATA has to hold the splits that the run uses, {split}.tsv and with labels {split}.lbl: train, and those of
# dataset.valid_subset, which some recipes set to valid,eval. dataset.valid_subset=eval does without valid.
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

# require NAME MEANING: the setting has to be given.
require() { [[ -n ${!1:-} ]] || die "set $1: $2"; }

# require_path NAME MEANING [FILE...]: the setting is a path, made absolute; it, or the files under it, have to exist.
require_path() {
  local name=$1 meaning=$2 path
  shift 2
  require "$name" "$meaning"
  printf -v "$name" '%s' "$(absolute "${!name}")"
  [[ ${DRY_RUN:-0} != 1 ]] || return 0
  for path in "${@/#/${!name}/}" "${!name}"; do
    [[ -e $path ]] || die "$name: $path does not exist; it has to be $meaning"
  done
}

# "exec" where nothing follows the training: signals that ask it to stop then reach it instead of this shell.
EXEC=""
SAVE_DIR_MEANING="the folder for checkpoints and logs of the run; an interrupted run continues from it"

# A value as hydra reads it back: plain where possible, else quoted.
hydra_value() {
  if [[ $1 =~ ^[A-Za-z0-9_./:@+-]*$ ]]; then echo "$1"; else echo "'${1//\'/\\\'}'"; fi
}

# override_of KEY OVERRIDE...: the last value given for the key, or nothing. key=, +key= and ++key= are the same here.
override_of() {
  local key=$1 override value=""
  shift
  for override in "$@"; do
    if [[ $override == ?(+)?(+)"$key="* ]]; then value=${override#*=}; fi
  done
  echo "$value"
}

# setting_of SECTION.KEY RECIPE OVERRIDE...: what the run will have for a key: the override's value, else the recipe's,
# else that of CONFIG_FILE; nothing when none of them says so in a line of its own. This is a look at their text:
# composing them takes as long as starting the run.
setting_of() {
  local key=${1#*.} name=$1 recipe=$2 file found value=""
  shift 2
  recipe=$(override_of recipe "recipe=$recipe" "$@")
  for file in "$CONFIG_FILE" "${CONFIG_FILE%/*}/recipe/$recipe.yaml"; do
    if [[ -f $file ]]; then
      found=$(sed -nE "s/^ +$key: *[\"']?([^\"'# ]+).*/\1/p" "$file" | tail -n 1)
      value=${found:-$value}
    fi
  done
  found=$(override_of "$name" "$@")
  echo "${found:-$value}" | tr -d "\"'"
}

# find_splits RECIPE OVERRIDE...: sets SPLITS, the splits that the run will train and validate on, and VALID_SUBSET, the
# latter as the run's configuration has them. What cannot be found out is left to the run itself.
find_splits() {
  local train
  VALID_SUBSET=$(setting_of dataset.valid_subset "$@")
  if [[ $(setting_of dataset.disable_validation "$@") == [Tt]rue ]]; then VALID_SUBSET=""; fi
  train=$(setting_of dataset.train_subset "$@")
  IFS=, read -ra SPLITS <<<"${train:-train},$VALID_SUBSET"
}

# Sets DEVICE (cuda or cpu), PROCESSES (on this machine), WORLD_SIZE (on all) and RENDEZVOUS (torchrun's arguments).
choose_device() {
  local visible nodes=${NNODES:-1}
  if [[ ${NGPU:-} == 0 ]]; then
    visible=0
  elif [[ ${DRY_RUN:-0} == 1 && -n ${NGPU:-} ]]; then
    visible=$NGPU
  else
    visible=$("$PYTHON" -c 'import torch; print(torch.cuda.device_count())')
  fi
  if ((visible == 0)); then
    DEVICE=cpu
    PROCESSES=${NPROC:-1}
    say "no GPU: running on the CPU in full precision"
  else
    DEVICE=cuda
    PROCESSES=${NGPU:-$visible}
    ((PROCESSES <= visible)) || die "NGPU=$PROCESSES, but only $visible are visible"
  fi
  WORLD_SIZE=$((PROCESSES * nodes))
  RENDEZVOUS=(--standalone)
  if ((nodes > 1)); then
    require RDZV_ENDPOINT "host:port of one of the $nodes machines"
    RENDEZVOUS=("--nnodes=$nodes" --rdzv_backend=c10d "--rdzv_endpoint=$RDZV_ENDPOINT" "--rdzv_id=${SLURM_JOB_ID:-asda}")
  fi
}

# plan_batch CLIPS_PER_UPDATE CLIPS_PER_GPU OVERRIDE...: sets CLIPS (per process and step) and UPDATE_FREQ so that their
# product with the number of processes is the recipe's CLIPS_PER_UPDATE, with no more than CLIPS_PER_GPU on one GPU.
plan_batch() {
  local wanted=$1 most=$2 world=$WORLD_SIZE least freq got summary
  shift 2
  CLIPS=$(override_of dataset.batch_size "$@")
  CLIPS=${CLIPS:-${BATCH_SIZE:-}}
  UPDATE_FREQ=$(override_of optimization.update_freq "$@" | tr -d '[] ')
  if [[ -z $UPDATE_FREQ && -n $CLIPS ]]; then
    UPDATE_FREQ=$(rounded "$wanted" $((world * CLIPS)))
  elif [[ -z $UPDATE_FREQ ]]; then
    least=$(((wanted + world * most - 1) / (world * most)))
    UPDATE_FREQ=$least
    for ((freq = least; freq <= 3 * least; freq++)); do
      if ((wanted % (world * freq) == 0)); then
        UPDATE_FREQ=$freq
        break
      fi
    done
  fi
  CLIPS=${CLIPS:-$(rounded "$wanted" $((world * UPDATE_FREQ)))}
  got=$((CLIPS * world * UPDATE_FREQ))
  summary="$CLIPS clips x $world $(if [[ $DEVICE == cpu ]]; then echo processes; else echo GPUs; fi) x update_freq"
  summary+=" $UPDATE_FREQ = $got clips per update"
  if ((got == wanted)); then
    say "$summary, as in the recipe"
  else
    say "warning: $summary; the recipe's learning rate and number of updates are for $wanted"
  fi
}

# rounded A B: A / B, rounded, at least 1.
rounded() { echo $(($1 < $2 ? 1 : ($1 + $2 / 2) / $2)); }

# choose_config DEFAULT: sets CONFIG_FILE, the yaml to train with.
choose_config() {
  CONFIG_FILE=${CONFIG:-$1}
  if [[ $CONFIG_FILE == */* || $CONFIG_FILE == *.yaml ]]; then
    CONFIG_FILE=$(absolute "${CONFIG_FILE%.yaml}.yaml")
  else
    CONFIG_FILE=$ROOT/config/$CONFIG_FILE.yaml
  fi
  [[ -f $CONFIG_FILE ]] || die "CONFIG: $CONFIG_FILE does not exist"
}

# run_fairseq OVERRIDE...: trains with what choose_config, choose_device and plan_batch chose; checkpoints in SAVE_DIR.
run_fairseq() {
  local save_dir command overrides
  save_dir=$(absolute "$SAVE_DIR")
  overrides=(
    "common.user_dir=$(hydra_value "$ROOT/ASDA")" "checkpoint.save_dir=$(hydra_value "$save_dir")"
    "hydra.job_logging.handlers.file.filename=$(hydra_value "$save_dir/train.log")"
    "dataset.batch_size=$CLIPS" "optimization.update_freq=[$UPDATE_FREQ]"
  )
  if [[ $DEVICE == cpu ]]; then overrides+=(common.cpu=true common.fp16=false); fi

  command=("$PYTHON" -m)
  if ((WORLD_SIZE > 1)); then
    command+=(ASDA.launch.torchrun "--nproc_per_node=$PROCESSES" "${RENDEZVOUS[@]}" -m)
    # Every rank reads the checkpoint itself: fairseq's broadcast of it cannot be unpickled with weights_only.
    overrides+=("distributed_training.distributed_world_size=$WORLD_SIZE" checkpoint.load_checkpoint_on_all_dp_ranks=true)
    # Without GPUs fairseq cannot work out the ranks from torchrun's environment, and its default wrapper wants a device.
    if [[ $DEVICE == cpu ]]; then
      overrides+=(
        distributed_training.distributed_backend=gloo distributed_training.ddp_backend=legacy_ddp
        distributed_training.distributed_init_method=env:// distributed_training.distributed_no_spawn=true
        "distributed_training.distributed_rank=\${oc.env:RANK}"
      )
    fi
  fi
  command+=(fairseq_cli.hydra_train --config-dir "${CONFIG_FILE%/*}" --config-name "$(basename "$CONFIG_FILE" .yaml)"
    "${overrides[@]}" "$@")

  if [[ ${DRY_RUN:-0} == 1 ]]; then
    printf 'mkdir -p %q &&' "$save_dir"
    printf ' %q' "${command[@]}"
    echo
  else
    mkdir -p "$save_dir" && [[ -w $save_dir ]] || die "SAVE_DIR: $save_dir cannot be written to"
    $EXEC "${command[@]}"
  fi
}

# pretrain CONFIG CLIPS_PER_UPDATE CLIPS_PER_GPU OVERRIDE...: pre-trains on DATA. The utterance loss is a sum over the
# clips of a step: cls_loss_clips gives it the weight that it has with CLIPS_PER_GPU of them, whatever their number here.
pretrain() {
  local clips_per_gpu=$3
  require DATA "a folder with train.tsv"
  choose_config "$1"
  find_splits "" "${@:4}"
  require_path DATA "a folder with train.tsv" "${SPLITS[@]/%/.tsv}"
  require SAVE_DIR "$SAVE_DIR_MEANING"
  choose_device
  plan_batch "${@:2}"
  shift 3
  run_fairseq "task.data=$(hydra_value "$DATA")" "model.cls_loss_clips=$clips_per_gpu" "$@"
}

# finetune RECIPE CLIPS_PER_UPDATE OVERRIDE...: fine-tunes CHECKPOINT on DATA with config/recipe/RECIPE.yaml ("" for
# finetuning.yaml as it stands). The recipes' clips per update fit on one GPU.
finetune() {
  local recipe=$1 clips_per_update=$2 meaning labels classes files
  shift 2
  require DATA "a folder with manifests, labels and label_descriptors.csv"
  choose_config finetuning
  find_splits "$recipe" "$@"
  labels=$(setting_of task.labels "$recipe" "$@")
  classes=$(setting_of task.label_descriptors "$recipe" "$@")
  labels=${labels:-lbl} classes=${classes:-label_descriptors.csv} # the task's defaults
  files=("${SPLITS[@]/%/.tsv}" "${SPLITS[@]/%/.$labels}")
  if [[ $classes != /* ]]; then files+=("$classes"); fi
  meaning="a folder with $classes and tsv and $labels files of the splits ${SPLITS[*]}"
  if [[ $VALID_SUBSET != "" && $VALID_SUBSET != eval ]]; then
    meaning+=" (dataset.valid_subset=$VALID_SUBSET; dataset.valid_subset=eval needs train and eval only)"
  fi
  require_path DATA "$meaning" "${files[@]}"
  require_path CHECKPOINT "a pre-trained checkpoint"
  require SAVE_DIR "$SAVE_DIR_MEANING"
  choose_device
  plan_batch "$clips_per_update" "$clips_per_update" "$@"
  run_fairseq ${recipe:+"+recipe=$recipe"} "task.data=$(hydra_value "$DATA")" \
    "model.model_path=$(hydra_value "$CHECKPOINT")" "$@"
}

# finetune_folds NUMBER RECIPE CLIPS_PER_UPDATE OVERRIDE...: one run for each fold of FOLDS (default: 1 to NUMBER), from
# DATA/foldK into SAVE_DIR/foldK, then the mean over them.
finetune_folds() {
  local number=$1 fold folds save_dir data
  shift
  require DATA "a folder with fold1 to fold$number, each with train and eval manifests"
  require SAVE_DIR "the folder for the runs; each fold gets a folder in it"
  data=$DATA save_dir=$SAVE_DIR
  trap : TERM USR1 INT # sent to the whole group: stay until the run has saved; its exit code then ends this script
  read -ra folds <<<"${FOLDS:-$(seq -s ' ' "$number")}"
  for fold in "${folds[@]}"; do
    say "fold $fold of $number"
    DATA=$data/fold$fold SAVE_DIR=$save_dir/fold$fold finetune "$@"
  done
  if [[ ${DRY_RUN:-0} != 1 ]]; then
    "$PYTHON" "$ROOT/scripts/summarise_folds.py" "${folds[@]/#/$save_dir/fold}"
  fi
}
