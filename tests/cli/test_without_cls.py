"""The programs with an encoder that has no CLS: MAE-AST's, of patches and of frames."""

import json
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch

from ASDA.checkpoints.layouts import directory
from ASDA.cli import evaluate, extract, infer, info, probe
from ASDA.core.config import HeadConfig
from ASDA.inference import load_classifier, load_encoder, read_checkpoint
from tests.mae_ast_files import released

FRAMES, SHAPES = 96, {"patch": (6, 8), "frame": (48, 1)}


@pytest.fixture(params=SHAPES)
def kind(request):
    return request.param


@pytest.fixture
def encoder_file(kind, tmp_path):
    torch.save(released(kind), tmp_path / "released.pt")
    return tmp_path / "released.pt"


@pytest.fixture
def classifier(encoder_file, tmp_path):
    """A directory of the encoder with a head on the mean of its patches."""
    generator = torch.Generator().manual_seed(0)
    shapes = {"norm.weight": (32,), "norm.bias": (32,), "linear.weight": (3, 32), "linear.bias": (3,)}
    checkpoint = replace(
        read_checkpoint(encoder_file),
        head_config=HeadConfig(3, "mean"),
        head={name: torch.randn(shape, generator=generator) for name, shape in shapes.items()},
        label_names=["bark", "meow", "rain"],
        multi_label=False,
        independent_scores=False,
    )
    directory.write(tmp_path / "classifier", checkpoint, None)
    return tmp_path / "classifier"


@pytest.fixture
def clips(tmp_path):
    """Three labelled clips of one second: 98 frames."""
    folder = tmp_path / "clips"
    folder.mkdir()
    generator = np.random.default_rng(0)
    for clip in range(3):
        soundfile.write(folder / f"{clip}.wav", generator.normal(0, 0.1, 16_000), 16_000)
    (folder / "eval.tsv").write_text("\n".join([str(folder), *(f"{clip}.wav\t16000" for clip in range(3))]) + "\n")
    (folder / "eval.lbl").write_text("".join(f"{clip}\t/m/{clip}\n" for clip in range(3)))
    table = "".join(f'{c},/m/{c},"{name}"\n' for c, name in enumerate(("bark", "meow", "rain")))
    (folder / "label_descriptors.csv").write_text("index,mid,display_name\n" + table)
    return folder


def extracted(encoder_file, clips, tmp_path, *flags):
    places = {"--checkpoint_dir": encoder_file, "--source_file": clips / "0.wav", "--target_file": tmp_path / "f.npy"}
    arguments = [str(word) for pair in places.items() for word in pair]
    assert extract.main([*arguments, "--target_length", str(FRAMES), "--timestamps", *flags]) == 0
    return np.load(tmp_path / "f.npy"), np.load(tmp_path / "f.times.npy")


def test_extract__utterance_is_the_mean_of_the_patches(encoder_file, kind, clips, tmp_path):
    (P, Q), D = SHAPES[kind], 32
    patches = load_encoder(encoder_file, target_length_frames=FRAMES).features(clips / "0.wav").numpy()
    assert patches.shape == (P * Q, D)
    frame, times = extracted(encoder_file, clips, tmp_path, "--granularity", "frame")
    np.testing.assert_allclose(frame, patches, atol=1e-5)
    step = FRAMES / P / 100  # a patch of 160 ms, a pair of frames of 20 ms
    np.testing.assert_allclose(times, [[n // Q * step, (n // Q + 1) * step] for n in range(P * Q)], atol=1e-9)
    utterance, times = extracted(encoder_file, clips, tmp_path, "--granularity", "utterance")
    np.testing.assert_allclose(utterance, patches.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(times, [0.0, 0.96], atol=1e-9)
    grid, _ = extracted(encoder_file, clips, tmp_path, "--granularity", "patch-grid")
    np.testing.assert_allclose(grid, patches.reshape(P, Q, D), atol=1e-5)
    every, _ = extracted(encoder_file, clips, tmp_path, "--granularity", "all")
    np.testing.assert_allclose(every, np.concatenate([utterance[None], patches]), atol=1e-5)
    pooled, _ = extracted(encoder_file, clips, tmp_path, "--granularity", "frame", "--pool", "frequency")
    np.testing.assert_allclose(pooled, patches.reshape(P, Q, D).mean(axis=1), atol=1e-5)


def test_extract__utterance_of_an_encoder_without_cls_leaves_padding_out_where_there_is_none(
    encoder_file, kind, clips, tmp_path
):
    """--padding own: the mean is that of the sound alone."""
    soundfile.write(clips / "0.wav", np.random.default_rng(1).normal(0, 0.1, 8_240), 16_000)  # 50 frames
    rows = {"patch": 4, "frame": 25}[kind]
    arguments = ("--padding", "own", "--granularity")
    frame, _ = extracted(encoder_file, clips, tmp_path, *arguments, "frame")
    utterance, _ = extracted(encoder_file, clips, tmp_path, *arguments, "utterance")
    assert len(frame) == rows * SHAPES[kind][1]
    np.testing.assert_allclose(utterance, frame.mean(axis=0), atol=1e-5)


def test_infer_and_eval__of_a_head_on_the_mean(classifier, clips, capsys):
    expected = load_classifier(classifier, target_length_frames=FRAMES).scores(clips / "1.wav")
    length = ("--target_length", str(FRAMES))
    arguments = ("--checkpoint_dir", str(classifier), "--source_file", str(clips / "1.wav"))
    assert infer.main([*arguments, *length, "--json"]) == 0
    [found] = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    scores = {entry["label"]: entry["score"] for entry in found["predictions"]}
    assert [scores[name] for name in ("bark", "meow", "rain")] == pytest.approx(expected.tolist(), abs=1e-5)
    assert evaluate.main(["--checkpoint_dir", str(classifier), "--eval_dir", str(clips), *length]) == 0
    assert "accuracy" in capsys.readouterr().out


def test_probe__takes_the_mean_and_refuses_cls(encoder_file, clips, capsys):
    for file in ("tsv", "lbl"):
        (clips / f"train.{file}").write_text((clips / f"eval.{file}").read_text())
    arguments = ["--data", str(clips), "--checkpoint", str(encoder_file), "--bootstrap", "0", "--padding", "mask"]
    assert probe.main(arguments) == 0
    assert "accuracy" in capsys.readouterr().out
    assert probe.main([*arguments, "--pooling", "cls"]) == 1
    assert "this encoder has no prefix tokens (CLS); take --pooling mean" in capsys.readouterr().err


def test_info__names_the_system_and_the_pooling(classifier, kind, capsys):
    assert info.main([str(classifier), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["system"] == f"MAE-AST {kind}" and found["head"]["pooling"] == "mean"
    assert found["front_end"]["window"] == "povey"
