"""The network in plain torch: nothing here needs fairseq, hydra or omegaconf."""

from .attention import Attention, DifferentialAttention
from .block import TransformerBlock
from .classifier import SpectrogramClassifier
from .encoder import SpectrogramEncoder

__all__ = ["Attention", "DifferentialAttention", "SpectrogramClassifier", "SpectrogramEncoder", "TransformerBlock"]
