#!/usr/bin/env bash
# Is learning real? Pre-trains the demo's small network on the demo's corpus, once per seed, and compares a linear probe of
# the frozen encoder with one of the same network at random weights, on clips that pre-training has not seen.
#
# Settings (environment variables):
#   WORK    folder for corpus and runs (default: a temporary one); runs that it holds are continued or taken as they are
#   SEEDS   the seeds to pre-train with (default "1 2 3")
#   OUTPUT  the table (default benchmarks/results/learning.md)
#   PRETRAINING_UPDATES   (default 800)
#   NUM_CLIPS, TARGET_LENGTH: as for make demo
#
# benchmarks/learning.sh
source "$(dirname "${BASH_SOURCE[0]}")/../scripts/small_runs.sh"

PRETRAINING_UPDATES=${PRETRAINING_UPDATES:-800}
WORK=$(absolute "${WORK:-$(mktemp -d)}")
OUTPUT=$(absolute "${OUTPUT:-$ROOT/benchmarks/results/learning.md}")
DATA=$WORK/data
read -ra seeds <<<"${SEEDS:-1 2 3}"

[[ -f $DATA/eval.tsv ]] || "$PYTHON" -m ASDA.demo.corpus "$DATA" --num-clips "${NUM_CLIPS:-800}"
measure_front_end "$DATA/train.tsv"
checkpoints=()
for seed in "${seeds[@]}"; do
  say "pre-training with seed $seed"
  SAVE_DIR=$WORK/pretrained$seed pretrain_small "common.seed=$seed"
  checkpoints+=("$WORK/pretrained$seed/checkpoint_last.pt")
done
"$PYTHON" -m ASDA.cli.probe --layers last --regularisation 0.1 --data "$DATA" --checkpoint "${checkpoints[@]}" --json "$WORK/probe.json"
PYTHONPATH=$ROOT "$PYTHON" -m benchmarks.learning_report --command benchmarks/learning.sh \
  --probe "$WORK/probe.json" --output "$OUTPUT" \
  --about "Generated corpus: $(wc -l <"$DATA/train.lbl") clips to pre-train on (without labels) and to fit the probe on, \
$(wc -l <"$DATA/eval.lbl") held out, $(num_classes "$DATA/label_descriptors.csv") classes, several per clip."
