"""MAE-AST's pre-training task: that of any pre-training, with its keys, its front end and its masks.

No postponed annotations here: omegaconf 2.0 reads the types of the fields.
"""

from dataclasses import dataclass, field
from typing import Any, Optional

from fairseq.tasks import register_task

from ...audio.fbank import num_frames
from ...checkpoints.layouts.mae_ast import RAW_FRONT_END
from ...checkpoints.layouts.mae_ast_names import PUBLISHED_TASK
from ..mae_ast_keys import MaeAstTaskKeys
from .pretraining import PretrainingTask, PretrainingTaskConfig


@dataclass
class MaeAstTaskConfig(PretrainingTaskConfig, MaeAstTaskKeys):
    precompute_mask_config: Any = field(
        default_factory=dict, metadata={"help": "settings of the masks that the model's keys do not say"}
    )
    mask_type: Optional[str] = field(
        default="chunk", metadata={"help": "chunk, random, random_batched, span, inverse_block"}
    )
    max_sample_size: Optional[int] = field(
        default=None, metadata={"help": "samples of a clip, if target_length does not say its frames"}
    )


@register_task(PUBLISHED_TASK, dataclass=MaeAstTaskConfig)
class MaeAstPretrainingTask(PretrainingTask):
    """Its spectrograms are not normalised: that is part of the model."""

    config_class = MaeAstTaskConfig
    own_front_end = RAW_FRONT_END

    @classmethod
    def setup_task(cls, cfg: Any, from_checkpoint: bool = False) -> "MaeAstPretrainingTask":
        if from_checkpoint and "common" not in cfg._get_root():
            cfg.seed = 1  # released files do not hold what it refers to, and nothing is drawn for them
        return super().setup_task(cfg, from_checkpoint)

    def __init__(self, cfg: MaeAstTaskConfig):
        if cfg.target_length is None and cfg.max_sample_size is not None:
            cfg.target_length = num_frames(cfg.max_sample_size)
        super().__init__(cfg)
