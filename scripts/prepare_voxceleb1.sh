#!/usr/bin/env bash
# Manifests of VoxCeleb1 for speaker identification: {train,valid,eval}.{tsv,lbl} and label_descriptors.csv, by iden_split.txt.
#
# Settings (environment variables):
#   DATASET      the unpacked data set: wav/idXXXXX/VIDEO/NNNNN.wav (or dev/wav and test/wav), with iden_split.txt (required)
#   DATA         folder for the manifests; the DATA of scripts/finetune.sh MAE_AST_VoxCeleb1 (required)
#   DRY_RUN=1    print the command instead of running it
# Arguments go to `asda-manifest voxceleb1`, for example --list iden_split.txt; `asda-manifest voxceleb1 --help` lists them.
#
# DATASET=/downloads/voxceleb1 DATA=/data/voxceleb1 scripts/prepare_voxceleb1.sh
source "$(dirname "${BASH_SOURCE[0]}")/prepare.sh"

prepare voxceleb1 "the unpacked VoxCeleb1: folders of speakers in wav/, or in dev/wav and test/wav" "$@"
