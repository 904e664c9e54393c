"""The programs on an AST directory of Hugging Face: two prefix tokens, overlapping patches."""

import json

import numpy as np
import pytest
import torch

from ASDA.cli.convert import main as convert
from ASDA.cli.evaluate import main as evaluate
from ASDA.cli.extract import main as extract
from ASDA.cli.infer import main as infer
from ASDA.cli.info import main as info
from ASDA.inference import load_classifier
from tests.vit_files import write_ast

CLIP = "clip_8.wav"  # 1.3 s; the model hears 64 frames


@pytest.fixture
def ast(tmp_path):
    return write_ast(tmp_path / "ast", id2label={"0": "bark", "1": "meow, purr", "2": "rain"})


def test_infer__names_the_classes_of_the_directory(ast, corpus, run):
    done = run(infer, corpus / CLIP, "--checkpoint_dir", ast, "--framework", "huggingface", "--json", "--device", "cpu")
    assert done.code == 0, done.err
    found = json.loads(done.out.splitlines()[0])
    scores = load_classifier(ast).scores(corpus / CLIP)
    best = found["classes"][0] if "classes" in found else found["predictions"][0]
    assert best["label"] == ["bark", "meow, purr", "rain"][int(scores.argmax())]


def test_eval__takes_the_directory(ast, corpus, run):
    arguments = ["--checkpoint_dir", ast, "--eval_dir", corpus, "--bootstrap", "0", "--json", "--device", "cpu"]
    done = run(evaluate, *arguments)
    assert done.code == 0, done.err


@pytest.mark.parametrize("granularity", ["all", "frame", "utterance", "patch-grid"])
def test_extract__rows_are_those_of_overlapping_patches(ast, corpus, tmp_path, run, granularity):
    arguments = ["--checkpoint_dir", ast, "--output", tmp_path / "out", "--timestamps", "--device", "cpu"]
    done = run(extract, corpus / CLIP, *arguments, "--granularity", granularity)
    assert done.code == 0, done.err
    features, times = (np.load(tmp_path / "out" / name) for name in ("clip_8.npy", "clip_8.times.npy"))
    with torch.no_grad():
        tokens = load_classifier(ast).features(corpus / CLIP)  # two prefix tokens, 5 x 12 patches
    pooled, patches = tokens[:2].mean(dim=0, keepdim=True), tokens[2:]
    shapes = {"all": torch.cat([pooled, patches]), "frame": patches, "utterance": pooled[0]}
    expected = shapes | {"patch-grid": patches.unflatten(0, (5, 12))}
    np.testing.assert_allclose(features, expected[granularity].numpy(), atol=1e-5)
    if granularity == "patch-grid":
        np.testing.assert_allclose(times, [[0.1 * row, 0.1 * row + 0.16] for row in range(5)])


def test_info__says_what_it_is(ast, run):
    found = json.loads(run(info, ast, "--json").out)
    assert found["system"] == "AST" and found["head"]["pooling"] == "prefix_mean"
    assert found["head"]["label_names"] == ["bark", "meow, purr", "rain"] and found["origin"]["layout"] == "ast"
    assert found["patches_per_clip"] == 60 and len(found["origin"]["sha256"]) == 64


@pytest.mark.parametrize("layout", ["directory", "huggingface", "project"])
def test_convert__ast_there_computes_the_same(ast, tmp_path, run, layout):
    target = tmp_path / "there"
    assert run(convert, ast, target, "--to", layout).code == 0
    back = tmp_path / "back"
    assert run(convert, target, back, "--to", "directory").code == 0
    spectrogram, expected = torch.randn(1, 1, 64, 128), load_classifier(ast)
    for path in (target, back):
        found = load_classifier(path)
        with torch.no_grad():
            assert torch.equal(found.logits(spectrogram), expected.logits(spectrogram))
        assert found.label_names == expected.label_names and found.front_end == expected.front_end
        assert (found.multi_label, found.independent_scores) == (expected.multi_label, expected.independent_scores)


@pytest.mark.parametrize(
    ("layout", "classes", "message"),
    [
        ("project", 0, "an encoder alone, of no run of this project"),
        ("published", 0, "an encoder alone, of no run of this project"),
        ("published", 3, "the published layout has no keys for an encoder like"),
    ],
)
def test_convert__says_what_makes_no_sense(tmp_path, run, layout, classes, message):
    folder = write_ast(tmp_path / "ast", classes=classes)
    done = run(convert, folder, tmp_path / "there.pt", "--to", layout)
    assert done.code == 1 and message in done.err and len(done.err.splitlines()) == 1
    assert not (tmp_path / "there.pt").exists()


def test_convert__leaves_an_ast_directory_of_others_as_it_is(ast, tmp_path, run):
    before = (ast / "config.json").read_bytes()
    other = write_ast(tmp_path / "other")
    done = run(convert, other, ast, "--to", "directory")
    assert done.code == 1 and "not of a model of this project" in done.err
    assert (ast / "config.json").read_bytes() == before
