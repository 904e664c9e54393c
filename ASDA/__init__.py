"""ASDA: audio representations by self-distillation with differential attention (arXiv 2507.02666).

A fairseq user-dir (`common.user_dir=ASDA`) and an installable package. Where fairseq is installed, importing it
registers the models and tasks, in whatever order the two are imported; without it, `ASDA.core`, `ASDA.objectives`,
`ASDA.audio`, `ASDA.metrics` and `ASDA.inference` work all the same.
"""

from importlib import import_module
from importlib.util import find_spec

__version__ = "0.1.0"

if find_spec("fairseq") is not None:
    for _name in ("models.pretraining", "models.classification", "tasks.pretraining", "tasks.finetuning"):
        import_module(f"{__name__}.{_name}")
