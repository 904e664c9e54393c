"""What the network draws while training (noise, drop path): a function of the run's seed and the place of the batch."""

import torch

from ...randomness import clip_generator
from .processes import rank_and_size

_NETWORK_STREAM = 16  # apart from the data set's streams


class NetworkSeed:
    """Lets what the network draws depend on (seed, update, place of the batch in the update) alone.

    fairseq gives all processes the same seed. This way they differ, and 1, 2, 4 or 8 of them draw the same.

    Args:
        seed: of the run.
    """

    def __init__(self, seed: int):
        self._seed = seed
        self._num_batches = 0  # of the current update, on this process

    def start_update(self) -> None:
        self._num_batches = 0

    def seed_batch(self, update_num: int) -> None:
        """Sets torch's generator for the next batch of the update after ``update_num``."""
        rank, size = rank_and_size()
        place = self._num_batches * size + rank
        torch.manual_seed(clip_generator(self._seed, update_num, place, _NETWORK_STREAM).initial_seed())
        self._num_batches += 1
