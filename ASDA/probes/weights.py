"""The networks that are compared: a checkpoint's encoder and the same at random weights; what tells them apart."""

from __future__ import annotations

import hashlib

import torch

from ..core.encoder import SpectrogramEncoder
from ..inference import TrainedEncoder


def random_twin(encoder: TrainedEncoder, seed: int) -> TrainedEncoder:
    """The same architecture and front end at newly drawn weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        twin = TrainedEncoder(SpectrogramEncoder(encoder.encoder.config), encoder.front_end).eval()
    return twin.to(encoder.encoder.device)


def checksum(encoder: TrainedEncoder) -> str:
    """Of all tensors with their names and shapes."""
    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in encoder.encoder.state_dict().items():
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
