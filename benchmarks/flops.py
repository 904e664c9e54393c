"""Arithmetic of a pre-training step: FLOPs, a multiplication and an addition being two.

Counted are the matrix products and convolutions that the code asks for, forward and backward, on tensors without
memory, so that a network of any size is counted in a moment. Norms, activations and softmax are
left out: they are memory traffic.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count

from ASDA.core.places import Places
from ASDA.objectives.objective import Objective

aten = torch.ops.aten


def _convolution_backward(grad_shape, x_shape, w_shape, *args: Any, **_: Any) -> int:
    """As many products as forward for the gradient of the input, if anybody wants it, and as many for the weights'.

    torch's own formula takes the weights of a convolution in groups for full ones.
    """
    transposed, wanted = args[4], args[7]
    return sum(wanted[:2]) * conv_flop_count(x_shape, w_shape, grad_shape, transposed)


def step_flops(objective: Objective, spectrogram: Tensor, places: Places) -> int:
    """Forward and backward pass of a batch, all layers taking part.

    Args:
        objective: on any device; stays as it is.
        spectrogram: (B, 1, T, F), of which the shape counts.
        places: of its masks.
    """
    objective = copy.deepcopy(objective).to("meta").eval()  # in training mode layers may be left out
    counter = FlopCounterMode(display=False, custom_mapping={aten.convolution_backward: _convolution_backward})
    # Attention step by step: of the fused kernels on a CPU torch's counter knows nothing.
    with FakeTensorMode(allow_non_fake_inputs=True), sdpa_kernel(SDPBackend.MATH), counter:
        objective = objective.to_empty(device="cpu")
        objective(spectrogram.cpu(), places.to(torch.device("cpu"))).total.backward()
    return counter.get_total_flops()
