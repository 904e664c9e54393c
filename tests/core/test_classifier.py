import math

import pytest
import torch

from ASDA.core.classifier import SpectrogramClassifier, pool_tokens
from ASDA.core.encoder import SpectrogramEncoder

B, D, C = 3, 32, 5
N = 12


def classifier(seed=0, **options):
    torch.manual_seed(seed)
    encoder = SpectrogramEncoder(
        embed_dim=D, depth=2, num_heads=4, num_mel_bins=8, patch_size=4, max_patch_rows=12
    )  # patches: 6 x 2 of 24 frames
    model = SpectrogramClassifier(encoder, C, **options)
    with torch.no_grad():
        for parameter in [*model.fc_norm.parameters(), *model.head.parameters()]:
            parameter.add_(torch.randn_like(parameter))
    return model.double().eval()


def spectrogram():
    return torch.randn(B, 1, 24, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def padding():
    return torch.arange(N)[None] >= torch.tensor([12, 6, 2])[:, None]


@pytest.mark.parametrize("use_fc_norm", [True, False])
@pytest.mark.parametrize("pooling", ["cls", "mean"])
@pytest.mark.parametrize("masked", [False, True])
def test_classifier__pools_normalises_and_projects(pooling, use_fc_norm, masked):
    model = classifier(pooling=pooling, use_fc_norm=use_fc_norm)
    mask = padding() if masked else None
    tokens = model.encoder(spectrogram(), padding_mask=mask)
    logits = model(spectrogram(), mask)
    assert logits.shape == (B, C)
    for b in range(B):
        if pooling == "cls":
            pooled = tokens[b, 0]
        else:
            real = [n for n in range(N) if not (masked and padding()[b, n])]
            pooled = sum(tokens[b, 1 + n] for n in real) / len(real)
        if use_fc_norm:
            pooled = (pooled - pooled.mean()) / (pooled.var(unbiased=False) + 1e-6).sqrt()
            pooled = pooled * model.fc_norm.weight + model.fc_norm.bias
        torch.testing.assert_close(logits[b], model.head.weight @ pooled + model.head.bias, rtol=1e-9, atol=1e-9)
    assert torch.equal(model.classify(tokens, mask), logits)


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_classifier__padded_clips_score_as_short_clips(pooling):
    model = classifier(pooling=pooling)
    logits = model(spectrogram(), padding())
    for b, rows in enumerate((6, 3, 1)):
        alone = model(spectrogram()[b : b + 1, :, : 4 * rows])[0]
        torch.testing.assert_close(logits[b], alone, rtol=1e-9, atol=1e-9)


def test_classifier__head_starts_as_truncated_normal_0_02():
    torch.manual_seed(0)
    encoder = SpectrogramEncoder(embed_dim=64, depth=1, num_heads=4, num_mel_bins=8, patch_size=4, max_patch_rows=2)
    head = SpectrogramClassifier(encoder, 527).head
    n = head.weight.numel()
    assert abs(head.weight.std().item() - 0.02) < 5 * 0.02 / math.sqrt(2 * n)
    assert abs(head.weight.mean().item()) < 5 * 0.02 / math.sqrt(n)
    assert (head.bias == 0).all()


def test_classifier__has_the_published_names():
    names = {name for name, _ in classifier().named_parameters() if not name.startswith("encoder.")}
    assert names == {"fc_norm.weight", "fc_norm.bias", "head.weight", "head.bias"}


def test_classifier__rejects_an_unknown_pooling():
    with pytest.raises(ValueError, match='pooling "max" is not one of cls, mean'):
        classifier(pooling="max")
    with pytest.raises(ValueError, match='pooling "max" is not one of cls, mean'):
        pool_tokens(torch.zeros(1, 3, 4), "max")
