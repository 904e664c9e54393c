#!/usr/bin/env bash
# Fine-tune on Speech Commands v2: 35 classes, 80k updates of 256 clips, with mixup.
#
# Settings (environment variables):
#   DATA         folder with {train,valid,eval}.{tsv,lbl} and label_descriptors.csv (required); the best checkpoint is
#                chosen on valid. Without valid.{tsv,lbl}: dataset.valid_subset=eval
#   SAVE_DIR     folder for checkpoints and logs; an interrupted run continues from it (required)
#   CHECKPOINT   pre-trained checkpoint (required); model.no_pretrained_weights=true takes its architecture only
#   NGPU, NPROC, BATCH_SIZE, CONFIG, DRY_RUN, ...: see scripts/launch.sh
# Arguments are hydra overrides of config/finetuning.yaml, for example optimization.lr=[0.0001]
#
# DATA=/data/spcv2 CHECKPOINT=/runs/asda/checkpoint_last.pt SAVE_DIR=/runs/spcv2 scripts/finetuning_SPCv2.sh
source "$(dirname "${BASH_SOURCE[0]}")/launch.sh"

EXEC=exec finetune SPCv2 256 "$@"
