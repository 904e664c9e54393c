"""What a worker of a Ray cluster does: parts of the list of clips, as a run on one machine computes them."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from ..core.encoder import SpectrogramEncoder
from ..host_memory import bound_compiled_kernels, keep_freed_memory
from .clips import Clip
from .features import Assembly, FeatureSpec, run_encoder
from .half_precision import cast_weights
from .windows import BadClip, Windowing

REMARK = -1
"""The number of no clip: the row holds a warning."""


@dataclass(frozen=True)
class Work:
    """How clips become features; goes to every worker, with the weights.

    Attributes:
        encoder: on the CPU, in float32.
        spec: which features.
        windowing: how clips are cut and padded.
        half: in half precision.
        batch_size: most windows in a batch.
        together: see :func:`.windows.batches`.
        num_decoders: threads that decode in each worker.
        num_threads: threads of a network on the CPU.
        h5_sample_rate_hz: of HDF5 data that does not say.
    """

    encoder: SpectrogramEncoder
    spec: FeatureSpec
    windowing: Windowing
    half: bool
    batch_size: int
    together: int
    num_decoders: int
    num_threads: int
    h5_sample_rate_hz: int


def row_schema():
    """Columns of what workers send.

    A clip's features come in blocks of a few megabytes, each a row, the last with `is_last`; of a clip that could not
    be used there is a row with `error`.
    """
    import pyarrow as pa

    return pa.schema(
        {
            "clip": pa.int64(),
            "error": pa.string(),
            "not_finite": pa.bool_(),
            "num_frames": pa.int64(),
            "shape": pa.list_(pa.int64()),  # of the rows (layers, rows, ...), or of a single vector's values
            "has_rows": pa.bool_(),
            "layer": pa.int64(),
            "first_row": pa.int64(),
            "values": pa.large_binary(),
            "times_s": pa.large_binary(),  # with the last block
            "is_last": pa.bool_(),
        }
    )


class Worker:
    """An actor's class: tables of parts -> tables of rows.

    Args:
        work: where Ray keeps the :class:`Work`.
        uses_gpu: whether it has one.
    """

    def __init__(self, work: list, uses_gpu: bool):
        import ray

        self.work: Work = ray.get(work[0])
        self.device = torch.device("cuda" if uses_gpu else "cpu")
        if not uses_gpu:
            keep_freed_memory()
            bound_compiled_kernels()
        self.encoder = self.work.encoder.to(self.device)
        if self.work.half:
            cast_weights(self.encoder, self.device)
        self._remarks = _Remarks()
        logging.getLogger("ASDA").addHandler(self._remarks)

    def __call__(self, part) -> Iterator[Any]:
        """Rows of the clips of a part, `numbers` and `paths` (bytes, as file names need not be UTF-8)."""
        import pyarrow as pa

        torch.set_num_threads(self.work.num_threads)
        schema = row_schema()
        for row in self._rows(part.to_pylist()[0]):
            whole = {name: row.get(name) for name in schema.names}
            yield pa.Table.from_pylist([whole], schema)

    def _rows(self, part: dict[str, list]) -> Iterator[dict[str, Any]]:
        work = self.work
        clips = ((number, Clip(path := os.fsdecode(name), path)) for number, name in zip(*part.values(), strict=True))
        results = run_encoder(
            self.encoder,
            work.spec,
            clips,
            work.windowing,
            device=self.device,
            batch_size=work.batch_size,
            half=work.half,
            num_workers=work.num_decoders,
            h5_sample_rate_hz=work.h5_sample_rate_hz,
            together=work.together,
        )
        for result in results:
            if isinstance(result, BadClip):
                error = result.reason.encode("utf-8", "backslashreplace").decode("utf-8")
                yield {"clip": result.index, "error": error, "not_finite": result.not_finite}
            else:
                yield from _blocks(result)
        for text in self._remarks.take():
            yield {"clip": REMARK, "error": text.encode("utf-8", "backslashreplace").decode("utf-8")}


def _blocks(result: Assembly) -> Iterator[dict[str, Any]]:
    features = result.features()
    times_s = features.times_s.numpy().tobytes()
    common: dict[str, Any] = {"clip": result.clip.index, "num_frames": result.clip.num_frames}
    if features.rows is None:
        values = features.values.numpy()
        yield common | {"has_rows": False, "shape": values.shape} | _block(0, 0, values) | _end(times_s)
        return
    common |= {"has_rows": True, "shape": features.rows.shape}
    last = None
    for layer, first_row, values in features.rows.blocks():
        if last is not None:
            yield common | last
        last = _block(layer, first_row, values)
    yield common | (last or {}) | _end(times_s)


def _block(layer: int, first_row: int, values) -> dict[str, Any]:
    return {"layer": layer, "first_row": first_row, "values": values.tobytes()}


def _end(times_s: bytes) -> dict[str, Any]:
    return {"times_s": times_s, "is_last": True}


class _Remarks(logging.Handler):
    """Keeps warnings, which in a worker nobody would read."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self._texts.append(record.getMessage())

    def take(self) -> list[str]:
        texts, self._texts = self._texts, []
        return texts
