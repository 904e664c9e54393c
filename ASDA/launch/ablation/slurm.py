"""The batch script that runs a grid as a Slurm array: a task for each chain."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence

from ..composing import PROJECT

_SCRIPT = """\
#!/usr/bin/env bash
# The runs of {name} as a Slurm array, a task for each pre-training and what comes after it. --output and data have to
# be on a file system that all nodes see. More of a node for each: sbatch --gpus=8 --time=72:00:00 SCRIPT
#
# Ten minutes before the time limit a task is asked to stop (SIGUSR1): its run saves, and the task queues itself again.
# The table of what is done: {report}
#SBATCH --job-name=asda-{name}
#SBATCH --array=0-{last}
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --gpus=1
#SBATCH --cpus-per-task=16
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --signal=B:USR1@600
#SBATCH --output={log}
set -euo pipefail

cd {folder}
export PYTHONPATH={project}${{PYTHONPATH:+:$PYTHONPATH}}
stopping=0
{command} --index "$SLURM_ARRAY_TASK_ID" &
run=$!
trap 'stopping=1; kill -USR1 "$run"' USR1
code=0
wait "$run" || code=$?
if ((stopping)); then # the signal has interrupted the waiting, not the run
  code=0
  wait "$run" || code=$?
fi
if ((code == 75)); then scontrol requeue "${{SLURM_ARRAY_JOB_ID}}_$SLURM_ARRAY_TASK_ID"; fi
exit "$code"
"""


def array_script(name: str, num_chains: int, arguments: Sequence[str], log: str, folder: str) -> str:
    """The script.

    Args:
        name: of the grid.
        num_chains: how many tasks.
        arguments: of asda-ablate, by which each task finds the same grid, data and folder.
        log: of each task; `%a` is its number.
        folder: the current one, from which paths are meant.
    """
    command = shlex.join([sys.executable, "-m", "ASDA.cli.ablate", *arguments])
    return _SCRIPT.format(
        name=name,
        last=num_chains - 1,
        report=shlex.join(["asda-ablate", *arguments, "--report"]),
        log=shlex.quote(log),
        folder=shlex.quote(folder),
        project=shlex.quote(str(PROJECT)),
        command=command,
    )
