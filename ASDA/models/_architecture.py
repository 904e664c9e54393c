"""What an encoder's tensors say about its architecture: published files do not record all of it."""

from __future__ import annotations

from torch import Tensor

# The published ASDA weights were trained with these; their files record neither.
PUBLISHED_LAMBDA = 0.1
PUBLISHED_OUT_SCALE = 0.95


class UnknownLayoutError(ValueError):
    """The tensors are not those of an encoder of this project, of ASDA or of EAT."""


def infer_architecture(encoder: dict[str, Tensor], num_mel_bins: int = 128) -> dict:
    """Arguments of SpectrogramEncoder that its tensors determine.

    Args:
        encoder: tensors of the encoder under native names without prefix (``blocks.0.attn.qk.weight``).
        num_mel_bins: mel bins, which no tensor shows.

    Returns:
        embed_dim, depth, mlp_ratio, attention, lambda_mode, patch_size, max_patch_rows. The number of heads, lambda and
        out_scale leave no trace in the tensors.

    Raises:
        UnknownLayoutError: tensors that every layout has are missing; the message lists what was expected and found.
    """
    depth = 1 + max((int(n.split(".")[1]) for n in encoder if n.startswith("blocks.")), default=-1)
    kinds = {"differential": "blocks.0.attn.qk.weight", "plain": "blocks.0.attn.qkv.weight"}
    attention = [kind for kind, name in kinds.items() if name in encoder]
    needed = ["cls_token", "patch_embed.proj.weight", "positions", "blocks.0.mlp.fc1.weight"]
    missing = [name for name in needed if name not in encoder]
    if missing or len(attention) != 1:
        raise UnknownLayoutError(
            f"unknown checkpoint layout: expected {', '.join(needed)} and one of {', '.join(kinds.values())}; "
            f"missing {', '.join(missing) or 'nothing'}; found {len(encoder)} encoder tensors: "
            f"{', '.join(list(encoder)[:8]) or 'none'}{' ...' if len(encoder) > 8 else ''}"
        )
    embed_dim, _, _, patch_size = encoder["patch_embed.proj.weight"].shape
    return {
        "embed_dim": embed_dim,
        "depth": depth,
        "mlp_ratio": encoder["blocks.0.mlp.fc1.weight"].shape[0] / embed_dim,
        "attention": attention[0],
        "lambda_mode": "learned" if "blocks.0.attn.lambda_q1" in encoder else "fixed",
        "patch_size": patch_size,
        "max_patch_rows": encoder["positions"].shape[1] // (num_mel_bins // patch_size),
    }
