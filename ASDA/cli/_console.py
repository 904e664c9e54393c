"""What the programs tell the user: notes, progress, bad clips, exit codes."""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from ..atomic import atomic_writer, is_stream, look_for_leftovers_again
from ..inference.windows import BadClip, LoadedClip, Windowing, seconds
from ._outputs import errors_line, is_errors_list, one_line, printable, refuse_foreign

MAX_LISTED = 20

_MUCH_PADDING = 4  # times as much computed as heard
_MANY_CLIPS = 20  # with fewer it does not matter

EXIT_OK = 0

EXIT_ERROR = 1

EXIT_BAD_CLIPS = 2
"""Some clips could not be read; everything else was done."""

EXIT_SIGNAL = 128
"""Plus the number of the signal that ended the program, as shells count."""

_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
# How torch says on a CPU that there is no memory left; it has no class of errors for that.
_OUT_OF_MEMORY = re.compile(r"can't allocate memory|not enough memory|bad_alloc|alloc.*failed", re.IGNORECASE)


class ClipLengths:
    """Counts what a run's window does to clips of other lengths, so that it does not pass unnoticed.

    Clips of which only the beginning was used; and padding, where most of what is computed is that.
    """

    def __init__(self, windowing: Windowing):
        self.windowing = windowing
        self._num_cut = 0
        self._num_clips = 0
        self._heard_frames = 0

    def count(self, clip: LoadedClip) -> None:
        self.count_frames(clip.num_frames)

    def count_frames(self, num_frames: int) -> None:
        """A clip of which only the length is known."""
        window = self.windowing.window_frames
        self._num_cut += self.windowing.hop_frames is None and num_frames > window
        self._num_clips += 1
        self._heard_frames += min(num_frames, window)

    def report(self) -> None:
        length_s = seconds(self.windowing.window_frames)
        if self._num_cut:
            note(
                f"{self._num_cut} clips are longer than the window of {length_s:g} s and were cut to it; "
                "--long windows uses all of them"
            )
        computed = self._num_clips * self.windowing.window_frames
        if self.windowing.padding != "constant" or computed < _MUCH_PADDING * max(1, self._heard_frames):
            return
        if self._num_clips >= _MANY_CLIPS:
            note(
                f"{1 - self._heard_frames / computed:.0%} of what was computed is padding: clips of "
                f"{seconds(self._heard_frames / self._num_clips):.2g} s on average are filled up to the window of "
                f"{length_s:g} s; --padding mask computes {computed / self._heard_frames:.0f} times less, for other "
                "features than the constant padding that published weights are trained with"
            )


def progress(results: Iterable[Any], total: int) -> Iterable[Any]:
    """A progress bar on stderr: clips, clips/s, time left. One clip needs none."""
    # In a log file every refresh is a line of its own.
    interval_s = 0.2 if sys.stderr.isatty() else 30.0
    return tqdm(results, total=total, unit="clip", mininterval=interval_s, disable=total <= 1)


def aligned(rows: Sequence[Sequence[Any]]) -> list[str]:
    """The lines of a table, its columns under each other."""
    widths = [max(len(str(cell)) for cell in column) for column in zip(*rows, strict=True)]
    return ["  ".join(f"{cell!s:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def check_errors_path(path: str | Path | None) -> None:
    """Refuses a file for the list of bad clips that holds something else.

    Raises:
        ValueError: it does.
    """
    if path is not None:
        refuse_foreign(path, "a list of clips that were left out", is_errors_list)


def report_bad_clips(bad: list[BadClip], total: int, path: str | Path | None) -> int:
    """Tells which clips could not be read, on stderr and in a file; returns the exit code.

    Args:
        bad: those clips.
        total: how many clips there were.
        path: the file, `path<TAB>left out: reason` lines; such a list of an earlier run is removed when nothing is
            wrong any more. What is no such list is neither removed nor replaced.
    """
    code = EXIT_BAD_CLIPS if bad else EXIT_OK
    if path is not None:
        try:
            _write_errors_list(bad, Path(path))
        except (OSError, ValueError) as error:
            note(f"the list of {len(bad)} clips is not written: {reason_of(error)}")
            path, code = None, EXIT_ERROR
    listed = bad if path is None else bad[:MAX_LISTED]
    for clip in listed:
        note(f"{one_line(clip.clip.path)}: {clip.reason}")
    if len(bad) > len(listed):
        note(f"... and {len(bad) - len(listed)} more")
    if bad and total > 1:
        note(f"{len(bad)} of {total} clips could not be read" + (f"; all are listed in {path}" if path else ""))
    if bad and len(bad) == total and any(clip.not_finite for clip in bad):
        note("no clip is left: the checkpoint or the normalisation makes NaN or infinity of them")
        return EXIT_ERROR
    return code


def _write_errors_list(bad: list[BadClip], path: Path) -> None:
    check_errors_path(path)
    if bad or is_stream(path):
        with atomic_writer(path) as file:
            file.writelines(errors_line(clip) for clip in bad)
    elif path.exists() and path.stat().st_size:
        if path.is_symlink():  # the link is not ours
            with atomic_writer(path):
                pass
        else:
            path.unlink()


def note(text: str) -> None:
    """One line to the user, beside the program's output."""
    print(printable(text), file=sys.stderr)


def run(program: str, action: Callable[[], int]) -> int:
    """Runs a program's work and turns what ends it early into one line and an exit code."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # file names need not be valid in the terminal's encoding
    look_for_leftovers_again()
    with _signals_as_exceptions():
        try:
            code = action()
            sys.stdout.flush()
            return code
        except BrokenPipeError:  # the reader of the output has had enough, as in `asda-infer ... | head`
            pass
        except torch.OutOfMemoryError as error:
            note(f"{program}: error: the GPU's memory is full; use a smaller --batch_size ({reason_of(error)})")
        except (ValueError, OSError) as error:
            note(f"{program}: error: {reason_of(error)}")
        except (MemoryError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and not _OUT_OF_MEMORY.search(str(error)):
                raise
            note(f"{program}: error: the memory is full; use a smaller --batch_size ({reason_of(error)})")
        except _EndedBySignal as ended:
            note(f"{program}: ended by {signal.Signals(ended.number).name}")
            return EXIT_SIGNAL + ended.number
        except KeyboardInterrupt:
            note(f"{program}: interrupted")
            return EXIT_SIGNAL + signal.SIGINT
        finally:
            _give_up_stdout_if_broken()
    return EXIT_ERROR


def reason_of(error: BaseException) -> str:
    """What an error says, in one line."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{one_line(os.fsdecode(error.filename))}: {error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__


class _EndedBySignal(KeyboardInterrupt):
    """The program was asked to end by another signal than Ctrl-C's."""

    def __init__(self, number: int):
        super().__init__()
        self.number = number


@contextmanager
def _signals_as_exceptions() -> Iterator[None]:
    """Lets a program that is asked to end (by SIGTERM, or a terminal that goes) save and clear up, as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, _: object) -> None:
        raise _EndedBySignal(number)

    earlier = {}
    for number in _SIGNALS:
        # What is ignored, as by nohup, stays so; Ctrl-C is an exception already.
        if number != signal.SIGINT and signal.getsignal(number) == signal.SIG_DFL:
            earlier[number] = signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)


def _give_up_stdout_if_broken() -> None:
    """Python writes what is left when it exits, and would report a pipe or disk that takes no more once again."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
