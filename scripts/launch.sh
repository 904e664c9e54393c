# shellcheck shell=bash
# Shared by the launch scripts, which source it. It finds Python, checks the settings, keeps the recipe's number of clips
# per update on any number of GPUs, and runs fairseq. Each script's header lists its own settings; these hold for all:
#
#   NGPU          GPUs to use on this machine (default: every visible one; 0: the CPU)
#   NPROC         processes when running on the CPU (default 1)
#   BATCH_SIZE    clips per GPU and step (default: what keeps the recipe's clips per update)
#   CONFIG        another yaml: a name in config/ or a path
#   DRY_RUN=1     print the command instead of running it; NGPU is then taken as given
#   ASDA_USE_ACTIVE_ENV=1   run with the active environment's python instead of .venv's
#   NNODES, RDZV_ENDPOINT   several machines: their number, and host:port of one of them (the same on each)
#
# Arguments are hydra overrides, key=value, and win over everything else. Paths, in settings and in overrides, are
# relative to the current directory. The log of a run is SAVE_DIR/train.log.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }
die() {
  say "$*"
  exit 2
}

if [[ ${ASDA_USE_ACTIVE_ENV:-0} == 1 ]]; then
  PYTHON=${ASDA_PYTHON:-python}
elif [[ -x $ROOT/.venv/bin/python ]]; then
  PYTHON=$ROOT/.venv/bin/python
else
  PYTHON=python3
fi
"$PYTHON" -c 'import sys, importlib.util as u; sys.exit(not (u.find_spec("ASDA") and u.find_spec("torch")))' 2>/dev/null ||
  die "$PYTHON cannot import this project; run \"make setup\" in $ROOT first"

absolute() { if [[ $1 == /* ]]; then echo "$1"; else echo "$PWD/$1"; fi; }

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

# A value as hydra reads it back: plain where possible, else quoted.
hydra_value() {
  if [[ $1 =~ ^[A-Za-z0-9_./:@+-]*$ ]]; then echo "$1"; else echo "'${1//\'/\\\'}'"; fi
}

# override_of KEY OVERRIDE...: the last value given for the key, or nothing.
override_of() {
  local key=$1 override value=""
  shift
  for override in "$@"; do
    if [[ $override == "$key="* ]]; then value=${override#*=}; fi
  done
  echo "$value"
}

# Sets DEVICE (cuda or cpu) and PROCESSES (on this machine).
choose_device() {
  local visible
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
}

# plan_batch CLIPS_PER_UPDATE CLIPS_PER_GPU WORLD_SIZE OVERRIDE...: sets CLIPS (per process and step) and UPDATE_FREQ so
# that their product with the world size is the recipe's CLIPS_PER_UPDATE, with no more than CLIPS_PER_GPU on one GPU.
plan_batch() {
  local wanted=$1 most=$2 world=$3 least freq got summary
  shift 3
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

# launch CONFIG CLIPS_PER_UPDATE CLIPS_PER_GPU OVERRIDE...: trains with the yaml CONFIG, checkpoints into SAVE_DIR.
launch() {
  local config=${CONFIG:-$1} wanted=$2 most=$3 config_dir=$ROOT/config world nodes=${NNODES:-1}
  local save_dir command overrides
  shift 3
  if [[ $config == */* || $config == *.yaml ]]; then
    config=$(absolute "${config%.yaml}")
    config_dir=${config%/*}
    config=${config##*/}
  fi
  require SAVE_DIR "the folder for checkpoints and logs of this run; an interrupted run continues from it"
  save_dir=$(absolute "$SAVE_DIR")
  [[ -f $config_dir/$config.yaml ]] || die "CONFIG: $config_dir/$config.yaml does not exist"

  choose_device
  world=$((PROCESSES * nodes))
  plan_batch "$wanted" "$most" "$world" "$@"
  overrides=(
    "common.user_dir=$(hydra_value "$ROOT/ASDA")" "checkpoint.save_dir=$(hydra_value "$save_dir")"
    "hydra.job_logging.handlers.file.filename=$(hydra_value "$save_dir/train.log")"
    "dataset.batch_size=$CLIPS" "optimization.update_freq=[$UPDATE_FREQ]"
  )
  if [[ $DEVICE == cpu ]]; then overrides+=(common.cpu=true common.fp16=false); fi

  command=("$PYTHON" -m)
  if ((world > 1)); then
    command+=(torch.distributed.run "--nproc_per_node=$PROCESSES")
    if ((nodes > 1)); then
      require RDZV_ENDPOINT "host:port of one of the $nodes machines"
      command+=("--nnodes=$nodes" --rdzv_backend=c10d "--rdzv_endpoint=$RDZV_ENDPOINT" "--rdzv_id=${SLURM_JOB_ID:-asda}")
    else
      command+=(--standalone)
    fi
    command+=(-m)
    # Every rank reads the checkpoint itself: fairseq's broadcast of it cannot be unpickled with weights_only.
    overrides+=("distributed_training.distributed_world_size=$world" checkpoint.load_checkpoint_on_all_dp_ranks=true)
    # Without GPUs fairseq cannot work out the ranks from torchrun's environment, and its default wrapper wants a device.
    if [[ $DEVICE == cpu ]]; then
      overrides+=(
        distributed_training.distributed_backend=gloo distributed_training.ddp_backend=legacy_ddp
        distributed_training.distributed_init_method=env:// distributed_training.distributed_no_spawn=true
        "distributed_training.distributed_rank=\${oc.env:RANK}"
      )
    fi
  fi
  command+=(fairseq_cli.hydra_train --config-dir "$config_dir" --config-name "$config" "${overrides[@]}" "$@")

  if [[ ${DRY_RUN:-0} == 1 ]]; then
    printf 'mkdir -p %q &&' "$save_dir"
    printf ' %q' "${command[@]}"
    echo
  else
    mkdir -p "$save_dir"
    "${command[@]}"
  fi
}

