"""What is refused when a model is built from a checkpoint, and when it is used."""

import numpy as np
import pytest
import torch

from ASDA.audio.front_end import FrontEnd
from ASDA.checkpoints.reading import read_checkpoint
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


def masked_file(path, state):
    """A checkpoint of a model that was trained with a padding mask."""
    state["task_state"] = {"front_end": FrontEnd(96, padding="mask").to_dict()}
    torch.save(state, path)
    return path


def test_load__a_model_that_was_trained_with_a_padding_mask_hears_short_clips_at_their_own_length(tmp_path):
    sound = 0.1 * np.random.default_rng(0).standard_normal(8_000).astype("float32")  # 48 frames
    encoder = load_encoder(masked_file(tmp_path / "pretrained.pt", published_pretraining()))
    assert encoder.spectrogram(sound).shape == (1, 48, 128) and encoder.features(sound).shape[0] == 1 + 3 * 8
    spectrogram = torch.nn.functional.pad(encoder.spectrogram(sound)[None], (0, 0, 0, 48))
    with torch.no_grad():
        under_mask = encoder(spectrogram, torch.arange(48)[None] >= 24)
    torch.testing.assert_close(encoder.features(sound), under_mask[0, :25], rtol=0, atol=1e-5)
    assert encoder.spectrogram(sound[:10]).shape == (1, 16, 128)  # all padding: one patch is left
    constant = load_encoder(tmp_path / "pretrained.pt", padding="constant")
    assert constant.spectrogram(sound).shape == (1, 96, 128)

    classifier = load_classifier(masked_file(tmp_path / "finetuned.pt", published_finetuned(num_classes=3)))
    with torch.no_grad():
        logits = classifier.logits(spectrogram, torch.arange(48)[None] >= 24)
    torch.testing.assert_close(classifier.scores(sound), classifier.scores_of(logits)[0], rtol=0, atol=1e-5)


def test_load__draws_no_weights_and_holds_copies_of_the_files(tmp_path):
    path = tmp_path / "a.pt"
    torch.save(published_finetuned(), path)
    torch.manual_seed(3)
    before = torch.get_rng_state()
    classifier = load_classifier(path)
    assert torch.equal(torch.get_rng_state(), before)
    stored = read_checkpoint(path)
    loaded = {**classifier.encoder.state_dict(), **classifier.classifier.head.state_dict()}
    for name, tensor in {**stored.encoder, **stored.head}.items():
        assert torch.equal(loaded[name], tensor.float()) and loaded[name].data_ptr() != tensor.data_ptr(), name
    assert all(parameter.requires_grad for parameter in classifier.parameters())
