"""The shell scripts: they parse, say what they are for, start what they are for, and hand on signals and exit codes.

What is started is decided in ASDA.launch, and tested in tests/launch.
"""

import os
import re
import shlex
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from ASDA.launch.settings import SETTINGS

from ..published_files import published_pretraining

ROOT = Path(__file__).resolve().parents[2]
SHELL_SCRIPTS = sorted(
    [*ROOT.glob("*.sh"), *ROOT.glob("scripts/*.sh"), *ROOT.glob("scripts/*.sbatch"), ROOT / ".ci" / "run"]
)
LAUNCH = ["pretraining_AS2M.sh", "pretraining_MAE_AST.sh", "finetuning_AS20K.sh", "scripts/finetune.sh"]
OF_A_RECIPE = sorted(str(script.relative_to(ROOT)) for script in ROOT.glob("scripts/finetuning_*.sh"))
STARTED_BY_USERS = [
    *("pretraining_AS2M.sh", "pretraining_MAE_AST.sh", "pretraining_SSAST.sh", "finetuning_AS20K.sh"),
    *("eval.sh", "inference.sh", "feature_extract.sh"),
    *("scripts/finetune.sh", "scripts/adapt.sh", "scripts/demo.sh", "scripts/setup.sh"),
    *("scripts/ablation.sh", "scripts/slurm_pretraining.sbatch", "scripts/slurm_extraction.sbatch"),
    *sorted(str(script.relative_to(ROOT)) for script in ROOT.glob("scripts/prepare_*.sh")),
    *OF_A_RECIPE,
]


def environment(**settings: str) -> dict[str, str]:
    """Ours, with these settings of the scripts and no others."""
    return {key: value for key, value in os.environ.items() if key not in SETTINGS} | settings


def run(script: str | Path, *arguments: str, cwd: Path, **settings: str) -> subprocess.CompletedProcess:
    command = ["bash", str(ROOT / script), *arguments]
    return subprocess.run(command, cwd=cwd, env=environment(**settings), capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("script", SHELL_SCRIPTS, ids=lambda script: str(script.relative_to(ROOT)))
def test_shell_script__parses_and_is_executable(script):
    result = subprocess.run(["bash", "-n", str(script)], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    sourced = script.read_text().startswith("# shellcheck shell=bash")
    assert sourced or script.suffix == ".sbatch" or os.access(script, os.X_OK)


def test_help__is_tested_of_every_script_that_a_user_starts():
    sourced = [script for script in SHELL_SCRIPTS if script.read_text().startswith("# shellcheck shell=bash")]
    started = {str(script.relative_to(ROOT)) for script in SHELL_SCRIPTS if script not in sourced} - {".ci/run"}
    assert started == set(STARTED_BY_USERS)


@pytest.mark.parametrize("script", STARTED_BY_USERS)
def test_help__says_how_it_is_used_and_starts_nothing(script, tmp_path):
    settings = {"DATA": "data", "SAVE_DIR": "run", "CHECKPOINT": "pretrained.pt", "NGPU": "0"}
    result = run(script, "--help", cwd=tmp_path, **settings, DATASET="set", DEMO_DIR="demo")
    assert result.returncode == 0 and result.stderr == "", result.stderr
    if script in ("eval.sh", "inference.sh", "feature_extract.sh"):
        assert "--checkpoint_dir PATH" in result.stdout
    elif script in ("scripts/setup.sh", "scripts/ablation.sh"):
        assert "Settings (environment variables):\n  " in result.stdout
    else:
        assert re.search(r"\bDATA\b", result.stdout) and re.search(
            r"\b(SAVE_DIR|DATASET|DEMO_DIR|OUTPUT)\b", result.stdout
        )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("script", ["scripts/demo.sh", "scripts/setup.sh"])
def test_script_without_arguments__takes_none(script, tmp_path):
    result = run(script, "now", cwd=tmp_path, DEMO_DIR="demo")
    assert result.returncode != 0 and result.stderr.count("\n") == 1 and '"now"' in result.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("script", [*LAUNCH, OF_A_RECIPE[0]])
def test_launch_script__says_in_one_line_what_is_missing(script, tmp_path):
    recipe = ["AS20K"] if script == "scripts/finetune.sh" else []
    result = run(script, *recipe, cwd=tmp_path, SAVE_DIR="run", CHECKPOINT="pretrained.pt", NGPU="1")
    assert result.returncode == 2 and result.stdout == ""
    assert result.stderr.startswith(f"{Path(script).name}: set DATA: ") and result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "recipe"),
    [
        ([], "own_data"),
        (["common.seed=2"], "own_data"),
        (["ESC50", "common.seed=2"], "ESC50"),
        (["common.seed=2", "+recipe=AS20K"], "AS20K"),
        (["./data"], "own_data"),
        (["./data", "AS20K"], "AS20K"),
    ],
)
def test_finetune_script__is_for_own_data_unless_a_recipe_is_named(words, recipe, tmp_path):
    (tmp_path / "data").mkdir()
    settings = {"DATA": "data", "SAVE_DIR": "run", "CHECKPOINT": "pretrained.pt", "NGPU": "1", "DRY_RUN": "1"}
    if "./data" in words:
        del settings["DATA"]
    result = run("scripts/finetune.sh", *words, cwd=tmp_path, **settings)
    assert f"+recipe={recipe} " in result.stdout and f"task.data={tmp_path / 'data'}" in result.stdout


