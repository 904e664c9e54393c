"""Layouts into one another and back, bit for bit."""

import json

import pytest
import torch

from ASDA.audio.front_end import FrontEnd
from ASDA.checkpoints.layouts.published import to_published
from ASDA.checkpoints.reading import read_with_run
from ASDA.cli.convert import main as convert
from ASDA.inference import CheckpointError, load_classifier, load_encoder, read_checkpoint
from tests.published_files import published_finetuned, published_pretraining

TEACHER_UPDATES = "_ema_num_updates"


def assert_same(first, second):
    """Equal tensors, bit for bit, and equal plain values, recursively."""
    if isinstance(first, dict):
        assert first.keys() == second.keys()
        for key in first:
            assert_same(first[key], second[key])
    elif isinstance(first, torch.Tensor):
        assert first.dtype == second.dtype and torch.equal(first, second)
    else:
        assert first == second


def load(path):
    return torch.load(path, weights_only=True)


@pytest.fixture(params=["pretrained", "finetuned"])
def published_file(request, pretrained_file, finetuned_file):
    return {"pretrained": pretrained_file, "finetuned": finetuned_file}[request.param]


@pytest.fixture
def project_file(published_file, tmp_path):
    """A checkpoint of this project with constants of its own and a teacher that is not behind."""
    _, state = read_with_run(published_file)
    model = state["cfg"]["model"]
    constants = {"diff_lambda": 0.3, "out_scale": 0.9}
    if model["encoder"]["stack"]["attention"]["kind"] == "differential":
        (model if "num_heads" in model else model["pretrained_model_args"]["model"]).update(constants)
        model["encoder"]["stack"]["attention"].update(constants)
    if "_ema" in state["model"]:
        state["model"][TEACHER_UPDATES] = torch.tensor(4)
    else:
        state["task_state"]["label_names"] = [f"sound {index}" for index in range(10)]
    torch.save(state, tmp_path / "project.pt")
    return tmp_path / "project.pt"


def run(source, target, layout, *flags):
    assert convert([str(source), str(target), "--to", layout, *flags]) == 0
    return target


@pytest.mark.parametrize("way", ["project", "directory", "huggingface"])
def test_convert__published_round_trip(published_file, tmp_path, way):
    there = run(published_file, tmp_path / "there", way)
    back = load(run(there, tmp_path / "back.pt", "published"))
    original = load(published_file)
    assert_same(back["model"], original["model"])
    assert_same(back["cfg"], original["cfg"])
    assert_same(back["optimizer_history"], original["optimizer_history"])


@pytest.mark.parametrize("way", ["published", "directory", "huggingface"])
def test_convert__project_round_trip(project_file, tmp_path, way):
    there = run(project_file, tmp_path / "there", way)
    back = load(run(there, tmp_path / "back.pt", "project"))
    original = load(project_file)
    assert_same(back["model"], original["model"])
    assert_same(back["cfg"], original["cfg"])
    assert_same(back["task_state"], original["task_state"])


def test_convert__every_layout_computes_the_same(project_file, tmp_path, spectrogram):
    finetuned = bool(read_checkpoint(project_file).head)

    def compute(path):
        with torch.no_grad():
            features = load_encoder(path)(spectrogram)
            return features, load_classifier(path).logits(spectrogram) if finetuned else None

    expected = compute(project_file)
    for layout in ("published", "project", "directory", "huggingface"):
        found = compute(run(project_file, tmp_path / layout, layout))
        assert torch.equal(found[0], expected[0])
        assert expected[1] is None or torch.equal(found[1], expected[1])


def test_convert__says_that_the_published_programs_know_no_padding_mask(tmp_path, capsys):
    state = published_pretraining()
    for padding in ("constant", "mask"):
        state["task_state"] = {"front_end": FrontEnd(96, padding=padding).to_dict()}
        torch.save(state, tmp_path / f"{padding}.pt")
        run(tmp_path / f"{padding}.pt", tmp_path / f"{padding}_published.pt", "published")
        assert ("trained with a padding mask" in capsys.readouterr().err) is (padding == "mask")


def test_convert__keeps_the_optimiser_in_pt_files(tmp_path):
    state = published_pretraining()
    state["last_optimizer_state"] = {"default": {"state": {0: {"exp_avg": torch.randn(3)}}, "param_groups": []}}
    torch.save(state, tmp_path / "published.pt")
    project = load(run(tmp_path / "published.pt", tmp_path / "project.pt", "project"))
    assert_same(project["last_optimizer_state"], state["last_optimizer_state"])


