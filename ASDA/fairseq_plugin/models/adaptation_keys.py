"""Keys of the methods of adaptation; `ASDA/adaptation/keys.py` reads them.

No postponed annotations here: omegaconf 2.0 reads the types of the fields.
"""

from dataclasses import dataclass, field
from typing import List, Optional

from fairseq.dataclass import FairseqDataclass


@dataclass
class AdaptationKeys(FairseqDataclass):
    """What is trained of an encoder that is otherwise frozen."""

    adaptation: List[str] = field(
        default_factory=list,
        metadata={
            "help": "freeze the encoder and train of aat, aat_m, mlp_adapter, spatial_adapter, lora, prompts, "
            "last_blocks, head, all what is named; []: fine-tuning, which trains everything"
        },
    )
    adapter_width: Optional[int] = field(
        default=None, metadata={"help": "width of the adapters of aat, mlp_adapter, spatial_adapter; null: a quarter"}
    )
    lora_rank: int = field(default=8, metadata={"help": "rank of each update"})
    lora_alpha: float = field(default=16.0, metadata={"help": "updates are scaled by lora_alpha / lora_rank"})
    lora_dropout: float = field(default=0.0, metadata={"help": "dropout on the input of the updates"})
    lora_targets: List[str] = field(
        default_factory=lambda: ["q", "k", "v", "output"],
        metadata={"help": "q, k, v, output, mlp, or maps by name: qkv (differential: qk, v), proj, fc1, fc2"},
    )
    prompt_tokens: int = field(default=12, metadata={"help": "learned tokens in each layer"})
    prompt_gated: bool = field(
        default=True, metadata={"help": "begin with exactly the encoder's output; false: insert them at full weight"}
    )
    trained_blocks: int = field(default=6, metadata={"help": "blocks that last_blocks trains"})
