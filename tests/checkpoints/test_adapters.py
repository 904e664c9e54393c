"""Adapters apart from their base: every layout, exact; another base is refused; merged into one model."""

import hashlib
import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

pytest.importorskip("peft", reason="LoRA is peft's")
pytest.importorskip("fairseq", reason="the checkpoints are of a run's model")

import peft
from omegaconf import OmegaConf

from ASDA.adaptation.adapting import adapt
from ASDA.adaptation.bottlenecks import MlpAdapters
from ASDA.adaptation.lora import Lora
from ASDA.checkpoints.adapters import BASE_KEY, Adapter, base_of
from ASDA.checkpoints.averaging import AveragingError, average_checkpoints
from ASDA.checkpoints.files import CheckpointError
from ASDA.checkpoints.layouts import adapter_directory, peft_directory
from ASDA.checkpoints.reading import read_checkpoint
from ASDA.cli.convert import main as convert
from ASDA.cli.info import main as info
from ASDA.core.classifier import SpectrogramClassifier
from ASDA.inference.model import build_classifier, build_encoder
from tests.fairseq_plugin.models.conftest import TINY, build

AAT, LORA, ALL = ["aat"], ["lora"], ["aat", "lora", "prompts", "last_blocks"]
SMALL = {"adapter_width": 4, "lora_rank": 2, "trained_blocks": 1, "prompt_tokens": 3, "num_classes": 3}


@pytest.fixture
def base(tmp_path):
    """A pre-training checkpoint as fairseq writes it, as far as it is read here."""
    return pretraining(tmp_path / "base.pt", seed=3)


def pretraining(path, seed):
    torch.manual_seed(seed)
    model = build("asda", TINY)
    cfg = OmegaConf.to_container(model.cfg, enum_to_str=True)
    torch.save(fairseq_state(model, cfg, "asda"), path)
    return path


def fairseq_state(model, cfg, name):
    front_end = {"target_length_frames": 64, "norm_mean": -4.0, "norm_std": 4.0, "num_mel_bins": 32}
    return {
        "cfg": {"model": {**cfg, "_name": name}, "task": {}},
        "model": model.state_dict(),
        "optimizer_history": [{"num_updates": 7}],
        "task_state": {"front_end": front_end, "label_names": ["a", "b", "c"], "multi_label": True},
        "extra_state": {},
    }


