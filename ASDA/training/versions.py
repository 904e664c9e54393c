"""What a run is made with: versions of the packages that decide its numbers, and the commit."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from .. import __version__

_PACKAGES = ("torch", "torchaudio", "fairseq-fixed", "fairseq")
_REPOSITORY = Path(__file__).resolve().parents[2]


def versions() -> dict[str, str]:
    """Name -> version; ``commit`` where the code lies in a git repository, with ``-dirty`` if files were changed."""
    found = {"ASDA": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    commit = _commit()
    return {**found, "commit": commit} if commit else found


def _commit() -> str:
    if not (_REPOSITORY / ".git").exists():  # installed: the folder may lie in another project's repository
        return ""
    command = ["git", "-C", str(_REPOSITORY), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
