"""Small checkpoints of every layout."""

import pytest
import torch

from tests.published_files import published_finetuned, published_pretraining


@pytest.fixture(scope="session")
def spectrogram():
    """Two clips of 5 x 8 patches, (2, 1, 80, 128)."""
    return torch.randn(2, 1, 80, 128, generator=torch.Generator().manual_seed(11))


@pytest.fixture(scope="session", params=["differential", "plain"])
def attention(request):
    return request.param


@pytest.fixture(scope="session")
def pretrained_file(attention, tmp_path_factory):
    """A published pre-training checkpoint of ASDA or EAT."""
    path = tmp_path_factory.mktemp("published") / f"{attention}.pt"
    torch.save(published_pretraining(attention), path)
    return path


@pytest.fixture(scope="session")
def finetuned_file(attention, tmp_path_factory):
    """A published fine-tuned checkpoint of ASDA or EAT."""
    path = tmp_path_factory.mktemp("published") / f"{attention}.pt"
    torch.save(published_finetuned(attention), path)
    return path