# finetune RECIPE CLIPS_PER_UPDATE OVERRIDE...: fine-tunes CHECKPOINT on DATA with config/recipe/RECIPE.yaml ("" for
# finetuning.yaml as it stands). The recipes' clips per update fit on one GPU.
finetune() {
  local recipe=$1 clips_per_update=$2
  shift 2
  require_path DATA "a folder with train and eval manifests" {train,eval}.{tsv,lbl} label_descriptors.csv
  require_path CHECKPOINT "a pre-trained checkpoint"
  launch finetuning "$clips_per_update" "$clips_per_update" ${recipe:+"+recipe=$recipe"} \
    "task.data=$(hydra_value "$DATA")" "model.model_path=$(hydra_value "$CHECKPOINT")" "$@"
}

# finetune_folds NUMBER RECIPE CLIPS_PER_UPDATE OVERRIDE...: one run for each fold of FOLDS (default: 1 to NUMBER), from
# DATA/foldK into SAVE_DIR/foldK, then the mean over them.
finetune_folds() {
  local number=$1 fold folds save_dir data
  shift
  require DATA "a folder with fold1 to fold$number, each with train and eval manifests"
  require SAVE_DIR "the folder for the runs; each fold gets a folder in it"
  data=$DATA save_dir=$SAVE_DIR
  read -ra folds <<<"${FOLDS:-$(seq -s ' ' "$number")}"
  for fold in "${folds[@]}"; do
    say "fold $fold of $number"
    DATA=$data/fold$fold SAVE_DIR=$save_dir/fold$fold finetune "$@"
  done
  if [[ ${DRY_RUN:-0} != 1 ]]; then
    "$PYTHON" "$ROOT/scripts/summarise_folds.py" "${folds[@]/#/$save_dir/fold}"
  fi
}
