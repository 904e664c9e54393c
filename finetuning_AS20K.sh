#!/usr/bin/env bash
# Fine-tune on AudioSet-20K: multi-label, 60k updates of 32 clips.
#
# Settings (environment variables):
#   DATA         folder with {train,eval}.{tsv,lbl} and label_descriptors.csv (required)
#   SAVE_DIR     folder for checkpoints and logs; an interrupted run continues from it (required)
#   CHECKPOINT   pre-trained checkpoint (required); model.no_pretrained_weights=true takes its architecture only
#   NGPU, NPROC, BATCH_SIZE, CONFIG, DRY_RUN, ...: see scripts/launch.sh
# Arguments are hydra overrides of config/finetuning.yaml, for example +recipe=linear_probe
#
# DATA=/data/as20k CHECKPOINT=/runs/asda/checkpoint_last.pt SAVE_DIR=/runs/as20k ./finetuning_AS20K.sh
source "$(dirname "${BASH_SOURCE[0]}")/scripts/launch.sh"

EXEC=exec finetune "" 32 "$@"
