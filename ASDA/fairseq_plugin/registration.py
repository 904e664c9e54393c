"""Registers the models, tasks and the schedule with fairseq, whichever of the two is imported first.

fairseq imports the files of a user-dir only if the package is not loaded yet, so the package has to do it by itself. It
does not import fairseq for that: programs that only use a trained model start in half the time without it.
"""

from __future__ import annotations

import importlib.abc
import importlib.util
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

REGISTERING_MODULES = (
    "models.asda",
    "models.classifier",
    "models.mae_ast",
    "models.ssast",
    "criterion",
    "run.schedule",
    "run.adamw",
    "run.one_read",
    "tasks.pretraining",
    "tasks.finetuning",
    "tasks.mae_ast",
)


def register(package: str) -> None:
    """Imports the modules of ``package`` that register something, and lets fairseq's loader take published files."""
    from ..checkpoints.safe_globals import allow_numpy_scalars  # imports torch, as fairseq does

    allow_numpy_scalars()
    from .run.quiet import is_training_program, quieten

    if is_training_program():
        quieten()
    for module in REGISTERING_MODULES:
        importlib.import_module(f"{package}.{module}")


def register_with_fairseq(package: str) -> None:
    """Registers now if fairseq is loaded, else right after it has been."""
    if sys.modules.get("fairseq") is not None:
        register(package)
    else:
        sys.meta_path.insert(0, _AfterFairseq(package))


class _AfterFairseq(importlib.abc.MetaPathFinder):
    """Finds nothing by itself; lets the import of fairseq end with the registration."""

    def __init__(self, package: str):
        self.package = package

    def find_spec(self, fullname: str, path: object = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if fullname != "fairseq":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec("fairseq")
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def load_and_register(module: ModuleType) -> None:
                load(module)
                register(self.package)

            spec.loader.exec_module = load_and_register
        return spec
