#!/usr/bin/env bash
# Manifests of OpenMIC-2018: {train,eval}.{tsv,lbl} and label_descriptors.csv, by its split01. The labels are partial: a
# third column names the instruments that a clip was judged not to have.
#
# Settings (environment variables):
#   DATASET      the unpacked openmic-2018, with audio/, partitions/ and openmic-2018.npz (required)
#   DATA         folder for the manifests; the DATA of the fine-tuning script (required)
#   DRY_RUN=1    print the command instead of running it
# Arguments go to `asda-manifest openmic`, for example --hold-out valid=0.1; `asda-manifest openmic --help` lists them.
#
# DATASET=/downloads/openmic-2018 DATA=/data/openmic scripts/prepare_openmic.sh
source "$(dirname "${BASH_SOURCE[0]}")/prepare.sh"

prepare openmic "the unpacked openmic-2018, with audio/, partitions/ and openmic-2018.npz" "$@"
