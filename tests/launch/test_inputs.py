"""A run starts only when the files are there that it will read; one line names the first that is not."""

import re

import pytest
import torch

from ASDA.launch.arguments import Arguments
from ASDA.launch.inputs import check_data
from ASDA.launch.recipe import Recipe, find_config
from ASDA.launch.settings import LaunchError

from ..published_files import published_pretraining
from .conftest import plan

FILES = ("train.tsv", "eval.tsv", "train.lbl", "eval.lbl", "label_descriptors.csv")
REAL = {"DRY_RUN": "0", "NGPU": "0", "DATA": "data", "CHECKPOINT": "none.pt"}


def read(config: str, *words: str) -> Recipe:
    return Recipe(find_config(config), Arguments.parse(list(words)))


def missing_file(recipe: Recipe, data) -> str:
    with pytest.raises(LaunchError) as error:
        check_data(recipe, data)
    assert "\n" not in str(error.value)
    return str(error.value)


def refusal(config: str, *words: str, **settings: str) -> str:
    with pytest.raises(LaunchError) as error:
        plan(config, *words, **settings)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("missing", ["DATA", "SAVE_DIR", "CHECKPOINT"])
@pytest.mark.parametrize("words", [["finetuning"], ["finetuning", "ESC50"], ["pretraining_AS2M"]])
def test_inputs__says_what_is_not_set(words, missing):
    if (missing, words[0]) == ("CHECKPOINT", "pretraining_AS2M"):
        pytest.skip("pre-training starts from nothing")
    assert refusal(*words, **{missing: ""}).startswith(f"set {missing}: ")


def test_inputs__a_run_from_an_image_network_needs_no_checkpoint():
    (run,) = plan("finetuning", "AST_AS20K", CHECKPOINT="").runs
    assert not [word for word in run.command if word.startswith("model.model_path=")]
    assert refusal("finetuning", "AST_AS20K").startswith("CHECKPOINT: the run starts from model.init=timm:deit_base")
    (run,) = plan("finetuning", "AST_AS20K", "model.init=''").runs
    assert [word for word in run.command if word.startswith("model.model_path=") and "pretrained.pt" in word]


@pytest.mark.parametrize(
    ("config", "words", "needed"),
    [
        ("pretraining_AS2M", [], ["train"]),
        ("pretraining_AS2M", ["dataset.disable_validation=false"], ["train", "valid"]),
        ("finetuning", [], ["train", "eval"]),
        ("finetuning", ["dataset.valid_subset='valid,eval'"], ["train", "valid", "eval"]),
        ("finetuning", ["++dataset.valid_subset=other"], ["train", "other"]),
        ("finetuning", ["dataset.train_subset=some"], ["some", "eval"]),
        ("finetuning", ["dataset.disable_validation=true"], ["train"]),
        ("finetuning", ["+recipe=FSD50K"], ["train", "valid", "eval"]),
        ("finetuning", ["SPCv2"], ["train", "valid", "eval"]),
        ("finetuning", ["FSD50K", "dataset.valid_subset=eval"], ["train", "eval"]),
        ("finetuning", ["demo_finetuning"], ["train", "valid"]),
    ],
)
def test_check_data__wants_the_splits_that_the_run_uses_and_no_others(config, words, needed, tmp_path):
    recipe = read(config, *words)
    files = [f"{split}.tsv" for split in needed]
    if config == "finetuning":
        files += [*(f"{split}.lbl" for split in needed), "label_descriptors.csv"]
    for file in files:
        said = missing_file(recipe, tmp_path)
        assert said.startswith(f"DATA: {tmp_path}/{file} does not exist; it has to be a folder with ")
        if config == "finetuning":
            others = {"valid", "other"} & {*needed}
            assert ("dataset.valid_subset=eval needs train and eval only" in said) == bool(others)
        (tmp_path / file).touch()
    check_data(recipe, tmp_path)


@pytest.mark.parametrize("classes", ["classes.csv", "/elsewhere/classes.csv"])
def test_check_data__wants_the_labels_and_the_class_table_that_the_run_reads(classes, tmp_path):
    recipe = read("finetuning", "task.labels=tags", f"task.label_descriptors={classes}")
    for file in ("train.tsv", "eval.tsv", "train.tags", "eval.tags", *([classes] if classes[0] != "/" else [])):
        assert f"DATA: {tmp_path}/{file} does not exist" in missing_file(recipe, tmp_path)
        (tmp_path / file).touch()
    check_data(recipe, tmp_path)


def test_inputs__are_the_checkpoint_after_the_data_and_the_save_folder_after_both(tmp_path):
    (tmp_path / "data").mkdir()
    assert refusal("pretraining_AS2M", **REAL).startswith(f"DATA: {tmp_path}/data/train.tsv does not exist")
    for file in FILES:
        (tmp_path / "data" / file).touch()
    said = f"CHECKPOINT: {tmp_path}/none.pt does not exist; it has to be a pre-trained checkpoint"
    assert refusal("finetuning", **REAL) == said
    assert refusal("pretraining_AS2M", **REAL, SAVE_DIR="").startswith("set SAVE_DIR: ")


def test_inputs__are_the_weights_of_the_clips_where_the_recipe_uses_them(tmp_path):
    (tmp_path / "data").mkdir()
    for file in FILES:
        (tmp_path / "data" / file).touch()
    said = refusal("finetuning", "AS2M", **REAL)
    assert f"DATA: {tmp_path}/data/weight_train_all.csv does not exist" in said and "the clips' weights" in said
    assert "none.pt" in refusal("finetuning", "AS2M", "task.weights_file=''", **REAL)
    said = refusal("finetuning", "AS2M", "task.weights_file=/elsewhere.csv", **REAL)
    assert said == "task.weights_file: /elsewhere.csv does not exist"


def test_inputs__of_every_fold_are_looked_at_before_the_first_is_run(tmp_path):
    for fold in range(1, 6):
        (tmp_path / f"data/fold{fold}").mkdir(parents=True)
        for file in FILES:
            (tmp_path / f"data/fold{fold}" / file).touch()
    (tmp_path / "data/fold4/eval.lbl").unlink()
    torch.save(published_pretraining(), tmp_path / "none.pt")
    assert f"{tmp_path}/data/fold4/eval.lbl does not exist" in refusal("finetuning", "ESC50", **REAL)
    assert len(plan("finetuning", "ESC50", **REAL, FOLDS="1 2 3 5").runs) == 4
    # A folder of folds where a single one is expected: the message says how.
    assert refusal("finetuning", **REAL).endswith('. For the folds that it holds: FOLDS="1 2 3 4 5"')


def test_inputs__names_a_yaml_that_does_not_exist():
    assert re.match(r"CONFIG: .*/config/none.yaml does not exist", refusal("finetuning", CONFIG="none"))
