#!/usr/bin/env bash
# Own data, with what the launch chooses by itself: window, padding, normalisation, labels, metric and loss. A corpus is
# pre-trained on without labels (own_pretraining, +size=tiny), probed, and fine-tuned on by scripts/finetune.sh from
# pre-trained and from random weights, once per seed. Only the epochs are fewer than the recipes' 100 and 60. The corpora,
# speech and samples, are those of recorded.sh.
#
# Settings (environment variables):
#   DATA     folder that holds klettres and sonic-pi (default /usr/share)
#   WORK     folder for manifests and runs (default: a temporary one); runs that it holds go on or are taken as they are
#   CORPORA  (default "speech samples")
#   SEEDS    (default "1 2 3")
#   OUTPUT   the table (default benchmarks/results/own_data.md)
#   SPEECH_EPOCHS, SAMPLES_EPOCHS   of pre-training and of fine-tuning (default "1 2" and "6 10")
#
# benchmarks/own_data.sh
source "$(dirname "${BASH_SOURCE[0]}")/../scripts/small_runs.sh"
source "$(dirname "${BASH_SOURCE[0]}")/recorded.sh"

SHARE=$(absolute "${DATA:-/usr/share}")
WORK=$(absolute "${WORK:-$(mktemp -d)}")
OUTPUT=$(absolute "${OUTPUT:-$ROOT/benchmarks/results/own_data.md}")
read -ra corpora <<<"${CORPORA:-speech samples}"
read -ra seeds <<<"${SEEDS:-1 2 3}"
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}

declare -A epochs=([speech]=${SPEECH_EPOCHS:-1 2} [samples]=${SAMPLES_EPOCHS:-6 10})

# measure CORPUS PRETRAINING_EPOCHS FINETUNING_EPOCHS: all about one corpus.
measure() {
  local corpus=$1 here=$WORK/$1 seed weights words overrides checkpoints=()
  export DATA=$here/data
  prepare_recorded "$corpus" "$SHARE" "$here"
  for seed in "${seeds[@]}"; do
    words=("common.seed=$seed" dataset.num_workers=0) # epochs are short beside the start of a worker
    checkpoints+=("$here/pretrained$seed/checkpoint_last.pt")
    say "$corpus, seed $seed: pre-training"
    SAVE_DIR=$here/pretrained$seed show_progress "$ROOT/pretraining_AS2M.sh" own_pretraining +size=tiny \
      "task.epochs=$2" "${words[@]}"
    words+=("task.epochs=$3" dataset.validate_interval=1000) # nothing is chosen by it: once, at the end
    for weights in pretrained random; do
      say "$corpus, seed $seed: fine-tuning from $weights weights"
      overrides=("${words[@]}")
      if [[ $weights == random ]]; then overrides+=(model.no_pretrained_weights=true); fi
      CHECKPOINT=${checkpoints[-1]} SAVE_DIR=$here/from_$weights/seed$seed show_progress "$ROOT/scripts/finetune.sh" \
        "${overrides[@]}"
    done
  done
  "$PYTHON" -m ASDA.cli.probe --layers last --regularisation 0.1 --bootstrap 0 --data "$DATA" --checkpoint "${checkpoints[@]}" \
    --json "$here/probe.json"
}

for corpus in "${corpora[@]}"; do
  require_recorded "$corpus" "$SHARE"
done
for corpus in "${corpora[@]}"; do
  # shellcheck disable=SC2086 # two numbers
  measure "$corpus" ${epochs[$corpus]}
done
PYTHONPATH=$ROOT "$PYTHON" -m benchmarks.own_data_report --work "$WORK" --corpora "${corpora[@]}" \
  --seeds "${seeds[@]}" --output "$OUTPUT"
