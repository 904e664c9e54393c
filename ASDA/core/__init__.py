"""The network in plain torch: nothing here needs fairseq, hydra or omegaconf."""

from .attention import Attention, DifferentialAttention
from .classifier import ClassificationHead, SpectrogramClassifier
from .config import Differential, EncoderConfig, HeadConfig, PatchConfig, Plain, Regularisation, StackConfig
from .encoder import SpectrogramEncoder
from .places import Places
from .stack import TransformerStack

__all__ = [
    "Attention",
    "ClassificationHead",
    "Differential",
    "DifferentialAttention",
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
