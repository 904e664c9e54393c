"""ASDA: audio representations by self-distillation with differential attention (arXiv 2507.02666).

A fairseq user-dir (`common.user_dir=ASDA`) and an installable package. The models and tasks are registered with fairseq
in whatever order the two are imported; where fairseq is not installed, everything but `ASDA.fairseq_plugin` works all
the same. Nothing else is imported here, so that programs which need no torch start in a moment.
"""

from .fairseq_plugin.registration import register_with_fairseq

__version__ = "0.1.0"

register_with_fairseq(f"{__name__}.fairseq_plugin")
