"""asda-plot: what is drawn, and the file."""

import pytest

from ASDA.cli.plot import main, panels


def line(kind: str, **values) -> str:
    body = ", ".join(f'"{name}": "{value}"' for name, value in values.items())
    return f"[2026-11-21 03:00:00,000][{kind}][INFO] - {{{body}}}\n"


@pytest.fixture
def run_dir(tmp_path):
    lines = [
        line(
            "train_inner",
            num_updates=update,
            loss=5 / update,
            loss_cls=2 / update,
            pred_var=0.5,
            target_var=0.9,
            lr_default=1e-4 * update,
            clips_per_s=20,
        )
        for update in range(1, 40)
    ]
    lines += [line("eval", eval_num_updates=update, eval_mAP=update / 40) for update in (10, 20)]
    (tmp_path / "train.log").write_text("".join(lines))
    return tmp_path


def test_plot__draws_what_the_log_has(run_dir, capsys):
    assert main([str(run_dir)]) == 0
    png = run_dir / "curves.png"
    assert png.read_bytes().startswith(b"\x89PNG") and png.stat().st_size > 10_000
    assert "loss, variance, learning rate, clips per second, mAP" in capsys.readouterr().out


def test_panels__leave_out_what_a_run_does_not_have():
    run = {"train_inner": {"loss": {1: 2.0}}, "valid": {"accuracy": {1: 0.5}}, "test": {"accuracy": {1: 0.25}}}
    assert panels(run) == {
        "loss": {"loss": {1: 2.0}},
        "accuracy": {"test": {1: 0.25}, "valid": {1: 0.5}},
    }


def test_plot__of_a_folder_without_a_run_is_one_line_of_error(tmp_path, capsys):
    assert main([str(tmp_path), "--output", str(tmp_path / "a.png")]) == 1
    assert "holds no log of a run" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_panels__the_learning_rate_goes_on_to_the_end_of_the_run():
    run = {
        "train_inner": {"loss": {10: 2.0, 20: 1.0}, "lr_default": {10: 1e-3, 20: 1e-4}},
        "train": {"loss": {7: 2.0, 24: 1.5}, "lr_default": {7: 7e-4, 24: 1e-6}},
    }
    drawn = panels(run)
    assert list(drawn["learning rate"]["lr"].items()) == [(7, 7e-4), (10, 1e-3), (20, 1e-4), (24, 1e-6)]
    assert drawn["loss"]["loss"] == {10: 2.0, 20: 1.0}, "a mean over an epoch is no point among those of intervals"


def test_plot__of_a_log_without_lines_within_epochs_says_so_and_draws_epochs(tmp_path, capsys):
    prefix = "[2026-11-21 03:00:00,000][train][INFO] - epoch 001"
    (tmp_path / "train.log").write_text(f"{prefix} | loss 4.5 | lr_default 1e-05 | num_updates 7\n")
    assert main([str(tmp_path)]) == 0
    printed = capsys.readouterr()
    assert "loss, learning rate" in printed.out and "no line within an epoch" in printed.err


def test_plot__of_a_log_without_numbers_names_the_formats_that_have_them(tmp_path, capsys):
    (tmp_path / "train.log").write_text("[2026-11-21 03:00:00,000][fairseq.trainer][INFO] - begin training epoch 1\n")
    assert main([str(tmp_path)]) == 1
    assert "common.log_format=json or simple" in capsys.readouterr().err


def test_plot__of_several_runs_is_one_picture(run_dir, tmp_path, capsys, monkeypatch):
    other = tmp_path / "other"
    other.mkdir()
    (other / "train.log").write_text((run_dir / "train.log").read_text())
    monkeypatch.chdir(tmp_path)
    assert main([str(run_dir), str(other)]) == 0
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert "curves.png: loss, learning rate, clips per second, mAP" in capsys.readouterr().out


def test_panels__of_one_among_several_runs_hold_what_can_be_compared():
    run = {"train_inner": {"loss": {1: 2.0}, "loss_cls": {1: 1.0}, "pred_var": {1: 0.1}}, "valid": {"loss": {1: 3.0}}}
    assert panels(run, alone=False) == {"loss": {"loss": {1: 2.0}, "valid loss": {1: 3.0}}}
    assert panels(run)["loss"] == {"loss": {1: 2.0}, "utterance loss": {1: 1.0}, "valid loss": {1: 3.0}}
