#!/usr/bin/env bash
# The main job, small, on this machine: make a corpus, pre-train, fine-tune (from the pre-trained encoder and, to compare,
# from random weights), evaluate, extract features, infer, and write a report. Every step is the real program.
#
# Settings (environment variables):
#   DATA           folder of wav, flac, ... files to use instead of the generated corpus; labels are the names of its
#                  sub-folders, one per clip: the report then tells the accuracy, with chance and a confusion matrix
#   DEMO_DIR       where everything goes (default: demo/ in the repository); results of an earlier demo are replaced
#   NUM_CLIPS      clips of the generated corpus (default 800)
#   TARGET_LENGTH  length of a clip in frames of 10 ms, a multiple of 16 (default 256); longer clips are cut at random
#   PRETRAINING_UPDATES, FINETUNING_UPDATES   for a shorter or longer run (default: as in config/recipe/demo_*.yaml)
#   NGPU, NPROC    GPUs, or processes on the CPU, as for ./pretraining_AS2M.sh
#
# make demo, or DATA=/folder/of/audio make demo
source "$(dirname "${BASH_SOURCE[0]}")/small_runs.sh"

(($# == 0)) || die "takes no arguments, got \"$*\"; --help lists its settings"

DEMO_DIR=$(absolute "${DEMO_DIR:-$ROOT/demo}")
AUDIO=${DATA:+$(absolute "$DATA")}
DATA=$DEMO_DIR/data
RESULTS=$DEMO_DIR/results
STEPS=9
step=0

# prepare_folder: an empty DEMO_DIR, but never at the cost of files that no demo has made.
prepare_folder() {
  local mark=$DEMO_DIR/.made_by_demo
  if [[ -d $DEMO_DIR && ! -f $mark && -n $(ls -A "$DEMO_DIR") ]]; then
    die "DEMO_DIR: $DEMO_DIR holds files that are not a demo's; name another folder"
  fi
  rm -rf "${DEMO_DIR:?}"/{data,pretrained,finetuned,finetuned_from_random,results,report}
  mkdir -p "$RESULTS"
  touch "$mark"
}

# run_step NAME COMMAND...: announces a step, runs it and notes its time.
run_step() {
  local name=$1 began=$SECONDS
  shift
  step=$((step + 1))
  printf '\n[%d/%d] %s\n' $step $STEPS "$name" >&2
  "$@"
  printf '%s\t%d\n' "$name" $((SECONDS - began)) >>"$RESULTS/seconds.tsv"
}

make_corpus() {
  if [[ -n $AUDIO ]]; then
    "$PYTHON" -m ASDA.cli.manifest folder "$AUDIO" --labels folders --split train=0.7 valid=0.1 eval=0.2 --out "$DATA"
  else
    "$PYTHON" -m ASDA.demo.corpus "$DATA" --num-clips "${NUM_CLIPS:-800}"
  fi
  multi_label=$("$PYTHON" -m ASDA.demo.results "$DEMO_DIR")
}

# pretrain_demo, finetune_demo RUN OVERRIDE...: into their folders of DEMO_DIR.
pretrain_demo() { SAVE_DIR=$DEMO_DIR/pretrained pretrain_small; }

finetune_demo() {
  local run=$1 num_clips epochs
  shift
  num_clips=$(wc -l <"$DATA/train.lbl")
  epochs=$(((399 + num_clips) / num_clips)) # of few clips, so many together have about as many updates as one of 400
  CHECKPOINT=$DEMO_DIR/pretrained/checkpoint_last.pt SAVE_DIR=$DEMO_DIR/$run \
    finetune_small "task.multi_label=$multi_label" "model.num_classes=$(num_classes "$DATA/label_descriptors.csv")" \
    "dataset.validate_interval=$epochs" "checkpoint.save_interval=$epochs" "$@"
}

evaluate_both() {
  local run confusion=()
  for run in finetuned finetuned_from_random; do
    if [[ $multi_label == false ]]; then confusion=(--confusion "$RESULTS/${run}_confusion.csv"); fi
    "$ROOT/eval.sh" --checkpoint_dir "$DEMO_DIR/$run/checkpoint_best.pt" --eval_dir "$DATA" --json \
      --ap_log_path "$RESULTS/${run}_per_class.csv" ${confusion[@]+"${confusion[@]}"} >"$RESULTS/${run}_metrics.json"
  done
}

# The first clip of the evaluation split, through the programs for single files.
use_on_one_clip() {
  local root clip
  { read -r root && IFS=$'\t' read -r clip _; } <"$DATA/eval.tsv"
  "$ROOT/feature_extract.sh" --checkpoint_dir "$DEMO_DIR/pretrained/checkpoint_last.pt" --granularity frame \
    --source_file "$root/$clip" --target_file "$RESULTS/features.npy"
  "$ROOT/inference.sh" --checkpoint_dir "$DEMO_DIR/finetuned/checkpoint_best.pt" --source_file "$root/$clip" \
    --top_k_prediction 5 | tee "$RESULTS/prediction.txt"
}

prepare_folder
trap '(($? == 0)) || say "step $step failed; what it said is above, logs are in $DEMO_DIR"' EXIT
run_step "corpus" make_corpus
run_step "statistics of its features" measure_front_end "$DATA/train.tsv"
run_step "pre-training without labels" pretrain_demo
run_step "linear probe of the frozen encoder" "$PYTHON" -m ASDA.cli.probe --layers last --regularisation 0.1 --data "$DATA" \
  --checkpoint "$DEMO_DIR/pretrained/checkpoint_last.pt" --json "$RESULTS/probe.json"
run_step "fine-tuning the pre-trained encoder" finetune_demo finetuned
run_step "fine-tuning from random weights" finetune_demo finetuned_from_random model.no_pretrained_weights=true
run_step "evaluation on held-out clips" evaluate_both
run_step "features and labels of one clip" use_on_one_clip
run_step "report" "$PYTHON" -m ASDA.demo.report "$DEMO_DIR"
printf '\nDone in %d minutes %d seconds: open %s\n' $((SECONDS / 60)) $((SECONDS % 60)) "$DEMO_DIR/report/index.html" >&2
