"""Reading what a run keeps of itself in its save folder: for the run that goes on there, and for programs that look."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from .file_names import RUN_RECORD


class RecordError(ValueError):
    """A record that cannot be read; one line that names the file."""


def read_record(folder: Path) -> dict[str, Any] | None:
    """The record of the run in a folder; None if it has none, as runs had before there were records.

    Raises:
        RecordError: it is damaged, or holds something else.
    """
    file = folder / RUN_RECORD
    if not file.exists():
        return None
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError, RecursionError, yaml.YAMLError) as error:
        raise RecordError(f"{file} cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        shown = "null" if content is None else content
        raise RecordError(f"{file}: expected the configuration of a run, found {shown}")
    return content
