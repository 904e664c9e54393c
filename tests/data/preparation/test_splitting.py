from collections import Counter

import pytest

from ASDA.data.manifest import ManifestError
from ASDA.data.preparation.plan import PlannedClip
from ASDA.data.preparation.splitting import hold_out, split_by_ratio, split_into_folds

CLIPS = [PlannedClip(f"{label}/{i}.wav", (label,)) for label, n in {"a": 50, "b": 20, "c": 7}.items() for i in range(n)]
SHARES = {"train": 0.7, "valid": 0.1, "eval": 0.2}


def test_split_by_ratio__every_clip_once_and_every_class_in_proportion():
    splits = split_by_ratio(CLIPS, SHARES, seed=1)
    assert sorted(clip.row for members in splits.values() for clip in members) == sorted(clip.row for clip in CLIPS)
    for name, share in SHARES.items():
        assert abs(len(splits[name]) - share * len(CLIPS)) <= 1
        counts = Counter(clip.labels[0] for clip in splits[name])
        for label, total in {"a": 50, "b": 20, "c": 7}.items():
            assert abs(counts[label] - share * total) <= 2


def test_split_by_ratio__depends_on_the_seed_not_on_the_order():
    splits = split_by_ratio(CLIPS, SHARES, seed=1)
    assert split_by_ratio(CLIPS[::-1], SHARES, seed=1) == splits
    assert split_by_ratio(CLIPS, SHARES, seed=2) != splits


def test_split_by_ratio__shares_need_not_sum_to_one():
    assert split_by_ratio(CLIPS, {"train": 7, "valid": 1, "eval": 2}, seed=1) == split_by_ratio(CLIPS, SHARES, seed=1)


def test_split_by_ratio__refuses_an_empty_share():
    with pytest.raises(ManifestError, match="share of split 'eval' must be above 0, got 0"):
        split_by_ratio(CLIPS, {"train": 1, "eval": 0}, seed=1)
    with pytest.raises(ManifestError, match="share of split 'train' must be finite, got inf"):
        split_by_ratio(CLIPS, {"train": float("inf"), "eval": 1}, seed=1)


def test_folds__evaluate_every_clip_once_and_never_train_on_it():
    splits = split_into_folds(CLIPS, 5, seed=1)
    assert sorted(splits) == sorted(f"fold{k}/{part}" for k in range(1, 6) for part in ("train", "eval"))
    evaluated = [clip.row for k in range(1, 6) for clip in splits[f"fold{k}/eval"]]
    assert sorted(evaluated) == sorted(clip.row for clip in CLIPS)
    for k in range(1, 6):
        train, held_out = ({clip.row for clip in splits[f"fold{k}/{part}"]} for part in ("train", "eval"))
        assert not train & held_out and len(train | held_out) == len(CLIPS)
        assert {clip.labels[0] for clip in splits[f"fold{k}/eval"]} == {"a", "b", "c"}


def test_folds__refuses_more_folds_than_clips():
    with pytest.raises(ManifestError, match="cannot make 9 folds of 3 clips"):
        split_into_folds(CLIPS[:3], 9, seed=1)


def test_hold_out__divides_the_training_split_alone_with_each_class_in_proportion():
    splits = {"train": CLIPS, "eval": CLIPS[:3]}
    held = hold_out(splits, "valid", 0.2, seed=1)
    assert list(held) == ["train", "valid", "eval"] and held["eval"] == CLIPS[:3]
    assert sorted(clip.row for clip in held["train"] + held["valid"]) == sorted(clip.row for clip in CLIPS)
    assert Counter(clip.labels[0] for clip in held["valid"]) == {"a": 10, "b": 4, "c": 1}
    assert hold_out(splits, "valid", 0.2, seed=2)["valid"] != held["valid"]


def test_hold_out__of_folds_is_within_each():
    splits = split_into_folds(CLIPS, 3, seed=1)
    held = hold_out(splits, "valid", 0.1, seed=1)
    for k in (1, 2, 3):
        train, valid = held[f"fold{k}/train"], held[f"fold{k}/valid"]
        assert sorted(c.row for c in train + valid) == sorted(c.row for c in splits[f"fold{k}/train"]) and valid
        assert held[f"fold{k}/eval"] == splits[f"fold{k}/eval"]


def test_hold_out__refuses_what_makes_no_sense():
    with pytest.raises(ManifestError, match="between 0 and 1, got 1"):
        hold_out({"train": CLIPS}, "valid", 1.0, seed=1)
    with pytest.raises(ManifestError, match="there is a split 'valid' already"):
        hold_out({"train": CLIPS, "valid": CLIPS}, "valid", 0.1, seed=1)
    with pytest.raises(ManifestError, match="no split 'train' .* only eval"):
        hold_out({"eval": CLIPS}, "valid", 0.1, seed=1)
