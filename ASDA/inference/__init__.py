"""How do I use a trained one? Checkpoints of every layout -> features and scores, without fairseq.

from ASDA.inference import load_encoder
encoder = load_encoder("checkpoint.pt")
features = encoder.features("clip.wav")  # (1 + N, D), CLS first
batch = encoder.embed(waveforms, lengths)  # (B, W) -> Embeddings
"""

from ..checkpoints.checkpoint import Checkpoint
from ..checkpoints.files import CheckpointError
from ..checkpoints.reading import read_checkpoint
from .embedding import Embeddings
from .model import TrainedClassifier, TrainedEncoder, load_classifier, load_encoder

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "Embeddings",
    "TrainedClassifier",
    "TrainedEncoder",
    "load_classifier",
    "load_encoder",
    "read_checkpoint",
]
