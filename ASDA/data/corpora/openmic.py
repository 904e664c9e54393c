"""OpenMIC-2018: which of 20 instruments are heard in 20,000 clips of 10 s, partly judged.

Layout: `openmic-2018.npz` with `sample_key` (n,), `Y_true` (n, 20), how likely the clip has each instrument, and
`Y_mask` (n, 20), for which instruments the clip was judged at all; `partitions/split01_{train,test}.csv`, a key in each
line; and `audio/{first three characters of the key}/{key}.ogg`.

About a tenth of the pairs of a clip and an instrument were judged. The labels are partial, therefore: an instrument is
present or absent where `Y_mask` says that somebody judged it (present from a likelihood of 0.5, as in the data set's
own baseline), and unknown elsewhere.
"""

from __future__ import annotations

import io
import pickle
import zipfile
import zlib
from pathlib import Path

import numpy as np

from ..manifest import ManifestError
from ..npy_headers import UNREADABLE_HEADERS
from ..preparation.plan import Plan, PlannedClip
from .corpus import OPENMIC
from .tables import official_table, read_lines, require_layout, unpacked

LISTS = {"train": "partitions/split01_train.csv", "eval": "partitions/split01_test.csv"}
PRESENT_FROM = 0.5

_LABELS = "openmic-2018.npz"
_MOST_KEY_BYTES = 1 << 26
_UNREADABLE: tuple[type[Exception], ...] = (
    *(OSError, KeyError, MemoryError, zipfile.BadZipFile, zlib.error, pickle.UnpicklingError),
    *UNREADABLE_HEADERS,
)


def plan_openmic(root: Path) -> Plan:
    """The published split; each clip with the instruments that it was judged to have, and not to have.

    Raises:
        ManifestError: another layout, labels that cannot be read, a key without labels or in two lists.
    """
    root = unpacked(root, "openmic-2018", (_LABELS,))
    require_layout(root, ("audio", _LABELS, *LISTS.values()), OPENMIC.title)
    table = official_table(OPENMIC)
    keys, likelihoods, judged = _read_labels(root / _LABELS, len(table))
    row_of = {key: row for row, key in enumerate(keys)}
    plan = Plan(root, {}, table, title=OPENMIC.title, published=OPENMIC.num_clips)
    listed: dict[str, str] = {}
    for split, name in LISTS.items():
        plan.splits[split] = clips = []
        for where, key in read_lines(root / name):
            if key not in row_of:
                raise ManifestError(f"{where}: {_LABELS} has no labels of {key!r}")
            if key in listed:
                raise ManifestError(f"{where}: {key!r} stands in {listed[key]} already")
            listed[key] = where
            present, absent = _judgements(likelihoods[row_of[key]], judged[row_of[key]], table.mids)
            clips.append(PlannedClip(f"audio/{key[:3]}/{key}.ogg", present, absent=absent))
    return plan


def _judgements(
    likelihoods: np.ndarray, judged: np.ndarray, mids: list[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The classes that one clip was judged to have, and not to have."""
    present = judged & (likelihoods >= PRESENT_FROM)
    absent = judged & ~present
    return tuple(mids[c] for c in np.flatnonzero(present)), tuple(mids[c] for c in np.flatnonzero(absent))


def _read_labels(file: Path, num_classes: int) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Keys, likelihoods (n, C) and what was judged (n, C).

    Raises:
        ManifestError: the file is damaged, lacks an array, or has one of another shape or content.
    """
    try:
        with np.load(file, allow_pickle=False) as archive:
            likelihoods, judged = archive["Y_true"], archive["Y_mask"].astype(bool)
        keys = _read_keys(file)
    except _UNREADABLE as error:
        raise ManifestError(f"{file}: expected Y_true, Y_mask and sample_key ({error})") from error
    expected = (len(keys), num_classes)
    if likelihoods.shape != expected or judged.shape != expected:
        raise ManifestError(
            f"{file}: expected Y_true and Y_mask of shape {expected}, for each key and class, got {likelihoods.shape} "
            f"and {judged.shape}"
        )
    if not ((likelihoods >= 0) & (likelihoods <= 1))[judged].all():
        raise ManifestError(f"{file}: expected likelihoods from 0 to 1 in Y_true where Y_mask is true")
    return keys, likelihoods, judged


def _read_keys(file: Path) -> list[str]:
    """`sample_key`, which is published as an array of Python strings, that is, pickled."""
    with zipfile.ZipFile(file) as archive, archive.open("sample_key.npy") as member:
        if archive.getinfo("sample_key.npy").file_size > _MOST_KEY_BYTES:
            raise ValueError(f"sample_key has more than {_MOST_KEY_BYTES} bytes")
        version = np.lib.format.read_magic(member)
        header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        shape, _, dtype = header[version](member)
        content = member.read()
    if dtype.hasobject:
        keys = _unpickled(content)
    else:
        keys = np.frombuffer(content, dtype).reshape(shape).tolist()
    if not isinstance(keys, list) or not all(isinstance(key, (str, bytes)) for key in keys):
        raise ValueError("sample_key is no row of keys")
    return [key.decode() if isinstance(key, bytes) else key for key in keys]


def _unpickled(content: bytes) -> list | None:
    """What a pickled array of strings holds; None if it is something else."""
    try:
        row = _StringsOnly(io.BytesIO(content), encoding="latin1").load()
    except pickle.UnpicklingError:
        raise
    except Exception as error:  # a damaged pickle fails in any way at all
        raise pickle.UnpicklingError(f"sample_key cannot be unpickled ({error!r})") from error
    return row.values if isinstance(row, _Row) else None


def _encode_latin1(text: str, encoding: str) -> bytes:
    """How older pickles spell bytes."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"bytes in the encoding {encoding!r}")
    return text.encode("latin1")


class _Row:
    """Stands in for an array: NumPy's own would take whatever a pickle says for addresses of objects.

    Attributes:
        values: of the array, a list.
    """

    values: list | None = None

    def __setstate__(self, state: tuple) -> None:
        self.values = state[-1] if isinstance(state[-1], list) else None


class _Kind:
    """Stands in for what an array is made from, NumPy's types."""

    def __init__(self, *_):
        pass

    def __setstate__(self, state: tuple) -> None:
        pass


def _new_row(*_) -> _Row:
    return _Row()


class _StringsOnly(pickle.Unpickler):
    """Unpickles an array of strings, and refuses everything else: a pickle can hold any program."""

    _allowed = {
        "numpy.core.multiarray._reconstruct": _new_row,
        "numpy._core.multiarray._reconstruct": _new_row,
        "numpy.ndarray": _Kind,
        "numpy.dtype": _Kind,
        "_codecs.encode": _encode_latin1,
    }

    def find_class(self, module: str, name: str):
        found = self._allowed.get(f"{module}.{name}")
        if found is None:
            raise pickle.UnpicklingError(f"sample_key holds {module}.{name}, which is no string")
        return found