def test_script_of_a_recipe__is_finetune_with_it(tmp_path):
    settings = {"DATA": "data", "SAVE_DIR": "run", "CHECKPOINT": "pretrained.pt", "NGPU": "2", "DRY_RUN": "1"}
    assert OF_A_RECIPE
    for script in OF_A_RECIPE:
        recipe = Path(script).stem.removeprefix("finetuning_")
        assert f'finetuning {recipe} "$@"' in (ROOT / script).read_text()
    short = run(OF_A_RECIPE[0], "model.mixup=0.5", cwd=tmp_path, **settings)
    recipe = Path(OF_A_RECIPE[0]).stem.removeprefix("finetuning_")
    assert short.stdout == run("scripts/finetune.sh", recipe, "model.mixup=0.5", cwd=tmp_path, **settings).stdout != ""


def test_dry_run__prints_a_command_that_the_shell_runs(tmp_path):
    folder = tmp_path / "with space"
    folder.mkdir()
    (folder / "mine.yaml").write_text((ROOT / "config/pretraining_AS2M.yaml").read_text())  # its bases lie elsewhere
    settings = {"DATA": "data", "SAVE_DIR": "run", "DRY_RUN": "1", "NGPU": "0", "CONFIG": "./mine.yaml"}
    words = ["demo_pretraining", "common.seed=23", "checkpoint.keep_last_epochs=3", "--cfg", "job"]
    printed = run("pretraining_AS2M.sh", *words, cwd=folder, **settings).stdout
    result = subprocess.run(["bash", "-c", printed], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    job = OmegaConf.create(result.stdout)
    assert job.common.seed == 23 and job.task.data == str(folder / "data") and job.common.cpu
    assert (job.dataset.batch_size, job.model.depth, job.checkpoint.keep_last_epochs) == (8, 4, 3)


# Stands in for fairseq: says that it runs, waits for a signal, and leaves as a run that has saved.
FAKE_FAIRSEQ = """
import os, pathlib, signal, sys, time
def save(number, frame):
    pathlib.Path("received").write_text(signal.Signals(number).name)
    sys.exit(75)
signal.signal(signal.SIGTERM, save)
pathlib.Path("running").write_text(str(os.getpid()))
time.sleep(60)
"""
# Leaves what a fine-tuning run leaves, its metric being the number of its fold.
FAKE_FINETUNING = """
import sys, torch
(folder,) = [word.partition("=")[2] for word in sys.argv if word.startswith("checkpoint.save_dir=")]
score = float(folder[-1])
state = {"extra_state": {"val_loss": score, "best": score}, "cfg": {"checkpoint": {"best_checkpoint_metric": "mAP"}}}
torch.save(state, folder + "/checkpoint_last.pt")
"""


@pytest.fixture
def fake_fairseq(tmp_path):
    """A function that makes what the launch scripts start do ``code`` instead; returns the settings for that."""

    def make(code: str) -> dict[str, str]:
        (tmp_path / "fake/fairseq_cli").mkdir(parents=True)
        (tmp_path / "fake/fairseq_cli/__init__.py").touch()
        (tmp_path / "fake/fairseq_cli/hydra_train.py").write_text(code)
        return {"PYTHONPATH": f"{tmp_path}/fake:{ROOT}", "NGPU": "0", "DATA": "data", "SAVE_DIR": "run"}

    return make


def test_launch_script__becomes_the_training_which_gets_its_signals(fake_fairseq, tmp_path):
    settings = environment(**fake_fairseq(FAKE_FAIRSEQ))
    (tmp_path / "data").mkdir()
    (tmp_path / "data/train.tsv").touch()
    with subprocess.Popen(["bash", str(ROOT / "pretraining_AS2M.sh")], cwd=tmp_path, env=settings) as process:
        until = time.monotonic() + 60
        while not (tmp_path / "running").exists() and time.monotonic() < until and process.poll() is None:
            time.sleep(0.05)
        time.sleep(0.1)
        assert (tmp_path / "running").read_text() == str(process.pid)
        process.terminate()
        assert process.wait(20) == 75
    assert (tmp_path / "received").read_text() == "SIGTERM"
    assert (tmp_path / "run").is_dir()


def test_launch_script__runs_the_folds_in_turn_and_summarises_them(fake_fairseq, tmp_path):
    for fold in (2, 4):
        (tmp_path / f"data/fold{fold}").mkdir(parents=True)
        for file in ("train.tsv", "eval.tsv", "train.lbl", "eval.lbl", "label_descriptors.csv"):
            (tmp_path / f"data/fold{fold}" / file).touch()
    torch.save(published_pretraining(), tmp_path / "pretrained.pt")
    settings = fake_fairseq(FAKE_FINETUNING) | {"CHECKPOINT": "pretrained.pt", "FOLDS": "2 4"}
    result = run("scripts/finetune.sh", "ESC50", cwd=tmp_path, **settings)
    assert result.returncode == 0, result.stderr
    assert [line.split()[:2] for line in result.stdout.splitlines()[-5:]] == [
        ["mAP", "last"],
        ["fold2", "2.0000"],
        ["fold4", "4.0000"],
        ["mean", "3.0000"],
        ["deviation", "1.4142"],
    ]
    assert re.findall(r"finetune.sh: (fold .*)", result.stderr) == ["fold 2 of 2, 4", "fold 4 of 2, 4"]


@pytest.mark.parametrize(("task", "folds"), [("ESC50", 5), ("GTZAN", 0)])
def test_adapt_script__runs_each_method_over_the_folds_into_a_folder_of_its_own(task, folds, tmp_path):
    settings = {"DATA": "data", "SAVE_DIR": "run", "CHECKPOINT": "ast", "NGPU": "1", "DRY_RUN": "1"}
    words = [task, "mean_pooling", "common.seed=2"]
    result = run("scripts/adapt.sh", *words, cwd=tmp_path, **settings, METHODS="aat,lora all")
    assert result.returncode == 0, result.stderr
    commands = [shlex.split(line.partition(" && ")[2]) for line in result.stdout.splitlines()]
    assert len(commands) == 2 * (folds or 1)
    saved = [word.partition("=")[2] for command in commands for word in command if "checkpoint.save_dir" in word]
    names = [f"/fold{number}" for number in range(1, folds + 1)] or [""]
    assert saved == [f"{tmp_path}/run/{method}{name}" for method in ("aat+lora", "all") for name in names]
    for method, command in (("aat,lora", commands[0]), ("all", commands[-1])):
        assert {f"+recipe=[AAT_{task},mean_pooling]", f"model.adaptation=[{method}]", "common.seed=2"} <= set(command)
        assert ("task.clips_per_update=48" in command) == (task == "ESC50" and method == "all")


@pytest.mark.parametrize(
    ("words", "settings", "says"),
    [
        ([], {"SAVE_DIR": "run"}, "name a task first: ESC50, "),
        (["common.seed=2"], {"SAVE_DIR": "run"}, "name a task first: ESC50, "),
        (["ESC50"], {}, "set SAVE_DIR: "),
    ],
)
def test_adapt_script__says_in_one_line_what_is_missing(words, settings, says, tmp_path):
    result = run("scripts/adapt.sh", *words, cwd=tmp_path, **settings)
    assert result.returncode == 2 and result.stdout == ""
    assert result.stderr.startswith(f"adapt.sh: {says}") and result.stderr.count("\n") == 1


@pytest.fixture
def slurm(tmp_path):
    """Environment of a Slurm job of two nodes, with stand-ins for its programs: ``slurm(srun)`` does ``srun``."""

    def environment(srun: str) -> dict[str, str]:
        scontrol = f'[[ $1 == requeue ]] && echo "$2" >>{tmp_path}/requeued; echo node7; echo node8'
        for name, body in {"scontrol": scontrol, "srun": srun}.items():
            (tmp_path / name).write_text(f"#!/usr/bin/env bash\n{body}\n")
            (tmp_path / name).chmod(0o755)
        return {
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "SLURM_SUBMIT_DIR": str(ROOT),
            "SLURM_JOB_NODELIST": "node[7-8]",
            "SLURM_NNODES": "2",
            "SLURM_GPUS_ON_NODE": "8",
            "SLURM_JOB_ID": "41",
            "DATA": str(tmp_path),
            "SAVE_DIR": str(tmp_path),
            "DRY_RUN": "1",
        }

    return environment


def test_slurm_script__starts_the_same_command_on_every_node(slurm, tmp_path):
    settings = slurm('shift; exec "$@"')
    result = run("scripts/slurm_pretraining.sbatch", "model.depth=2", cwd=tmp_path, **settings)
    assert result.returncode == 0, result.stderr
    words = shlex.split(result.stdout)
    assert {"--nnodes=2", "--nproc_per_node=8", "--rdzv_endpoint=node7:20041", "--rdzv_id=41"} <= set(words)
    assert {"distributed_training.distributed_world_size=16", "dataset.batch_size=3", "model.depth=2"} <= set(words)
    assert not (tmp_path / "requeued").exists()


@pytest.mark.parametrize("code", [75, 143])
def test_slurm_script__passes_the_time_limits_signal_on_and_queues_again(code, slurm, tmp_path):
    srun = f"trap 'exit {code}' USR1; touch {tmp_path}/running; for ((i = 0; i < 300; i++)); do sleep 0.1; done"
    command = ["bash", str(ROOT / "scripts" / "slurm_pretraining.sbatch")]
    with subprocess.Popen(command, cwd=tmp_path, env={**os.environ, **slurm(srun)}) as job:
        until = time.monotonic() + 20
        while not (tmp_path / "running").exists() and time.monotonic() < until:
            time.sleep(0.05)
        job.send_signal(signal.SIGUSR1)
        assert job.wait(20) == code
    assert (tmp_path / "requeued").read_text() == "41\n"


def test_slurm_script__does_not_repeat_a_run_that_fails(slurm, tmp_path):
    result = run("scripts/slurm_pretraining.sbatch", cwd=tmp_path, **slurm("exit 1"))
    assert result.returncode == 1 and not (tmp_path / "requeued").exists()


def slurm_array(tmp_path: Path, numbers: tuple[int, int], count: int, task: int) -> dict[str, str]:
    """Environment of a task of an array of jobs, with an srun that prints what it is to start."""
    (tmp_path / "srun").write_text('#!/usr/bin/env bash\nprintf "%s\\n" "$@"\n')
    (tmp_path / "srun").chmod(0o755)
    return {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "SLURM_SUBMIT_DIR": str(ROOT),
        "SLURM_ARRAY_TASK_ID": str(task),
        "SLURM_ARRAY_TASK_COUNT": str(count),
        "SLURM_ARRAY_TASK_MIN": str(numbers[0]),
        "SLURM_ARRAY_TASK_MAX": str(numbers[1]),
        "CHECKPOINT": "a model.pt",
        "DATA": "/data/clips",
        "OUTPUT": "/features",
    }


def test_slurm_extraction__each_task_does_its_part(tmp_path):
    settings = slurm_array(tmp_path, (1, 8), 8, 3)
    result = run("scripts/slurm_extraction.sbatch", "--granularity", "utterance", cwd=tmp_path, **settings)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == [
        *("bash", "feature_extract.sh", "--checkpoint_dir", "a model.pt", "/data/clips", "--output", "/features"),
        *("--shard", "3/8", "--resume", "--granularity", "utterance"),
    ]


@pytest.mark.parametrize(("numbers", "count", "task"), [((3, 3), 1, 3), ((0, 7), 8, 0), ((1, 9), 5, 3)])
def test_slurm_extraction__an_array_that_is_no_whole_set_of_parts_is_refused(numbers, count, task, tmp_path):
    result = run("scripts/slurm_extraction.sbatch", cwd=tmp_path, **slurm_array(tmp_path, numbers, count, task))
    assert result.returncode == 1 and "--array=1-N without gaps" in result.stderr and result.stdout == ""


@pytest.fixture
def clone_with_demo(tmp_path):
    """A copy of the program scripts beside a demo's results, with a Python that prints its arguments."""
    for name in ("inference.sh", "eval.sh", "feature_extract.sh", "scripts/environment.sh", "scripts/program.sh"):
        target = tmp_path / name
        target.parent.mkdir(exist_ok=True)
        target.write_text((ROOT / name).read_text())
    for folder in ("data", "finetuned"):
        (tmp_path / "demo" / folder).mkdir(parents=True)
    (tmp_path / "demo/finetuned/checkpoint_best.pt").touch()
    (tmp_path / "demo/data/eval.tsv").write_text("/corpus\nwav/a b.flac\t16000\nother.wav\t1\n")
    (tmp_path / "python").write_text('#!/usr/bin/env bash\n[[ $1 == -c ]] || printf "%s\\n" "$@"\n')
    (tmp_path / "python").chmod(0o755)
    return tmp_path


def run_program(clone: Path, script: str, *arguments: str) -> subprocess.CompletedProcess:
    settings = {"ASDA_USE_ACTIVE_ENV": "1", "ASDA_PYTHON": str(clone / "python")}
    return run(clone / script, *arguments, cwd=clone / "demo", **settings)


@pytest.mark.parametrize(
    ("script", "module", "defaults"),
    [
        ("inference.sh", "infer", ["--source_file", "/corpus/wav/a b.flac"]),
        ("eval.sh", "evaluate", ["--eval_dir", "{demo}/data"]),
        (
            "feature_extract.sh",
            "extract",
            ["--source_file", "/corpus/wav/a b.flac", "--target_file", "{demo}/features.npy"],
        ),
    ],
)
def test_program_script__without_arguments_uses_the_demo(script, module, defaults, clone_with_demo):
    demo = clone_with_demo / "demo"
    words = run_program(clone_with_demo, script).stdout.splitlines()
    expected = [
        "--checkpoint_dir",
        f"{demo}/finetuned/checkpoint_best.pt",
        *(word.format(demo=demo) for word in defaults),
    ]
    assert words == ["-m", f"ASDA.cli.{module}", *expected]


def test_program_script__adds_only_the_model_to_arguments_without_one(clone_with_demo):
    words = run_program(clone_with_demo, "inference.sh", "my clip.wav", "--top-k", "3").stdout.splitlines()
    checkpoint = f"{clone_with_demo}/demo/finetuned/checkpoint_best.pt"
    assert words[2:] == ["--checkpoint_dir", checkpoint, "my clip.wav", "--top-k", "3"]


@pytest.mark.parametrize(
    "named", [["--checkpoint_dir", "x.pt"], ["--checkpoint-dir=x.pt"], ["--checkpoint", "x.pt"], ["--help"]]
)
def test_program_script__passes_arguments_that_name_a_model_unchanged(named, clone_with_demo):
    assert run_program(clone_with_demo, "eval.sh", *named).stdout.splitlines()[2:] == named


def test_program_script__says_where_a_model_comes_from(clone_with_demo):
    (clone_with_demo / "demo/finetuned/checkpoint_best.pt").unlink()
    result = run_program(clone_with_demo, "inference.sh", "clip.wav")
    assert result.returncode != 0 and result.stdout == ""
    assert result.stderr.count("\n") == 1 and "--checkpoint_dir" in result.stderr and "make demo" in result.stderr


def test_ablation_script__makes_the_corpus_and_runs_the_grid(tmp_path):
    (tmp_path / "python").write_text('#!/usr/bin/env bash\n[[ $1 == -c ]] || printf "%s " "$@" $\'\\n\'\n')
    (tmp_path / "python").chmod(0o755)
    settings = {"ASDA_USE_ACTIVE_ENV": "1", "ASDA_PYTHON": str(tmp_path / "python"), "ABLATION_DIR": "all", "JOBS": "2"}
    lines = run("scripts/ablation.sh", "--dry-run", cwd=tmp_path, **settings).stdout.splitlines()
    output = f"--output {tmp_path}/all/demo_ASDA --jobs 2 --dry-run"
    assert [line.strip() for line in lines if line.strip()] == [
        f"-m ASDA.demo.corpus {tmp_path}/all/data --num-clips 800",
        f"-m ASDA.cli.ablate demo_ASDA --data {tmp_path}/all/data {output}",
    ]
