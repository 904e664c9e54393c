"""TF32 is what a run says, for matrix products and convolutions alike."""

import pytest

pytest.importorskip("fairseq", reason="the run is fairseq's")

import torch

from ASDA.fairseq_plugin.run.tf32 import allow_tf32

PARTS = (torch.backends.cuda.matmul, torch.backends.cudnn)


@pytest.fixture(autouse=True)
def as_it_was():
    before = [part.allow_tf32 for part in PARTS]
    yield
    for part, allowed in zip(PARTS, before, strict=True):
        part.allow_tf32 = allowed


@pytest.mark.parametrize("allowed", [True, False])
def test_allow_tf32__is_for_products_and_convolutions(allowed):
    allow_tf32(not allowed)
    allow_tf32(allowed)
    assert all(part.allow_tf32 is allowed for part in PARTS)
