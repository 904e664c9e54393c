"""What a launch makes of recipes, settings and arguments: commands that compose to the run that is meant."""

import re
import shlex
from pathlib import Path

import pytest
import torch

from ASDA.checkpoints.layouts.published_names import PUBLISHED_FLAGS
from ASDA.launch.settings import LaunchError
from tests.vit_files import ssast_tensors

from .conftest import ROOT, compose, plan

EVERYTHING = [
    ("pretraining_AS2M", []),
    ("pretraining_AS2M", ["EAT"]),
    ("pretraining_AS2M", ["demo_pretraining"]),
    ("pretraining_MAE_AST", []),
    *(("pretraining_MAE_AST", [f"MAE_AST_{recipe}"]) for recipe in ("frame", "6_layers", "ViT")),
    ("pretraining_MAE_AST", ["MAE_AST_frame", "MAE_AST_6_layers"]),
    ("pretraining_MAE_AST", ["MAE_AST_frame", "demo_MAE_AST"]),
    ("pretraining_SSAST", []),
    ("pretraining_SSAST", ["SSAST_frame"]),
    ("finetuning", ["SSAST_AS20K"]),
    *(("finetuning", [recipe] if recipe else []) for recipe in ("", "AS20K", "AS2M", "ESC50", "SPCv2", "FSD50K")),
    *(("finetuning", [recipe]) for recipe in ("UrbanSound8K", "linear_probe", "mean_pooling", "demo_finetuning")),
    *(("finetuning", [f"MAE_AST_{recipe}"]) for recipe in ("ESC50", "SPCv2", "AS20K")),
]


def one(config: str, *words: str, **settings: str):
    """The configuration of a launch of one run."""
    (run,) = plan(config, *words, **settings).runs
    return compose(run.command)


@pytest.mark.parametrize(("config", "recipes"), EVERYTHING, ids=["+".join([c, *r]) for c, r in EVERYTHING])
def test_launch__composes_with_the_plugin_to_the_recipes_clips_and_the_callers_folders(config, recipes, tmp_path):
    launch = plan(config, *recipes, DATA="the data, with = and 'quotes'", SAVE_DIR="runs/one")
    for run in {launch.runs[0], launch.runs[-1]}:  # of several folds
        cfg = compose(run.command)
        assert cfg.dataset.batch_size * cfg.optimization.update_freq[0] == cfg.task.clips_per_update
        assert f"= {cfg.task.clips_per_update} clips per update, as in the recipe" in launch.notes[-1]
        fold = f"fold{run.fold}" if run.fold else ""
        assert Path(cfg.task.data) == tmp_path / "the data, with = and 'quotes'" / fold
        assert Path(cfg.checkpoint.save_dir) == tmp_path / "runs/one" / fold == run.save_dir
        assert Path(cfg.common.user_dir) == ROOT / "ASDA"
        assert cfg.common.fp16 and not cfg.common.cpu
        if config == "finetuning":
            assert Path(cfg.model.model_path) == tmp_path / "pretrained.pt"


def test_launch__a_run_from_an_image_network_composes():
    cfg = one("finetuning", "AST_AS20K", CHECKPOINT="")
    assert cfg.model.model_path == "" and cfg.model.init == "timm:deit_base_distilled_patch16_384.fb_in1k"
    assert cfg.model.prediction_mode.name == "PREFIX_MEAN" and cfg.model.init_colours.name == "sum"


def test_launch__memory_is_that_of_the_overlapping_patches_that_fine_tuning_asks_for(tmp_path):
    torch.save(ssast_tensors(num_patches=512, depth=12), tmp_path / "ssast.pth")
    gigabytes = []
    for words in (["SSAST_AS20K"], ["SSAST_AS20K", "model.encoder=null"]):
        notes = " ".join(plan("finetuning", *words, CHECKPOINT=str(tmp_path / "ssast.pth")).notes)
        gigabytes.append(float(re.search(r"about ([\d.]+) GB", notes)[1]))
    overlapping, apart = gigabytes
    assert overlapping > 1.1 * apart  # most of it is there whatever the patches are


