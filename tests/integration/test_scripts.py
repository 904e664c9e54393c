"""The shell scripts: they parse, their dry runs compose against the yaml, and their errors are one line."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from ASDA.checkpoints.layouts.published_names import PUBLISHED_FLAGS
from ASDA.fairseq_plugin.tasks.spectrogram_task import corpus_of

ROOT = Path(__file__).resolve().parents[2]
SHELL_SCRIPTS = sorted(
    [*ROOT.glob("*.sh"), *ROOT.glob("scripts/*.sh"), *ROOT.glob("scripts/*.sbatch"), ROOT / ".ci" / "run"]
)
# script -> updates, warm-up, clips per update, learning rate, target length (frames): shared recipes of the paper
RECIPES = {
    "pretraining_AS2M.sh": (800_000, 106_666, 48, 5e-4, 1024),
    "finetuning_AS20K.sh": (60_000, 6_000, 32, 5e-5, 1024),
    "scripts/finetuning_AS2M.sh": (600_000, 60_000, 48, 5e-5, 1024),
    "scripts/finetuning_ESC50.sh": (4_000, 400, 48, 5e-5, 512),
    "scripts/finetuning_SPCv2.sh": (80_000, 8_000, 256, 2e-4, 128),
}
# without a recipe in the paper
LAUNCH_SCRIPTS = [*RECIPES, "scripts/finetuning_FSD50K.sh", "scripts/finetuning_UrbanSound8K.sh"]


def run(script: str | Path, *arguments: str, cwd: Path, **settings: str) -> subprocess.CompletedProcess:
    """Runs a script with these settings and no others of ours."""
    ours = ("DATA", "SAVE_DIR", "CHECKPOINT", "CONFIG", "FOLDS", "NGPU", "NPROC", "BATCH_SIZE", "NNODES", "DRY_RUN")
    environment = {key: value for key, value in os.environ.items() if key not in ours}
    return subprocess.run(
        ["bash", str(ROOT / script), *arguments], cwd=cwd, env=environment | settings, capture_output=True, text=True
    )


def dry_run(script: str, *arguments: str, cwd: Path, **settings: str) -> list[list[str]]:
    """The words of each command a dry run prints, without the `mkdir -p ... &&` in front."""
    settings = {
        "DATA": "data",
        "SAVE_DIR": "run",
        "CHECKPOINT": "pretrained.pt",
        "NGPU": "1",
        "DRY_RUN": "1",
    } | settings
    result = run(script, *arguments, cwd=cwd, **settings)
    assert result.returncode == 0, result.stderr
    commands = [shlex.split(line) for line in result.stdout.splitlines()]
    assert commands and all(words[:2] == ["mkdir", "-p"] and words[3] == "&&" for words in commands)
    return [words[4:] for words in commands]


def compose(words: list[str]):
    """The configuration that fairseq would train with, checked against the plugin's dataclasses."""
    from fairseq.dataclass.initialize import add_defaults, hydra_init
    from fairseq.utils import import_user_module
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir

    arguments = words[words.index("fairseq_cli.hydra_train") + 1 :]
    assert arguments[0::2][:2] == ["--config-dir", "--config-name"]
    directory, name, overrides = arguments[1], arguments[3], arguments[4:]
    import_user_module(OmegaConf.create({"user_dir": str(ROOT / "ASDA")}))
    hydra_init(name)
    with initialize_config_dir(config_dir=directory, version_base=None):
        cfg = hydra_compose(name, [override for override in overrides if not override.startswith("hydra.")])
    add_defaults(cfg)
    return cfg


