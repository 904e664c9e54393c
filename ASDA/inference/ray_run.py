"""Runs an encoder over many clips on a Ray cluster: hands out parts of the list, takes the features in."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import numpy as np
import torch

from .clips import Clips
from .features import ClipFeatures, FeatureSpec
from .ray_cluster import ClusterError, Workers
from .ray_worker import REMARK, Work, Worker
from .rows import Rows
from .windows import BadClip, LoadedClip

logger = logging.getLogger(__name__)

MOST_BLOCKS = 4096
"""So many blocks of parts at most: each costs Ray some memory and time, however long the list is."""

_RETRIES = 3
"""Of a worker that ended, or whose machine did: a clip that ends each must not do so for ever."""


class Arriving:
    """A clip's features, which come block by block from a worker.

    Args:
        clip: its name and length.
        spec: which features they are.
        half: whether they are float16.
    """

    def __init__(self, clip: LoadedClip, spec: FeatureSpec, half: bool):
        self.clip = clip
        self._spec = spec
        self._dtype = torch.float16 if half else torch.float32
        self._rows: Rows | None = None
        self._single: torch.Tensor | None = None
        self._num_arrived = 0
        self._times_s = torch.empty(0)
        self.num_bytes = 0

    def add(self, row: dict[str, Any]) -> bool:
        """Takes a row; returns whether it was the last.

        Raises:
            ClusterError: a block is missing.
        """
        values = np.frombuffer(row["values"], str(self._dtype).removeprefix("torch."))
        shape = tuple(row["shape"])
        if not row["has_rows"]:
            self._single = torch.from_numpy(values.reshape(shape).copy())
            self.num_bytes = self._num_arrived = values.nbytes
        else:
            if self._rows is None:
                self._rows = Rows(shape, self._dtype)
                self.num_bytes = self._rows.num_bytes
            self._rows.put_block(row["layer"], row["first_row"], values.reshape(-1, *shape[2:]).copy())
            self._num_arrived += values.nbytes
        if not row["is_last"]:
            return False
        if self._num_arrived != self.num_bytes:
            raise ClusterError(f"{self.clip.clip.path}: {self._num_arrived} of {self.num_bytes} bytes have arrived")
        times_s = torch.from_numpy(np.frombuffer(row["times_s"], np.float64).copy())
        self._times_s = times_s.reshape(-1, 2) if row["has_rows"] else times_s
        return True

    def features(self) -> ClipFeatures:
        """All that has arrived."""
        if self._single is not None:
            return ClipFeatures(self._single, self._times_s)
        assert self._rows is not None
        values = self._rows.values()
        return ClipFeatures(values if isinstance(self._spec.layers, tuple) else values[0], self._times_s, self._rows)


def run_clips_on_ray(work: Work, clips: Clips, wanted: Sequence[int], workers: Workers) -> Iterator[Arriving | BadClip]:
    """Yields the features or a BadClip for every wanted clip, in the order in which they arrive.

    They are those of :func:`.run.run_clips` with the same `together`, to the bit: the same batches are computed by the
    same code, and on processors of one kind with as many threads that gives the same.

    Args:
        work: what the workers do.
        clips: all clips of the run; their paths have to be seen by every machine of the cluster.
        wanted: numbers of those to do, ascending.
        workers: of the connected cluster.

    Raises:
        ClusterError: a worker failed, or a clip was lost.
    """
    import ray

    arriving: dict[int, Arriving] = {}
    missing = set(wanted)
    said: set[str] = set()
    try:
        for row in _rows(work, clips, wanted, workers):
            number = row["clip"]
            if number == REMARK:
                if row["error"] not in said:  # each worker says it once
                    said.add(row["error"])
                    logger.warning("%s", row["error"])
                continue
            if number not in missing:
                raise ClusterError(f"{clips[number].path}: has arrived twice")
            if row["error"] is not None:
                missing.discard(number)
                yield BadClip(number, clips[number], row["error"], row["not_finite"])
                continue
            if number not in arriving:
                loaded = LoadedClip(number, clips[number], row["num_frames"], 0.0, None, work.windowing)
                arriving[number] = Arriving(loaded, work.spec, work.half)
            if arriving[number].add(row):
                missing.discard(number)
                yield arriving.pop(number)
    except (ray.exceptions.RayError, ray.exceptions.UserCodeException, RuntimeError) as error:
        raise ClusterError(f"the cluster failed: {_cause(error)}") from error
    if missing:
        raise ClusterError(f"{len(missing)} of {len(wanted)} clips are lost, the first is {clips[min(missing)].path}")


def _rows(work: Work, clips: Clips, wanted: Sequence[int], workers: Workers) -> Iterator[dict[str, Any]]:
    """What the workers send, row by row."""
    import ray

    if not wanted:
        return
    ref = ray.put(work)
    blocks = _blocks_of_parts(clips, wanted, work.together)
    parts = ray.data.from_arrow(blocks)
    with warnings.catch_warnings():  # of the last two arguments, in whose place there is nothing yet
        warnings.simplefilter("ignore")
        rows = parts.map_batches(
            Worker,
            fn_constructor_kwargs={"work": [ref], "uses_gpu": bool(workers.gpus)},
            batch_size=1,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(size=min(workers.count, len(blocks))),
            num_cpus=workers.cpus,
            num_gpus=workers.gpus,
            max_restarts=_RETRIES,
            max_task_retries=_RETRIES,
        )
    tables: Iterator[Any] = iter(rows.iter_batches(batch_size=None, batch_format="pyarrow"))
    for table in tables:
        for first in range(table.num_rows):  # one by one, as their values may be large
            yield table.slice(first, 1).to_pylist()[0]


def _blocks_of_parts(clips: Clips, wanted: Sequence[int], together: int) -> list:
    """Tables with a part of the list in each row: numbers of clips, and their paths."""
    import pyarrow as pa

    schema = pa.schema({"numbers": pa.list_(pa.int64()), "paths": pa.list_(pa.binary())})
    here = os.getcwd()
    parts = [list(numbers) for _, numbers in groupby(wanted, key=lambda number: number // together)]
    each = -(-len(parts) // MOST_BLOCKS)
    blocks = [parts[first : first + each] for first in range(0, len(parts), each or 1)]
    paths = [
        [[os.fsencode(os.path.join(here, clips[number].path)) for number in part] for part in block] for block in blocks
    ]
    return [
        pa.table([pa.array(column, kind) for column, kind in zip(columns, schema.types, strict=True)], schema=schema)
        for columns in zip(blocks, paths, strict=True)
    ]


def _cause(error: BaseException) -> str:
    """What went wrong, in one line: in a worker, or else with one."""
    in_worker = getattr(error, "cause", None) or getattr(error.__cause__, "cause", None)
    if isinstance(in_worker, BaseException):
        error = in_worker
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
