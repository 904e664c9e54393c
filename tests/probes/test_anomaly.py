"""Scores of anomalies against explicit formulas, and the layouts in which such sounds come."""

import numpy as np
import pytest
from sklearn.metrics import roc_curve

from ASDA.inference.clips import Clip
from ASDA.metrics import mean_auc
from ASDA.probes.anomaly import judge_anomaly, knn_anomaly, mahalanobis_anomaly, partial_auc
from ASDA.probes.anomaly_tasks import AnomalyTask, read_anomaly_task


def by_name(path):
    return path.rsplit("/")[-1]


@pytest.mark.parametrize("neighbours", [1, 3, 99])
def test_knn_anomaly__is_the_mean_distance_to_the_nearest(neighbours):
    rng = np.random.default_rng(0)
    memory, test = rng.normal(2, 3, size=(40, 3)), rng.normal(size=(5, 3))
    scaled, asked = ((x - memory.mean(0)) / memory.std(0) for x in (memory, test))
    expected = [np.sort([np.sqrt(((m - clip) ** 2).sum()) for m in scaled])[:neighbours].mean() for clip in asked]
    np.testing.assert_allclose(knn_anomaly(memory, test, neighbours), expected)


@pytest.mark.parametrize("count", [5, 200])
def test_mahalanobis_anomaly__is_the_formula_with_the_covariance_of_ledoit_and_wolf(count):
    rng = np.random.default_rng(0)
    memory, test = rng.normal(size=(count, 8)) @ rng.normal(size=(8, 8)) + 3, rng.normal(size=(4, 8))
    mean, p = memory.mean(0), 8
    x = memory - mean
    sample = x.T @ x / count
    mu = np.trace(sample) / p
    delta = ((sample - mu * np.eye(p)) ** 2).sum() / p
    beta = sum(((np.outer(row, row) - sample) ** 2).sum() for row in x) / count**2 / p
    shrinkage = min(beta, delta) / delta
    inverse = np.linalg.inv((1 - shrinkage) * sample + shrinkage * mu * np.eye(p))
    expected = [np.sqrt((clip - mean) @ inverse @ (clip - mean)) for clip in test]
    np.testing.assert_allclose(mahalanobis_anomaly(memory, test), expected, rtol=1e-6)
    assert mahalanobis_anomaly(memory, mean[None])[0] == pytest.approx(0, abs=1e-6)


def test_auc__is_the_share_of_pairs_in_order_and_partial_auc_the_standardised_area():
    rng = np.random.default_rng(0)
    other = rng.random(80) < 0.4
    scores = rng.normal(size=80) + other
    pairs = [(a > b) + 0.5 * (a == b) for a in scores[other] for b in scores[~other]]
    assert mean_auc(other[:, None], scores[:, None]) == pytest.approx(np.mean(pairs))
    false, true, _ = roc_curve(other, scores)
    grid = np.union1d(false[false < 0.1], [0.1])
    # at a rate that several thresholds share, the curve goes up: the area is of its steps
    area = 0.0
    for low, high in zip(grid[:-1], grid[1:], strict=True):
        left, right = (
            true[false <= low].max(),
            np.interp(high, false, true) if high == 0.1 else true[false == high].min(),
        )
        area += (high - low) * (left + right) / 2
    least, most = 0.1**2 / 2, 0.1
    assert partial_auc(other[:, None], scores[:, None]) == pytest.approx(0.5 * (1 + (area - least) / (most - least)))


def test_partial_auc__of_one_kind_is_nothing():
    assert np.isnan(partial_auc(np.ones((3, 1), bool), np.zeros((3, 1))))


def planted(without=()):
    clips = [Clip(f"/{kind}{n}", f"{kind}{n}") for kind in ("memory", "normal", "other") for n in range(20)]
    rng = np.random.default_rng(0)
    features = {}
    for clip in clips:
        rows = rng.normal(size=(1, 2, 4)).astype(np.float32)
        rows[0, 1] += 8 * ("other" in clip.name)
        if clip.name not in without:
            features[clip.path] = rows
    return AnomalyTask("fan", clips[:20], clips[20:], np.arange(40) >= 20), features


def test_judge_anomaly__tells_what_is_planted_and_nothing_else():
    task, features = planted()
    noise, telling = (judge_anomaly(task, features, place, 1, 0) for place in (0, 1))
    assert [row["score"] for row in telling] == ["knn (k = 1)", "mahalanobis"]
    assert all(row["AUC"] == row["pAUC"] == 1.0 for row in telling)
    assert all(0.2 < row["AUC"] < 0.8 and row["AUC_chance"] == 0.5 for row in noise)
    drawn = judge_anomaly(task, features, 0, 1, 50)
    for row in drawn:
        assert row["AUC_low"] < row["AUC"] < row["AUC_high"] and row["pAUC_low"] <= row["pAUC"] <= row["pAUC_high"]


