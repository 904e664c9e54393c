"""How exact float32 is on a GPU."""

import torch


def allow_tf32(allowed: bool) -> None:
    """Whether float32 products, convolutions included, may be made in TF32: with 10 bits of mantissa, and faster.

    torch allows it to convolutions by itself, and not to matrix products. Here both are what a run says.
    """
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed
