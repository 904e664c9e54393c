"""What happens in days of training, done to a run on purpose. docs/training.md says what to expect."""

import os
import re
import resource
import select
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch

from ASDA.training.stopping import EXIT_STOPPED

from .training_runs import Run, difference, resume_from, updates_done, write_clips

pytestmark = [pytest.mark.slow, pytest.mark.long]
# Five updates an epoch. A gap of 21 between checkpoints leaves seconds to do something to a run in.
LONG = ("optimization.max_update=60", "checkpoint.save_interval=1000")
SAVING = (*LONG, "checkpoint.save_interval_updates=21", "checkpoint.keep_interval_updates=-1")
NOT_SAVING = (*LONG, "checkpoint.save_interval_updates=0")


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    return write_clips(tmp_path_factory.mktemp("clips"))


@pytest.fixture(scope="module")
def whole(clips, either, tmp_path_factory):
    """A run without a fault."""
    run = Run(tmp_path_factory.mktemp("whole"), clips, *SAVING, config=either).finish()
    assert sorted(file.name for file in run.folder.glob("*.pt")) == [
        "checkpoint_5_21.pt",
        "checkpoint_9_42.pt",
        "checkpoint_last.pt",
    ]
    return run


# -- killed while a checkpoint is being written


@pytest.mark.parametrize("written", ["checkpoint_9_42.pt", "checkpoint_last.pt"])
def test_sigkill__while_a_checkpoint_is_written_leaves_the_one_before(whole, clips, either, tmp_path, written):
    resume_from(whole.folder / "checkpoint_5_21.pt", tmp_path)
    run = Run(tmp_path, clips, *SAVING, config=either).start()
    # A pipe in place of the file that is written to: the run stands still in the middle of writing. It is put there
    # when the run is under way, since a run starts with removing what an earlier one has left half-written.
    run.wait_until(lambda: updates_done(run) > 0)
    os.mkfifo(tmp_path / f"{written}.tmp")
    pipe = os.open(tmp_path / f"{written}.tmp", os.O_RDONLY | os.O_NONBLOCK)
    run.wait_until(lambda: b"PK" in (os.read(pipe, 1000) if can_read(pipe) else b""))
    run.kill()
    os.close(pipe)
    assert max(run.records()) == 42
    assert difference(run.checkpoint(), whole.checkpoint("checkpoint_5_21.pt")) == []
    resumed = Run(tmp_path, clips, *SAVING, config=either).finish()
    assert "had not finished writing" in resumed.text
    assert not list(tmp_path.glob("*.tmp"))
    assert difference(resumed.checkpoint(), whole.checkpoint()) == []


def can_read(pipe: int) -> bool:
    return bool(select.select([pipe], [], [], 0)[0])


# -- asked to stop


def updates_in(checkpoint: dict) -> int:
    return checkpoint["optimizer_history"][-1]["num_updates"]


def assert_stopped_and_continues_without_a_trace(run, whole):
    assert run.wait() == EXIT_STOPPED, run.text[-3000:]
    stopped = run.checkpoint()
    assert 2 <= updates_in(stopped) < 60
    assert f"stopping after update {updates_in(stopped)}" in run.text
    assert stopped["cfg"]["checkpoint"]["save_interval_updates"] == 0  # the run's own setting
    assert [file.name for file in run.folder.glob("*.pt")] == ["checkpoint_last.pt"]
    resumed = run.again().finish()
    assert difference(resumed.checkpoint(), whole.checkpoint()) == []


def test_sigterm__to_all_processes_of_a_run_with_workers_saves_first(whole, clips, either, tmp_path):
    run = Run(tmp_path, clips, *NOT_SAVING, "dataset.num_workers=2", config=either).start()
    run.wait_until(lambda: updates_done(run) >= 2)
    os.killpg(run.process.pid, signal.SIGTERM)
    assert_stopped_and_continues_without_a_trace(run, whole)


