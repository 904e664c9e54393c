"""Is a value of a checkpoint what it has to be? If not, one line: file, key, what was expected, what was found."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from torch import Tensor

from .files import CheckpointError

_MOST_CHARACTERS = 80
_MOST_NAMES = 8


def refuse(file: str | Path, key: str, expected: str, found: Any) -> NoReturn:
    """Raises the error about one value.

    Args:
        file: the checkpoint.
        key: where the value stands, with dots between the levels: `encoder.stack.depth`.
        expected: in words.
        found: the value.

    Raises:
        CheckpointError: always.
    """
    raise CheckpointError(f"{file}: {key}: expected {expected}, found {shown(found)}")


def shown(value: Any) -> str:
    """A value in a few words, on one line."""
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    if isinstance(value, Mapping):
        if not value:
            return "an empty table"
        names = [str(name) for name in list(value)[:_MOST_NAMES]] + ["..."] * (len(value) > _MOST_NAMES)
        return f"a table with the keys {_cut(', '.join(names))}"
    if isinstance(value, (list, tuple)) and len(repr(value)) > _MOST_CHARACTERS:
        return f"a list of {len(value)}"
    return "nothing (null)" if value is None else _cut(repr(value))


def expect_mapping(file: str | Path, key: str, value: Any) -> Mapping[str, Any]:
    """The value, a table whose keys are text."""
    if not isinstance(value, Mapping):
        refuse(file, key, "a table", value)
    for name in value:
        if not isinstance(name, str):
            refuse(file, key, "names as keys", name)
    return value


def expect_key(file: str | Path, key: str, table: Any, name: str) -> Any:
    """The entry of a table; `key` is the table's own, empty for the outermost."""
    place = f"{key}.{name}" if key else name
    if name not in expect_mapping(file, key or "the contents", table):
        refuse(file, place, "a value", table)
    return table[name]


def expect_keys(file: str | Path, key: str, table: Any, known: Collection[str]) -> Mapping[str, Any]:
    """A table with no other keys than those known: a word that is spelled wrong would be passed over."""
    for name in expect_mapping(file, key, table):
        if name not in known:
            refuse(file, key, f"no other keys than {', '.join(known)}", name)
    return table


def expect_text(file: str | Path, key: str, value: Any) -> str:
    """The value, a text."""
    if not isinstance(value, str):
        refuse(file, key, "a text", value)
    return value


def expect_word(file: str | Path, key: str, value: Any, words: Collection[Any]) -> Any:
    """The value, one of those known; a None among them stands for null."""
    if isinstance(value, (Mapping, list)) or value not in words or isinstance(value, bool):
        names = ", ".join("null" if word is None else str(word) for word in words)
        refuse(file, key, f"one of {names}", value)
    return value


def expect_flag(file: str | Path, key: str, value: Any, *, optional: bool = False) -> bool | None:
    """The value, true or false; null where it is optional."""
    if not isinstance(value, bool) and not (optional and value is None):
        refuse(file, key, "true, false or null" if optional else "true or false", value)
    return value


def expect_number(
    file: str | Path,
    key: str,
    value: Any,
    *,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    whole: bool = False,
    optional: bool = False,
) -> Any:
    """The value, a finite number in a range; the ends belong to the range but for `above`.

    Args:
        low: smallest.
        high: largest.
        above: what it has to exceed.
        whole: no fractions.
        optional: null is right, too.
    """
    if optional and value is None:
        return value
    kinds = (int,) if whole else (int, float)
    number = isinstance(value, kinds) and not isinstance(value, bool)
    if (
        not number
        or not (isinstance(value, int) or math.isfinite(value))
        or (low is not None and value < low)
        or (high is not None and value > high)
        or (above is not None and value <= above)
    ):
        bounds = [("of at least", low), ("above", above), ("of at most", high)]
        ranges = " and ".join(f"{word} {bound}" for word, bound in bounds if bound is not None)
        kind = f"a {'whole' if whole else 'finite'} number" + (f" {ranges}" if ranges else "")
        refuse(file, key, kind + (" or null" if optional else ""), value)
    return value


def expect_texts(file: str | Path, key: str, value: Any, count: int | None = None) -> list[str]:
    """The value, a list of texts.

    Args:
        count: how many; none at all are right in any case.
    """
    if not isinstance(value, Sequence) or isinstance(value, str) or not all(isinstance(text, str) for text in value):
        refuse(file, key, "a list of texts", value)
    if count is not None and value and len(value) != count:
        refuse(file, key, f"{count} texts or none", len(value))
    return list(value)


def expect_equal(file: str | Path, key: str, value: Any, expected: Any, why: str) -> Any:
    """The value, what something else says it must be.

    Args:
        why: where the expectation comes from: "as the tensors have it".
    """
    same_kind = isinstance(value, bool) == isinstance(expected, bool)
    close = isinstance(value, float) and isinstance(expected, float) and math.isclose(value, expected, rel_tol=1e-6)
    if not (same_kind and (close or value == expected)):
        refuse(file, key, f"{shown(expected)}, {why}", value)
    return value


def expect_history(file: str | Path, value: Any) -> Sequence[Mapping[str, Any]]:
    """`optimizer_history` of fairseq's trainer, one table for each optimiser; an empty one where there is none."""
    if not value and not isinstance(value, (bool, float, int, str)):
        return [{}]
    if not isinstance(value, (list, tuple)):
        refuse(file, "optimizer_history", "a list of tables", value)
    for number, entry in enumerate(value):
        expect_mapping(file, f"optimizer_history.{number}", entry)
    return value


def expect_tensors(file: str | Path, key: str, value: Any) -> Mapping[str, Tensor]:
    """The value, a table of tensors."""
    for name, tensor in expect_mapping(file, key, value).items():
        if not isinstance(tensor, Tensor):
            refuse(file, f"{key}.{name}" if key else name, "a tensor", tensor)
    return value


def expect_shape(file: str | Path, name: str, tensor: Any, shape: Sequence[int | None]) -> Tensor:
    """A tensor of numbers of a shape; None stands for any size."""
    wanted = "(" + ", ".join("any" if size is None else str(size) for size in shape) + ")"
    if not isinstance(tensor, Tensor):
        refuse(file, name, f"a tensor of shape {wanted}", tensor)
    fits = tensor.dim() == len(shape) and all(
        size in (None, found) for size, found in zip(shape, tensor.shape, strict=True)
    )
    if not fits:
        refuse(file, name, f"a tensor of shape {wanted}", tensor)
    if not tensor.is_floating_point():
        raise CheckpointError(f"{file}: {name}: expected floating-point numbers, found {tensor.dtype}")
    return tensor


def _cut(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _MOST_CHARACTERS else f"{text[: _MOST_CHARACTERS - 4]} ..."
