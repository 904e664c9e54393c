# shellcheck shell=bash
# Shared by the scripts that prepare a known data set, which source it. These settings hold for all of them:
#
#   DATASET      the data set as it was downloaded and unpacked (required)
#   DATA         folder for the manifests; the DATA of the fine-tuning script (required)
#   DRY_RUN=1    print the command instead of running it
#
# Arguments go to `asda-manifest`, for example --overwrite or --workers 8.
source "$(dirname "${BASH_SOURCE[0]}")/launch.sh"

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
