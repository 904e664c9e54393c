"""NonFiniteGuard: what is noticed, what is counted, when it is enough."""

import math

import pytest
import torch

from ASDA.training.nonfinite import NonFiniteError, NonFiniteGuard, gradient_norm
from tests.waiting import Waits

NORM = torch.tensor(3.0)


def log(**values):
    return {"loss": torch.tensor(1.0), "pred_var": torch.tensor(0.5), "nsentences": 2, **values}


def test_inspect__passes_what_is_finite_and_puts_numbers_into_its_log():
    guard, logged = NonFiniteGuard(0), log()
    guard.watch(torch.tensor(1.0), logged, {"target_var": torch.tensor(0.25)}, "the batch")
    norm, [batch] = guard.inspect(NORM)
    assert (norm, batch.reason, guard.reason) == (3.0, "", "")
    assert logged == {"loss": 1.0, "pred_var": 0.5, "nsentences": 2} and type(logged["loss"]) is float
    assert batch.log is logged and batch.statistics == {"target_var": 0.25} and batch.sample == "the batch"
    assert guard.inspect() == (0.0, [])  # each batch is looked at once


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_inspect__names_what_is_not(value):
    guard = NonFiniteGuard(0)
    guard.watch(torch.tensor(value), log())
    assert guard.inspect(NORM)[1][0].reason == guard.reason == f"its loss is {value}"
    guard.start_update()
    assert guard.reason == ""
    guard.watch(torch.tensor(1.0), log(pred_var=value))
    assert guard.inspect(NORM)[1][0].reason == guard.reason == f"its pred_var is {value}"
    guard.start_update()
    guard.watch(torch.tensor(1.0), log())
    assert "gradient" in guard.inspect(gradient_norm([torch.ones(3), torch.tensor([0.0, value])]))[1][0].reason


def test_inspect__leaves_gradients_to_others_when_told_so():
    guard = NonFiniteGuard(0)
    guard.watch(torch.tensor(1.0), log())
    norm, _ = guard.inspect(torch.tensor(math.inf), judged=False)
    assert norm == math.inf and guard.reason == ""


def test_inspect__of_several_batches_finds_the_one_that_is_at_fault():
    guard = NonFiniteGuard(0)
    for loss in (1.0, math.nan, 2.0):
        guard.watch(torch.tensor(loss), log())
    assert [batch.reason for batch in guard.inspect(torch.tensor(math.nan))[1]] == ["", "its loss is nan", ""]


def test_inspect__reads_all_at_once():
    guard = NonFiniteGuard(0)
    for _ in range(3):
        guard.watch(torch.ones(2, 2).sum(), log(), {"target_var": torch.ones(()) * 2})
    norm = gradient_norm([torch.ones(3), torch.ones(2, 2)])
    with Waits() as waits:
        guard.inspect(norm)
    assert waits.places == ["ASDA/training/nonfinite.py read: tolist"]


def test_reason__of_the_first_batch_stays_for_the_whole_update():
    guard = NonFiniteGuard(0)
    for loss in (math.nan, 1.0):
        guard.watch(torch.tensor(loss), log())
        guard.inspect()
    assert guard.reason == "its loss is nan"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gradient_norm__is_that_of_all_values(dtype):
    gradients = [torch.randn(n, 7).to(dtype) for n in (1, 3, 50)]
    expected = torch.cat([g.double().flatten() for g in gradients]).norm()
    norm = gradient_norm(gradients)
    assert norm.dtype == torch.float32 and float(norm) == pytest.approx(float(expected), rel=1e-6)


def test_end_update__stops_after_a_run_and_a_sound_update_ends_the_run():
    guard = NonFiniteGuard(2)
    for number, left_out in enumerate([True, True, False, True, True], start=1):
        guard.end_update(number, left_out)
    with pytest.raises(NonFiniteError, match="3 updates in a row, up to update 6, .* weights are those of update 3,"):
        guard.end_update(6, True)


def test_void__takes_the_results_out_of_a_log_and_leaves_what_is_said_of_the_clips():
    guard, logged = NonFiniteGuard(0), log(sample_size=torch.tensor(3.0))
    guard.watch(torch.tensor(math.nan), logged)
    logged["_num_unreadable"] = 1
    [batch] = guard.inspect()[1]
    batch.void()
    assert logged == {"loss": 0, "pred_var": 0, "nsentences": 0, "sample_size": 0, "_num_unreadable": 1}
