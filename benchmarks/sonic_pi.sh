# shellcheck shell=bash
# Sourced by the benchmarks on recorded sound: the sample library that Debian packages as sonic-pi-samples (165 flac files at
# 44.1 kHz, mono and stereo, 0.1 to 60 s). A sample's class is its name before the first underscore.
#
#   apt-get install sonic-pi-samples    or, without installing: apt-get download sonic-pi-samples && dpkg -x *.deb FOLDER
source "$(dirname "${BASH_SOURCE[0]}")/recorded.sh"

# prepare_samples SAMPLES FOLDER: manifests FOLDER/all of all samples and FOLDER/folds of five folds with labels.
prepare_samples() {
  local samples=$1 folder=$2
  mkdir -p "$folder"
  { echo "file,label" && recorded_labels samples "$samples"; } >"$folder/labels.csv"
  "$PYTHON" -m ASDA.cli.manifest folder "$samples" --overwrite --out "$folder/all"
  "$PYTHON" -m ASDA.cli.manifest folder "$samples" --overwrite --labels "$folder/labels.csv" --folds 5 --out "$folder/folds"
}

# require_samples FOLDER
require_samples() {
  [[ -n $(find "$1" -name '*.flac' -print -quit 2>/dev/null) ]] ||
    die "DATA: $1 holds no flac files; install sonic-pi-samples or name its folder"
}
