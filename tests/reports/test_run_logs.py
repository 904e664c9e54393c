"""Reading logs: which lines count, and what a resumed run's lines replace."""

import pytest

from ASDA.reports.run_logs import LogError, read_run, read_series

LINES = [
    "[2026-11-21 03:00:00,000][fairseq.trainer][INFO] - begin training epoch 1\n",
    '[2026-11-21 03:00:01,000][train_inner][INFO] - {"epoch": 1, "loss": "4.5", "num_updates": "1", "note": "x"}\n',
    '[2026-11-21 03:00:02,000][train_inner][INFO] - {"epoch": 1, "loss": "nan", "num_updates": "2"}\n',
    '[2026-11-21 03:00:03,000][train_inner][INFO] - {"epoch": 1, "loss": "3.5", "num_updates": "3"}\n',
    '[2026-11-21 03:00:04,000][eval][INFO] - {"epoch": 1, "eval_mAP": "0.25", "eval_num_updates": "3"}\n',
    '[2026-11-21 03:00:05,000][train][INFO] - {"epoch": 1, "train_loss": "4", "train_num_updates": "3"}\n',
    '[2026-11-21 03:00:06,000][something][INFO] - {"no": "updates"}\n',
]


def test_read_series__sorts_lines_by_kind_and_drops_the_kind_from_names():
    run = read_series(LINES)
    assert set(run) == {"train_inner", "eval", "train"}
    assert run["train_inner"]["loss"][1] == 4.5 and run["train_inner"]["loss"][3] == 3.5
    assert run["train_inner"]["loss"][2] != run["train_inner"]["loss"][2]  # NaN stays NaN
    assert "note" not in run["train_inner"]
    assert run["eval"]["mAP"] == {3: 0.25}
    assert run["train"]["loss"] == {3: 4.0}


def test_read_series__a_resumed_run_replaces_what_was_lost():
    again = [line.replace('"3.5"', '"3.25"') for line in LINES[3:4]]
    before = [LINES[1].replace('"num_updates": "1"', '"num_updates": "2"').replace("4.5", "5")]
    losses = read_series([*LINES, *before, *again])["train_inner"]["loss"]
    assert losses == {1: 4.5, 2: 5.0, 3: 3.25}
    assert read_series([*LINES, *before])["train_inner"]["loss"] == {1: 4.5, 2: 5.0}


@pytest.mark.parametrize("name", ["train.log", "hydra_train.log"])
def test_read_run__finds_the_log(tmp_path, name):
    (tmp_path / name).write_text("".join(LINES))
    assert read_run(tmp_path)["eval"]["mAP"] == {3: 0.25}


def test_read_run__says_what_is_missing(tmp_path):
    with pytest.raises(LogError, match="holds no log of a run"):
        read_run(tmp_path)
    (tmp_path / "train.log").write_text(LINES[0])
    with pytest.raises(LogError, match="common.log_format=json or simple.* none with common.log_format=none"):
        read_run(tmp_path)


SIMPLE = [
    "[2026-11-21 03:00:01,000][train_inner][INFO] - epoch 001:      1 / 3 loss=4.5, lr_default=1e-05, num_updates=1\n",
    "[2026-11-21 03:00:02,000][train_inner][INFO] - epoch 001:      2 / 3 loss=nan, lr_default=2e-05, num_updates=2\n",
    "[2026-11-21 03:00:03,000][train_inner][INFO] - epoch 001:      3 / 3 loss=3.5, x=[1, 2], num_updates=3\n",
    "[2026-11-21 03:00:04,000][eval][INFO] - epoch 001 | valid on 'eval' subset | mAP 0.25 | num_updates 3\n",
    "[2026-11-21 03:00:05,000][train][INFO] - epoch 001 | loss 4 | lr_default 2e-05 | num_updates 3\n",
    "[2026-11-21 03:00:05,000][fairseq.data.iterators][INFO] - grouped total_num_itrs = 3\n",
    "[2026-11-21 03:00:06,000][fairseq_cli.train][INFO] - end of epoch 1 (average epoch stats below)\n",
]


def test_read_series__log_format_simple_is_read_as_json_is():
    run = read_series(SIMPLE)
    assert set(run) == {"train_inner", "eval", "train"}
    assert run["train_inner"]["loss"][1] == 4.5 and run["train_inner"]["loss"][3] == 3.5
    assert run["train_inner"]["loss"][2] != run["train_inner"]["loss"][2]
    assert run["train_inner"]["lr_default"] == {1: 1e-5, 2: 2e-5}
    assert run["eval"] == {"mAP": {3: 0.25}, "num_updates": {3: 3}}
    assert run["train"]["loss"] == {3: 4.0}


def test_read_series__a_run_that_went_on_in_another_format_is_one_run():
    losses = read_series([*LINES[1:3], *SIMPLE[1:3]])["train_inner"]["loss"]
    assert list(losses) == [1, 2, 3] and losses[3] == 3.5


def test_read_series__a_line_that_was_cut_off_is_passed_over():
    cut = '[2026-11-21 03:00:03,000][train_inner][INFO] - {"epoch": 1, "loss": "3}\n'
    assert read_series([LINES[1], cut]) == read_series([LINES[1]])


def test_read_series__splits_may_have_any_name():
    line = (
        '[2026-11-21 03:00:04,000][eval-2.b][INFO] - {"epoch": 1, "eval-2.b_mAP": "0.5", "eval-2.b_num_updates": "3"}\n'
    )
    assert read_series([line])["eval-2.b"]["mAP"] == {3: 0.5}