def classifier(base, methods, seed=5, **overrides):
    """The model of a run, whose trained tensors have moved."""
    torch.manual_seed(seed)
    settings = {"model_path": str(base), "adaptation": methods, **SMALL, **overrides}
    model = build("asda_classifier", settings, SimpleNamespace(multi_label=True)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.1 * torch.randn_like(parameter)
    return model


def saved(model, path):
    cfg = OmegaConf.to_container(model.cfg, enum_to_str=True)
    torch.save(fairseq_state(model, cfg, "asda_classifier"), path)
    return path


def spectrograms():
    return torch.randn(2, 1, 64, 32, generator=torch.Generator().manual_seed(1))


def logits_of(path, **options):
    with torch.no_grad():
        return build_classifier(read_checkpoint(path, **options)).logits(spectrograms())


@pytest.mark.parametrize("methods", [AAT, LORA, ALL, ["head"]], ids=lambda m: "+".join(m))
def test_adapter__file_and_directory_give_the_run_s_model_back_exactly(base, tmp_path, methods):
    model = classifier(base, methods)
    file = saved(model, tmp_path / "adapter.pt")
    with torch.no_grad():
        expected = model(spectrograms())
    state = torch.load(file, weights_only=True)["model"]
    assert state.keys() - {BASE_KEY} == {
        name.replace(".base_layer", "").replace(".default", "")
        for name, p in model.named_parameters()
        if p.requires_grad
    }
    assert torch.equal(logits_of(file), expected)
    assert torch.equal(logits_of(base, adapter=file), expected)
    assert convert([str(base), str(tmp_path / "folder"), "--adapter", str(file), "--to", "adapter"]) == 0
    assert torch.equal(logits_of(base, adapter=tmp_path / "folder"), expected)
    assert torch.equal(logits_of(tmp_path / "folder"), expected)
    assert read_checkpoint(file).label_names == ["a", "b", "c"]


@pytest.mark.parametrize("methods", [AAT, LORA, ALL], ids=lambda m: "+".join(m))
def test_model__goes_on_from_its_adapters_exactly(base, tmp_path, methods):
    model = classifier(base, methods)
    state = model.state_dict()
    again = classifier(base, methods, seed=6)
    again.load_state_dict(state)
    made = build("asda_classifier", OmegaConf.to_container(model.cfg, enum_to_str=True)).eval()
    made.load_state_dict(state)
    with torch.no_grad():
        expected = model(spectrograms())
        assert torch.equal(again(spectrograms()), expected) and torch.equal(made(spectrograms()), expected)
    assert all(torch.equal(again.state_dict()[name], tensor) for name, tensor in state.items())
    with pytest.raises(ValueError, match="of one and not of the other"):
        classifier(base, ["aat_m"]).load_state_dict(state)
    other = classifier(pretraining(tmp_path / "other.pt", seed=4), methods)
    with pytest.raises(CheckpointError, match=state_sum(state)):
        other.load_state_dict(state)


def state_sum(state):
    return bytes(state[BASE_KEY].tolist()).hex()


def test_adapter__of_another_base_is_refused_with_both_checksums(base, tmp_path):
    file = saved(classifier(base, AAT), tmp_path / "adapter.pt")
    other = pretraining(tmp_path / "other.pt", seed=4)
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(other, adapter=file)
    message = str(caught.value)
    for path in (base, other):
        assert base_of(read_checkpoint(path)).sha256 in message
    assert "\n" not in message
    base.unlink()
    with pytest.raises(CheckpointError, match="--adapter"):
        read_checkpoint(file)


def test_adapter__base_may_have_any_layout_and_lie_beside_it(base, tmp_path):
    file = saved(classifier(base, AAT), tmp_path / "adapter.pt")
    expected = logits_of(file)
    assert convert([str(base), str(tmp_path / "base"), "--to", "directory"]) == 0
    assert torch.equal(logits_of(tmp_path / "base", adapter=file), expected)
    moved = tmp_path / "moved"
    moved.mkdir()
    base.rename(moved / "base.pt")
    file.rename(moved / "adapter.pt")
    assert torch.equal(logits_of(moved / "adapter.pt"), expected)


@pytest.mark.parametrize("layout", ["directory", "project"])
@pytest.mark.parametrize("methods", [AAT, LORA, ALL], ids=lambda m: "+".join(m))
def test_merge__writes_a_whole_model(base, tmp_path, methods, layout, capsys):
    file = saved(classifier(base, methods), tmp_path / "adapter.pt")
    expected = logits_of(file)
    command = [str(base), str(tmp_path / "whole"), "--adapter", str(file), "--to", layout]
    assert convert(command) == 1 and "--merge" in capsys.readouterr().err
    assert convert([*command, "--merge"]) == 0
    base.unlink()
    whole = read_checkpoint(tmp_path / "whole")
    assert [m.kind for m in whole.adaptation] == {1: [], 2: ["mlp_adapter", "spatial_adapter"]}.get(
        {"lora": 1, "aat": 2}.get("+".join(methods)), ["mlp_adapter", "spatial_adapter", "prompts"]
    )
    torch.testing.assert_close(logits_of(tmp_path / "whole"), expected, rtol=0, atol=1e-5)


def test_merge__published_and_huggingface_refuse_what_they_have_no_place_for(base, tmp_path, capsys):
    file = saved(classifier(base, AAT), tmp_path / "adapter.pt")
    for layout in ("published", "huggingface"):
        assert convert([str(file), str(tmp_path / layout), "--to", layout, "--merge"]) == 1
        assert "adapter" in capsys.readouterr().err.strip().splitlines()[-1]


def test_fine_tuning__starts_from_merged_lora_and_refuses_to_drop_adapters(base, tmp_path):
    file = saved(classifier(base, LORA), tmp_path / "lora.pt")
    started = classifier(file, ["aat"])
    assert started.base.path == str(file) and BASE_KEY in started.state_dict()
    with pytest.raises(CheckpointError, match="mlp_adapter, spatial_adapter do not fold"):
        classifier(saved(classifier(base, AAT), tmp_path / "aat.pt"), [])


def test_peft__reads_what_is_written_here(base, tmp_path):
    file = saved(classifier(base, LORA), tmp_path / "adapter.pt")
    expected, read = logits_of(file), read_checkpoint(file)
    assert convert([str(file), str(tmp_path / "peft"), "--to", "peft"]) == 0
    plain = build_classifier(replace(read, adaptation=(), adapters={}))
    network = SpectrogramClassifier(plain.encoder, read.head_config).eval()  # with a head of its own
    wrapped = peft.PeftModel.from_pretrained(network, tmp_path / "peft").eval()
    with torch.no_grad():
        assert torch.equal(wrapped(spectrograms()), expected)
        torch.testing.assert_close(wrapped.merge_and_unload()(spectrograms()), expected, rtol=0, atol=1e-5)
    assert torch.equal(logits_of(base, adapter=tmp_path / "peft"), expected)


def test_peft__what_it_writes_is_read_here(base, tmp_path):
    whole = saved(classifier(base, []), tmp_path / "classifier.pt")
    network = build_classifier(read_checkpoint(whole)).classifier
    config = peft.LoraConfig(r=3, lora_alpha=6, target_modules=r".*\.attn\.(qk|v|proj)", modules_to_save=["head"])
    wrapped = peft.get_peft_model(network, config).eval()
    torch.manual_seed(8)
    with torch.no_grad():
        for parameter in wrapped.parameters():
            if parameter.requires_grad:
                parameter += 0.1 * torch.randn_like(parameter)
        expected = wrapped(spectrograms())
    wrapped.save_pretrained(tmp_path / "peft")
    assert torch.equal(logits_of(whole, adapter=tmp_path / "peft"), expected)
    with pytest.raises(CheckpointError, match="how it pools"):
        read_checkpoint(base, adapter=tmp_path / "peft")


def test_peft__of_another_network_is_refused(base, tmp_path):
    network = torch.nn.Sequential(torch.nn.Linear(3, 3))
    peft.get_peft_model(network, peft.LoraConfig(target_modules=["0"])).save_pretrained(tmp_path / "peft")
    with pytest.raises(CheckpointError, match="another network"):
        read_checkpoint(base, adapter=tmp_path / "peft")


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("use_dora", True, "use_dora: expected nothing, as plain LoRA has it, found True"),
        ("use_rslora", True, "use_rslora: expected nothing"),
        ("rank_pattern", {"qk": 2}, "rank_pattern: expected nothing"),
        ("bias", "lora_only", "bias: expected nothing"),
        ("a_later_variant", {"a": 1}, "a_later_variant: expected nothing"),
        ("init_lora_weights", "pissa_niter_4", "init_lora_weights: expected true, gaussian, eva or orthogonal"),
        ("init_lora_weights", "olora", "init_lora_weights: expected true"),
    ],
)
def test_peft__what_computes_otherwise_than_plain_lora_is_refused(base, tmp_path, key, value, says):
    file = saved(classifier(base, LORA), tmp_path / "adapter.pt")
    assert convert([str(file), str(tmp_path / "peft"), "--to", "peft"]) == 0
    config = json.loads((tmp_path / "peft" / "adapter_config.json").read_text())
    (tmp_path / "peft" / "adapter_config.json").write_text(json.dumps({**config, "init_lora_weights": "gaussian"}))
    read_checkpoint(base, adapter=tmp_path / "peft")
    (tmp_path / "peft" / "adapter_config.json").write_text(json.dumps({**config, key: value}))
    with pytest.raises(CheckpointError, match=says):
        read_checkpoint(base, adapter=tmp_path / "peft")


