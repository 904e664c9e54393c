"""Where each member of an uncompressed tar lies, so that any of them is one read away.

An index is made by reading all headers of a tar once. `asda-manifest` writes it beside the tar (`shard.tar.index.npy`);
readers map that file, and workers share it. Without it each process scans a tar when it first needs it.
"""

from __future__ import annotations

import hashlib
import logging
import os
from typing import NamedTuple

import numpy as np

from ..atomic import atomic_path
from .npy_headers import UNREADABLE_HEADERS
from .tar_members import BLOCK_BYTES, TarContent, TarMember, member_name, scan_members

logger = logging.getLogger(__name__)

INDEX_SUFFIX = ".index.npy"

_ENTRY = np.dtype([("name_hash", "<u8"), ("header_hash", "<u8"), ("offset", "<i8"), ("size", "<i8")])
_NO_DATA = -1
"""In `size`: a member that cannot be read; the reason is found by scanning the tar."""


class MissingMemberError(KeyError):
    """A tar holds no member of that name, or none that can be read; the argument says which."""


class Location(NamedTuple):
    """Where a member's data stands.

    Attributes:
        offset: first byte.
        size: bytes.
        header_hash: of the block before it.
    """

    offset: int
    size: int
    header_hash: int

    def fits(self, header: bytes) -> bool:
        """Whether the block before the data is the header that it had when the index was made."""
        return _hash(header) == self.header_hash


class TarIndex:
    """Offset and size of members by a hash of their name, with a hash of their header: 32 bytes each.

    A tar that was replaced by another of the same size is found out when a member is read: the header before its data
    is not the one that the index knows (see `Location.fits`).

    Args:
        entries: sorted by the hash of the name; the first holds the size of the tar in `offset`.
        problems: of members that cannot be read, by name; None if they are not known.
    """

    def __init__(self, entries: np.ndarray, problems: dict[str, str] | None = None):
        self._entries = entries
        self._problems = problems

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
            except (OSError, *UNREADABLE_HEADERS) as error:
                logger.warning("%s is not used: %s", sidecar, error)
            else:
                fits = entries.dtype == _ENTRY and entries.ndim == 1 and len(entries)
                if fits and entries[0]["offset"] == os.path.getsize(file):
                    return cls(entries)
                logger.warning("%s is not used: it belongs to another %s", sidecar, os.path.basename(file))
        return cls.scanned(file)

    @classmethod
    def scanned(cls, file: str) -> TarIndex:
        """An index made by reading all headers of a tar.

        Raises:
            OSError, tarfile.TarError: the tar cannot be read.
        """
        content = scan_members(file)
        if content.problem:
            logger.warning("%s: %s", file, content.problem)
        return cls.of_members(file, content)

    @classmethod
    def of_members(cls, file: str, content: TarContent) -> TarIndex:
        """Makes the index of a tar from its members."""
        entries = np.empty(len(content.members) + 1, dtype=_ENTRY)
        with open(file, "rb", buffering=0) as handle:
            entries[0] = (0, 0, os.fstat(handle.fileno()).st_size, len(content.members))
            for place, member in enumerate(content.members, 1):
                entries[place] = _entry(handle.fileno(), member)
        entries[1:] = entries[1:][np.argsort(entries[1:]["name_hash"], kind="stable")]
        return cls(entries, {member.name: member.problem for member in content.members if member.problem})

    def write(self, file: str) -> None:
        """Writes the index beside its tar."""
        with atomic_path(file + INDEX_SUFFIX) as temporary, open(temporary, "wb") as handle:
            np.save(handle, self._entries)

    @property
    def is_scanned(self) -> bool:
        """Whether the index was made from the tar as it is now, rather than read from a file beside it."""
        return self._problems is not None

    def __len__(self) -> int:
        return len(self._entries) - 1

    def locate(self, name: str) -> Location:
        """Where a member's data stands.

        Raises:
            MissingMemberError: no such member, or it cannot be read.
        """
        name = member_name(name)
        wanted = np.uint64(_hash(_encoded(name)))
        place = int(np.searchsorted(self._entries["name_hash"][1:], wanted, side="right"))
        name_hash, header_hash, offset, size = self._entries[place].tolist()  # one to the left: the first is no member
        if place == 0 or name_hash != wanted:
            raise MissingMemberError(f"the tar holds no member {name!r}")
        if size == _NO_DATA:
            raise MissingMemberError(f"the tar's member {name!r} is {(self._problems or {}).get(name, 'not readable')}")
        return Location(offset, size, header_hash)


def scan_and_index(file: str) -> TarContent:
    """What a tar holds; its index is written beside it where that is allowed, so that nobody has to scan it again.

    Raises:
        OSError, tarfile.TarError: the tar cannot be read.
    """
    content = scan_members(file)
    if content.problem:
        logger.warning("%s: %s", file, content.problem)
    try:
        TarIndex.of_members(file, content).write(file)
    except OSError as error:
        logger.warning("%s: no index is written beside it (%s); each worker will scan it", file, error)
    return content


def _entry(descriptor: int, member: TarMember) -> tuple[int, int, int, int]:
    name_hash = _hash(_encoded(member.name))
    if member.problem:
        return name_hash, 0, 0, _NO_DATA
    header = os.pread(descriptor, BLOCK_BYTES, member.offset - BLOCK_BYTES)
    return name_hash, _hash(header), member.offset, member.size


def _encoded(name: str) -> bytes:
    return name.encode("utf-8", "surrogatepass")


def _hash(data: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")
