#!/usr/bin/env bash
# Fine-tune on data of your own, or with a recipe of config/recipe; of a data set that is published in folds all of them,
# with their mean.
#
#   DATA=/data/mine CHECKPOINT=/runs/asda/checkpoint_last.pt SAVE_DIR=/runs/mine scripts/finetune.sh [key=value ...]
#   DATA=/data/esc50 CHECKPOINT=/runs/asda/checkpoint_last.pt SAVE_DIR=/runs/esc50 scripts/finetune.sh ESC50 [key=value ...]
#
# DATA may also stand first, as a folder. --help lists the settings, recipes and examples; --plan says what would happen.
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

if (($# > 0)) && [[ $1 == */* && -d $1 ]]; then
  export DATA=$1
  shift
fi
if [[ ${1:-=} == [-+]* || ${1:-=} == *=* ]] && [[ " $*" != *" +recipe="* && " $*" != *" ++recipe="* ]]; then
  set -- own_data "$@"
fi
exec "$PYTHON" -m ASDA.cli.train --program "$0" finetuning "$@"
