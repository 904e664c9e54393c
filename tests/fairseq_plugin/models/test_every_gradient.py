"""A step gives every trained parameter a gradient: torch's data parallelism waits for each of them for ever."""

import pytest

from ASDA.core.places import Places
from ASDA.fairseq_plugin.run.data_parallel import leaves_layers_out

from .conftest import TINY, build
from .test_no_waits import MAE_AST, MODELS

SSAST = {"depth": 2, "embed_dim": 64, "num_heads": 1, "mlp_ratio": 2.0, "max_length": 4, "num_mel_bins": 32}


def without_gradient(model, spectrograms, masks) -> list[str]:
    result = model.train()(spectrograms, places=Places.of(masks, len(spectrograms)).to_dict())
    (sum(result["losses"].values()) / result["sample_size"]).backward()
    return [name for name, parameter in model.named_parameters() if parameter.requires_grad and parameter.grad is None]


@pytest.mark.parametrize("name", MODELS)
def test_pretraining_step__gives_every_trained_parameter_a_gradient(name, spectrograms, masks):
    assert without_gradient(build(*MODELS[name]), spectrograms, masks) == []


@pytest.mark.parametrize("weights", [{"cls_loss": 0.0}, {"d2v_loss": 0.0}], ids=str)
def test_pretraining_step__with_one_loss_too(weights, spectrograms, masks):
    assert without_gradient(build("asda", {**TINY, **weights}), spectrograms, masks) == []


@pytest.mark.parametrize("weights", [{}, {"discriminative_weight": 0.0}, {"generative_weight": 0.0}], ids=str)
def test_ssast_step__gives_every_trained_parameter_a_gradient(weights, spectrograms, masks):
    assert without_gradient(build("ssast", {**SSAST, **weights}), spectrograms, masks[:4]) == []


def test_layerdrop__is_what_leaves_some_without(spectrograms, masks):
    model = build("mae_ast", {**MAE_AST, "encoder_layerdrop": 1.0})
    assert leaves_layers_out(model) and without_gradient(model, spectrograms, masks)
    assert not leaves_layers_out(build("mae_ast", MAE_AST))
