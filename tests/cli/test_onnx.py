"""asda-convert --to onnx."""

import re

import numpy as np
import pytest
import soundfile
import torch

from ASDA.cli.convert import main as convert
from ASDA.cli.infer import main as infer
from ASDA.inference import onnx_file
from tests.cli.conftest import json_lines

onnxruntime = pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
pytest.importorskip("onnxscript", reason="the extra onnx is not installed")


def test_convert__onnx_gives_the_probabilities_of_asda_infer(corpus, models, run, tmp_path):
    target = tmp_path / "model.onnx"
    labels = ("--label_file", corpus / "label_descriptors.csv")
    result = run(convert, models.finetuned, target, "--to", "onnx", *labels)
    assert result.code == 0 and f"wrote {target} (onnx)" in result.err
    session = onnxruntime.InferenceSession(target)
    for record in json_lines(run(infer, corpus, "--checkpoint", models.finetuned, *labels, "--json").out):
        waveform = soundfile.read(record["path"], dtype="float32")[0][None]
        (found,) = session.run(["probabilities"], {"waveform": waveform})
        expected = sorted(record["predictions"], key=lambda one: one["index"])
        np.testing.assert_allclose(found[0], [one["score"] for one in expected], atol=1e-4)
    assert (
        run(convert, models.finetuned, target, "--to", "onnx", "--target_length", 64, "--input", "spectrogram").code
        == 0
    )
    assert onnxruntime.InferenceSession(target).get_inputs()[0].name == "spectrogram"


def test_convert__onnx_errors_are_one_line(models, run, tmp_path, monkeypatch):
    (tmp_path / "mine.onnx").write_bytes(b"somebody's")
    (tmp_path / "folder").mkdir()
    for target, flags, message in (
        ("mine.onnx", ["--to", "onnx"], "exists and is not a model in ONNX"),
        ("folder", ["--to", "onnx"], "a directory; --to onnx writes an .onnx file"),
        (
            "x.pt",
            ["--to", "project", "--input", "waveform"],
            "--input waveform goes with --to onnx, not with --to project",
        ),
        ("x.onnx", ["--to", "onnx", "--target_length", "100000"], "cannot be exported as one graph .*position table"),
    ):
        result = run(convert, models.finetuned, tmp_path / target, *flags)
        assert result.code == 1 and result.err.count("\n") == 1
        assert re.search(message, result.err), result.err
    assert (tmp_path / "mine.onnx").read_bytes() == b"somebody's"
    monkeypatch.setattr(onnx_file, "PACKAGES", ("onnx", "no_such_package"))
    result = run(convert, models.finetuned, tmp_path / "x.onnx", "--to", "onnx")
    assert result.code == 1 and "--to onnx needs no_such_package: pip install 'asda[onnx]'" in result.err
    assert sorted(file.name for file in tmp_path.iterdir()) == ["folder", "mine.onnx"]


def test_is_own_file__by_its_producer(tmp_path):
    (tmp_path / "own.onnx").write_bytes(b"\x08\x0a\x12\x0casda-convert")
    (tmp_path / "other.onnx").write_bytes(b"\x08\x0a\x12\x07pytorch")
    assert onnx_file.is_own_file(tmp_path / "own.onnx") and not onnx_file.is_own_file(tmp_path / "other.onnx")
    torch.save({}, tmp_path / "model.pt")
    assert not onnx_file.is_own_file(tmp_path / "model.pt")
