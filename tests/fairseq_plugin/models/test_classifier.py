"""The registered classifier: losses, augmentation, pooling, learning rates per layer, the frozen probe."""

import math
from types import SimpleNamespace

import pytest
import torch
from omegaconf import OmegaConf

from .conftest import TINY, build


@pytest.fixture
def checkpoint(tiny_pretraining_model, tmp_path):
    """A pre-training checkpoint as fairseq writes it, as far as fine-tuning reads it."""
    path = tmp_path / "pretrained.pt"
    cfg = OmegaConf.to_container(tiny_pretraining_model.cfg, enum_to_str=True)
    cfg["_name"] = "asda"
    torch.save({"cfg": {"model": cfg}, "model": tiny_pretraining_model.state_dict()}, path)
    return str(path)


def classifier(checkpoint, multi_label=True, **overrides):
    torch.manual_seed(0)
    plain = {"mixup": 0.0, "specaug": False, "drop_path_rate": 0.0, "num_classes": 4}
    return build(
        "asda_classifier",
        {"model_path": checkpoint, **plain, **overrides},
        SimpleNamespace(multi_label=multi_label),
    )


TARGET = torch.tensor([[1.0, 0.0, 1.0, 0.0], [0.0, 1.0, 0.0, 0.0]])
SINGLE = torch.tensor([[0.0, 0.0, 1.0, 0.0], [0.0, 1.0, 0.0, 0.0]])
SEEDS = torch.tensor([11, 12])


def loss_of(result) -> float:
    return result["losses"]["classification"].item() / result["sample_size"]


def test_classifier__starts_from_the_pretrained_encoder(checkpoint, tiny_pretraining_model, spectrograms):
    model = classifier(checkpoint).eval()
    expected = tiny_pretraining_model.eval().extract_features(spectrograms)["x"]
    torch.testing.assert_close(model.extract_features(spectrograms)["x"], expected, rtol=0, atol=0)
    torch.testing.assert_close(model.model.extract_features(spectrograms)["x"], expected, rtol=0, atol=0)
    assert model.cfg.pretrained_model_args.model.diff_lambda == 0.3
    random = classifier(checkpoint, no_pretrained_weights=True).eval()
    assert not torch.allclose(random.extract_features(spectrograms)["x"], expected, atol=1e-2)


def test_classifier__without_a_path_says_what_to_set():
    with pytest.raises(ValueError, match="set model.model_path"):
        classifier("")


@pytest.mark.parametrize(
    ("mode", "pool"), [("CLS_TOKEN", lambda x: x[:, 0]), ("MEAN_POOLING", lambda x: x[:, 1:].mean(1))]
)
def test_forward__logits_are_head_of_norm_of_pooled(checkpoint, spectrograms, mode, pool):
    model = classifier(checkpoint, prediction_mode=mode).eval()
    pooled = pool(model.extract_features(spectrograms, remove_extra_tokens=False)["x"])
    head = model.objective.classifier.head
    expected = head.linear(head.norm(pooled))
    torch.testing.assert_close(model(spectrograms), expected, rtol=0, atol=1e-6)


def test_forward__mean_pooling_leaves_padding_out(checkpoint, spectrograms):
    model = classifier(checkpoint, prediction_mode="MEAN_POOLING").eval()
    padding = torch.zeros(2, 8, dtype=torch.bool)
    padding[:, 4:] = True
    short = model(spectrograms[:, :, :32])
    torch.testing.assert_close(model(spectrograms, padding_mask=padding), short, rtol=0, atol=1e-5)


def test_forward__bce_is_summed_and_divided_by_positives(checkpoint, spectrograms):
    model = classifier(checkpoint).eval()
    result = model(spectrograms, TARGET, SEEDS)
    probability = model(spectrograms).double().sigmoid()
    expected = -sum(
        math.log(p) if t else math.log(1 - p)
        for p, t in zip(probability.flatten().tolist(), TARGET.flatten().tolist(), strict=True)
    )
    assert result["sample_size"] == 3
    assert loss_of(result) == pytest.approx(expected / 3, rel=1e-5)
    torch.testing.assert_close(result["_scores"].double(), probability, rtol=0, atol=1e-6)


