"""Where each member of an uncompressed tar lies, so that any of them is one read away.

An index is made by reading all headers of a tar once. `asda-manifest` writes it beside the tar (`shard.tar.index.npy`);
readers map that file, and workers share it. Without it each process scans a tar when it first needs it.
"""

from __future__ import annotations

import hashlib
import logging
import os
import tarfile

import numpy as np

from ..atomic import atomic_path

logger = logging.getLogger(__name__)

INDEX_SUFFIX = ".index.npy"
BLOCK_BYTES = 512
"""A member's header ends right before its data and has this size."""

_ENTRY = np.dtype([("name_hash", "<u8"), ("offset", "<i8"), ("size", "<i8")])
_NAME_FIELD_BYTES = 100


class TarIndex:
    """Offset and size of members by a hash of their name: 24 bytes each, sorted by the hash.

    Args:
        entries: the first holds the size of the tar in `offset`, to recognise a tar that was replaced.
    """

    def __init__(self, entries: np.ndarray):
        self._entries = entries

    @classmethod
    def open(cls, file: str) -> TarIndex:
        """The index that lies beside a tar if it belongs to it, or one made by scanning the tar.

        Raises:
            OSError, tarfile.TarError: the tar cannot be read.
        """
        sidecar = file + INDEX_SUFFIX
        if os.path.exists(sidecar):
            try:
                entries = np.load(sidecar, mmap_mode="r", allow_pickle=False)
            except (OSError, ValueError) as error:
                logger.warning("%s is not used: %s", sidecar, error)
            else:
                if entries.dtype == _ENTRY and len(entries) and entries[0]["offset"] == os.path.getsize(file):
                    return cls(entries)
                logger.warning("%s is not used: it belongs to another %s", sidecar, os.path.basename(file))
        return cls.of_members(file, scan_members(file))

    @classmethod
    def of_members(cls, file: str, members: list[tuple[str, int, int]]) -> TarIndex:
        """Makes the index of a tar from (name, offset, size) of its members."""
        entries = np.empty(len(members) + 1, dtype=_ENTRY)
        entries[0] = (0, os.path.getsize(file), len(members))
        entries[1:] = [(_hash(name), offset, size) for name, offset, size in members]
        # Stable: a tar that was appended to may hold a name twice, and the last one counts.
        entries[1:] = entries[1:][np.argsort(entries[1:]["name_hash"], kind="stable")]
        return cls(entries)

    def write(self, file: str) -> None:
        """Writes the index beside its tar."""
        with atomic_path(file + INDEX_SUFFIX) as temporary, open(temporary, "wb") as handle:
            np.save(handle, self._entries)

    def __len__(self) -> int:
        return len(self._entries) - 1

    def locate(self, name: str) -> tuple[int, int]:
        """Offset and size of a member's data.

        Raises:
            KeyError: no such member.
        """
        wanted = np.uint64(_hash(name))
        place = int(np.searchsorted(self._entries["name_hash"][1:], wanted, side="right"))
        entry = self._entries[place]  # one to the left, as the first entry is not a member
        if place == 0 or entry["name_hash"] != wanted:
            raise KeyError(name)
        return int(entry["offset"]), int(entry["size"])


def scan_members(file: str) -> list[tuple[str, int, int]]:
    """(name, offset, size) of every regular member of an uncompressed tar, in its order.

    Raises:
        OSError, tarfile.TarError: the tar is missing, compressed or damaged.
    """
    with tarfile.open(file, "r:") as archive:
        return [(member.name, member.offset_data, member.size) for member in archive if member.isfile()]


def header_names(header: bytes, name: str) -> bool:
    """Whether the header before some data can be that of a member."""
    stated = header[:_NAME_FIELD_BYTES].rstrip(b"\0")
    # A longer name stands elsewhere in part, and of one that is not ASCII Python's tarfile writes a likeness here.
    return len(os.fsencode(name)) >= _NAME_FIELD_BYTES or not name.isascii() or os.fsencode(name) == stated


def _hash(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(os.fsencode(name), digest_size=8).digest(), "little")
