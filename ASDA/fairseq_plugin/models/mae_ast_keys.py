"""Config of MAE-AST's pre-training model. Keys keep its spelling.

No postponed annotations here: omegaconf 2.0 reads the types of the fields.
"""

from dataclasses import dataclass, field
from typing import Any, Optional

from ..mae_ast_keys import MaeAstModelKeys
from .encoder_keys import ComputingKeys


@dataclass
class MaeAstConfig(MaeAstModelKeys, ComputingKeys):
    """Encoder, decoder and losses of pre-training."""

    ast_kernel_size_time: int = field(default=16, metadata={"help": "frames of a patch"})
    ast_kernel_size_chan: int = field(default=16, metadata={"help": "mel bins of a patch"})
    ast_kernel_stride_time: Optional[int] = field(default=None, metadata={"help": "null: ast_kernel_size_time"})
    ast_kernel_stride_chan: Optional[int] = field(default=None, metadata={"help": "null: ast_kernel_size_chan"})
    num_mel_bins: int = field(default=128, metadata={"help": "mel bins of the spectrograms"})
    max_token_length: int = field(default=48_000, metadata={"help": "patches of the position tables"})

    encoder_layers: int = field(default=12, metadata={"help": "layers of the encoder"})
    encoder_embed_dim: int = field(default=768, metadata={"help": "width of the encoder"})
    encoder_ffn_embed_dim: int = field(default=3072, metadata={"help": "hidden width of the MLPs, the decoder's too"})
    encoder_attention_heads: int = field(default=12, metadata={"help": "attention heads, the decoder's too"})
    layer_norm_first: bool = field(
        default=False, metadata={"help": "pre-norm blocks and a LayerNorm behind them, in encoder and decoder"}
    )
    encoder: Any = field(
        default=None,
        metadata={"help": "settings of EncoderConfig that no other key can say; in checkpoints the whole architecture"},
    )
    decoder_layers: int = field(default=2, metadata={"help": "layers of the decoder"})
    decoder_embed_dim: int = field(default=768, metadata={"help": "width of the decoder"})
    use_post_enc_proj: bool = field(default=False, metadata={"help": "a linear map from the encoder to the decoder"})

    dropout: float = field(default=0.1, metadata={"help": "after attention and MLP, and on what enters the layers"})
    attention_dropout: float = field(default=0.1, metadata={"help": "dropout on the attention maps"})
    activation_dropout: float = field(default=0.0, metadata={"help": "dropout inside the MLP"})
    dropout_input: float = field(default=0.1, metadata={"help": "dropout on the embedded patches"})
    encoder_layerdrop: float = field(default=0.05, metadata={"help": "share of layers left out for a whole batch"})
    decoder_layerdrop: float = field(default=0.0, metadata={"help": "the same of the decoder"})

    random_mask_prob: float = field(default=0.75, metadata={"help": "share of the patches that is hidden"})
    mask_length: int = field(default=10, metadata={"help": "patches of a span, with task.mask_type=span"})
    clone_batch: int = field(default=1, metadata={"help": "masks per clip"})

    reconstruction_weight: float = field(default=10.0, metadata={"help": "weight of the generative loss; 0: off"})
    classification_weight: float = field(default=1.0, metadata={"help": "weight of the discriminative loss; 0: off"})

    no_decay_group: str = field(
        default="", metadata={"help": "optimiser group of biases and 1-D weights; empty: all in default"}
    )
