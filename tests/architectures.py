"""Small encoders for tests, described by the few settings that a test is about."""

from __future__ import annotations

from typing import Any

from ASDA.core.config import ATTENTIONS, EncoderConfig, PatchConfig, Regularisation, StackConfig
from ASDA.core.encoder import SpectrogramEncoder

_ATTENTION = ("diff_lambda", "out_scale", "lambda_mode", "lambda_init")
_STACK = ("embed_dim", "depth", "num_heads", "mlp_ratio", "norm", "norm_first", "norm_last", "norm_eps")
_ENCODER = ("num_mel_bins", "positions", "max_rows", "num_prefix_tokens", "prefix_place")


def encoder_config(*, attention: str = "differential", patch_size: int = 16, **settings: Any) -> EncoderConfig:
    """An architecture; what is not said is ASDA's."""
    taken = {names: {n: settings.pop(n) for n in names if n in settings} for names in (_ATTENTION, _STACK, _ENCODER)}
    patches = PatchConfig(settings.pop("patches", (patch_size, patch_size)), settings.pop("stride", None))
    assert not settings, settings
    stack = StackConfig(attention=ATTENTIONS[attention](**taken[_ATTENTION]), **taken[_STACK])
    return EncoderConfig(stack, patches, **taken[_ENCODER])


def make_encoder(**settings: Any) -> SpectrogramEncoder:
    """An encoder; settings are those of :func:`encoder_config` and of Regularisation."""
    how = {name: settings.pop(name) for name in Regularisation.__dataclass_fields__ if name in settings}
    return SpectrogramEncoder(encoder_config(**settings), Regularisation(**how))
