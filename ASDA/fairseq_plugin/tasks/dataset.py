"""The data set as fairseq's iterators want it."""

import numpy as np
from fairseq.data import FairseqDataset

from ...data.dataset import SpectrogramDataset


class FairseqSpectrogramDataset(SpectrogramDataset, FairseqDataset):
    """Adds what fairseq asks a data set about sizes and epochs; the clips are those of `SpectrogramDataset`."""

    @property
    def can_reuse_epoch_itr_across_epochs(self) -> bool:
        """False when each epoch draws its own order, which a batch iterator of an earlier epoch would not follow."""
        return not self.shuffle and self.sample_weights is None

    def num_tokens(self, index: int) -> int:
        """Frames of a clip: all are cut or padded to the same length."""
        return self.front_end.target_length_frames

    def num_tokens_vec(self, indices: np.ndarray) -> np.ndarray:
        """`num_tokens` of several clips."""
        return np.full(len(indices), self.front_end.target_length_frames, dtype=np.int64)

    def size(self, index: int) -> int:
        """Same as `num_tokens`."""
        return self.front_end.target_length_frames

    @property
    def sizes(self) -> np.ndarray:
        """Size of every index that `ordered_indices` may give; an int64 array without memory of its own."""
        num_repetitions = 1 if self.sample_weights is None else self.num_draws
        return np.broadcast_to(np.int64(self.front_end.target_length_frames), (len(self) * num_repetitions,))
