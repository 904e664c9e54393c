"""Registered objectives as yaml, recipes, size and overrides describe them."""

from __future__ import annotations

import torch

import ASDA  # noqa: F401
from ASDA.fairseq_plugin.counting import Pretraining, describe_pretraining
from ASDA.launch.arguments import Arguments
from ASDA.launch.recipe import Recipe, find_config


def composed(words: str) -> Recipe:
    """What `asda-train WORDS` is composed of: the yaml's name, then recipes, size and overrides.

    Raises:
        LaunchError: the words fit no yaml.
    """
    config, *others = words.split()
    return Recipe(find_config(config), Arguments.parse(others))


def registered(words: str, device: str = "meta") -> Pretraining:
    """What `asda-train WORDS` would train.

    Args:
        words: as for `composed`.
        device: where its weights are to be.

    Raises:
        ValueError: they fit no yaml, or describe no objective.
    """
    torch.manual_seed(0)
    return describe_pretraining(composed(words).config, device)
