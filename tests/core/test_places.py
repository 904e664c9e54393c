import pytest
import torch

from ASDA.core.places import Places, gather_patches, kept_indices
from ASDA.masks.inverse_block import InverseBlockMask


def test_kept_indices__are_in_grid_order():
    mask = torch.tensor([[True, False, True, False], [False, False, True, True]])
    assert kept_indices(mask).tolist() == [[1, 3], [0, 1]]


def test_kept_indices__rejects_masks_that_keep_different_numbers():
    mask = torch.tensor([[True, False, True], [False, False, True]])
    with pytest.raises(ValueError, match=r"same number of patches; these keep \[1, 2\] of 3"):
        kept_indices(mask)


def random_kept(rows, N, K, seed=0):
    order = torch.rand(rows, N, generator=torch.Generator().manual_seed(seed)).argsort(dim=1)[:, :K]
    return order.sort(dim=1).values


def test_gather_patches__equals_loops():
    B, M, N, K, D = 2, 3, 7, 4, 5
    patches = torch.randn(B, N, D, generator=torch.Generator().manual_seed(0))
    kept = random_kept(B * M, N, K)
    out = gather_patches(patches, kept)
    assert out.shape == (B * M, K, D)
    for clip in range(B):
        for student in range(M):
            row = clip * M + student
            for k in range(K):
                assert torch.equal(out[row, k], patches[clip, int(kept[row, k])])


def test_gather_patches__rejects_masks_that_do_not_divide():
    with pytest.raises(ValueError, match="5 masks do not divide among 2 clips"):
        gather_patches(torch.zeros(2, 7, 3), random_kept(5, 7, 4))


def test_gather_patches__sums_the_gradients_of_the_students():
    patches = torch.zeros(2, 7, 3, requires_grad=True)
    kept = random_kept(6, 7, 4)
    gather_patches(patches, kept).sum().backward()
    counts = torch.stack([torch.bincount(kept[3 * b : 3 * b + 3].flatten(), minlength=7) for b in range(2)])
    assert torch.equal(patches.grad, counts[..., None].expand(2, 7, 3).float())


def places(B=2, M=3, grid=(4, 3)):
    mask = InverseBlockMask(grid, B * M, mask_ratio=0.5, block_size=2)(torch.Generator().manual_seed(0))
    return mask, Places.of(mask, B)


def test_places__hide_and_fill_grid_equal_boolean_masks():
    (mask, found), patches = places(), torch.randn(2, 12, 5)
    repeated = patches.repeat_interleave(3, dim=0)  # (B*M, N, V)
    assert torch.equal(found.hide(patches), repeated[mask])
    kept = gather_patches(patches, found.kept)
    assert torch.equal(kept.flatten(0, 1), repeated[~mask])
    filled = found.fill_grid(kept, torch.full((6, 12, 5), 7.0))
    assert torch.equal(filled, repeated.masked_fill(mask[..., None], 7.0))
    assert torch.equal(filled.flatten(0, 1)[found.hidden], torch.full((int(mask.sum()), 5), 7.0))


def test_places__survive_the_way_through_a_batch():
    _, found = places()
    again = Places.from_dict(found.to_dict(), num_clips=2)
    assert again.students == 3
    for own, other in zip(again.to_dict().values(), found.to_dict().values(), strict=True):
        assert torch.equal(own, other)
    assert Places.of(found, 2) is found


def test_places__of_another_number_of_clips_or_patches_are_refused():
    mask, found = places()
    found.check(2, 12)
    for clips, patches in ((3, 12), (2, 13)):
        with pytest.raises(
            ValueError, match=rf"expected masks of shape \({clips} x students, {patches}\), got 6 masks"
        ):
            found.check(clips, patches)
    with pytest.raises(ValueError, match=r"expected masks of shape \(4 x students, patches\), got \(6, 12\)"):
        Places.of(mask, 4)


def padded_places():
    """Two clips of 12 and 6 patches with three students, which keep 6 and 3 of them."""
    masks = [InverseBlockMask(grid, 3, 0.5, 2)(torch.Generator().manual_seed(0)) for grid in ((4, 3), (2, 3))]
    mask = torch.cat([masks[0], torch.nn.functional.pad(masks[1], (0, 6))])
    padding = torch.arange(12) >= torch.tensor([[12], [6]])
    return mask, padding, Places.of(mask, 2, padding)


def test_places__padding_is_neither_kept_nor_hidden():
    mask, padding, found = padded_places()
    padded = padding.repeat_interleave(3, dim=0)
    assert torch.equal(found.grid_padding, padded)
    assert found.hidden.tolist() == (mask & ~padded).flatten().nonzero()[:, 0].tolist()
    real = ~found.kept_padding
    assert real.sum(dim=1).tolist() == [6] * 3 + [3] * 3 and found.num_kept == 27
    for row in range(6):
        assert found.kept[row][real[row]].tolist() == (~mask[row] & ~padded[row]).nonzero()[:, 0].tolist()
    assert torch.equal(Places.of(mask | padded, 2, padding).hidden, found.hidden)  # whatever masks say of padding


def test_places__fill_grid_leaves_out_what_stands_for_no_patch():
    mask, padding, found = padded_places()
    tokens = torch.randn(6, 6, 5).masked_fill(found.kept_padding[..., None], float("nan"))
    filled = found.fill_grid(tokens, torch.full((6, 12, 5), 7.0))
    kept = ~mask & ~padding.repeat_interleave(3, dim=0)
    assert torch.equal(filled[kept], tokens[~found.kept_padding]) and bool((filled[~kept] == 7.0).all())


def test_places__with_padding_survive_the_way_through_a_batch_and_are_refused_where_not_expected():
    _, _, found = padded_places()
    again = Places.from_dict(found.to_dict(), num_clips=2)
    assert all(torch.equal(again.to_dict()[name], tensor) for name, tensor in found.to_dict().items())
    assert set(found.to_dict()) == {"kept", "hidden", "hidden_of_clip", "padding", "kept_tokens"}
    again.check(2, 12, may_be_padded=True)
    with pytest.raises(ValueError, match="takes no clips with a padding mask; set task.padding=constant"):
        again.check(2, 12)
    with pytest.raises(ValueError, match=r"\(2 x students, 13\), got 6 masks that keep 27 and hide 27"):
        again.check(2, 13, may_be_padded=True)


def test_places__a_padding_mask_without_padding_is_none():
    mask, found = places()
    padded = Places.of(mask, 2, torch.zeros(2, 12, dtype=torch.bool))
    assert padded.padding is padded.kept_padding is padded.grid_padding is None
    assert torch.equal(padded.kept, found.kept)


def test_places__a_padding_mask_of_another_shape_or_students_that_keep_nothing_are_refused():
    mask, padding, _ = padded_places()
    with pytest.raises(ValueError, match=r"padding mask of shape \(2, 12\), got \(2, 11\)"):
        Places.of(mask, 2, padding[:, :11])
    with pytest.raises(ValueError, match=r"every mask must keep a patch; these keep \[0, 3, 6\] of 12"):
        Places.of(mask.index_fill(0, torch.tensor([4]), True), 2, padding)
