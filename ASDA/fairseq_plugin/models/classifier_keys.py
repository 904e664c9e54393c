"""Config of the classifier.

No postponed annotations here: omegaconf 2.0 reads the types of the fields.
"""

from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Optional

from ..eat_keys import EatClassifierKeys
from .adaptation_keys import AdaptationKeys
from .encoder_keys import ComputingKeys, DropoutKeys


class PredictionMode(Enum):
    CLS_TOKEN = "CLS_TOKEN"
    MEAN_POOLING = "MEAN_POOLING"
    PREFIX_MEAN = "PREFIX_MEAN"
    LIN_SOFTMAX = "LIN_SOFTMAX"


class ClassificationLoss(Enum):
    auto = "auto"
    bce = "bce"
    cross_entropy = "cross_entropy"


class Colours(Enum):
    sum = "sum"
    mean = "mean"


@dataclass
class ClassifierConfig(EatClassifierKeys, DropoutKeys, ComputingKeys, AdaptationKeys):
    """A pre-trained encoder with a classification head."""

    model_path: str = field(default="", metadata={"help": "pre-trained checkpoint to start from"})
    init: str = field(
        default="", metadata={"help": "instead of model_path, timm:NAME: weights of an image network (AST, DeiT)"}
    )
    init_colours: Colours = field(
        default=Colours.sum, metadata={"help": "sum or mean: what becomes of its filters of the three colours"}
    )
    no_pretrained_weights: bool = field(
        default=False, metadata={"help": "take the architecture of model_path or init, but start from random weights"}
    )
    encoder: Any = field(
        default=None,
        metadata={"help": "patches.stride and max_rows, if not as pre-trained; in checkpoints the whole architecture"},
    )
    pretrained_model_args: Any = field(default=None, metadata={"help": "filled in: config of the pre-trained model"})
    num_classes: Optional[int] = field(default=None, metadata={"help": "classes of the head; null: those of the data"})
    prediction_mode: PredictionMode = field(
        default=PredictionMode.CLS_TOKEN,
        metadata={"help": "CLS_TOKEN, MEAN_POOLING or PREFIX_MEAN"},
    )
    use_fc_norm: bool = field(default=True, metadata={"help": "LayerNorm on the pooled token before the head"})
    fc_norm_eps: float = field(default=1e-6, metadata={"help": "eps of that LayerNorm"})
    linear_classifier: bool = field(
        default=False, metadata={"help": "linear probe: as adaptation=[head], in whole checkpoints"}
    )
    loss: ClassificationLoss = field(
        default=ClassificationLoss.auto,
        metadata={"help": "auto: bce for multi-label data and with mixup, else cross_entropy"},
    )
    mixup: float = field(default=0.8, metadata={"help": "a of Beta(a, a); 0: off"})
    mixup_prob: float = field(default=0.9, metadata={"help": "probability that a batch is mixed"})
    label_smoothing: float = field(default=0.0, metadata={"help": "share of a target spread over all classes"})
    specaug: bool = field(default=True, metadata={"help": "mask mel bins and frames while training"})
    mask_ratio: float = field(default=0.2, metadata={"help": "widest SpecAugment mask, as a share; 0: freqm and timem"})
    freqm: int = field(default=25, metadata={"help": "widest mask in mel bins when mask_ratio is 0"})
    timem: int = field(default=200, metadata={"help": "widest mask in frames when mask_ratio is 0; at most the clip"})
    drop_path_rate: float = field(default=0.1, metadata={"help": "stochastic depth, the same in all layers"})
    layer_decay: float = field(default=0.65, metadata={"help": "learning rate of a layer over that of the next"})
    no_decay_blocks: bool = field(default=True, metadata={"help": "keep biases and 1-D weights out of weight decay"})
    no_decay_group: str = field(
        default="no_decay", metadata={"help": "optimiser group of biases and 1-D weights; empty: all in default"}
    )
    norm_eps: Optional[float] = field(default=None, metadata={"help": "null: as pre-trained"})


@dataclass
class LegacyClassifierConfig(ClassifierConfig):
    """The same under EAT's name, whose configs have one optimiser group."""

    num_classes: Optional[int] = field(default=527, metadata={"help": "classes of the head"})
    no_decay_group: str = field(default="", metadata={"help": "optimiser group of biases and 1-D weights"})
