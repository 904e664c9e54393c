# shellcheck shell=bash
# Shared by what trains small models on this machine in minutes, which source it: the demo, and the benchmarks that ask
# whether learning is real. Settings of these scripts:
#
#   TARGET_LENGTH  length of a clip in frames of 10 ms, a multiple of 16 (default 256); longer clips are cut at random
#   PRETRAINING_UPDATES, FINETUNING_UPDATES   for a shorter or longer run (default: as in config/recipe/demo_*.yaml)
source "$(dirname "${BASH_SOURCE[0]}")/help.sh"
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

TARGET_LENGTH=${TARGET_LENGTH:-256}

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
      -e 's/.*\.run_report\]\[INFO\] - ((update|getting ready) .*)/  \1/p' \
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

# train_small CONFIG RECIPE UPDATES OVERRIDE...: a run on DATA into SAVE_DIR; of so many updates, or the recipe's.
# shellcheck disable=SC2046
train_small() {
  local config=$1 recipe=$2 updates=$3
  shift 3
  DATA=$DATA SAVE_DIR=$SAVE_DIR CHECKPOINT=${CHECKPOINT:-} show_progress "$PYTHON" -m ASDA.cli.train --program "$0" \
    "$config" "$recipe" "${front_end[@]}" $(shorter "$updates") "$@"
}

# pretrain_small OVERRIDE...: pre-trains on DATA into SAVE_DIR.
# finetune_small OVERRIDE...: fine-tunes CHECKPOINT on DATA, or with FOLDS on its folds, into SAVE_DIR.
pretrain_small() { train_small pretraining_AS2M demo_pretraining "${PRETRAINING_UPDATES:-}" "$@"; }
finetune_small() { train_small finetuning demo_finetuning "${FINETUNING_UPDATES:-}" "$@"; }

# num_classes LABEL_TABLE
num_classes() { grep -cE '^[0-9]' "$1"; }
