"""Reading what the program wrote, the way training reads it."""

from pathlib import Path

import soundfile

from ASDA.data.labels import LabelTable, read_clip_labels
from ASDA.data.manifest import Manifest

RATE_HZ = 16_000


def read_split(out: Path, split: str = "train") -> dict[str, tuple[str, ...]]:
    """Relative path -> class names, read the way training reads them."""
    manifest = Manifest.read(out / f"{split}.tsv")
    paths = [manifest.relative_path(i) for i in range(len(manifest))]
    for i in range(len(manifest)):
        assert soundfile.info(manifest.path(i)).frames == manifest.num_samples(i)
    file = (out / split).with_suffix(".lbl")
    if not file.exists():
        return {path: () for path in paths}
    table = LabelTable.read(file.with_name("label_descriptors.csv"))
    labels = read_clip_labels(file, manifest, table)
    return {path: tuple(table.names[c] for c in labels.targets(i)) for i, path in enumerate(paths)}


def files_below(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
