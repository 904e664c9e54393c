#!/usr/bin/env bash
# The open questions of ASDA's paper, at a size that fits a laptop without a GPU; docs/findings.md has the answers. Each is
# a grid of asda-ablate or a measurement, and writes its table when it is done:
#
#   attention  does differential attention put less weight where nothing happens?  event_attention.md
#   cost       what does it cost, of which kind, by length?                        cpu/ or cuda/attention_cost.md
#   students   do more students pay, with equal arithmetic?                        students_equal_work.md
#   cls        does it matter where CLS stands, where its place has a position?    cls_place.md
#   lambda     is the best lambda task-dependent?                                  lambda_tasks.md
#
# Given again with the same WORK, it goes on where it was stopped. All of it took an hour and a half on two busy cores.
#
# Settings (environment variables):
#   QUESTIONS  some of them (default: all, in this order)
#   DATA       folder that holds klettres and sonic-pi, see recorded.sh (default /usr/share)
#   WORK       folder for corpora and runs (default: a temporary one)
#   OUTPUT     folder for the tables (default benchmarks/results)
#   SEEDS      (default: the grids', "1 2 3")
#   JOBS       runs at a time (default 2)
#   TASKS      that lambda is judged by (default "events polyphony samples speech")
#   PRETRAINING_UPDATES   of every setting, or with equal arithmetic of 16 students (default: the grids', 320)
#   FINETUNING_UPDATES    (default: the grids', 120; 0: judge by the probe alone)
#   NUM_CLIPS, TARGET_LENGTH   as for make demo
#   PLACED_CLIPS       of the corpus for attention (default 240, of which a fifth is looked at)
#   COST_FLAGS         of benchmarks.run_all, as --tiny
#
# benchmarks/findings.sh
source "$(dirname "${BASH_SOURCE[0]}")/../scripts/small_runs.sh"
source "$(dirname "${BASH_SOURCE[0]}")/recorded.sh"

SHARE=$(absolute "${DATA:-/usr/share}")
WORK=$(absolute "${WORK:-$(mktemp -d)}")
OUTPUT=$(absolute "${OUTPUT:-$ROOT/benchmarks/results}")
read -ra questions <<<"${QUESTIONS:-attention cost students cls lambda}"
read -ra seeds <<<"${SEEDS:-}"
read -ra tasks <<<"${TASKS:-events polyphony samples speech}"
read -ra cost_flags <<<"${COST_FLAGS:-}"
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} PYTHONPATH=$ROOT
EVENTS=$WORK/data/events

# short_grid NAME [FLAG ...]: the ready grid with this script's seeds and lengths, as a yaml in WORK.
short_grid() {
  local name=$1 length="task.target_length=$TARGET_LENGTH" flags=()
  shift
  if [[ ${FINETUNING_UPDATES:-} == 0 ]]; then flags+=(--probe-alone); fi
  mkdir -p "$WORK/grids"
  "$PYTHON" -m benchmarks.shorter_grid "$name" --seeds ${seeds[@]+"${seeds[@]}"} \
    --pretraining "$length $(shorter "${PRETRAINING_UPDATES:-}")" \
    --finetuning "$length $(shorter "${FINETUNING_UPDATES:-}")" ${flags[@]+"${flags[@]}"} "$@" >"$WORK/grids/$name.yaml.$$"
  mv "$WORK/grids/$name.yaml.$$" "$WORK/grids/$name.yaml"
}

