#!/usr/bin/env bash
# Extract features: one .npy for each audio file, with all tokens, those of the frames, or one vector per clip.
#
#   ./feature_extract.sh --checkpoint_dir /runs/asda/checkpoint_last.pt --source_file clip.wav --target_file clip.npy \
#       --granularity frame
#
# Without --checkpoint_dir it uses the demo's model; without any argument also one of the demo's clips. --help lists all.
source "$(dirname "${BASH_SOURCE[0]}")/scripts/program.sh"

on_the_demo() { defaults=(--source_file "$(demo_clip)" --target_file "$DEMO/features.npy"); }

run_program extract on_the_demo "$@"
