"""Features of all clips as rows of Parquet files."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from ..atomic import OutputLock, atomic_binary
from ..data.parquet_layout import ParquetError, arrow_errors, pyarrow_parquet
from .clips import Clip, Clips
from .features import ClipFeatures
from .inventory import Source, source_of
from .store import (
    FeatureStore,
    OutputError,
    UnwritableClipError,
    _ambiguous_stems,
    _differences_from,
    _refuse_to_mix,
    _utf8,
)
from .windows import BadClip

CLIPS_PER_PART = 2048
BYTES_PER_PART = 256 * 2**20
SECONDS_PER_PART = 300.0
"""So old may what waits for its part become; it is what a killed run loses."""

_SETTINGS = b"asda.settings"
_ERRORS = "errors.parquet"
_PART = re.compile(r"features-(\d{6})\.parquet")


class ParquetFolder(FeatureStore):
    """All clips in one folder of Parquet files, which readers of Parquet take for one table.

    | column | |
    |---|---|
    | `clip` | its path with its ending, relative to the input, as in an .h5 |
    | `path` | what was read |
    | `features` | the values, flat; null where the clip could not be used |
    | `shape` | theirs |
    | `start_s`, `end_s` | of what each row of the features stands for |
    | `error` | why the clip could not be used, else null |
    | `source_bytes`, `source_modified_s` | size and date of the file that was read |

    Features come in parts, `features-000001.parquet` and so on, each complete when it appears; errors stand in
    `errors.parquet` once a run has ended. Settings are in each file's metadata. A folder with other files is refused.

    Args:
        folder: made if it does not exist.
        clips: all clips of the run.
        settings: see NpyTree.
        resume: keep what an earlier run with the same settings has written of clips that are still the same, and add.

    Raises:
        OutputError: see NpyTree; a folder that holds something else.
        MissingPyarrowError: pyarrow is not installed.
    """

    def __init__(self, folder: Path, clips: Clips, settings: dict[str, Any], resume: bool):
        pyarrow_parquet()
        _ambiguous_stems(clips)  # which refuses names that are no paths inside
        self.folder = folder
        self.settings = settings
        self.resume = resume
        self._lock = OutputLock(folder)
        self._pending: list[tuple[Clip, ClipFeatures]] = []
        self._pending_since_s = 0.0
        self._read_earlier()

    def begin(self) -> None:
        self._lock.acquire()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._read_earlier()  # again, as another process may have written meanwhile
        for path in self._errors if self.resume else (*self._errors, *self._parts):
            path.unlink()  # what could not be read is tried again

    def end(self) -> None:
        self._lock.release()

    def done(self, clip: Clip) -> bool:
        key = _utf8(clip.name)
        if key not in self._done:
            return False
        part, recorded = self._done[key]
        source = source_of(clip.path)
        if source is None or source == recorded:
            return True
        self._outdated.setdefault(part, set()).add(key)
        return False

    def write(self, clip: Clip, features: ClipFeatures) -> None:
        if not features.in_memory:
            size = f"{features.values.nbytes / 2**20:.0f} MiB"
            raise UnwritableClipError(
                f"its features of {size} are too large for a row of a Parquet file; extract it to .npy or .h5"
            )
        if not self._pending:
            self._pending_since_s = time.monotonic()
        self._pending.append((clip, features))
        held = sum(pending.values.nbytes for _, pending in self._pending)
        is_old = time.monotonic() - self._pending_since_s > SECONDS_PER_PART
        if len(self._pending) >= CLIPS_PER_PART or held >= BYTES_PER_PART or is_old:
            self.flush()

    def flush(self) -> None:
        if not self._pending:
            return
        self._drop_outdated()
        self._write(self.folder / f"features-{self._next_part:06d}.parquet", self._table(self._pending, []))
        self._next_part += 1
        self._pending.clear()

    def left_out(self, bad: Sequence[BadClip]) -> None:
        self._drop_outdated()
        if bad:
            self._write(self.folder / _ERRORS, self._table([], bad))

    def _table(self, done: Sequence[tuple[Clip, ClipFeatures]], bad: Sequence[BadClip]):
        import pyarrow as pa

        clips = [clip for clip, _ in done] + [of.clip for of in bad]
        sources = [source_of(clip.path) for clip in clips]
        none = [None] * len(bad)
        values = [features.values.numpy() for _, features in done]
        times_s = [features.times_s.numpy().reshape(-1, 2) for _, features in done]
        value_type = np.dtype("float16" if self.settings.get("half") else "float32")
        columns = {
            "clip": pa.array([_utf8(clip.name) for clip in clips], pa.string()),
            "path": pa.array([_utf8(clip.path) for clip in clips], pa.string()),
            "features": _lists([array.reshape(-1) for array in values], value_type, len(bad)),
            "shape": pa.array([[*array.shape] for array in values] + none, pa.list_(pa.int64())),
            "start_s": _lists([times[:, 0] for times in times_s], np.dtype("float64"), len(bad)),
            "end_s": _lists([times[:, 1] for times in times_s], np.dtype("float64"), len(bad)),
            "error": pa.array([None] * len(done) + [_utf8(of.reason) for of in bad], pa.string()),
            "source_bytes": pa.array([source and source.num_bytes for source in sources], pa.int64()),
            "source_modified_s": pa.array([source and source.modified_s for source in sources], pa.int64()),
        }
        return pa.table(columns)

    def _write(self, path: Path, table) -> None:
        table = table.replace_schema_metadata({_SETTINGS: json.dumps(self.settings)})
        with atomic_binary(path) as raw:
            # Floats do not repeat, and nobody looks for a range of them.
            pyarrow_parquet().write_table(table, raw, use_dictionary=False, write_statistics=False)

    def _drop_outdated(self) -> None:
        """Removes the rows of clips whose files have changed, before there are new ones."""
        import pyarrow as pa

        for part, names in self._outdated.items():
            with _readable(part), pyarrow_parquet().ParquetFile(part) as file:
                table = file.read()
            table = table.filter(pa.array([name not in names for name in table["clip"].to_pylist()], pa.bool_()))
            if table.num_rows:
                self._write(part, table)
            else:
                part.unlink()
        self._outdated.clear()

    def _read_earlier(self) -> None:
        """Finds out what there is already.

        Raises:
            OutputError: something else, features of another kind, or a damaged file.
        """
        self._done: dict[str, tuple[Path, Source | None]] = {}
        self._outdated: dict[Path, set[str]] = {}
        self._parts: list[Path] = []
        self._errors: list[Path] = []
        if self.folder.exists() and not self.folder.is_dir():
            raise OutputError(f"{self.folder}: expected a folder of Parquet files (or no such name), this is a file")
        found = sorted(self.folder.iterdir()) if self.folder.is_dir() else []
        for path in found:
            if path.name.startswith("."):  # readers of Parquet pass over those, too
                continue
            if path.name != _ERRORS and not _PART.fullmatch(path.name):
                _refuse(path)
            self._require_own(path)
            (self._errors if path.name == _ERRORS else self._parts).append(path)
        for part in self._parts if self.resume else ():
            self._done |= {name: (part, source) for name, source in _sources(part)}
        self._next_part = 1 + max((int(part.stem.split("-")[1]) for part in self._parts if self.resume), default=0)

    def _require_own(self, path: Path) -> None:
        with _readable(path):
            recorded = (pyarrow_parquet().read_schema(path).metadata or {}).get(_SETTINGS)
        if recorded is None:
            _refuse(path)
        if self.resume and (different := _differences_from(json.loads(recorded), self.settings)):
            _refuse_to_mix(path, different)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turns what pyarrow says of a damaged file into an `OutputError`."""
    try:
        with arrow_errors("it cannot be read"):
            yield
    except ParquetError as damage:
        raise OutputError(f"{path}: {damage}; remove it or name another output") from damage


def _refuse(path: Path) -> NoReturn:
    raise OutputError(f"{path}: holds no features, so this folder is left as it is; name another output")


def _sources(part: Path) -> Iterator[tuple[str, Source | None]]:
    """Names and sources of the clips in a part."""
    with _readable(part), pyarrow_parquet().ParquetFile(part) as file:
        rows = file.read(columns=["clip", "source_bytes", "source_modified_s"]).to_pydict()
    for name, num_bytes, modified_s in zip(*rows.values(), strict=True):
        yield name, None if num_bytes is None else Source(num_bytes, modified_s)


def _lists(arrays: Sequence[np.ndarray], value_type: np.dtype, num_nulls: int):
    """A column with an array in each row, and behind them nulls."""
    import pyarrow as pa

    values = np.concatenate([np.empty(0, value_type), *arrays])
    ends = np.cumsum([0, *map(len, arrays)], dtype=np.int64)
    offsets = pa.array([*ends.tolist()[:-1], *[None] * num_nulls, int(ends[-1])], pa.int32())
    return pa.ListArray.from_arrays(offsets, pa.array(values))
