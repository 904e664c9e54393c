"""MAE-AST's criterion by its name: that of models which bring their losses, with weights of MAE-AST's spelling.

No postponed annotations here: omegaconf 2.0 reads the types of the fields.
"""

from dataclasses import dataclass, field
from typing import List, Optional

from fairseq.criterions import register_criterion
from fairseq.criterions.model_criterion import ModelCriterion, ModelCriterionConfig

_LOGGED = ["masked_pct", "nce_accuracy", "bin_mean_loss"]


@dataclass
class MaeAstCriterionConfig(ModelCriterionConfig):
    log_keys: List[str] = field(default_factory=lambda: list(_LOGGED), metadata={"help": "also logged"})
    reconstruction_weight: Optional[float] = field(
        default=None, metadata={"help": "weight of the generative loss; null: model.reconstruction_weight"}
    )
    classification_weight: Optional[float] = field(
        default=None, metadata={"help": "weight of the discriminative loss; null: model.classification_weight"}
    )


@register_criterion("mae_ast", dataclass=MaeAstCriterionConfig)
class MaeAstCriterion(ModelCriterion):
    """The losses come weighted from the model; where this says other weights, they are what holds."""

    def __init__(
        self,
        task,
        loss_weights=None,
        log_keys=None,
        can_sum=True,
        reconstruction_weight=None,
        classification_weight=None,
    ):
        super().__init__(task, loss_weights or {}, log_keys or [], can_sum)
        self.weights = {"generative": reconstruction_weight, "discriminative": classification_weight}

    def forward(self, model, sample, reduce=True):
        self.loss_weights = self.loss_weights or self._relative(model)
        return super().forward(model, sample, reduce)

    def _relative(self, model) -> dict:
        """What the model's losses are multiplied by so that they have the weights of this criterion.

        Raises:
            ValueError: the model has turned off a loss that this criterion weighs.
        """
        relative = {}
        of_model = dict(zip(self.weights, model.objective.weights, strict=True))
        keys = dict(zip(self.weights, ("reconstruction_weight", "classification_weight"), strict=True))
        for name, weight in self.weights.items():
            if weight and not of_model[name]:
                raise ValueError(f"criterion.{keys[name]}={weight}, but model.{keys[name]}=0 turns this loss off")
            relative[name] = 1.0 if weight is None or not of_model[name] else weight / of_model[name]
        if not any(relative.values()):
            raise ValueError("criterion.reconstruction_weight and classification_weight are both 0")
        return relative
