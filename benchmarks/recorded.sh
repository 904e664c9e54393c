# shellcheck shell=bash
# Sourced by the benchmarks on recorded sound that anyone can have from Debian, with labels of what its folders and names say:
#
#   speech   klettres-data: letters and syllables that people read. A clip's class is its language: the folder that the
#            package has it in. Left out are Arabic, Malayalam and Czech, many of whose files are refused: their Ogg
#            streams have no end (ar 28 of 28, ml 520 of 521), or are several (cs 18 of 50).
#   samples  sonic-pi-samples: drums, loops, voices, noises. A clip's class is its name before the first underscore.
#
#   apt-get install klettres-data sonic-pi-samples
#
# or, without installing, with DATA=FOLDER/usr/share:
#
#   apt-get download klettres-data sonic-pi-samples && for package in *.deb; do dpkg -x "$package" FOLDER; done

# recorded_clips CORPUS SHARE: the folder of its clips, in a folder that holds klettres and sonic-pi.
recorded_clips() {
  case $1 in
    speech) echo "$2/klettres" ;;
    samples) echo "$2/sonic-pi/samples" ;;
    *) die "$1 is neither speech nor samples" ;;
  esac
}

# require_recorded CORPUS SHARE: says what is missing.
require_recorded() {
  local folder
  folder=$(recorded_clips "$1" "$2") || exit
  [[ -d $folder ]] || die "DATA: there is no $folder; install the package or name the folder that holds klettres and sonic-pi"
}

# recorded_labels CORPUS FOLDER: its clips and their classes, as lines of a csv file.
recorded_labels() {
  case $1 in
    speech) find "$2" -name '*.ogg' -printf '%P\n' | sed -nE '/^(ar|ml|cs)\//d; s#^([^/]+)/.*#&,\1#p' ;;
    samples) find "$2" -name '*.flac' -printf '%P\n' | sed -nE 's#^(.*/)?([^_/]+)_.*#&,\2#p' ;;
  esac | sort
}

# prepare_recorded CORPUS SHARE FOLDER: labels and manifests, two thirds to train on and one held out, as FOLDER/data.
prepare_recorded() {
  local clips
  clips=$(recorded_clips "$1" "$2")
  mkdir -p "$3"
  { echo "file,label" && recorded_labels "$1" "$clips"; } >"$3/labels.csv"
  "$PYTHON" -m ASDA.cli.manifest folder "$clips" --overwrite --labels "$3/labels.csv" --split train=2 eval=1 --out "$3/data"
}
