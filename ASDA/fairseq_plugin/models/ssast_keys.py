"""Config dataclass of SSAST. Keys that other pre-training models have too are spelled as there.

No postponed annotations here: omegaconf 2.0 reads the types of the fields.
"""

from dataclasses import dataclass, field
from typing import Any, List

from .encoder_keys import ComputingKeys, DropoutKeys, DropPathKeys


@dataclass
class SsastConfig(DropoutKeys, DropPathKeys, ComputingKeys):
    """Encoder over all patches with a mask token, and two heads."""

    depth: int = field(default=12, metadata={"help": "layers"})
    embed_dim: int = field(default=768, metadata={"help": "width"})
    num_heads: int = field(default=12, metadata={"help": "attention heads"})
    mlp_ratio: float = field(default=4.0, metadata={"help": "hidden width of the MLPs over embed_dim"})
    norm_eps: float = field(default=1e-6, metadata={"help": "eps of the encoder's LayerNorms"})
    patch_size: List[int] = field(
        default_factory=lambda: [16, 16], metadata={"help": "frames and mel bins of a patch; [2,128]: frames"}
    )
    num_mel_bins: int = field(default=128, metadata={"help": "mel bins of the spectrograms"})
    max_length: int = field(
        default=64, metadata={"help": "patch rows of the learned positions; other lengths are cut or interpolated"}
    )
    encoder: Any = field(
        default=None,
        metadata={"help": "settings of EncoderConfig that no other key can say; in checkpoints the whole architecture"},
    )
    clone_batch: int = field(default=2, metadata={"help": "masks per clip; with several each loss has its own"})
    discriminative_weight: float = field(default=1.0, metadata={"help": "of telling hidden patches apart; 0: off"})
    generative_weight: float = field(default=10.0, metadata={"help": "of the error of their values; 0: off"})
    no_decay_group: str = field(
        default="no_decay", metadata={"help": "optimiser group of biases and 1-D weights; empty: all in default"}
    )