def test_peft__holds_lora_alone(base, tmp_path, capsys):
    file = saved(classifier(base, AAT), tmp_path / "adapter.pt")
    assert convert([str(file), str(tmp_path / "peft"), "--to", "peft"]) == 1
    assert "LoRA alone" in capsys.readouterr().err and not (tmp_path / "peft").exists()


def test_adapter__that_does_not_fit_names_what_differs(base, tmp_path):
    file = saved(classifier(base, AAT), tmp_path / "adapter.pt")
    state = torch.load(file, weights_only=True)
    del state["model"]["model.blocks.1.beside_mlp.fc1.bias"]
    torch.save(state, file)
    with pytest.raises(CheckpointError, match=r"stack.blocks.1.beside_mlp.fc1.bias is missing"):
        read_checkpoint(file)
    with pytest.raises(CheckpointError, match="no adapters: expected"):
        read_checkpoint(base, adapter=base)


def test_average__of_adapters_of_one_base_only(base, tmp_path):
    files = [saved(classifier(base, AAT, seed), tmp_path / f"{seed}.pt") for seed in (1, 2)]
    load = lambda file: torch.load(file, weights_only=True)  # noqa: E731
    mean = average_checkpoints(files, load)
    torch.save(mean, tmp_path / "mean.pt")
    assert logits_of(tmp_path / "mean.pt").isfinite().all()
    other = saved(classifier(pretraining(tmp_path / "other.pt", seed=4), AAT), tmp_path / "3.pt")
    with pytest.raises(AveragingError, match="another encoder"):
        average_checkpoints([files[0], other], load)


