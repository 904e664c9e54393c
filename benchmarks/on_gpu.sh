#!/usr/bin/env bash
# Everything that wants a card, in one command: the tests for a GPU, steps of pre-training (bare and in the trainer, plain
# and fast, compiled and not, in each precision, with 12 and 48 clips), attention by length, fine-tuning, extraction,
# loading, a profile. At most 8 minutes, without network. Tables and json: benchmarks/results/cuda.
#
# Settings (environment variables):
#   WHEELS        folder of wheels to use for this run, for what the machine's Python has not; they are not installed into it
#   ASDA_PYTHON   the interpreter (default .venv/bin/python where there is one, else python3). It has to have torch,
#                 torchaudio, h5py, safetensors and scikit-learn, and pip for WHEELS
#
# The wheels, made where there is a network, by the same version of Python:
#   grep -vE '^(torch|torchaudio|torchvision|triton|h5py|safetensors|scikit-learn|numpy|scipy)==' requirements.txt >rest.txt
#   python3 -m pip wheel --no-deps -r rest.txt -w wheels
#
# WHEELS=wheels benchmarks/on_gpu.sh [PART ...] [--minutes 8] [--output FOLDER] [--tiny]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../scripts/help.sh"

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
if [[ -z ${ASDA_PYTHON:-} ]]; then
  ASDA_PYTHON=python3
  [[ ! -x $ROOT/.venv/bin/python ]] || ASDA_PYTHON=$ROOT/.venv/bin/python
fi
export PYTHONPATH=$ROOT${PYTHONPATH:+:$PYTHONPATH}

if [[ -n ${WHEELS:-} ]]; then
  shopt -s nullglob
  wheels=("$WHEELS"/*.whl)
  if ((${#wheels[@]} == 0)); then
    printf 'on_gpu: WHEELS=%s holds no wheels\n' "$WHEELS" >&2
    exit 1
  fi
  site=$(mktemp -d)
  trap 'rm -rf "$site"' EXIT
  "$ASDA_PYTHON" -m pip install --quiet --no-index --no-deps --no-compile --target "$site" "${wheels[@]}"
  export PYTHONPATH=$site:$PYTHONPATH
fi
"$ASDA_PYTHON" -m benchmarks.on_gpu "$@"
