"""The checkpoint that fine-tuning starts from, as far as a launch has to know it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .recipe import Recipe
from .settings import LaunchError

if TYPE_CHECKING:  # torch takes seconds to import
    from ..audio.front_end import FrontEnd
    from ..core.config import EncoderConfig


@dataclass(frozen=True)
class StartingPoint:
    """Read once for all that a launch plans by it; its tensors are not kept.

    Attributes:
        path: of the checkpoint.
        encoder: the architecture that the run trains: the checkpoint's, on the grid that `model.encoder` asks for.
        front_end: what its encoder heard, recorded or by the data set that it names.
        front_end_recorded: which of the two.
    """

    path: Path
    encoder: EncoderConfig
    front_end: FrontEnd
    front_end_recorded: bool

    @classmethod
    def read(cls, path: Path, recipe: Recipe) -> StartingPoint:
        """Looks into a checkpoint of any layout.

        Raises:
            LaunchError: it cannot be used; one line says why.
        """
        from omegaconf import OmegaConf

        from ..checkpoints.reading import read_checkpoint
        from ..checkpoints.regridding import regridded

        stated = recipe.get("model.encoder")
        changes: Any = OmegaConf.to_container(stated) if stated else {}
        try:
            found = regridded(read_checkpoint(path), changes)
        except ValueError as error:
            raise LaunchError(f"CHECKPOINT: {' '.join(str(error).split())}") from error
        return cls(path, found.encoder_config, found.front_end, found.front_end_recorded)
