# shellcheck shell=bash
# Shared by what trains small models on this machine in minutes, which source it: the demo, and the benchmarks that ask
# whether learning is real. Settings of these scripts:
#
#   TARGET_LENGTH  length of a clip in frames of 10 ms, a multiple of 16 (default 256); longer clips are cut at random
#   PRETRAINING_UPDATES, FINETUNING_UPDATES   for a shorter or longer run (default: as in config/recipe/demo_*.yaml)
source "$(dirname "${BASH_SOURCE[0]}")/launch.sh"

TARGET_LENGTH=${TARGET_LENGTH:-256}
export PYTHONWARNINGS=ignore # of fairseq and hydra, about their own old calls

# measure_front_end MANIFEST: the overrides that depend on the corpus, into the array `front_end`.
measure_front_end() {
  local statistics
  statistics=$("$PYTHON" -m ASDA.cli.manifest stats "$1" --target-length "$TARGET_LENGTH" | tail -n 1)
  read -ra front_end <<<"$statistics task.target_length=$TARGET_LENGTH"
  say "${front_end[*]}"
}

# show_progress COMMAND...: a training run. On a terminal it draws its own bar; elsewhere its log is cut down to a few words.
# The whole log is in the run's folder.
show_progress() {
  if [[ -t 2 ]]; then
    "$@" >/dev/null
  else
    "$@" | sed -u -nE -e 's/.*\[train_inner\].*"loss": "([^"]*)".*"num_updates": "([^"]*)".*/  update \2: loss \1/p' \
      -e 's/.*\[(valid|eval)\].*"\1_(mAP|accuracy)": "([^"]*)".*/  validation: \2 \3/p' >&2
  fi
}

# shorter UPDATES: overrides for a run of so many updates; none when UPDATES is empty.
shorter() {
  if [[ -n $1 ]]; then
    echo "optimization.max_update=$1" "optimizer.groups.default.lr_scheduler.warmup_updates=$(($1 / 10))" \
      "common.log_interval=$(($1 / 100 + 1))"
  fi
}

# pretrain_small OVERRIDE...: pre-trains on DATA into SAVE_DIR.
# finetune_small OVERRIDE..., finetune_folds_small OVERRIDE...: fine-tune CHECKPOINT on DATA, or its five folds.
# shellcheck disable=SC2046
pretrain_small() {
  show_progress pretrain pretraining_AS2M 8 8 +recipe=demo_pretraining "${front_end[@]}" \
    $(shorter "${PRETRAINING_UPDATES:-}") "$@"
}
# shellcheck disable=SC2046
finetune_small() {
  show_progress finetune demo_finetuning 16 "${front_end[@]}" $(shorter "${FINETUNING_UPDATES:-}") "$@"
}
# shellcheck disable=SC2046
finetune_folds_small() {
  show_progress finetune_folds 5 demo_finetuning 16 "${front_end[@]}" $(shorter "${FINETUNING_UPDATES:-}") "$@"
}

# num_classes LABEL_TABLE
num_classes() { grep -cE '^[0-9]' "$1"; }
