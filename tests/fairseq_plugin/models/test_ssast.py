"""The registered SSAST: its own tensors in checkpoints, its losses, and what fine-tuning makes of it."""

from types import SimpleNamespace

import pytest
import torch
from fairseq import checkpoint_utils

from ASDA.audio.front_end import FrontEnd
from ASDA.checkpoints.files import CheckpointError
from ASDA.cli.convert import main as convert
from ASDA.core.places import Places
from ASDA.inference import load_encoder
from tests.vit_files import ssast_tensors, write_ast
from tests.waiting import DataDependent

from .conftest import build

TINY = {"depth": 2, "embed_dim": 64, "num_heads": 1, "mlp_ratio": 2.0, "max_length": 6}


@pytest.fixture
def spectrogram():
    return torch.randn(2, 1, 96, 128, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def masks():
    """(2, 2, 48): two masks per clip, 30 patches hidden."""
    return torch.rand(2, 2, 48, generator=torch.Generator().manual_seed(2)).argsort(-1) < 30


def test_ssast__base_size_has_the_published_number_of_parameters():
    with torch.device("meta"):
        model = build("ssast", {})
    encoder = sum(parameter.numel() for parameter in model.encoder.parameters())
    heads = 2 * (768 * 768 + 768 + 768 * 256 + 256)
    assert encoder == 86_594_063 - (2 * 768 + 769 * 527) - 768 * (
        12 * 101 - 512
    )  # AST's, with positions of 512 patches
    assert sum(parameter.numel() for parameter in model.parameters()) == encoder + heads + 768


@pytest.mark.parametrize("wrapped", [True, False])
def test_load_state_dict__takes_ssasts_own_file_and_gives_it_back(wrapped):
    tensors = ssast_tensors(wrapped=wrapped)
    model = build("ssast", TINY)
    unused = {
        "v.head.weight": torch.ones(10, 64),
        "v.head_dist.bias": torch.ones(10),
        "p_input_fdim": torch.tensor(128),
    }
    outer = "module." if wrapped else ""
    model.load_state_dict(tensors | {f"{outer}{name}": tensor for name, tensor in unused.items()})
    state = model.state_dict()
    plain = {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
    assert state.keys() == plain.keys() and all(torch.equal(state[name], plain[name]) for name in plain)
    torch.manual_seed(5)
    other = build("ssast", TINY)
    other.load_state_dict(state)
    assert all(torch.equal(a, b) for a, b in zip(other.parameters(), model.parameters(), strict=True))


def test_load_state_dict__refuses_another_size_in_one_line():
    with pytest.raises((CheckpointError, ValueError), match="pos_embed: expected a tensor of shape .1, 66, 64."):
        build("ssast", {**TINY, "max_length": 8}).load_state_dict(ssast_tensors())
    with pytest.raises(RuntimeError, match="mask_token"):
        build("ssast", TINY).load_state_dict(ssast_tensors(classes=3))


def test_forward__gives_losses_that_are_means_once_divided(spectrogram, masks):
    model = build("ssast", TINY)
    result = model(spectrogram, precomputed_mask=masks)
    assert list(result["losses"]) == ["discriminative", "generative"] and result["sample_size"] == 2 * 2 * 30
    assert result["masked_pct"] == 30 / 48
    once = model(spectrogram, precomputed_mask=masks[:, 0])
    assert once["sample_size"] == 2 * 30
    ratio = result["losses"]["discriminative"] / result["sample_size"], once["losses"]["discriminative"] / 60
    torch.testing.assert_close(*ratio)
    places = Places.of(masks.flatten(0, 1), 2).to_dict()
    assert torch.equal(model(spectrogram, places=places)["losses"]["generative"], result["losses"]["generative"])
    for wrong in ({}, {"precomputed_mask": masks, "mask": False}, {"precomputed_mask": masks, "padding_mask": masks}):
        with pytest.raises(ValueError, match="pre-training needs"):
            model(spectrogram, **wrong)


@pytest.mark.parametrize("options", [{}, {"autocast": "bf16"}, {"checkpoint_activations": True}])
def test_pretraining_step__has_no_data_dependent_operation(spectrogram, masks, options):
    model = build("ssast", {**TINY, **options}).train()
    places = Places.of(masks.flatten(0, 1), 2).to_dict()
    with DataDependent() as seen:
        result = model(spectrogram, places=places)
        (sum(result["losses"].values()) / result["sample_size"]).backward()
        model.set_num_updates(1)
    assert seen.found == []


def test_load_model_ensemble_and_task__of_a_converted_file(tmp_path, spectrogram):
    torch.save(ssast_tensors(), tmp_path / "ssast.pth")
    assert convert([str(tmp_path / "ssast.pth"), str(tmp_path / "ssast.pt"), "--to", "project"]) == 0
    (model,), cfg, task = checkpoint_utils.load_model_ensemble_and_task([str(tmp_path / "ssast.pt")])
    assert cfg.model._name == "ssast" and task.front_end.target_length_frames == 96
    with torch.no_grad():
        features = model.eval().extract_features(spectrogram, remove_extra_tokens=False)["x"]
        assert torch.equal(features, load_encoder(tmp_path / "ssast.pth")(spectrogram))


def test_load_model_ensemble_and_task__of_a_converted_ast(tmp_path):
    assert convert([str(write_ast(tmp_path / "ast")), str(tmp_path / "ast.pt"), "--to", "project"]) == 0
    (model,), _, task = checkpoint_utils.load_model_ensemble_and_task([str(tmp_path / "ast.pt")])
    assert task.label_names == ["bark", "meow", "rain"]
    from ASDA.inference import load_classifier

    x = torch.randn(1, 1, 64, 128)
    with torch.no_grad():
        assert torch.equal(model.eval()(x), load_classifier(tmp_path / "ast").logits(x))


TASK = SimpleNamespace(multi_label=True, front_end=FrontEnd(96))
CLASSIFIER = {"num_classes": 3, "prediction_mode": "MEAN_POOLING"}


def test_finetuning__starts_from_ssast_with_overlapping_patches(tmp_path, spectrogram):
    torch.save(ssast_tensors(), tmp_path / "ssast.pth")
    grid = {"encoder": {"patches": {"stride": [10, 10]}}}
    model = build("asda_classifier", {**CLASSIFIER, **grid, "model_path": str(tmp_path / "ssast.pth")}, TASK)
    config = model.encoder.config
    assert (config.patches.stride, config.max_rows, config.columns) == ((10, 10), 9, 12)
    assert model.cfg.encoder.patches.stride == [10, 10] and model.cfg.encoder.max_rows == 9
    assert model(spectrogram).shape == (2, 3)
    apart = build("asda_classifier", {**CLASSIFIER, "model_path": str(tmp_path / "ssast.pth")}, TASK)
    kernels = [m.encoder.patch_embed.proj.weight for m in (model, apart)]
    assert torch.equal(*kernels) and apart.encoder.config.max_rows == 6


def test_finetuning__refuses_settings_that_a_trained_encoder_cannot_take(tmp_path):
    torch.save(ssast_tensors(), tmp_path / "ssast.pth")
    start = {**CLASSIFIER, "model_path": str(tmp_path / "ssast.pth")}
    with pytest.raises(CheckpointError, match="can change patches.stride and max_rows alone"):
        build("asda_classifier", {**start, "encoder": {"stack": {"depth": 5}}}, TASK)


@pytest.mark.parametrize(
    ("start", "message"),
    [
        ({"init": "timm:deit", "model_path": "x.pt"}, "a run starts from one of them"),
        ({"init": "torchvision:vit"}, "model.init=torchvision:vit: expected timm:NAME"),
        ({"init": "timm:"}, "expected timm:NAME"),
        ({"init": "deit_base"}, "expected timm:NAME"),
        ({}, "set model.model_path=.* or from an image network: model.init=timm:NAME"),
    ],
)
def test_finetuning__says_what_it_can_start_from(start, message):
    with pytest.raises(ValueError, match=message):
        build("asda_classifier", {**CLASSIFIER, **start}, TASK)


def test_finetuning__starts_from_an_image_network():
    pytest.importorskip("timm", reason="image networks come through timm, an extra")
    start = {"init": "timm:deit_tiny_distilled_patch16_224", "no_pretrained_weights": True}
    model = build("asda_classifier", {"num_classes": 3, "prediction_mode": "PREFIX_MEAN", **start}, TASK)
    config = model.encoder.config
    assert (config.max_rows, config.columns, config.num_prefix_tokens) == (9, 12, 2)
    assert model(torch.randn(1, 1, 96, 128)).shape == (1, 3)
