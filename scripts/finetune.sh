#!/usr/bin/env bash
# Fine-tune with a recipe of config/recipe; of a data set that is published in folds all of them, with their mean.
#
#   DATA=/data/esc50 CHECKPOINT=/runs/asda/checkpoint_last.pt SAVE_DIR=/runs/esc50 scripts/finetune.sh ESC50 [key=value ...]
#
# --help lists the settings, recipes and examples.
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

if (($# == 0)) || [[ $1 == *=* ]]; then die "name a recipe first, as in ${0##*/} ESC50; --help lists them"; fi
exec "$PYTHON" -m ASDA.cli.train --program "$0" finetuning "$@"