def test_sigusr1__saves_first(whole, clips, either, tmp_path):
    run = Run(tmp_path, clips, *NOT_SAVING, config=either).start()
    run.wait_until(lambda: updates_done(run) >= 2)
    run.process.send_signal(signal.SIGUSR1)
    assert_stopped_and_continues_without_a_trace(run, whole)


@pytest.mark.parametrize("stop", [signal.SIGUSR1, signal.SIGTERM])
def test_signal__to_the_launcher_of_two_processes_stops_both_at_the_same_update(clips, tmp_path, stop):
    stop_by_signal(Run(tmp_path, clips, *NOT_SAVING, processes=2), stop)


def test_signal__to_the_launcher_of_three_processes_leaves_no_trace(tmp_path):
    """Of three numbers the sum depends on its order, see `rehearse` in run/data_parallel.py."""
    clips = write_clips(tmp_path / "clips", train=12)  # each process has a batch in each update
    whole = Run(tmp_path / "whole", clips, *NOT_SAVING, processes=3).finish()
    run = stop_by_signal(Run(tmp_path / "stopped", clips, *NOT_SAVING, processes=3), signal.SIGTERM)
    assert_stopped_and_continues_without_a_trace(run, whole)
    for rank in range(3):
        assert run.records(rank) == whole.records(rank)


def stop_by_signal(run: Run, stop: signal.Signals) -> Run:
    """Sends the launcher of several processes a signal, and sees to it that all end after the same update."""
    run.start().wait_until(lambda: updates_done(run) >= 2)
    run.process.send_signal(stop)
    assert run.wait() == EXIT_STOPPED, run.text[-3000:]
    done = updates_in(run.checkpoint())
    others = [run.records(rank) for rank in range(1, run.num_processes)]
    assert others
    for other in others:
        assert max(run.records(0)) == max(other) == done < 60
        assert run.records(0)[done]["weights"] == other[done]["weights"]
    return run


def test_ctrl_c__to_a_run_and_its_workers_saves_first(whole, clips, either, tmp_path):
    run = Run(tmp_path, clips, *NOT_SAVING, "dataset.num_workers=2", config=either).start()
    run.wait_until(lambda: updates_done(run) >= 2)
    os.killpg(run.process.pid, signal.SIGINT)
    assert_stopped_and_continues_without_a_trace(run, whole)
    assert "Ctrl-C again ends at once" in run.text


def test_ctrl_c__to_the_launcher_of_two_processes_saves_first(clips, tmp_path):
    run = Run(tmp_path, clips, *NOT_SAVING, processes=2).start()
    run.wait_until(lambda: updates_done(run) >= 2)
    os.killpg(run.process.pid, signal.SIGINT)
    assert run.wait() == EXIT_STOPPED, run.text[-3000:]
    assert updates_in(run.checkpoint()) == max(run.records(1)) < 60


@pytest.mark.parametrize("processes", [1, 2])
def test_ctrl_c__a_second_time_ends_at_once(clips, tmp_path, processes):
    """The run stands still in an update, as in a collective operation that never ends, and so cannot save."""
    run = Run(tmp_path, clips, *NOT_SAVING, processes=processes)
    run.start(environment={"ASDA_FAULT": "0 3 stand still"})
    run.wait_until(lambda: updates_done(run) >= 2)
    os.killpg(run.process.pid, signal.SIGINT)
    run.wait_until(lambda: "Ctrl-C again ends at once" in run.text)
    os.killpg(run.process.pid, signal.SIGINT)
    assert run.wait(20) in (-signal.SIGINT, 130)
    assert not list(tmp_path.glob("*.pt"))


# -- one process fails


def assert_all_end_with_the_reason(run, failed, reason):
    assert run.wait() == 1, run.text[-3000:]
    fault = run.folder / "fault"
    assert not fault.exists() or time.time() - fault.stat().st_mtime < 60
    assert f"process {1 - failed} ends because process {failed} failed" in run.text or (
        f"process {failed} failed, and so all end: " in run.text
    )
    assert reason in run.text


