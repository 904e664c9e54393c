"""asda-average: the mean of several checkpoints of a run, as a checkpoint to fine-tune, evaluate or extract with."""

from __future__ import annotations

from pathlib import Path

from ..checkpoints.averaging import average_checkpoints, last_checkpoints
from ..checkpoints.files import CheckpointError, load_torch_file, save_torch_file
from . import _console as console
from ._outputs import refuse_foreign
from ._parser import Parser, positive


def main(argv: list[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    parser = Parser(prog="asda-average", description=__doc__)
    parser.add_argument("inputs", nargs="+", type=Path, metavar="PATH", help="checkpoints, or the folder of a run")
    parser.add_argument(
        "--last", type=positive, default=5, metavar="K", help="how many of a run's numbered checkpoints [5]"
    )
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="the checkpoint to write")
    args = parser.parse_args(argv)
    return console.run("asda-average", lambda: average(args.inputs, args.last, args.output))


def average(inputs: list[Path], last: int, output: Path) -> int:
    """Averages and writes."""
    files = [f for path in inputs for f in (last_checkpoints(path, last) if path.is_dir() else [path])]
    if any(file.exists() and output.exists() and file.samefile(output) for file in files):
        raise ValueError(f"{output}: one of the checkpoints to average, which would be lost; name another --output")
    refuse_foreign(output, "the mean of checkpoints", _is_average)
    state = average_checkpoints(files, load_torch_file)
    save_torch_file(state, output)
    print(f"{output}: the mean of {', '.join(str(file) for file in files)}")
    return console.EXIT_OK


def _is_average(path: Path) -> bool:
    try:
        state = load_torch_file(path)
    except CheckpointError:
        return False
    extra = state.get("extra_state") if isinstance(state, dict) else None
    return isinstance(extra, dict) and "averaged_checkpoints" in extra
