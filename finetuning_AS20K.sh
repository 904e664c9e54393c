#!/usr/bin/env bash
# Fine-tune on AudioSet-20K: multi-label, 60k updates of 32 clips.
#
#   DATA=/data/as20k CHECKPOINT=/runs/asda/checkpoint_last.pt SAVE_DIR=/runs/as20k ./finetuning_AS20K.sh [key=value ...]
#
# --help lists the settings, recipes and examples. Other data sets: scripts/finetune.sh.
source "$(dirname "${BASH_SOURCE[0]}")/scripts/environment.sh"

exec "$PYTHON" -m ASDA.cli.train --program "$0" finetuning AS20K "$@"
