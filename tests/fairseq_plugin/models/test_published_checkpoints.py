"""Published checkpoints through fairseq's own loader, with the calls that EAT's programs make."""

from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch
from fairseq import checkpoint_utils, utils

import ASDA
from tests.fairseq_plugin.models.conftest import build
from tests.published_files import (
    oracle_features,
    oracle_logits,
    published_finetuned,
    published_pretraining,
    save_as_numpy_1,
)


@pytest.fixture(autouse=True)
def user_dir():
    utils.import_user_module(Namespace(user_dir=str(Path(ASDA.__file__).parent)))


@pytest.fixture(params=["differential", "plain"])
def attention(request):
    return request.param


@pytest.fixture
def source():
    return torch.randn(2, 1, 48, 128, generator=torch.Generator().manual_seed(5))


def load(path):
    (model,), cfg, task = checkpoint_utils.load_model_ensemble_and_task([str(path)])
    return model.eval(), cfg, task


def expected_features(tensors, source):
    encoder = {n.removeprefix("model."): t for n, t in tensors.items() if n != "_ema" and not n.startswith("fc_norm")}
    encoder = {n: t for n, t in encoder.items() if not n.startswith("head.")}
    return np.stack([oracle_features(encoder, clip[0].double().numpy(), num_heads=4) for clip in source])


def test_load_model_ensemble_and_task__pretrained_features(tmp_path, attention, source):
    state = published_pretraining(attention)
    torch.save(state, tmp_path / "pretrained.pt")
    model, cfg, _ = load(tmp_path / "pretrained.pt")
    assert cfg.model._name == "data2vec_multi"
    with torch.no_grad():
        every = model.extract_features(source, padding_mask=None, mask=False, remove_extra_tokens=False)["x"]
        patches = model.extract_features(source, padding_mask=None, mask=False, remove_extra_tokens=True)["x"]
    expected = expected_features(state["model"], source)
    np.testing.assert_allclose(every.numpy(), expected, atol=2e-5)
    np.testing.assert_allclose(patches.numpy(), expected[:, 1:], atol=2e-5)


def test_load_model_ensemble_and_task__keeps_the_teacher_bit_for_bit(tmp_path, attention):
    state = published_pretraining(attention)
    torch.save(state, tmp_path / "pretrained.pt")
    model, _, _ = load(tmp_path / "pretrained.pt")
    saved = model.state_dict()
    assert set(saved["_ema"]) == set(state["model"]["_ema"])
    assert all(torch.equal(saved["_ema"][n], t) for n, t in state["model"]["_ema"].items())
    assert {n: t for n, t in saved.items() if n not in ("_ema", "_ema_num_updates")}.keys() == state["model"].keys() - {
        "_ema"
    }


def test_parameters__stand_in_the_published_order_also_inside_wrappers(tmp_path, attention):
    """An optimiser's state is a list in the order of the parameters: in another order it could not be resumed from."""
    for name, state in {"p": published_pretraining(attention), "f": published_finetuned(attention)}.items():
        torch.save(state, tmp_path / f"{name}.pt")
        model, _, _ = load(tmp_path / f"{name}.pt")
        expected = [name for name in state["model"] if name != "_ema" and "positions" not in name]
        assert [name for name, parameter in model.named_parameters() if parameter.requires_grad] == expected
        wrapped = torch.nn.ModuleList([model])
        assert [id(p) for p in wrapped.parameters()] == [id(p) for p in model.parameters()]


def test_parameters__stand_in_the_order_of_the_golden_optimiser_state(shared_dir):
    """Provenance: a file written by the published program, with the state of its optimiser."""
    path = shared_dir / "golden" / "asda_pretrain.pt"
    state = torch.load(path, weights_only=True)["last_optimizer_state"]["default"]["state"]
    model, _, _ = load(path)
    shapes = [parameter.shape for parameter in model.parameters() if parameter.requires_grad]
    assert shapes == [state[index]["exp_avg"].shape for index in sorted(state)]


