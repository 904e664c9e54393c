"""Frames are evenly spaced, cover a clip from its beginning to its end, and are no more than the passes they take."""

import pytest
import torch

from ASDA.audio.fbank import num_frames
from ASDA.audio.front_end import FrontEnd
from ASDA.bridges.frame_places import FramePlaces
from ASDA.core.config import PatchConfig
from ASDA.inference.windows import Windowing

PATCHES = {"16": PatchConfig(), "frames": PatchConfig((2, 128)), "overlapping": PatchConfig((16, 16), (10, 10))}
PATCHES["dense"] = PatchConfig((16, 16), (4, 16))


def windowing(name, length=1024):
    patches = PATCHES[name]
    return Windowing(FrontEnd(length, -4.0, 4.5), "mask", (length - patches.size[0]) // 16 * 16, patches)


@pytest.mark.parametrize("hop_ms", [None, 10, 20, 40, 50, 70, 160, 330])
@pytest.mark.parametrize("name", PATCHES)
def test_frame_places__each_is_the_row_of_patches_around_its_middle(name, hop_ms):
    places = FramePlaces.every(windowing(name), hop_ms)
    size, stride = places.windowing.patches.size[0], places.windowing.patches.stride[0]
    centres = places.centres_ms(100)
    assert 0 <= centres[0] and torch.allclose(centres.diff(), torch.tensor(places.hop_ms, dtype=torch.float64))
    for number, centre in enumerate(centres.tolist()):
        lead, row = places.row_of(number)
        assert 0 <= lead < stride and row >= 0
        assert 10 * (row * stride - lead + size / 2) == pytest.approx(centre)
    if places.hop == stride:
        assert places.row_of(5) == (0, 5)


@pytest.mark.parametrize("hop_ms", [None, 10, 40, 50])
@pytest.mark.parametrize("name", ["16", "frames", "overlapping"])
def test_frame_places__reach_to_the_end_and_not_beyond(name, hop_ms):
    places = FramePlaces.every(windowing(name), hop_ms)
    for num_samples in (1, 399, 400, 1000, 1280, 2560, 2561, 16_000, 16_001, 47_999):
        count, duration_ms = places.count(num_samples, 16_000), num_samples / 16
        last = places.centres_ms(count)[-1].item()
        assert count == 1 or last <= duration_ms
        # The next is behind the end, or begins where there is no frame of sound any more; overlapping rows of patches
        # end with the one that holds the last of it.
        following, heard_ms = last + places.hop_ms, 10 * num_frames(num_samples)
        half_ms = 5 * places.windowing.patches.size[0]
        assert following > duration_ms or (last + half_ms if name == "overlapping" else following - half_ms) >= heard_ms
        assert places.count(2 * num_samples, 32_000) == count


def test_frame_places__longest_hop_that_is_cheap():
    hops = {name: FramePlaces.at_most(windowing(name), 50).hop_ms for name in PATCHES}
    assert hops == {"16": 40, "frames": 20, "overlapping": 50, "dense": 40}
    assert FramePlaces.at_most(windowing("16"), 5).hop_ms == 10


@pytest.mark.parametrize("hop_ms", [0, -40, 25, float("nan"), float("inf")])
def test_frame_places__a_hop_that_the_spectrogram_has_not_is_refused(hop_ms):
    with pytest.raises(ValueError, match=f"hop_ms={hop_ms}: expected a multiple of 10 ms"):
        FramePlaces.every(windowing("16"), hop_ms)
