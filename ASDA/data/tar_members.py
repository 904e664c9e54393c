"""What an uncompressed tar holds: every member, links and the tars joined behind it included, or a reason."""

from __future__ import annotations

import os
import posixpath
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import BinaryIO

from ..audio.formats.foreign import foreign_kind
from ..audio.spelling import same_name

BLOCK_BYTES = 512
"""Headers have this size, and data is filled up to a multiple of it."""

_END_MARK = bytes(BLOCK_BYTES)
_MAGIC_AT = 257  # of all tars but the oldest
_MAX_LINKS = 16  # one after the other
_SKIPPED_BYTES = 1 << 20
_UNREADABLE = (tarfile.TarError, ValueError, OverflowError, EOFError, RecursionError)
"""What tarfile raises on damaged headers."""


@dataclass(frozen=True)
class TarMember:
    """A file in a tar.

    Attributes:
        name: as a reader says it, see `member_name`.
        offset: of its data; its header ends there.
        size: of its data in bytes.
        problem: why it cannot be read; empty if it can.
    """

    name: str
    offset: int
    size: int
    problem: str = ""


@dataclass(frozen=True)
class TarContent:
    """All files in a tar, and what is wrong with it as a whole.

    Attributes:
        members: in their order, each name once: of equal names the last one counts, as for tar itself.
        problem: why it may not be all; empty if it is.
        repeated: names that stand in it more than once.
    """

    members: list[TarMember]
    problem: str = ""
    repeated: frozenset[str] = frozenset()


def member_name(stated: str) -> str:
    """A member's name without what `tar -C folder -cf x.tar .` puts before it, in one Unicode spelling."""
    name = posixpath.normpath(stated).lstrip("/")
    return same_name(name)


def scan_members(file: str) -> TarContent:
    """Reads all headers of an uncompressed tar, and of those that were joined to it (`cat a.tar b.tar`).

    Raises:
        OSError, tarfile.TarError: the tar is missing, compressed or damaged.
    """
    scan = _Scan()
    with open(file, "rb") as handle:
        head = handle.read(BLOCK_BYTES)
        is_old = head[_MAGIC_AT : _MAGIC_AT + 5] != b"ustar"
        if is_old and head != _END_MARK and (foreign := foreign_kind(head)) is not None:
            raise tarfile.ReadError(f"not a tar: {foreign}")
        num_bytes = handle.seek(0, os.SEEK_END)
        position: int | None = 0
        while position is not None:
            earlier, scan.num_twice = set(scan.members), 0
            position = _scan_one(handle, position, num_bytes, scan)
            if earlier and scan.num_twice:
                scan.problem = (
                    f"several tars joined to one, of which {scan.num_twice} names stand in two; the last count"
                )
    return TarContent(list(scan.resolved()), scan.problem, frozenset(scan.repeated))


class _Scan:
    """What was found so far."""

    def __init__(self) -> None:
        self.members: dict[str, TarMember] = {}
        self.links: dict[str, str] = {}  # symbolic ones, which may point to members that come later
        self.num_twice = 0
        self.repeated: set[str] = set()
        self.problem = ""

    def add(self, member: TarMember) -> None:
        if member.name in self.members:
            self.num_twice += 1
            self.repeated.add(member.name)
        self.members.pop(member.name, None)  # so that the order is that of the last ones
        self.links.pop(member.name, None)
        self.members[member.name] = member

    def resolved(self) -> Iterator[TarMember]:
        for name, member in self.members.items():
            target = name
            for _ in range(_MAX_LINKS):  # links that lead round in a circle end here
                target = self.links.get(target, target)
            found = None if target in self.links else self.members.get(target)
            if name not in self.links:
                yield member
            elif found is None:
                yield TarMember(name, 0, 0, f"a link to {self.links[name]!r}, which the tar does not hold")
            else:
                yield replace(found, name=name)


def _scan_one(handle: BinaryIO, start: int, num_bytes: int, scan: _Scan) -> int | None:
    """Reads a tar that begins at a position; returns where the next one that was joined to it begins."""
    handle.seek(start)
    last = -1
    try:
        with tarfile.open(fileobj=handle, mode="r:") as archive:
            while (info := archive.next()) is not None:
                archive.members.clear()  # type: ignore[attr-defined]  # would keep every header; typeshed lacks it
                if info.offset <= last:
                    raise tarfile.ReadError(f"{info.name!r} leads back to byte {info.offset}")
                last = info.offset
                _add(info, num_bytes, scan)
            end = archive.offset
    except _UNREADABLE as error:
        raise tarfile.ReadError(f"damaged behind {len(scan.members)} members: {error}") from error
    return _judge_end(handle, start, end, scan)


def _judge_end(handle: BinaryIO, start: int, end: int, scan: _Scan) -> int | None:
    """What stands behind the last member; returns where another tar begins."""
    handle.seek(end)
    block = handle.read(BLOCK_BYTES)
    if len(block) < BLOCK_BYTES:
        scan.problem = (
            f"stops behind {len(scan.members)} members without the mark of a tar's end, as a copy does that broke off"
        )
        return None
    if block != _END_MARK:
        if start == end:  # behind an end: not of another tar
            scan.problem = f"what stands behind its end, at byte {end}, is no tar"
            return None
        raise tarfile.ReadError(f"damaged: no header of a member at byte {end}, behind {len(scan.members)} members")
    while block := handle.read(_SKIPPED_BYTES):
        content = block.lstrip(b"\0")
        if content:
            behind = handle.tell() - len(content)
            return behind - (behind - end) % BLOCK_BYTES
    return None


def _add(info: tarfile.TarInfo, num_bytes: int, scan: _Scan) -> None:
    name = member_name(info.name)
    if info.islnk():
        target = member_name(info.linkname)
        found = scan.members.get(target)
        if found is None:
            scan.add(TarMember(name, 0, 0, f"a link to {target!r}, which the tar does not hold before it"))
        else:
            scan.add(replace(found, name=name))
    elif info.issym():
        scan.add(TarMember(name, 0, 0))
        scan.links[name] = member_name(posixpath.join(posixpath.dirname(name), info.linkname))
    elif info.issparse():
        scan.add(TarMember(name, 0, 0, "a sparse member, whose data does not stand there in one piece; pack it anew"))
    elif info.isfile():
        end = info.offset_data + info.size
        if info.size < 0 or end > num_bytes:
            raise tarfile.ReadError(f"truncated: {info.name!r} should reach to byte {end} of {num_bytes}")
        scan.add(TarMember(name, info.offset_data, info.size))
