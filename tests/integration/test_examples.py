"""The notebooks of examples/ run from top to bottom, and say what they promise."""

import os
from pathlib import Path

import pytest
import torch

from tests.published_files import published_pretraining

nbformat = pytest.importorskip("nbformat", reason="notebooks need nbformat and nbclient")
nbclient = pytest.importorskip("nbclient", reason="notebooks need nbformat and nbclient")
EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SAYS = {"features": "torch.Size([30, 32])", "classifier": "chance 0.", "attention": "image/png"}
pytestmark = pytest.mark.long


def test_examples__are_those_that_are_run_here():
    assert {file.stem for file in EXAMPLES.glob("*.ipynb")} == SAYS.keys()


@pytest.mark.parametrize("name", SAYS)
def test_examples__run_from_top_to_bottom(name, corpus, tmp_path, monkeypatch):
    torch.save(published_pretraining(), tmp_path / "pretrained.pt")
    settings = {"CHECKPOINT": tmp_path / "pretrained.pt", "AUDIO": corpus / "eval", "LABELS": corpus / "eval.lbl"}
    for setting, value in settings.items():
        monkeypatch.setenv(f"ASDA_{setting}", str(value))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(EXAMPLES.parent), os.environ.get("PYTHONPATH", "")]))
    notebook = nbformat.read(EXAMPLES / f"{name}.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "notebooks are committed without outputs"
    done = nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3").execute(cwd=str(EXAMPLES))
    assert SAYS[name] in str([cell.get("outputs") for cell in done.cells])
