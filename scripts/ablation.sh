#!/usr/bin/env bash
# The ablations of ASDA's paper, small, on this machine: makes the demo's corpus, runs every setting of a ready grid with
# three seeds, and writes a table with intervals, a picture and a page. Given again, it goes on where it was stopped.
#
# Settings (environment variables):
#   GRID          a ready grid of config/ablation, or a yaml's path (default demo_ASDA)
#   ABLATION_DIR  where everything goes (default: ablation/ in the repository)
#   NUM_CLIPS     clips of the generated corpus (default 800)
#   JOBS          runs at a time (default: one for each GPU; without any one for each core, 4 at most)
#   NGPU, NPROC   GPUs, or processes on the CPU, as for ./pretraining_AS2M.sh
#
# make ablation, or scripts/ablation.sh [FLAG ...] with flags of asda-ablate, as --dry-run or --report
source "$(dirname "${BASH_SOURCE[0]}")/help.sh"
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

ABLATION_DIR=$(absolute "${ABLATION_DIR:-$ROOT/ablation}")
GRID=${GRID:-demo_ASDA}
DATA=$ABLATION_DIR/data
gpus=$(nvidia-smi -L 2>/dev/null | wc -l) || gpus=0
if ((gpus > 0)) && [[ ${NGPU:-} != 0 ]]; then
  JOBS=${JOBS:-${NGPU:-$gpus}}
else
  cores=$(nproc 2>/dev/null || sysctl -n hw.ncpu)
  JOBS=${JOBS:-$((cores < 4 ? cores : 4))}
fi

[[ -f $DATA/label_descriptors.csv ]] || "$PYTHON" -m ASDA.demo.corpus "$DATA" --num-clips "${NUM_CLIPS:-800}"
name=${GRID##*/}
exec "$PYTHON" -m ASDA.cli.ablate "$GRID" --data "$DATA" --output "$ABLATION_DIR/${name%.yaml}" --jobs "$JOBS" "$@"
