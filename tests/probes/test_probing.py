"""The linear probe: it finds what is in the features, and nothing where there is nothing."""

import shutil

import numpy as np
import pytest
import torch

from ASDA.audio.front_end import FrontEnd
from ASDA.cli import probe
from ASDA.data.manifest import Manifest
from ASDA.inference import TrainedEncoder
from ASDA.metrics import mean_average_precision
from ASDA.probes import linear, probing
from tests.architectures import make_encoder


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    network = make_encoder(embed_dim=32, depth=2, num_heads=4, max_rows=16)
    return TrainedEncoder(network, FrontEnd(target_length_frames=128, norm_mean=-7.0, norm_std=4.0)).eval()


def test_probe_scores__separable_classes_are_found_and_noise_is_not():
    rng = np.random.default_rng(0)
    targets = rng.random((400, 3)) < 0.3
    features = rng.normal(size=(400, 20)).astype(np.float32)
    features[:, :2] += 6.0 * targets[:, :2]  # nothing tells the third class
    scores = linear.probe_scores(features[:200], targets[:200], features[200:], regularisation=0.1)
    per_class = mean_average_precision(targets[200:], scores).per_class
    assert min(per_class[:2]) > 0.98
    assert per_class[2] < 0.5


def test_probe_scores__a_class_without_training_clips_scores_zero():
    rng = np.random.default_rng(0)
    targets = np.stack([rng.random(50) < 0.5, np.zeros(50, dtype=bool), np.ones(50, dtype=bool)], axis=1)
    scores = linear.probe_scores(rng.normal(size=(50, 4)), targets, rng.normal(size=(9, 4)), regularisation=0.1)
    assert scores[:, 0].std() > 0
    assert (scores[:, 1:] == 0).all()


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_pooled_features__are_the_encoders_in_the_manifests_order(small_corpus, encoder, pooling):
    manifest = Manifest.read(small_corpus / "valid.tsv")
    features = probing.pooled_features(encoder, manifest, pooling, "constant")
    for row in (0, 7, len(manifest) - 1):
        tokens = encoder.features(manifest.path(row))
        expected = tokens[0] if pooling == "cls" else tokens[1:].mean(dim=0)
        np.testing.assert_allclose(features[row], expected.numpy(), atol=1e-5)


def test_pooled_features__of_a_clip_that_is_known_are_taken_from_there(small_corpus, encoder):
    manifest, known = Manifest.read(small_corpus / "valid.tsv"), {}
    features = probing.pooled_features(encoder, manifest, "mean", "constant", known)
    assert len(known) == len(manifest)
    path = manifest.path(3)
    del known[manifest.path(5)]
    known[path] = known[path] + 1.0
    again = probing.pooled_features(encoder, manifest, "mean", "constant", known)
    np.testing.assert_allclose(np.delete(again, 3, axis=0), np.delete(features, 3, axis=0), atol=1e-5)
    np.testing.assert_array_equal(again[3], features[3] + 1.0)


def test_random_twin__shares_architecture_and_front_end_but_no_weight(encoder):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    twin, same, other = (probing.random_twin(encoder, seed) for seed in (1, 1, 2))
    assert torch.rand(1) == expected, "the global generator is left alone"
    assert twin.encoder.config == encoder.encoder.config and twin.front_end == encoder.front_end
    weight, trained, again, different = (
        model.encoder.stack.blocks[0].mlp.fc1.weight for model in (twin, encoder, same, other)
    )
    assert torch.equal(weight, again)
    assert not torch.allclose(weight, trained) and not torch.allclose(weight, different)
    assert not twin.training


def test_probe_folder__reports_accuracy_only_for_single_labels(small_corpus):
    def features(file):
        return np.random.default_rng(0).normal(size=(len(Manifest.read(file)), 8))

    assert set(probing.probe_folder(small_corpus, features, 0.1)) == {"mAP"}


def test_probe_folder__intervals_hold_their_metric_and_leave_it_alone(small_corpus, tmp_path):
    def features(file):
        manifest = Manifest.read(file)
        noise = np.random.default_rng(0).normal(size=(len(manifest), 8))
        return noise + probing.multi_hot(folder, file.stem) @ np.eye(15, 8)

    folder = tmp_path / "one label"
    shutil.copytree(small_corpus, folder)
    for file in folder.glob("*.lbl"):
        file.write_text("".join(f"{line.split(',')[0]}\n" for line in file.read_text().splitlines()))
    plain, drawn = (probing.probe_folder(folder, features, 0.1, draws) for draws in (0, 50))
    assert set(plain) == {"mAP", "accuracy"}
    for name, value in plain.items():
        assert drawn[name] == value
        assert 0 <= drawn[f"{name}_low"] <= value <= drawn[f"{name}_high"] <= 1
        assert drawn[f"{name}_high"] - drawn[f"{name}_low"] > 0.05


def test_probe_folder__takes_clips_without_a_label(tmp_path):
    (tmp_path / "label_descriptors.csv").write_text("0,a,a\n1,b,b\n")
    labels = {"train": ["a", "b", "", "a,b", "", "a"], "eval": ["a", "", "b", "b"]}
    for split, of_clips in labels.items():
        rows = "".join(f"{number}.wav\t16000\n" for number in range(len(of_clips)))
        (tmp_path / f"{split}.tsv").write_text(f"{tmp_path}\n{rows}")
        lines = "".join(f"{number}\t{label}\n" for number, label in enumerate(of_clips))
        (tmp_path / f"{split}.lbl").write_text(lines)

    def telling(file):  # features that tell each class
        return np.array([[float("a" in label), float("b" in label)] for label in labels[file.stem]])

    assert probing.multi_hot(tmp_path, "eval").tolist() == [[1, 0], [0, 0], [0, 1], [0, 1]]
    assert probing.probe_folder(tmp_path, telling, 0.1) == {"mAP": pytest.approx(1.0)}


def test_main__a_checkpoint_that_is_not_there_ends_with_one_line(small_corpus, capsys):
    assert probe.main(["--data", str(small_corpus), "--checkpoint", "/nowhere.pt"]) == 1
    assert capsys.readouterr().err.strip() == "probe: error: /nowhere.pt: no such checkpoint file"


def test_probe_scores__what_was_not_judged_does_not_train():
    """A feature that tells the class; the clips that were not judged have it, and as negatives would hide it."""
    features = np.concatenate([np.ones((20, 1)), np.zeros((20, 1)), np.ones((400, 1))])
    targets = np.concatenate([np.ones((20, 1)), np.zeros((20, 1)), np.full((400, 1), np.nan)])
    scores = linear.probe_scores(features, targets, np.array([[1.0], [0.0]]), regularisation=10.0)
    alone = linear.probe_scores(features[:40], targets[:40], np.array([[1.0], [0.0]]), regularisation=10.0)
    np.testing.assert_array_equal(scores, alone)
    assert scores[0, 0] > 0 > scores[1, 0]