def test_size__is_a_small_share_of_the_whole_file(tmp_path):
    """Of two blocks and a patch embedding of width 768, of which adapters and head are as much as in the paper."""
    wide = {**TINY, "embed_dim": 768, "num_heads": 12}
    torch.manual_seed(3)
    pretrained = build("asda", wide)
    cfg = OmegaConf.to_container(pretrained.cfg, enum_to_str=True)
    torch.save(fairseq_state(pretrained, cfg, "asda"), tmp_path / "base.pt")
    file = saved(classifier(tmp_path / "base.pt", AAT, adapter_width=None), tmp_path / "adapter.pt")
    assert convert([str(file), str(tmp_path / "whole.pt"), "--to", "project", "--merge"]) == 0
    assert file.stat().st_size < 0.085 * (tmp_path / "whole.pt").stat().st_size


@pytest.fixture
def headless(base, tmp_path):
    """Adapters of an encoder without a head, as a directory: by their kind."""

    def write(*methods):
        checkpoint = read_checkpoint(base)
        network = build_encoder(checkpoint).encoder
        adapt(network, methods)
        torch.manual_seed(5)
        own = checkpoint.encoder
        added = {n: 0.1 * torch.randn_like(t) for n, t in network.state_dict().items() if n not in own}
        described = {"encoder_config": checkpoint.encoder_config, "front_end": checkpoint.front_end}
        adapter = Adapter(tmp_path, "", methods, added, base_of(checkpoint), **described)
        folder = tmp_path / methods[0].kind
        (peft_directory if isinstance(methods[0], Lora) else adapter_directory).write(folder, adapter)
        return folder

    return write


@pytest.mark.parametrize("layout", ["project", "published"])
def test_merge__adapters_of_an_encoder_without_a_head_are_not_dropped(base, headless, tmp_path, capsys, layout):
    """A .pt file of a pre-training has no place for them."""
    command = [str(base), str(tmp_path / "whole"), "--merge", "--to"]
    assert convert([*command, layout, "--adapter", str(headless(MlpAdapters(4)))]) == 1
    assert "an encoder alone with mlp_adapter" in capsys.readouterr().err and not (tmp_path / "whole").exists()
    assert convert([*command, layout, "--adapter", str(headless(Lora(rank=2)))]) == 0
    torch.testing.assert_close(
        features_of(read_checkpoint(tmp_path / "whole")),
        features_of(read_checkpoint(base, adapter=tmp_path / "lora")),
        rtol=0,
        atol=1e-5,
    )


def features_of(checkpoint):
    with torch.no_grad():
        return build_encoder(checkpoint).encoder.features(spectrograms())


def test_merge__adapters_of_an_encoder_without_a_head_stand_in_a_directory(base, headless, tmp_path):
    folder = headless(MlpAdapters(4))
    assert convert([str(base), str(tmp_path / "whole"), "--to", "directory", "--merge", "--adapter", str(folder)]) == 0
    expected = features_of(read_checkpoint(base, adapter=folder))
    assert torch.equal(features_of(read_checkpoint(tmp_path / "whole")), expected)
    assert not torch.equal(features_of(read_checkpoint(base)), expected)


@pytest.mark.parametrize(("key", "value"), [("lora_alpha", 8), ("r", 4)])
def test_peft__what_it_has_written_anew_beside_an_old_record_is_refused(base, headless, key, value):
    folder = headless(Lora(rank=2))
    file = folder / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), key: value}))
    with pytest.raises(CheckpointError, match=f"{key}={value}.* but asda_adapter.json beside it has 2 and 16"):
        read_checkpoint(base, adapter=folder)


@pytest.mark.parametrize("method", [MlpAdapters(4), Lora(rank=2)], ids=lambda method: method.kind)
def test_info__of_adapters_in_a_directory_has_the_checksum_of_their_file(base, headless, method, capsys):
    folder = headless(method)
    assert info([str(base), "--adapter", str(folder), "--json"]) == 0
    origin = json.loads(capsys.readouterr().out)["origin"]
    (file,) = folder.glob("*.safetensors")
    assert origin["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest() and origin["base"] == str(base)