def test_forward__cross_entropy_is_divided_by_clips(checkpoint, spectrograms):
    model = classifier(checkpoint, multi_label=False).eval()
    result = model(spectrograms, SINGLE, SEEDS)
    expected = torch.nn.functional.cross_entropy(model(spectrograms), torch.tensor([2, 1]))
    assert result["sample_size"] == 2
    assert loss_of(result) == pytest.approx(expected.item(), rel=1e-5)


def test_forward__loss_follows_the_kind_of_labels_and_mixup(checkpoint):
    assert classifier(checkpoint).objective.independent_scores
    assert not classifier(checkpoint, multi_label=False).objective.independent_scores
    assert classifier(checkpoint, multi_label=False, mixup=0.8).objective.independent_scores
    assert not classifier(checkpoint, multi_label=False, mixup=0.8, loss="cross_entropy").objective.independent_scores


@pytest.mark.parametrize("multi_label", [True, False])
def test_label_smoothing__acts_in_training_only(checkpoint, spectrograms, multi_label):
    target = TARGET if multi_label else SINGLE
    smoothed = classifier(checkpoint, multi_label, label_smoothing=0.1)
    plain = classifier(checkpoint, multi_label)
    assert loss_of(smoothed.eval()(spectrograms, target, SEEDS)) == pytest.approx(
        loss_of(plain.eval()(spectrograms, target, SEEDS))
    )
    logits = plain(spectrograms)
    soft = target * 0.9 + 0.1 / 4
    if multi_label:
        expected = torch.nn.functional.binary_cross_entropy_with_logits(logits, soft, reduction="sum") / target.sum()
    else:
        expected = torch.nn.functional.cross_entropy(logits, soft)
    assert loss_of(smoothed.train()(spectrograms, target, SEEDS)) == pytest.approx(expected.item(), rel=1e-5)


def test_mixup__mixes_clips_and_labels_alike(checkpoint, spectrograms):
    model = classifier(checkpoint, mixup=0.8, mixup_prob=1.0).train()
    result = model(spectrograms, TARGET, SEEDS)
    weight = float(result["_targets"][0, 0])
    assert 0 < weight < 1
    torch.testing.assert_close(result["_targets"], weight * TARGET + (1 - weight) * TARGET.flip(0))
    assert result["sample_size"] == pytest.approx(3.0)
    mixed = weight * spectrograms + (1 - weight) * spectrograms.flip(0)
    torch.testing.assert_close(result["_scores"], model(mixed).sigmoid(), rtol=0, atol=1e-6)
    again = model(spectrograms, TARGET, SEEDS)
    torch.testing.assert_close(again["_scores"], result["_scores"], rtol=0, atol=0)


def test_specaug__acts_in_training_and_follows_the_seeds(checkpoint, spectrograms):
    model = classifier(checkpoint, specaug=True, mask_ratio=0.9)
    model.train()
    first, again = (model(spectrograms, TARGET, SEEDS)["_scores"] for _ in range(2))
    other = model(spectrograms, TARGET, SEEDS + 5)["_scores"]
    model.eval()
    clean = model(spectrograms, TARGET, SEEDS)["_scores"]
    torch.testing.assert_close(first, again, rtol=0, atol=0)
    assert not torch.allclose(first, other) and not torch.allclose(first, clean)


def test_specaug__masks_wider_than_the_clip_are_at_most_all_of_it(checkpoint, spectrograms):
    frames, mel_bins = spectrograms.shape[2:]
    short = classifier(checkpoint, specaug=True, mask_ratio=0, freqm=mel_bins + 1, timem=200).train()
    whole = classifier(checkpoint, specaug=True, mask_ratio=0, freqm=mel_bins, timem=frames).train()
    scores = short(spectrograms, TARGET, SEEDS)["_scores"]
    torch.testing.assert_close(scores, whole(spectrograms, TARGET, SEEDS)["_scores"], rtol=0, atol=0)


