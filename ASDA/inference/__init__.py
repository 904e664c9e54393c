"""How do I use a trained one? Checkpoints of every layout -> features and scores, without fairseq.

from ASDA.inference import load_encoder
encoder = load_encoder("checkpoint.pt")
features = encoder.features("clip.wav")  # (1 + N, D), CLS first
"""

from .checkpoint import Checkpoint, read_checkpoint
from .files import CheckpointError
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
