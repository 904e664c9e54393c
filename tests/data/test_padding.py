"""Clips of different lengths in one batch, under a padding mask."""

import dataclasses

import numpy as np
import pytest
import torch

from ASDA.audio.front_end import FrontEnd
from ASDA.core.config import PatchConfig
from ASDA.core.patches import PatchRows, patch_padding_mask
from ASDA.core.places import Places
from ASDA.data.dataset import Augmentation, SpectrogramDataset
from ASDA.data.manifest import Manifest, write_manifest
from ASDA.data.padding import MaskedPadding, join_masks
from ASDA.masks.inverse_block import InverseBlockMask
from tests.data.generated_corpora import RATE_HZ, break_clips, labels_of, sound

FRONT_END = FrontEnd(target_length_frames=96, padding="mask")
ROWS = PatchRows.of(96, 128, PatchConfig())
MASKS = InverseBlockMask((6, 8), num_masks=3)
DURATIONS_S = (0.5, 1.5, 0.25, 0.01)  # 48, 148, 23 and no frames
NUM_FRAMES = [48, 96, 23, 1]


@pytest.fixture
def clips(write_audio, tmp_path):
    for number, duration_s in enumerate(DURATIONS_S):
        write_audio(f"{number}.wav", sound(duration_s, seed=number))
    rows = [(f"{number}.wav", round(d * RATE_HZ)) for number, d in enumerate(DURATIONS_S)]
    write_manifest(tmp_path / "train.tsv", tmp_path, rows)
    return Manifest.read(tmp_path / "train.tsv")


def places(masks, num_clips, padding):
    return Places.of(masks, num_clips, padding).to_dict()


def batch_of(dataset, rows):
    return dataset.collater([dataset[row] for row in rows])


# -- patch rows


@pytest.mark.parametrize(("size", "stride"), [((16, 16), None), ((16, 16), (10, 10)), ((2, 128), None)])
def test_patch_rows__are_the_fewest_that_hold_all_frames(size, stride):
    patches = PatchConfig(size, stride)
    rows = PatchRows.of(103, 128, patches)
    for frames in range(1, 104):
        fitting = [r for r in range(1, 104) if size[0] + (r - 1) * patches.stride[0] >= frames]
        longest = 1 + (103 - size[0]) // patches.stride[0]
        assert rows.count(frames) == min(fitting[0], longest)
        assert rows.padded_frames(frames) == min(size[0] + (fitting[0] - 1) * patches.stride[0], 103)


def test_patch_rows__mask_equals_that_of_lengths_and_is_none_without_padding():
    lengths = [1, 16, 17, 50, 96]
    expected = patch_padding_mask(torch.tensor(lengths), 96, PatchConfig(), 8)
    assert torch.equal(ROWS.padding_mask(lengths), expected)
    assert torch.equal(ROWS.padding_mask(lengths[:4]), expected[:4, : 4 * 8])
    assert ROWS.padding_mask([33, 48, 40]) is None


# -- masks of short clips


