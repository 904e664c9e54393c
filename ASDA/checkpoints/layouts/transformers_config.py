"""What the `config.json` of any classifier of transformers says of its classes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..files import CheckpointError
from ..validation import expect_mapping, expect_text, expect_word

_MULTI_LABEL = {None: None, "multi_label_classification": True, "single_label_classification": False}


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
