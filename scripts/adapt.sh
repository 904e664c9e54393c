#!/usr/bin/env bash
# Adapt a trained encoder to one of AAT's tasks (arXiv 2401.10544) with several methods, one after the other, each into
# SAVE_DIR/METHOD; of a data set that is published in folds all of them, with their mean.
#
#   DATA=/data/esc50 CHECKPOINT=/models/ast SAVE_DIR=/runs/esc50 scripts/adapt.sh ESC50 [RECIPE ...] [key=value ...]
#
# The tasks are ESC50, UrbanSound8K, SPCv1 (30 words), SPCv2, OpenMIC and GTZAN: config/recipe/AAT_TASK.yaml. From SSAST name
# the recipe SSAST_overlap behind the task, from an encoder without CLS mean_pooling. `asda-runs SAVE_DIR/*` compares.
#
# Settings (environment variables): those of scripts/finetune.sh (DATA, CHECKPOINT, SAVE_DIR, FOLDS, NGPU, DRY_RUN, ...), and
#   METHODS   what model.adaptation gets, in turn (default: AAT's comparison, "aat aat_m head last_blocks prompts all");
#             "aat,lora" is one run with both, in SAVE_DIR/aat+lora
source "$(dirname "${BASH_SOURCE[0]}")/help.sh"
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

[[ ${1:--} =~ ^[A-Za-z0-9_]+$ ]] || die "name a task first: ESC50, UrbanSound8K, SPCv1, SPCv2, OpenMIC or GTZAN"
[[ -n ${SAVE_DIR:-} ]] || die "set SAVE_DIR: the folder for the runs; each method gets a folder in it"
task=$1
shift

recipes=("AAT_$task") # these stand before overrides
while (($# > 0)) && [[ $1 =~ ^[A-Za-z0-9_,]+$ ]]; do
  recipes+=("$1")
  shift
done

for method in ${METHODS:-aat aat_m head last_blocks prompts all}; do
  overrides=("model.adaptation=[$method]")
  if [[ "$task $method" == "ESC50 all" ]]; then # the one task for which the paper has other numbers with all weights
    overrides+=("optimization.lr=[0.00001]" task.clips_per_update=48)
  fi
  say "$task: $method"
  SAVE_DIR=$SAVE_DIR/${method//,/+} "$ROOT/scripts/finetune.sh" "${recipes[@]}" "${overrides[@]}" "$@"
done
