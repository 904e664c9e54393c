#!/usr/bin/env bash
# Own data, with what the launch scripts choose by themselves: recorded speech (klettres-data: letters and syllables in 17
# languages; a clip's class is its language, the package's folder) and recorded samples (sonic-pi-samples; the class is the
# name before the first underscore). Each is pre-trained without labels (own_pretraining, +size=tiny), probed, and fine-tuned by
# scripts/finetune.sh from pre-trained and from random weights, once per seed.
#
#   apt-get install klettres-data sonic-pi-samples    or: apt-get download ... && dpkg -x *.deb FOLDER, with DATA=FOLDER/usr/share
#
# Settings (environment variables):
#   DATA    folder that holds klettres and sonic-pi (default /usr/share)
#   WORK    folder for manifests and runs (default: a temporary one); runs that it holds are continued or taken as they are
#   SEEDS   (default "1 2 3")
#   OUTPUT  the table (default benchmarks/results/own_data.md)
#   SPEECH_EPOCHS, SAMPLES_EPOCHS   of pre-training and of fine-tuning (default "6 10" and "20 40")
#
# benchmarks/own_data.sh
source "$(dirname "${BASH_SOURCE[0]}")/../scripts/small_runs.sh"

SHARE=$(absolute "${DATA:-/usr/share}")
[[ -d $SHARE/klettres/fr ]] || die "DATA: $SHARE holds no klettres/fr; install klettres-data or name the folder of both packages"
[[ -d $SHARE/sonic-pi/samples ]] || die "DATA: $SHARE holds no sonic-pi/samples; install sonic-pi-samples"
WORK=$(absolute "${WORK:-$(mktemp -d)}")
OUTPUT=$(absolute "${OUTPUT:-$ROOT/benchmarks/results/own_data.md}")
read -ra seeds <<<"${SEEDS:-1 2 3}"
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}

# measure NAME AUDIO LABELS "PRETRAINING_EPOCHS FINETUNING_EPOCHS": everything about one corpus, into WORK/NAME.
measure() {
  local name=$1 audio=$2 labels=$3 seed weights words checkpoints=() here=$WORK/$1 data=$WORK/$1/data
  read -ra epochs <<<"$4"
  "$PYTHON" -m ASDA.cli.manifest folder "$audio" --overwrite --labels "$labels" --split train=2 eval=1 --out "$data"
  for seed in "${seeds[@]}"; do
    say "$name: seed $seed"
    words=("common.seed=$seed" dataset.num_workers=1)
    DATA=$data SAVE_DIR=$here/pretrained$seed show_progress "$ROOT/pretraining_AS2M.sh" own_pretraining +size=tiny \
      "task.epochs=${epochs[0]}" "${words[@]}"
    checkpoints+=("$here/pretrained$seed/checkpoint_last.pt")
    for weights in pretrained random; do
      if [[ $weights == random ]]; then words+=(model.no_pretrained_weights=true); fi
      DATA=$data CHECKPOINT=$here/pretrained$seed/checkpoint_last.pt SAVE_DIR=$here/from_$weights$seed show_progress \
        "$ROOT/scripts/finetune.sh" "task.epochs=${epochs[1]}" "${words[@]}"
    done
  done
  for weights in pretrained random; do
    "$PYTHON" -m ASDA.reports.folds "$here/from_$weights"[0-9]* --json "$here/from_$weights.json"
  done
  "$PYTHON" -m ASDA.cli.probe --data "$data" --checkpoint "${checkpoints[@]}" --json "$here/probe.json"
}

mkdir -p "$WORK"
{
  echo "file,label"
  # The other languages' Ogg streams have no end, or are several.
  (cd "$SHARE/klettres" && find . -name '*.ogg' -printf '%P\n') | grep -vE '^(ar|ml|cs)/' | sort |
    sed -E 's#^([^/]+)/.*$#&,\1#'
} >"$WORK/speech.csv"
{
  echo "file,label"
  (cd "$SHARE/sonic-pi/samples" && find . -name '*.flac' -printf '%P\n') | sort | sed -E 's#^(.*/)?([^_/]+)_.*$#&,\2#'
} >"$WORK/samples.csv"
measure speech "$SHARE/klettres" "$WORK/speech.csv" "${SPEECH_EPOCHS:-6 10}" &
measure samples "$SHARE/sonic-pi/samples" "$WORK/samples.csv" "${SAMPLES_EPOCHS:-20 40}" &
wait -n
wait -n
PYTHONPATH=$ROOT "$PYTHON" -m benchmarks.own_data_report --work "$WORK" --output "$OUTPUT" \
  --about "Epochs of pre-training and of fine-tuning: ${SPEECH_EPOCHS:-6 10} (speech), ${SAMPLES_EPOCHS:-20 40} (samples); \
seeds ${seeds[*]}; window, padding, normalisation, labels, metric and loss as the launch chose them."
