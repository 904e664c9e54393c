"""Classification of clips with several labels, one, or none."""

import math
from unittest.mock import patch

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


NAN = float("nan")
PARTIAL = [[1.0, NAN, 0.0], [NAN, NAN, 1.0]]


def naive_bce(logits, weights_of_present, weights_of_absent):
    """The sum over what was judged, with the share of a clip that has a class and the share that has not."""
    total = 0.0
    for row in zip(logits.tolist(), weights_of_present, weights_of_absent, strict=True):
        for logit, present, absent in zip(*row, strict=True):
            score = 1 / (1 + math.exp(-logit))
            total -= present * math.log(score) + absent * math.log(1 - score)
    return total


def test_loss__of_partial_labels_is_that_of_what_was_judged(objective):
    spectrogram, target = torch.randn(2, 1, 24, 8), torch.tensor(PARTIAL)
    objective.eval()
    losses = objective(spectrogram, target)
    expected = naive_bce(objective.logits(spectrogram), [[1, 0, 0], [0, 0, 1]], [[0, 0, 1], [0, 0, 0]])
    assert losses.terms["classification"].item() == pytest.approx(expected, rel=1e-5)
    assert losses.sample_size == 2
    assert losses.statistics["_targets"].isnan().tolist() == target.isnan().tolist()


@pytest.mark.parametrize("spectrogram_of_the_pair", [0, 1])
def test_loss__what_was_not_judged_has_no_gradient(objective, spectrogram_of_the_pair):
    objective.eval()
    logits = torch.zeros(2, 3, requires_grad=True)
    objective.logits = lambda *_: logits
    objective(torch.randn(2, 1, 24, 8), torch.tensor(PARTIAL)).terms["classification"].backward()
    row = spectrogram_of_the_pair
    assert (logits.grad[row] == 0).tolist() == torch.tensor(PARTIAL)[row].isnan().tolist()


def test_loss__of_a_mixture_counts_each_clips_own_judgements(objective):
    """Mixed with a share w: w times the loss of the first clip and 1 - w times that of the second, each as judged."""
    smoothing, weight = 0.1, 0.3
    objective.train()
    spectrogram, target, seeds = torch.randn(2, 1, 24, 8), torch.tensor(PARTIAL), torch.tensor([1, 2])
    logits = torch.randn(2, 3)
    objective.logits = lambda *_: logits
    with patch("ASDA.objectives.classification.draw_mixup_weight", return_value=weight):
        loss = objective(spectrogram, target, seeds=seeds).terms["classification"].item()
    expected = 0.0
    for row in range(2):
        for clip, share in ((row, weight), (1 - row, 1 - weight)):
            known = [None if math.isnan(t) else t * (1 - smoothing) + smoothing / 3 for t in PARTIAL[clip]]
            present = [share * (t or 0.0) for t in known]
            absent = [0.0 if t is None else share * (1 - t) for t in known]
            expected += naive_bce(logits[row : row + 1], [present], [absent])
    assert loss == pytest.approx(expected, rel=1e-5)


def test_loss__of_full_labels_is_bit_equal_to_plain_bce(objective):
    objective.eval()
    spectrogram, target = torch.randn(4, 1, 24, 8), (torch.rand(4, 3) < 0.5).float()
    plain = F.binary_cross_entropy_with_logits(objective.logits(spectrogram), target, reduction="sum")
    assert torch.equal(objective(spectrogram, target).terms["classification"], plain)


def test_loss__a_softmax_does_not_take_partial_labels_for_negatives(objective):
    objective.eval()
    objective.independent_scores = False
    assert objective(torch.randn(2, 1, 24, 8), torch.tensor(PARTIAL)).terms["classification"].isnan()
