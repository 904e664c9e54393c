#!/usr/bin/env bash
# Pre-train ASDA on unlabelled audio, by default with the AudioSet-2M recipe: 800k updates of 48 clips.
#
#   DATA=/data/audioset SAVE_DIR=/runs/asda ./pretraining_AS2M.sh [RECIPE ...] [key=value ...]
#
# --help lists the settings, recipes and examples.
source "$(dirname "${BASH_SOURCE[0]}")/scripts/environment.sh"

exec "$PYTHON" -m ASDA.cli.train --program "$0" pretraining_AS2M "$@"
