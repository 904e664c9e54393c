"""What a run shows: log lines, TensorBoard scalars, a bar on a terminal; and what is made of it afterwards."""

import fcntl
import os
import pty
import struct
import subprocess
import termios

import pytest
import torch

from ASDA.cli import average, plot
from ASDA.reports.run_logs import read_run

from .training_runs import Run, write_clips

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    return write_clips(tmp_path_factory.mktemp("clips"))


@pytest.fixture(scope="module")
def run(clips, tmp_path_factory):
    """Nine updates of pre-training with everything on that is on by default."""
    folder = tmp_path_factory.mktemp("run")
    saving = ("checkpoint.save_interval_updates=2", "checkpoint.keep_interval_updates=3")
    tensorboard = f"common.tensorboard_logdir={folder}/tensorboard"
    return Run(folder, clips, "optimization.max_update=9", *saving, tensorboard).finish()


def test_log__says_how_long_a_checkpoint_took_and_how_large_an_update_is(run):
    assert "writing took" in run.text
    assert "2 clips x 1 process(es) x update_freq 1 = 2 clips per update, but" in run.text
    assert "recipe for 48 (task.clips_per_update)" in run.text


def test_log__says_that_a_run_on_the_cpu_keeps_freed_memory(run):
    assert run.text.count("freed memory is kept for the next update") == 1


def test_checkpoints__of_intervals_are_kept_as_asked(run):
    kept = sorted(file.name for file in run.folder.glob("*.pt"))
    # 5 ends an epoch, which saves checkpoint_last.pt alone
    assert kept == ["checkpoint_1_4.pt", "checkpoint_2_6.pt", "checkpoint_2_8.pt", "checkpoint_last.pt"]


def test_tensorboard__has_the_scalars_of_the_log(run):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(run.folder / "tensorboard" / "train_inner")).Reload()
    wanted = {"loss", "loss_cls", "loss_IMAGE_regression", "pred_var", "target_var", "ema_decay", "lr_default", "gnorm"}
    assert wanted <= set(events.Tags()["scalars"])
    logged = {int(line["num_updates"]): float(line["loss"]) for line in run.log()}
    assert {event.step: event.value for event in events.Scalars("loss")} == pytest.approx(logged, abs=1e-3)


def test_plot__draws_a_real_run(run, capsys):
    assert plot.main([str(run.folder)]) == 0
    assert "loss, variance, learning rate, clips per second" in capsys.readouterr().out
    assert (run.folder / "curves.png").stat().st_size > 10_000


@pytest.mark.long
def test_plot__the_learning_rate_ends_where_the_schedule_ends(clips, tmp_path):
    settings = ("optimization.max_update=7", "common.log_interval=3", "common.log_format=simple")
    end = "optimizer.groups.default.lr_scheduler.min_lr=1e-5"
    run = Run(tmp_path, clips, *settings, end).finish()
    drawn = plot.panels(read_run(run.folder))
    assert max(drawn["loss"]["loss"]) == 6
    rates = drawn["learning rate"]["lr"]
    assert rates[7] == pytest.approx(1e-5) and max(rates) == 7
    assert sorted(rates.values(), reverse=True)[-1] == rates[7] < rates[6]
    last = run.checkpoint()["last_optimizer_state"]
    assert {group["lr"] for state in last.values() for group in state["param_groups"]} == {1e-5}


@pytest.mark.long
def test_average__is_a_checkpoint_that_fine_tuning_starts_from(run, clips, tmp_path):
    mean = tmp_path / "mean.pt"
    assert average.main([str(run.folder), "--last", "3", "--output", str(mean)]) == 0
    name = "blocks.1.mlp.fc2.weight"
    parts = [run.checkpoint(f"checkpoint_{part}.pt")["model"] for part in ("1_4", "2_6", "2_8")]
    averaged = torch.load(mean, weights_only=True)["model"]
    for find in (lambda model: model[name], lambda model: model["_ema"][name]):
        expected = torch.stack([find(part).double() for part in parts]).mean(dim=0).float()
        torch.testing.assert_close(find(averaged), expected, rtol=1e-6, atol=0)
    options = (f"model.model_path={mean}", "optimization.max_update=2", "dataset.disable_validation=true")
    started = Run(tmp_path / "finetuned", clips, *options, "optimization.lr=[0.0]", config="finetuning").finish()
    tensors = started.checkpoint()["model"]
    assert torch.equal(tensors[f"model.{name}"], averaged[name])


def test_best_checkpoint__is_chosen_by_the_first_validation_split(run, tmp_path):
    clips = write_clips(tmp_path / "clips", valid=True)
    options = (
        f"model.model_path={run.folder / 'checkpoint_last.pt'}",
        "dataset.valid_subset='valid,eval'",
        "dataset.validate_interval_updates=1",
        "checkpoint.save_interval_updates=1",
        "optimization.max_update=6",
        "optimization.lr=[0.01]",
    )
    finetuned = Run(tmp_path / "run", clips, *options, config="finetuning").finish()
    valid = [float(line["valid_mAP"]) for line in finetuned.log("valid")]
    reported = [float(line["eval_mAP"]) for line in finetuned.log("eval")]
    assert len(valid) == len(reported) == 6 and valid != reported
    best = finetuned.checkpoint("checkpoint_best.pt")
    assert best["extra_state"]["best"] == best["extra_state"]["val_loss"] == max(valid)
    # Of equals, fairseq keeps the last.
    assert best["optimizer_history"][-1]["num_updates"] == 6 - valid[::-1].index(max(valid))
    last = finetuned.checkpoint()["extra_state"]
    assert (last["best"], last["val_loss"]) == (max(valid), valid[-1])


@pytest.mark.long
def test_bar__is_on_a_terminal_only(run, clips, tmp_path):
    assert "update/s" not in run.text
    terminal, end = pty.openpty()
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    bar_run = Run(tmp_path, clips, "optimization.max_update=4", "common.log_format=json")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ASDA_PROBE": str(tmp_path)}
    command = [str(part) for part in bar_run.command]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=end, text=True) as process:
        os.close(end)
        shown = b""
        while True:
            try:
                part = os.read(terminal, 4096)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            shown += part
        output = process.stdout.read()
    os.close(terminal)
    assert process.returncode == 0, output[-3000:] + shown.decode()[-3000:]
    assert "4/4" in shown.decode() and "loss=" in shown.decode()
    assert output.count("[train_inner][INFO] - {") == 4  # whole lines, not through the bar
