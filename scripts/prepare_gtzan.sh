#!/usr/bin/env bash
# Manifests of GTZAN: {train,valid,eval}.{tsv,lbl} and label_descriptors.csv, by the fault-filtered lists
# ({train,valid,test}_filtered.txt) if they lie in DATASET or --lists names their folder; else divided at random.
#
# Settings (environment variables):
#   DATASET      the unpacked data set, with genres/ or genres_original/ (required)
#   DATA         folder for the manifests; the DATA of the fine-tuning script (required)
#   DRY_RUN=1    print the command instead of running it
# Arguments go to `asda-manifest gtzan`, for example --lists DIR; `asda-manifest gtzan --help` lists them.
#
# DATASET=/downloads/gtzan DATA=/data/gtzan scripts/prepare_gtzan.sh
source "$(dirname "${BASH_SOURCE[0]}")/prepare.sh"

prepare gtzan "the unpacked GTZAN, with genres/ or genres_original/" "$@"
