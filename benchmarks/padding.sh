#!/usr/bin/env bash
# What does a padding mask bring on short clips? Letters and syllables that people read in 17 languages, as Debian packages
# them for a game that teaches the alphabet (klettres-data; most under 2 s). A clip's class is its language: the folder that
# the package has it in. The demo's small network is pre-trained and fine-tuned with task.padding=constant and with mask,
# once per seed; the probe asks what the encoders know that saw no label.
#
#   apt-get install klettres-data    or, without installing: apt-get download klettres-data && dpkg -x *.deb FOLDER
#
# Left out are Arabic, Malayalam and Czech, many of whose files are refused: their Ogg streams have no end, or are several.
#
# Settings (environment variables):
#   DATA    folder that holds the languages (default /usr/share/klettres)
#   WORK    folder for manifests and runs (default: a temporary one); runs that it holds are continued or taken as they are
#   SEEDS   (default "1 2 3")
#   OUTPUT  the table (default benchmarks/results/padding.md)
#   TARGET_LENGTH (default 208: nine in ten clips are shorter), PRETRAINING_UPDATES (200), FINETUNING_UPDATES (100)
#
# benchmarks/padding.sh
TARGET_LENGTH=${TARGET_LENGTH:-208}
source "$(dirname "${BASH_SOURCE[0]}")/../scripts/small_runs.sh"
source "$(dirname "${BASH_SOURCE[0]}")/recorded.sh"

CLIPS=$(absolute "${DATA:-/usr/share/klettres}")
[[ -d $CLIPS/fr ]] || die "DATA: $CLIPS holds no folder fr; install klettres-data or name its folder of languages"
WORK=$(absolute "${WORK:-$(mktemp -d)}")
OUTPUT=$(absolute "${OUTPUT:-$ROOT/benchmarks/results/padding.md}")
DATA=$WORK/data
PRETRAINING_UPDATES=${PRETRAINING_UPDATES:-200}
FINETUNING_UPDATES=${FINETUNING_UPDATES:-100}
read -ra seeds <<<"${SEEDS:-1 2 3}"
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}

mkdir -p "$WORK"
{ echo "file,label" && recorded_labels speech "$CLIPS"; } >"$WORK/labels.csv"
"$PYTHON" -m ASDA.cli.manifest folder "$CLIPS" --overwrite --labels "$WORK/labels.csv" --split train=2 eval=1 --out "$DATA"
measure_front_end "$DATA/train.tsv"

for padding in constant mask; do
  for seed in "${seeds[@]}"; do
    say "padding $padding, seed $seed"
    shared=("task.padding=$padding" "common.seed=$seed" dataset.num_workers=1)
    SAVE_DIR=$WORK/$padding/pretrained$seed
    pretrain_small "${shared[@]}"
    CHECKPOINT=$SAVE_DIR/checkpoint_last.pt SAVE_DIR=$WORK/$padding/finetuned$seed finetune_small "${shared[@]}" \
      task.multi_label=false dataset.valid_subset=eval checkpoint.best_checkpoint_metric=accuracy \
      "model.num_classes=$(num_classes "$DATA/label_descriptors.csv")"
  done
  "$PYTHON" -m ASDA.reports.folds "$WORK/$padding"/finetuned* --json "$WORK/$padding/finetuned.json"
  checkpoints=("${seeds[@]/#/$WORK/$padding/pretrained}")
  for probed in constant mask; do
    if [[ $padding == mask && $probed == constant ]]; then continue; fi
    "$PYTHON" -m ASDA.cli.probe --layers last --regularisation 0.1 --data "$DATA" --checkpoint "${checkpoints[@]/%//checkpoint_last.pt}" \
      --padding "$probed" --json "$WORK/$padding/probed_$probed.json"
  done
done
most=$(cut -f 2 "$DATA/eval.lbl" | sort | uniq -c | sort -rn | awk 'NR == 1 {print $1}')
PYTHONPATH=$ROOT "$PYTHON" -m benchmarks.padding_report --work "$WORK" --output "$OUTPUT" \
  --about "klettres-data: $(wc -l <"$DATA/train.lbl") clips to pre-train on (without labels), to fit the probe on and to \
fine-tune on, $(wc -l <"$DATA/eval.lbl") held out ($most of them of the most frequent language), one of \
$(num_classes "$DATA/label_descriptors.csv") languages each. \
Inputs of $TARGET_LENGTH frames, $PRETRAINING_UPDATES updates of pre-training, $FINETUNING_UPDATES of fine-tuning, seeds \
${seeds[*]}."
