"""How do I use a trained one? Checkpoints of every layout -> features and scores, without fairseq.

from ASDA.inference import load_encoder
encoder = load_encoder("checkpoint.pt")
features = encoder.features("clip.wav")  # (1 + N, D), CLS first
"""

from ..checkpoints.checkpoint import Checkpoint
from ..checkpoints.files import CheckpointError
from ..checkpoints.reading import read_checkpoint
from .model import TrainedClassifier, TrainedEncoder, load_classifier, load_encoder

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "TrainedClassifier",
    "TrainedEncoder",
    "load_classifier",
    "load_encoder",
    "read_checkpoint",
]
