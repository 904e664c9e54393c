#!/usr/bin/env bash
# Manifests of AudioSet from the clips that could be downloaded: {train,eval}.{tsv,lbl}, label_descriptors.csv, the
# clips' weights (weight_train_all.csv) and report.txt, which names missing, unreadable, short and duplicate clips.
#
# Settings (environment variables):
#   DATASET      folder of the clips, in any sub-folders; wav, flac, ..., h5 or tar; named <id>, Y<id>, <id>_<start>,
#                <id>_<start>_<end> (required)
#   SEGMENTS     folder with Google's balanced_train_segments.csv, unbalanced_train_segments.csv and
#                eval_segments.csv (required)
#   DATA         folder for the manifests; the DATA of the AudioSet training scripts (required)
#   SUBSET       2M: both training lists (default); 20K: the balanced one
#   DRY_RUN=1    print the command instead of running it
# Arguments go to `asda-manifest audioset`, for example --overwrite; `asda-manifest audioset --help` lists them.
#
# DATASET=/downloads/audioset SEGMENTS=/downloads/audioset DATA=/data/as2m scripts/prepare_audioset.sh
source "$(dirname "${BASH_SOURCE[0]}")/prepare.sh"

lists=(balanced_train_segments.csv eval_segments.csv)
case ${SUBSET:-2M} in
  20K) ;;
  2M) lists+=(unbalanced_train_segments.csv) ;;
  *) die "SUBSET=$SUBSET; it has to be 2M or 20K" ;;
esac
require_path SEGMENTS "the folder with Google's segment lists" "${lists[@]}"
segments=()
for list in "${lists[@]}"; do
  if [[ $list == eval* ]]; then split=eval; else split=train; fi
  segments+=("$split=$SEGMENTS/$list")
done
prepare audioset "the folder of the clips" --segments "${segments[@]}" "$@"