def test_judge_anomaly__goes_on_without_clips_that_have_no_features():
    task, features = planted(("memory0", "normal1", "other2", "other3"))
    for row in judge_anomaly(task, features, 1, 99, 0):
        assert (row["memory_clips"], row["normal_clips"], row["other_clips"]) == (19, 19, 18) and row["AUC"] == 1.0
    assert judge_anomaly(task, features, 1, 99, 0)[0]["score"] == "knn (k = 19)"
    task, features = planted([f"other{n}" for n in range(20)])
    with pytest.raises(
        ValueError, match="fan: expected at least 2 normal clips .* found 20, 20 and 0 that can be read"
    ):
        judge_anomaly(task, features, 1, 1, 0)


@pytest.fixture
def touch(tmp_path):
    def touch(*names):
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(b"")
        return tmp_path

    return touch


def named(task):
    return [clip.name for clip in task.memory], {
        clip.name: bool(o) for clip, o in zip(task.test, task.other, strict=True)
    }


def test_read_anomaly_task__train_and_test_by_the_words_of_names(touch):
    train = ["train/section_00_source_train_normal_0000.wav", "train/section_00_source_train_normal_0001.wav"]
    folder = touch(*train, "test/section_00_source_test_normal_0.wav", "test/section_00_source_test_anomaly_0.wav")
    memory, test = named(read_anomaly_task(folder, by_name, "x"))
    assert len(memory) == 2
    assert test == {"section_00_source_test_anomaly_0.wav": True, "section_00_source_test_normal_0.wav": False}


def test_read_anomaly_task__train_and_test_by_folders(touch):
    folder = touch("train/a.wav", "train/b.wav", "test/normal/c.wav", "test/broken/d.wav")
    assert named(read_anomaly_task(folder, by_name, "x")) == (
        ["a.wav", "b.wav"],
        {"broken/d.wav": True, "normal/c.wav": False},
    )


def test_read_anomaly_task__half_of_the_normal_clips_is_remembered(touch):
    folder = touch(*(f"normal/{n}.wav" for n in range(10)), *(f"abnormal/o{n}.wav" for n in range(3)))
    memory, test = named(read_anomaly_task(folder, by_name, "x"))
    assert len(memory) == 5 and all(name.startswith("normal/") for name in memory)
    assert len(test) == 8 and not set(memory) & set(test) and sum(test.values()) == 3
    assert named(read_anomaly_task(folder, by_name, "x")) == (memory, test)


def test_read_anomaly_task__manifests_with_a_class_normal(make_folder):
    kinds = {"classes": ["normal", "rattle"], "eval": ["normal", "rattle", ""]}
    folder = make_folder(train=["normal", "normal", "rattle"], **kinds)
    memory, test = named(read_anomaly_task(folder, by_name, "x"))
    assert memory == ["train0.wav", "train1.wav"]
    assert test == {"eval0.wav": False, "eval1.wav": True, "eval2.wav": True}
    (folder / "train.lbl").unlink()
    assert len(named(read_anomaly_task(folder, by_name, "x"))[0]) == 3


def test_read_anomaly_task__what_is_tested_is_not_remembered(touch):
    folder = touch("train/a.wav", "train/b.wav", "train/c.wav", "test/normal/c.wav", "test/broken/d.wav")
    task = read_anomaly_task(folder, by_name, "x")
    assert named(task)[0] == ["a.wav", "b.wav"]
    assert task.notes == [f"{folder}: 1 clips to remember have the sound of test clips and are left out"]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["other/a.wav"], "expected train.tsv and eval.tsv, train/ and test/, or normal/"),
        (["train/a.wav", "train/anomaly_b.wav", "test/normal/c.wav"], "train: anomaly_b.wav is no normal clip"),
        (["train/a.wav", "train/b.wav", "test/c.wav"], "test: c.wav: expected folders normal/ and others"),
        (["train/a.wav", "train/b.wav", "test/normal_c.wav"], "found 2, 1 and 0"),
        (["normal/a.wav", "normal/b.wav", "broken/c.wav"], "found 1, 1 and 1"),
        (["normal/a.wav", "normal/b.wav", "c.wav"], "c.wav lies in no folder"),
    ],
)
def test_read_anomaly_task__says_what_is_wrong(touch, names, said):
    with pytest.raises(ValueError, match=said):
        read_anomaly_task(touch(*names), by_name, "x")


@pytest.mark.parametrize(
    ("classes", "labels", "said"),
    [
        (["fine", "rattle"], ["fine", "rattle"], "expected a class normal, found fine, rattle"),
        (["normal", "rattle"], ["normal\t", "rattle\t"], "eval1.wav was not judged for the class normal"),
    ],
)
def test_read_anomaly_task__says_what_labels_lack(make_folder, classes, labels, said):
    folder = make_folder(classes=classes, train=labels, eval=labels)
    with pytest.raises(ValueError, match=said):
        read_anomaly_task(folder, by_name, "x")
