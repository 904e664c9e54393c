"""The known data sets against the published table, their class tables and their recipes."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ASDA.audio import FrontEnd
from ASDA.data.corpora.corpus import CORPORA, FSD50K, get_corpus
from ASDA.data.corpora.tables import official_table

RECIPES = Path(__file__).resolve().parents[3] / "config" / "recipe"
PUBLISHED = {  # name: (target_length, mean, std, classes, multi-label)
    "audioset": (1024, -4.268, 4.569, 527, True),
    "esc50": (512, -6.627, 5.359, 50, False),
    "spcv2": (128, -6.846, 5.565, 35, False),
    "fsd50k": (1024, -7.966, 4.753, 200, True),
    "urbansound8k": (400, -4.4520, 3.9358, 10, False),
    "spcv1_words": (128, -6.7851, 5.4963, 30, False),
    "openmic": (1024, -4.0147, 4.0522, 20, True),
    "gtzan": (3000, -3.0709, 3.4615, 10, False),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_get_corpus__published_table(name):
    corpus = get_corpus(name)
    length, mean, std, num_classes, multi_label = PUBLISHED[name]
    assert (corpus.num_classes, corpus.multi_label) == (num_classes, multi_label)
    assert corpus.front_end() == FrontEnd(target_length_frames=length, norm_mean=mean, norm_std=std)


def test_get_corpus__unknown_name_lists_the_known():
    with pytest.raises(ValueError, match=r'"esc-50".*audioset.*esc50'):
        get_corpus("esc-50")
    assert all(name == corpus.name for name, corpus in CORPORA.items())


def test_corpus__folds_are_the_published_ones():
    folds = {name: corpus.num_folds for name, corpus in CORPORA.items() if corpus.num_folds}
    assert folds == {"esc50": 5, "urbansound8k": 10, "iemocap": 5}


def test_corpus__published_numbers_of_clips_add_up():
    totals = {"esc50": 2000, "urbansound8k": 8732, "iemocap": 5531}
    for name, total in totals.items():
        counts = get_corpus(name).num_clips
        assert sum(number for split, number in counts.items() if split.endswith("/eval")) == total
        for fold in range(1, get_corpus(name).num_folds + 1):
            assert counts[f"fold{fold}/train"] + counts[f"fold{fold}/eval"] == total
    totals = {"spcv2": 105_829, "fsd50k": 51_197, "voxceleb1": 153_516, "openmic": 20_000, "gtzan": 930}
    assert {name: sum(get_corpus(name).num_clips.values()) for name in totals} == totals


def test_corpus__without_published_statistics_says_none():
    assert get_corpus("voxceleb1").statistics() == {}
    assert get_corpus("esc50").statistics() == {"norm_mean": -6.627, "norm_std": 5.359}


@pytest.mark.parametrize("corpus", [c for c in CORPORA.values() if c.class_table], ids=lambda corpus: corpus.name)
def test_corpus__class_table_has_as_many_classes(corpus):
    assert len(official_table(corpus)) == corpus.num_classes


def test_official_table__of_a_data_set_that_brings_its_own_is_refused():
    with pytest.raises(ValueError, match="FSD50K brings its own class table"):
        official_table(FSD50K)


@pytest.mark.parametrize(
    ("corpus", "recipe"), [(c, r) for c in CORPORA.values() for r in c.recipes], ids=lambda v: getattr(v, "name", v)
)
def test_corpus__its_recipes_say_nothing_else(corpus, recipe):
    """What a recipe states of its data set, if it states it at all, is what the data set says."""
    config = yaml.safe_load((RECIPES / f"{recipe}.yaml").read_text())
    task, model, checkpoint = (config.get(part) or {} for part in ("task", "model", "checkpoint"))
    stated = {
        "name": task.get("dataset"),
        "target_length_frames": task.get("target_length"),
        "norm_mean": task.get("norm_mean"),
        "norm_std": task.get("norm_std"),
        "multi_label": task.get("multi_label"),
        "num_classes": model.get("num_classes"),
        "metric": checkpoint.get("best_checkpoint_metric"),
    }
    stated = {key: value for key, value in stated.items() if value not in (None, "", "auto")}
    assert {key: getattr(corpus, key) for key in stated} == stated


def test_recipes__that_name_a_data_set_belong_to_it():
    for file in RECIPES.glob("*.yaml"):
        name = (yaml.safe_load(file.read_text()).get("task") or {}).get("dataset")
        assert not name or file.stem in get_corpus(name).recipes, file.name


def test_corpus__its_numbers_are_read_without_the_front_end():
    code = "import sys, ASDA.data.corpora.corpus as c; print(c.ESC50.num_folds, 'torchaudio' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["5", "False"]
