"""`data_manifest/manifest_as20k/` is what it says: its clips can be made, read and trained on."""

import importlib.util
import shutil
from pathlib import Path

import numpy as np
import pytest

from ASDA.audio.front_end import FrontEnd
from ASDA.data.dataset import SpectrogramDataset
from ASDA.data.labels import LabelTable, read_clip_labels
from ASDA.data.manifest import Manifest
from ASDA.data.preparation.checking import check_manifest
from ASDA.data.sampling import class_balanced_weights, read_clip_weights

EXAMPLE = Path(__file__).resolve().parents[2] / "data_manifest" / "manifest_as20k"


@pytest.fixture(scope="module")
def example(tmp_path_factory) -> Path:
    """A copy of the folder, with its clips."""
    folder = tmp_path_factory.mktemp("example")
    for name in ("train.tsv", "train.lbl", "eval.tsv", "eval.lbl", "label_descriptors.csv", "weight_train_all.csv"):
        shutil.copy(EXAMPLE / name, folder / name)
    spec = importlib.util.spec_from_file_location("make_clips", EXAMPLE / "make_clips.py")
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    assert program.main(["--out", str(folder / "clips")]) == 0
    return folder


@pytest.mark.parametrize(("split", "num_clips"), [("train", 8), ("eval", 3)])
def test_example__passes_the_check(example, split, num_clips):
    result = check_manifest(example / f"{split}.tsv", workers=1)
    assert result.problems == [] and result.num_clips == num_clips
    assert [note.kind for note in result.notes] == ["classes"]  # eleven clips cannot show 527 classes


def test_example__reads_as_a_training_set(example):
    manifest = Manifest.read(example / "train.tsv")
    table = LabelTable.read(example / "label_descriptors.csv")
    labels = read_clip_labels(example / "train.lbl", manifest, table)
    np.testing.assert_allclose(
        read_clip_weights(example / "weight_train_all.csv", manifest), class_balanced_weights(labels), rtol=1e-8
    )
    dataset = SpectrogramDataset(manifest, FrontEnd(), labels=labels)
    batch = dataset.collater([dataset[i] for i in range(len(dataset))])
    assert batch["num_unreadable"] == 0
    assert batch["net_input"]["source"].shape == (8, 1, 1024, 128)
    assert batch["net_input"]["target"][1].nonzero().flatten().tolist() == [27, 111]
    assert table.names[27] == "Singing" and table.names[111] == "Bird"


def test_example__without_its_clips_says_what_is_missing(tmp_path):
    shutil.copy(EXAMPLE / "train.tsv", tmp_path)
    with pytest.raises(ValueError, match=r"train\.tsv:1: the root folder .*/clips does not exist"):
        Manifest.read(tmp_path / "train.tsv")
