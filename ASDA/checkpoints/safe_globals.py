"""What `torch.load(weights_only=True)` may meet in published checkpoints besides tensors.

The published fine-tuning program stores its best validation score as a NumPy scalar. torch refuses the functions that
such a scalar is pickled with; `allow_numpy_scalars` lets them through, under the names that NumPy 1 and NumPy 2 give
them, in this project's loader and in fairseq's.
"""

from __future__ import annotations

import numpy as np
import torch

_NUMERIC_KINDS = "biuf"  # boolean, signed, unsigned, floating


def _numeric_scalar(dtype: np.dtype, data: bytes = b"") -> float | int | bool:
    """Stands in for NumPy's own unpickling function, and takes numbers only."""
    if not isinstance(dtype, np.dtype) or dtype.kind not in _NUMERIC_KINDS:
        raise ValueError(f"expected a NumPy number in the checkpoint, found a scalar of type {dtype}")
    return np.frombuffer(data, dtype=dtype, count=1)[0].item()


def allow_numpy_scalars() -> None:
    """Lets `torch.load(weights_only=True)` read NumPy numbers, as plain Python ones. Repeating it changes nothing."""
    scalar_types = {
        type(np.dtype(code)) for code in ("?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")
    }
    torch.serialization.add_safe_globals(
        [
            (_numeric_scalar, "numpy._core.multiarray.scalar"),
            (_numeric_scalar, "numpy.core.multiarray.scalar"),
            np.dtype,
            *sorted(scalar_types, key=lambda scalar_type: scalar_type.__name__),
        ]
    )
