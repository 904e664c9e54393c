# shellcheck shell=bash
# Shared by the scripts that prepare a known data set, which source it. These settings hold for all of them:
#
#   DATASET      the data set as it was downloaded and unpacked (required)
#   DATA         folder for the manifests; the DATA of the fine-tuning script (required)
#   DRY_RUN=1    print the command instead of running it
#
# Arguments go to `asda-manifest`, for example --overwrite or --workers 8.
source "$(dirname "${BASH_SOURCE[0]}")/help.sh"
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

# require NAME MEANING: the setting has to be given.
require() { [[ -n ${!1:-} ]] || die "set $1: $2"; }

# require_path NAME MEANING [FILE...]: the setting is a path, made absolute; it, or the files under it, have to exist.
require_path() {
  local name=$1 meaning=$2 path
  shift 2
  require "$name" "$meaning"
  printf -v "$name" '%s' "$(absolute "${!name}")"
  [[ ${DRY_RUN:-0} != 1 ]] || return 0
  for path in "${@/#/${!name}/}" "${!name}"; do
    [[ -e $path ]] || die "$name: $path does not exist; it has to be $meaning"
  done
}

# prepare NAME LAYOUT ARGUMENT...: runs `asda-manifest NAME` on DATASET, whose LAYOUT is said when it is missing.
prepare() {
  local name=$1 layout=$2 command
  shift 2
  require_path DATASET "$layout"
  require DATA "folder for the manifests"
  command=("$PYTHON" -m ASDA.cli.manifest "$name" "$DATASET" --out "$(absolute "$DATA")" "$@")
  if [[ ${DRY_RUN:-0} == 1 ]]; then
    printf '%q ' "${command[@]}"
    echo
  else
    "${command[@]}"
  fi
}
