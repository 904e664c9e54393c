"""The network in plain torch: nothing here needs fairseq, hydra or omegaconf."""

from .attention import Attention, DifferentialAttention
from .classifier import ClassificationHead, SpectrogramClassifier
from .config import (
    Differential,
    DifferentialV2,
    EncoderConfig,
    HeadConfig,
    PatchConfig,
    Plain,
    Regularisation,
    StackConfig,
)
from .differential_v2 import DifferentialAttentionV2
from .encoder import SpectrogramEncoder
from .places import Places
from .stack import TransformerStack

__all__ = [
    "Attention",
    "ClassificationHead",
    "Differential",
    "DifferentialAttention",
    "DifferentialAttentionV2",
    "DifferentialV2",
    "EncoderConfig",
    "HeadConfig",
    "PatchConfig",
    "Places",
    "Plain",
    "Regularisation",
    "SpectrogramClassifier",
    "SpectrogramEncoder",
    "StackConfig",
    "TransformerStack",
]
