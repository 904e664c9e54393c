"""The contract of a method of adaptation: what is trained of an encoder that is otherwise frozen."""

from __future__ import annotations

import sys
from typing import Any, ClassVar, Protocol

from torch import nn

from ..core.config_error import LARGEST_SIZE
from ..core.encoder import SpectrogramEncoder


class AdaptationError(ValueError):
    """A method that is not known or does not fit an encoder; one line that names what there is."""


class Method(Protocol):
    """A frozen dataclass of settings.

    Attributes:
        kind: its name in yaml and in files.
        folds: whether what it adds can be computed into the encoder's own weights.
    """

    kind: ClassVar[str]
    folds: ClassVar[bool]

    def attach(self, encoder: SpectrogramEncoder) -> list[nn.Module]:
        """Adds what there is to add and lets it be trained.

        Args:
            encoder: frozen; the methods before this one are attached.

        Returns:
            The modules that are in training mode when a run trains. Their parameters which get a gradient, and no
            others of the encoder, are trained.

        Raises:
            AdaptationError: it does not fit this encoder.
        """


def require_at_least_one(method: Any, name: str) -> None:
    """Refuses a setting that is no whole number from 1 to `LARGEST_SIZE`.

    Raises:
        AdaptationError: it is not.
    """
    value = getattr(method, name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise AdaptationError(f"{method.kind}: {name} is {value!r}, expected a whole number of at least 1")
    if value > LARGEST_SIZE:
        found = str(value)[:20]
        raise AdaptationError(f"{method.kind}: {name} is {found}, expected a whole number of at most {LARGEST_SIZE}")


def is_number(value: Any) -> bool:
    """Whether a setting is a number that a float can hold; true and false are none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def require_vacant(encoder: SpectrogramEncoder, place: str, kind: str) -> None:
    """Refuses to put something in the place of what is there: it may be trained.

    Raises:
        AdaptationError: a block has something there.
    """
    for number, block in enumerate(encoder.stack.blocks):
        if not isinstance(getattr(block, place), (type(None), nn.Identity)):
            raise AdaptationError(f"{kind}: block {number} has one already; attach to an encoder without adapters")
