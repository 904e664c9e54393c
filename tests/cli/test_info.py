"""asda-info: what a checkpoint, a configuration and the known systems are."""

import hashlib
import json
from pathlib import Path

import pytest
import torch

from ASDA.adaptation.adapting import methods_named
from ASDA.audio.front_end import FrontEnd
from ASDA.checkpoints.checkpoint import Checkpoint
from ASDA.cli.convert import main as convert
from ASDA.cli.info import main, of_checkpoint
from ASDA.core import zoo
from ASDA.core.config import HeadConfig
from tests.mae_ast_files import released
from tests.published_files import published_finetuned, published_pretraining


def described(capsys, *arguments):
    assert main([*map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("layout", ["published", "project", "directory", "huggingface"])
def test_info__of_a_pretrained_encoder_in_any_layout(tmp_path, capsys, layout):
    torch.save(published_pretraining("differential"), tmp_path / "published.pt")
    path = tmp_path / "published.pt"
    if layout != "published":
        path = tmp_path / "converted"
        assert convert([str(tmp_path / "published.pt"), str(path), "--to", layout]) == 0
    found = described(capsys, path)
    assert found["system"] == "ASDA"
    assert found["encoder"]["stack"]["mlp_ratio"] == 3.5
    state = torch.load(tmp_path / "published.pt", weights_only=True)["model"]
    sizes = {name: tensor.numel() for name, tensor in state.items() if name != "_ema" and "positions" not in name}
    decoder = sum(size for name, size in sizes.items() if ".decoder." in name)
    assert found["used_in_training_alone"] == {"decoder": decoder}
    total = sum(sizes.values()) - decoder
    assert found["parameters"] == {"total": total, "trained": total, "frozen": 0}
    assert sum(part["parameters"] for part in found["parts"]) == found["parameters"]["total"]
    assert {part["name"] for part in found["parts"]} >= {"prefix_tokens", "2 blocks", "norm_first"}
    file = path if path.is_file() else path / "model.safetensors"
    assert found["origin"]["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert found["origin"]["num_updates"] == 4
    assert found["front_end"]["norm_mean"] == -4.268
    assert found["head"] is None


def test_info__of_a_linear_probe_counts_the_encoder_as_frozen(tmp_path, capsys):
    torch.save(published_finetuned(num_classes=7, model={"linear_classifier": True}), tmp_path / "probe.pt")
    found = described(capsys, tmp_path / "probe.pt")
    assert found["head"]["num_classes"] == 7 and found["head"]["scores"] == "sigmoid"
    assert found["parameters"]["trained"] == 2 * 32 + 7 * 32 + 7
    assert found["parameters"]["frozen"] == found["parameters"]["total"] - found["parameters"]["trained"] > 0


def test_info__of_a_configuration_has_the_decoder_too(capsys):
    pytest.importorskip("fairseq")
    found = described(capsys, "--config", "pretraining_AS2M", "model.depth=3", "+recipe=EAT")
    assert (found["system"], found["encoder"]["stack"]["depth"]) == ("EAT", 3)
    parts = {part["name"]: part["parameters"] for part in found["parts"]}
    assert parts["encoder.3 blocks"] == 3 * 7_087_872
    assert parts["decoder.6 blocks"] == 6 * (768 * 48 * 9 + 768)
    assert found["patches_per_clip"] == 512


@pytest.mark.parametrize(
    ("words", "system", "total", "unused", "patches"),
    [
        ((), "MAE-AST patch", 99_826_176, 1024, 496),
        (("+recipe=MAE_AST_6_layers",), "MAE-AST patch", 57_298_944, 1024, 496),
        (("+recipe=[MAE_AST_frame,MAE_AST_6_layers]",), "MAE-AST frame", 57_298_944, 1024, 499),
        (("+recipe=MAE_AST_ViT",), "MAE-AST pre-norm", 57_888_512, 0, 512),
    ],
)
def test_info__of_mae_asts_recipes_counts_what_is_never_used(capsys, words, system, total, unused, patches):
    pytest.importorskip("fairseq")
    found = described(capsys, "--config", "pretraining_MAE_AST", *words)
    assert (found["system"], found["patches_per_clip"]) == (system, patches)
    assert found["parameters"] == {"total": total, "trained": total - unused, "frozen": unused}
    front_end = found["front_end"]
    assert (front_end["window"], front_end["norm_mean"], front_end["norm_std"]) == ("povey", 0.0, 0.5)


def test_info__of_a_released_mae_ast(tmp_path, capsys):
    torch.save(released("frame"), tmp_path / "released.pt")
    found = described(capsys, tmp_path / "released.pt")
    assert (found["system"], found["origin"]["layout"]) == ("MAE-AST frame", "mae_ast")
    assert set(found["used_in_training_alone"]) == {"decoder", "heads", "unused"}
    parameters = [n for t, n in tensors_of(tmp_path / "released.pt") if "pe" not in t and "batch_norm" not in t]
    assert found["parameters"]["total"] + sum(found["used_in_training_alone"].values()) == sum(parameters)


def tensors_of(file):
    return [(name.rpartition(".")[2] + name, t.numel()) for name, t in torch.load(file)["model"].items()]


def test_info__of_a_finetuning_configuration_follows_its_checkpoint_and_data_set(tmp_path, capsys):
    pytest.importorskip("fairseq")
    torch.save(published_pretraining("plain"), tmp_path / "eat.pt")
    found = described(capsys, "--config", "finetuning", "ESC50", f"model.model_path={tmp_path / 'eat.pt'}")
    parts = {part["name"]: part["parameters"] for part in found["parts"]}
    assert parts["classifier.head.linear"] == 50 * 32 + 50
    assert found["front_end"]["target_length_frames"] == 512


def test_info__tables_align_and_name_every_part(tmp_path, capsys):
    torch.save(published_pretraining("plain"), tmp_path / "eat.pt")
    assert main([str(tmp_path / "eat.pt")]) == 0
    lines = capsys.readouterr().out.splitlines()
    table = lines[next(n for n, line in enumerate(lines) if line.startswith("PART")) :]
    assert len({len(line) for line in table}) == 1
    assert [line.split()[0] for line in table][-2:] == ["total", "decoder"]
    assert main(["--zoo"]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert len(rows) == 1 + len(zoo.SYSTEMS) and all(
        row.startswith(n) for row, n in zip(rows[1:], zoo.SYSTEMS, strict=True)
    )


@pytest.mark.parametrize("arguments", [[], ["x.pt", "--zoo"], ["--zoo", "--config", "finetuning"], ["x.pt", "y.pt"]])
def test_info__one_thing_at_a_time(arguments):
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["/nowhere.pt"], "/nowhere.pt: no such checkpoint file"),
        (["--config", "nothing"], "nothing.yaml does not exist"),
        (["--config", "pretraining_AS2M", "model.num_heads=7"], "num_heads: expected a divisor of embed_dim"),
        (["--config", "finetuning"], "set model.model_path"),
    ],
)
def test_info__errors_are_one_line(capsys, arguments, message):
    if "--config" in arguments:
        pytest.importorskip("fairseq")
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_info__is_a_program():
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    assert 'asda-info = "ASDA.cli.info:main"' in text


@pytest.mark.parametrize(
    ("names", "classes", "trained"),
    [(["aat"], 20, 7_117_844), (["aat"], 50, 7_140_914), (["aat_m"], 50, 3_590_450), (["head"], 50, 39_986)],
)
def test_info__counts_of_adapted_ast(tmp_path, names, classes, trained):
    """AAT, arXiv 2401.10544: adapters and head on AST."""
    (tmp_path / "file").write_bytes(b"")
    head, methods = HeadConfig(classes, "prefix_mean"), methods_named(names, {})
    checkpoint = Checkpoint(
        tmp_path / "file", "adapter", zoo.AST, {}, FrontEnd(1024), head_config=head, adaptation=methods
    )
    found = of_checkpoint(checkpoint)
    assert found["parameters"]["trained"] == trained
    assert [method["kind"] for method in found["adaptation"]] == [method.kind for method in methods]
