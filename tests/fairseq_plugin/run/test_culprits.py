"""Which clips of a batch a warning names."""

import pytest

pytest.importorskip("fairseq", reason="the run is fairseq's")

import torch

from ASDA.fairseq_plugin.run import culprits
from ASDA.fairseq_plugin.run.culprits import named

NAN = float("nan")


class Dataset:
    class manifest:
        @staticmethod
        def where(row):
            return f"train.tsv:{row + 2}"


class Model(torch.nn.Module):
    """Features of the clips whose samples are above 10 overflow."""

    def extract_features(self, source):
        assert not self.training and len(source) == 1
        return {"x": torch.where(source > 10, torch.inf, source).flatten(1)[:, None]}


def batch(*values):
    return {
        "id": torch.arange(len(values)),
        "net_input": {"source": torch.tensor(values)[:, None, None, None].expand(-1, 1, 4, 4)},
    }


def test_named__is_the_clip_whose_input_is_not_finite():
    assert named(batch(1.0, float("inf"), 2.0), Model(), NAN, {}, Dataset) == " (train.tsv:3)"


def test_named__is_the_clip_whose_features_are_not_finite():
    model = Model().train()
    assert named(batch(1.0, 2.0, 11.0, 12.0), model, NAN, {}, Dataset) == " (train.tsv:4, train.tsv:5)"
    assert model.training


def test_named__is_the_batch_if_no_clip_stands_out():
    found = named(batch(1.0, 2.0), Model(), NAN, {}, Dataset)
    assert found == " (no clip by itself; the batch is train.tsv:2, train.tsv:3)"


def test_named__is_no_clip_of_a_batch_that_only_shares_a_statistic(monkeypatch):
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    found = named(batch(1.0, 2.0), Model(), 1.0, {"pred_var": float("nan")}, Dataset)
    assert found == ", a statistic over all processes: the clip is in another one's batch"
    # a gradient that overflows is this batch's own
    assert "the batch is train.tsv:2" in named(batch(1.0, 2.0), Model(), 1.0, {"loss": 1.0}, Dataset)


def test_places__of_many_clips_are_counted():
    assert culprits.places(Dataset, list(range(30))).endswith("train.tsv:21 and 10 more")
