"""The known systems as values. Nothing else in the code names a system; this page is where their architectures differ.

| | attention | norm | positions | prefix tokens | patches (stride) |
|---|---|---|---|---|---|
| ASDA (arXiv 2507.02666) | differential | post | sincos_2d | 1 | 16 x 16 |
| EAT (arXiv 2401.03497) | plain | post | sincos_2d | 1 | 16 x 16 |
| MAE-AST (arXiv 2203.16691), as released | plain | post | interleaved_1d | 0 | 16 x 16 or 2 x 128 |
| MAE-AST with pre-norm blocks | plain | pre | interleaved_1d | 0 | 16 x 16 |
| SSAST (arXiv 2110.09784) | plain | pre | learned | 2 | 16 x 16 |
| AST (arXiv 2104.01778) | plain | pre | learned | 2 | 16 x 16 (10) |
"""

from __future__ import annotations

from .config import Differential, EncoderConfig, PatchConfig, Plain, StackConfig

ASDA = EncoderConfig(StackConfig(mlp_ratio=3.5, attention=Differential()))
EAT = EncoderConfig(StackConfig(mlp_ratio=4.0, attention=Plain()))

_BERT = StackConfig(mlp_ratio=4.0, attention=Plain(), norm_eps=1e-5)
_VIT = StackConfig(mlp_ratio=4.0, attention=Plain(), norm="pre", norm_first=False, norm_last=True)

# The released position tables have 48,000 entries.
MAE_AST_PATCH = EncoderConfig(_BERT, positions="interleaved_1d", max_rows=6000, num_prefix_tokens=0)
MAE_AST_FRAME = EncoderConfig(
    _BERT, PatchConfig((2, 128)), positions="interleaved_1d", max_rows=48_000, num_prefix_tokens=0
)
MAE_AST_VIT = EncoderConfig(
    StackConfig(depth=6, mlp_ratio=4.0, attention=Plain(), norm="pre", norm_first=False, norm_last=True),
    positions="interleaved_1d",
    max_rows=6000,
    num_prefix_tokens=0,
)

# Position tables of 1024 frames: 64 rows without overlap, 101 with a stride of 10.
SSAST = EncoderConfig(_VIT, positions="learned", max_rows=64, num_prefix_tokens=2)
AST = EncoderConfig(
    _VIT, PatchConfig((16, 16), stride=(10, 10)), positions="learned", max_rows=101, num_prefix_tokens=2
)

SYSTEMS: dict[str, EncoderConfig] = {
    "ASDA": ASDA,
    "EAT": EAT,
    "MAE-AST patch": MAE_AST_PATCH,
    "MAE-AST frame": MAE_AST_FRAME,
    "MAE-AST pre-norm": MAE_AST_VIT,
    "SSAST": SSAST,
    "AST": AST,
}


def system_of(config: EncoderConfig) -> str | None:
    """The known system that an architecture is one of, whatever its size and constants; None if there is none."""
    return next((name for name, known in SYSTEMS.items() if _kind(known) == _kind(config)), None)


def _kind(config: EncoderConfig) -> tuple:
    stack, patches = config.stack, config.patches
    norms = (stack.norm, stack.norm_first, stack.norm_last)
    return (stack.attention.kind, norms, config.positions, config.num_prefix_tokens, patches.size, patches.stride)
