"""What a step on a GPU must not do, seen without one: wait for the device, or mix devices."""

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from ASDA.core.places import Places
from tests.waiting import DataDependent

from .conftest import TINY, build

MAE_AST = {
    "encoder_layers": 2,
    "encoder_embed_dim": 32,
    "encoder_ffn_embed_dim": 64,
    "encoder_attention_heads": 4,
    "decoder_layers": 1,
    "decoder_embed_dim": 32,
    "num_mel_bins": 32,
    "max_token_length": 32,
    "encoder_layerdrop": 0.0,
}
# What is tested -> the registered model and its settings.
MODELS = {
    "differential": ("asda", TINY),
    "plain": ("asda", {**TINY, "attention": "plain"}),
    "learned lambda": ("asda", {**TINY, "lambda_mode": "learned"}),
    "lambda of each layer": ("asda", {**TINY, "diff_lambda": [0.1, 0.6]}),
    "lambda of each token": ("asda", {**TINY, "attention": "differential_v2"}),
    "bf16": ("asda", {**TINY, "autocast": "bf16"}),
    "recomputed": ("asda", {**TINY, "checkpoint_activations": True}),
    "floors": ("asda", {**TINY, "min_pred_var": 0.1, "min_target_var": 0.1, "collapse_after_updates": 0}),
    "MAE-AST": ("mae_ast", MAE_AST),
    "MAE-AST in bf16": ("mae_ast", {**MAE_AST, "autocast": "bf16"}),
    "MAE-AST, one loss": ("mae_ast", {**MAE_AST, "classification_weight": 0.0}),
}


PADDING = torch.arange(8) >= torch.tensor([[8], [6]])
"""Of two clips, the second a row shorter."""


@pytest.mark.parametrize("padding", [None, PADDING], ids=["whole", "padded"])
@pytest.mark.parametrize("name", MODELS)
def test_pretraining_step__has_no_data_dependent_operation_up_to_its_backward_pass(name, padding, spectrograms, masks):
    model = build(*MODELS[name]).train()
    places = Places.of(masks, len(spectrograms), padding).to_dict()  # made by the data loader
    with DataDependent() as seen:
        result = model(spectrograms, places=places)
        (sum(result["losses"].values()) / result["sample_size"]).backward()
        model.set_num_updates(1)  # what follows an update: the teacher's step
    assert seen.found == []


def test_data_dependent__operations_are_seen():
    x = torch.arange(4.0, requires_grad=True)
    with DataDependent() as seen:
        (x.detach() > 1).nonzero()
        x.sum().item()
        x[x > 1].sum().backward()
    assert {name.partition(" ")[0] for name in seen.found} >= {"aten::nonzero", "aten::_local_scalar_dense"}
    assert any("boolean" in name for name in seen.found)


def on_fake_device(module: nn.Module, mode: FakeTensorMode, device: str) -> nn.Module:
    """Gives every module below parameters and buffers without memory on a device that need not be there."""
    with mode:
        for part in module.modules():
            for name, parameter in part._parameters.items():
                if parameter is not None:
                    fake = torch.empty(parameter.shape, dtype=parameter.dtype, device=device)
                    part._parameters[name] = nn.Parameter(fake, requires_grad=parameter.requires_grad)
            for name, buffer in part._buffers.items():
                if buffer is not None:
                    part._buffers[name] = torch.empty(buffer.shape, dtype=buffer.dtype, device=device)
    return module


@pytest.mark.parametrize("padding", [None, PADDING], ids=["whole", "padded"])
@pytest.mark.parametrize("name", ["differential", "plain", "learned lambda", "bf16", "MAE-AST", "MAE-AST in bf16"])
def test_pretraining_step__keeps_to_one_device(name, padding):
    adam = pytest.importorskip("fairseq.optim.adam")
    model = build(*MODELS[name]).train()
    mask = torch.arange(8).repeat(6, 1) >= 2
    mode = FakeTensorMode(allow_non_fake_inputs=False)
    on_fake_device(model, mode, "cuda")
    teacher = getattr(model, "teacher", None)
    if teacher is not None:
        on_fake_device(teacher.encoder, mode, "cuda")
    places = Places.of(mask, 2, padding)
    with mode:
        source = torch.empty(2, 1, 64, 32, device="cuda")
        batch = {name: torch.empty(t.shape, dtype=t.dtype, device="cuda") for name, t in places.to_dict().items()}
        result = model(source, places=batch)
        assert {str(loss.device) for loss in result["losses"].values()} == {"cuda:0"}
        for parameter in model.parameters():  # a backward pass needs a real device
            parameter.grad = torch.empty_like(parameter)
        adam.Adam(list(model.parameters()), lr=1e-3).step()
        model.set_num_updates(1)
    assert all(str(t.device) == "cuda:0" for t in (*model.parameters(), *model.buffers()))
    assert teacher is None or all(str(p.device) == "cuda:0" for p in teacher.encoder.parameters())


def test_pretraining_step__a_tensor_on_another_device_is_seen():
    model = build("asda", TINY)
    mode = FakeTensorMode(allow_non_fake_inputs=False)
    on_fake_device(model, mode, "cuda")
    on_fake_device(model.teacher.encoder, mode, "cuda")
    on_fake_device(model.encoder.patch_embed, mode, "cpu")
    places = Places.of(torch.arange(8).repeat(6, 1) >= 2, 2).to_dict()
    with mode, pytest.raises(RuntimeError, match="(?i)device"):
        batch = {name: torch.empty(t.shape, dtype=t.dtype, device="cuda") for name, t in places.items()}
        model(torch.empty(2, 1, 64, 32, device="cuda"), places=batch)
