"""The one place where fairseq itself is changed: what neither a task nor a configuration can say of a run.

Its trainer copies checkpoints with `PathManager.copy` and builds the optimiser of half precision from
`optim.FP16Optimizer`, and asks nobody which.
"""

from fairseq import optim
from fairseq.file_io import PathManager

from .atomic_copies import copy_atomically
from .half_precision import FP16Optimizer


def change_fairseq() -> None:
    """Has fairseq's trainer copy checkpoints atomically and cast the weights of half precision together."""
    PathManager.copy = staticmethod(copy_atomically)
    optim.FP16Optimizer = FP16Optimizer
