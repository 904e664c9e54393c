"""Published checkpoints as the start of training and in EAT's own programs, through the real entry points."""

import sys

import numpy as np
import pytest
import torch

from tests.published_files import (
    oracle_features,
    oracle_logits,
    published_finetuned,
    published_pretraining,
    save_as_numpy_1,
)

from .conftest import ROOT, TINY_NETWORK, assert_ok, run, train
from .training_runs import Run, write_clips

pytestmark = pytest.mark.slow
PUBLISHED_NETWORK = [*TINY_NETWORK, "model.modalities.image.max_length=768", "model.diff_lambda=0.1"]
PLAIN = pytest.param("plain", marks=pytest.mark.long)


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    return write_clips(tmp_path_factory.mktemp("clips"))


def adam_state(model, updates):
    """The optimiser's state as the published program writes it: one group, a list in the order of the parameters."""
    generator = torch.Generator().manual_seed(1)
    trained = [tensor for name, tensor in model.items() if name != "_ema" and "positions" not in name]
    state = {
        index: {
            "step": updates,
            "exp_avg": 1e-3 * torch.randn(tensor.shape, generator=generator),
            "exp_avg_sq": 1e-4 * torch.rand(tensor.shape, generator=generator),
        }
        for index, tensor in enumerate(trained)
    }
    group = {"lr": 5e-4, "betas": [0.9, 0.95], "eps": 1e-8, "weight_decay": 0.05, "amsgrad": False}
    return {"default": {"state": state, "param_groups": [{**group, "params": list(state)}]}}


@pytest.mark.parametrize("attention", ["differential", PLAIN])
def test_pretraining__goes_on_from_a_published_run(clips, tmp_path, attention):
    """Optimiser, count of updates and teacher are those of the file.

    It was written after the student's fourth step and before the teacher's: the teacher takes both that and the next.
    """
    published = published_pretraining(attention)
    published["last_optimizer_state"] = adam_state(published["model"], updates=4)
    published["optimizer_history"][-1]["lr_scheduler_state"] = {"default": {"best": None}}
    torch.save(published, tmp_path / "published.pt")
    overrides = [*PUBLISHED_NETWORK, f"task.data={clips}", "optimization.max_update=5", "model.no_decay_group=''"]
    overrides += [f"model.attention={attention}", f"model.mlp_ratio={3.5 if attention == 'differential' else 4.0}"]
    start = f"checkpoint.restore_file={tmp_path / 'published.pt'}"
    assert_ok(train("pretraining_AS2M", tmp_path / "run", *overrides, start))

    after = torch.load(tmp_path / "run" / "checkpoint_last.pt", weights_only=True)
    assert after["optimizer_history"][-1]["num_updates"] == 5
    assert after["model"]["_ema_num_updates"] == 5
    fourth, fifth = (0.9998 + (0.99999 - 0.9998) * update / 100_000 for update in (4, 5))
    for name, teacher in published["model"]["_ema"].items():
        expected = fourth * teacher.double() + (1 - fourth) * published["model"][name].double()
        expected = fifth * expected + (1 - fifth) * after["model"][name].double()
        torch.testing.assert_close(after["model"]["_ema"][name].double(), expected, atol=1e-6, rtol=0)
    state = after["last_optimizer_state"]["default"]["state"]
    assert {int(entry["step"]) for entry in state.values()} == {5}
    for index, entry in published["last_optimizer_state"]["default"]["state"].items():
        # Adam's second moment keeps 0.95 of what it was and only adds to it.
        assert (state[index]["exp_avg_sq"] >= 0.95 * entry["exp_avg_sq"] - 1e-9).all()


