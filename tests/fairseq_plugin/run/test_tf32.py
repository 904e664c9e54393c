"""TF32 is what a run says, for matrix products and convolutions alike."""

import pytest

pytest.importorskip("fairseq", reason="the run is fairseq's")

import torch

from ASDA.fairseq_plugin.run.tf32 import allow_tf32


@pytest.mark.parametrize("allowed", [True, False])
def test_allow_tf32__is_for_products_and_convolutions(allowed, monkeypatch):
    for part in (torch.backends.cuda.matmul, torch.backends.cudnn):
        monkeypatch.setattr(part, "allow_tf32", not allowed)
    allow_tf32(allowed)
    assert torch.backends.cuda.matmul.allow_tf32 is torch.backends.cudnn.allow_tf32 is allowed
