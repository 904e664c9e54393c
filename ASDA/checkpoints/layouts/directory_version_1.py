"""Directories of format version 1: the architecture as a flat table, tensors under the names they had then."""

from __future__ import annotations

from typing import Any

from .published_architecture import PUBLISHED_ARCHITECTURE, config_of_keys

_NAMES = (
    ("cls_token", "prefix_tokens"),
    ("norm.", "stack.norm_first."),
    ("blocks.", "stack.blocks."),
)
_HEAD_NAMES = (("fc_norm.", "head.norm."), ("head.weight", "head.linear.weight"), ("head.bias", "head.linear.bias"))
_FC_NORM_EPS = 1e-6


def upgrade_name(name: str) -> str:
    """The name of a tensor today; names of today stay."""
    for old, new in _HEAD_NAMES:
        if name.startswith(old):
            return new + name.removeprefix(old)
    prefix = "encoder." if name.startswith("encoder.") else ""
    inside = name.removeprefix(prefix)
    for old, new in _NAMES:
        if inside.startswith(old):
            return prefix + new + inside.removeprefix(old)
    return name


def upgrade_config(config: dict[str, Any]) -> dict[str, Any]:
    """`config.json` in today's format.

    Raises:
        KeyError: a key that version 1 always had is missing.
        ValueError: a value describes no encoder.
    """
    flat = dict(config["encoder"])
    if flat.get("positions") == "sincos_1d":
        flat["positions"] = "sincos_1d_patches"  # it did not count CLS
    image = {
        "patch_size": flat["patch_size"],
        "num_mel_bins": flat["num_mel_bins"],
        "max_length": flat["max_patch_rows"],
    }
    encoder = config_of_keys({**PUBLISHED_ARCHITECTURE, **flat, "modalities": {"image": image}, "encoder": None})
    head = config["head"]
    if head is not None:
        head = {name: value for name, value in head.items() if name != "use_fc_norm"}
        head |= {"norm": config["head"]["use_fc_norm"], "norm_eps": _FC_NORM_EPS}
    return {**config, "encoder": encoder.to_dict(), "head": head}
