"""The one place where fairseq itself is changed: what neither a task nor a configuration can say of a run.

Its trainer copies checkpoints with `PathManager.copy` and loads them with `load_checkpoint_to_cpu`, builds the
optimiser of half precision from `optim.FP16Optimizer` and wraps the network of several processes in
`DistributedDataParallel`, and asks nobody which.
"""

from fairseq import checkpoint_utils, optim
from fairseq.file_io import PathManager
from fairseq.models import distributed_fairseq_model

from .atomic_copies import copy_atomically
from .data_parallel import DataParallel
from .half_precision import FP16Optimizer
from .mapped_checkpoints import load_mapped


def change_fairseq() -> None:
    """Has fairseq's trainer copy checkpoints atomically and map them, cast the weights of half precision together, and
    sum gradients of several processes on any device.
    """
    PathManager.copy = staticmethod(copy_atomically)
    checkpoint_utils.load_checkpoint_to_cpu = load_mapped
    optim.FP16Optimizer = FP16Optimizer
    distributed_fairseq_model.DistributedDataParallel = DataParallel
