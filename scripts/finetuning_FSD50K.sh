#!/usr/bin/env bash
# Fine-tune on FSD50K: multi-label, 200 classes, 60k updates of 48 clips.
#
# Settings (environment variables):
#   DATA         folder with {train,valid,eval}.{tsv,lbl} and label_descriptors.csv (required); the best checkpoint is
#                chosen on valid. Without valid.{tsv,lbl}: dataset.valid_subset=eval
#   SAVE_DIR     folder for checkpoints and logs; an interrupted run continues from it (required)
#   CHECKPOINT   pre-trained checkpoint (required); model.no_pretrained_weights=true takes its architecture only
#   NGPU, NPROC, BATCH_SIZE, CONFIG, DRY_RUN, ...: see scripts/launch.sh
# Arguments are hydra overrides of config/finetuning.yaml, for example optimization.lr=[0.0001]
#
# DATA=/data/fsd50k CHECKPOINT=/runs/asda/checkpoint_last.pt SAVE_DIR=/runs/fsd50k scripts/finetuning_FSD50K.sh
source "$(dirname "${BASH_SOURCE[0]}")/launch.sh"

EXEC=exec finetune FSD50K 48 "$@"
