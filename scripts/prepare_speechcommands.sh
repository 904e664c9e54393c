#!/usr/bin/env bash
# Manifests of Speech Commands: {train,valid,eval}.{tsv,lbl} and label_descriptors.csv, by the official lists.
#
# Settings (environment variables):
#   DATASET      the unpacked data set: a folder per word, validation_list.txt, testing_list.txt (required)
#   DATA         folder for the manifests; the DATA of scripts/finetune.sh SPCv2 (required)
#   VERSION      2: all 35 words (default); 1: ten commands, unknown and silence, the silence is written to DATA; with
#                the argument --classes 30 all words of version 1
#   DRY_RUN=1    print the command instead of running it
# Arguments go to `asda-manifest speechcommands`, for example --test-set DIR; `asda-manifest speechcommands --help` lists them.
#
# DATASET=/downloads/speech_commands_v0.02 DATA=/data/spcv2 scripts/prepare_speechcommands.sh
source "$(dirname "${BASH_SOURCE[0]}")/prepare.sh"

prepare speechcommands "the unpacked data set: a folder per word and the two lists" --version "${VERSION:-2}" "$@"
