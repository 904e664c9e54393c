"""ASDA: audio representations by self-distillation with differential attention (arXiv 2507.02666).

A fairseq user-dir (`common.user_dir=ASDA`) and an installable package. The models and tasks are registered with fairseq
in whatever order the two are imported; where fairseq is not installed, `ASDA.core`, `ASDA.objectives`, `ASDA.audio`,
`ASDA.metrics` and `ASDA.inference` work all the same.
"""

from ._registration import register_with_fairseq
from .safe_globals import allow_numpy_scalars

__version__ = "0.1.0"

# So that fairseq's own loader takes published fine-tuned checkpoints too.
allow_numpy_scalars()
register_with_fairseq(__name__)
