"""Whose numbers a run hears with: its own, its data set's, its checkpoint's."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

pytest.importorskip("fairseq", reason="the tasks are fairseq's")

from ASDA.audio.front_end import FrontEnd
from ASDA.checkpoints.layouts.published_names import PUBLISHED_FLAGS
from ASDA.data.corpora.corpus import ESC50
from ASDA.fairseq_plugin.tasks.front_end import Padding, front_end_of, origins


class Config(SimpleNamespace):
    """The keys of a task that say what it hears."""

    def __getitem__(self, key):
        return getattr(self, key)


def config(**stated):
    keys = dict.fromkeys(("target_length", "norm_mean", "norm_std", "padding")) | dict.fromkeys(PUBLISHED_FLAGS, False)
    return Config(**{"dataset": "", **keys, **stated})


RECORDED = FrontEnd(128, -7.66, 3.5, padding="mask")
OTHER_FEATURES = FrontEnd(998, -9.0, 4.0, window="povey", remove_mean=False)


def test_front_end__is_the_checkpoints_unless_told_otherwise():
    assert front_end_of(config(), RECORDED) == RECORDED
    assert set(origins(config(), RECORDED).values()) == {"the checkpoint's"}
    assert front_end_of(config()) == FrontEnd()


def test_front_end__a_named_data_set_says_its_numbers_and_the_checkpoint_its_padding():
    found = front_end_of(config(dataset="esc50"), RECORDED)
    assert (found.target_length_frames, found.norm_mean, found.norm_std) == (512, ESC50.norm_mean, ESC50.norm_std)
    assert found.padding == "mask"
    whose = {
        "target_length": "ESC-50's",
        "norm_mean": "ESC-50's",
        "norm_std": "ESC-50's",
        "padding": "the checkpoint's",
    }
    assert origins(config(dataset="esc50"), RECORDED) == whose


def test_front_end__statistics_of_other_features_are_not_taken():
    """A data set's mean is that of features under a hanning window."""
    found = front_end_of(config(dataset="esc50"), OTHER_FEATURES)
    assert found == FrontEnd(512, -9.0, 4.0, window="povey", remove_mean=False)
    assert origins(config(dataset="esc50"), OTHER_FEATURES)["norm_mean"] == "the checkpoint's"


def test_front_end__of_a_data_set_without_statistics_is_the_checkpoints():
    assert front_end_of(config(dataset="voxceleb1"), RECORDED) == replace(RECORDED, target_length_frames=1024)
    whose = origins(config(dataset="voxceleb1"), RECORDED)
    assert whose["target_length"] == "VoxCeleb1's"
    assert whose["norm_mean"] == whose["norm_std"] == "the checkpoint's"


def test_front_end__what_is_stated_wins():
    stated = config(dataset="esc50", target_length=96, norm_mean=-1.0, padding=Padding.constant)
    found = front_end_of(stated, RECORDED)
    assert (found.target_length_frames, found.norm_mean, found.norm_std) == (96, -1.0, ESC50.norm_std)
    assert found.padding == "constant" and origins(stated, RECORDED)["target_length"] == "as stated"
