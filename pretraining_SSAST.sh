#!/usr/bin/env bash
# Pre-train SSAST on unlabelled audio, by default its patch model: 800k updates of 24 clips.
#
#   DATA=/data/audioset SAVE_DIR=/runs/ssast ./pretraining_SSAST.sh [RECIPE ...] [key=value ...]
#
# --help lists the settings, recipes and examples.
source "$(dirname "${BASH_SOURCE[0]}")/scripts/environment.sh"

exec "$PYTHON" -m ASDA.cli.train --program "$0" pretraining_SSAST "$@"
