#!/usr/bin/env bash
# Which classes does a clip hold? Prints the best scores of audio files, folders or manifests.
#
#   ./inference.sh --checkpoint_dir /runs/as20k/checkpoint_best.pt --source_file clip.wav
#
# Without --checkpoint_dir it uses the demo's model; without any argument also one of the demo's clips. --help lists all.
source "$(dirname "${BASH_SOURCE[0]}")/scripts/program.sh"

on_the_demo() { defaults=(--source_file "$(demo_clip)"); }

run_program infer on_the_demo "$@"
