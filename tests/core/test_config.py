import copy
import json
import re

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


@pytest.mark.parametrize(
    "settings",
    [
        {"diff_lambda": [0.1, 0.2], "depth": 2},
        {"diff_lambda": (0, 1), "depth": 2},
        {"lambda_mode": "learned", "lambda_init": [0.1, 0.2], "out_scale": None, "depth": 2},
        {"attention": "differential_v2"},
        {"attention": "differential_v2", "lambda_init": 0.3},
        {"attention": "differential_v2", "lambda_init": [0.1, 0.2, 0.3], "depth": 3},
    ],
)
def test_encoder_config__of_every_kind_of_lambda_survives_json(settings):
    config = encoder_config(**settings)
    again = EncoderConfig.from_dict(json.loads(json.dumps(config.to_dict())))
    assert again == config and hash(again) == hash(config)


@pytest.mark.parametrize(
    ("kind", "name", "value", "said"),
    [
        ("differential", "diff_lambda", [0.1, 0.2, 0.3], "one number, or one for each of the 12 layers, found 3"),
        ("differential", "diff_lambda", [], "one number, or one for each of the 12 layers, found 0"),
        ("differential", "diff_lambda", [0.3] * 11 + [1.5], "a number from 0 to 1, or a list of one for each layer"),
        ("differential", "diff_lambda", -0.1, "a number from 0 to 1, or a list of one for each layer, found -0.1"),
        ("differential", "diff_lambda", "0.3", "a number from 0 to 1, or a list of one for each layer, found '0.3'"),
        ("differential", "diff_lambda", True, "a number from 0 to 1, or a list of one for each layer, found True"),
        ("differential", "diff_lambda", None, "a number from 0 to 1, or a list of one for each layer, found None"),
        ("differential", "diff_lambda", [[0.3]] * 12, "a number from 0 to 1, or a list of one for each layer"),
        ("differential", "lambda_init", [0.5] * 13, "one number, or one for each of the 12 layers, found 13"),
        ("differential", "lambda_init", float("nan"), "a number from 0 to 1, or a list of one for each layer"),
        ("differential_v2", "lambda_init", 1, "a number between 0 and 1, or a list of one for each layer, found 1"),
        ("differential_v2", "lambda_init", [0.5, 0.5], "one number, or one for each of the 12 layers, found 2"),
    ],
)
def test_encoder_config__a_lambda_that_cannot_be_is_named(kind, name, value, said):
    values = encoder_config(attention=kind).to_dict()
    values["stack"]["attention"][name] = value
    with pytest.raises(ConfigError) as caught:
        EncoderConfig.from_dict(values)
    assert re.match(rf"stack\.attention\.{name}: expected {re.escape(said)}", str(caught.value)), str(caught.value)


def test_encoder_config__a_setting_of_another_kind_is_named():
    values = encoder_config(attention="differential_v2").to_dict()
    values["stack"]["attention"]["diff_lambda"] = 0.3
    with pytest.raises(ConfigError, match=r"^stack.attention.diff_lambda: unknown; expected lambda_init$"):
        EncoderConfig.from_dict(values)


def test_attention__behind_the_last_layer_lists_go_on_with_their_last_value():
    differential = encoder_config(diff_lambda=[0.1, 0.2], lambda_init=[0.3, 0.4], depth=2).stack.attention
    behind = differential.behind_the_last_layer()
    assert (behind.diff_lambda, behind.lambda_init) == (0.2, 0.4)
    assert zoo.ASDA.stack.attention.behind_the_last_layer() == zoo.ASDA.stack.attention
    assert zoo.EAT.stack.attention.behind_the_last_layer() == zoo.EAT.stack.attention


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
