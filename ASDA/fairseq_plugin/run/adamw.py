"""The recipes' optimiser by its name.

No postponed annotations here: omegaconf 2.0 reads the types of the fields.
"""

import ast
from dataclasses import dataclass, field
from typing import Any, Dict, List

from fairseq.dataclass import FairseqDataclass
from fairseq.optim import FairseqOptimizer, register_optimizer
from omegaconf import II

from ...training.adamw import AdamW
from .one_read import OneRead


@dataclass
class AdamWConfig(FairseqDataclass):
    adam_betas: Any = field(default=(0.9, 0.999), metadata={"help": "betas of the two moments"})
    adam_eps: float = field(default=1e-8, metadata={"help": "eps, as fairseq's adam counts it"})
    weight_decay: float = field(default=0.0, metadata={"help": "decoupled weight decay"})
    lr: List[float] = II("optimization.lr")


@register_optimizer("asda_adamw", dataclass=AdamWConfig)
class FairseqAdam(OneRead, FairseqOptimizer):
    """fairseq's `adam` in a few launches per group. Its name, too, which a checkpoint's has to equal: runs go on either
    way.
    """

    def __init__(self, cfg: AdamWConfig, params: Any):
        super().__init__(cfg)
        self._optimizer = AdamW(params, **self.optimizer_config)

    @property
    def optimizer_config(self) -> Dict[str, Any]:
        """What a run sets, whatever the checkpoint that it goes on from has."""
        cfg = self.cfg
        betas = ast.literal_eval(cfg.adam_betas) if isinstance(cfg.adam_betas, str) else cfg.adam_betas
        return {
            "lr": float(cfg.lr if isinstance(cfg.lr, (int, float)) else cfg.lr[0]),
            "betas": tuple(map(float, betas)),
            "eps": cfg.adam_eps,
            "weight_decay": cfg.weight_decay,
        }

    @property
    def supports_flat_params(self) -> bool:
        """Whether all parameters may be one tensor."""
        return True
