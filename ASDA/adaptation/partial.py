"""Training weights of the encoder's own: none of them, those of the last blocks, all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from ..core.encoder import SpectrogramEncoder
from .method import AdaptationError, require_at_least_one


@dataclass(frozen=True)
class HeadOnly:
    """Nothing of the encoder; a head is trained with every method."""

    kind: ClassVar[str] = "head"
    folds: ClassVar[bool] = True

    def attach(self, encoder: SpectrogramEncoder) -> list[nn.Module]:
        return []


@dataclass(frozen=True)
class LastBlocks:
    """The last blocks. A LayerNorm after them stays frozen."""

    kind: ClassVar[str] = "last_blocks"
    folds: ClassVar[bool] = True

    count: int = 6

    def __post_init__(self) -> None:
        require_at_least_one(self, "count")

    def attach(self, encoder: SpectrogramEncoder) -> list[nn.Module]:
        if self.count > encoder.depth:
            raise AdaptationError(f"{self.kind}: {self.count} blocks, but the encoder has {encoder.depth}")
        blocks: list[nn.Module] = list(encoder.stack.blocks[-self.count :])
        for block in blocks:
            block.requires_grad_(True)
        return blocks


@dataclass(frozen=True)
class Everything:
    """All of it: fine-tuning as without adaptation."""

    kind: ClassVar[str] = "all"
    folds: ClassVar[bool] = True

    def attach(self, encoder: SpectrogramEncoder) -> list[nn.Module]:
        encoder.requires_grad_(True)
        return [encoder]
