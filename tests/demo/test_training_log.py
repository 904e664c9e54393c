"""Reading a run's log back, in the form that fairseq writes it."""

import pytest

from ASDA.demo.training_log import TrainingLog

LOG = """[2026-11-21 03:21:16,600][fairseq.optim.composite][INFO] - Group : default:{'_name': 'adam', 'lr': [0.002]}
[2026-11-21 03:21:16,601][fairseq_cli.train][INFO] - {'_name': None, 'common': {'seed': 1}}
[2026-11-21 03:21:37,304][train_inner][INFO] - {"epoch": 1, "update": 0.7, "loss": "27.5", "num_updates": "10"}
[2026-11-21 03:21:39,304][train_inner][INFO] - {"epoch": 2, "update": 1.4, "loss": "22.7", "num_updates": "20"}
[2026-11-21 03:21:41,981][train][INFO] - {"epoch": 2, "train_loss": "25.1", "train_num_updates": "20"}
[2026-11-21 03:21:42,981][valid][INFO] - {"epoch": 2, "valid_mAP": "0.31", "valid_num_updates": "20"}
"""


@pytest.fixture
def log(tmp_path):
    (tmp_path / "train.log").write_text(LOG)
    return TrainingLog.read(tmp_path / "train.log")


@pytest.mark.parametrize(
    ("stage", "key", "updates", "values"),
    [
        ("train_inner", "loss", [10, 20], [27.5, 22.7]),
        ("train", "loss", [20], [25.1]),
        ("valid", "mAP", [20], [0.31]),
    ],
)
def test_curve__finds_the_numbers_of_a_stage(log, stage, key, updates, values):
    curve = log.curve(stage, key)
    assert (curve.updates, curve.values) == (updates, values)


def test_curve__unknown_key_is_named(log):
    with pytest.raises(KeyError, match="no valid_accuracy in its lines of valid"):
        log.curve("valid", "accuracy")


def test_read__a_log_without_results_is_refused(tmp_path):
    (tmp_path / "train.log").write_text("[2026-11-21 03:21:16,600][fairseq_cli.train][INFO] - loading\n")
    with pytest.raises(ValueError, match="train.log: holds no line of training results"):
        TrainingLog.read(tmp_path / "train.log")
