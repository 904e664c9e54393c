"""torchrun for training runs that can be stopped: `python -m ASDA.launch.torchrun [torchrun's arguments]`.

torchrun itself gives its processes 30 s to react to SIGTERM and Ctrl-C, dies of SIGUSR1, and replaces their exit codes
by 1. Here these signals are passed on to the training processes, which get the time it takes to save, and the code with
which they say that they have (75) comes back. A second Ctrl-C ends everything at once.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import parse_args, run

from ASDA.training.stopping import EXIT_STOPPED, INTERRUPT, SIGNALS

CHILDREN = "/proc/self/task/{thread}/children"


def _pass_on(number: int, frame: object) -> None:  # noqa: ARG001 - Python passes the frame too
    children = _children()
    for child in children:
        _signal(child, number)
    if not children:  # nothing has been started that would have to save
        raise SystemExit(128 + number)


def _interrupt(number: int, frame: object) -> None:
    # Another signal, as a second one of these would end the processes: they may have got Ctrl-C themselves.
    signal.signal(number, _end_all)
    os.write(2, b"\nstopping after this update, and saving; Ctrl-C again ends at once, without saving\n")
    _pass_on(signal.SIGTERM, frame)


def _end_all(number: int, frame: object) -> None:  # noqa: ARG001
    for child in _children():
        try:
            os.killpg(child, signal.SIGKILL)  # with its workers: torchrun gives each process a group of its own
        except ProcessLookupError:
            _signal(child, signal.SIGKILL)
    os._exit(128 + number)


def _signal(process: int, number: int) -> None:
    try:
        os.kill(process, number)
    except ProcessLookupError:  # it has ended meanwhile
        pass


def _children() -> list[int]:
    return [int(child) for thread in os.listdir("/proc/self/task") for child in _children_of(thread)]


def _children_of(thread: str) -> list[str]:
    try:
        return Path(CHILDREN.format(thread=thread)).read_text().split()
    except FileNotFoundError:  # the thread has ended meanwhile
        return []


def main(argv: list[str] | None = None) -> int:
    """Runs torchrun; returns 75 if the processes were stopped and have saved, 1 if they failed."""
    arguments = parse_args(sys.argv[1:] if argv is None else argv)
    if arguments.nproc_per_node != "1":
        os.environ.setdefault("OMP_NUM_THREADS", "1")  # as torchrun does, with a warning of four lines
    if Path(CHILDREN.format(thread=os.getpid())).exists():  # Linux
        arguments.signals_to_handle = "SIGHUP,SIGQUIT"
        for number in SIGNALS:
            signal.signal(number, _pass_on)
        signal.signal(INTERRUPT, _interrupt)
    try:
        run(arguments)
    except ChildFailedError as error:
        _, failure = error.get_first_failure()
        if failure.exitcode == EXIT_STOPPED:
            return EXIT_STOPPED
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
