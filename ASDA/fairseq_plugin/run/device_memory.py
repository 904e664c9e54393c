"""Running out of a GPU's memory ends the run. fairseq would leave the batch out and go on.

All clips have one length, so it comes from the settings and not from a clip: the next batch would fare no better. With
several processes the others would wait for this one's part of a sum.
"""

from contextlib import contextmanager
from typing import Iterator

import torch


class DeviceMemoryError(RuntimeError):
    """The memory of the training device is too small for a batch."""


@contextmanager
def ends_the_run(batch_size: int, device: torch.device) -> Iterator[None]:
    """Turns running out of memory into an error that fairseq does not take for one to recover from.

    Raises:
        DeviceMemoryError: it ran out.
    """
    try:
        yield
    except RuntimeError as error:
        if "out of memory" not in str(error):
            raise
        # fairseq knows such errors by these words.
        reason = str(error).splitlines()[0].replace("out of memory", "Out of memory")
        raise DeviceMemoryError(
            f"memory of {device} ran out with a batch of {batch_size} clips. Set a smaller BATCH_SIZE "
            "(dataset.batch_size), model.checkpoint_activations=true, or common.fp16=false model.autocast=bf16. "
            f"PyTorch says: {reason}"
        ) from error
