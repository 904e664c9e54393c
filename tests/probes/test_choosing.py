"""How a setting is chosen: on clips that it was not fitted to, and never on others."""

import numpy as np
import pytest

from ASDA.probes.choosing import choose_setting
from ASDA.probes.methods import METHODS, Circumstances, Fit, Method


def numbered(first, count):
    """Clips that hold their own number."""
    return [np.full((1, 1, 1), number, np.float32) for number in range(first, first + count)]


class Recorder:
    """A probe that answers right with its second setting, and notes which clips it is given."""

    def __init__(self):
        self.calls = []
        self.method = Method(self.fit, "setting", (1.0, 2.0, 3.0))

    def fit(self, train, targets, clips, setting, how):
        of_train, asked = ([int(clip.flat[0]) for clip in part] for part in (train, clips))
        self.calls.append((of_train, asked, setting))
        assert [number % 2 for number in of_train] == targets.argmax(axis=1).tolist()
        right = np.eye(2)[[number % 2 for number in asked]]
        return Fit(right if setting == 2.0 else 1 - right)


def labels(first, count):
    return np.eye(2, dtype=np.float32)[[number % 2 for number in range(first, first + count)]]


def test_choose_setting__cross_validates_within_train():
    probe = Recorder()
    choice = choose_setting(probe.method, (numbered(0, 20), labels(0, 20)), None, Circumstances())
    assert (choice.setting, choice.chosen_on, choice.score) == (2.0, "cross-validation", 1.0)
    for setting in (1.0, 2.0, 3.0):
        parts = [call for call in probe.calls if call[2] == setting]
        assert all(sorted(fitted + asked) == list(range(20)) for fitted, asked, _ in parts)
        assert sorted(clip for _, asked, _ in parts for clip in asked) == list(range(20))
        assert all(sum(clip % 2 for clip in asked) == 2 for _, asked, _ in parts)  # a fifth of each class


def test_choose_setting__takes_valid_where_there_is_one():
    probe = Recorder()
    valid = (numbered(100, 6), labels(100, 6))
    choice = choose_setting(probe.method, (numbered(0, 20), labels(0, 20)), valid, Circumstances())
    assert (choice.setting, choice.chosen_on, choice.score) == (2.0, "valid", 1.0)
    assert [call[:2] for call in probe.calls] == [(list(range(20)), list(range(100, 106)))] * 3


def test_choose_setting__what_is_given_is_taken_and_scored_only_where_clips_are_held_out():
    train, valid = (numbered(0, 20), labels(0, 20)), (numbered(100, 6), labels(100, 6))
    alone = choose_setting(Recorder().method, train, None, Circumstances(), 3.0)
    assert (alone.setting, alone.chosen_on, alone.score) == (3.0, "given", None)
    judged = choose_setting(Recorder().method, train, valid, Circumstances(), 3.0)
    assert (judged.setting, judged.chosen_on, judged.score) == (3.0, "given", 0.0)


def test_choose_setting__among_equals_the_most_cautious():
    rng = np.random.default_rng(0)
    targets = np.eye(2, dtype=np.float32)[np.arange(40) % 2]
    clips = [
        np.full((1, 1, 1), 100 * target[0] + noise, np.float32)
        for target, noise in zip(targets, rng.random(40), strict=True)
    ]
    method = METHODS["logistic"]
    choice = choose_setting(method, (clips[:30], targets[:30]), (clips[30:], targets[30:]), Circumstances())
    assert (choice.setting, choice.score) == (method.settings[0], 1.0)


def test_choose_setting__parts_without_a_positive_have_no_say():
    """A class of one clip: most parts have no mAP."""
    targets = np.zeros((10, 1), np.float32)
    targets[0] = 1
    choice = choose_setting(METHODS["knn"], (numbered(0, 10), targets), None, Circumstances(single_label=False))
    assert choice.score is not None and 0 <= choice.score <= 1
    nothing = choose_setting(METHODS["knn"], (numbered(0, 10), targets * 0), None, Circumstances(single_label=False))
    assert nothing.score is None and nothing.setting == METHODS["knn"].settings[0]


def test_choose_setting__one_clip_is_too_few():
    with pytest.raises(ValueError, match="1 train clips are too few to choose a setting; give --regularisation"):
        choose_setting(METHODS["knn"], (numbered(0, 1), labels(0, 1)), None, Circumstances())
