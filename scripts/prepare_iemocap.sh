#!/usr/bin/env bash
# Manifests of IEMOCAP with four emotions: fold1 to fold5, each with {train,eval}.{tsv,lbl} and label_descriptors.csv.
#
# Settings (environment variables):
#   DATASET      the unpacked IEMOCAP_full_release, with Session1 to Session5 (required)
#   DATA         folder for the manifests; the DATA of scripts/finetune.sh MAE_AST_IEMOCAP (required)
#   DRY_RUN=1    print the command instead of running it
# Arguments go to `asda-manifest iemocap`, for example --overwrite; `asda-manifest iemocap --help` lists them.
#
# DATASET=/downloads/IEMOCAP_full_release DATA=/data/iemocap scripts/prepare_iemocap.sh
source "$(dirname "${BASH_SOURCE[0]}")/prepare.sh"

prepare iemocap "the unpacked IEMOCAP_full_release, with Session1 to Session5" "$@"
