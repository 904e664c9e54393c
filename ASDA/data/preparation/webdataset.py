"""Tars of webdataset: the members of a clip share a name, and say by their endings what they are.

`a/000017.flac`, `a/000017.json` and `a/000017.cls` are one clip with key `a/000017`; the key ends at the first dot
behind the last slash. As members are found through an index, they may stand in any order.
"""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ...audio.finding import AUDIO_SUFFIXES
from ..manifest import ManifestError
from ..tar_index import scan_and_index
from ..tar_members import TarContent, TarMember
from .container_files import container_names, note_left_out
from .finding import FoundClip
from .given_labels import Choice, Sample, as_text, divide_samples
from .hub_splits import split_files
from .plan import Plan, Problem

TAR_SUFFIX = ".tar"
_JSON, _CLASS = "json", "cls"
_MAX_LABEL_BYTES = 1 << 24
_MAX_NAMED = 5


class _NoLabel(ValueError):
    """A member whose contents say nothing; the message says why."""


class _Tar:
    """One tar, open, and its members by key and ending."""

    def __init__(self, file: Path, descriptor: int, content: TarContent):
        self.file = file
        self._descriptor = descriptor
        self.samples: dict[str, dict[str, TarMember]] = {}
        self.repeated: dict[str, str] = {}
        for member in content.members:
            folder, slash, base = member.name.rpartition("/")
            stem, dot, ending = base.partition(".")
            if stem and dot:
                key = f"{folder}{slash}{stem}"
                self.samples.setdefault(key, {})[ending.lower()] = member
                if member.name in content.repeated:
                    self.repeated[key] = member.name

    def read(self, member: TarMember) -> bytes:
        if member.problem:
            raise _NoLabel(f"its member {member.name!r} is {member.problem}")
        if member.size > _MAX_LABEL_BYTES:
            raise _NoLabel(f"its member {member.name!r} has {member.size} bytes, too many for a label")
        return os.pread(self._descriptor, member.size, member.offset)


def plan_webdataset(root: Path, choice: Choice) -> Plan:
    """Reads what all tars below a folder say of their clips, and writes an index beside each.

    Raises:
        ManifestError: no tars, one that is damaged, no clips, several kinds of audio in a clip, a label or split that
            cannot be told.
    """
    plan = Plan(root, {})
    names = container_names(root, TAR_SUFFIX, plan.problems)
    split_of = split_files(names, choice.splits)
    note_left_out(plan, names, split_of)
    reader = _Reader(plan, choice)
    samples: list[Sample] = []
    for name, split in split_of.items():
        samples += reader.samples(name, split)
    if not samples:
        raise ManifestError(f"{root}: the {len(names)} tars hold no clip{reader.what_is_there()}")
    if reader.source is None and choice.labels.source is not None:
        said = choice.labels.source
        raise ManifestError(f"{root}: no clip has the label that --labels {said} names{reader.what_is_there()}")
    divide_samples(plan, samples, reader.choice.labels, None, reader.source or "")
    repeated = [problem for problem in plan.problems if problem.kind == "repeated"]
    if repeated:
        plan.warnings.append(f"{len(repeated)} clips are left out, the first: {repeated[0].clip}: {repeated[0].detail}")
    return plan


