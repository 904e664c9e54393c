#!/usr/bin/env bash
# What do the objectives teach? MAE-AST by patches, by frames and with each of its losses alone, and ASDA with as much
# arithmetic, all at the demo's size, on the demo's corpus and on recorded sound (sonic_pi.sh). A linear probe compares
# each with its own network at random weights, once per seed.
#
# Settings (environment variables):
#   CORPORA demo, recorded (default: both, side by side, each with one process and one that loads its data)
#   DATA    folder that holds the recorded samples (default /usr/share/sonic-pi/samples)
#   WORK    folder for corpora and runs (default: a temporary one); runs that it holds are continued or taken as they are
#   SEEDS   the seeds to pre-train with (default "1 2 3")
#   METHODS of patch, frame, generative, discriminative, asda (default: all); the first says how much arithmetic all get
#   PRETRAINING_UPDATES   of the first method (default 400)
#   OUTPUT  the report (default benchmarks/results/objectives.md)
#   NUM_CLIPS, TARGET_LENGTH: as for make demo
#
# benchmarks/objectives.sh
source "$(dirname "${BASH_SOURCE[0]}")/../scripts/small_runs.sh"
source "$(dirname "${BASH_SOURCE[0]}")/sonic_pi.sh"

SAMPLES=$(absolute "${DATA:-/usr/share/sonic-pi/samples}")
WORK=$(absolute "${WORK:-$(mktemp -d)}")
OUTPUT=$(absolute "${OUTPUT:-$ROOT/benchmarks/results/objectives.md}")
PRETRAINING_UPDATES=${PRETRAINING_UPDATES:-400}
read -ra seeds <<<"${SEEDS:-1 2 3}"
read -ra corpora <<<"${CORPORA:-demo recorded}"
read -ra methods <<<"${METHODS:-patch frame generative discriminative asda}"
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} PYTHONPATH=$ROOT

# describe METHOD: its yaml, recipes and overrides, into the array `words`.
describe() {
  case $1 in
    patch) words=(pretraining_MAE_AST demo_MAE_AST) ;;
    frame) words=(pretraining_MAE_AST MAE_AST_frame,demo_MAE_AST) ;;
    generative) words=(pretraining_MAE_AST demo_MAE_AST model.classification_weight=0) ;;
    discriminative) words=(pretraining_MAE_AST demo_MAE_AST model.reconstruction_weight=0) ;;
    asda) words=(pretraining_AS2M demo_pretraining) ;;
    *) die "METHODS: there is no $1; expected patch, frame, generative, discriminative or asda" ;;
  esac
  words+=("task.target_length=$TARGET_LENGTH")
}

# pretrain METHOD UPDATES SEED: on DATA into SAVE_DIR, unless it has been done.
pretrain() {
  local method=$1 updates=$2 seed=$3 words
  describe "$method"
  words+=(task.padding=mask dataset.num_workers=1 "common.seed=$seed")
  if [[ $method == asda ]]; then words+=("${normalisation[@]}"); fi
  [[ $(cat "$SAVE_DIR/done" 2>/dev/null) != "$updates ${words[*]}" ]] || return 0
  say "$CORPUS: $method, seed $seed, $updates updates"
  train_small "${words[0]}" "${words[1]}" "$updates" "${words[@]:2}"
  echo "$updates ${words[*]}" >"$SAVE_DIR/done"
}

# compare CORPUS TRAIN_FOLDER PROBED_FOLDER...: pre-trains and probes every method on a corpus.
compare() {
  local CORPUS=$1 DATA=$2 method updates seed checkpoints normalisation front_end=()
  shift 2
  measure_front_end "$DATA/train.tsv"
  normalisation=("${front_end[@]::2}")
  front_end=()
  for seed in "${seeds[@]}"; do
    while read -u 3 -r method _ updates; do
      SAVE_DIR=$WORK/$CORPUS/$method/seed$seed pretrain "$method" "$updates" "$seed"
    done 3<"$WORK/work.tsv"
  done
  for method in "${methods[@]}"; do
    checkpoints=("${seeds[@]/#/$WORK/$CORPUS/$method/seed}")
    "$PYTHON" -m ASDA.cli.probe --data "$@" --checkpoint "${checkpoints[@]/%//checkpoint_last.pt}" --bootstrap 0 \
      --json "$WORK/$CORPUS/$method/probe.json"
  done
}

# compare_demo, compare_recorded: on a corpus that is made if it is not there yet.
compare_demo() {
  local folder=$WORK/data/demo
  [[ -f $folder/eval.tsv ]] || "$PYTHON" -m ASDA.demo.corpus "$folder" --num-clips "${NUM_CLIPS:-800}"
  compare demo "$folder" "$folder"
}
compare_recorded() {
  local folder=$WORK/data/recorded
  require_samples "$SAMPLES"
  [[ -d $folder/folds/fold5 ]] || prepare_samples "$SAMPLES" "$folder"
  compare recorded "$folder/all" "$folder/folds"/fold[1-5]
}

mkdir -p "$WORK"
descriptions=()
for method in "${methods[@]}"; do
  describe "$method"
  descriptions+=("${words[*]}")
done
"$PYTHON" -m benchmarks.equal_work --updates "$PRETRAINING_UPDATES" "${descriptions[@]}" |
  paste <(printf '%s\n' "${methods[@]}") - >"$WORK/work.tsv.$$"
mv "$WORK/work.tsv.$$" "$WORK/work.tsv" # another run on the same folder may be reading it

running=()
for corpus in "${corpora[@]}"; do
  [[ $corpus == demo || $corpus == recorded ]] || die "CORPORA: there is no $corpus; expected demo or recorded"
  "compare_$corpus" &
  running+=($!)
done
for process in "${running[@]}"; do wait "$process"; done # a plain wait tells nothing of how they ended
"$PYTHON" -m benchmarks.objectives_report --work "$WORK" --corpora "${corpora[@]}" --output "$OUTPUT"
