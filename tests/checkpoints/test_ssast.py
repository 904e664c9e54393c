"""Files of SSAST's and AST's own programs against the papers in explicit loops, and through every layout."""

import numpy as np
import pytest
import torch

from ASDA.checkpoints.files import CheckpointError
from ASDA.checkpoints.reading import read_checkpoint
from ASDA.cli.convert import main as convert
from ASDA.core.zoo import system_of
from ASDA.inference import load_classifier, load_encoder
from tests.vit_files import oracle_head, oracle_tokens, ssast_tensors

FINETUNED = {  # patches of the position table -> stride, mel bins and frames
    "overlapping": (12 * 7, (10, 10)),
    "as long as 600 patches": (600, (10, 10)),
    "apart": (8 * 7, (16, 16)),
}


def spectrogram(frames):
    return torch.randn(1, 1, frames, 128, generator=torch.Generator().manual_seed(2))


def assert_tokens(path, tensors, frames, stride=None, num_heads=1):
    x = spectrogram(frames)
    with torch.no_grad():
        features = load_encoder(path)(x)[0].double().numpy()
    prefix, patches = oracle_tokens(tensors, x[0, 0].double().numpy(), num_heads, stride)
    rows, columns = (1 + max(place[axis] for place in patches) for axis in (0, 1))
    expected = [*prefix, *(patches[row, column] for row in range(rows) for column in range(columns))]
    np.testing.assert_allclose(features, np.stack(expected), atol=2e-5)
    return prefix, patches


@pytest.mark.parametrize("wrapped", [True, False])
@pytest.mark.parametrize(
    ("settings", "frames"), [({}, 96), ({"patch": (128, 2), "num_patches": 20}, 40), ({"tokens": 1, "width": 128}, 96)]
)
def test_load_encoder__of_a_file_before_fine_tuning(tmp_path, wrapped, settings, frames):
    tensors = ssast_tensors(wrapped=wrapped, **settings)
    torch.save(tensors, tmp_path / "ssast.pth")
    assert_tokens(tmp_path / "ssast.pth", tensors, frames, num_heads=settings.get("width", 64) // 64)
    checkpoint = read_checkpoint(tmp_path / "ssast.pth")
    assert checkpoint.front_end.target_length_frames == frames and not checkpoint.encoder_config.patches.overlap
    assert set(checkpoint.training_parts) == {"mask_token", "classify", "reconstruct"}
    if not settings:
        assert system_of(checkpoint.encoder_config) == "SSAST"


@pytest.mark.parametrize("kind", FINETUNED)
def test_load_classifier__pools_the_patches_of_a_fine_tuned_ssast(tmp_path, kind):
    num_patches, stride = FINETUNED[kind]
    rows = num_patches // (12 if stride[0] == 10 else 8)
    frames = 16 + (rows - 1) * stride[0]
    tensors = ssast_tensors(classes=3, num_patches=num_patches, depth=1)
    torch.save(tensors, tmp_path / "ssast.pth")
    _, patches = assert_tokens(tmp_path / "ssast.pth", tensors, frames, stride)
    with torch.no_grad():
        logits = load_classifier(tmp_path / "ssast.pth").logits(spectrogram(frames))[0].double().numpy()
    np.testing.assert_allclose(logits, oracle_head(tensors, np.mean(list(patches.values()), axis=0)), atol=2e-5)


def with_image_heads(tensors, trained):
    bias = 0.1 * torch.randn(10) if trained else torch.zeros(10)
    return tensors | {"module.v.head.weight": torch.randn(10, 64), "module.v.head.bias": bias}


@pytest.mark.parametrize("trained", [True, False])
def test_load_classifier__trained_heads_of_image_classes_are_the_mark_of_ast(tmp_path, trained):
    tensors = with_image_heads(ssast_tensors(classes=3, num_patches=84), trained)
    torch.save(tensors, tmp_path / "ast.pth")
    prefix, patches = assert_tokens(tmp_path / "ast.pth", without_heads(tensors), 76, (10, 10))
    pooled = np.mean(prefix, axis=0) if trained else np.mean(list(patches.values()), axis=0)
    with torch.no_grad():
        logits = load_classifier(tmp_path / "ast.pth").logits(spectrogram(76))[0].double().numpy()
    np.testing.assert_allclose(logits, oracle_head(without_heads(tensors), pooled), atol=2e-5)


def without_heads(tensors):
    return {name: tensor for name, tensor in tensors.items() if ".v.head" not in name}


def change(**changes):
    def make():
        tensors = ssast_tensors(classes=changes.pop("classes", 0), **changes.pop("settings", {}))
        return {n: t for n, t in (tensors | changes).items() if t is not None}

    return make


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (change(settings={"width": 32}), "cls_token: expected a width that heads of 64 divide, found 32"),
        (change(settings={"num_patches": 50}), "pos_embed: expected whole columns of 8 patches, found 50"),
        (change(classes=3, settings={"patch": (128, 2)}), "patches of 16 x 16 in a fine-tuned file"),
        (
            change(**{"module.decoder.weight": torch.ones(2)}),
            "those of SSAST or AST .* found 'decoder.weight'",
        ),
        (change(**{"module.v.fc_norm.weight": torch.ones(2)}), "expected those of a vision transformer"),
        (change(**{"module.v.cls_token": None}), "cls_token"),
        (change(**{"module.v.blocks.0.mlp.fc1.weight": None}), "blocks.0.mlp.fc1.weight"),
        (change(**{"module.gpredlayer.2.weight": torch.ones(255, 64)}), r"tensor of shape \(256, any\)"),
        (change(**{"module.p_input_fdim": torch.ones(2)}), "p_input_fdim: expected a finite number"),
        (change(**{"module.p_input_fdim": torch.tensor(8)}), "smaller than one patch"),
        (change(**{"module.v.norm.bias": 3}), "norm.bias: expected a tensor"),
    ],
)
def test_read_checkpoint__what_such_a_file_cannot_say_or_should_not_hold(tmp_path, make, message):
    torch.save(make(), tmp_path / "ssast.pth")
    with pytest.raises(CheckpointError, match=message) as caught:
        load_encoder(tmp_path / "ssast.pth")
    assert str(tmp_path / "ssast.pth") in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("layout", ["project", "directory", "huggingface"])
