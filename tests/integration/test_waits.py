"""How often an update of fairseq's trainer waits for the device: task, criterion, optimiser, the trainer's log."""

import json
from collections import Counter

import pytest
import torch

from tests.published_files import published_pretraining

from .training_runs import Run, write_clips

pytestmark = pytest.mark.slow
QUIET = ("common.log_interval=100", "optimization.max_update=4", "checkpoint.no_save=true")
READ = "ASDA/training/nonfinite.py read: tolist"
"""The one place that waits: losses, statistics and the norm of the gradients, together."""


MEMORY = "ASDA/data/bad_clips.py news: aten::_local_scalar_dense"
"""No wait: a tensor in memory that the data loaders share."""


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    return write_clips(tmp_path_factory.mktemp("clips"))


def waits(run: Run) -> list[Counter]:
    run.finish(environment={"ASDA_COUNT_WAITS": "1"})
    lines = (run.folder / "waits.jsonl").read_text().splitlines()
    return [Counter(place for place in json.loads(line) if place != MEMORY) for line in lines]


@pytest.mark.parametrize(
    "options",
    [
        pytest.param((), id="plain"),
        pytest.param(("optimization.update_freq=[2]",), id="two steps", marks=pytest.mark.long),
        pytest.param(("model.autocast=bf16",), id="bf16", marks=pytest.mark.long),
    ],
)
def test_pretraining_update__waits_once(clips, pretraining, tmp_path, options):
    updates = waits(Run(tmp_path, clips, *QUIET, *options, config=pretraining))
    assert len(updates) == 4 and updates == [Counter({READ: 1})] * 4


@pytest.mark.long
@pytest.mark.parametrize("labels", ["several", "one"])
def test_finetuning_update__waits_once(clips, tmp_path, labels):
    torch.save(published_pretraining(), tmp_path / "pretrained.pt")
    options = (f"model.model_path={tmp_path / 'pretrained.pt'}", f"task.multi_label={str(labels == 'several').lower()}")
    data = clips
    if labels == "one":
        data = write_clips(tmp_path / "clips")
        for split in ("train", "eval"):
            rows = (data / f"{split}.lbl").read_text().splitlines()
            (data / f"{split}.lbl").write_text("".join(row.split(",")[0] + "\n" for row in rows))
    updates = waits(Run(tmp_path, data, *QUIET, *options, config="finetuning"))
    assert len(updates) == 4 and updates == [Counter({READ: 1})] * 4
