"""asda-extract on a Ray cluster: the same as without one, to the bit. One cluster of this machine serves the module."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from ASDA.audio.front_end import FrontEnd
from ASDA.cli.extract import main
from ASDA.inference.clips import Clip
from ASDA.inference.features import FeatureSpec
from ASDA.inference.ray_cluster import ClusterError, Workers, connected
from ASDA.inference.ray_run import run_clips_on_ray
from ASDA.inference.ray_worker import Work
from ASDA.inference.windows import Windowing

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def cluster():
    """Connects to a cluster that is started here; the program uses a connection that is there."""
    pytest.importorskip("ray.data", reason="a cluster takes ray")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")  # the program alone and a worker compute with as many threads
        patch.setenv("RAY_worker_niceness", "0")  # on a busy machine its workers would get no core
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        with connected("local", 2):
            yield
        torch.set_num_threads(threads)


@pytest.fixture
def clips(tmp_path):
    """Clips of several lengths in folders whose names are no plain words, three of them no audio."""
    folder = tmp_path / "a corpus ü"
    for number in range(21):
        path = folder / ("same name", "ö", "z")[number % 3] / f"clip {number // 3}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        samples = 0.1 * np.random.default_rng(number).standard_normal(4_000 + 1_900 * number)
        soundfile.write(path, samples, 16_000)
    (folder / "ö" / "clip 3.wav").write_bytes(b"")
    (folder / "ö" / "text.wav").write_text("no audio\n")
    (folder / "z" / "clip 5.wav").write_bytes((folder / "z" / "clip 5.wav").read_bytes()[:9_000])
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.suffix == ".npy"
    }


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize(
    "flags",
    [
        ("--padding", "mask", "--timestamps", "--layers", "1,2"),
        ("--long", "windows", "--target_length", 48, "--half", "--granularity", "frame"),
    ],
    ids=["mask", "windows-half"],
)
def test_extract_ray__equals_the_program_alone_to_the_bit(flags, tmp_path, clips, models, run):
    common = [clips, "--checkpoint", models.pretrained, "--batch_size", 2, *flags]
    alone = run(main, *common, "--output", tmp_path / "alone")
    spread = run(main, *common, "--output", tmp_path / "spread", "--ray", "auto", "--ray-workers", 2, "--ray-cpus", 1)
    assert alone.code == spread.code == 2 and spread.out == ""
    assert contents(tmp_path / "spread") == contents(tmp_path / "alone") and contents(tmp_path / "alone")
    lists = [(tmp_path / name / "errors.tsv").read_text() for name in ("alone", "spread")]
    assert lists[0] == lists[1] and len(lists[0].splitlines()) == 3
    assert "2 workers with 1 CPU each" in spread.err and "3 of 22 clips could not be read" in spread.err
    remarks = [line for line in alone.err.splitlines() if "are longer than the window" in line]
    assert [line for line in spread.err.splitlines() if "are longer than the window" in line] == remarks


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.usefixtures("cluster")
def test_extract_ray__parquet_as_source_and_output_and_resuming(tmp_path, clips, models, run):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    files = sorted(clips.rglob("*.wav"))
    audio = [{"bytes": path.read_bytes(), "path": path.name} for path in files]
    pq.write_table(pa.table({"audio": [*audio, None]}), tmp_path / "shard.parquet")
    common = [tmp_path / "shard.parquet", "--checkpoint", models.pretrained, "--batch_size", 1]
    assert run(main, *common, "--output", tmp_path / "alone.parquet").code == 2
    on_ray = [*common, "--output", tmp_path / "spread.parquet", "--ray", "auto", "--ray-workers", 2, "--ray-cpus", 1]
    assert run(main, *on_ray).code == 2
    alone, spread = (pq.read_table(tmp_path / f"{name}.parquet").sort_by("clip") for name in ("alone", "spread"))
    assert spread.equals(alone) and spread.num_rows == len(files) + 1
    assert sum(error is not None for error in spread["error"].to_pylist()) == 4
    again = run(main, *on_ray, "--resume")
    assert again.code == 2 and "19 of 23 clips are done already" in again.err
    assert pq.read_table(tmp_path / "spread.parquet").sort_by("clip").equals(spread)
    refused = run(main, *on_ray, "--resume", "--granularity", "frame")
    assert refused.code == 1 and "granularity was all, now frame" in refused.err


def skip_if_ray_is_too_slow(said: str) -> None:
    """Ray gives its processes half a minute to start, which on a busy machine is too little."""
    if "Ray does not start here" in said:
        pytest.skip("Ray has not started on this machine within its own limit")


class Failing(torch.nn.Module):
    """An encoder that is none."""


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.usefixtures("cluster")
def test_extract_ray__a_worker_that_fails_ends_the_run_in_one_line(clips):
    found = [Clip(str(path), path.name) for path in clips.rglob("clip 0.wav")]
    work = Work(Failing(), FeatureSpec(), Windowing(FrontEnd(target_length_frames=64)), False, 2, 8, 1, 1, 32_000)
    with pytest.raises(ClusterError, match="^the cluster failed: .*Failing") as caught:
        list(run_clips_on_ray(work, found, range(len(found)), Workers(1, 1, 0)))
    assert "\n" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_extract_ray__a_run_that_ends_early_goes_on_where_it_was(number, tmp_path, models):
    """Started as a user starts it: with its own cluster, ended in the middle, resumed."""
    pytest.importorskip("ray.data", reason="a cluster takes ray")
    folder = tmp_path / "in"
    folder.mkdir()
    for clip in range(240):
        samples = 0.1 * np.random.default_rng(clip).standard_normal(16_000 * 3)
        soundfile.write(folder / f"{clip}.wav", samples, 16_000)
    command = [sys.executable, "-m", "ASDA.cli.extract", folder, "--checkpoint", models.pretrained, "--batch_size", 1]
    settings = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "RAY_worker_niceness": "0"}
    command = [str(word) for word in command]
    alone = subprocess.run([*command, "--output", str(tmp_path / "alone")], env=settings, capture_output=True)
    assert alone.returncode == 0
    on_ray = [*command, "--output", str(tmp_path / "out"), "--ray", "local", "--ray-cpus", "1"]
    with subprocess.Popen(on_ray, env=settings, start_new_session=True, stderr=subprocess.PIPE, text=True) as process:
        until = time.monotonic() + 400
        while process.poll() is None and len(contents(tmp_path / "out")) < 10 and time.monotonic() < until:
            time.sleep(0.05)
        if process.poll() is None:
            os.killpg(process.pid, number)
        _, said = process.communicate(timeout=120)
    skip_if_ray_is_too_slow(said)
    early = contents(tmp_path / "out")
    assert 10 <= len(early) < 240
    if number == signal.SIGINT:
        assert process.returncode == 130 and "asda-extract: interrupted" in said and "Traceback" not in said
    again = subprocess.run([*on_ray, "--resume"], env=settings, capture_output=True, text=True)
    skip_if_ray_is_too_slow(again.stderr)
    assert again.returncode == 0, again.stderr
    assert f"{len(early)} of 240 clips are done already" in again.stderr
    assert contents(tmp_path / "out") == contents(tmp_path / "alone")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--ray-workers", "2"], "--ray-workers goes with --ray"),
        (["--ray-cpus", "2"], "--ray-cpus goes with --ray"),
        (["--ray", "auto", "--shard", "1/2"], "--shard does not go with it"),
        (["--ray", "auto", "--device", "cuda:1"], "Ray chooses the GPU"),
        (["--ray", ""], "expected an address"),
        (["--ray", "auto", "--ray-workers", "0"], "at least 1"),
    ],
)
def test_extract_ray__flags_that_would_do_nothing_are_refused(flags, message, models, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["in", "--output", "out", "--checkpoint_dir", str(models.finetuned), *flags])
    assert caught.value.code == 2 and message in capsys.readouterr().err


def test_extract_ray__one_clip_is_no_work_for_a_cluster(models, capsys):
    flags = ["--source_file", "a.wav", "--target_file", "a.npy", "--ray", "auto"]
    with pytest.raises(SystemExit):
        main([*flags, "--checkpoint_dir", str(models.finetuned)])
    assert "--ray spreads several clips" in capsys.readouterr().err


def test_extract_ray__without_a_cluster_an_earlier_output_stays(tmp_path, corpus, models, run, monkeypatch):
    def nobody(*_):
        raise ClusterError("--ray head:6379: no cluster can be reached there (nobody)")

    flags = [corpus, "--output", tmp_path / "out", "--checkpoint", models.finetuned, "--granularity", "utterance"]
    assert run(main, *flags).code == 0
    before = contents(tmp_path / "out")
    monkeypatch.setattr("ASDA.cli._cluster_flags.connected", nobody)
    result = run(main, *flags, "--ray", "head:6379")
    said = "asda-extract: error: --ray head:6379: no cluster can be reached there (nobody)\n"
    assert result.code == 1 and result.err == said
    assert contents(tmp_path / "out") == before and len(before) == 9
