#!/usr/bin/env bash
# Own data, with what the launch chooses by itself: window, padding, normalisation, labels, metric and loss. A corpus is
# pre-trained on without labels (own_pretraining, +size=tiny), probed, and fine-tuned on by scripts/finetune.sh from
# pre-trained and from random weights, once per seed. Only the epochs are fewer than the recipes' 100 and 60. Corpora:
#
#   speech   klettres-data: letters and syllables that people read. A clip's class is its language: the folder that the
#            package has it in. Left out are Arabic, Malayalam and Czech, many of whose files are refused: their Ogg
#            streams have no end (ar 28 of 28, ml 520 of 521), or are several (cs 18 of 50).
#   samples  sonic-pi-samples: drums, loops, voices, noises. A clip's class is its name before the first underscore.
#
#   apt-get install klettres-data sonic-pi-samples
#
# or, without installing, with DATA=FOLDER/usr/share:
#
#   apt-get download klettres-data sonic-pi-samples && for package in *.deb; do dpkg -x "$package" FOLDER; done
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

SHARE=$(absolute "${DATA:-/usr/share}")
WORK=$(absolute "${WORK:-$(mktemp -d)}")
OUTPUT=$(absolute "${OUTPUT:-$ROOT/benchmarks/results/own_data.md}")
read -ra corpora <<<"${CORPORA:-speech samples}"
read -ra seeds <<<"${SEEDS:-1 2 3}"
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}

declare -A folders=([speech]=$SHARE/klettres [samples]=$SHARE/sonic-pi/samples)
declare -A epochs=([speech]=${SPEECH_EPOCHS:-1 2} [samples]=${SAMPLES_EPOCHS:-6 10})

# labels CORPUS: its clips and their classes, as lines of a csv file.
labels() {
  case $1 in
    speech) find "${folders[$1]}" -name '*.ogg' -printf '%P\n' | sed -nE '/^(ar|ml|cs)\//d; s#^([^/]+)/.*#&,\1#p' ;;
    samples) find "${folders[$1]}" -name '*.flac' -printf '%P\n' | sed -nE 's#^(.*/)?([^_/]+)_.*#&,\2#p' ;;
  esac | sort
}

# measure CORPUS PRETRAINING_EPOCHS FINETUNING_EPOCHS: all about one corpus; its labels are in WORK/CORPUS/labels.csv.
measure() {
  local corpus=$1 here=$WORK/$1 seed weights words overrides checkpoints=()
  export DATA=$here/data
  "$PYTHON" -m ASDA.cli.manifest folder "${folders[$corpus]}" --overwrite --labels "$here/labels.csv" \
    --split train=2 eval=1 --out "$DATA"
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
  "$PYTHON" -m ASDA.cli.probe --data "$DATA" --checkpoint "${checkpoints[@]}" --bootstrap 0 --json "$here/probe.json"
}

for corpus in "${corpora[@]}"; do
  [[ -n ${folders[$corpus]:-} ]] || die "CORPORA: $corpus is neither speech nor samples"
  [[ -d ${folders[$corpus]} ]] ||
    die "DATA: there is no ${folders[$corpus]}; install the package or name the folder that holds klettres and sonic-pi"
  mkdir -p "$WORK/$corpus"
  { echo "file,label" && labels "$corpus"; } >"$WORK/$corpus/labels.csv"
done
for corpus in "${corpora[@]}"; do
  # shellcheck disable=SC2086 # two numbers
  measure "$corpus" ${epochs[$corpus]}
done
PYTHONPATH=$ROOT "$PYTHON" -m benchmarks.own_data_report --work "$WORK" --corpora "${corpora[@]}" \
  --seeds "${seeds[@]}" --output "$OUTPUT"
