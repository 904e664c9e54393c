#!/usr/bin/env bash
# Fine-tune on UrbanSound8K, all ten folds: single-label, 8k updates of 48 clips each; reports mean and deviation.
#
# Settings (environment variables):
#   DATA         folder with fold1 to fold10, each with {train,eval}.{tsv,lbl} and label_descriptors.csv (required)
#   SAVE_DIR     folder for the runs; each fold gets a folder in it (required)
#   CHECKPOINT   pre-trained checkpoint (required); model.no_pretrained_weights=true takes its architecture only
#   FOLDS        the folds to run (default: all ten)
#   NGPU, NPROC, BATCH_SIZE, CONFIG, DRY_RUN, ...: see scripts/launch.sh
# Arguments are hydra overrides of config/finetuning.yaml, for example model.mask_ratio=0.2
#
# DATA=/data/urbansound8k CHECKPOINT=/runs/asda/checkpoint_last.pt SAVE_DIR=/runs/urbansound8k scripts/finetuning_UrbanSound8K.sh
source "$(dirname "${BASH_SOURCE[0]}")/launch.sh"

finetune_folds 10 UrbanSound8K 48 "$@"
