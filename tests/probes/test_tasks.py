"""Data folders as questions: labels of every kind, folds, and what is known from another split."""

import numpy as np
import pytest

from ASDA.probes.tasks import find_folds, read_split, read_task, require_clips


def by_path(path):
    return path


def test_read_split__clips_without_a_label_and_with_several(make_folder):
    split = read_split(make_folder(eval=["a", "", "b", "a,b"]), "eval")
    assert split.targets.tolist() == [[1, 0], [0, 0], [0, 1], [1, 1]]
    assert [clip.name for clip in split.clips] == ["eval0.wav", "eval1.wav", "eval2.wav", "eval3.wav"]


def test_read_split__what_was_not_judged_is_nan(make_folder):
    split = read_split(make_folder(eval=["a\tb", "\ta"]), "eval")
    np.testing.assert_array_equal(split.targets, [[1, 0], [0, np.nan]])
    assert split.has_class.tolist() == [True, False]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({"train": ["a", "b"], "eval": ["b"]}, True),
        ({"train": ["a", "b"], "eval": ["b"], "valid": ["a,b"]}, False),
        ({"train": ["a", ""], "eval": ["b"]}, False),
        ({"train": ["a\t", "b\t"], "eval": ["b\t"]}, False),
    ],
)
def test_task__has_single_labels_if_each_clip_of_each_split_has_one(make_folder, labels, expected):
    assert read_task(make_folder(**labels), by_path, "x").single_label == expected


@pytest.mark.parametrize(("other", "what"), [("train0.wav", "valid"), ("eval1.wav", "valid")])
def test_read_task__a_valid_split_that_shares_sound_is_not_used(make_folder, other, what):
    folder = make_folder(train=["a", "b"], eval=["a", "b"], valid=["a", "b"])
    same = {"valid1.wav": other}
    task = read_task(folder, lambda path: same.get(path.rsplit("/")[-1], path.rsplit("/")[-1]), "x")
    assert task.valid is None and len(task.clips) == 4
    assert task.notes == [
        f"{folder}: {what} shares the sound of 1 clips with train or eval and is not used; settings are chosen within "
        "train"
    ]


def test_read_task__a_valid_split_of_its_own_is_used(make_folder):
    task = read_task(make_folder(train=["a", "b"], eval=["a", "b"], valid=["b"]), by_path, "x")
    assert task.valid.targets.tolist() == [[0, 1]] and not task.notes and len(task.clips) == 5


def test_read_task__eval_clips_that_are_known_from_train_are_said(make_folder):
    folder = make_folder(train=["a", "b"], eval=["a", "b", "b"])
    task = read_task(folder, lambda path: path[-5], "x")  # the clip's number
    assert task.notes == [f"{folder}: 2 of 3 eval clips have the sound of train clips, which flatters the probe"]
    assert len(task.train.clips) == 2 and len(task.eval.clips) == 3


def test_read_task__a_split_without_clips_is_refused(make_folder):
    with pytest.raises(ValueError, match="eval.tsv: the manifest lists no clip"):
        read_task(make_folder(train=["a"], eval=[]), by_path, "x")


def test_find_folds__in_the_order_of_their_numbers(tmp_path):
    for name in ("fold10", "fold2", "fold_1", "folder", "fold3.old"):
        (tmp_path / name).mkdir()
    assert [fold.name for fold in find_folds(tmp_path)] == ["fold_1", "fold2", "fold10"]
    (tmp_path / "train.tsv").write_text("")
    assert find_folds(tmp_path) == [tmp_path]


@pytest.mark.parametrize("name", ["empty", "absent"])
def test_find_folds__says_what_a_folder_should_hold(tmp_path, name):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=f"{name}: .*expected train.tsv and eval.tsv .* fold1, fold2"):
        find_folds(tmp_path / name)


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (
            {"train": ["a", "a"], "eval": ["a", "b"]},
            "x: all train clips are of the class a; a probe tells at least two",
        ),
        ({"train": ["", ""], "eval": ["a", "b"]}, "x: no train clip that can be read has a class"),
        ({"train": ["a", "b"], "eval": ["", ""]}, "x: no eval clip that can be read has a class"),
        ({"train": ["\ta", "\tb"], "eval": ["a\t", "b\t"]}, "x: no train clip that can be read has a class"),
    ],
)
def test_require_clips__a_task_that_cannot_be_asked_is_refused(make_folder, labels, says):
    with pytest.raises(ValueError, match=f"^{says}"):
        require_clips(read_task(make_folder(**labels), by_path, "x"))


def test_require_clips__one_class_with_clips_that_have_it_not_is_a_question(make_folder):
    require_clips(read_task(make_folder(classes="a", train=["a", ""], eval=["a", ""]), by_path, "x"))
    require_clips(read_task(make_folder("other", train=["a", "b"], eval=["a", "a"]), by_path, "x"))
