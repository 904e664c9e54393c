"""Models as ONNX files, run by onnxruntime."""

import json

import pytest
import torch

from ASDA.checkpoints.checkpoint import Checkpoint
from ASDA.inference import onnx_file
from ASDA.inference.exporting import FEATURES, LOGITS, PADDING_MASK, PROBABILITIES, SPECTROGRAM, WAVEFORM, Graph
from ASDA.inference.model import TrainedClassifier
from ASDA.inference.onnx_file import TOLERANCE, require_same, write_onnx
from tests.inference.exported_models import ARCHITECTURES, FRAMES, LABELS, WITH_PADDING, sounds, trained

onnxruntime = pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
pytest.importorskip("onnxscript", reason="the extra onnx is not installed")


def checkpoint_of(model, path="model.pt"):
    """The checkpoint that such a model would be loaded from."""
    head = {}
    if isinstance(model, TrainedClassifier):
        part = model.classifier.head
        head = {"head_config": part.config, "head": part.state_dict(), "label_names": model.label_names}
        head["independent_scores"] = model.independent_scores
    tensors = model.encoder.state_dict()
    return Checkpoint(path, "directory", model.encoder.config, tensors, model.front_end, **head)


def session_of(model, path, source=WAVEFORM):
    write_onnx(path, checkpoint_of(model), source)
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def assert_same(session, names, source, expected, tolerance=TOLERANCE):
    found = session.run(list(names), {session.get_inputs()[0].name: source.numpy()})
    for theirs, ours in zip(found, expected, strict=True):
        torch.testing.assert_close(torch.from_numpy(theirs), ours, atol=tolerance, rtol=0)


@pytest.mark.long
@pytest.mark.parametrize(("architecture", "padding"), WITH_PADDING)
def test_write_onnx__of_waveforms(tmp_path, architecture, padding):
    model = trained(architecture, padding=padding)
    graph = Graph(model)
    session = session_of(model, tmp_path / "model.onnx")
    assert graph.outputs == ((FEATURES, PADDING_MASK) if padding == "mask" else (FEATURES,))
    for num_clips, num_samples in ((1, 400), (1, 16_000), (3, 6_123), (4, 10_480), (2, 30_000)):
        # In faint bins beside a loud tone two Fourier transforms in float32 agree to 3 digits.
        loud, noise = sounds(num_clips, num_samples), 0.3 * torch.randn(num_clips, num_samples)
        for waveforms, tolerance in ((noise, TOLERANCE), (loud, 10 * TOLERANCE)):
            with torch.no_grad():
                assert_same(session, graph.outputs, waveforms, graph(waveforms), tolerance)


@pytest.mark.long
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_write_onnx__of_spectrograms(tmp_path, architecture):
    model = trained(architecture)
    session = session_of(model, tmp_path / "model.onnx", SPECTROGRAM)
    shortest, longest = Graph(model, SPECTROGRAM).lengths
    for num_clips, length in ((1, shortest), (3, 2 * shortest + 1), (5, FRAMES), (2, longest)):
        spectrogram = torch.randn(num_clips, 1, length, 128)
        with torch.no_grad():
            assert_same(session, [FEATURES], spectrogram, [model(spectrogram)])
    for length in (shortest - 1, longest + 1, 2 * longest):  # onnxruntime checks no shapes
        with pytest.raises(Exception, match="(?i)error|invalid|fail"):
            session.run(None, {"spectrogram": torch.randn(2, 1, length, 128).numpy()})


def test_write_onnx__of_a_classifier(tmp_path):
    model = trained("plain", head="mean", softmax=True)
    session = session_of(model, tmp_path / "model.onnx")
    assert [output.name for output in session.get_outputs()] == [LOGITS, PROBABILITIES, FEATURES]
    waveform = sounds(1, 8_500)
    (probabilities,) = session.run([PROBABILITIES], {"waveform": waveform.numpy()})
    torch.testing.assert_close(torch.from_numpy(probabilities)[0], model.scores(waveform[0]), atol=TOLERANCE, rtol=0)
    with pytest.raises(Exception, match="(?i)index|bounds"):  # shorter than one frame
        session.run(None, {"waveform": sounds(1, 399).numpy()})
    known = session.get_modelmeta().custom_metadata_map
    assert (known["sample_rate_hz"], known["scores"], known["input"]) == ("16000", "softmax", "waveform")
    assert json.loads(known["labels"]) == LABELS
    assert json.loads(known["front_end"]) == model.front_end.to_dict()
    assert known["system"] == "EAT"


def test_write_onnx__what_onnxruntime_computes_otherwise_is_not_written(tmp_path, monkeypatch):
    model = trained()
    other = Graph(trained("differential", norm_mean=-4.1))
    monkeypatch.setattr(onnx_file, "require_same", lambda _, path: require_same(other, path))
    with pytest.raises(ValueError, match="model.pt: not written: onnxruntime's features differ by") as caught:
        write_onnx(tmp_path / "model.onnx", checkpoint_of(model))
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []
