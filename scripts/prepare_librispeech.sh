#!/usr/bin/env bash
# Manifests of LibriSpeech for pre-training, without labels: train.tsv of all train-* subsets that are there (960 h), and
# one for each other subset, such as dev-clean.tsv.
#
# Settings (environment variables):
#   DATASET      the unpacked LibriSpeech, with a folder for each subset (required)
#   DATA         folder for the manifests; the DATA of the pre-training scripts (required)
#   DRY_RUN=1    print the command instead of running it
# Arguments go to `asda-manifest librispeech`, for example --subsets train-clean-100; `asda-manifest librispeech --help` lists them.
#
# DATASET=/downloads/LibriSpeech DATA=/data/librispeech scripts/prepare_librispeech.sh
source "$(dirname "${BASH_SOURCE[0]}")/prepare.sh"

prepare librispeech "the unpacked LibriSpeech, with a folder for each subset" "$@"