@pytest.mark.parametrize(
    ("failed", "text", "reason"),
    [(1, "the sky falls", "RuntimeError: the sky falls"), (0, "CUDA out of memory. Tried", "Set a smaller BATCH_SIZE")],
)
def test_error__of_one_process_ends_both_with_its_reason(clips, tmp_path, failed, text, reason):
    run = Run(tmp_path, clips, *NOT_SAVING, processes=2)
    assert_all_end_with_the_reason(run.start(environment={"ASDA_FAULT": f"{failed} 3 {text}"}), failed, reason)
    assert updates_done(run) == 2


def test_kill__of_one_process_ends_both(clips, tmp_path):
    run = Run(tmp_path, clips, *NOT_SAVING, processes=2).start()
    run.wait_until(lambda: updates_done(run) >= 2)
    os.kill(children_of(run.process.pid)[1], signal.SIGKILL)
    assert_all_end_with_the_reason(run, 1, "it ended without a word")


def test_out_of_memory__ends_a_run_of_one_process_too(clips, tmp_path):
    run = Run(tmp_path, clips, *NOT_SAVING).start(environment={"ASDA_FAULT": "0 3 CUDA out of memory. Tried"})
    assert run.wait() == 1
    assert "ran out with a batch of 2 clips. Set a smaller BATCH_SIZE" in run.text and updates_done(run) == 2


# -- nowhere to save


def assert_refused_before_training(run, *messages):
    assert run.wait() not in (0, EXIT_STOPPED)
    assert all(message in run.text for message in messages), run.text[-3000:]
    assert updates_done(run) == 0


def in_namespace(mount: str, folder: Path) -> list[str]:
    """A command's prefix that gives it a file system of its own in ``folder``."""
    prefix = ["unshare", "-rm", "sh", "-c", f'{mount} "$0" && exec "$@"', str(folder)]
    if shutil.which("unshare") is None or subprocess.run([*prefix, "true"], capture_output=True).returncode:
        pytest.skip("this machine lets nobody but its administrator mount a file system")
    return prefix


@pytest.mark.parametrize(
    "mount, message",
    [
        ("mount -t tmpfs -o size=1000k tmpfs", "checkpoints cannot be written"),
        ("mount -t tmpfs -o ro tmpfs", "Read-only file system"),
    ],
    ids=["full", "read-only"],
)
def test_save_folder__full_or_read_only_is_refused_before_training(clips, tmp_path, mount, message):
    save_dir = tmp_path / "small"
    save_dir.mkdir()
    run = Run(tmp_path / "run", clips, f"checkpoint.save_dir={save_dir}")
    run.command[:0] = in_namespace(mount, save_dir)
    assert_refused_before_training(run.start(), message, str(save_dir))


def test_save_folder__beyond_a_quota_is_refused_before_training(clips, tmp_path):
    def quota():  # the nearest thing that needs no administrator: no file may get larger
        resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))

    run = Run(tmp_path, clips).start(preexec_fn=quota)
    assert_refused_before_training(run, "checkpoints cannot be written", str(tmp_path))


# -- NaN


def silent_clips_and_loud_ones(folder: Path, loud: set) -> Path:
    """Ten clips of 2 s, no shorter than the window; with ``OVERFLOWING`` silence is 0, anything else infinite."""
    write_clips(folder)
    for clip in range(10):
        samples = np.random.default_rng(clip).normal(0, 0.1, 32_000) if clip in loud else np.zeros(32_000)
        sf.write(folder / f"train{clip}.wav", samples, 16_000)
    manifest = folder / "train.tsv"
    manifest.write_text(manifest.read_text().replace("\t16000", "\t32000"))
    return folder


SILENCE = np.log(np.finfo(np.float32).eps)  # what the front end makes of it
OVERFLOWING = (f"task.norm_mean={SILENCE}", "task.norm_std=1e-38", "optimization.max_update=6")


