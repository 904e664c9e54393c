# shellcheck shell=bash
# Sourced by every script that runs this project's Python: sets ROOT, the repository, and PYTHON, the environment's
# interpreter: that of .venv where there is one, or the active one with ASDA_USE_ACTIVE_ENV=1.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }
die() {
  say "$*"
  exit 2
}

if [[ ${ASDA_USE_ACTIVE_ENV:-0} == 1 ]]; then
  PYTHON=${ASDA_PYTHON:-python}
elif [[ -x $ROOT/.venv/bin/python ]]; then
  PYTHON=$ROOT/.venv/bin/python
else
  PYTHON=python3
fi
"$PYTHON" -c 'import sys, importlib.util as u; sys.exit(not (u.find_spec("ASDA") and u.find_spec("torch")))' 2>/dev/null ||
  die "$PYTHON cannot import this project; run \"make setup\" in $ROOT first"

export PYTHONSAFEPATH=1 # python -m must not import from the current directory, which may hold another ASDA

absolute() { if [[ $1 == /* ]]; then echo "$1"; else echo "$PWD/$1"; fi; }
