"""What holds for every kind of masks."""

from dataclasses import fields, replace

import pytest
import torch

from ASDA.masks.kinds import MASKS, mask_kind

GRIDS = [(62, 8), (64, 8), (499, 1), (13, 8), (5, 3), (1, 9)]
KINDS = ["chunk", "random", "random_batched", "span"]


def sample(kind, grid, seed=0, **settings):
    return MASKS[kind](grid, **settings)(torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("ratio", [0.75, 0.5, 0.8, 0.9])
@pytest.mark.parametrize("kind", KINDS)
def test_masks__hide_exactly_what_mae_ast_counts(kind, grid, ratio):
    N = grid[0] * grid[1]
    kept = max(1, round(N * (1 - ratio) - 0.5 + 1e-9))  # floor, without the rounding error of 1 - ratio
    mask = sample(kind, grid, num_masks=20, mask_ratio=ratio)
    assert mask.shape == (20, N) and mask.dtype == torch.bool
    assert set((~mask).sum(dim=1).tolist()) == {kept}


@pytest.mark.parametrize(
    ("grid", "kept"), [((62, 8), 124), ((499, 1), 124), ((6, 8), 12), ((49, 1), 12), ((64, 8), 128)]
)
@pytest.mark.parametrize("kind", KINDS)
def test_masks__of_a_clip_keep_the_published_number(kind, grid, kept):
    assert int((~sample(kind, grid)).sum()) == kept


@pytest.mark.parametrize("kind", MASKS)
def test_masks__every_draw_comes_from_the_generator(kind):
    state = torch.get_rng_state()
    first = sample(kind, (20, 8), seed=3, num_masks=8)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(99)
    assert torch.equal(sample(kind, (20, 8), seed=3, num_masks=8), first)
    assert not torch.equal(sample(kind, (20, 8), seed=4, num_masks=8), first)


@pytest.mark.parametrize("kind", MASKS)
def test_masks__every_student_has_its_own(kind):
    assert len(sample(kind, (62, 8), num_masks=300).unique(dim=0)) == 300


@pytest.mark.parametrize("kind", MASKS)
def test_masks__take_another_grid(kind):
    """Clips of other lengths have the same masks but for the grid."""
    mask = MASKS[kind]((62, 8), 2)
    assert {"grid", "num_masks", "mask_ratio"} <= {entry.name for entry in fields(mask)}
    assert replace(mask, grid=(30, 8))(torch.Generator().manual_seed(0)).shape == (2, 240)
    assert mask.one_for_batch is (kind == "random_batched")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ratio", [0.0, 1.0, -0.1, float("nan")])
def test_masks__refuse_a_ratio_that_is_none(kind, ratio):
    with pytest.raises(ValueError, match=r"mask_ratio: expected a share between 0 and 1"):
        MASKS[kind]((62, 8), mask_ratio=ratio)


@pytest.mark.parametrize("kind", KINDS)
def test_masks__refuse_a_grid_of_which_nothing_would_be_hidden(kind):
    with pytest.raises(ValueError, match="a mask ratio of 0.75 on 1 x 1 patches leaves no patch that is hidden"):
        MASKS[kind]((1, 1))
    assert int(sample(kind, (2, 1)).sum()) == 1


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("chunk_mask", "chunk"),
        ("random_mask", "random"),
        ("random_mask_batched", "random_batched"),
        ("retain_spans", "span"),
        *((kind, kind) for kind in MASKS),
    ],
)
def test_mask_kind__takes_our_names_and_mae_asts(name, kind):
    assert mask_kind(name) == kind


def test_mask_kind__unknown_names_are_refused():
    with pytest.raises(ValueError, match='there is no kind of masks "chunks"; expected one of inverse_block, chunk, '):
        mask_kind("chunks")


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        ("chunk", {"chunk_sizes": ()}, "chunk_sizes: expected whole numbers of at least 1"),
        ("chunk", {"chunk_sizes": (3, 0)}, "chunk_sizes: expected whole numbers of at least 1"),
        ("span", {"span_length": 0}, "span_length: expected a whole number of at least 1"),
    ],
)
def test_masks__refuse_shapes_that_cover_nothing(kind, settings, message):
    with pytest.raises(ValueError, match=message):
        MASKS[kind]((62, 8), **settings)