def test_convert__project_layout_states_what_was_implied(published_file, attention, tmp_path):
    state = load(run(published_file, tmp_path / "project.pt", "project"))
    model = state["cfg"]["model"]
    finetuned = "pretrained_model_args" in model
    assert model["_name"] == ("asda_classifier" if finetuned else "asda")
    encoder = model["pretrained_model_args"]["model"] if finetuned else model
    assert encoder["_name"] == "asda"
    assert (encoder["attention"], encoder["diff_lambda"], encoder["out_scale"]) == (attention, 0.1, 0.95)
    assert encoder["mlp_ratio"] == (3.5 if attention == "differential" else 4.0)
    assert state["task_state"]["front_end"]["norm_mean"] == -4.268
    if not finetuned:
        # Four updates of the student; the published program's teacher lags by one.
        assert int(state["model"][TEACHER_UPDATES]) == 3


def test_convert__directory_holds_what_people_need_to_know(project_file, attention, tmp_path):
    folder = run(project_file, tmp_path / "folder", "directory", "--norm_mean", "-5.5", "--target_length", "512")
    config = json.loads((folder / "config.json").read_text())
    constants = {"lambda_mode": "fixed", "lambda_init": None, "diff_lambda": 0.3, "out_scale": 0.9}
    expected = {"kind": attention} | (constants if attention == "differential" else {})
    assert config["encoder"]["stack"]["attention"] == expected
    front_end = config["front_end"]
    assert (front_end["norm_mean"], front_end["norm_std"], front_end["target_length_frames"]) == (-5.5, 4.569, 512)
    checkpoint = read_checkpoint(project_file)
    if checkpoint.head:
        assert config["head"]["label_names"] == checkpoint.label_names
    assert (folder / "pretraining.safetensors").exists() == (not checkpoint.head)


def test_convert__edited_config_is_taken_back(tmp_path):
    torch.save(published_finetuned(num_classes=2), tmp_path / "published.pt")
    folder = run(tmp_path / "published.pt", tmp_path / "folder", "directory")
    config = json.loads((folder / "config.json").read_text())
    config["head"]["label_names"] = ["bark", "meow"]
    (folder / "config.json").write_text(json.dumps(config))
    assert load(run(folder, tmp_path / "p.pt", "project"))["task_state"]["label_names"] == ["bark", "meow"]


def test_convert__records_labels_and_refuses_another_order(tmp_path, capsys):
    torch.save(published_finetuned(num_classes=2), tmp_path / "published.pt")
    (tmp_path / "labels.csv").write_text('index,mid,display_name\n0,/m/0,"bark"\n1,/m/1,"meow"\n')
    (tmp_path / "other.csv").write_text('index,mid,display_name\n0,/m/1,"meow"\n1,/m/0,"bark"\n')
    (tmp_path / "more.csv").write_text('index,mid,display_name\n0,/m/1,"meow"\n')
    named = run(tmp_path / "published.pt", tmp_path / "n.pt", "project", "--label_file", str(tmp_path / "labels.csv"))
    assert load_classifier(named).label_names == ["bark", "meow"]
    for labels, message in {"other.csv": 'class 0 is "meow"', "more.csv": "1 classes, but"}.items():
        arguments = [str(named), str(tmp_path / "x.pt"), "--to", "project", "--label_file", str(tmp_path / labels)]
        assert convert(arguments) == 1
        assert message in capsys.readouterr().err
    assert not (tmp_path / "x.pt").exists()


def test_to_published__says_what_the_published_programs_will_not_honour(project_file, attention):
    _, unknown = to_published(load(project_file), project_file)
    assert unknown == ({"diff_lambda": 0.3, "out_scale": 0.9} if attention == "differential" else {})


@pytest.mark.parametrize("file", ["config.json", "model.safetensors", "training.json"])
def test_convert__incomplete_directory_is_refused(published_file, tmp_path, file, capsys):
    folder = run(published_file, tmp_path / "folder", "directory")
    content = (folder / file).read_bytes()
    (folder / file).write_bytes(content[: len(content) // 2])
    assert convert([str(folder), str(tmp_path / "x.pt"), "--to", "project"]) == 1
    assert f"{folder / file}: truncated" in capsys.readouterr().err
    (folder / file).unlink()
    assert convert([str(folder), str(tmp_path / "x.pt"), "--to", "project"]) == 1
    assert f"{folder / file}: no such file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "wav2vec2"}, "unknown checkpoint layout: .*; found a config.json with model_type=wav2vec2"),
        ({"encoder": None}, "encoder: expected a table of settings, found None"),
        ({"format_version": 99}, "format_version is 99"),
        ({"head": {"num_classes": 2}}, "describes a head"),
    ],
)
def test_read_checkpoint__directory_of_another_layout(tmp_path, change, message):
    torch.save(published_pretraining(), tmp_path / "published.pt")
    folder = run(tmp_path / "published.pt", tmp_path / "folder", "directory")
    config = json.loads((folder / "config.json").read_text()) | change
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(folder)


def test_convert__does_not_overwrite_its_source(published_file, capsys):
    before = published_file.read_bytes()
    assert convert([str(published_file), str(published_file), "--to", "project"]) == 1
    assert "the same" in capsys.readouterr().err
    assert published_file.read_bytes() == before
