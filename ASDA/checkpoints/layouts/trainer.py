"""Checkpoints of fairseq's trainer in this project's spelling: what differs with the model that was trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ...audio.front_end import FrontEnd
from ..checkpoint import Checkpoint
from . import mae_ast, project, published, ssast
from .mae_ast_names import PUBLISHED_MODEL
from .ssast_names import SSAST_MODEL

State = dict[str, Any]


@dataclass(frozen=True)
class TrainerLayout:
    """What can be done with the checkpoints of a kind of models.

    Attributes:
        describe: path, state -> what it holds.
        with_front_end: path, state, front end -> the state with this front end.
        outside_encoder: state -> tensors of what is used in training alone.
        join: the encoder's tensors and head, tensors from ``outside_encoder``, the record of the run -> the model's.
        write_published: file, state -> writes it as the published programs do; what these do not know of it.
    """

    describe: Callable[[Path, State], Checkpoint]
    with_front_end: Callable[[Path, State, FrontEnd], State]
    outside_encoder: Callable[[State], dict[str, Tensor]]
    join: Callable[[Checkpoint, dict[str, Tensor], Mapping[str, Any]], dict[str, Any]]
    write_published: Callable[[Path, State], dict[str, Any]]


_BY_MODEL = {
    PUBLISHED_MODEL: TrainerLayout(
        mae_ast.describe, mae_ast.with_front_end, mae_ast.outside_encoder, mae_ast.join, mae_ast.write_published
    ),
    SSAST_MODEL: TrainerLayout(
        ssast.describe, project.with_front_end, ssast.outside_encoder, ssast.join, ssast.write_published
    ),
}
_OTHERS = TrainerLayout(
    project.describe, project.with_front_end, project.outside_encoder, project.join, published.write
)


def trainer_layout(cfg: Mapping[str, Any]) -> TrainerLayout:
    """That of the checkpoints with this configuration."""
    return _BY_MODEL.get(str((cfg.get("model") or {}).get("_name")), _OTHERS)
