"""What is refused when a model is built from a checkpoint, and when it is used."""

import numpy as np
import pytest
import torch

from ASDA.inference import CheckpointError, load_classifier, load_encoder
from tests.published_files import published_finetuned, published_pretraining


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_load__weights_that_are_not_finite_are_refused(tmp_path, value):
    for make, load in ((published_pretraining, load_encoder), (published_finetuned, load_classifier)):
        state = make()
        name = next(name for name in state["model"] if name.endswith("blocks.0.mlp.fc1.weight") and "_ema" not in name)
        state["model"][name][0, :2] = value
        torch.save(state, tmp_path / "broken.pt")
        with pytest.raises(CheckpointError, match=r"broken.pt: .*blocks.0.mlp.fc1.weight holds 2 values that are NaN"):
            load(tmp_path / "broken.pt")


@pytest.mark.parametrize("names", [["a", "b"], ["a", "b", "c", "d"]])
def test_load_classifier__another_number_of_label_names_than_outputs_is_refused(tmp_path, names):
    state = published_finetuned(num_classes=3)
    state["task_state"] = {"label_names": names}
    torch.save(state, tmp_path / "named.pt")
    with pytest.raises(
        CheckpointError, match=f"named.pt: head.label_names: expected 3 texts or none, found {len(names)}"
    ):
        load_classifier(tmp_path / "named.pt")


@pytest.mark.filterwarnings("ignore:.*overflow")
def test_features_and_scores__that_are_not_finite_are_an_error(tmp_path):
    torch.save(published_finetuned(num_classes=3), tmp_path / "model.pt")
    classifier = load_classifier(tmp_path / "model.pt", norm_std=1e-38)  # any sound is infinite
    sound = 0.1 * np.random.default_rng(0).standard_normal(16_000).astype("float32")
    with pytest.raises(ValueError, match="features hold NaN or infinity"):
        classifier.features(sound)
    with pytest.raises(ValueError, match="logits hold NaN or infinity"):
        classifier.scores(sound)


@pytest.mark.parametrize("setting", [{"norm_mean": float("nan")}, {"norm_std": float("inf")}, {"norm_std": 0.0}])
def test_load_encoder__normalisation_that_is_not_finite_is_refused(tmp_path, setting):
    torch.save(published_pretraining(), tmp_path / "model.pt")
    with pytest.raises(ValueError, match=next(iter(setting))):
        load_encoder(tmp_path / "model.pt", **setting)
