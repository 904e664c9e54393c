#!/usr/bin/env bash
# Pre-train MAE-AST on unlabelled audio, by default its 12-layer patch model: 550k updates of 32 clips.
#
#   DATA=/data/audioset:/data/librispeech SAVE_DIR=/runs/mae_ast ./pretraining_MAE_AST.sh [RECIPE ...] [key=value ...]
#
# --help lists the settings, recipes and examples.
source "$(dirname "${BASH_SOURCE[0]}")/scripts/environment.sh"

exec "$PYTHON" -m ASDA.cli.train --program "$0" pretraining_MAE_AST "$@"
