import pytest

from ASDA.data.manifest import ManifestError
from ASDA.data.preparation.hub_splits import split_files


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("data/train-00000-of-00002.parquet", "train"),
        ("default/validation/0000.parquet", "valid"),
        ("dev-clean-000001.tar", "valid"),
        ("test/speech-00.parquet", "eval"),
        ("data/bal_train/00.parquet", "train"),
        ("TEST_0.tar", "eval"),
        ("eval/00.parquet", "eval"),
        ("test/train-0.tar", "train"),
    ],
)
def test_split_files__by_the_words_in_a_name(name, split):
    assert split_files([name]) == {name: split}


def test_split_files__all_train_where_no_name_says_a_split():
    names = ["latest.parquet", "trainer/contested.parquet", "value/deviant.tar"]
    assert set(split_files(names).values()) == {"train"}


def test_split_files__names_that_leave_it_open_are_refused():
    with pytest.raises(ManifestError, match="b.parquet: its name says no split, where others do"):
        split_files(["train.parquet", "b.parquet"])
    with pytest.raises(ManifestError, match="train_test.parquet: its name says train and eval"):
        split_files(["train_test.parquet"])


def test_split_files__by_patterns():
    names = ["a/0.tar", "a/1.tar", "b/0.tar", "c.tar"]
    patterns = [("eval", "a/1*"), ("train", "a/*"), ("train", "b/*")]
    assert split_files(names, patterns) == {"a/0.tar": "train", "a/1.tar": "eval", "b/0.tar": "train"}
    with pytest.raises(ManifestError, match="--split eval=d: no file fits"):
        split_files(names, [("eval", "d")])
