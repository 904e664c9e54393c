#!/usr/bin/env bash
# The demo's path on recorded sound, sonic_pi.sh's. Pre-training sees all samples and no label; linear probe and fine-tuning
# are cross-validated over five folds, from pre-trained and from random weights.
#
# Settings (environment variables):
#   DATA    folder that holds the samples (default /usr/share/sonic-pi/samples)
#   WORK    folder for manifests and runs (default: a temporary one); runs that it holds are continued or taken as they are
#   OUTPUT  the table (default benchmarks/results/recorded_sound.md)
#   PRETRAINING_UPDATES   (default 800)
#   TARGET_LENGTH, FINETUNING_UPDATES: as for make demo
#
# benchmarks/recorded_sound.sh
source "$(dirname "${BASH_SOURCE[0]}")/../scripts/small_runs.sh"
source "$(dirname "${BASH_SOURCE[0]}")/sonic_pi.sh"

SAMPLES=$(absolute "${DATA:-/usr/share/sonic-pi/samples}")
require_samples "$SAMPLES"
PRETRAINING_UPDATES=${PRETRAINING_UPDATES:-800}
WORK=$(absolute "${WORK:-$(mktemp -d)}")
OUTPUT=$(absolute "${OUTPUT:-$ROOT/benchmarks/results/recorded_sound.md}")
DATA=$WORK/folds
LABELS=$WORK/labels.csv

prepare_samples "$SAMPLES" "$WORK"
measure_front_end "$WORK/all/train.tsv"

say "pre-training"
DATA=$WORK/all SAVE_DIR=$WORK/pretrained pretrain_small
CHECKPOINT=$WORK/pretrained/checkpoint_last.pt
"$PYTHON" -m ASDA.cli.probe --data "$DATA"/fold[1-5] --checkpoint "$CHECKPOINT" --padding mask --json "$WORK/probe.json"

one_label=(
  task.multi_label=false dataset.valid_subset=eval checkpoint.best_checkpoint_metric=accuracy
  "model.num_classes=$(num_classes "$DATA/fold1/label_descriptors.csv")"
)
for weights in pretrained random; do
  say "fine-tuning from $weights weights"
  overrides=("${one_label[@]}")
  if [[ $weights == random ]]; then overrides+=(model.no_pretrained_weights=true); fi
  FOLDS="1 2 3 4 5" SAVE_DIR=$WORK/from_$weights finetune_small "${overrides[@]}"
  "$PYTHON" -m ASDA.reports.folds "$WORK/from_$weights"/fold[1-5] --json "$WORK/from_$weights.json"
done
PYTHONPATH=$ROOT "$PYTHON" -m benchmarks.learning_report --command benchmarks/recorded_sound.sh \
  --probe "$WORK/probe.json" --finetuned "$WORK/from_pretrained.json" --from-random "$WORK/from_random.json" \
  --output "$OUTPUT" --about "sonic-pi-samples: $(($(wc -l <"$LABELS") - 1)) recordings, one of \
$(num_classes "$DATA/fold1/label_descriptors.csv") classes each. Pre-trained on all of them without labels; means over \
five folds, each fitted or fine-tuned on the other four."