def test_convert__a_file_before_fine_tuning_there_and_back(tmp_path, layout):
    tensors = ssast_tensors() | {"module.p_input_fdim": torch.tensor(128), "module.p_input_tdim": torch.tensor(96)}
    torch.save(tensors, tmp_path / "ssast.pth")
    there, x = tmp_path / "there", spectrogram(96)
    assert convert([str(tmp_path / "ssast.pth"), str(there), "--to", layout]) == 0
    with torch.no_grad():
        assert torch.equal(load_encoder(there)(x), load_encoder(tmp_path / "ssast.pth")(x))
    assert read_checkpoint(there).front_end == read_checkpoint(tmp_path / "ssast.pth").front_end
    assert convert([str(there), str(tmp_path / "back.pth"), "--to", "published"]) == 0
    back = torch.load(tmp_path / "back.pth", weights_only=True)
    assert back.keys() == tensors.keys() and all(torch.equal(back[name], tensors[name]) for name in tensors)


def test_convert__to_published_says_what_ssasts_files_cannot(tmp_path, capsys):
    torch.save(ssast_tensors(width=128), tmp_path / "ssast.pth")
    assert convert([str(tmp_path / "ssast.pth"), str(tmp_path / "p.pt"), "--to", "project"]) == 0
    state = torch.load(tmp_path / "p.pt", weights_only=True)
    state["cfg"]["model"]["encoder"]["stack"]["num_heads"] = 4
    torch.save(state, tmp_path / "p.pt")
    assert convert([str(tmp_path / "p.pt"), str(tmp_path / "back.pth"), "--to", "published"]) == 1
    assert "which do not tell an encoder like" in capsys.readouterr().err and not (tmp_path / "back.pth").exists()
