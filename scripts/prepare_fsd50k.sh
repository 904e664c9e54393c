#!/usr/bin/env bash
# Manifests of FSD50K: {train,valid,eval}.{tsv,lbl} and label_descriptors.csv, by the published division.
#
# Settings (environment variables):
#   DATASET      folder with FSD50K.dev_audio, FSD50K.eval_audio and FSD50K.ground_truth (required)
#   DATA         folder for the manifests; the DATA of scripts/finetune.sh FSD50K (required)
#   DRY_RUN=1    print the command instead of running it
# Arguments go to `asda-manifest fsd50k`, for example --overwrite; `asda-manifest fsd50k --help` lists them.
#
# DATASET=/downloads/FSD50K DATA=/data/fsd50k scripts/prepare_fsd50k.sh
source "$(dirname "${BASH_SOURCE[0]}")/prepare.sh"

prepare fsd50k "the folder with FSD50K.dev_audio, FSD50K.eval_audio and FSD50K.ground_truth" "$@"
