"""Keys of MAE-AST's configs that this project accepts and that do nothing here, so that its users keep their yaml.

As in `eat_keys`: what is not implemented is accepted at its inert value and refused otherwise.

No postponed annotations here: omegaconf 2.0 reads the types of the fields.
"""

from dataclasses import dataclass
from typing import Any, Optional

from fairseq.dataclass import FairseqDataclass

from .eat_keys import inert, moot


@dataclass
class MaeAstModelKeys(FairseqDataclass):
    """Of the model: other activations, convolutional positions, masks that are drawn in the task here."""

    activation_fn: str = inert("gelu", network=True)
    feature_grad_mult: float = inert(1.0)
    enc_sine_pos: bool = inert(True, network=True)
    dec_sine_pos: bool = inert(True, network=True)
    enc_conv_pos: bool = inert(False, network=True)
    dec_conv_pos: bool = inert(False, network=True)
    conv_pos: int = moot(128, "needs enc_conv_pos or dec_conv_pos")
    conv_pos_groups: int = moot(16, "needs enc_conv_pos or dec_conv_pos")
    mask_selection: str = inert("static")
    mask_other: float = moot(0.0, "needs another mask_selection than static")
    no_mask_overlap: bool = inert(False)
    mask_min_space: int = moot(1, "needs no_mask_overlap")


@dataclass
class MaeAstTaskKeys(FairseqDataclass):
    """Of the task: other features, clips that are left out or kept for their length."""

    sample_rate: int = inert(16_000)
    normalize: bool = inert(False)
    enable_padding: bool = moot(False, "clips are cut, or filled up, to one length")
    max_keep_size: Optional[int] = inert(None)
    min_sample_size: Optional[int] = inert(None, 0)
    pad_audio: bool = inert(False)
    feature_type: str = inert("fbank")
    feature_rate: int = inert(100)
    feature_dim: int = inert(128)
    deltas: bool = inert(False)
    mask_spans: Any = inert(False)