@pytest.mark.parametrize("script", SHELL_SCRIPTS, ids=lambda script: str(script.relative_to(ROOT)))
def test_shell_script__parses_and_is_executable(script):
    result = subprocess.run(["bash", "-n", str(script)], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    sourced = script.read_text().startswith("# shellcheck shell=bash")
    assert sourced or script.suffix == ".sbatch" or os.access(script, os.X_OK)


@pytest.mark.parametrize("script", RECIPES)
def test_launch_script__dry_run_composes_to_the_recipe(script, tmp_path):
    max_update, warmup, clips, lr, target_length = RECIPES[script]
    for words in dry_run(script, cwd=tmp_path):
        cfg = compose(words)
        assert cfg.optimization.max_update == max_update
        assert cfg.optimizer.groups.default.lr_scheduler.warmup_updates == warmup
        assert cfg.optimization.lr == [lr]
        assert cfg.task.target_length == target_length
        assert cfg.dataset.batch_size * cfg.optimization.update_freq[0] == clips
        assert cfg.common.fp16 and not cfg.common.cpu


@pytest.mark.parametrize("script", LAUNCH_SCRIPTS)
def test_launch_script__paths_are_those_of_the_callers_folder(script, tmp_path):
    folder = tmp_path / "a folder, with = and 'quotes'"
    folder.mkdir()
    for words in dry_run(script, cwd=folder, DATA="the data", SAVE_DIR="runs/one"):
        cfg = compose(words)
        assert Path(cfg.task.data) in (folder / "the data", *(folder / f"the data/fold{k}" for k in range(1, 11)))
        assert Path(cfg.checkpoint.save_dir).is_relative_to(folder / "runs/one")
        assert Path(cfg.common.user_dir) == ROOT / "ASDA"
        if "pretraining" not in script:
            assert Path(cfg.model.model_path) == folder / "pretrained.pt"


@pytest.mark.parametrize("script", LAUNCH_SCRIPTS)
@pytest.mark.parametrize("missing", ["DATA", "SAVE_DIR", "CHECKPOINT"])
def test_launch_script__says_in_one_line_what_is_missing(script, missing, tmp_path):
    if missing == "CHECKPOINT" and "pretraining" in script:
        pytest.skip("pre-training starts from nothing")
    settings = {"DATA": "data", "SAVE_DIR": "run", "CHECKPOINT": "pretrained.pt", "DRY_RUN": "1", "NGPU": "1"}
    del settings[missing]
    result = run(script, cwd=tmp_path, **settings)
    assert result.returncode != 0 and result.stdout == ""
    assert result.stderr.splitlines()[-1].startswith(f"{Path(script).name}: set {missing}: ")
    assert len(result.stderr.splitlines()) <= (2 if "fold" in result.stderr else 1)


def test_launch_script__names_the_file_that_does_not_exist(tmp_path):
    result = run("pretraining_AS2M.sh", cwd=tmp_path, DATA="data", SAVE_DIR="run")
    assert result.returncode != 0
    assert result.stderr.count("\n") == 1 and f"{tmp_path}/data/train.tsv does not exist" in result.stderr


@pytest.mark.parametrize(
    ("script", "arguments", "needed"),
    [
        ("pretraining_AS2M.sh", [], ["train.tsv"]),
        ("finetuning_AS20K.sh", [], ["train", "eval"]),
        ("finetuning_AS20K.sh", ["dataset.valid_subset='valid,eval'"], ["train", "valid", "eval"]),
        ("finetuning_AS20K.sh", ["+dataset.valid_subset=other"], ["train", "other"]),
        ("finetuning_AS20K.sh", ["dataset.train_subset=some"], ["some", "eval"]),
        ("finetuning_AS20K.sh", ["dataset.disable_validation=true"], ["train"]),
        ("finetuning_AS20K.sh", ["+recipe=FSD50K"], ["train", "valid", "eval"]),
        ("scripts/finetuning_SPCv2.sh", [], ["train", "valid", "eval"]),
        ("scripts/finetuning_FSD50K.sh", [], ["train", "valid", "eval"]),
        ("scripts/finetuning_FSD50K.sh", ["dataset.valid_subset=eval"], ["train", "eval"]),
    ],
)
def test_launch_script__wants_the_splits_that_the_run_uses_and_no_others(script, arguments, needed, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    if needed == ["train.tsv"]:
        files, settings = needed, {}
    else:
        files = [f"{split}.{kind}" for kind in ("tsv", "lbl") for split in needed] + ["label_descriptors.csv"]
        settings = {"CHECKPOINT": "none.pt"}
    settings |= {"DATA": "data", "NGPU": "0"}
    for file in files:
        result = run(script, *arguments, cwd=tmp_path, SAVE_DIR="run", **settings)
        assert result.returncode != 0 and result.stderr.count("\n") == 1
        assert f"DATA: {data}/{file} does not exist" in result.stderr
        assert ("dataset.valid_subset=eval needs train and eval only" in result.stderr) == bool(
            {"valid", "other"} & {*needed}
        )
        (data / file).touch()
    # All is there: the next thing that is missing is another.
    result = run(script, *arguments, cwd=tmp_path, **settings)
    assert result.returncode != 0 and "DATA" not in result.stderr
    assert ("none.pt does not exist" if "CHECKPOINT" in settings else "set SAVE_DIR") in result.stderr


@pytest.mark.parametrize("classes", ["classes.csv", "/elsewhere/classes.csv"])
def test_launch_script__wants_the_labels_and_the_class_table_that_the_run_reads(classes, tmp_path):
    arguments = ("task.labels=tags", f"task.label_descriptors={classes}")
    (tmp_path / "data").mkdir()
    for file in ("train.tsv", "eval.tsv", "train.tags", "eval.tags", *([classes] if classes[0] != "/" else [])):
        result = run("finetuning_AS20K.sh", *arguments, cwd=tmp_path, DATA="data", CHECKPOINT="none.pt")
        assert f"DATA: {tmp_path}/data/{file} does not exist" in result.stderr
        (tmp_path / "data" / file).touch()
    result = run("finetuning_AS20K.sh", *arguments, cwd=tmp_path, DATA="data", CHECKPOINT="none.pt")
    assert "none.pt does not exist" in result.stderr


def test_launch_script__of_a_yaml_with_defaults_leaves_the_validation_splits_to_the_run(tmp_path):
    (tmp_path / "mine.yaml").write_text("defaults: [finetuning]\ncommon: {seed: 2}\n")
    for file in ("train.tsv", "train.lbl", "label_descriptors.csv"):
        (tmp_path / file).touch()
    settings = {"DATA": ".", "CHECKPOINT": "none.pt", "CONFIG": "./mine.yaml"}
    result = run("finetuning_AS20K.sh", cwd=tmp_path, **settings)
    assert "none.pt does not exist" in result.stderr


def test_launch_script__validates_on_two_splits_as_the_documentation_has_it(tmp_path):
    typed = re.findall(r"`(\S*dataset\.valid_subset=\S*valid,eval\S*)`", (ROOT / "docs/training.md").read_text())
    (words,) = dry_run("finetuning_AS20K.sh", *shlex.split(typed[0]), cwd=tmp_path)
    assert compose(words).dataset.valid_subset == "valid,eval"


@pytest.mark.parametrize("flag, name", [*PUBLISHED_FLAGS.items(), (None, "audioset")])
def test_finetuning__published_flags_name_the_data_set(flag, name, tmp_path):
    (words,) = dry_run("finetuning_AS20K.sh", *([f"task.{flag}=true"] if flag else []), cwd=tmp_path)
    assert corpus_of(compose(words).task).name == name


def test_pretraining__is_on_audioset_unless_a_flag_or_name_says_otherwise(tmp_path):
    for argument, name in (("task.rebuild_batches=true", "audioset"), ("+task.fsd50k_eval=true", "fsd50k")):
        (words,) = dry_run("pretraining_AS2M.sh", argument, cwd=tmp_path)
        assert corpus_of(compose(words).task).name == name


@pytest.mark.parametrize("recipe", sorted(ROOT.glob("config/recipe/*.yaml")), ids=lambda recipe: recipe.stem)
def test_recipe__of_another_data_set_names_it(recipe):
    expected = {"ESC50": "esc50", "SPCv2": "spcv2", "FSD50K": "fsd50k", "UrbanSound8K": "urbansound8k"}
    assert OmegaConf.load(recipe).get("task", {}).get("dataset", "") == expected.get(recipe.stem, "")


@pytest.mark.parametrize(("gpus", "clips", "update_freq"), [(1, 12, 4), (2, 12, 2), (4, 12, 1), (8, 6, 1)])
def test_pretraining__keeps_the_recipes_update_on_any_number_of_gpus(gpus, clips, update_freq, tmp_path):
    (words,) = dry_run("pretraining_AS2M.sh", cwd=tmp_path, NGPU=str(gpus))
    cfg = compose(words)
    assert (cfg.dataset.batch_size, cfg.optimization.update_freq) == (clips, [update_freq])
    assert gpus * clips * update_freq == cfg.task.clips_per_update
    # The utterance loss is a sum over a step's clips.
    assert (cfg.model.cls_loss, cfg.model.cls_loss_clips) == (0.5, 12)
    assert cfg.distributed_training.distributed_world_size == gpus
    assert ("ASDA.launch.torchrun" in words) == (gpus > 1) == (f"--nproc_per_node={gpus}" in words)


def test_pretraining__warns_with_numbers_when_the_update_is_not_the_recipes(tmp_path):
    settings = {"DATA": "data", "SAVE_DIR": "run", "DRY_RUN": "1", "NGPU": "4"}
    result = run("pretraining_AS2M.sh", "dataset.batch_size=7", cwd=tmp_path, **settings)
    assert "warning: 7 clips x 4 GPUs x update_freq 2 = 56 clips per update" in result.stderr
    assert "for 48" in result.stderr
    result = run("pretraining_AS2M.sh", "optimization.update_freq=[2]", cwd=tmp_path, BATCH_SIZE="6", **settings)
    assert "6 clips x 4 GPUs x update_freq 2 = 48 clips per update, as in the recipe" in result.stderr


def test_launch_script__arguments_win(tmp_path):
    overrides = ["dataset.batch_size=3", "common.fp16=false", "optimization.lr=[0.1]", "model.cls_loss=2"]
    (words,) = dry_run("pretraining_AS2M.sh", *overrides, cwd=tmp_path, BATCH_SIZE="5")
    cfg = compose(words)
    assert (cfg.dataset.batch_size, cfg.common.fp16, cfg.optimization.lr, cfg.model.cls_loss) == (3, False, [0.1], 2)


def test_launch_script__falls_back_to_the_cpu(tmp_path):
    settings = {"DATA": "data", "SAVE_DIR": "run", "DRY_RUN": "1", "CUDA_VISIBLE_DEVICES": ""}
    result = run("pretraining_AS2M.sh", cwd=tmp_path, **settings)
    assert "no GPU: running on the CPU in full precision" in result.stderr
    cfg = compose(shlex.split(result.stdout)[4:])
    assert cfg.common.cpu and not cfg.common.fp16


def test_launch_script__two_processes_on_the_cpu_meet_through_gloo(tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    (words,) = dry_run("pretraining_AS2M.sh", cwd=tmp_path, NGPU="0", NPROC="2")
    distributed = compose(words).distributed_training
    assert (distributed.distributed_backend, distributed.distributed_world_size) == ("gloo", 2)
    assert distributed.distributed_no_spawn and distributed.distributed_rank == 1


def test_launch_script__takes_another_yaml(tmp_path):
    yaml = tmp_path / "mine.yaml"
    yaml.write_text((ROOT / "config" / "pretraining_AS2M.yaml").read_text().replace("800000", "7"))
    (words,) = dry_run("pretraining_AS2M.sh", cwd=tmp_path, CONFIG="./mine.yaml")
    assert compose(words).optimization.max_update == 7
    result = run("pretraining_AS2M.sh", cwd=tmp_path, CONFIG="none", DATA="d", SAVE_DIR="r", DRY_RUN="1", NGPU="1")
    assert result.returncode != 0 and "config/none.yaml does not exist" in result.stderr


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
    cfg = compose(words)
    assert cfg.distributed_training.distributed_world_size == 16 and cfg.model.depth == 2
    assert cfg.dataset.batch_size * cfg.optimization.update_freq[0] * 16 == 48
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


def test_dry_run__prints_a_command_that_the_shell_runs(tmp_path):
    folder = tmp_path / "with space"
    folder.mkdir()
    settings = {"DATA": "data", "SAVE_DIR": "run", "DRY_RUN": "1", "NGPU": "0"}
    printed = run("pretraining_AS2M.sh", "common.seed=23", "--cfg", "job", cwd=folder, **settings).stdout
    result = subprocess.run(["bash", "-c", printed], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    job = OmegaConf.create(result.stdout)
    assert job.common.seed == 23 and job.task.data == str(folder / "data") and job.common.cpu


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


@pytest.fixture
def finished_fold(tmp_path):
    """A function that leaves what a fine-tuning run with this last and best accuracy leaves."""
    import torch

    def make(name: str, last: float | None, best: float | None, metric: str = "accuracy") -> str:
        folder = tmp_path / name
        folder.mkdir()
        state = {
            "extra_state": {"val_loss": last, "best": best},
            "cfg": {"checkpoint": {"best_checkpoint_metric": metric}},
        }
        torch.save(state, folder / "checkpoint_last.pt")
        return str(folder)

    return make


def summarise(*folders: str, cwd: Path) -> subprocess.CompletedProcess:
    program = [sys.executable, str(ROOT / "scripts" / "summarise_folds.py"), *folders]
    return subprocess.run(program, cwd=cwd, capture_output=True, text=True)


def test_summarise_folds__prints_mean_and_sample_deviation(finished_fold, tmp_path):
    folders = [
        finished_fold("fold1", 0.90, 0.95),
        finished_fold("fold2", 0.80, 0.85),
        finished_fold("fold3", 0.70, 0.90),
    ]
    result = summarise(*folders, "--json", "folds.json", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split()[-6:] == ["mean", "0.8000", "0.9000", "deviation", "0.1000", "0.0500"]
    numbers = json.loads((tmp_path / "folds.json").read_text())
    assert numbers["last"] == [0.90, 0.80, 0.70] and numbers["best_mean"] == pytest.approx(0.9)


@pytest.mark.parametrize("broken", ["absent", "unvalidated", "other metric"])
def test_summarise_folds__refuses_folds_that_do_not_fit(broken, finished_fold, tmp_path):
    folder = {
        "absent": lambda: str(tmp_path / "fold2"),
        "unvalidated": lambda: finished_fold("fold2", None, None),
        "other metric": lambda: finished_fold("fold2", 0.1, 0.1, metric="mAP"),
    }[broken]()
    result = summarise(finished_fold("fold1", 0.9, 0.9), folder, cwd=tmp_path)
    assert result.returncode == 1 and result.stdout == "" and result.stderr.count("\n") == 1
