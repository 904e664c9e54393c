#!/usr/bin/env bash
# Fine-tune on AudioSet-2M: multi-label, 600k updates of 48 clips, clips drawn by the weights of their classes.
#
# Settings (environment variables):
#   DATA         folder with {train,eval}.{tsv,lbl} and label_descriptors.csv, and the clips' weights in
#                weight_train_all.csv (required)
#   SAVE_DIR     folder for checkpoints and logs; an interrupted run continues from it (required)
#   CHECKPOINT   pre-trained checkpoint (required); model.no_pretrained_weights=true takes its architecture only
#   NGPU, NPROC, BATCH_SIZE, CONFIG, DRY_RUN, ...: see scripts/launch.sh
# Arguments are hydra overrides of config/finetuning.yaml, for example task.num_samples=200000
#
# DATA=/data/as2m CHECKPOINT=/runs/asda/checkpoint_last.pt SAVE_DIR=/runs/as2m scripts/finetuning_AS2M.sh
source "$(dirname "${BASH_SOURCE[0]}")/launch.sh"

require_path DATA "a folder with manifests and the clips' weights" weight_train_all.csv
EXEC=exec finetune AS2M 48 "$@"
