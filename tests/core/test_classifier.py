import math

import pytest
import torch

from ASDA.core.classifier import SpectrogramClassifier
from ASDA.core.config import HeadConfig
from tests.architectures import make_encoder

B, D, C = 3, 32, 5
N = 12


def classifier(seed=0, prefixes=1, **options):
    torch.manual_seed(seed)
    encoder = make_encoder(
        embed_dim=D, depth=2, num_heads=4, num_mel_bins=8, patch_size=4, max_rows=12, num_prefix_tokens=prefixes
    )  # patches: 6 x 2 of 24 frames
    model = SpectrogramClassifier(encoder, HeadConfig(C, **options))
    with torch.no_grad():
        for parameter in model.head.parameters():
            parameter.add_(torch.randn_like(parameter))
    return model.double().eval()


def spectrogram():
    return torch.randn(B, 1, 24, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def padding():
    return torch.arange(N)[None] >= torch.tensor([12, 6, 2])[:, None]


@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("pooling", ["cls", "mean", "prefix_mean"])
@pytest.mark.parametrize("masked", [False, True])
def test_classifier__pools_normalises_and_projects(pooling, norm, masked):
    model = classifier(prefixes=2, pooling=pooling, norm=norm, norm_eps=1e-3)
    mask = padding() if masked else None
    prefix, patches = model.encoder(spectrogram(), padding_mask=mask)
    logits = model(spectrogram(), mask)
    assert logits.shape == (B, C)
    for b in range(B):
        if pooling == "cls":
            pooled = prefix[b, 0]
        elif pooling == "prefix_mean":
            pooled = (prefix[b, 0] + prefix[b, 1]) / 2
        else:
            real = [n for n in range(N) if not (masked and padding()[b, n])]
            pooled = sum(patches[b, n] for n in real) / len(real)
        if norm:
            pooled = (pooled - pooled.mean()) / (pooled.var(unbiased=False) + 1e-3).sqrt()
            pooled = pooled * model.head.norm.weight + model.head.norm.bias
        expected = model.head.linear.weight @ pooled + model.head.linear.bias
        torch.testing.assert_close(logits[b], expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_classifier__padded_clips_score_as_short_clips(pooling):
    model = classifier(pooling=pooling)
    logits = model(spectrogram(), padding())
    for b, rows in enumerate((6, 3, 1)):
        alone = model(spectrogram()[b : b + 1, :, : 4 * rows])[0]
        torch.testing.assert_close(logits[b], alone, rtol=1e-9, atol=1e-9)


def test_classifier__head_starts_as_truncated_normal_0_02():
    torch.manual_seed(0)
    encoder = make_encoder(embed_dim=64, depth=1, num_heads=4, num_mel_bins=8, patch_size=4, max_rows=2)
    head = SpectrogramClassifier(encoder, HeadConfig(527)).head.linear
    n = head.weight.numel()
    assert abs(head.weight.std().item() - 0.02) < 5 * 0.02 / math.sqrt(2 * n)
    assert abs(head.weight.mean().item()) < 5 * 0.02 / math.sqrt(n)
    assert (head.bias == 0).all()


def test_classifier__rejects_a_pooling_that_is_not_there():
    with pytest.raises(ValueError, match='pooling: expected one of cls, mean, prefix_mean, found "max"'):
        classifier(pooling="max")
    with pytest.raises(ValueError, match=r"this encoder has no prefix tokens \(CLS\), expected mean, found cls"):
        classifier(prefixes=0, pooling="cls")
    assert classifier(prefixes=0, pooling="mean")(spectrogram()).shape == (B, C)