def test_masked_padding__masks_are_drawn_on_the_real_part():
    padding = MaskedPadding(ROWS, MASKS)
    for frames in (16, 40, 96):
        expected = dataclasses.replace(MASKS, grid=(-(-frames // 16), 8))
        found = padding.sampler(frames)(torch.Generator().manual_seed(5))
        assert torch.equal(found, expected(torch.Generator().manual_seed(5)))
    assert padding.sampler(96) is MASKS


@pytest.mark.parametrize(("grid", "patches", "shortest"), [((48, 1), (2, 128), 9), ((6, 8), (16, 16), 1)])
def test_masked_padding__a_clip_too_short_for_masks_counts_as_longer(grid, patches, shortest):
    """Of four frame patches, a fifth is none; a clip of 9 frames has five."""
    padding = MaskedPadding(PatchRows.of(96, 128, PatchConfig(patches)), InverseBlockMask(grid, mask_ratio=0.8))
    assert padding.num_frames(0, RATE_HZ) == padding.num_frames(500, RATE_HZ) == shortest
    assert padding.num_frames(RATE_HZ, RATE_HZ) == 96
    mask = padding.sampler(shortest)(torch.Generator())
    assert 0 < int(mask.sum()) < mask.numel()


def test_masked_padding__without_masks_a_clip_has_a_frame_at_least():
    padding = MaskedPadding(ROWS)
    assert [padding.num_frames(n, RATE_HZ) for n in (0, 399, 400, 560, 8_000)] == [1, 1, 1, 2, 48]
    assert padding.sampler(48) is None


def test_masked_padding__refuses_masks_of_another_grid():
    with pytest.raises(ValueError, match="masks are for 12 x 16 patches, but clips of 96 frames have 6 x 8"):
        MaskedPadding(ROWS, InverseBlockMask((12, 16)))


def test_join_masks__hides_nothing_in_padding():
    masks = [torch.ones(2, 3, dtype=torch.bool), torch.ones(2, 5, dtype=torch.bool)]
    assert join_masks(masks).tolist() == [[True] * 3 + [False] * 2] * 2 + [[True] * 5] * 2


# -- the data set


def test_collater__a_batch_is_as_long_as_its_longest_clip(clips):
    dataset = SpectrogramDataset(clips, FRONT_END, labels=labels_of(clips), patch_rows=ROWS)
    constant = SpectrogramDataset(clips, FrontEnd(96), labels=labels_of(clips))
    for rows, frames in (([0, 2], 48), ([3, 2], 32), ([1, 3, 0], 96)):
        batch, whole = batch_of(dataset, rows)["net_input"], batch_of(constant, rows)["net_input"]
        assert torch.equal(batch["source"], whole["source"][:, :, :frames])
        lengths = torch.tensor([NUM_FRAMES[row] for row in rows])
        assert torch.equal(batch["padding_mask"], patch_padding_mask(lengths, frames, PatchConfig(), 8))
        assert torch.equal(batch["target"], whole["target"])


def test_collater__without_padding_gives_what_constant_padding_gives(clips):
    options = {"labels": labels_of(clips), "augmentation": Augmentation(roll=True, noise=True), "random_crop": True}
    masked = batch_of(SpectrogramDataset(clips, FRONT_END, patch_rows=ROWS, **options), [1, 5])
    constant = batch_of(SpectrogramDataset(clips, FrontEnd(96), **options), [1, 5])
    assert masked["net_input"].keys() == constant["net_input"].keys()
    pairs = [(masked["net_input"][key], value) for key, value in constant["net_input"].items()]
    assert all(torch.equal(*map(torch.as_tensor, pair)) for pair in pairs)


def test_collater__places_hold_masks_and_padding(clips):
    dataset = SpectrogramDataset(clips, FRONT_END, mask_sampler=MASKS, mask_places=places, patch_rows=ROWS)
    batch = batch_of(dataset, [0, 1, 3])
    assert "padding_mask" not in batch["net_input"]
    found = Places.from_dict(batch["net_input"]["places"], 3)
    found.check(3, 48, may_be_padded=True)
    kept = found.kept.flatten()[found.kept_tokens]
    assert len(kept) == 3 * (int(24 * 0.2) + int(48 * 0.2) + int(8 * 0.2))
    assert not found.padding.flatten()[found.hidden_of_clip].any()
    alone = batch_of(dataset, [0])["net_input"]["places"]["kept"]
    assert torch.equal(found.kept[:3, : alone.shape[1]], alone)  # they depend on (seed, epoch, clip) alone
    without_places = SpectrogramDataset(clips, FRONT_END, mask_sampler=MASKS, patch_rows=ROWS)
    net_input = batch_of(without_places, [0, 1, 3])["net_input"]
    again = Places.of(net_input["precomputed_mask"], 3, net_input["padding_mask"]).to_dict()
    assert all(torch.equal(again[name], tensor) for name, tensor in found.to_dict().items())


def test_noise__rolls_sound_and_not_padding(clips):
    dataset, plain = (
        SpectrogramDataset(clips, FRONT_END, augmentation=Augmentation(noise=noise), patch_rows=ROWS)
        for noise in (True, False)
    )
    padding = -FRONT_END.norm_mean / (2 * FRONT_END.norm_std)
    shifts = set()
    for epoch in range(1, 15):
        dataset.set_epoch(epoch)
        noisy, clean = dataset[2]["source"][0], plain[2]["source"][0]
        torch.testing.assert_close(noisy[23:], torch.full((73, 128), padding))
        differences = [(noisy[:23].roll(-shift, 0) - clean[:23]).abs().max() for shift in range(23)]
        assert min(differences) <= 0.1
        shifts.add(int(np.argmin(differences)))
    assert len(shifts) > 3


def test_waveforms__come_with_the_length_of_their_batch(clips):
    options = {"labels": labels_of(clips), "patch_rows": ROWS}
    here = batch_of(SpectrogramDataset(clips, FRONT_END, **options), [0, 2, 3])
    there = batch_of(SpectrogramDataset(clips, FRONT_END, waveforms=True, **options), [0, 2, 3])
    front_end = dataclasses.replace(FRONT_END, target_length_frames=there["padded_frames"])
    source = front_end.of_batch(there["waveforms"].float(), there["num_samples"])
    torch.testing.assert_close(source[:, None], here["net_input"]["source"], rtol=0, atol=1e-3)
    assert torch.equal(there["net_input"]["padding_mask"], here["net_input"]["padding_mask"])


def test_bad_clip__its_replacement_has_its_own_length(clips):
    break_clips(clips, 1)
    dataset = SpectrogramDataset(
        clips, FRONT_END, mask_sampler=MASKS, mask_places=places, patch_rows=ROWS, max_bad_fraction=0.5
    )
    for epoch in range(1, 6):
        dataset.set_epoch(epoch)
        sample = dataset[1]
        assert sample["num_frames"] == NUM_FRAMES[sample["id"]]
        assert sample["mask"].shape == (3, 8 * ROWS.count(sample["num_frames"]))


@pytest.mark.parametrize("waveforms", [False, True])
def test_bad_clip__an_evaluation_batch_of_nothing_else_is_empty(clips, waveforms):
    break_clips(clips, 1)
    options = {"labels": labels_of(clips), "replace_bad": False, "max_bad_fraction": 1.0, "waveforms": waveforms}
    batch = batch_of(SpectrogramDataset(clips, FRONT_END, patch_rows=ROWS, **options), [1])
    assert batch["num_unreadable"] == 1 and len(batch["id"]) == len(batch["net_input"]["target"]) == 0


@pytest.mark.parametrize(("front_end", "rows"), [(FRONT_END, None), (FrontEnd(96), ROWS)])
def test_dataset__padding_and_patch_rows_go_together(clips, front_end, rows):
    with pytest.raises(ValueError, match="patch_rows belongs to padding=mask"):
        SpectrogramDataset(clips, front_end, patch_rows=rows)
