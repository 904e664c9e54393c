#!/usr/bin/env bash
# Set up everything that the project needs: the environment .venv with the tested packages of requirements.txt and this
# package in editable form. Running it again takes seconds when nothing has changed.
#
# Settings (environment variables):
#   ASDA_PYTHON=/path/to/python   the interpreter to use (3.10, 3.11, 3.12 or 3.13) instead of the one found
#   ASDA_USE_ACTIVE_ENV=1         install into the active virtual or conda environment (or into ASDA_PYTHON) instead of .venv
#   ASDA_NO_UV=1                  use pip even where uv is installed
# The usual settings of pip and uv (index, cache, proxy, certificates) hold.
#
# On Python 3.12 (Linux x86-64) everything comes as a wheel. Elsewhere fairseq is compiled, which takes minutes and needs
# a C++ compiler and Python's headers.
#
# make setup, or scripts/setup.sh
set -euo pipefail

source "$(dirname "${BASH_SOURCE[0]}")/help.sh"
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
VERSIONS=(3.12 3.11 3.13 3.10) # in order of preference: fairseq has a wheel for the first only
VENV=$ROOT/.venv
# It says that it needs Python before 3.9 and TensorFlow, and needs neither: the tests hold the HEAR bridge against it.
HEARVALIDATOR=hearvalidator==2021.0.6

say() { printf 'set-up: %s\n' "$*" >&2; }
fail() {
  printf 'set-up failed: %s\n' "$*" >&2
  exit 1
}

