"""--help of the launch scripts."""

import shlex

import pytest

pytest.importorskip("hydra", reason="recipes are composed by hydra")

from ASDA.launch.composing import CONFIG_FOLDER
from ASDA.launch.help import help_text, purpose
from ASDA.launch.settings import SETTINGS

from .conftest import plan

FINETUNING = {"AS20K", "AS2M", "ESC50", "FSD50K", "SPCv2", "UrbanSound8K", "demo_finetuning", "linear_probe"}
FINETUNING |= {"own_data", "mean_pooling", "MAE_AST_ESC50", "MAE_AST_SPCv2", "MAE_AST_AS20K"}
FINETUNING |= {"AAT_ESC50", "AAT_UrbanSound8K", "AAT_SPCv1", "AAT_SPCv2", "AAT_OpenMIC", "AAT_GTZAN"}
FINETUNING |= {"AST_AS20K", "SSAST_AS20K", "SSAST_overlap"}
FINETUNING |= {"MAE_AST_SPCv1", "MAE_AST_VoxCeleb1", "MAE_AST_IEMOCAP"}
PRETRAINING = {"EAT", "demo_pretraining", "own_pretraining", "differential_v2", "lambda_by_layer"}


MAE_AST = {"MAE_AST_frame", "MAE_AST_6_layers", "MAE_AST_ViT", "own_pretraining", "demo_MAE_AST"}
RECIPES = {"finetuning": FINETUNING, "pretraining_AS2M": PRETRAINING, "pretraining_MAE_AST": MAE_AST}


@pytest.mark.parametrize(("config", "recipes"), RECIPES.items())
def test_help__names_settings_and_the_recipes_that_fit(config, recipes):
    text = help_text("./script.sh", config)
    table = text.partition("Recipes")[2].partition("\n\n")[0]
    assert {line.split()[0] for line in table.splitlines()[1:] if line[2] != " "} == recipes
    for name in SETTINGS:
        assert (f"\n  {name} " in text) == (config == "finetuning" or name not in ("CHECKPOINT", "FOLDS"))
    assert "usage: ./script.sh [RECIPE ...]" in text and "Examples:\n  " in text
    assert max(map(len, text.partition("Examples:")[0].splitlines())) <= 120


def test_help__lists_the_sizes_of_what_is_pre_trained():
    title = "Sizes of the network (+size=NAME; wins over the recipes):"
    table = help_text("./script.sh", "pretraining_AS2M").partition(title)[2].partition("\n\n")[0]
    assert [line.split()[0] for line in table.splitlines()[1:] if line[2] != " "] == ["tiny", "small", "base", "large"]
    assert title not in help_text("./script.sh", "finetuning")


def test_help__examples_are_commands_that_plan_a_run():
    for config in RECIPES:
        for line in help_text("./script.sh", config).partition("Examples:\n")[2].splitlines():
            words = shlex.split(line)
            at = words.index("./script.sh")
            settings = dict(word.split("=", 1) for word in words[:at])
            assert plan(config, *words[at + 1 :], **settings).runs


def test_purpose__is_the_comment_of_the_yaml():
    assert purpose(CONFIG_FOLDER / "recipe/EAT.yaml") == (
        "Pre-train EAT's network (arXiv 2401.03497): one softmax map, MLP of 4 x D"
    )
