"""From the scores of windows to those of a clip."""

import pytest
import torch

from ASDA.audio.front_end import FrontEnd
from ASDA.inference.clips import Clip
from ASDA.inference.predictions import clip_scores, predictions
from ASDA.inference.run import ClipResult
from ASDA.inference.windows import LoadedClip, Windowing


def result_of(num_frames, hop_frames):
    windowing = Windowing(FrontEnd(64), hop_frames=hop_frames)
    frames = torch.zeros(num_frames, 128)
    return ClipResult(LoadedClip(0, Clip("x", "x"), num_frames, num_frames / 100, frames, windowing))


def test_clip_scores__weigh_windows_by_the_sound_in_them():
    result = result_of(64 + 4, hop_frames=64)
    scores = torch.tensor([[1.0, 0.0], [0.0, 1.0]])  # the second window holds 4 frames of sound and 60 of padding
    torch.testing.assert_close(clip_scores(scores, result), torch.tensor([64 / 68, 4 / 68]))


def test_clip_scores__of_one_window_are_its_own():
    scores = torch.tensor([[0.1, 0.7]])
    assert torch.equal(clip_scores(scores, result_of(10, hop_frames=None)), scores[0])


def test_predictions__best_first_and_none_under_the_threshold():
    found = predictions(torch.tensor([0.2, 0.9, 0.5]), ["a", "b", "c"], top_k=3, threshold=0.4)
    assert [(best.label, best.score) for best in found] == [("b", pytest.approx(0.9)), ("c", 0.5)]
