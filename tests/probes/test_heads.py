"""The heads: what they compute before they are trained, written out."""

import pytest
import torch

from ASDA.probes.heads import AttentiveHead, GatedHead, LinearHead


def test_linear__is_a_linear_map():
    head = LinearHead(4, 3)
    torch.nn.init.normal_(head.linear.weight)
    x = torch.rand(2, 1, 1, 4)
    torch.testing.assert_close(head(x, torch.zeros(2, 1, dtype=torch.bool)), x[:, 0, 0] @ head.linear.weight.T)


def test_attentive__is_a_weighted_mean_of_the_tokens_that_are_no_padding():
    torch.manual_seed(0)
    head = AttentiveHead(4, 3)
    torch.nn.init.normal_(head.linear.weight)
    torch.nn.init.normal_(head.query)
    tokens, mask = torch.randn(2, 5, 1, 4), torch.zeros(2, 5, dtype=torch.bool)
    mask[1, 3:] = True
    for clip, (found, own) in enumerate(zip(head(tokens, mask), (5, 3), strict=True)):
        weights = [torch.exp(tokens[clip, n, 0] @ head.query / 2) for n in range(own)]
        mean = sum(w * tokens[clip, n, 0] for n, w in enumerate(weights)) / sum(weights)
        torch.testing.assert_close(found, head.linear(mean))


def test_attentive__at_the_start_is_the_mean():
    features, mask = torch.rand(2, 5, 1, 4), torch.zeros(2, 5, dtype=torch.bool)
    attentive, linear = AttentiveHead(4, 3), LinearHead(4, 3)
    torch.nn.init.normal_(linear.linear.weight)
    attentive.linear = linear.linear
    torch.testing.assert_close(attentive(features, mask), linear(features.mean(1, keepdim=True), mask))


def test_gated__is_a_convex_combination_of_the_layers_and_at_the_start_their_mean():
    torch.manual_seed(0)
    head, x = GatedHead(4, 3, 6), torch.randn(2, 1, 6, 4)
    torch.nn.init.normal_(head.linear.weight)
    mask = torch.zeros(2, 1, dtype=torch.bool)
    torch.testing.assert_close(head(x, mask), head.linear(x[:, 0].mean(dim=1)))
    torch.nn.init.normal_(head.gates)
    weights = head.layer_weights.tolist()
    assert min(weights) > 0 and sum(weights) == pytest.approx(1)
    mixed = sum(weight * x[:, 0, layer] for layer, weight in enumerate(weights))
    torch.testing.assert_close(head(x, mask), head.linear(mixed))