@pytest.mark.parametrize(
    ("processes", "precision"),
    [
        pytest.param(2, [], id="two processes", marks=pytest.mark.long),
        pytest.param(1, ["common.bf16=true"], id="bf16"),
        pytest.param(1, ["model.autocast=bf16"], id="autocast", marks=pytest.mark.long),
    ],
)
@pytest.mark.parametrize("attention", ["differential", PLAIN])
def test_pretraining__a_file_that_leaves_its_architecture_open_goes_on(
    clips, tmp_path, attention, processes, precision
):
    """Published files state an MLP of 4 x D and no attention: both come from the tensors, before the network is built.

    Were it built anew while the file is loaded, fairseq's wrapper and casts would be around another network.
    """
    published = published_pretraining(attention)
    torch.save(published, tmp_path / "published.pt")
    overrides = [*PUBLISHED_NETWORK, "model._name=data2vec_multi", "model.attention=auto", "model.mlp_ratio=4.0"]
    overrides += [f"checkpoint.restore_file={tmp_path / 'published.pt'}", "checkpoint.reset_optimizer=true"]
    overrides += ["optimization.max_update=3", "optimizer.groups.default.lr_scheduler.warmup_updates=1", *precision]
    finished = Run(tmp_path / "run", clips, *overrides, processes=processes).finish()
    weights = [{update: record["weights"] for update, record in finished.records(r).items()} for r in range(processes)]
    assert len(set(weights[0].values())) == 3, "each update changes the weights"
    assert all(other == weights[0] for other in weights[1:]), "all processes hold the same weights"
    after = finished.checkpoint()["model"]
    assert after.keys() - {"_ema_num_updates"} == published["model"].keys()
    for name, tensor in published["model"].items():
        if name != "_ema":
            assert after[name].shape == tensor.shape
            torch.testing.assert_close(after[name].float(), tensor.float(), rtol=0.1, atol=0.1)  # it went on from there
    assert "the architecture is that of" in finished.text


@pytest.mark.parametrize("names", ["EAT's", pytest.param("this project's", marks=pytest.mark.long)])
def test_finetuning__goes_on_from_a_published_run_with_numpy_scalars(clips, tmp_path, names):
    torch.save(published_pretraining(), tmp_path / "pretrained.pt")
    published = published_finetuned(num_classes=3, score=0.25)
    save_as_numpy_1(published, tmp_path / "published.pt")
    overrides = [f"task.data={clips}", "optimization.max_update=2", "optimization.lr=[0.0]", "model.num_classes=3"]
    overrides += ["optimizer.groups.default.lr_scheduler.min_lr=0.0", f"model.model_path={tmp_path / 'pretrained.pt'}"]
    if names == "EAT's":
        overrides += ["model._name=mae_image_classification", "task._name=mae_image_classification"]
    start = f"checkpoint.restore_file={tmp_path / 'published.pt'}"
    assert_ok(train("finetuning", tmp_path / "run", *overrides, start))
    after = torch.load(tmp_path / "run" / "checkpoint_last.pt", weights_only=True)
    assert after["model"].keys() == published["model"].keys()
    assert all(torch.equal(after["model"][name], tensor) for name, tensor in published["model"].items())
    assert type(after["extra_state"]["best"]) is float and after["extra_state"]["best"] >= 0.25
    assert after["task_state"]["label_names"] == ["class 0", "class 1", "class 2"]


# The calls that the three programs make, in a process that knows nothing of this project but the user-dir.
EAT_PROGRAM = """
import sys
from dataclasses import dataclass
import torch
import fairseq

@dataclass
class UserDir:
    user_dir: str

model_dir, checkpoint, source, target = sys.argv[1:]
fairseq.utils.import_user_module(UserDir(model_dir))
models, cfg, task = fairseq.checkpoint_utils.load_model_ensemble_and_task([checkpoint])
model = models[0].eval()
source = torch.load(source, weights_only=True)
with torch.no_grad():
    logits = model(source)
    model = model.model
    every = model.extract_features(source, padding_mask=None, mask=False, remove_extra_tokens=False)["x"]
    frames = model.extract_features(source, padding_mask=None, mask=False, remove_extra_tokens=True)["x"]
torch.save({"logits": logits, "all": every, "frame": frames, "utterance": every[:, 0]}, target)
"""


@pytest.mark.parametrize("attention", ["differential", PLAIN])
def test_eat_programs__run_with_this_user_dir(tmp_path, attention):
    published = published_finetuned(attention)
    save_as_numpy_1(published, tmp_path / "published.pt")
    source = torch.randn(1, 1, 64, 128, generator=torch.Generator().manual_seed(0))
    torch.save(source, tmp_path / "source.pt")
    arguments = [ROOT / "ASDA", tmp_path / "published.pt", tmp_path / "source.pt", tmp_path / "result.pt"]
    assert_ok(run([sys.executable, "-c", EAT_PROGRAM, *arguments]))
    result = torch.load(tmp_path / "result.pt", weights_only=True)
    encoder = {n.removeprefix("model."): t for n, t in published["model"].items() if n.startswith("model.")}
    features = oracle_features(encoder, source[0, 0].double().numpy(), num_heads=4)
    np.testing.assert_allclose(result["all"][0], features, atol=2e-5)
    np.testing.assert_allclose(result["frame"][0], features[1:], atol=2e-5)
    np.testing.assert_allclose(result["utterance"][0], features[0], atol=2e-5)
    np.testing.assert_allclose(result["logits"][0], oracle_logits(published["model"], features), atol=2e-5)