class _Reader:
    """Reads tar after tar.

    Where labels come from is settled by the first clip that has any, and by the first json whether there are folds.
    """

    def __init__(self, plan: Plan, choice: Choice):
        self.source: str | None = None
        self.choice = choice
        self._plan = plan
        self._endings: dict[str, None] = {}
        self._folds_are_settled = choice.labels.usual_folds is None
        self._parsed: tuple[Any, Mapping[str, Any]] = (None, {})  # the last clip's members, and its json

    def samples(self, name: str, split: str) -> Iterator[Sample]:
        """The clips of one tar."""
        file = self._plan.root / name
        try:
            content = scan_and_index(str(file))
        except (OSError, tarfile.TarError) as error:
            raise ManifestError(f"{file}: the tar cannot be read ({error})") from error
        if content.problem:
            self._plan.problems.append(Problem("incomplete", name, content.problem))
        with open(file, "rb", buffering=0) as handle:
            yield from self._samples(_Tar(file, handle.fileno(), content), name, split)

    def _samples(self, tar: _Tar, name: str, split: str) -> Iterator[Sample]:
        for key, members in tar.samples.items():
            self._endings.update(dict.fromkeys(members))
            audio = self._audio(tar.file, key, members)
            if audio is None:
                continue
            clip = FoundClip(f"{name}/{audio.name}", f"{name}/{audio.name}")
            if key in tar.repeated:
                detail = f"expected each member once, {tar.repeated[key]!r} stands there more than once; left out"
                self._plan.problems.append(Problem("repeated", clip.row, detail))
            elif audio.problem:
                self._plan.problems.append(Problem("unreadable", clip.row, audio.problem))
            else:
                yield self._sample(tar, split, clip, key, members)

    def what_is_there(self) -> str:
        """The endings of the members, for messages."""
        named = list(self._endings)
        more = f" and {len(named) - _MAX_NAMED} more" if len(named) > _MAX_NAMED else ""
        return f"; the endings of their members are {', '.join(named[:_MAX_NAMED])}{more}" if named else ""

    def _audio(self, file: Path, key: str, members: Mapping[str, TarMember]) -> TarMember | None:
        if self.choice.audio is not None:
            return members.get(self.choice.audio.lower().lstrip("."))
        found = [ending for ending in members if os.path.splitext(f"x.{ending}")[1] in AUDIO_SUFFIXES]
        if len(found) > 1:
            raise ManifestError(
                f"{file}: expected one recording of {key!r}, got {', '.join(found)}; choose one by its ending (--audio)"
            )
        return members[found[0]] if found else None

    def _sample(self, tar: _Tar, split: str, clip: FoundClip, key: str, members: Mapping[str, TarMember]) -> Sample:
        label, fields = None, None
        try:
            if not self._folds_are_settled and _JSON in members:
                self.choice = self.choice.with_usual_folds(self._fields(tar, members))
                self._folds_are_settled = True
            if self.choice.beside_labels:
                fields = self._fields(tar, members)
            if self.choice.labels.wanted:
                label = self._label(tar, members)
        except _NoLabel as error:
            self._plan.problems.append(Problem("no label", clip.row, f"{tar.file}, {key!r}: {error}"))
        columns = {name: as_text((fields or {}).get(name)) for name in self.choice.beside_labels} or None
        return Sample(split, clip, tar.file, key, label, self.source or "", columns)

    def _label(self, tar: _Tar, members: Mapping[str, TarMember]) -> Any:
        source = self.source or self.choice.labels.source
        if source is None:
            source = self._usual_source(tar, members)
        if source is None:
            return None
        kind, _, field = source.partition(":")
        if kind != _JSON:
            if kind not in members:
                return None
            self.source = source
            text = _text(tar.read(members[kind]), members[kind].name).strip()
            return int(text) if kind == _CLASS and _is_integer(text) else text
        fields = self._fields(tar, members)
        name = field or self.choice.labels.usual_in(fields) or ""
        if name not in fields:
            return None
        self.source = f"{_JSON}:{name}"
        return fields[name]

    def _usual_source(self, tar: _Tar, members: Mapping[str, TarMember]) -> str | None:
        if _CLASS in members:
            return _CLASS
        name = self.choice.labels.usual_in(self._fields(tar, members)) if _JSON in members else None
        return f"{_JSON}:{name}" if name else None

    def _fields(self, tar: _Tar, members: Mapping[str, TarMember]) -> Mapping[str, Any]:
        if _JSON not in members:
            return {}
        if self._parsed[0] is members:
            return self._parsed[1]
        name = members[_JSON].name
        try:
            fields = json.loads(_text(tar.read(members[_JSON]), name))
        except (ValueError, RecursionError) as error:
            if isinstance(error, _NoLabel):
                raise
            raise _NoLabel(f"its member {name!r} is no json ({error})") from error
        if not isinstance(fields, dict):
            raise _NoLabel(f"expected names with values in its member {name!r}, got a {type(fields).__name__}")
        self._parsed = (members, fields)
        return fields


def _text(data: bytes, name: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _NoLabel(f"its member {name!r} is not UTF-8 text ({error})") from error


def _is_integer(text: str) -> bool:
    return text.removeprefix("-").isdecimal() and text.isascii() and len(text) < 10
