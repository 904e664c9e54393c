"""Tiny models, built the way fairseq builds them."""

import pytest

pytest.importorskip("fairseq", reason="the models are fairseq's view of the network")

import torch
from fairseq.dataclass.utils import merge_with_parent
from fairseq.models import MODEL_DATACLASS_REGISTRY, MODEL_REGISTRY
from omegaconf import OmegaConf

import ASDA  # noqa: F401

TINY = {
    "depth": 2,
    "embed_dim": 32,
    "num_heads": 4,
    "average_top_k_layers": 2,
    "clone_batch": 3,
    "modalities": {
        "image": {"max_length": 16, "num_mel_bins": 32, "decoder": {"decoder_dim": 32, "decoder_groups": 4}},
    },
}


def build(name: str, overrides: dict, task=None):
    """The registered model ``name``, as fairseq.models.build_model would make it from a yaml with ``overrides``."""
    cfg = merge_with_parent(MODEL_DATACLASS_REGISTRY[name](), OmegaConf.create({"_name": name, **overrides}))
    return MODEL_REGISTRY[name].build_model(cfg, task)


@pytest.fixture
def tiny_overrides() -> dict:
    return TINY


@pytest.fixture
def tiny_pretraining_model():
    torch.manual_seed(3)
    return build("asda", TINY)


@pytest.fixture
def spectrograms() -> torch.Tensor:
    """(2, 1, 64, 32): a grid of 4 x 2 patches."""
    return torch.randn(2, 1, 64, 32, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def masks() -> torch.Tensor:
    """(6, 8): three students per clip, two kept patches each."""
    generator = torch.Generator().manual_seed(2)
    kept = torch.rand(6, 8, generator=generator).topk(2, dim=1).indices
    return torch.ones(6, 8, dtype=torch.bool).scatter_(1, kept, False)
