"""What the `config.json` of any model of transformers says: its type, its sizes, its classes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..contents import Contents
from ..files import CheckpointError
from ..validation import expect_mapping, expect_number, expect_text, expect_word

_MULTI_LABEL = {None: None, "multi_label_classification": True, "single_label_classification": False}


def is_model(contents: Contents, model_type: str) -> bool:
    """Whether the contents are a directory of this `model_type`."""
    return isinstance(contents.config, dict) and contents.config.get("model_type") == model_type


def sizes(file: Path, config: Mapping[str, Any], defaults: Mapping[str, int]) -> dict[str, int]:
    """The whole numbers that a config states, or leaves at their defaults.

    Raises:
        CheckpointError: one is no whole number from 1 to 10**9.
    """
    return {
        name: expect_number(file, name, config.get(name, default), low=1, high=10**9, whole=True)
        for name, default in defaults.items()
    }


def is_multi_label(file: Path, config: Mapping[str, Any]) -> bool | None:
    """Whether a clip may have several labels; None if the file does not say."""
    return _MULTI_LABEL[expect_word(file, "problem_type", config.get("problem_type"), tuple(_MULTI_LABEL))]


def label_names(file: Path, config: Mapping[str, Any]) -> list[str]:
    """Names of the classes in their order; none where they are `LABEL_0`, `LABEL_1`, ...

    Raises:
        CheckpointError: `id2label` is no list of names.
    """
    named = expect_mapping(file, "id2label", config.get("id2label") or {})
    numbers = [str(number) for number in range(len(named))]
    if any(number not in named for number in numbers):
        raise CheckpointError(
            f"{file}: id2label: expected the keys 0 to {len(named) - 1}, found {', '.join(named)[:80]}"
        )
    names = [expect_text(file, f"id2label.{number}", named[number]) for number in numbers]
    return [] if names == [f"LABEL_{number}" for number in numbers] else names
