"""The files of a data set that keeps its clips in containers: Parquet files, tars of webdataset."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...audio.finding import PassedOver, visible_files
from ..manifest import ManifestError
from .finding import report_passed_over
from .plan import Plan, Problem


def container_names(root: Path, suffix: str, problems: list[Problem]) -> list[str]:
    """Relative paths of the files of an ending below a folder, sorted.

    Raises:
        ManifestError: no such folder, or no such file in it.
    """
    if not root.is_dir():
        raise ManifestError(f"{root}: no such folder")
    passed_over, names = PassedOver(), []
    for path in visible_files(root, passed_over):
        if path.suffix.lower() == suffix:
            names.append(path.relative_to(root).as_posix())
        else:
            passed_over.count(path.name)
    report_passed_over(root, passed_over, problems)
    if not names:
        there = "".join(f"; {problem.clip}: {problem.detail}" for problem in problems[:3])
        raise ManifestError(f"{root}: expected *{suffix} files below this folder, found none{there}")
    return sorted(names)


def note_left_out(plan: Plan, names: Sequence[str], split_of: dict[str, str]) -> None:
    """Says which files no split takes."""
    without = [name for name in names if name not in split_of]
    plan.problems += [Problem("unused", name, "no --split takes this file") for name in without]
    if without:
        plan.warnings.append(f"{len(without)} of {len(names)} files are of no split, the first is {without[0]}")
