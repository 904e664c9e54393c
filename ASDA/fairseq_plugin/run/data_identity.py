"""What the clips of a run are known by: what `run.yaml` keeps of its data."""

import zlib
from pathlib import Path
from typing import Any, Dict

from ...data.manifest import Manifest


def identity(manifest: Manifest) -> Dict[str, Any]:
    """Number of clips and checksum of the file; of several folders also each one's, in their order."""
    if len(manifest.parts) == 1:
        return {"clips": len(manifest), manifest.file.name: checksum(manifest.file)}
    parts = enumerate(manifest.parts, start=1)
    return {"clips": len(manifest), **{f"folder{number}": identity(part.manifest) for number, part in parts}}


def checksum(file: Path) -> int:
    """CRC-32 of a file, of a manifest's without its first line, which says where the clips lie."""
    content = file.read_bytes()
    return zlib.crc32(content.partition(b"\n")[2] if file.suffix == ".tsv" else content)
