"""Checkpoints that this project wrote before architectures were recorded as one value: format version 1.

`written_before/` holds one of each kind, tiny, and what that version computed with them.
"""

from pathlib import Path

import pytest
import torch

from ASDA.checkpoints.reading import read_checkpoint
from ASDA.cli.convert import main as convert
from ASDA.inference import load_classifier, load_encoder

FOLDER = Path(__file__).parent / "written_before"
EXPECTED = torch.load(FOLDER / "expected.pt", weights_only=True)
PRETRAINED = ("pretrained_sincos_2d", "pretrained_sincos_1d")


def compute(path, name):
    with torch.no_grad():
        model = load_classifier(path).logits if name == "finetuned" else load_encoder(path)
        return model(EXPECTED["source"])


@pytest.mark.parametrize("suffix", [".pt", ""], ids=["file", "directory"])
@pytest.mark.parametrize("name", [*PRETRAINED, "finetuned"])
def test_read_checkpoint__of_version_1_computes_as_it_did(name, suffix):
    torch.testing.assert_close(compute(FOLDER / f"{name}{suffix}", name), EXPECTED[name], rtol=0, atol=1e-5)


@pytest.mark.parametrize("suffix", [".pt", ""], ids=["file", "directory"])
def test_read_checkpoint__of_version_1_keeps_what_sincos_1d_meant(suffix):
    config = read_checkpoint(FOLDER / f"pretrained_sincos_1d{suffix}").encoder_config
    assert config.positions == "sincos_1d_patches"  # CLS was not counted
    finetuned = read_checkpoint(FOLDER / f"finetuned{suffix}")
    assert finetuned.encoder_config.stack.norm_eps == 1e-5
    assert (finetuned.head_config.pooling, finetuned.head_config.norm_eps) == ("mean", 1e-6)
    assert (finetuned.label_names, finetuned.multi_label) == (["a", "b", "c"], True)


@pytest.mark.parametrize("suffix", [".pt", ""], ids=["file", "directory"])
@pytest.mark.parametrize("name", [*PRETRAINED, "finetuned"])
@pytest.mark.parametrize("layout", ["project", "directory", "huggingface"])
def test_convert__of_version_1_computes_the_same(tmp_path, name, suffix, layout):
    target = tmp_path / "converted"
    assert convert([str(FOLDER / f"{name}{suffix}"), str(target), "--to", layout]) == 0
    torch.testing.assert_close(compute(target, name), EXPECTED[name], rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", [*PRETRAINED, "finetuned"])
def test_load_model_ensemble_and_task__of_version_1_computes_the_same(name):
    checkpoint_utils = pytest.importorskip("fairseq.checkpoint_utils")
    (model,), _, _ = checkpoint_utils.load_model_ensemble_and_task([str(FOLDER / f"{name}.pt")])
    with torch.no_grad():
        if name == "finetuned":
            found = model.eval()(EXPECTED["source"])
        else:
            found = model.eval().extract_features(EXPECTED["source"], remove_extra_tokens=False)["x"]
    torch.testing.assert_close(found, EXPECTED[name], rtol=0, atol=1e-5)
