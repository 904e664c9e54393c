"""Nothing that is not a program's own is replaced or removed; how programs end."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import ASDA
from ASDA.atomic import OutputLock
from ASDA.cli import average, convert, evaluate, extract, infer, manifest, plot
from ASDA.inference import load_classifier
from tests.published_files import published_finetuned

REPOSITORY = Path(__file__).resolve().parents[2]
PROGRAMS = {
    "asda-average": average,
    "asda-convert": convert,
    "asda-eval": evaluate,
    "asda-extract": extract,
    "asda-infer": infer,
    "asda-manifest": manifest,
    "asda-plot": plot,
}
# Files that somebody may name by mistake.
FOREIGN = {
    "list": "a.wav\nb.wav\n",
    "manifest": "/data\na.wav\t16000\nb.wav\t16000\n",
    "labels": "a\tdog bark\nb\train\n",
    "an older kind of list": "a.wav\tno such file\n",
    "one line more": "a.wav\tleft out: no such file\nmy notes\n",
    "table": "index,mid,display_name\n0,/m/0,dog\n",
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs__say_their_version(name, capsys):
    with pytest.raises(SystemExit) as caught:
        PROGRAMS[name].main(["--version"])
    assert caught.value.code == 0 and capsys.readouterr().out == f"{name} {ASDA.__version__}\n"


def test_manifest__a_sub_command_has_its_own_version_and_both_spellings(tmp_path, run):
    result = run(manifest.main, "speechcommands", tmp_path / "absent", "--out", tmp_path / "out", "--version", 1)
    assert result.code == 1 and "absent" in result.err
    result = run(manifest.main, "folder", tmp_path, "--out", tmp_path / "out", "--label_table", tmp_path / "absent.csv")
    assert result.code == 1 and "absent.csv: no such label table" in result.err


# ---- lists of clips, tables, curves ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", FOREIGN)
def test_errors__another_file_is_refused_before_any_work(tmp_path, run, kind):
    (tmp_path / "mine").write_text(FOREIGN[kind])
    for program, inputs in {
        infer: [tmp_path / "a.wav"],
        extract: [tmp_path / "a.wav", "--output", tmp_path / "f"],
    }.items():
        result = run(program.main, *inputs, "--checkpoint", tmp_path / "absent.pt", "--errors", tmp_path / "mine")
        assert result.code == 1 and f"{tmp_path}/mine: exists and is not a list" in result.err
        assert len(result.err.splitlines()) == 1
    assert (tmp_path / "mine").read_text() == FOREIGN[kind] and os.listdir(tmp_path) == ["mine"]


def test_errors__own_lists_are_replaced_and_removed_but_links_stay(tmp_path, corpus, models, run):
    (tmp_path / "link").symlink_to("list")
    (corpus / "clip_0.wav").write_text("no audio")
    for name in ("list", "link"):
        flags = ["--checkpoint", models.finetuned, "--errors", tmp_path / name]
        for bad in (["clip_0.wav"], ["clip_0.wav", "absent.wav"]):
            assert run(infer.main, *(corpus / clip for clip in bad), corpus / "clip_4.wav", *flags).code == 2
            lines = (tmp_path / "list").read_text().splitlines()
            assert [line.split("\t")[0] for line in lines] == [str(corpus / clip) for clip in bad]
            assert all(line.split("\t")[1].startswith("left out: ") for line in lines)
        assert run(infer.main, corpus / "clip_4.wav", *flags).code == 0
        assert (tmp_path / "list").exists() == (name == "link")  # emptied, as the link is the user's
    assert (tmp_path / "list").read_text() == "" and (tmp_path / "link").is_symlink()
    assert run(infer.main, corpus / "clip_4.wav", *flags).code == 0  # an empty file is taken


@pytest.mark.parametrize("bad", [True, False])
def test_errors__devices_and_own_streams_are_written(tmp_path, corpus, models, capfd, bad):
    clips = [str(corpus / "clip_4.wav")] + [str(tmp_path / "absent.wav")] * bad
    before = os.lstat("/dev/null")
    for device in ("/dev/null", "/dev/stdout"):
        assert infer.main([*clips, "--checkpoint", str(models.finetuned), "--json", "--errors", device]) == 2 * bad
    assert os.path.samestat(before, os.lstat("/dev/null"))
    out = capfd.readouterr().out
    assert out.count('"path"') == 2 and (f"{tmp_path}/absent.wav\tleft out: " in out) == bad


def test_errors__a_folder_is_refused(tmp_path, models, run):
    result = run(infer.main, tmp_path / "a.wav", "--checkpoint", models.finetuned, "--errors", tmp_path)
    assert result.code == 1 and "a folder, expected a file" in result.err


def test_errors__a_file_that_came_meanwhile_stays_and_the_clips_are_all_named(tmp_path, models, run, monkeypatch):
    def during(*_, **__):
        (tmp_path / "list").write_text("somebody's\n")
        return original(*_, **__)

    original = infer.run_clips
    monkeypatch.setattr(infer, "run_clips", during)
    flags = ["--checkpoint", models.finetuned, "--errors", tmp_path / "list"]
    result = run(infer.main, *(tmp_path / f"{number}.wav" for number in range(30)), *flags)
    assert result.code == 1 and "the list of 30 clips is not written" in result.err
    assert all(f"{tmp_path}/{number}.wav: " in result.err for number in range(30))
    assert (tmp_path / "list").read_text() == "somebody's\n"


@pytest.mark.parametrize("kind", FOREIGN)
def test_ap_log_path__replaces_its_own_tables_only(tmp_path, corpus, models, run, kind):
    flags = ["--checkpoint", models.finetuned, "--eval_dir", corpus, "--bootstrap", 0, "--ap_log_path"]
    (tmp_path / "mine").write_text(FOREIGN[kind])
    result = run(evaluate.main, *flags, tmp_path / "mine")
    assert result.code == 1 and f"{tmp_path}/mine: exists and is not a per-class table" in result.err
    assert (tmp_path / "mine").read_text() == FOREIGN[kind]
    if kind == "table":
        result = run(evaluate.main, *flags, tmp_path / "one", "--errors", tmp_path / "one")
        assert result.code == 1 and "named by --errors and by --ap_log_path" in result.err
        for _ in range(2):
            assert run(evaluate.main, *flags, tmp_path / "ap.csv").code == 0
        assert len((tmp_path / "ap.csv").read_text().splitlines()) == 4


def test_plot__replaces_its_own_curves_only(tmp_path, run):
    pytest.importorskip("matplotlib")
    (tmp_path / "train.log").write_text(
        '[2025-01-01 00:00:00,000][train_inner][INFO] - {"num_updates": "1", "loss": "2"}\n'
    )
    (tmp_path / "photo.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    result = run(plot.main, tmp_path, "--output", tmp_path / "photo.png")
    assert result.code == 1 and "photo.png: exists and is not curves of asda-plot" in result.err
    assert (tmp_path / "photo.png").stat().st_size == 108


# ---- checkpoints ----------------------------------------------------------------------------------------------------


def test_convert__replaces_checkpoints_only(tmp_path, models, run):
    (tmp_path / "notes.txt").write_text("mine")
    result = run(convert.main, models.finetuned, tmp_path / "notes.txt", "--to", "project")
    assert result.code == 1 and "notes.txt: exists and is not a checkpoint" in result.err
    assert (tmp_path / "notes.txt").read_text() == "mine"
    for _ in range(2):
        assert run(convert.main, models.finetuned, tmp_path / "model.pt", "--to", "project").code == 0


@pytest.mark.parametrize("layout", ["directory", "huggingface"])
def test_convert__replaces_model_directories_as_a_whole_and_keeps_the_rest(tmp_path, models, run, layout):
    folder = tmp_path / "model"
    assert run(convert.main, models.pretrained, folder, "--to", "huggingface").code == 0
    (folder / "README.md").write_text("mine")
    assert run(convert.main, models.finetuned, folder, "--to", layout).code == 0
    assert (folder / "README.md").read_text() == "mine" and not (folder / "pretraining.safetensors").exists()
    assert (folder / "modeling_asda.py").exists() == (layout == "huggingface")
    assert load_classifier(folder).num_classes == 3
    assert os.listdir(tmp_path) == ["model"]


@pytest.mark.parametrize("config", ['{"model_type": "bert"}', "[]", None])
def test_convert__refuses_the_directory_of_another_kind_of_model(tmp_path, models, run, config):
    if config is not None:
        (tmp_path / "config.json").write_text(config)
    (tmp_path / "model.safetensors").write_text("weights of another model")
    result = run(convert.main, models.finetuned, tmp_path, "--to", "directory")
    assert result.code == 1 and "not of a model of this project" in result.err
    assert (tmp_path / "model.safetensors").read_text() == "weights of another model"


def test_convert__one_writer_at_a_time(tmp_path, models, run):
    with OutputLock(tmp_path / "model"):
        result = run(convert.main, models.finetuned, tmp_path / "model", "--to", "directory")
    assert result.code == 1 and f"process {os.getpid()} on " in result.err and len(result.err.splitlines()) == 1


def test_average__keeps_the_checkpoints_of_a_run(tmp_path, run):
    for number in (1, 2):
        torch.save(published_finetuned(num_classes=3, seed=number), tmp_path / f"checkpoint{number}.pt")
    flags = [tmp_path, "--last", 2, "--output"]
    before = (tmp_path / "checkpoint2.pt").read_bytes()
    assert "one of the checkpoints to average" in run(average.main, *flags, tmp_path / "checkpoint2.pt").err
    assert (
        "is not the mean of"
        in run(average.main, tmp_path / "checkpoint1.pt", "--output", tmp_path / "checkpoint2.pt").err
    )
    assert (tmp_path / "checkpoint2.pt").read_bytes() == before
    for _ in range(2):
        assert run(average.main, *flags, tmp_path / "mean.pt").code == 0


# ---- how programs end -----------------------------------------------------------------------------------------------


def program(name, *arguments, **options):
    command = [sys.executable, "-m", f"ASDA.cli.{name}", *map(str, arguments)]
    return subprocess.Popen(command, cwd=REPOSITORY, text=True, stderr=subprocess.PIPE, **options)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device of Linux")
def test_programs__output_that_cannot_be_written_is_one_line(corpus, models):
    with open("/dev/full", "w") as full:
        process = program("infer", corpus / "clip_0.wav", "--checkpoint", models.finetuned, stdout=full)
        err = process.communicate(timeout=100)[1]
    assert process.returncode == 1 and "No space left on device" in err and len(err.splitlines()) == 1


@pytest.mark.parametrize("output", ["features", "features.h5"])
def test_extract__a_full_disk_is_one_line_and_the_next_run_goes_on(tmp_path, corpus, models, run, output):
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, 2_000))  # noqa: E731
    flags = [corpus, "--output", tmp_path / output, "--checkpoint", models.finetuned]
    process = program("extract", *flags, preexec_fn=limit)
    err = process.communicate(timeout=100)[1].splitlines()
    assert process.returncode == 1 and sum("error: " in line for line in err) == 1 and "Traceback" not in "".join(err)
    assert "File too large" in err[-1] and str(tmp_path) in err[-1]
    assert not list(tmp_path.rglob("*.part"))
    assert run(extract.main, *flags, "--resume").code == 0
    assert not list(tmp_path.rglob("*.lock")) and not (tmp_path / "features.h5.parts").exists()


@pytest.mark.long
@pytest.mark.parametrize(
    ("output", "number", "said"),
    [("features", signal.SIGTERM, "ended by SIGTERM"), ("f.h5", signal.SIGINT, "interrupted")],
)
def test_extract__a_signal_saves_what_is_done(tmp_path, corpus, models, run, output, number, said):
    (tmp_path / "clips").mkdir()
    for clip in range(400):
        os.link(corpus / "clip_0.wav", tmp_path / "clips" / f"{clip}.wav")
    flags = [tmp_path / "clips", "--output", tmp_path / output, "--checkpoint", models.finetuned, "--batch_size", 1]
    process = program("extract", *flags)
    lock = tmp_path / "features" / ".extraction.lock" if output == "features" else tmp_path / ".f.h5.lock"
    while not lock.exists():
        assert process.poll() is None
        time.sleep(0.02)
    time.sleep(0.5)
    process.send_signal(number)
    err = process.communicate(timeout=100)[1]
    assert process.returncode == 128 + number and err.splitlines()[-1] == f"asda-extract: {said}"
    assert not list(tmp_path.rglob("*.part")) and not lock.exists()
    assert "of 400 clips are done already" in run(extract.main, *flags, "--resume").err


def test_extract__the_record_of_another_program_and_other_arrays_stay(tmp_path, corpus, models, run):
    out = tmp_path / "out"
    out.mkdir()
    np.save(out / "clip_0.npy", np.arange(3))  # somebody's labels beside the clips
    flags = [corpus, "--output", out, "--checkpoint", models.finetuned]
    result = run(extract.main, *flags)
    assert result.code == 2 and "clip_0.npy: exists and holds no such features" in result.err
    assert np.load(out / "clip_0.npy").tolist() == [0, 1, 2] and len(list(out.rglob("*.npy"))) == 9
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "extraction.json").write_text('{"of": "another program"}')
    result = run(extract.main, corpus, "--output", tmp_path / "other", "--checkpoint", models.finetuned)
    assert result.code == 1 and "not a record of asda-extract" in result.err
    assert json.loads((tmp_path / "other" / "extraction.json").read_text()) == {"of": "another program"}


def test_extract__a_target_file_of_another_kind_stays(tmp_path, corpus, models, run):
    np.save(tmp_path / "x.npy", np.arange(5))
    flags = ["--source_file", corpus / "clip_0.wav", "--checkpoint", models.finetuned, "--target_file"]
    result = run(extract.main, *flags, tmp_path / "x.npy")
    assert result.code == 1 and "x.npy: exists and holds no such features" in result.err
    assert np.load(tmp_path / "x.npy").tolist() == [0, 1, 2, 3, 4]
    before = os.lstat("/dev/null")
    assert run(extract.main, *flags, "/dev/null").code == 0
    assert os.path.samestat(before, os.lstat("/dev/null")) and not os.path.exists("/dev/null.npy")
    for granularity in ("all", "utterance"):  # features are replaced
        assert run(extract.main, *flags, tmp_path / "y.npy", "--granularity", granularity).code == 0
