"""The table over the folds of a cross-validation."""

import json

import pytest
import torch

from ASDA.reports.folds import main


@pytest.fixture
def finished_fold(tmp_path):
    """A function that leaves what a fine-tuning run with this last and best accuracy leaves."""

    def make(name: str, last: float | None, best: float | None, metric: str = "accuracy") -> str:
        folder = tmp_path / name
        folder.mkdir()
        state = {
            "extra_state": {"val_loss": last, "best": best},
            "cfg": {"checkpoint": {"best_checkpoint_metric": metric}},
        }
        torch.save(state, folder / "checkpoint_last.pt")
        return str(folder)

    return make


def test_folds__prints_mean_and_sample_deviation(finished_fold, tmp_path, capsys):
    folders = [
        finished_fold("fold1", 0.90, 0.95),
        finished_fold("fold2", 0.80, 0.85),
        finished_fold("fold3", 0.70, 0.90),
    ]
    assert main([*folders, "--json", str(tmp_path / "folds.json")]) == 0
    assert capsys.readouterr().out.split()[-6:] == ["mean", "0.8000", "0.9000", "deviation", "0.1000", "0.0500"]
    numbers = json.loads((tmp_path / "folds.json").read_text())
    assert numbers["last"] == [0.90, 0.80, 0.70] and numbers["best_mean"] == pytest.approx(0.9)


@pytest.mark.parametrize("broken", ["absent", "unvalidated", "other metric"])
def test_folds__refuses_folds_that_do_not_fit(broken, finished_fold, tmp_path, capsys):
    folder = {
        "absent": lambda: str(tmp_path / "fold2"),
        "unvalidated": lambda: finished_fold("fold2", None, None),
        "other metric": lambda: finished_fold("fold2", 0.1, 0.1, metric="mAP"),
    }[broken]()
    assert main([finished_fold("fold1", 0.9, 0.9), folder]) == 1
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.startswith("folds: ") and printed.err.count("\n") == 1
