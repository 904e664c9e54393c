"""The distribution of lengths."""

import numpy as np
import pytest

from ASDA.audio.fbank import num_frames
from ASDA.data.preparation.lengths import LengthDistribution


def lengths_of(lengths_s) -> LengthDistribution:
    found = LengthDistribution()
    for length_s in lengths_s:
        found.add(length_s)
    return found


def test_lengths__quantiles_are_those_of_the_sorted_lengths():
    lengths_s = np.random.default_rng(0).integers(1, 3_000, 997) / 100
    found = LengthDistribution()
    for length_s in lengths_s:
        found.add(length_s)
    assert len(found) == 997
    for share in (0.0, 0.25, 0.5, 0.9, 1.0):
        expected = np.quantile(lengths_s, share, method="inverted_cdf")
        assert found.quantile_s(share) == pytest.approx(expected)


def test_lengths__parts_add_up_and_survive_json():
    one, other, whole = LengthDistribution(), LengthDistribution(), LengthDistribution()
    for number in range(40):
        (one if number % 3 else other).add(number / 7)
        whole.add(number / 7)
    assert one.merge(other) == whole
    assert LengthDistribution.from_dict(whole.to_dict()) == whole
    assert LengthDistribution().summary() == ""


def test_lengths__frames_are_those_of_the_front_end():
    num_samples = np.random.default_rng(0).integers(0, 50_000, 2_000)
    found = {}
    for frames, count in lengths_of(num_samples / 16_000).frames():
        found[frames] = found.get(frames, 0) + count
    frames, counts = np.unique([num_frames(int(n)) for n in num_samples], return_counts=True)
    assert found == dict(zip(frames.tolist(), counts.tolist(), strict=True))


@pytest.mark.parametrize(("patch_frames", "coverage"), [(16, 0.9), (2, 0.9), (16, 0.5), (10, 1.0)])
def test_window__is_the_shortest_of_whole_patches_that_holds_the_share(patch_frames, coverage):
    lengths_s = np.random.default_rng(1).gamma(2.0, 1.0, 501) + 0.3
    frames = np.array([num_frames(round(length_s * 100) * 160) for length_s in lengths_s])
    window = lengths_of(lengths_s).window(patch_frames, coverage)
    target = window.target_length_frames
    assert target % patch_frames == 0
    assert (frames <= target).mean() >= coverage > (frames <= target - patch_frames).mean()


@pytest.mark.parametrize("target", [16, 100, 272, 5_000])
def test_fit__is_counted_clip_by_clip(target):
    lengths_s = np.random.default_rng(2).uniform(0.3, 9.0, 200)
    fit = lengths_of(lengths_s).fit(target)
    padding = lost = num_cut = sound = 0
    for length_s in lengths_s:
        frames = num_frames(round(length_s * 100) * 160)
        padding += max(0, target - frames)
        lost += max(0, frames - target)
        num_cut += frames > target
        sound += frames
    assert fit.num_clips == 200 and fit.share_cut == num_cut / 200
    assert fit.share_padding == pytest.approx(padding / (200 * target))
    assert fit.lost_s == pytest.approx(lost / 100) and fit.share_lost == pytest.approx(lost / sound)


def test_window__of_equal_clips_cuts_none_and_of_the_shortest_is_one_patch():
    second = lengths_of([1.0] * 7).window()
    assert second.suggestion() == (
        "task.target_length=112  # 1.14 s; 12.5 % of the frames would be padding; no clip would be cut"
    )
    tiny = lengths_of([0.01, 0.02]).window()
    assert (tiny.target_length_frames, tiny.share_padding, tiny.share_lost) == (16, 1.0, 0.0)


def test_window__says_when_a_mask_pays_and_when_it_grows_long():
    speech = lengths_of([0.5] * 85 + [3.0] * 10 + [9.0] * 5).window()
    assert speech.mask_is_worth_it and speech.overrides == "task.target_length=304 task.padding=mask"
    assert "5.0 % of the clips would be cut and lose 29.7 s of sound" in speech.describe()
    music = lengths_of([30.0] * 10).window()
    assert music.overrides == "task.target_length=3008" and "task.random_crop=true" in music.describe()
    cut = lengths_of([30.0] * 10).window(max_frames=1030)
    assert cut.target_length_frames == 1024 and cut.share_cut == 1.0 and cut.share_padding == 0.0


def test_window__refuses_what_makes_no_sense():
    with pytest.raises(ValueError, match="there is no clip"):
        LengthDistribution().window()
    with pytest.raises(ValueError, match="there is no clip"):
        LengthDistribution().fit(16)
    for wrong in ({"patch_frames": 0}, {"coverage": 0.0}, {"coverage": 1.1}, {"max_frames": 15}):
        with pytest.raises(ValueError, match="expected patch_frames >= 1"):
            lengths_of([1.0]).window(**wrong)
