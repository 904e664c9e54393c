"""The mean of checkpoints: against the plain mean, teachers included, and what is refused."""

import pytest
import torch

from ASDA.checkpoints.adapters import BASE_KEY
from ASDA.checkpoints.averaging import AveragingError, average_checkpoints, last_checkpoints


def checkpoint(number: float) -> dict:
    return {
        "model": {
            "weight": torch.full((2, 3), float(number)),
            "half": torch.full((2,), number, dtype=torch.float16),
            "count": torch.tensor(int(number)),
            "_ema": {"weight": torch.full((2, 3), 10.0 * number)},
        },
        "last_optimizer_state": {"state": torch.zeros(5)},
        "optimizer_history": [{"num_updates": int(number)}],
        "extra_state": {"train_iterator": {"epoch": 1}, "Task": {"master_weights": [torch.zeros(2)]}},
        "cfg": {"number": number},
    }


def average(*states) -> dict:
    names = [f"{number}.pt" for number in range(len(states))]
    table = dict(zip(names, states, strict=True))
    return average_checkpoints([type("File", (), {"name": n})() for n in names], lambda file: table[file.name])


def test_average__is_the_mean_of_models_and_teachers_and_else_the_last():
    mean = average(checkpoint(1), checkpoint(2), checkpoint(6))
    assert torch.equal(mean["model"]["weight"], torch.full((2, 3), 3.0))
    assert torch.equal(mean["model"]["half"], torch.full((2,), 3.0, dtype=torch.float16))
    assert torch.equal(mean["model"]["_ema"]["weight"], torch.full((2, 3), 30.0))
    assert mean["model"]["count"] == 6 and mean["model"]["weight"].dtype == torch.float32
    assert mean["cfg"] == {"number": 6} and mean["last_optimizer_state"] is None
    assert mean["extra_state"] == {
        "train_iterator": {"epoch": 1},
        "averaged_checkpoints": ["0.pt", "1.pt", "2.pt"],
    }


def test_average__is_exact_where_float32_sums_are_not():
    states = [checkpoint(1), checkpoint(1), checkpoint(1)]
    for state, value in zip(states, (1e8, 1.0, -1e8), strict=True):
        state["model"]["weight"].fill_(value)
    assert torch.equal(average(*states)["model"]["weight"], torch.full((2, 3), 1 / 3))


def test_average__of_one_is_itself():
    assert torch.equal(average(checkpoint(4))["model"]["weight"], torch.full((2, 3), 4.0))


def test_average__refuses_other_models():
    with pytest.raises(AveragingError, match="no checkpoints"):
        average()
    with pytest.raises(AveragingError, match="not a training checkpoint"):
        average({"weight": torch.zeros(3)})
    other = checkpoint(2)
    other["model"]["_ema"]["weight"] = torch.zeros(3, 3)
    with pytest.raises(AveragingError, match=r"weight has shape \(3, 3\) .* \(2, 3\)"):
        average(checkpoint(1), other)
    other = checkpoint(2)
    del other["model"]["half"]
    with pytest.raises(AveragingError, match="other tensors .*half"):
        average(checkpoint(1), other)


def test_average__of_adapters_keeps_the_checksum_of_their_one_encoder():
    states = [checkpoint(1), checkpoint(3)]
    for state in states:
        state["model"][BASE_KEY] = torch.arange(32, dtype=torch.uint8)
    assert torch.equal(average(*states)["model"][BASE_KEY], torch.arange(32, dtype=torch.uint8))
    assert torch.equal(average(*states)["model"]["weight"], torch.full((2, 3), 2.0))
    states[1]["model"][BASE_KEY] = torch.zeros(32, dtype=torch.uint8)
    with pytest.raises(AveragingError, match="adapters of another encoder"):
        average(*states)


def test_last_checkpoints__go_by_number(tmp_path):
    for name in ("checkpoint_1_900.pt", "checkpoint_2_1000.pt", "checkpoint_10_11000.pt", "checkpoint_last.pt"):
        (tmp_path / name).touch()
    assert [file.name for file in last_checkpoints(tmp_path, 2)] == ["checkpoint_2_1000.pt", "checkpoint_10_11000.pt"]
    with pytest.raises(AveragingError, match="3 numbered checkpoints, 4 are to be averaged"):
        last_checkpoints(tmp_path, 4)
    for epoch in range(8, 13):
        (tmp_path / f"checkpoint{epoch}.pt").touch()
    assert [file.name for file in last_checkpoints(tmp_path, 3)] == [f"checkpoint{e}.pt" for e in (10, 11, 12)]
