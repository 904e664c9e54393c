"""A model over many clips, some of which turn out to be bad on the way."""

import weakref
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch

from ASDA.audio.front_end import FrontEnd
from ASDA.audio.io import AudioError, AudioInfo
from ASDA.data.containers import ClipReader
from ASDA.inference import windows
from ASDA.inference.clips import Clip, find_clips
from ASDA.inference.run import ClipResult, run_clips
from ASDA.inference.windows import BadClip, Windowing

RATE_HZ = 16_000


@pytest.fixture
def clips(tmp_path):
    for index, seconds in enumerate((2, 9, 3)):
        samples = 0.1 * np.random.default_rng(index).standard_normal(seconds * RATE_HZ)
        soundfile.write(tmp_path / f"{index}.wav", samples, RATE_HZ)
    return [Clip(str(tmp_path / f"{index}.wav"), f"{index}.wav") for index in range(3)]


def run(clips, model=lambda source, _: source.mean(dim=(1, 2, 3))[:, None], padding="constant"):
    windowing = Windowing(FrontEnd(64), padding, hop_frames=64)
    found = run_clips(model, enumerate(clips), windowing, device=torch.device("cpu"), batch_size=4)
    return {(r.index if isinstance(r, BadClip) else r.clip.index): r for r in found}


@pytest.mark.parametrize("padding", ["constant", "own"])
def test_run_clips__a_long_clip_in_blocks_gives_what_it_gives_at_once(clips, monkeypatch, padding):
    expected = run(clips, padding=padding)
    monkeypatch.setattr(windows, "BLOCK_S", 2)
    found = run(clips, padding=padding)
    for index in range(3):
        assert len(found[index].outputs) == len(expected[index].outputs)
        torch.testing.assert_close(
            torch.cat(found[index].outputs), torch.cat(expected[index].outputs), atol=1e-4, rtol=0
        )


@pytest.mark.parametrize("padding", ["constant", "own"])
def test_run_clips__a_stretch_that_cannot_be_decoded_costs_its_clip_only(clips, monkeypatch, padding):
    monkeypatch.setattr(windows, "BLOCK_S", 2)
    load = ClipReader.load

    def failing(self, path, start_s=0.0, duration_s=None):
        if path == clips[1].path and start_s > 4:
            raise AudioError(path, "the disk is gone")
        return load(self, path, start_s, duration_s)

    monkeypatch.setattr(ClipReader, "load", failing)
    found = run(clips, padding=padding)
    assert isinstance(found[1], BadClip) and found[1].reason == "the disk is gone" and not found[1].not_finite
    assert len(found[0].outputs) == 4 and len(found[2].outputs) == 5


def test_run_clips__a_clip_that_ends_before_its_header_says_is_bad(clips, monkeypatch):
    monkeypatch.setattr(windows, "BLOCK_S", 2)
    load = ClipReader.load

    def short(self, path, start_s=0.0, duration_s=None):
        waveform = load(self, path, start_s, duration_s)
        return waveform[: RATE_HZ // 2] if path == clips[1].path and start_s > 4 else waveform

    monkeypatch.setattr(ClipReader, "load", short)
    found = run(clips)
    assert "its header promises 8.98 s, decoding ends after" in found[1].reason


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_run_clips__a_clip_whose_output_is_not_finite_is_a_bad_one(tmp_path, value):
    """The output of one window in the middle of one clip is spoilt; all other clips are as they were."""
    rng = np.random.default_rng(0)
    for number in range(3):
        samples = 0.01 * rng.standard_normal(46_320)  # three whole windows
        if number == 1:
            samples[17_000:30_000] *= 30
        soundfile.write(tmp_path / f"{number}.wav", samples, 16_000)

    quiet = FrontEnd(96)(torch.from_numpy(samples[:16_000]).float()).mean()

    def model(source, _padding_mask):
        return torch.where(source.mean(dim=(1, 2, 3)) > quiet + 0.3, value, 1.0)[:, None]

    windowing = Windowing(FrontEnd(96), hop_frames=96)
    results = list(run_clips(model, enumerate(find_clips([str(tmp_path)])), windowing, device=torch.device("cpu")))
    (bad,) = (result for result in results if isinstance(result, BadClip))
    assert bad.index == 1 and bad.not_finite and "from 0.96 s on holds NaN or infinity" in bad.reason
    good = [result for result in results if isinstance(result, ClipResult)]
    assert [result.clip.index for result in good] == [0, 2]
    assert all(output.item() == 1.0 for result in good for output in result.outputs)


def test_run_clips__a_long_recording_is_read_as_it_is_used(monkeypatch):
    """Ten minutes: the first window is out before the second stretch is read, and no more than two are held."""
    monkeypatch.setattr(windows, "BLOCK_S", 20)
    minutes, held, most, read_s = 10, set(), [0], [0.0]

    def load(_reader, _path, start_s=0.0, duration_s=None):
        end_s = min(60 * minutes, start_s + duration_s)  # all of it is never asked for
        samples = np.random.default_rng(0).standard_normal(round((end_s - start_s) * RATE_HZ), np.float32)
        weakref.finalize(samples, held.discard, id(samples))  # a tensor of it keeps it alive
        held.add(id(samples))
        most[0], read_s[0] = max(most[0], len(held)), end_s
        return torch.from_numpy(samples)

    monkeypatch.setattr(ClipReader, "load", load)
    recording = SimpleNamespace(info=AudioInfo(RATE_HZ, 1, 60 * minutes * RATE_HZ))
    monkeypatch.setattr(ClipReader, "open", lambda *_: nullcontext(recording))
    when = []

    def model(source, _):
        when.append(read_s[0])
        return source.mean(dim=(1, 2, 3))[:, None]

    windowing = Windowing(FrontEnd(512), hop_frames=512)
    (result,) = run_clips(model, [(0, Clip("x.wav", "x.wav"))], windowing, device=torch.device("cpu"), batch_size=2)
    assert len(result.outputs) == 118 and len(when) == 59  # 59,998 frames, two windows at a time
    assert when[0] <= 22 and when[-1] == 60 * minutes
    assert most[0] <= 2
