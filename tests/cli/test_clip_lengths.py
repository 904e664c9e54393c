"""What the programs say about clips that are longer or shorter than the window."""

import pytest
import torch

from ASDA.audio.front_end import FrontEnd
from ASDA.cli._console import ClipLengths
from ASDA.inference.clips import Clip
from ASDA.inference.windows import LoadedClip, Windowing


def said(capsys, num_frames, count, **windowing):
    windowing = Windowing(FrontEnd(1024), **windowing)
    lengths = ClipLengths(windowing)
    for index in range(count):
        lengths.count(LoadedClip(index, Clip("x", "x"), num_frames, 1.0, torch.zeros(1, 128), windowing))
    lengths.report()
    return capsys.readouterr().err


def test_clip_lengths__much_padding_is_said_once_with_the_flag_that_saves_it(capsys):
    err = said(capsys, 100, 50)
    assert len(err.splitlines()) == 1 and "--padding mask computes 10 times less" in err and "90% of what" in err


@pytest.mark.parametrize(
    ("num_frames", "count", "windowing"),
    [(100, 50, {"padding": "mask"}), (100, 50, {"padding": "own"}), (400, 50, {}), (1024, 50, {}), (100, 3, {})],
)
def test_clip_lengths__where_there_is_little_to_save_nothing_is_said(capsys, num_frames, count, windowing):
    assert said(capsys, num_frames, count, **windowing) == ""


def test_clip_lengths__clips_that_were_cut_are_counted(capsys):
    assert "3 clips are longer than the window of 10.24 s and were cut to it" in said(capsys, 2000, 3)
    assert said(capsys, 2000, 3, hop_frames=1024) == ""
