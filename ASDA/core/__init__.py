"""The network in plain torch: nothing here needs fairseq, hydra or omegaconf."""

from .attention import Attention, DifferentialAttention
from .block import TransformerBlock
from .classifier import SpectrogramClassifier
from .decoder import ConvDecoder2d
from .encoder import SpectrogramEncoder
from .masking import InverseBlockMask
from .teacher import EmaTeacher, LinearDecay

__all__ = [
    "Attention",
    "ConvDecoder2d",
    "DifferentialAttention",
    "EmaTeacher",
    "InverseBlockMask",
    "LinearDecay",
    "SpectrogramClassifier",
    "SpectrogramEncoder",
    "TransformerBlock",
]
