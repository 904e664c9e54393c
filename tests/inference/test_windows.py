"""Cutting, padding and batching."""

import numpy as np
import pytest
import soundfile
import torch

from ASDA.audio.fbank import log_mel, num_frames
from ASDA.audio.front_end import FrontEnd
from ASDA.core.config import PatchConfig
from ASDA.core.patches import patch_padding_mask
from ASDA.data.containers import ClipReader, OpenClip
from ASDA.data.excerpt import excerpt_s
from ASDA.inference import windows
from ASDA.inference.clips import Clip
from ASDA.inference.windows import LoadedClip, Windowing, batches, collate, load_clip
from tests.architectures import make_encoder

RATE_HZ = 16_000


def write(path, num_samples, seed=0):
    samples = 0.1 * np.random.default_rng(seed).standard_normal(num_samples)
    soundfile.write(path, samples, RATE_HZ, subtype="FLOAT")
    return Clip(str(path), path.name)


def loaded(num_frames_, windowing, index=0):
    frames = torch.randn(num_frames_, 128, generator=torch.Generator().manual_seed(num_frames_))
    return LoadedClip(index, Clip("x", "x"), num_frames_, num_frames_ / 100, frames, windowing)


def first_window(*args):
    return loaded(*args).windows[0]


@pytest.mark.parametrize("num_samples", [500, 8_000, 15_000, 16_000, 40_000])
def test_load_clip__constant_padding_is_the_published_front_end(tmp_path, num_samples):
    clip = write(tmp_path / "clip.wav", num_samples)
    front_end = FrontEnd(target_length_frames=96)
    found = load_clip(0, clip, ClipReader(), Windowing(front_end))
    (window,) = found.windows
    assert torch.equal(window.spectrogram, front_end.from_file(clip.path))
    assert found.num_frames == num_frames(num_samples) and window.start == 0
    assert found.duration_s == num_samples / RATE_HZ
    assert window.num_frames == min(96, num_frames(num_samples))


def test_load_clip__decodes_no_more_than_the_window_of_a_long_recording(tmp_path, monkeypatch):
    monkeypatch.setattr(windows, "BLOCK_S", 30)
    clip = write(tmp_path / "clip.wav", 60 * RATE_HZ)
    decoded = []
    load = OpenClip.load
    monkeypatch.setattr(OpenClip, "load", lambda *args, **kwargs: decoded.append(load(*args, **kwargs)) or decoded[-1])
    found = load_clip(0, clip, ClipReader(), Windowing(FrontEnd(target_length_frames=96)))
    assert [len(waveform) for waveform in decoded] == [round(excerpt_s(96) * RATE_HZ)]
    assert found.num_frames == num_frames(60 * RATE_HZ) and found.duration_s == 60.0


@pytest.mark.parametrize("rate_hz", [16_000, 44_100, 22_050])
@pytest.mark.parametrize("tail", [0, 150, 9_000])
def test_cut__of_a_clip_that_is_decoded_in_blocks_gives_the_windows_of_the_whole(tmp_path, monkeypatch, rate_hz, tail):
    monkeypatch.setattr(windows, "BLOCK_S", 2)
    samples = 0.1 * np.random.default_rng(0).standard_normal(7 * rate_hz + tail)
    soundfile.write(tmp_path / "long.wav", samples, rate_hz, subtype="FLOAT")
    clip = Clip(str(tmp_path / "long.wav"), "long.wav")
    for hop in (40, 64):
        windowing = Windowing(FrontEnd(target_length_frames=64), hop_frames=hop)
        found = load_clip(0, clip, ClipReader(), windowing)
        assert found.frames is None
        with monkeypatch.context() as whole:
            whole.setattr(windows, "BLOCK_S", 1000)
            expected = load_clip(0, clip, ClipReader(), windowing)
        assert (found.num_frames, found.duration_s) == (expected.num_frames, expected.duration_s)
        pairs = list(zip(found.cut(), expected.cut(), strict=True))
        assert len(pairs) == len(windowing.starts(expected.num_frames)) > 8
        for own, other in pairs:
            assert (own.number, own.start, own.num_frames) == (other.number, other.start, other.num_frames)
            torch.testing.assert_close(own.spectrogram, other.spectrogram, rtol=0, atol=1e-3)


def test_load_clip__windows_cover_the_clip_and_equal_its_frames(tmp_path):
    clip = write(tmp_path / "clip.wav", 3 * RATE_HZ)
    front_end = FrontEnd(target_length_frames=64)
    found = load_clip(0, clip, ClipReader(), Windowing(front_end, hop_frames=48))
    assert [window.start for window in found.windows] == [0, 48, 96, 144, 192, 240]
    frames = log_mel(ClipReader().load(clip.path))
    for window in found.windows:
        real = min(64, len(frames) - window.start)
        expected = (frames[window.start : window.start + 64] + 4.268) / (2 * 4.569)
        torch.testing.assert_close(window.spectrogram[:real], expected, atol=1e-6, rtol=0)
        torch.testing.assert_close(window.spectrogram[real:], torch.full((64 - real, 128), 4.268 / (2 * 4.569)))


@pytest.mark.parametrize("num_frames_", [1, 63, 64, 65, 100, 127, 128, 129, 1000])
@pytest.mark.parametrize("hop", [1, 16, 40, 64])
def test_starts__every_frame_is_in_a_window_and_no_window_is_superfluous(num_frames_, hop):
    windowing = Windowing(FrontEnd(target_length_frames=64), hop_frames=hop)
    starts = windowing.starts(num_frames_)
    covered = set()
    for start in starts:
        before = len(covered)
        covered |= set(range(start, min(start + 64, num_frames_)))
        assert len(covered) > before
    assert covered == set(range(num_frames_))


