"""OpenMIC-2018: judged instruments are present or absent, the others unknown."""

import numpy as np
import pytest

from ASDA.data.corpora.corpus import OPENMIC
from ASDA.data.corpora.tables import official_table
from ASDA.data.labels import LabelTable, read_clip_labels
from ASDA.data.manifest import Manifest

NAMES = official_table(OPENMIC).mids
KEYS = ["000046_3840", "000135_483840", "100139_119040", "100141_153600"]


def write_labels(folder, keys, likelihoods, judged):
    np.savez(folder / "openmic-2018.npz", sample_key=keys, Y_true=likelihoods, Y_mask=judged, X=np.zeros((1, 10, 128)))


@pytest.fixture
def openmic(audio, tmp_path):
    """Four clips; each was judged for two or three instruments, and unknown likelihoods are 0.5, as published."""
    for key in KEYS:
        audio(f"audio/{key[:3]}/{key}.ogg", 0.5, 44_100)
    likelihoods, judged = np.full((4, 20), 0.5), np.zeros((4, 20), dtype=bool)
    for row, values in enumerate(({0: 0.9, 3: 0.1}, {0: 0.2, 5: 0.5}, {12: 1.0, 19: 0.499}, {1: 0.0, 2: 0.0, 19: 0.7})):
        for c, value in values.items():
            likelihoods[row, c], judged[row, c] = value, True
    write_labels(tmp_path / "data", np.array(KEYS, dtype=object), likelihoods, judged)
    (tmp_path / "data" / "partitions").mkdir()
    (tmp_path / "data" / "partitions" / "split01_train.csv").write_text("\n".join(KEYS[:3]) + "\n")
    (tmp_path / "data" / "partitions" / "split01_test.csv").write_text(f"{KEYS[3]}\n")
    return likelihoods, judged


def read_targets(out, split):
    """Path -> targets, the way training reads them."""
    manifest = Manifest.read(out / f"{split}.tsv")
    labels = read_clip_labels(out / f"{split}.lbl", manifest, LabelTable.read(out / "label_descriptors.csv"))
    return {manifest.relative_path(row): labels.multi_hot(row) for row in range(len(manifest))}


def test_openmic__judged_labels_and_nothing_else(openmic, run, tmp_path):
    code, text = run("openmic", "{data}", "--out", "{out}")
    assert code == 0, text
    likelihoods, judged = openmic
    expected = np.where(judged, likelihoods >= 0.5, np.nan)
    found = read_targets(tmp_path / "out", "train") | read_targets(tmp_path / "out", "eval")
    assert list(found) == [f"audio/{key[:3]}/{key}.ogg" for key in KEYS]
    np.testing.assert_array_equal(np.stack(list(found.values())), expected.astype(np.float32))
    assert (tmp_path / "out" / "train.lbl").read_text().splitlines()[1] == f"{KEYS[1]}\t{NAMES[5]}\t{NAMES[0]}"
    assert "train: 3 clips, but OpenMIC-2018 is published with 14,915" in text


@pytest.mark.usefixtures("openmic")
def test_openmic__check_says_how_much_was_judged(run):
    run("openmic", "{data}", "--out", "{out}")
    code, text = run("check", "{out}/train.tsv")
    assert code == 0 and "10.0% of the pairs of a clip and a class were judged" in text


@pytest.mark.usefixtures("openmic")
def test_openmic__a_held_out_split_stays_partial(run, tmp_path):
    assert run("openmic", "{data}", "--out", "{out}", "--hold-out", "valid=0.34")[0] == 0
    held_out = read_targets(tmp_path / "out", "valid")
    assert len(held_out) == 1 and np.isnan(next(iter(held_out.values()))).sum() == 18


@pytest.mark.parametrize("dtype", ["U13", "S13", object])
def test_openmic__keys_of_any_kind_of_string(openmic, run, tmp_path, dtype):
    write_labels(tmp_path / "data", np.array(KEYS).astype(dtype), *openmic)
    assert run("openmic", "{data}", "--out", "{out}")[0] == 0
    assert len(read_targets(tmp_path / "out", "train")) == 3


class Program:
    def __reduce__(self):
        return print, ("a program of the pickle has run",)


def test_openmic__a_pickle_that_holds_a_program_is_not_run(openmic, run, tmp_path):
    write_labels(tmp_path / "data", np.array([*KEYS[:3], Program()], dtype=object), *openmic)
    code, text = run("openmic", "{data}", "--out", "{out}")
    assert code == 1 and "sample_key holds builtins.print, which is no string" in text and "has run" not in text


def test_openmic__what_cannot_be_used_is_refused(openmic, run, tmp_path):
    data, (likelihoods, judged) = tmp_path / "data", openmic
    keys = np.array(KEYS, dtype=object)

    def refused() -> str:
        code, text = run("openmic", "{data}", "--out", "{out}")
        assert code == 1
        return text

    write_labels(data, keys, likelihoods[:, :19], judged)
    assert "expected Y_true and Y_mask of shape (4, 20), for each key and class, got (4, 19) and (4, 20)" in refused()
    write_labels(data, keys, 2 * likelihoods, judged)
    assert "expected likelihoods from 0 to 1 in Y_true where Y_mask is true" in refused()
    (data / "openmic-2018.npz").write_bytes(b"PK\3\4 not a zip")
    assert "openmic-2018.npz: expected Y_true, Y_mask and sample_key (" in refused()
    write_labels(data, keys, likelihoods, judged)
    (data / "partitions" / "split01_test.csv").write_text("999999_1\n")
    assert "split01_test.csv:1: openmic-2018.npz has no labels of '999999_1'" in refused()
    (data / "partitions" / "split01_test.csv").write_text(f"{KEYS[0]}\n")
    assert f"split01_test.csv:1: '{KEYS[0]}' stands in" in refused()
    (data / "partitions" / "split01_test.csv").unlink()
    assert "not the OpenMIC-2018 folder, it lacks partitions/split01_test.csv" in refused()
