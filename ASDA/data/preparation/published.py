"""Are these as many clips as the data set is published with?"""

from __future__ import annotations

from .plan import Plan


def unlike_published(plan: Plan, held_out: str = "") -> list[str]:
    """What to say about the splits of a plan that have more or fewer clips than those of the data set.

    Args:
        plan: whose clips can all be used, as `write_plan` leaves it.
        held_out: the split that was carved out of the training splits, and belongs to them here.
    """
    warnings = []
    for split, published in plan.published.items():
        number = len(plan.splits.get(split, ()))
        folder, _, kind = split.rpartition("/")
        if kind == "train" and held_out:
            number += len(plan.splits.get(f"{folder}/{held_out}" if folder else held_out, ()))
        if number != published:
            warnings.append(f"{split}: {number:,} clips, but {plan.title} is published with {published:,}")
    return warnings
