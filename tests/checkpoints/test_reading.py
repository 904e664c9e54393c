"""Published and own checkpoints through this project's loader."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ASDA.audio.front_end import FrontEnd
from ASDA.audio.io import AudioError
from ASDA.core import zoo
from ASDA.core.config import Differential, Plain
from ASDA.inference import CheckpointError, load_classifier, load_encoder, read_checkpoint
from tests.published_files import (
    oracle_features,
    oracle_logits,
    published_finetuned,
    published_pretraining,
    save_as_numpy_1,
)


def tensors_of(path):
    return torch.load(path, weights_only=True)["model"]


def encoder_part(tensors):
    return {n.removeprefix("model."): t for n, t in tensors.items() if n.startswith("model.")}


def test_load_encoder__agrees_with_the_paper_for_both_attentions(pretrained_file, spectrogram):
    encoder = load_encoder(pretrained_file)
    with torch.no_grad():
        features = encoder(spectrogram).double().numpy()
    tensors = {n: t for n, t in tensors_of(pretrained_file).items() if n != "_ema"}
    expected = np.stack([oracle_features(tensors, clip[0].double().numpy(), num_heads=4) for clip in spectrogram])
    assert features.shape == (2, 41, 32)
    np.testing.assert_allclose(features, expected, atol=2e-5)


def test_load_classifier__agrees_with_the_paper_for_both_attentions(finetuned_file, spectrogram):
    classifier = load_classifier(finetuned_file)
    with torch.no_grad():
        logits = classifier.logits(spectrogram).double().numpy()
    tensors = tensors_of(finetuned_file)
    for clip, found in zip(spectrogram, logits, strict=True):
        features = oracle_features(encoder_part(tensors), clip[0].double().numpy(), num_heads=4)
        np.testing.assert_allclose(found, oracle_logits(tensors, features), atol=2e-5)


@pytest.mark.parametrize("mode", ["MEAN_POOLING", "PredictionMode.MEAN_POOLING"])
def test_load_classifier__mean_pooling_as_recorded(tmp_path, spectrogram, mode):
    state = published_finetuned(model={"prediction_mode": mode})
    torch.save(state, tmp_path / "mean.pt")
    classifier = load_classifier(tmp_path / "mean.pt")
    with torch.no_grad():
        logits = classifier.logits(spectrogram[:1]).double().numpy()[0]
    features = oracle_features(encoder_part(state["model"]), spectrogram[0, 0].double().numpy(), num_heads=4)
    np.testing.assert_allclose(logits, oracle_logits(state["model"], features, "mean"), atol=2e-5)


def test_load_classifier__refuses_a_pooling_it_does_not_know(tmp_path):
    torch.save(published_finetuned(model={"prediction_mode": "LIN_SOFTMAX"}), tmp_path / "linear.pt")
    with pytest.raises(CheckpointError, match="prediction_mode is LIN_SOFTMAX, expected CLS_TOKEN, MEAN_POOLING"):
        load_classifier(tmp_path / "linear.pt")


def test_load_classifier__eps_of_the_pooled_tokens_norm(tmp_path, spectrogram):
    """A token of tiny variance, where the norm's eps decides."""
    state = published_finetuned(attention="plain")
    for part in ("weight", "bias"):
        state["model"][f"model.blocks.1.norm2.{part}"] *= 1e-3
    torch.save(state, tmp_path / "small.pt")
    with torch.no_grad():
        logits = load_classifier(tmp_path / "small.pt").logits(spectrogram[:1]).double().numpy()[0]
    features = oracle_features(encoder_part(state["model"]), spectrogram[0, 0].double().numpy(), num_heads=4)
    np.testing.assert_allclose(logits, oracle_logits(state["model"], features), atol=1e-4)


def test_read_checkpoint__learned_lambda_implies_its_papers_scale(tmp_path):
    state = published_finetuned()
    for layer in range(2):
        for name in ("q1", "k1", "q2", "k2"):
            state["model"][f"model.blocks.{layer}.attn.lambda_{name}"] = torch.zeros(8)
    torch.save(state, tmp_path / "learned.pt")
    attention = read_checkpoint(tmp_path / "learned.pt").encoder_config.stack.attention
    assert (attention.lambda_mode, attention.lambda_init, attention.out_scale) == ("learned", None, None)


def test_read_checkpoint__infers_what_published_files_do_not_record(pretrained_file, attention):
    config = read_checkpoint(pretrained_file).encoder_config
    expected = {"differential": zoo.ASDA, "plain": zoo.EAT}[attention]
    constants = Differential(diff_lambda=0.1, out_scale=0.95) if attention == "differential" else Plain()
    stack = replace(expected.stack, embed_dim=32, depth=2, num_heads=4, attention=constants)
    assert config == replace(expected, stack=stack, max_rows=config.max_rows)


