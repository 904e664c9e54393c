"""SSAST's objective against its definition, worked out patch by patch on the published tensors."""

import math

import numpy as np
import pytest
import torch

from ASDA.checkpoints.layouts.ssast_names import to_ssast
from ASDA.core.places import Places
from ASDA.masks.inverse_block import InverseBlockMask
from ASDA.objectives.masked_prediction import MaskedPrediction
from tests.architectures import make_encoder
from tests.vit_files import oracle_prediction, oracle_tokens

B = 2
PATCH_AND_ROWS = [((16, 16), 6), ((2, 128), 9), ((16, 32), 5)]


def objective(patches=(16, 16), rows=6, seed=0, **options):
    torch.manual_seed(seed)
    encoder = make_encoder(
        attention="plain", embed_dim=32, depth=2, num_heads=4, mlp_ratio=2.0, norm="pre", norm_first=False,
        norm_last=True, positions="learned", num_prefix_tokens=2, patches=patches, max_rows=rows,
    )  # fmt: skip
    model = MaskedPrediction(encoder, **options)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def batch(patches=(16, 16), rows=6, students=1):
    frames, bins = rows * patches[0], 128
    x = torch.randn(B, 1, frames, bins, generator=torch.Generator().manual_seed(1))
    sampler = InverseBlockMask((rows, bins // patches[1]), B * students, mask_ratio=0.6, block_size=2)
    return x, sampler(torch.Generator().manual_seed(2))


def published(model):
    training = {n: t for n, t in model.state_dict().items() if not n.startswith("encoder.")}
    return to_ssast(model.encoder.state_dict(), training, model.encoder.config)


def slow_losses(tensors, source, mask, patches, columns):
    """Both losses of one mask on one clip (T, F): the means over its hidden patches, and the share told apart."""
    hidden = [(int(n) // columns, int(n) % columns) for n in mask.nonzero()[:, 0]]
    _, tokens = oracle_tokens(tensors, source, 4, hidden=hidden)
    targets, told, values = [], [], []
    for row, column in hidden:
        frames, bins = patches
        patch = source[row * frames : (row + 1) * frames, column * bins : (column + 1) * bins]
        targets.append(patch.T.flatten())  # mel bin by mel bin, as the published heads have it
        told.append(oracle_prediction(tensors, tokens[row, column], "cpredlayer"))
        values.append(oracle_prediction(tensors, tokens[row, column], "gpredlayer"))
    discriminative, correct = 0.0, 0
    for i, target in enumerate(targets):
        products = [float(target @ prediction) for prediction in told]
        largest = max(products)
        discriminative -= products[i] - largest - math.log(sum(math.exp(p - largest) for p in products))
        correct += products[i] == largest
    generative = np.mean([((value - target) ** 2).mean() for value, target in zip(values, targets, strict=True)])
    return discriminative / len(hidden), generative, correct / len(hidden)


@pytest.mark.parametrize(("patches", "rows"), PATCH_AND_ROWS)
@pytest.mark.parametrize("students", [1, 2, 3])
def test_masked_prediction__is_ssasts_losses(patches, rows, students):
    model, (x, mask) = objective(patches, rows), batch(patches, rows, students)
    with torch.no_grad():
        losses = model(x, mask)
    tensors, columns = published(model), 128 // patches[1]
    each = np.array([
        slow_losses(tensors, x[number // students, 0].double().numpy(), mask[number], patches, columns)
        for number in range(B * students)
    ]).reshape(B, students, 3)  # fmt: skip
    apart = students > 1  # each loss then has masks of its own, in turn
    discriminative, accuracy = each[:, :: 2 if apart else 1, 0].mean(), each[:, :: 2 if apart else 1, 2].mean()
    generative = each[:, 1::2, 1].mean() if apart else each[:, :, 1].mean()
    assert losses.sample_size == int(mask.sum())
    found = {name: float(term) / losses.sample_size for name, term in losses.terms.items()}
    assert found == pytest.approx({"discriminative": discriminative, "generative": 10 * generative}, rel=1e-5)
    assert float(losses.statistics["nce_accuracy"]) == pytest.approx(accuracy, abs=1e-6)


def test_masked_prediction__sees_nothing_but_the_mask_token_in_hidden_places():
    model, (x, mask) = objective().eval(), batch()
    seen = []
    model.encoder.register_forward_hook(lambda module, inputs, output: seen.append(output[1]))
    other = x.clone()
    patches = other.unfold(2, 16, 16).unfold(3, 16, 16)  # a view: (B, 1, 6, 8, 16, 16)
    patches[:, 0][mask.view(B, 6, 8)] = float("nan")
    model(x, mask)
    model(other, mask)
    assert torch.equal(*seen) and seen[0].shape == (B, 48, 32)
    model.mask_token.data += 1
    model(x, mask)
    assert not torch.equal(seen[0], seen[2])


def test_masked_prediction__positions_tell_hidden_patches_apart():
    model, (x, mask) = objective().eval(), batch()
    places = Places.of(mask, B)
    filled = model.hide(model.encoder.patch_embed(x), places)
    hidden = filled.flatten(0, 1)[places.hidden]
    assert torch.equal(hidden, model.mask_token[0].expand_as(hidden))
    _, encoded = model.encoder(x, replace=lambda patches: model.hide(patches, places))
    assert torch.unique(encoded.flatten(0, 1)[places.hidden], dim=0).shape[0] == len(places.hidden)


@pytest.mark.parametrize("name", ["discriminative", "generative"])
def test_masked_prediction__a_weight_of_0_leaves_a_loss_out_and_all_masks_to_the_other(name):
    x, mask = batch(students=2)
    alone = objective(**{f"{other}_weight": 0.0 for other in ("discriminative", "generative") if other != name})
    losses = alone(x, mask)
    assert list(losses.terms) == [name]
    joint = objective()
    halves = [joint(x, mask[first::2]).terms[name] for first in (0, 1)]
    torch.testing.assert_close(losses.terms[name], sum(halves), rtol=1e-5, atol=0)
    with pytest.raises(ValueError, match="weights of at least 0, one of them above it"):
        objective(discriminative_weight=0.0, generative_weight=0.0)


def test_masked_prediction__every_parameter_learns():
    model, (x, mask) = objective(), batch(students=2)
    model(x, mask).total.backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in model.parameters())


@pytest.mark.long
def test_masked_prediction__learns_to_predict_and_to_tell_apart():
    model, (x, mask) = objective(), batch()
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    first = model(x, mask)
    for _ in range(60):
        losses = model(x, mask)
        optimiser.zero_grad()
        losses.total.backward()
        optimiser.step()
    assert losses.terms["generative"] < 0.8 * first.terms["generative"]
    assert losses.terms["discriminative"] < 0.5 * first.terms["discriminative"]
    assert losses.statistics["nce_accuracy"] > 0.5
