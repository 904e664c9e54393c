#!/usr/bin/env bash
# Evaluate a fine-tuned model on labelled clips: the metrics of the whole set and a table per class.
#
#   ./eval.sh --checkpoint_dir /runs/as20k/checkpoint_best.pt --eval_dir /data/as20k
#
# Without --checkpoint_dir it uses the demo's model; without any argument also the demo's clips. --help lists all flags.
source "$(dirname "${BASH_SOURCE[0]}")/scripts/program.sh"

on_the_demo() { defaults=(--eval_dir "$DEMO/data"); }

run_program evaluate on_the_demo "$@"
