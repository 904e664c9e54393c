"""torch.compile of the registered models: whole blocks and decoder layers, without a break in their graphs."""

from types import SimpleNamespace

import pytest
import torch
from torch._dynamo.utils import counters

from ASDA.core.places import Places
from ASDA.fairseq_plugin.models.encoder_keys import CompileMode

from .conftest import TINY, build
from .test_no_waits import MAE_AST

NO_NOISE = {**TINY, "modalities": {"image": {**TINY["modalities"]["image"], "mask_noise_std": 0.0}}}
MODELS = {
    "differential": ("asda", NO_NOISE),
    "plain": ("asda", {**NO_NOISE, "attention": "plain"}),
    "learned lambda": ("asda", {**NO_NOISE, "lambda_mode": "learned"}),
    "bf16": ("asda", {**NO_NOISE, "autocast": "bf16"}),
    "recomputed": ("asda", {**NO_NOISE, "checkpoint_activations": True}),
    "MAE-AST": ("mae_ast", MAE_AST),
}
FIRST, *OTHERS = MODELS


def losses_and_gradients(model, spectrograms, places):
    model.zero_grad()
    torch.manual_seed(2)  # of dropout
    result = model(spectrograms, places=places)
    sum(result["losses"].values()).backward()
    gradients = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    return [torch.stack(list(result["losses"].values())).detach(), *gradients]


@pytest.mark.parametrize("name", [FIRST, *(pytest.param(name, marks=pytest.mark.long) for name in OTHERS)])
def test_compiled__has_whole_graphs_and_the_losses_of_the_eager_model(name, spectrograms, masks):
    torch.manual_seed(1)
    model = build(*MODELS[name]).train()
    places = Places.of(masks, len(spectrograms)).to_dict()
    expected = losses_and_gradients(model, spectrograms, places)
    torch._dynamo.reset()
    counters.clear()
    names = list(model.state_dict())
    model.objective.compile_layers(dynamic=False, fullgraph=True, backend="eager")
    found = losses_and_gradients(model, spectrograms, places)
    assert counters["stats"]["unique_graphs"] > 0 and not counters["graph_break"]
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    assert list(model.state_dict()) == names
    torch._dynamo.reset()


@pytest.mark.parametrize("lengths_vary", [False, True])
def test_compile_layers__of_a_run_is_static_unless_lengths_vary(lengths_vary, monkeypatch):
    compiled = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda module, **how: compiled.append((type(module).__name__, how)))
    model = build("asda", {**TINY, "compile_mode": "max_autotune_no_cudagraphs"})
    model.compile_layers(lengths_vary)
    how = {"dynamic": lengths_vary, "mode": "max-autotune-no-cudagraphs"}
    assert all(options == how for _, options in compiled)
    decoder = "NormGelu" if lengths_vary else "ConvLayer"
    assert [kind for kind, _ in compiled] == ["PostNormBlock"] * 4 + [decoder] * 6  # student, teacher, decoder
    assert torch._dynamo.config.recompile_limit >= 8 * 2


def test_compile_layers__waits_for_an_architecture_that_is_open(monkeypatch):
    compiled = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda module, **_: compiled.append(module))
    state = build("asda", TINY).state_dict()
    model = build("data2vec_multi", TINY, SimpleNamespace(builds_from_checkpoint=True))
    model.compile_layers(lengths_vary=False)
    assert not compiled
    model.load_state_dict(state)
    assert compiled


@pytest.mark.parametrize("mode", CompileMode)
def test_compile_mode__is_one_of_torchs_without_cuda_graphs(mode):
    options = torch._inductor.list_mode_options(mode.value)
    assert not options.get("triton.cudagraphs", False)
