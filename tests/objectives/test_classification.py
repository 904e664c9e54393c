"""Classification of clips with several labels, one, or none."""

import pytest
import torch
from torch.nn import functional as F

from ASDA.core.classifier import SpectrogramClassifier
from ASDA.core.config import HeadConfig
from ASDA.objectives.classification import BatchAugmentation, Classification
from tests.architectures import make_encoder


@pytest.fixture
def objective():
    torch.manual_seed(0)
    encoder = make_encoder(embed_dim=16, depth=1, num_heads=2, num_mel_bins=8, patch_size=4, max_rows=12)
    augmentation = BatchAugmentation(spec_augment=True, mixup=0.5, mixup_prob=1.0, label_smoothing=0.1)
    classifier = SpectrogramClassifier(encoder, HeadConfig(3))
    return Classification(classifier, independent_scores=True, augmentation=augmentation)


@pytest.mark.parametrize(("targets", "sample_size"), [([[0, 0, 0], [1, 0, 1]], 2), ([[0, 0, 0], [0, 0, 0]], 1)])
def test_loss__of_a_clip_without_a_label_is_that_of_negatives(objective, targets, sample_size):
    spectrogram, target = torch.randn(2, 1, 24, 8), torch.tensor(targets, dtype=torch.float32)
    objective.eval()
    losses = objective(spectrogram, target)
    logits = objective.logits(spectrogram)
    expected = sum(
        F.softplus(-value if wanted else value)
        for value, wanted in zip(logits.flatten(), target.flatten(), strict=True)
    )
    assert losses.terms["classification"].item() == pytest.approx(expected.item(), rel=1e-5)
    assert losses.sample_size == sample_size


def test_loss__of_a_batch_without_any_label_trains(objective):
    objective.train()
    losses = objective(torch.randn(2, 1, 24, 8), torch.zeros(2, 3), seeds=torch.tensor([1, 2]))
    losses.terms["classification"].backward()
    gradients = [parameter.grad for parameter in objective.parameters() if parameter.grad is not None]
    assert losses.sample_size == 1 and gradients and all(torch.isfinite(gradient).all() for gradient in gradients)