@pytest.mark.parametrize("processes", [1, 2])
def test_nan__leaves_the_update_out_and_counts_it(tmp_path, processes, either):
    data = silent_clips_and_loud_ones(tmp_path / "clips", loud={3})
    run = Run(tmp_path / "run", data, *OVERFLOWING, processes=processes, config=either).finish()
    for rank in range(processes):
        records = run.records(rank)
        left_out = [
            update
            for update in range(2, 7)
            if records[update]["weights"] == records[update - 1]["weights"]
            and records[update]["teacher"] == records[update - 1]["teacher"]
        ]
        batches = {u: [b for r in range(processes) for b in run.records(r)[u]["batches"]] for u in range(1, 7)}
        loud = [update for update in batches if any(3 in batch["clips"] for batch in batches[update])]
        assert left_out == [update for update in loud if update > 1]
        assert [records[update]["followed_updates"] for update in sorted(records)] == [1, 2, 3, 4, 5, 6]
    assert sum(float(line["skipped_updates"]) for line in run.log()) == len(loud) > 0
    left_out = re.findall(r"is left out: its .* \((.*)\)", run.text)
    assert left_out == ["train.tsv:5"] * len(loud)  # where clip 3 stands, and none of those beside it
    told = (processes - 1) * len(loud) if either == "pretraining_AS2M" else 0  # by statistics of all processes
    assert run.text.count("the clip is in another one's batch") == told
    assert all(np.isfinite(float(line["train_loss"])) for line in run.log("train"))
    assert all(t.isfinite().all() for t in run.checkpoint()["model"].values() if isinstance(t, torch.Tensor))


def test_nan__in_a_gradient_alone_leaves_the_update_out_on_all_processes(clips, either, tmp_path):
    options = ("optimization.max_update=4", "optimization.update_freq=[2]")
    run = Run(tmp_path, clips, *options, processes=2, config=either)
    run.start(environment={"ASDA_FAULT": "1 3 gradient"})
    assert run.wait() == 0, run.text[-3000:]
    for rank in (0, 1):
        records = run.records(rank)
        assert [records[n]["weights"] == records[n - 1]["weights"] for n in (2, 3, 4)] == [False, True, False]
        assert records[4]["weights"] == run.records(0)[4]["weights"]
    assert "update 3 is left out: the gradient, summed over all processes, is not finite" in run.text
    assert sum(float(line["skipped_updates"]) for line in run.log()) == 1


@pytest.mark.parametrize("processes", [1, 2])
def test_nan__in_every_update_stops_the_run(tmp_path, either, processes):
    data = silent_clips_and_loud_ones(tmp_path / "clips", loud=set(range(10)))
    options = (*OVERFLOWING, "task.max_skipped_updates=2")
    run = Run(tmp_path / "run", data, *options, processes=processes, config=either).start()
    assert run.wait() not in (0, EXIT_STOPPED)
    assert "3 updates in a row, up to update 3" in run.text
    assert updates_done(run) == 2  # the third raised before it could be written down
    assert not (tmp_path / "run" / "checkpoint_last.pt").exists()


def test_nan__in_a_validation_is_named_and_the_run_saves(whole, tmp_path):
    """One of five clips has no finite scores, and neither has the mAP of a validation of that clip alone."""
    data = silent_clips_and_loud_ones(tmp_path / "clips", loud=set())
    for clip in range(5):
        samples = np.random.default_rng(0).normal(0, 0.1, 32_000) if clip == 2 else np.zeros(32_000)
        sf.write(data / f"eval{clip}.wav", samples, 16_000)
    (data / "alone.tsv").write_text(f"{data}\neval2.wav\t32000\n")
    (data / "alone.lbl").write_text((data / "eval.lbl").read_text().splitlines()[2] + "\n")
    options = (*OVERFLOWING, f"model.model_path={whole.folder / 'checkpoint_last.pt'}", "model.mixup=0")
    options += ("model.prediction_mode=MEAN_POOLING",)
    options += (
        "model.specaug=false",
        "task.roll_aug=false",
        "dataset.valid_subset='alone,eval'",
    )
    run = Run(tmp_path / "run", data, *options, config="finetuning").finish()
    assert "1 clips of eval have scores that are not finite" in run.text and "eval.tsv:4" in run.text
    last = run.log("eval")[-1]
    assert (last["eval_clips"], last["eval_not_finite"]) == ("4", "1") and 0 < float(last["eval_mAP"]) <= 1
    assert run.log("alone")[-1]["alone_mAP"] is None
    assert "has no mAP: it is nan" in run.text
    assert updates_in(run.checkpoint()) == 6 and run.checkpoint()["extra_state"]["val_loss"] is None
    assert not (run.folder / "checkpoint_best.pt").exists()


