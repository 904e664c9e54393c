#!/usr/bin/env bash
# Manifests of ESC-50: fold1 to fold5, each with {train,eval}.{tsv,lbl} and label_descriptors.csv.
#
# Settings (environment variables):
#   DATASET      the unpacked ESC-50-master, with audio/ and meta/esc50.csv (required)
#   DATA         folder for the manifests; the DATA of scripts/finetune.sh ESC50 (required)
#   DRY_RUN=1    print the command instead of running it
# Arguments go to `asda-manifest esc50`, for example --overwrite; `asda-manifest esc50 --help` lists them.
#
# DATASET=/downloads/ESC-50-master DATA=/data/esc50 scripts/prepare_esc50.sh
source "$(dirname "${BASH_SOURCE[0]}")/prepare.sh"

prepare esc50 "the unpacked ESC-50-master, with audio/ and meta/esc50.csv" "$@"
