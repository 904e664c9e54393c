"""The criterion of models that bring their losses: fairseq's, without its waits; and MAE-AST's by its name.

No postponed annotations here: omegaconf 2.0 reads the types of the fields.
"""

from dataclasses import dataclass, field
from typing import Any, List, Optional

import torch
from fairseq.criterions import model_criterion as fairseqs
from fairseq.criterions import register_criterion
from fairseq.criterions.model_criterion import ModelCriterionConfig

_LOGGED = ["masked_pct", "nce_accuracy", "bin_mean_loss"]


class ModelCriterion(fairseqs.ModelCriterion):
    """Weighs and logs a model's losses. What it logs are tensors that nobody has waited for.

    Its name is that of fairseq's, which checkpoints record and have to be continued with.
    """

    def forward(self, model, sample, reduce=True):
        """The loss of a batch, what it is a sum over, and what is logged.

        Raises:
            KeyError: ``criterion.loss_weights`` has no weight for a loss of the model.
        """
        output = model(**sample["net_input"])
        terms = {}
        for name, loss in output["losses"].items():
            weight = self._weight(name)
            if weight != 0 and loss is not None:
                terms[name] = weight * loss.float().sum()
        total, sample_size = sum(terms.values()), output["sample_size"]
        log = {
            "loss": total.detach(),
            "ntokens": sample_size,
            "nsentences": sample["id"].numel(),
            "sample_size": sample_size,
            "_world_size": 1,
        }
        for name in self.log_keys:
            if output.get(name) is not None:
                log.update(_logged(name, output[name]))
        if len(terms) > 1:
            log.update({f"loss_{name}": term.detach() for name, term in terms.items()})
        return total, sample_size, log

    def _weight(self, name: str) -> float:
        if not self.loss_weights:
            return 1.0
        if name not in self.loss_weights:
            raise KeyError(f"criterion.loss_weights={dict(self.loss_weights)} has no weight for the loss {name}")
        return self.loss_weights[name]


def _logged(name: str, value: Any) -> dict:
    if not torch.is_tensor(value) or value.numel() == 1 or name.startswith("_"):
        return {name: value.detach() if torch.is_tensor(value) else value}
    return {f"{name}_{i}": part.detach() for i, part in enumerate(value)}


def without_waits(criterion: Any) -> Any:
    """fairseq's criterion as :class:`ModelCriterion`; any other as it is."""
    if type(criterion) is not fairseqs.ModelCriterion:
        return criterion
    return ModelCriterion(criterion.task, criterion.loss_weights, criterion.log_keys, criterion.can_sum)


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
