#!/usr/bin/env bash
# Manifests of UrbanSound8K: fold1 to fold10, each with {train,eval}.{tsv,lbl} and label_descriptors.csv.
#
# Settings (environment variables):
#   DATASET      the unpacked UrbanSound8K, with audio/ and metadata/UrbanSound8K.csv (required)
#   DATA         folder for the manifests; the DATA of scripts/finetune.sh UrbanSound8K (required)
#   DRY_RUN=1    print the command instead of running it
# Arguments go to `asda-manifest urbansound8k`, for example --overwrite; `asda-manifest urbansound8k --help` lists them.
#
# DATASET=/downloads/UrbanSound8K DATA=/data/urbansound8k scripts/prepare_urbansound8k.sh
source "$(dirname "${BASH_SOURCE[0]}")/prepare.sh"

prepare urbansound8k "the unpacked UrbanSound8K, with audio/ and metadata/UrbanSound8K.csv" "$@"
