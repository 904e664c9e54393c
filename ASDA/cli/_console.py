"""What the programs tell the user: notes, progress, bad clips, exit codes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from ..atomic import atomic_writer
from ..inference.windows import BadClip, LoadedClip, Windowing, seconds

MAX_LISTED = 20


EXIT_OK = 0


EXIT_ERROR = 1


EXIT_BAD_CLIPS = 2
"""Some clips could not be read; everything else was done."""


class CutClips:
    """Counts the clips of which only the beginning was used, so that this does not pass unnoticed."""

    def __init__(self, windowing: Windowing):
        self.windowing = windowing
        self.number = 0

    def count(self, clip: LoadedClip) -> None:
        window = self.windowing.front_end.target_length_frames
        self.number += self.windowing.hop_frames is None and clip.num_frames > window

    def report(self) -> None:
        if self.number:
            length_s = seconds(self.windowing.front_end.target_length_frames)
            note(
                f"{self.number} clips are longer than the window of {length_s:g} s and were cut to it; "
                "--long windows uses all of them"
            )


def progress(results: Iterable[Any], total: int) -> Iterable[Any]:
    """A progress bar on stderr: clips, clips/s, time left. One clip needs none."""
    # In a log file every refresh is a line of its own.
    interval_s = 0.2 if sys.stderr.isatty() else 30.0
    return tqdm(results, total=total, unit="clip", mininterval=interval_s, disable=total <= 1)


def report_bad_clips(bad: list[BadClip], total: int, path: str | Path | None) -> int:
    """Tells which clips could not be read, on stderr and in a file; returns the exit code.

    Args:
        bad: those clips.
        total: how many clips there were.
        path: the file, `path<TAB>reason` lines; removed when an earlier run left one and nothing is wrong any more.
    """
    if path is not None and bad:
        with atomic_writer(path) as file:
            file.writelines(f"{one_line(clip.clip.path)}\t{clip.reason}\n" for clip in bad)
    elif path is not None:
        Path(path).unlink(missing_ok=True)
    listed = bad if path is None else bad[:MAX_LISTED]
    for clip in listed:
        note(f"{one_line(clip.clip.path)}: {clip.reason}")
    if len(bad) > len(listed):
        note(f"... and {len(bad) - len(listed)} more")
    if bad and total > 1:
        note(f"{len(bad)} of {total} clips could not be read" + (f"; all are listed in {path}" if path else ""))
    if len(bad) == total and any(clip.not_finite for clip in bad):
        note("no clip is left: the checkpoint or the normalisation makes NaN or infinity of them")
        return EXIT_ERROR
    return EXIT_BAD_CLIPS if bad else EXIT_OK


def one_line(path: str) -> str:
    """A path with the characters escaped that would break a line or a column."""
    for character, escaped in (("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r")):
        path = path.replace(character, escaped)
    return path


def note(text: str) -> None:
    """One line to the user, beside the program's output."""
    print(text, file=sys.stderr)


def run(program: str, action: Callable[[], int]) -> int:
    """Runs a program's work and turns errors about input into one line and an exit code."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # file names need not be valid in the terminal's encoding
    try:
        return action()
    except BrokenPipeError:  # the reader of the output has had enough, as in `asda-infer ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_ERROR
    except torch.OutOfMemoryError as error:
        note(f"{program}: error: the GPU's memory is full; use a smaller --batch_size ({error})")
        return EXIT_ERROR
    except (ValueError, OSError) as error:
        note(f"{program}: error: {error}")
        return EXIT_ERROR
    except KeyboardInterrupt:
        note(f"{program}: interrupted")
        return 130
