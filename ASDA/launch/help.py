"""What `--help` of the launch scripts says: settings, recipes, sizes, examples; read from where they are used."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any

from .arguments import Arguments
from .composing import PROJECT
from .inputs import is_labelled
from .recipe import Recipe, find_config, recipe_files
from .settings import SETTINGS
from .sizes import by_size, foreign_keys, size_files

WIDTH = 110
_KEYS = (
    "key=value are hydra overrides and win over everything else. The keys stand in {file} and in base/ beside it. "
    "Paths, in settings and in overrides, are relative to the current directory. A run's log is SAVE_DIR/train.log."
)
_ONLY_LABELLED = ("CHECKPOINT", "FOLDS")


def help_text(program: str, config: str) -> str:
    """The help of a program that starts runs of a yaml."""
    recipe = Recipe(find_config(config), Arguments((), ()))
    labelled = is_labelled(recipe)
    settings = {name: text for name, text in SETTINGS.items() if labelled or name not in _ONLY_LABELLED}
    recipes = {name: purpose(file) for name, file in recipe_files(recipe.file).items() if _fits(file, recipe)}
    of_model = {} if recipe.has("model.model_path") else size_files(recipe.file, recipe.model)
    fitting = [name for name in by_size(of_model) if not foreign_keys(recipe.config, of_model[name])]
    sizes = {name: purpose(of_model[name]) for name in fitting}
    shown = recipe.file.relative_to(PROJECT) if recipe.file.is_relative_to(PROJECT) else recipe.file
    lines = [
        *textwrap.wrap(purpose(recipe.file), WIDTH),
        "",
        f"usage: {program} [RECIPE ...] [key=value ...] [--plan]",
        "",
        *_table("Settings (environment variables):", settings),
        *_table(f"Recipes ({shown.parent}/recipe; of several, what a later one says wins):", recipes),
        'RECIPE ... can also be written as +recipe=A or "+recipe=[A,B]" among the overrides.',
        "--plan says what a run would be (data, window, network, batch, schedule, folder) and starts nothing.",
        "",
        *(_table("Sizes of the network (+size=NAME; wins over the recipes):", sizes) if sizes else []),
        *textwrap.wrap(
            f"key=value are hydra overrides and win over everything else. {_KEYS.format(file=shown)}", WIDTH
        ),
        "",
        "Examples:",
        *(f"  {example}" for example in _examples(program, labelled, list(recipes))),
    ]
    return "\n".join(lines)


def purpose(file: Path) -> str:
    """What a yaml is for, from the comments at its head; empty if they do not say."""
    head = re.match(r"(?:#.*\n)*", file.read_text(encoding="utf-8"))
    assert head is not None  # no comment fits as well
    found = re.search(r"^# Purpose: *(.*(?:\n#  .*)*)", head[0], re.MULTILINE)
    return re.sub(r"\s*\n#\s*", " ", found[1]).rstrip(".") if found else ""


def _fits(file: Path, recipe: Recipe) -> bool:
    """Whether a recipe is for this yaml: by its launch line, and as it names no key that the yaml does not know."""
    from omegaconf import OmegaConf

    launch = re.search(r"^# Launch:(.*)$", file.read_text(encoding="utf-8"), re.MULTILINE)
    if launch and ("pretrain" if is_labelled(recipe) else "finetun") in launch[1]:
        return False
    content: Any = OmegaConf.load(file)
    return all(recipe.has(f"{section}.{key}") for section in ("model", "task") for key in content.get(section) or {})


def _examples(program: str, labelled: bool, recipes: list[str]) -> list[str]:
    start = f"DATA=/data/set SAVE_DIR=/runs/new {program}"
    if labelled:
        start = f"CHECKPOINT=/runs/asda/checkpoint_last.pt {start}"
    first = " ".join(recipes[:1])
    examples = [f"{start} {first}", f"{start} {first} common.seed=2", f"NGPU=2 BATCH_SIZE=6 DRY_RUN=1 {start} {first}"]
    if {"ESC50", "linear_probe"} <= set(recipes):
        examples.insert(1, f"{start} ESC50 linear_probe")
    return examples


def _table(title: str, rows: dict[str, str]) -> list[str]:
    column = max(map(len, rows), default=0) + 4
    lines = [title]
    for name, text in rows.items():
        lines += textwrap.wrap(f"  {name:<{column - 2}}{text}", WIDTH, subsequent_indent=" " * column)
    return [*lines, ""]
