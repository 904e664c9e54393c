"""NonFiniteGuard: what is noticed, what is counted, when it is enough."""

import math

import pytest
import torch

from ASDA.training.nonfinite import NonFiniteError, NonFiniteGuard


def parameters_with_gradient(*gradients):
    parameters = [torch.nn.Parameter(torch.zeros(3)) for _ in gradients]
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient
    return parameters


SOUND = {"loss": torch.tensor(1.0), "pred_var": 0.5, "nsentences": 2}


def test_inspect__passes_what_is_finite():
    guard = NonFiniteGuard(0)
    assert guard.inspect(torch.tensor(1.0), SOUND, parameters_with_gradient(torch.ones(3), None))
    assert guard.reason == ""


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_inspect__names_what_is_not(value):
    guard = NonFiniteGuard(0)
    assert not guard.inspect(torch.tensor(value), SOUND, [])
    assert guard.reason == f"its loss is {value}"
    guard.start_update()
    assert guard.reason == ""
    assert not guard.inspect(torch.tensor(1.0), {**SOUND, "pred_var": value}, [])
    assert guard.reason == f"its pred_var is {value}"
    guard.start_update()
    gradients = parameters_with_gradient(torch.ones(3), torch.tensor([0.0, value, 0.0]))
    assert not guard.inspect(torch.tensor(1.0), SOUND, gradients)
    assert "gradient" in guard.reason


def test_inspect__leaves_gradients_to_others_when_told_so():
    assert NonFiniteGuard(0).inspect(torch.tensor(1.0), SOUND, None)


def test_reason__of_the_first_batch_stays_for_the_whole_update():
    guard = NonFiniteGuard(0)
    guard.inspect(torch.tensor(math.nan), SOUND, None)
    assert guard.inspect(torch.tensor(1.0), SOUND, None)
    assert guard.reason == "its loss is nan"


def test_end_update__stops_after_a_run_and_a_sound_update_ends_the_run():
    guard = NonFiniteGuard(2)
    for number, left_out in enumerate([True, True, False, True, True], start=1):
        guard.end_update(number, left_out)
    with pytest.raises(NonFiniteError, match="3 updates in a row, up to update 6, .* weights are those of update 3,"):
        guard.end_update(6, True)
