"""fairseq is changed in one place, and by what this project says it is."""

import ast
from pathlib import Path

import pytest

pytest.importorskip("fairseq", reason="it is fairseq that is changed")

from fairseq import checkpoint_utils, optim
from fairseq.file_io import PathManager
from fairseq.models import distributed_fairseq_model
from torch.nn.parallel import DistributedDataParallel

import ASDA
from ASDA.fairseq_plugin.run.atomic_copies import copy_atomically
from ASDA.fairseq_plugin.run.changed_fairseq import change_fairseq
from ASDA.fairseq_plugin.run.data_parallel import DataParallel
from ASDA.fairseq_plugin.run.half_precision import FP16Optimizer
from ASDA.fairseq_plugin.run.mapped_checkpoints import load_mapped

PACKAGE = Path(ASDA.__file__).parent


def changes(source: str) -> list[str]:
    """What code assigns to attributes of what it has imported from fairseq."""
    tree = ast.parse(source)
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "fairseq" and not node.level:
            imported |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            names = [alias.asname or alias.name for alias in node.names if alias.name.partition(".")[0] == "fairseq"]
            imported |= {name.partition(".")[0] for name in names}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "setattr":
            targets = [ast.Attribute(node.args[0], "")]
        else:
            targets = [*getattr(node, "targets", ()), getattr(node, "target", None)]
        for target in targets:
            if isinstance(target, ast.Attribute) and ast.unparse(target).partition(".")[0] in imported:
                found.append(ast.unparse(node))
    return found


def test_changes__are_seen():
    assert changes("from fairseq import optim\noptim.A = 1") == ["optim.A = 1"]
    assert changes("import fairseq.trainer\nfairseq.trainer.Trainer.step = 1") == ["fairseq.trainer.Trainer.step = 1"]
    assert changes("from fairseq.trainer import Trainer as T\nsetattr(T, 'step', 1)") == ["setattr(T, 'step', 1)"]
    assert changes("from .fairseq import optim\nfrom torch import nn\nnn.A = optim.B") == []


def test_fairseq__is_changed_in_one_place():
    files = {file: changes(file.read_text()) for file in PACKAGE.rglob("*.py")}
    assert [file.stem for file, found in files.items() if found] == ["changed_fairseq"]


def test_change_fairseq__has_its_trainer_use_what_is_ours(monkeypatch):
    monkeypatch.setattr(PathManager, "copy", PathManager.copy)
    monkeypatch.setattr(optim, "FP16Optimizer", optim.FP16Optimizer)
    monkeypatch.setattr(checkpoint_utils, "load_checkpoint_to_cpu", checkpoint_utils.load_checkpoint_to_cpu)
    monkeypatch.setattr(distributed_fairseq_model, "DistributedDataParallel", DistributedDataParallel)
    change_fairseq()
    assert PathManager.copy is copy_atomically and optim.FP16Optimizer is FP16Optimizer
    assert checkpoint_utils.load_checkpoint_to_cpu is load_mapped
    assert distributed_fairseq_model.DistributedDataParallel is DataParallel
