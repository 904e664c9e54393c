import copy
import json

import pytest
import torch

from ASDA.core import zoo
from ASDA.core.classifier import SpectrogramClassifier
from ASDA.core.config import ConfigError, EncoderConfig, HeadConfig
from ASDA.core.encoder import SpectrogramEncoder
from tests.architectures import encoder_config


@pytest.mark.parametrize("name", zoo.SYSTEMS)
def test_encoder_config__survives_json(name):
    config = zoo.SYSTEMS[name]
    assert EncoderConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_encoder_config__of_a_learned_lambda_survives_json():
    config = encoder_config(lambda_mode="learned", out_scale=None, lambda_init=0.4, prefix_place="middle")
    assert EncoderConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def places_of(values, path=()):
    for name, value in values.items():
        yield (*path, name)
        if isinstance(value, dict):
            yield from places_of(value, (*path, name))


def changed(place, value):
    values = copy.deepcopy(zoo.AST.to_dict())
    inside = values
    for name in place[:-1]:
        inside = inside[name]
    inside[place[-1]] = value
    return values


@pytest.mark.parametrize("place", [".".join(place) for place in places_of(zoo.AST.to_dict())])
def test_encoder_config__a_value_of_another_kind_is_named(place):
    for value in ({}, [1, 2, 3], "loud", float("nan")):
        parts = tuple(place.split("."))
        wanted = changed(parts, value)
        if isinstance(value, str) and parts[-1] in ("norm", "positions"):  # a word, whose table the encoder knows
            with pytest.raises(ConfigError, match=f'{parts[-1]}: expected one of .*, found "loud"'):
                SpectrogramEncoder(EncoderConfig.from_dict(wanted))
            continue
        with pytest.raises(ConfigError, match=rf"^{place.removesuffix('.kind')}.*: .*expected"):
            EncoderConfig.from_dict(wanted)


@pytest.mark.parametrize("place", [".".join(place) for place in places_of(zoo.AST.to_dict())])
def test_encoder_config__a_missing_key_is_named(place):
    values = copy.deepcopy(zoo.AST.to_dict())
    inside = values
    for name in place.split(".")[:-1]:
        inside = inside[name]
    del inside[place.split(".")[-1]]
    with pytest.raises(ConfigError, match=rf"^{place.removesuffix('.kind')}: "):
        EncoderConfig.from_dict(values)


def test_encoder_config__an_unknown_key_is_named():
    with pytest.raises(ConfigError, match=r"^stack.width: unknown; expected embed_dim, depth"):
        EncoderConfig.from_dict(changed(("stack", "width"), 7))


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        # M7 of MAE-AST's re-implementation: patch projection, 6 blocks, LayerNorm (arXiv 2203.16691)
        ("MAE-AST pre-norm", 197_376 + 6 * 7_087_872 + 1_536),
        ("MAE-AST patch", 197_376 + 12 * 7_087_872 + 1_536),
        ("MAE-AST frame", 197_376 + 12 * 7_087_872 + 1_536),
    ],
)
def test_zoo__encoders_have_the_published_number_of_parameters(name, parameters):
    with torch.device("meta"):
        encoder = SpectrogramEncoder(zoo.SYSTEMS[name])
    assert sum(p.numel() for p in encoder.parameters()) == parameters


def test_zoo__ast_has_the_published_number_of_parameters():
    with torch.device("meta"):
        classifier = SpectrogramClassifier(SpectrogramEncoder(zoo.AST), HeadConfig(527, "prefix_mean"))
    assert sum(p.numel() for p in classifier.parameters()) == 86_594_063


def test_zoo__systems_differ_where_the_table_says():
    rows = {
        name: (c.stack.attention.kind, c.stack.norm, c.stack.norm_first, c.stack.norm_last, c.num_prefix_tokens)
        for name, c in zoo.SYSTEMS.items()
    }
    assert rows["ASDA"] == ("differential", "post", True, False, 1)
    assert rows["EAT"] == ("plain", "post", True, False, 1)
    assert rows["MAE-AST patch"] == rows["MAE-AST frame"] == ("plain", "post", True, False, 0)
    assert rows["MAE-AST pre-norm"] == ("plain", "pre", False, True, 0)
    assert rows["SSAST"] == rows["AST"] == ("plain", "pre", False, True, 2)
    assert (zoo.MAE_AST_FRAME.patches.size, zoo.MAE_AST_FRAME.columns) == ((2, 128), 1)
    assert (zoo.AST.patches.stride, zoo.AST.columns) == ((10, 10), 12)