def test_bad_clips__of_two_processes_stop_both_by_their_number_together(tmp_path):
    data = write_clips(tmp_path / "clips", train=20)
    for clip in (0, 5, 10, 15):
        (data / f"train{clip}.wav").write_bytes(b"RIFF not audio")
    options = ("task.max_bad_fraction=0.15", "optimization.max_update=100")
    run = Run(tmp_path / "run", data, *options, processes=2).start()
    assert run.wait() == 1
    assert "4 of the 20 clips" in run.text and "max_bad_fraction = 0.15" in run.text
    assert updates_done(run) <= 5  # an epoch


# -- a data-loader worker dies


def children_of(process: int) -> list[int]:
    tasks = Path(f"/proc/{process}/task").glob("*/children")
    return [int(child) for file in tasks for child in file.read_text().split()]


def test_dead_worker__ends_the_run_with_a_clear_error_and_the_run_can_be_resumed(clips, whole, either, tmp_path):
    run = Run(tmp_path, clips, *SAVING, "dataset.num_workers=2", config=either).start()
    run.wait_until(lambda: (tmp_path / "checkpoint_last.pt").exists() and children_of(run.process.pid))
    for worker in children_of(run.process.pid):
        os.kill(worker, signal.SIGKILL)
    assert run.wait(120) == 1
    assert "DataLoader worker" in run.text
    resumed = Run(tmp_path, clips, *SAVING, "dataset.num_workers=2", config=either).finish()
    assert difference(resumed.checkpoint(), whole.checkpoint()) == []


# -- a damaged checkpoint


def truncated(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def one_bit_off(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("harm", [truncated, one_bit_off])
def test_damaged_checkpoint__is_refused_and_the_newest_whole_one_is_named(whole, clips, either, tmp_path, harm):
    for file in whole.folder.glob("*.pt"):
        shutil.copy(file, tmp_path)
    harm(tmp_path / "checkpoint_9_42.pt")
    harm(tmp_path / "checkpoint_last.pt")
    before = (tmp_path / "checkpoint_last.pt").read_bytes()
    run = Run(tmp_path, clips, *SAVING, config=either).start()
    older = tmp_path / "checkpoint_5_21.pt"
    advice = f"cp {older} {tmp_path / 'checkpoint_last.pt'}"
    assert_refused_before_training(run, "is damaged", f"{older} (update 21)", advice)
    assert (tmp_path / "checkpoint_last.pt").read_bytes() == before
    subprocess.run(advice, shell=True, check=True)
    assert difference(Run(tmp_path, clips, *SAVING, config=either).finish().checkpoint(), whole.checkpoint()) == []


# -- a schedule that never reaches its learning rate, or that fairseq would divide by zero with, before saving


@pytest.mark.parametrize("warmup", [4, 6000])
def test_schedule__that_is_all_warm_up_is_refused_before_training(clips, tmp_path, warmup):
    overrides = ("optimization.max_update=4", f"optimizer.groups.default.lr_scheduler.warmup_updates={warmup}")
    run = Run(tmp_path, clips, *overrides).start()
    assert_refused_before_training(run, f"warmup_updates={warmup} leaves nothing of optimization.max_update=4")
