"""What asda-convert --to huggingface writes, loaded the way its users do."""

import subprocess
import sys

import pytest
import torch

from ASDA.cli.convert import main as convert
from ASDA.core.attention_maps import attention_maps
from ASDA.inference import load_classifier, load_encoder
from tests.checkpoints.test_attention_kinds import KINDS, own_checkpoint
from tests.mae_ast_files import released
from tests.published_files import published_finetuned, published_pretraining

# Runs where neither this package nor fairseq can be imported; makes the calls of EAT's programs on every directory.
USE_THEM = """
import pathlib, sys

class Absent:
    def find_spec(name, path=None, target=None):
        if name.split(".")[0] in ("ASDA", "fairseq", "hydra", "omegaconf", "torchaudio", "timm", "soundfile"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent)
import torch
from transformers import AutoModel

source = torch.load("source.pt", weights_only=True)
results = {}
for folder in sorted(pathlib.Path("exported").iterdir()):
    model = AutoModel.from_pretrained(folder, trust_remote_code=True).eval()
    with torch.no_grad():
        result = {"output": model(source), "features": model.extract_features(source)}
        seen = model(source, output_attentions=True, output_hidden_states=True)
        result |= {"attentions": list(seen.attentions), "hidden_states": list(seen.hidden_states), "first": seen[0]}
        assert seen.to_tuple()[0] is seen[0] and seen.keys() >= {"attentions", "hidden_states"}
        assert "attentions" not in model(source, output_hidden_states=True)
        assert torch.equal(model(source, output_attentions=True, return_dict=False)[1][1], seen.attentions[1])
        assert torch.equal(model(source, return_dict=True)[0], seen[0])
        model.config.output_hidden_states = True
        assert torch.equal(model(source).hidden_states[1], seen.hidden_states[1])
        assert torch.is_tensor(model(source, output_hidden_states=False))
        results[folder.name] = result
    results[folder.name]["labels"] = dict(model.config.id2label)
torch.save(results, "results.pt")
"""


@pytest.mark.slow
def test_write_huggingface__auto_model_computes_the_same_without_this_package(tmp_path, spectrogram):
    pytest.importorskip("transformers", reason="the exported directory is for transformers, a development requirement")
    (tmp_path / "labels.csv").write_text('index,mid,display_name\n0,/m/0,"bark"\n1,/m/1,"meow"\n')
    checkpoints = {}
    for attention in ("differential", "plain"):
        checkpoints[f"{attention}-pretrained"] = published_pretraining(attention)
        checkpoints[f"{attention}-cls"] = published_finetuned(attention, num_classes=2)
        mean = {"prediction_mode": "MEAN_POOLING"}
        checkpoints[f"{attention}-mean"] = published_finetuned(attention, num_classes=2, model=mean)
    for name, settings in KINDS.items():
        own = own_checkpoint(tmp_path / "own.pt", **settings)
        checkpoints[f"{name.replace(' ', '-')}-pretrained"] = torch.load(own, weights_only=True)
    (tmp_path / "own.pt").unlink()
    checkpoints |= {f"mae-ast-{kind}-pretrained": released(kind) for kind in ("patch", "frame")}
    for name, state in checkpoints.items():
        torch.save(state, tmp_path / f"{name}.pt")
        labels = [] if "pretrained" in name else ["--label_file", str(tmp_path / "labels.csv")]
        target = str(tmp_path / "exported" / name)
        assert convert([str(tmp_path / f"{name}.pt"), target, "--to", "huggingface", *labels]) == 0

    torch.save(spectrogram, tmp_path / "source.pt")
    environment = {
        "HF_HOME": str(tmp_path / "hf"),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "PATH": "/usr/bin:/bin",
    }
    run = subprocess.run(
        [sys.executable, "-c", USE_THEM], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    results = torch.load(tmp_path / "results.pt", weights_only=True)

    assert results.keys() == checkpoints.keys()
    for name, result in results.items():
        with torch.no_grad():
            trained = load_encoder(tmp_path / f"{name}.pt")
            features, encoder = trained(spectrogram), trained.encoder
            maps = [layer.weights for layer in attention_maps(encoder, spectrogram)]
            tokens, _ = encoder.embed(spectrogram)
            states = [tokens, *(output for output, _ in encoder.layers(tokens))]
            torch.testing.assert_close(result["attentions"], maps, atol=1e-5, rtol=0)
            torch.testing.assert_close(result["hidden_states"], states, atol=1e-5, rtol=0)
            assert torch.equal(result["first"], result["output"])
            torch.testing.assert_close(result["features"], features, atol=1e-5, rtol=0)
            if "pretrained" in name:
                torch.testing.assert_close(result["output"], features, atol=1e-5, rtol=0)
                continue
            logits = load_classifier(tmp_path / f"{name}.pt").logits(spectrogram)
        torch.testing.assert_close(result["output"], logits, atol=1e-5, rtol=0)
        assert result["labels"] == {0: "bark", 1: "meow"}
