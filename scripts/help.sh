# shellcheck shell=bash
# Sourced first by scripts without a program of their own behind them: --help or -h prints the head of the script that was
# started, its settings and examples, and leaves.
for argument in "$@"; do
  if [[ $argument == --help || $argument == -h ]]; then
    sed -n -e '1d' -e '/^#SBATCH/d' -e '/^#/!q' -e 's/^# \{0,1\}//p' "$0"
    exit 0
  fi
done
