"""What a task makes of several folders: one data set, its record, its weights; what it refuses."""

import math

import pytest

pytest.importorskip("fairseq", reason="the tasks are fairseq's")

from ASDA.data.manifest import Manifest
from ASDA.fairseq_plugin.run.data_identity import identity
from ASDA.fairseq_plugin.run.run_config import run_config

from .test_tasks import MASKS, TINY_MODEL, build, build_in_run, corpus  # noqa: F401 - a fixture


@pytest.fixture
def two_folders(corpus, tmp_path_factory):  # noqa: F811
    """`corpus`, and a folder with two of its clips."""
    other = tmp_path_factory.mktemp("other")
    for split in ("train", "eval"):
        lines = (corpus / f"{split}.tsv").read_text().splitlines()
        (other / f"{split}.tsv").write_text("\n".join(lines[:3]) + "\n")
    return str(corpus), str(other)


JOINT = {"target_length": 96, "precompute_mask_config": {}}


@pytest.mark.parametrize("name", ["asda_pretraining", "mae_ast_pretraining"])
@pytest.mark.parametrize("spelling", [list, ":".join])
def test_several_folders__are_one_data_set_that_trains_by_its_weights(two_folders, name, spelling):
    task = build_in_run(name, TINY_MODEL, data=spelling(two_folders), data_weights=[1, 4], **JOINT)
    # fairseq would take the text for shards of one data set, and load another of them in each epoch.
    assert task.cfg.data == run_config(task.cfg).task.data == ":".join(two_folders)
    assert not task.has_sharded_data("train")
    manifest = task.manifest("train")
    assert (len(manifest), manifest.where(6)) == (7, f"{two_folders[1]}/train.tsv:3")
    assert task.data_identity() == {
        "train": {
            "clips": 7,
            "folder1": identity(Manifest.read(f"{two_folders[0]}/train.tsv")),
            "folder2": identity(Manifest.read(f"{two_folders[1]}/train.tsv")),
        }
    }


def test_several_folders__only_the_clips_that_are_trained_on_are_weighted(two_folders):
    task = build(
        "asda_pretraining", data=list(two_folders), data_weights=[1, 4], **JOINT | {"precompute_mask_config": MASKS}
    )
    for split in ("train", "eval"):
        task.load_dataset(split)
    assert task.dataset("train").shares() == pytest.approx([0.2, 0.8])
    assert task.dataset("eval").ordered_indices().tolist() == list(range(7))


@pytest.mark.parametrize(
    ("name", "data", "settings", "message"),
    [
        ("asda_pretraining", ["{0}", "/none"], {}, "/none/train.tsv: no such manifest"),
        ("asda_pretraining", ["{0}", "{0}"], {}, "task.data names .* twice"),
        (
            "mae_ast_pretraining",
            ["{0}", "{1}"],
            {"data_weights": [1, 0]},
            "the weight of .* is 0; expected a number",
        ),
        ("asda_pretraining", ["{0}", "{1}"], {"data_weights": [1, math.nan]}, "the weight of .* is nan"),
        ("asda_pretraining", ["{0}", "{1}"], {"data_weights": [1]}, "has 1 weights, but task.data names 2 folders"),
        ("asda_pretraining", ["{0}"], {"data_weights": [1]}, "weights are for several folders"),
        ("asda_pretraining", ["{0}"], {"weights_file": "w.csv"}, "task.weights_file=w.csv belongs to fine-tuning"),
        ("asda_finetuning", ["{0}", "{1}"], {}, "task.data names 2 folders .* but fine-tuning takes one"),
        ("asda_finetuning", "{0}:{1}", {}, "task.data names 2 folders .* but fine-tuning takes one"),
    ],
)
def test_several_folders__that_cannot_be_meant_are_refused_in_one_line(two_folders, name, data, settings, message):
    data = [one.format(*two_folders) for one in data] if isinstance(data, list) else data.format(*two_folders)
    settings = (JOINT if "pretraining" in name else {}) | settings
    with pytest.raises(ValueError, match=message) as error:
        build_in_run(name, TINY_MODEL, data=data, **settings).data_identity()
    assert "\n" not in str(error.value)