(($# == 0)) || fail "it takes no arguments, got \"$*\"; --help lists its settings"

UV=
if [[ ${ASDA_NO_UV:-0} != 1 ]] && uv --version >/dev/null 2>&1; then UV=uv; fi

# The version of an interpreter as "3.12", or nothing when it does not run: a pyenv shim can be on PATH and still exit 127.
version_of() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || true; }

needs_compiler() { # fairseq's only wheel that matters here is cp312 for glibc on x86-64
  ! "$1" -c 'import platform, sys
sys.exit(not (sys.version_info[:2] == (3, 12) and platform.machine() == "x86_64" and platform.libc_ver()[0] == "glibc"))'
}

# Why the interpreter $1 cannot be used, in words; nothing when it can. $2 is what for: "venv" (to make an environment
# from it) or "install" (to install into it).
why_not() {
  local python=$1 purpose=$2 version compiler include
  version=$(version_of "$python")
  [[ -n $version ]] || { echo "does not run"; return; }
  [[ " ${VERSIONS[*]} " == *" $version "* ]] || { echo "is Python $version; supported: 3.10 to 3.13"; return; }
  if [[ $purpose == venv && -z $UV ]] && ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    echo "is Python $version without the venv module (Debian and Ubuntu: apt install python$version-venv)"
    return
  fi
  needs_compiler "$python" || return 0
  for compiler in "${CC:-cc}" "${CXX:-c++}"; do
    # Unquoted: CC and CXX may hold a launcher or flags, as in CXX="ccache g++".
    $compiler --version >/dev/null 2>&1 || {
      echo "is Python $version, for which fairseq has to be compiled, and the compiler \"$compiler\" is missing" \
        "(Debian and Ubuntu: apt install g++)"
      return
    }
  done
  include=$("$python" -c 'import sysconfig; print(sysconfig.get_paths()["include"])')
  [[ -f $include/Python.h ]] ||
    echo "is Python $version, for which fairseq has to be compiled, and $include/Python.h is missing" \
      "(Debian and Ubuntu: apt install python$version-dev)"
}

require_usable() {
  local reason
  reason=$(why_not "$@")
  [[ -z $reason ]] || fail "$1 $reason"
}

# Places where interpreters of version $1 live, best first.
candidates() {
  local version=$1 folder
  type -ap "python$version" python3 python || true
  for folder in "${PYENV_ROOT:-$HOME/.pyenv}/versions/$version".*/bin "$HOME/.local/bin" /usr/local/bin /opt/homebrew/bin \
    /opt/*/bin "${UV_PYTHON_INSTALL_DIR:-$HOME/.local/share/uv/python}/cpython-$version".*/bin; do
    if [[ -x $folder/python$version ]]; then echo "$folder/python$version"; fi
  done
}

find_python() {
  local version python reason reasons=""
  for version in "${VERSIONS[@]}"; do
    while read -r python; do
      [[ $(version_of "$python") == "$version" ]] || continue
      reason=$(why_not "$python" venv)
      if [[ -z $reason ]]; then
        echo "$python"
        return
      fi
      [[ $reasons == *"$reason"* ]] || reasons+=$'\n'"  $python $reason"
    done < <(candidates "$version")
  done
  fail "no usable Python found. Install Python 3.12 (no compiler needed), or name one: ASDA_PYTHON=/path/to/python.$reasons"
}

# Sets PYTHON, the interpreter of the environment to install into; makes the environment when there is none.
choose_environment() {
  local base
  if [[ ${ASDA_USE_ACTIVE_ENV:-0} == 1 ]]; then
    if [[ -n ${ASDA_PYTHON:-} ]]; then
      PYTHON=$ASDA_PYTHON
    elif [[ -n ${VIRTUAL_ENV:-${CONDA_PREFIX:-}} ]]; then
      PYTHON=${VIRTUAL_ENV:-$CONDA_PREFIX}/bin/python
    else
      fail "ASDA_USE_ACTIVE_ENV=1, but no virtual or conda environment is active; activate one or set ASDA_PYTHON"
    fi
    return
  fi

  PYTHON=$VENV/bin/python
  if [[ -n $(version_of "$PYTHON") ]]; then
    if [[ -n ${ASDA_PYTHON:-} && $(version_of "$ASDA_PYTHON") != $(version_of "$PYTHON") ]]; then
      fail "$VENV holds Python $(version_of "$PYTHON"), ASDA_PYTHON is $(version_of "$ASDA_PYTHON"); remove $VENV first"
    fi
    if [[ -n $UV ]] || "$PYTHON" -m pip --version >/dev/null 2>&1; then return; fi
    say "$VENV is incomplete: making it anew"
  elif [[ -e $VENV ]]; then
    say "$VENV does not work (moved, or its Python is gone): making it anew"
  fi

  if [[ -n ${ASDA_PYTHON:-} ]]; then
    base=$ASDA_PYTHON
    require_usable "$base" venv
  else
    base=$(find_python)
  fi
  say "making $VENV with $base (Python $(version_of "$base"))"
  if [[ -n $UV ]]; then
    UV_VENV_CLEAR=1 uv venv --quiet --no-project --python "$base" "$VENV"
  else
    "$base" -m venv --clear "$VENV"
  fi || fail "could not make $VENV (see above)"
}

# What the installation depends on; the environment is up to date when its stamp says the same.
fingerprint() {
  "$PYTHON" - "$ROOT" requirements.txt pyproject.toml scripts/setup.sh <<'PYTHON'
import hashlib, pathlib, sys
root, *names = sys.argv[1:]
digest = hashlib.sha256(f"{root}\n{sys.version}\n".encode())
for name in names:
    digest.update(pathlib.Path(root, name).read_bytes())
print(digest.hexdigest())
PYTHON
}

# Everything but fairseq first, then fairseq without build isolation: an isolated build would fetch a second torch, of
# another version, to compile against. The validator last, which no list of requirements can hold.
install() {
  if [[ -n $UV ]]; then
    uv pip install --python "$PYTHON" --no-build-isolation-package fairseq-fixed -r "$ROOT/requirements.txt" &&
      uv pip install --quiet --python "$PYTHON" --no-deps "$HEARVALIDATOR" &&
      uv pip install --quiet --python "$PYTHON" --no-build-isolation --no-deps --editable "$ROOT"
    return
  fi
  "$PYTHON" -m pip --version >/dev/null 2>&1 || fail "$PYTHON has no pip, and uv is not installed"
  "$PYTHON" -m pip install -r <(grep -v '^fairseq-fixed==' "$ROOT/requirements.txt") &&
    "$PYTHON" -m pip install --no-build-isolation --no-deps "$(grep -o '^fairseq-fixed==[^ ]*' "$ROOT/requirements.txt")" &&
    "$PYTHON" -m pip install --quiet --ignore-requires-python --no-deps "$HEARVALIDATOR" &&
    "$PYTHON" -m pip install --quiet --no-build-isolation --no-deps --editable "$ROOT"
}

verify() { # the imports that an unlucky mixture of builds breaks first; their warnings matter only then
  local output
  output=$("$PYTHON" -c 'import torch, torchaudio, torchvision, fairseq.data.data_utils_fast, ASDA.core' 2>&1) || {
    echo "$output" >&2
    return 1
  }
}

choose_environment
[[ -n $(version_of "$PYTHON") ]] || require_usable "$PYTHON" install
STAMP=$("$PYTHON" -c 'import sys; print(sys.prefix)')/.asda-setup
WANTED=$(fingerprint)
if [[ -f $STAMP && $(<"$STAMP") == "$WANTED" ]]; then
  exit 0
fi

require_usable "$PYTHON" install
START=$SECONDS
say "installing with ${UV:-pip} into Python $(version_of "$PYTHON"); about 3 GB to download, 5 GB on disk the first time"
if needs_compiler "$PYTHON"; then say "fairseq is compiled for this Python, which takes minutes; 3.12 would not need it"; fi
rm -f "$STAMP"
install || fail "a package could not be installed (see above)"
verify || fail "the installed packages do not work together (see above); another package index may have offered other builds"
echo "$WANTED" >"$STAMP"
say "done in $((SECONDS - START)) s"
