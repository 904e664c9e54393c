"""The shell scripts that prepare known data sets: what they run, and what they say when something is missing."""

import os
import shlex
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ASDA.cli._known_data_sets import KNOWN_DATA_SETS
from ASDA.cli.manifest import _parser

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted(path.name for path in ROOT.glob("scripts/prepare_*.sh"))
OURS = ("DATASET", "DATA", "SEGMENTS", "SUBSET", "VERSION", "DRY_RUN")


def run(script: str, *arguments: str, cwd: Path, **settings: str) -> subprocess.CompletedProcess:
    environment = {key: value for key, value in os.environ.items() if key not in OURS}
    command = ["bash", str(ROOT / "scripts" / script), *arguments]
    return subprocess.run(command, cwd=cwd, env=environment | settings, capture_output=True, text=True)


def test_scripts__are_those_of_the_known_data_sets():
    names = {known.name for known in KNOWN_DATA_SETS}
    assert {script.removeprefix("prepare_").removesuffix(".sh") for script in SCRIPTS} == names


@pytest.mark.parametrize("script", SCRIPTS)
def test_script__dry_run_prints_a_command_of_the_program(script, tmp_path):
    settings = {"DATASET": "the set", "DATA": "out", "SEGMENTS": "lists", "DRY_RUN": "1"}
    result = run(script, "--overwrite", cwd=tmp_path, **settings)
    assert result.returncode == 0, result.stderr
    words = shlex.split(result.stdout)
    assert words[1:3] == ["-m", "ASDA.cli.manifest"]
    args = _parser().parse_args(words[3:])
    assert args.command == script.removeprefix("prepare_").removesuffix(".sh")
    assert (args.root, args.out, args.overwrite) == (tmp_path / "the set", tmp_path / "out", True)


@pytest.mark.parametrize(
    ("subset", "train"),
    [("20K", ["balanced_train"]), ("2M", ["balanced_train", "unbalanced_train"])],
)
def test_audioset_script__takes_the_lists_of_the_subset(subset, train, tmp_path):
    settings = {"DATASET": "d", "DATA": "out", "SEGMENTS": "lists", "DRY_RUN": "1", "SUBSET": subset}
    args = _parser().parse_args(shlex.split(run("prepare_audioset.sh", cwd=tmp_path, **settings).stdout)[3:])
    expected = [("train", f"{tmp_path}/lists/{name}_segments.csv") for name in train]
    assert sorted(args.segments) == sorted([*expected, ("eval", f"{tmp_path}/lists/eval_segments.csv")])


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("missing", ["DATASET", "DATA", "SEGMENTS"])
def test_script__says_in_one_line_what_is_missing(script, missing, tmp_path):
    if missing == "SEGMENTS" and script != "prepare_audioset.sh":
        pytest.skip("only AudioSet has segment lists")
    settings = {"DATASET": "d", "DATA": "out", "SEGMENTS": "lists", "DRY_RUN": "1"}
    del settings[missing]
    result = run(script, cwd=tmp_path, **settings)
    assert result.returncode != 0 and result.stdout == ""
    assert result.stderr.startswith(f"{script}: set {missing}: ") and result.stderr.count("\n") == 1


def test_script__prepares_a_data_set_from_any_folder(tmp_path):
    """FSD50K as downloaded, at its smallest."""
    truth = tmp_path / "set" / "FSD50K.ground_truth"
    truth.mkdir(parents=True)
    for name in ("dev_audio/1", "dev_audio/2", "eval_audio/3"):
        (tmp_path / "set" / f"FSD50K.{name}.wav").parent.mkdir(exist_ok=True)
        soundfile.write(tmp_path / "set" / f"FSD50K.{name}.wav", np.zeros(4410), 44_100)
    (truth / "dev.csv").write_text("fname,labels,mids,split\n1,Bark,/m/05tny_,train\n2,Bark,/m/05tny_,val\n")
    (truth / "eval.csv").write_text("fname,labels,mids\n3,Bark,/m/05tny_\n")
    (truth / "vocabulary.csv").write_text("0,Bark,/m/05tny_\n")
    (tmp_path / "elsewhere").mkdir()
    result = run("prepare_fsd50k.sh", cwd=tmp_path / "elsewhere", DATASET="../set", DATA="../out")
    assert result.returncode == 0, result.stderr
    assert "eval: 1 clips" in result.stdout
    assert (tmp_path / "out" / "train.lbl").read_text() == "1\t/m/05tny_\n"
    again = run("prepare_fsd50k.sh", cwd=tmp_path / "elsewhere", DATASET="../set", DATA="../out")
    assert again.returncode == 1 and "pass --overwrite" in again.stderr