def test_launch__a_recipes_own_clips_per_update_count():
    cfg = one("pretraining_AS2M", "+recipe=demo_pretraining")
    assert (cfg.dataset.batch_size, cfg.optimization.update_freq, cfg.model.cls_loss_clips) == (8, [1], 8)
    assert one("pretraining_AS2M", "task.clips_per_update=24").optimization.update_freq == [2]


@pytest.mark.parametrize(("gpus", "clips", "update_freq"), [(1, 12, 4), (2, 12, 2), (4, 12, 1), (8, 6, 1)])
def test_pretraining__keeps_the_recipes_update_on_any_number_of_gpus(gpus, clips, update_freq):
    (run,) = plan("pretraining_AS2M", NGPU=str(gpus)).runs
    cfg = compose(run.command)
    assert (cfg.dataset.batch_size, cfg.optimization.update_freq) == (clips, [update_freq])
    # The utterance loss is a sum over a step's clips.
    assert (cfg.model.cls_loss, cfg.model.cls_loss_clips) == (0.5, 12)
    assert cfg.distributed_training.distributed_world_size == gpus
    torchrun = "ASDA.launch.torchrun" in run.command
    assert torchrun == (gpus > 1) == (f"--nproc_per_node={gpus}" in run.command)


def test_launch__warns_with_numbers_when_the_update_is_not_the_recipes():
    note = plan("pretraining_AS2M", "dataset.batch_size=7", NGPU="4").notes[-1]
    assert note.startswith("warning: 7 clips x 4 GPUs x update_freq 2 = 56 clips per update") and "for 48" in note
    note = plan("pretraining_AS2M", "optimization.update_freq=[2]", NGPU="4", BATCH_SIZE="6").notes[-1]
    assert note == "6 clips x 4 GPUs x update_freq 2 = 48 clips per update, as in the recipe"


def test_launch__arguments_win():
    overrides = ["dataset.batch_size=3", "common.fp16=false", "optimization.lr=[0.1]", "model.cls_loss_clips=null"]
    cfg = one("pretraining_AS2M", *overrides, BATCH_SIZE="5")
    assert (cfg.dataset.batch_size, cfg.common.fp16, cfg.optimization.lr) == (3, False, [0.1])
    assert cfg.model.cls_loss_clips is None


def test_launch__an_override_of_a_path_wins_over_its_setting(tmp_path):
    words = ("task.data=other", "checkpoint.save_dir='there/${common.seed}'", "model.model_path=/x.pt")
    launch = plan("finetuning", *words, DATA="", CHECKPOINT="", SAVE_DIR="unused")
    (run,) = launch.runs
    cfg = compose(run.command)
    assert (cfg.task.data, cfg.model.model_path) == (f"{tmp_path}/other", "/x.pt")
    assert Path(cfg.checkpoint.save_dir) == run.save_dir == tmp_path / "there/1"
    assert sum("train.log" in word for word in run.command) == 1 and f"{tmp_path}/there/1/train.log" in str(run)


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("dataset.batch_size=null", "dataset.batch_size=null: it has to be a whole number of at least 1"),
        ("optimization.update_freq=2", "it has to be a list, as in optimization.update_freq=[2]"),
        ("task.clips_per_update=0", "task.clips_per_update=0: it has to be a whole number of at least 1"),
    ],
)
def test_launch__refuses_numbers_that_make_no_update(word, says):
    with pytest.raises(LaunchError, match=re.escape(says)):
        plan("pretraining_AS2M", word)


def test_launch__without_clips_per_update_takes_what_the_yaml_says():
    launch = plan("pretraining_AS2M", "task.clips_per_update=null", NGPU="2")
    assert launch.notes[-1] == "12 clips x 2 GPUs x update_freq 1 = 24 clips per update"


def test_launch__falls_back_to_the_cpu():
    launch = plan("pretraining_AS2M", NGPU="0")
    assert launch.notes[0] == "no GPU: running on the CPU in full precision"
    cfg = compose(launch.runs[0].command)
    assert cfg.common.cpu and not cfg.common.fp16


