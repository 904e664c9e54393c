#!/usr/bin/env bash
# What does training adapters, LoRA, prompts or some of the blocks bring against fine-tuning all weights, and at what cost?
# Every method on encoders of different origin: ASDA and MAE-AST as objectives.sh pre-trains them, without labels, and AST's
# network at random weights, as no objective here trains it. Recorded sound, sonic_pi.sh's, in five folds.
#
# Settings (environment variables):
#   DATA        folder that holds the samples (default /usr/share/sonic-pi/samples)
#   WORK        folder for the runs (default: a temporary one); runs that it holds are taken as they are
#   PRETRAINED  folder of objectives.sh, with its manifests and encoders (default WORK/objectives); what it lacks is made
#               there first, which takes minutes for each encoder and seed
#   ENCODERS    (default "asda mae_ast ast"); asda_random and mae_ast_random are the same networks untrained
#   METHODS     what model.adaptation gets (default "all last_blocks head prompts lora spatial_adapter aat_m aat")
#   SEEDS       of pre-training and of the runs (default "1 2")
#   FOLDS       (default "1 2 3 4 5")
#   RATES       learning rates of which each method's is chosen (default "0.001 0.004")
#   UPDATES     of a run, of 16 clips each (default 50)
#   TARGET_LENGTH  of a clip in frames of 10 ms (default 64: of longer samples the beginning); of pre-training as for
#               objectives.sh
#   OUTPUT      the report (default benchmarks/results/adaptation.md)
#
# benchmarks/adaptation.sh
frames=${TARGET_LENGTH:-64}
source "$(dirname "${BASH_SOURCE[0]}")/../scripts/small_runs.sh"
source "$(dirname "${BASH_SOURCE[0]}")/sonic_pi.sh"

SAMPLES=$(absolute "${DATA:-/usr/share/sonic-pi/samples}")
WORK=$(absolute "${WORK:-$(mktemp -d)}")
PRETRAINED=$(absolute "${PRETRAINED:-$WORK/objectives}")
OUTPUT=$(absolute "${OUTPUT:-$ROOT/benchmarks/results/adaptation.md}")
read -ra encoders <<<"${ENCODERS:-asda mae_ast ast}"
read -ra methods <<<"${METHODS:-all last_blocks head prompts lora spatial_adapter aat_m aat}"
read -ra seeds <<<"${SEEDS:-1 2}"
read -ra folds <<<"${FOLDS:-1 2 3 4 5}"
read -ra rates <<<"${RATES:-0.001 0.004}"
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} PYTHONPATH=$ROOT
declare -A objective=([asda]=asda [mae_ast]=patch) # the methods of objectives.sh

corpus=$PRETRAINED/data/recorded
if [[ ! -d $corpus/folds/fold5 ]]; then
  require_samples "$SAMPLES"
  prepare_samples "$SAMPLES" "$corpus"
fi

named=() missing=""
for encoder in "${encoders[@]}"; do
  if [[ $encoder == ast ]]; then
    named+=(ast)
    continue
  fi
  trained=${objective[${encoder%_random}]:-}
  [[ -n $trained ]] || die "ENCODERS: there is no $encoder; expected asda, mae_ast, ast, asda_random or mae_ast_random"
  files=("${seeds[@]/#/$PRETRAINED/recorded/$trained/seed}")
  files=("${files[@]/%//checkpoint_last.pt}")
  for file in "${files[@]}"; do [[ -f ${file%/*}/done && -f $file ]] || missing=$file; done
  named+=("$encoder=$(IFS=, && echo "${files[*]}")")
done
if [[ -n $missing ]]; then
  say "pre-training, as there is no $missing"
  DATA=$SAMPLES WORK=$PRETRAINED OUTPUT=$PRETRAINED/objectives.md CORPORA=recorded METHODS="patch asda" \
    SEEDS="${seeds[*]}" FOLDS="" "$ROOT/benchmarks/objectives.sh"
fi

TARGET_LENGTH=$frames measure_front_end "$corpus/all/train.tsv"
"$PYTHON" -m benchmarks.adaptation_runs --folds "${folds[@]/#/$corpus/folds/fold}" --encoders "${named[@]}" \
  --work "$WORK" --methods "${methods[@]}" --seeds "${seeds[@]}" --rates "${rates[@]}" --updates "${UPDATES:-50}" \
  --frames "$frames" --normalisation "${front_end[0]#*=}" "${front_end[1]#*=}"
"$PYTHON" -m benchmarks.adaptation_report --work "$WORK" --corpus "$corpus" --encoders "${encoders[@]}" \
  --methods "${methods[@]}" --seeds "${seeds[@]}" --folds "${folds[@]/#/fold}" --output "$OUTPUT"
