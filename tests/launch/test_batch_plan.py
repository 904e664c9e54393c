"""Clips per process x processes x update_freq = the recipe's clips per update."""

import pytest

from ASDA.launch.batch_plan import BatchPlan, plan_batch


@pytest.mark.parametrize(
    ("wanted", "processes", "most", "given", "clips", "update_freq"),
    [
        (48, 1, 12, {}, 12, 4),  # pre-training on 1, 2, 4, 8, ... GPUs
        (48, 2, 12, {}, 12, 2),
        (48, 4, 12, {}, 12, 1),
        (48, 8, 12, {}, 6, 1),
        (48, 3, 12, {}, 8, 2),
        (48, 16, 12, {}, 3, 1),
        (48, 5, 12, {}, 10, 1),  # no product of 5 is 48: the nearest
        (8, 16, 8, {}, 1, 1),  # fewer clips than processes
        (8, 1, 8, {}, 8, 1),
        (256, 1, 256, {}, 256, 1),
        (49, 1, 12, {}, 7, 7),  # more steps than needed, for an exact product
        (47, 1, 12, {}, 12, 4),  # none within three times as many steps
        (48, 4, 12, {"clips": 6}, 6, 2),
        (48, 4, 12, {"clips": 7}, 7, 2),  # 42 or 56: as near as it gets, half rounded up
        (48, 4, 12, {"clips": 100}, 100, 1),
        (48, 4, 12, {"update_freq": 2}, 6, 2),
        (48, 1, 12, {"update_freq": 1}, 48, 1),  # as told, whatever fits
        (48, 4, 12, {"clips": 5, "update_freq": 3}, 5, 3),
    ],
)
def test_plan_batch__table(wanted, processes, most, given, clips, update_freq):
    assert plan_batch(wanted, processes, most, **given) == BatchPlan(clips, processes, update_freq)


@pytest.mark.parametrize("most", [1, 3, 12, 64])
def test_plan_batch__is_exact_where_few_steps_allow_it_and_never_above_the_memory(most):
    for wanted in range(1, 97):
        for processes in range(1, 17):
            plan = plan_batch(wanted, processes, most)
            fewest = -(-wanted // (processes * most))
            exact = [n for n in range(fewest, 3 * fewest + 1) if wanted % (processes * n) == 0]
            assert 1 <= plan.clips <= most
            assert plan.update_freq == (min(exact) if exact else fewest)
            assert (plan.clips_per_update == wanted) == bool(exact)


def test_describe__says_whether_the_recipe_is_kept():
    plan = BatchPlan(7, 4, 2)
    assert plan.describe(56, "GPUs") == "7 clips x 4 GPUs x update_freq 2 = 56 clips per update, as in the recipe"
    assert plan.describe(48, "GPUs") == (
        "warning: 7 clips x 4 GPUs x update_freq 2 = 56 clips per update; "
        "the recipe's learning rate and number of updates are for 48. By rule they become 1.08 and 0.857 times as much "
        "(docs/training.md, other numbers of clips)"
    )
    assert plan.describe(None, "processes") == "7 clips x 4 processes x update_freq 2 = 56 clips per update"