def test_launch__two_processes_on_the_cpu_meet_through_gloo(monkeypatch):
    monkeypatch.setenv("RANK", "1")
    distributed = one("pretraining_AS2M", NGPU="0", NPROC="2").distributed_training
    assert (distributed.distributed_backend, distributed.distributed_world_size) == ("gloo", 2)
    assert distributed.distributed_no_spawn and distributed.distributed_rank == 1


def test_launch__hydras_flags_are_handed_on():
    (run,) = plan("pretraining_AS2M", "common.seed=23", "--cfg", "job").runs
    assert run.command[-3:] == ("common.seed=23", "--cfg", "job")


def test_launch__takes_another_yaml(tmp_path):
    text = (ROOT / "config" / "pretraining_AS2M.yaml").read_text()
    (tmp_path / "mine.yaml").write_text(
        text.replace("800000", "7").replace("clips_per_update: 48", "clips_per_update: 6")
    )
    cfg = one("pretraining_AS2M", CONFIG="./mine.yaml")
    assert (cfg.optimization.max_update, cfg.dataset.batch_size) == (7, 6)


@pytest.mark.parametrize(
    ("recipe", "number"), [("ESC50", 5), ("UrbanSound8K", 10), ("AS2M", 0), ("SPCv2", 0), ("linear_probe", 0)]
)
def test_folds__are_those_of_the_data_set(recipe, number):
    assert [run.fold for run in plan("finetuning", recipe).runs] == [str(k + 1) for k in range(number)] or [""]


def test_folds__are_those_of_the_setting():
    runs = plan("finetuning", "ESC50", FOLDS="2 5").runs
    assert [(run.fold, run.save_dir.name) for run in runs] == [("2", "fold2"), ("5", "fold5")]
    assert len(plan("finetuning", FOLDS="1 2 3").runs) == 3  # a data set of one's own
    with pytest.raises(LaunchError, match=r"^FOLDS=1 2: pre-training has no folds"):
        plan("pretraining_AS2M", FOLDS="1 2")


def test_folds__a_folder_that_is_one_fold_is_one_run(tmp_path):
    (tmp_path / "train.tsv").touch()
    launch = plan("finetuning", "ESC50", DATA=".")
    assert [run.fold for run in launch.runs] == [""]
    assert launch.notes[0].startswith("one run, on the train.tsv of DATA; for all 5 folds")


def test_run__is_a_line_for_the_shell():
    (run,) = plan("pretraining_AS2M", SAVE_DIR="with space").runs
    words = shlex.split(str(run))
    assert words[:2] == ["mkdir", "-p"] and words[2] == str(run.save_dir) and words[3] == "&&"
    assert words[4:] == list(run.command)


def test_launch__validates_on_two_splits_as_the_documentation_has_it():
    typed = re.findall(r"`(\S*dataset\.valid_subset=\S*valid,eval\S*)`", (ROOT / "docs/training.md").read_text())
    assert one("finetuning", *shlex.split(typed[0])).dataset.valid_subset == "valid,eval"


@pytest.mark.parametrize(
    ("config", "word", "name"),
    [
        *(("finetuning", f"task.{flag}=true", name) for flag, name in PUBLISHED_FLAGS.items()),
        ("finetuning", "task.dataset=", "audioset"),
        ("pretraining_AS2M", "task.rebuild_batches=true", "audioset"),
        ("pretraining_AS2M", "+task.fsd50k_eval=true", "fsd50k"),
    ],
)
def test_launch__published_flags_name_the_data_set(config, word, name):
    cfg = one(config, word)
    from ASDA.fairseq_plugin.tasks.front_end import corpus_of

    assert corpus_of(cfg.task).name == name


def test_launch__a_number_of_updates_that_is_typed_holds_in_place_of_the_recipes_epochs():
    launch = plan("finetuning", "MAE_AST_SPCv2", "optimization.max_update=10")
    cfg = compose(launch.runs[0].command)
    assert (cfg.task.epochs, cfg.optimization.max_update) == (None, 10)
    assert "optimization.max_update=10 as stated, in place of the recipe's 30 epochs" in launch.notes
    assert one("finetuning", "MAE_AST_SPCv2").task.epochs == 30
    assert one("finetuning", "MAE_AST_SPCv2", "optimization.max_update=10", "task.epochs=2").task.epochs == 2
