"""Bottleneck adapters of a block: beside its MLP, and behind its attention (AAT, arXiv 2401.10544, section 2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from ..core.encoder import SpectrogramEncoder
from .method import require_at_least_one, require_vacant

_REDUCTION = 4  # of the width, in the paper


class Bottleneck(nn.Module):
    """Linear, exact GELU, linear: (..., D) -> (..., D); zero until it is trained.

    Args:
        embed_dim: width ``D``.
        width: between the two maps.
    """

    def __init__(self, embed_dim: int, width: int):
        super().__init__()
        self.fc1 = nn.Linear(embed_dim, width)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(width, embed_dim)
        nn.init.zeros_(self.fc2.weight)
        nn.init.zeros_(self.fc2.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.act(self.fc1(x)))


class ResidualBottleneck(Bottleneck):
    """The same with a shortcut of its own: the identity until it is trained."""

    def forward(self, x: Tensor) -> Tensor:
        return x + super().forward(x)


@dataclass(frozen=True)
class _BlockAdapters:
    """One adapter in each block.

    Attributes:
        width: of the bottleneck; None: a quarter of the encoder's.
    """

    kind: ClassVar[str]
    folds: ClassVar[bool] = False
    _adapter: ClassVar[type[Bottleneck]]
    _place: ClassVar[str]  # attribute of a block

    width: int | None = None

    def __post_init__(self) -> None:
        if self.width is not None:
            require_at_least_one(self, "width")

    def attach(self, encoder: SpectrogramEncoder) -> list[nn.Module]:
        require_vacant(encoder, self._place, self.kind)
        width = self.width or max(1, encoder.embed_dim // _REDUCTION)
        added: list[nn.Module] = []
        for block in encoder.stack.blocks:
            adapter = self._adapter(encoder.embed_dim, width).to(encoder.device)
            setattr(block, self._place, adapter)
            added.append(adapter)
        return added


@dataclass(frozen=True)
class MlpAdapters(_BlockAdapters):
    """Parallel to the MLP, from the MLP's own input (AAT^M)."""

    kind: ClassVar[str] = "mlp_adapter"
    _adapter = Bottleneck
    _place = "beside_mlp"


@dataclass(frozen=True)
class SpatialAdapters(_BlockAdapters):
    """In series after the attention, before the residual sum; with the MLP's adapters it is AAT^MS."""

    kind: ClassVar[str] = "spatial_adapter"
    _adapter = ResidualBottleneck
    _place = "after_attention"
