"""Dividing clips by whole groups, with sizes and classes as close to the shares as the groups allow.

The distance of a division from the shares is the chi-square one: over all splits, for the number of clips and for that
of each class, the sum of (found - wanted)^2 / wanted. Groups are placed one after the other where that grows least,
then moved as long as that lowers it; the best of several orders is kept.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..manifest import ManifestError
from .folder_labels import named
from .plan import PlannedClip

MAX_DEVIATION = 0.05
"""A split whose share of the clips is further off than this is warned of."""

_MAX_ORDERS = 32
_MAX_SWEEPS = 10
_PLACEMENTS = 20_000  # groups placed in all orders together, so that many groups take hardly longer than few


@dataclass(frozen=True)
class _Group:
    """What is not divided: its clips, and how many it has of what is counted (clips, then each of its classes)."""

    clips: list[PlannedClip]
    kinds: np.ndarray
    counts: np.ndarray


def divide_groups(
    clips: Sequence[PlannedClip], shares: Mapping[str, float], seed: int, warnings: list[str]
) -> dict[str, list[PlannedClip]]:
    """Divides clips so that each group is in one split.

    Args:
        clips: with their groups; one without is a group by itself.
        shares: of each split; their sum is 1.
        seed: of the orders that are tried.
        warnings: gets classes that a split lacks, and shares that the groups do not allow.

    Raises:
        ManifestError: fewer groups than splits, or classes that have one group each, so that none is in two splits.
    """
    groups, names = _groups(clips)
    if len(groups) < len(shares):
        raise ManifestError(
            f"too few groups: {len(groups)} ({named([str(group.clips[0].group) for group in groups])}), but "
            f"{len(shares)} splits ({', '.join(shares)}) need at least one each; group by something finer, or make "
            "fewer splits"
        )
    _require_classes_in_several(groups, names)
    division = _best_division(groups, np.array(list(shares.values()), dtype=float), len(names) + 1, seed)
    splits: dict[str, list[PlannedClip]] = {name: [] for name in shares}
    for group, place in zip(groups, division, strict=True):
        splits[list(shares)[place]] += group.clips
    _warn(splits, shares, names, warnings)
    return {name: sorted(members, key=lambda clip: clip.row) for name, members in splits.items()}


def _groups(clips: Sequence[PlannedClip]) -> tuple[list[_Group], list[str]]:
    """The groups, sorted by name, and the classes in the order in which they are counted."""
    members: dict[tuple[bool, str], list[PlannedClip]] = {}
    for clip in sorted(clips, key=lambda clip: clip.row):
        members.setdefault((clip.group is None, clip.row if clip.group is None else clip.group), []).append(clip)
    names = sorted({label for clip in clips for label in clip.labels})
    kind_of = {name: kind for kind, name in enumerate(names, start=1)}
    groups = []
    for _, theirs in sorted(members.items()):
        kinds = [0] * len(theirs) + [kind_of[label] for clip in theirs for label in clip.labels]
        groups.append(_Group(theirs, *np.unique(kinds, return_counts=True)))
    return groups, names


def _require_classes_in_several(groups: list[_Group], names: list[str]) -> None:
    num_groups = np.bincount(np.concatenate([group.kinds for group in groups]), minlength=len(names) + 1)[1:]
    if len(names) > 1 and (num_groups == 1).all():
        raise ManifestError(
            f"each of the {len(names)} classes lies in one group alone ({named(names)}), so that no class could be in "
            "two splits; group by something that a class has several of"
        )


def _best_division(groups: list[_Group], shares: np.ndarray, num_kinds: int, seed: int) -> np.ndarray:
    """(n,) the split of each group."""
    total = np.zeros(num_kinds)
    for group in groups:
        total[group.kinds] += group.counts
    wanted = np.outer(shares, total)  # (splits, kinds), above 0: what is counted is there
    generator = random.Random(seed)
    best, least = np.zeros(len(groups), dtype=np.int64), np.inf
    for number in range(max(1, min(_MAX_ORDERS, _PLACEMENTS // len(groups)))):
        order = list(range(len(groups)))
        generator.shuffle(order)
        if number == 0:  # large groups first, while there is room for them
            order.sort(key=lambda place: -len(groups[place].clips))
        division, distance = _divide_in_order(groups, order, wanted)
        if distance < least - 1e-9:
            best, least = division, distance
    return best


def _divide_in_order(groups: list[_Group], order: list[int], wanted: np.ndarray) -> tuple[np.ndarray, float]:
    """The split of each group, and the division's distance from what is wanted."""
    excess = -wanted  # (splits, kinds), found - wanted
    division = np.full(len(groups), -1, dtype=np.int64)
    held = np.zeros(len(wanted), dtype=np.int64)

    def place(number: int, among: np.ndarray) -> None:
        group = groups[number]
        growth = (group.counts * (2 * excess[:, group.kinds] + group.counts) / wanted[:, group.kinds]).sum(axis=1)
        split = int(among[np.argmin(growth[among])])
        division[number] = split
        held[split] += 1
        excess[split, group.kinds] += group.counts

    everywhere = np.arange(len(wanted))
    for done, number in enumerate(order):
        empty = np.flatnonzero(held == 0)
        place(number, empty if len(empty) == len(order) - done else everywhere)
    for _ in range(max(1, min(_MAX_SWEEPS, 10 * _PLACEMENTS // len(groups)))):
        before = division.copy()
        for number in order:
            split, group = division[number], groups[number]
            if held[split] > 1:
                held[split] -= 1
                excess[split, group.kinds] -= group.counts
                place(number, everywhere)
        if (division == before).all():
            break
    return division, float((excess**2 / wanted).sum())


def _warn(
    splits: dict[str, list[PlannedClip]], shares: Mapping[str, float], names: list[str], warnings: list[str]
) -> None:
    num_clips = sum(map(len, splits.values()))
    for split, clips in splits.items():
        share = len(clips) / num_clips
        if abs(share - shares[split]) > MAX_DEVIATION:
            warnings.append(
                f"{split} gets {100 * share:.0f} % of the clips instead of {100 * shares[split]:.0f} %: the groups "
                "allow no better"
            )
        missing = sorted(set(names) - {label for clip in clips for label in clip.labels})
        if missing:
            warnings.append(
                f"{len(missing)} classes have no clip in {split}: {named(missing)}; their groups are too few"
            )
