#!/usr/bin/env bash
# Pre-train ASDA on unlabelled audio, by default with the AudioSet-2M recipe: 800k updates of 48 clips.
#
# Settings (environment variables):
#   DATA         folder with train.tsv (required)
#   SAVE_DIR     folder for checkpoints and logs; an interrupted run continues from it (required)
#   NGPU, NPROC, BATCH_SIZE, CONFIG, DRY_RUN, ...: see scripts/launch.sh
# Arguments are hydra overrides of config/pretraining_AS2M.yaml, for example model.diff_lambda=0.1
#
# DATA=/data/audioset SAVE_DIR=/runs/asda ./pretraining_AS2M.sh
source "$(dirname "${BASH_SOURCE[0]}")/scripts/launch.sh"

EXEC=exec pretrain pretraining_AS2M 48 12 "$@"