@pytest.mark.parametrize(
    ("flag", "mean", "std", "multi_label"),
    [
        (None, -4.268, 4.569, True),
        ("esc50_eval", -6.627, 5.359, False),
        ("spcv2_eval", -6.846, 5.565, False),
        ("fsd50k_eval", -7.966, 4.753, True),
    ],
)
def test_read_checkpoint__published_data_set_implies_normalisation(tmp_path, flag, mean, std, multi_label):
    task = {"target_length": 512, **({flag: True} if flag else {})}
    torch.save(published_finetuned(task=task), tmp_path / "c.pt")
    checkpoint = read_checkpoint(tmp_path / "c.pt")
    assert checkpoint.front_end == FrontEnd(512, mean, std)
    assert checkpoint.multi_label is multi_label
    assert checkpoint.independent_scores  # trained with mixup, so with BCE
    assert checkpoint.label_names == []


def test_read_checkpoint__cross_entropy_means_softmax(tmp_path):
    torch.save(published_finetuned(task={"esc50_eval": True}, model={"mixup": 0.0}), tmp_path / "esc.pt")
    classifier = load_classifier(tmp_path / "esc.pt")
    scores = classifier.scores_of(torch.tensor([[1.0, 2.0, 3.0]]))
    torch.testing.assert_close(scores, torch.tensor([[1.0, 2.0, 3.0]]).softmax(1))


def test_load_encoder__agrees_with_golden_features(shared_dir):
    """Provenance: features that the published program computed with this checkpoint."""
    expected = torch.load(shared_dir / "golden" / "asda_pretrain.expected.pt", weights_only=True)
    encoder = load_encoder(shared_dir / "golden" / "asda_pretrain.pt")
    source = expected["source"].float()
    with torch.no_grad():
        torch.testing.assert_close(encoder(source), expected["features_all"], atol=1e-5, rtol=0)
        torch.testing.assert_close(encoder(source[:, :, :512]), expected["features_512"], atol=1e-5, rtol=0)


def test_load_encoder__reads_fine_tuned_files_and_numpy_1_scalars(tmp_path, spectrogram):
    state = published_finetuned()
    torch.save(state, tmp_path / "numpy2.pt")
    save_as_numpy_1(state, tmp_path / "numpy1.pt")
    with torch.no_grad():
        first = load_encoder(tmp_path / "numpy1.pt")(spectrogram)
        assert torch.equal(first, load_encoder(tmp_path / "numpy2.pt")(spectrogram))


def test_load_encoder__half_precision_files_compute_in_float32(tmp_path, spectrogram):
    state = published_pretraining()
    state["model"] = {n: t.half() if n != "_ema" else t for n, t in state["model"].items()}
    torch.save(state, tmp_path / "half.pt")
    features = load_encoder(tmp_path / "half.pt")(spectrogram)
    assert features.dtype == torch.float32


def test_load_encoder__three_lines_from_waveform_to_features(pretrained_file):
    encoder = load_encoder(pretrained_file, target_length_frames=64)
    waveform = 0.1 * torch.randn(8000, generator=torch.Generator().manual_seed(0))
    features = encoder.features(waveform)
    assert features.shape == (1 + 4 * 8, 32)
    spectrogram = encoder.front_end(waveform)[None, None]
    torch.testing.assert_close(features, encoder(spectrogram)[0].detach())
    # 8 kHz stereo integers are averaged, resampled and scaled.
    stereo = (waveform.repeat(2, 1).T.numpy() * 32768).astype(np.int16)
    from_stereo = encoder.features(stereo, sample_rate_hz=8000)
    assert from_stereo.shape == (1 + 4 * 8, 32)
    assert torch.equal(encoder.features(torch.from_numpy(stereo.T.copy()), sample_rate_hz=8000), from_stereo)
    with pytest.raises(AudioError, match="expected samples of shape"):
        encoder.features(np.zeros((2, 3, 4)))


def test_load_classifier__refuses_a_pretrained_encoder(pretrained_file):
    with pytest.raises(CheckpointError, match="without a classification head"):
        load_classifier(pretrained_file)


def broken(change):
    state = published_finetuned()
    change(state)
    return state


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ([1, 2], "unknown checkpoint layout: expected .* cfg.model and model .*; found a list"),
        ({"epoch": 1, "weights": {}}, "found the keys epoch, weights"),
        (broken(lambda s: s["cfg"].pop("model")), "found a configuration with the keys "),
        (broken(lambda s: s["cfg"]["model"].pop("pretrained_model_args")), "pretrained_model_args"),
        (
            broken(lambda s: s["cfg"]["model"]["pretrained_model_args"]["model"].update(num_heads=None)),
            "expected cfg.model.num_heads",
        ),
        (
            broken(lambda s: s.update(model={"encoder.layers.0.weight": torch.zeros(2)})),
            "found 1 others: encoder.layers.0",
        ),
        (
            broken(lambda s: s["model"].pop("model.modality_encoders.IMAGE.extra_tokens")),
            "missing prefix_tokens",
        ),
        (
            broken(lambda s: s["model"].update({"model.blocks.1.norm1.bias": torch.zeros(7)})),
            "do not fit the recorded architecture",
        ),
    ],
)
def test_load_encoder__names_what_an_unknown_layout_lacks(tmp_path, state, message):
    torch.save(state, tmp_path / "unknown.pt")
    with pytest.raises(CheckpointError, match=message) as caught:
        load_encoder(tmp_path / "unknown.pt")
    assert str(tmp_path / "unknown.pt") in str(caught.value) and "\n" not in str(caught.value)
