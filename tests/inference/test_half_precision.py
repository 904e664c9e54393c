"""Weights cast once give, to the bit, what autocast makes of those in float32."""

from dataclasses import replace

import pytest
import torch

from ASDA.core import zoo
from ASDA.core.classifier import SpectrogramClassifier
from ASDA.core.config import HeadConfig
from ASDA.core.encoder import SpectrogramEncoder
from ASDA.inference.features import hidden_states
from ASDA.inference.half_precision import cast_weights

SYSTEMS = {"ASDA": zoo.ASDA, "EAT": zoo.EAT, "MAE-AST": zoo.MAE_AST_PATCH, "AST": zoo.AST}
CPU = torch.device("cpu")


@pytest.mark.parametrize("name", SYSTEMS)
def test_cast_weights__gives_autocasts_results_to_the_bit(name):
    torch.manual_seed(0)
    config = replace(SYSTEMS[name], stack=replace(SYSTEMS[name].stack, embed_dim=64, depth=2, num_heads=4))
    classifier = SpectrogramClassifier(SpectrogramEncoder(config), HeadConfig(num_classes=5, pooling="mean")).eval()
    for parameter in classifier.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    source = torch.randn(2, 1, 64, 128)

    def outputs():
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            return hidden_states(classifier.encoder, source, None, (1, 2)), classifier(source)

    expected = outputs()
    cast_weights(classifier, CPU)
    assert all(torch.equal(found, one) for found, one in zip(outputs(), expected, strict=True))
    types = {parameter.dtype for parameter in classifier.parameters()}
    assert types == {torch.bfloat16, torch.float32}  # norms and tokens stay


def test_cast_weights__no_linear_map_is_left_to_be_cast():
    encoder = SpectrogramEncoder(replace(zoo.ASDA, stack=replace(zoo.ASDA.stack, embed_dim=64, depth=1, num_heads=4)))
    cast_weights(encoder, CPU)
    left = [name for name, value in encoder.named_parameters() if value.dim() > 1 and value.dtype == torch.float32]
    assert not [name for name in left if name.endswith("weight")]
