"""A trained model as an ONNX file, written only if onnxruntime computes the same with it."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import logging
import warnings
from pathlib import Path
from typing import Any

import torch

from ..atomic import atomic_path
from ..checkpoints.checkpoint import Checkpoint
from ..checkpoints.files import first_line
from ..core import zoo
from .exporting import WAVEFORM, Graph, export_graph
from .model import build_classifier, build_encoder

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
PRODUCER = "asda-convert"
TOLERANCE = 1e-4
"""Largest difference from torch, of values whose largest is 1 or less; relative to it, where it is more."""

_MAX_BYTES = 2**31  # of a protobuf file
_HEAD_BYTES = 4096


def require_packages() -> None:
    """Says what is missing.

    Raises:
        ValueError: a package is not installed.
    """
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise ValueError(f"--to onnx needs {', '.join(missing)}: pip install 'asda[onnx]'")


def is_own_file(path: Path) -> bool:
    """Whether such a file was written here."""
    with open(path, "rb") as file:
        return PRODUCER.encode() in file.read(_HEAD_BYTES)


def write_onnx(path: Path, checkpoint: Checkpoint, source: str = WAVEFORM) -> None:
    """Writes a checkpoint's model; input and outputs have the names of :class:`.exporting.Graph`.

    The file's metadata tell `sample_rate_hz`, `system`, `front_end`, `labels`, `scores`.

    Args:
        path: the file; it appears under its name only when it is complete and was checked.
        checkpoint: the model.
        source: `waveform` or `spectrogram`, its input.

    Raises:
        CheckpointError: the checkpoint's parts do not fit together.
        ValueError: it cannot be exported, or onnxruntime computes something else with it.
    """
    build = build_encoder if checkpoint.head_config is None else build_classifier
    graph = Graph(build(checkpoint), source).eval()
    size = sum(tensor.numel() * tensor.element_size() for tensor in (*graph.parameters(), *graph.buffers()))
    if size >= _MAX_BYTES:
        raise ValueError(f"{checkpoint.path}: {size / 2**30:.1f} GiB of tensors, an ONNX file holds up to 2 GiB")
    try:
        program = _translated(graph)
        program.model.producer_name = PRODUCER
        program.model.metadata_props.update(_metadata(checkpoint, graph))
        with atomic_path(path) as temporary:
            program.save(temporary, external_data=False)
            require_same(graph, temporary)
    except ValueError as error:
        raise ValueError(f"{checkpoint.path}: {error}") from error


def _translated(graph: Graph) -> torch.onnx.ONNXProgram:
    exported = export_graph(graph)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), _quiet("torch.onnx", "onnxscript"):
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                exported, input_names=[graph.source], output_names=list(graph.outputs), dynamo=True, verbose=False
            )
    except Exception as error:  # of several packages, of any kind
        raise ValueError(f"this model cannot be written as ONNX ({first_line(error)})") from error
    assert program is not None
    return program


@contextlib.contextmanager
def _quiet(*names: str):
    """Within it these loggers tell of errors alone."""
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _metadata(checkpoint: Checkpoint, graph: Graph) -> dict[str, str]:
    front_end = checkpoint.front_end
    known: dict[str, Any] = {
        "input": graph.source,
        "sample_rate_hz": front_end.sample_rate_hz,
        "front_end": front_end.to_dict(),
        "system": zoo.system_of(checkpoint.encoder_config) or "none of the known ones",
        "architecture": checkpoint.encoder_config.to_dict(),
    }
    if checkpoint.head_config is not None:
        known |= {"labels": checkpoint.label_names, "scores": "sigmoid" if checkpoint.independent_scores else "softmax"}
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in known.items()}


def require_same(graph: Graph, path: Path) -> None:
    """Runs a file beside the graph that it was made of, on other numbers of clips and lengths than it was traced with.

    Raises:
        ValueError: it fails, or its outputs differ.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    shortest, longest = graph.lengths
    for num_clips, length in ((1, shortest), (3, _own_length(graph, longest))):
        source = graph.example(num_clips, length)
        with torch.no_grad():
            expected = graph(source)
        try:
            found = session.run(list(graph.outputs), {graph.source: source.numpy()})
        except Exception as error:  # onnxruntime's own classes, which are not public
            raise ValueError(f"onnxruntime fails with the graph of this model ({first_line(error)})") from error
        for name, ours, theirs in zip(graph.outputs, expected, found, strict=True):
            difference = (ours.float() - torch.from_numpy(theirs).float()).abs().max().item()
            if not difference <= TOLERANCE * max(1.0, ours.float().abs().max().item()):
                raise ValueError(f"not written: onnxruntime's {name} differ by {difference:.2g} from torch's")


def _own_length(graph: Graph, longest: int | None) -> int:
    """The length that the model was trained with, as near as the graph takes it."""
    front_end = graph.model.front_end
    frames = front_end.target_length_frames or 1000
    if longest is not None:
        return max(graph.lengths[0], min(frames, longest))
    return graph.lengths[0] + frames * front_end.sample_rate_hz // 100
