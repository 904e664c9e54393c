"""Dividing by whole groups: no group in two splits, and as close to the shares as a search through all divisions."""

import itertools
from collections import Counter

import numpy as np
import pytest

from ASDA.data.manifest import ManifestError
from ASDA.data.preparation.plan import PlannedClip
from ASDA.data.preparation.splitting import hold_out, split_by_ratio, split_into_folds


def clips_of(sizes: dict[str, dict[str, int]]) -> list[PlannedClip]:
    """Speaker -> label -> number of clips."""
    return [
        PlannedClip(f"{label}/{speaker}/{number}.wav", (label,), group=speaker)
        for speaker, labels in sizes.items()
        for label, count in labels.items()
        for number in range(count)
    ]


def groups_of(clips) -> set[str]:
    return {clip.group for clip in clips}


def distance(splits: dict[str, list[PlannedClip]], shares: dict[str, float]) -> float:
    """The definition, split by split and label by label."""
    everything = [clip for clips in splits.values() for clip in clips]
    result = 0.0
    for name, clips in splits.items():
        result += (len(clips) - shares[name] * len(everything)) ** 2 / (shares[name] * len(everything))
        for label, total in Counter(clip.labels[0] for clip in everything).items():
            found = sum(clip.labels[0] == label for clip in clips)
            result += (found - shares[name] * total) ** 2 / (shares[name] * total)
    return result


@pytest.mark.parametrize("case", range(6))
def test_groups__are_divided_as_well_as_they_can_be(case):
    rng = np.random.default_rng(case)
    sizes = {f"s{number}": dict(zip("abc", rng.integers(0, 8, 3) + (number < 2), strict=True)) for number in range(8)}
    clips = clips_of(sizes)
    shares = {"train": 0.75, "eval": 0.25} if case % 2 else {"train": 0.5, "valid": 0.2, "eval": 0.3}
    splits = split_by_ratio(clips, shares, seed=case)
    assert sorted(clip.row for members in splits.values() for clip in members) == sorted(clip.row for clip in clips)
    for one, other in itertools.combinations(splits.values(), 2):
        assert not groups_of(one) & groups_of(other)
    least = np.inf
    speakers = sorted(groups_of(clips))
    for choice in itertools.product(shares, repeat=len(speakers)):
        if set(choice) == set(shares):
            split_of = dict(zip(speakers, choice, strict=True))
            least = min(
                least, distance({name: [c for c in clips if split_of[c.group] == name] for name in shares}, shares)
            )
    assert distance(splits, shares) == pytest.approx(least)


def test_groups__depend_on_the_seed_not_on_the_order():
    clips = clips_of({f"s{number}": {"a": 3, "b": 2} for number in range(12)})
    shares = {"train": 3, "eval": 1}
    splits = split_by_ratio(clips, shares, seed=1)
    assert split_by_ratio(clips[::-1], shares, seed=1) == splits != split_by_ratio(clips, shares, seed=2)
    assert (len(groups_of(splits["train"])), len(groups_of(splits["eval"]))) == (9, 3)


def test_groups__without_labels_are_divided_by_their_sizes():
    clips = [
        PlannedClip(f"{speaker}{n}.wav", group=speaker)
        for speaker, size in zip("abcde", (3, 3, 2, 2, 2), strict=True)
        for n in range(size)
    ]
    splits = split_by_ratio(clips, {"a": 1, "b": 1}, seed=3)
    assert sorted(map(len, splits.values())) == [6, 6]


def test_groups__that_are_each_of_one_class_are_spread_over_the_splits():
    clips = clips_of({f"{label}{number}": {label: 4} for label in ("low", "high") for number in range(5)})
    splits = split_by_ratio(clips, {"train": 0.6, "eval": 0.4}, seed=1)
    assert Counter(clip.labels[0] for clip in splits["eval"]) == {"low": 8, "high": 8}


def test_folds__of_groups_evaluate_each_group_once():
    clips = clips_of({f"s{number}": {"a": 1 + number % 3, "b": 2} for number in range(9)})
    warnings = []
    splits = split_into_folds(clips, 3, seed=1, warnings=warnings)
    evaluated = [groups_of(splits[f"fold{k}/eval"]) for k in (1, 2, 3)]
    assert sorted(group for groups in evaluated for group in groups) == sorted(groups_of(clips)) and not warnings
    for k in (1, 2, 3):
        assert not groups_of(splits[f"fold{k}/eval"]) & groups_of(splits[f"fold{k}/train"])


def test_hold_out__keeps_groups_whole_in_each_fold_and_says_what_they_do_not_allow():
    clips = clips_of({"big": {"a": 30, "b": 30}, "small": {"a": 5}, "other": {"b": 20}})
    warnings = []
    held = hold_out({"fold1/train": clips, "fold1/eval": []}, "valid", 0.1, seed=1, warnings=warnings)
    assert groups_of(held["fold1/valid"]) == {"small"}
    assert warnings == ["fold1: 1 classes have no clip in valid: b; their groups are too few"]
    warnings = []
    hold_out(
        {"train": clips_of({"x": {"a": 2, "b": 2}, "y": {"a": 2, "b": 2}})}, "valid", 0.1, seed=1, warnings=warnings
    )
    assert warnings == [
        "train gets 50 % of the clips instead of 90 %: the groups allow no better",
        "valid gets 50 % of the clips instead of 10 %: the groups allow no better",
    ]


def test_groups__that_are_too_few_are_refused():
    clips = clips_of({"anna": {"a": 3, "b": 1}, "ben": {"a": 2, "b": 4}})
    with pytest.raises(
        ManifestError, match=r"too few groups: 2 \(anna, ben\), but 3 splits \(x, y, z\) need at least one"
    ):
        split_by_ratio(clips, {"x": 1, "y": 1, "z": 1}, seed=1)
    with pytest.raises(ManifestError, match=r"too few groups: 1 \(anna\), but 2 splits \(train, valid\)"):
        hold_out({"train": clips[:4]}, "valid", 0.5, seed=1)
    with pytest.raises(ManifestError, match="too few groups: 2 .* but 3 splits"):
        split_into_folds(clips, 3, seed=1)


def test_groups__that_are_the_classes_themselves_are_refused():
    clips = clips_of({"anna": {"a": 3}, "ben": {"b": 4}, "carl": {"c": 2}})
    with pytest.raises(ManifestError, match=r"each of the 3 classes lies in one group alone \(a, b, c\)"):
        split_by_ratio(clips, {"train": 1, "eval": 1}, seed=1)


def test_groups__by_the_ten_thousand_take_seconds():
    rng = np.random.default_rng(0)
    clips = [PlannedClip(f"{number}.wav", (str(rng.integers(20)),), group=str(number // 2)) for number in range(30_000)]
    splits = split_by_ratio(clips, {"train": 0.9, "eval": 0.1}, seed=1)
    assert abs(len(splits["eval"]) - 3_000) < 60 and not groups_of(splits["train"]) & groups_of(splits["eval"])