@pytest.mark.parametrize("save", [torch.save, save_as_numpy_1], ids=["numpy 2", "numpy 1"])
def test_load_model_ensemble_and_task__fine_tuned_logits_and_features(tmp_path, attention, save, source):
    state = published_finetuned(attention)
    save(state, tmp_path / "finetuned.pt")
    model, cfg, _ = load(tmp_path / "finetuned.pt")
    assert cfg.model._name == "mae_image_classification"
    with torch.no_grad():
        logits = model(source)
        features = model.model.extract_features(source, padding_mask=None, mask=False, remove_extra_tokens=False)["x"]
    expected = expected_features(state["model"], source)
    np.testing.assert_allclose(features.numpy(), expected, atol=2e-5)
    for clip, found in zip(expected, logits.numpy(), strict=True):
        np.testing.assert_allclose(found, oracle_logits(state["model"], clip), atol=2e-5)


def test_load_model_ensemble_and_task__whatever_training_it_had(tmp_path, source):
    """Ways to train that are not implemented here leave nothing in the network."""
    state = published_finetuned(model={"cutmix": 1.0, "layerdrop": 0.1}, task={"subsample": 0.5})
    state["cfg"]["model"]["pretrained_model_args"]["model"].update(skip_ema=True, supported_modality=None)
    torch.save(state, tmp_path / "finetuned.pt")
    model, _, _ = load(tmp_path / "finetuned.pt")
    with torch.no_grad():
        logits = model(source[:1]).numpy()
    [features] = expected_features(state["model"], source[:1])
    np.testing.assert_allclose(logits[0], oracle_logits(state["model"], features), atol=2e-5)


def test_load_model_ensemble_and_task__refuses_another_network(tmp_path):
    state = published_pretraining()
    state["cfg"]["model"]["modalities"]["image"]["use_alibi_encoder"] = True
    torch.save(state, tmp_path / "alibi.pt")
    with pytest.raises(ValueError, match="use_alibi_encoder=True is not implemented here"):
        load(tmp_path / "alibi.pt")


def test_load_checkpoint_to_cpu__numpy_scores_become_plain_numbers(tmp_path):
    save_as_numpy_1(published_finetuned(score=0.125), tmp_path / "finetuned.pt")
    extra = checkpoint_utils.load_checkpoint_to_cpu(str(tmp_path / "finetuned.pt"))["extra_state"]
    assert (extra["best"], extra["val_loss"]) == (0.125, 0.125)
    assert type(extra["best"]) is float


@pytest.mark.parametrize("name", ["asda_classifier", "mae_image_classification"])
@pytest.mark.parametrize("start", [published_pretraining, published_finetuned])
def test_classifier__starts_from_a_published_checkpoint(tmp_path, attention, name, start, source):
    state = start(attention)
    torch.save(state, tmp_path / "start.pt")
    model = build(name, {"model_path": str(tmp_path / "start.pt"), "num_classes": 3}).eval()
    assert model.encoder.config.stack.attention.kind == attention
    with torch.no_grad():
        features = model.extract_features(source, remove_extra_tokens=False)["x"]
    np.testing.assert_allclose(features.numpy(), expected_features(state["model"], source), atol=2e-5)
    assert model(source).shape == (2, 3)


def test_classifier__recorded_config_rebuilds_it_without_the_pretrained_file(tmp_path, attention, source):
    """What a fine-tuned checkpoint of this project records is enough: the pre-trained file may be gone."""
    torch.save(published_pretraining(attention), tmp_path / "start.pt")
    model = build("asda_classifier", {"model_path": str(tmp_path / "start.pt"), "num_classes": 3}).eval()
    (tmp_path / "start.pt").unlink()
    again = type(model).build_model(model.cfg, None).eval()
    again.load_state_dict(model.state_dict())
    assert torch.equal(again(source), model(source))