def test_windowing__pads_as_the_front_end_says_unless_told_otherwise():
    assert Windowing(FrontEnd(64)).padding == "constant"
    assert Windowing(FrontEnd(64, padding="mask")).padding == "mask"
    assert Windowing(FrontEnd(64, padding="mask"), padding="constant").padding == "constant"


def test_windowing__refuses_what_cannot_be():
    with pytest.raises(ValueError, match='padding "zero" is not one of constant, own, mask'):
        Windowing(FrontEnd(64), padding="zero")
    with pytest.raises(ValueError, match="at least one patch of 16 frames, got 8"):
        Windowing(FrontEnd(8))
    with pytest.raises(ValueError, match="got 65"):
        Windowing(FrontEnd(64), hop_frames=65)


def test_patch_padding_mask__counts_partly_real_patches_as_real():
    mask = patch_padding_mask(torch.tensor([1, 16, 17, 64]), 64, PatchConfig(), columns=2)
    expected = torch.tensor([[0, 0, 1, 1, 1, 1, 1, 1], [0, 0, 1, 1, 1, 1, 1, 1], [0, 0, 0, 0, 1, 1, 1, 1], [0] * 8])
    assert torch.equal(mask, expected.bool())


@pytest.mark.parametrize("lengths", [[0], [65], [3, -1]])
def test_patch_padding_mask__refuses_impossible_lengths(lengths):
    with pytest.raises(ValueError, match="lengths must be between 1 and 64"):
        patch_padding_mask(torch.tensor(lengths), 64, 16, 8)


@pytest.mark.parametrize(
    "options",
    [
        {"attention": "differential"},
        {"attention": "plain"},
        {"positions": "learned", "num_prefix_tokens": 2},
        {"positions": "sincos_1d", "prefix_place": "middle"},
    ],
)
def test_collate__masked_padding_gives_what_each_clip_gives_alone(options):
    """The point of the mask: whatever else is in the batch, a clip's features are its own."""
    torch.manual_seed(0)
    encoder = make_encoder(embed_dim=32, depth=2, num_heads=4, max_rows=16, **options).eval()
    masked = Windowing(FrontEnd(160), padding="mask")
    own = Windowing(FrontEnd(160), padding="own")
    lengths = [9, 40, 80, 160, 300]
    batch = [first_window(length, masked) for length in lengths]
    with torch.no_grad():
        together = encoder.features(*collate(batch, masked))
        for row, length in zip(together, lengths, strict=True):
            source, mask = collate([first_window(length, own)], own)
            alone = encoder.features(source, mask)[0]
            num_prefix = encoder.config.num_prefix_tokens
            assert mask is None and len(alone) == num_prefix + 8 * -(-min(length, 160) // 16)
            torch.testing.assert_close(row[: len(alone)], alone, atol=1e-5, rtol=1e-5)


def test_batches__similar_lengths_together_and_nothing_lost():
    windowing = Windowing(FrontEnd(160), padding="own")
    clips = [loaded(10 + 7 * (n % 20), windowing, n) for n in range(60)]
    grouped = list(batches((clip.windows[0] for clip in clips), 8, "own"))
    assert sorted(window.clip.index for group in grouped for window in group) == list(range(60))
    assert all(len({len(window.spectrogram) for window in group}) == 1 and len(group) <= 8 for group in grouped)
    masked = list(batches((clip.windows[0] for clip in clips), 8, "mask"))
    assert [len(group) for group in masked] == [8] * 7 + [4]
    lengths = [len(window.spectrogram) for group in masked for window in group]
    assert lengths == sorted(lengths, reverse=True)


def test_batches__constant_padding_does_not_wait_for_more():
    windowing = Windowing(FrontEnd(64))
    taken = []

    def windows():
        for n in range(100):
            taken.append(n)
            yield first_window(64, windowing, n)

    next(batches(windows(), 4, "constant"))
    assert len(taken) == 4


@pytest.mark.parametrize("padding", ["constant", "own", "mask"])
def test_load_clip__shorter_than_an_analysis_window_is_padding_as_in_training(tmp_path, padding):
    path = write(tmp_path / "tick.wav", 300)
    result = load_clip(0, path, ClipReader(RATE_HZ), Windowing(FrontEnd(64), padding))
    [window] = result.windows
    expected = FrontEnd(64)(torch.zeros(300))
    assert torch.equal(window.spectrogram, expected[: 64 if padding == "constant" else 16])


@pytest.mark.parametrize("padding", ["constant", "mask", "own"])
def test_batches__none_holds_clips_of_two_parts(padding):
    windowing = Windowing(FrontEnd(target_length_frames=64), padding)
    clips = [loaded(20 + 16 * (index % 3), windowing, index) for index in range(21) if index not in (2, 9)]
    found = list(batches((clip.windows[0] for clip in clips), 3, padding, together=7))
    assert all(len({window.clip.index // 7 for window in batch}) == 1 for batch in found)
    assert sorted(window.clip.index for batch in found for window in batch) == [clip.index for clip in clips]
    for part in range(3):  # what is computed alone is computed in the same batches
        own = [clip.windows[0] for clip in clips if clip.index // 7 == part]
        alone = [[window.clip.index for window in batch] for batch in batches(own, 3, padding)]
        assert alone == [[w.clip.index for w in batch] for batch in found if batch[0].clip.index // 7 == part]


def test_batches__without_parts_any_clips_share_one():
    windowing = Windowing(FrontEnd(target_length_frames=64))
    clips = [loaded(64, windowing, index) for index in (0, 90, 5_000)]
    assert [len(batch) for batch in batches((clip.windows[0] for clip in clips), 3, "constant")] == [3]