# run_grid NAME [FLAG ...]: that yaml, on the generated corpus. Runs of `taken` (SETTING=FOLDER of its seeds) that are there are
# copied and not repeated; asda-ablate refuses those that are not what the grid says.
taken=()
run_grid() {
  local name=$1 one run
  shift
  local words=("$WORK/grids/$name.yaml" --data "$EVENTS" --output "$WORK/$name" "$@")
  [[ -d $WORK/$name/runs ]] || "$PYTHON" -m ASDA.cli.ablate "${words[@]}" --report >/dev/null # makes the folder its own
  for one in ${taken[@]+"${taken[@]}"}; do
    run=$WORK/$name/runs/${one%%=*}
    if [[ -d ${one#*=} && ! -d $run ]]; then
      mkdir -p "$WORK/$name/runs"
      rm -rf "$run.copied"
      cp -r "${one#*=}" "$run.copied"
      mv "$run.copied" "$run"
    fi
  done
  "$PYTHON" -m ASDA.cli.ablate "${words[@]}" --jobs "${JOBS:-2}"
}

# report_grid NAME FILE
report_grid() {
  "$PYTHON" -m benchmarks.grid_report --table "$WORK/$1/table.json" --command benchmarks/findings.sh --output "$OUTPUT/$2"
}

# make_polyphony FOLDER: the generated corpus, labelled by how many events a clip holds.
make_polyphony() {
  local split
  mkdir -p "$1"
  for split in train eval; do
    cp "$EVENTS/$split.tsv" "$1"
    awk -F'\t' -v OFS='\t' '{ print $1, "/demo/events_" split($2, classes, ",") }' "$EVENTS/$split.lbl" >"$1/$split.lbl"
  done
  printf '%s\n' index,mid,display_name '0,/demo/events_1,"one event"' '1,/demo/events_2,"two events"' \
    '2,/demo/events_3,"three events"' >"$1/label_descriptors.csv"
}

answer_attention() {
  local placed=$WORK/data/placed
  [[ -f $placed/label_descriptors.csv ]] ||
    "$PYTHON" -m ASDA.demo.corpus "$placed" --num-clips "${PLACED_CLIPS:-240}" --seed 2 --quiet-stretches
  short_grid demo_attention
  taken=("lambda_0.3=$WORK/demo_students/runs/students_16")
  run_grid demo_attention
  "$PYTHON" -m benchmarks.event_attention --runs "$WORK/demo_attention" --data "$placed" --command benchmarks/findings.sh \
    --settings "lambda 0.3=lambda_0.3" "lambda 0=lambda_0" plain --output "$OUTPUT/event_attention.md"
}

answer_cost() {
  local device
  device=$("$PYTHON" -c 'from benchmarks import measuring; print(measuring.best_device().type)')
  [[ ! -f $WORK/cost_$device ]] || return 0
  "$PYTHON" -m benchmarks.run_all attention_cost ${cost_flags[@]+"${cost_flags[@]}"} --output "$OUTPUT/$device"
  touch "$WORK/cost_$device"
}

answer_students() {
  short_grid demo_students
  taken=("students_16=$WORK/demo_attention/runs/lambda_0.3")
  run_grid demo_students
  report_grid demo_students students_equal_work.md
}

answer_cls() {
  short_grid demo_cls_place
  taken=()
  run_grid demo_cls_place
  report_grid demo_cls_place cls_place.md
}

answer_lambda() {
  local task data=()
  for task in "${tasks[@]}"; do
    case $task in
      events) ;;
      polyphony)
        make_polyphony "$WORK/data/polyphony"
        data+=(--data "polyphony=$WORK/data/polyphony")
        ;;
      *)
        [[ -f $WORK/data/$task/data/eval.tsv ]] || prepare_recorded "$task" "$SHARE" "$WORK/data/$task"
        data+=(--data "$task=$WORK/data/$task/data")
        ;;
    esac
  done
  short_grid demo_lambda_tasks --tasks "${tasks[@]}"
  taken=("lambda_0.3=$WORK/demo_attention/runs/lambda_0.3" "lambda_0=$WORK/demo_attention/runs/lambda_0")
  run_grid demo_lambda_tasks "${data[@]}"
  report_grid demo_lambda_tasks lambda_tasks.md
}

for question in "${questions[@]}"; do
  [[ $(type -t "answer_$question") == function ]] ||
    die "QUESTIONS: there is no $question; expected some of attention cost students cls lambda"
  if [[ $question == lambda ]]; then
    for task in "${tasks[@]}"; do
      [[ $task == events || $task == polyphony ]] || require_recorded "$task" "$SHARE"
    done
  fi
done
mkdir -p "$OUTPUT"
[[ -f $EVENTS/label_descriptors.csv ]] || "$PYTHON" -m ASDA.demo.corpus "$EVENTS" --num-clips "${NUM_CLIPS:-800}"
for question in "${questions[@]}"; do
  say "$question"
  "answer_$question"
done