def test_training__augmentation_without_seeds_is_refused(checkpoint, spectrograms):
    with pytest.raises(ValueError, match="seeds"):
        classifier(checkpoint, specaug=True).train()(spectrograms, TARGET)


def test_layer_decay__scale_falls_towards_the_input(checkpoint):
    model = classifier(checkpoint, layer_decay=0.5)
    scale = {
        n: getattr(p, "optim_overrides", {"optimizer": {"lr_scale": 1.0}})["optimizer"]["lr_scale"]
        for n, p in model.named_parameters()
    }
    assert scale["head.weight"] == scale["fc_norm.bias"] == 1.0
    assert scale["model.blocks.1.attn.v.weight"] == 0.5
    assert scale["model.blocks.0.norm2.bias"] == 0.25
    assert scale["model.modality_encoders.IMAGE.extra_tokens"] == 0.125
    assert scale["model.modality_encoders.IMAGE.local_encoder.proj.weight"] == 0.125


def test_linear_probe__trains_the_head_alone_and_keeps_the_encoder_still(checkpoint, spectrograms):
    model = classifier(checkpoint, linear_classifier=True, drop_path_rate=0.9, encoder_dropout=0.9).train()
    assert not model.model.training and model.objective.classifier.head.training
    loss = model(spectrograms, TARGET, SEEDS)["losses"]["classification"]
    loss.backward()
    trained = {n for n, p in model.named_parameters() if p.requires_grad}
    assert trained == {"fc_norm.weight", "fc_norm.bias", "head.weight", "head.bias"}
    assert all((p.grad is not None) == p.requires_grad for p in model.parameters())
    assert float(loss) == float(model.eval()(spectrograms, TARGET, SEEDS)["losses"]["classification"])


def test_drop_path__acts_in_training_only(checkpoint, spectrograms):
    model = classifier(checkpoint, drop_path_rate=0.5).train()
    torch.manual_seed(0)
    trained = {float(model(spectrograms, TARGET, SEEDS)["losses"]["classification"]) for _ in range(4)}
    model.eval()
    still = {float(model(spectrograms, TARGET, SEEDS)["losses"]["classification"]) for _ in range(4)}
    assert len(trained) > 1 and len(still) == 1


def test_state_dict__published_names_and_exact_round_trip(checkpoint, spectrograms):
    model = classifier(checkpoint).eval()
    state = model.state_dict()
    assert "model.modality_encoders.IMAGE.extra_tokens" in state and "model.blocks.0.attn.qk.weight" in state
    assert {"fc_norm.weight", "head.bias"} <= set(state)
    torch.manual_seed(7)
    other = build(
        "asda_classifier",
        {"num_classes": 4, "pretrained_model_args": OmegaConf.to_container(model.cfg.pretrained_model_args)},
    ).eval()
    other.load_state_dict(state)
    torch.testing.assert_close(other(spectrograms), model(spectrograms), rtol=0, atol=0)


def test_legacy_name__fine_tuned_file_of_plain_attention(tmp_path, spectrograms):
    plain = build("asda", {**TINY, "attention": "plain", "mlp_ratio": 4.0})
    legacy_cfg = {"model": {**TINY, "_name": "data2vec_multi"}}  # says nothing of the attention
    source = tmp_path / "eat.pt"
    torch.save({"cfg": legacy_cfg, "model": plain.state_dict()}, source)
    trained = classifier(str(source)).eval()
    loaded = build("mae_image_classification", {"num_classes": 4, "pretrained_model_args": legacy_cfg}).eval()
    loaded.load_state_dict(trained.state_dict())
    torch.testing.assert_close(loaded(spectrograms), trained(spectrograms), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"cutmix": 1.0}, "model.cutmix=1.0 is not implemented"),
        ({"prediction_mode": "LIN_SOFTMAX"}, "LIN_SOFTMAX is not implemented"),
    ],
)
def test_config__what_is_not_implemented_is_refused_by_name(checkpoint, overrides, message):
    with pytest.raises(ValueError, match=message):
        classifier(checkpoint, **overrides).reject_unsupported()
