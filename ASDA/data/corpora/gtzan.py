"""GTZAN: music of ten genres, 100 clips of 30 s each.

Layout: `genres/{genre}/{genre}.{number}.au`, or `.wav`, and `genres_original/` in the copy that is common now. No split
is published with it. The usual one leaves out distorted and repeated clips and keeps artists apart ("fault-filtered",
443, 197 and 290 clips): `train_filtered.txt`, `valid_filtered.txt` and `test_filtered.txt`, with lines `genre/file`.

In the common copy `jazz/jazz.00054.wav` is no recording. It is reported and left out, as any clip that cannot be read.
"""

from __future__ import annotations

from pathlib import Path

from ...audio.finding import AUDIO_SUFFIXES
from ..manifest import ManifestError
from ..preparation.plan import Plan, PlannedClip
from ..preparation.splitting import split_by_ratio
from .corpus import GTZAN
from .tables import official_table, read_lines

LISTS = {"train": "train_filtered.txt", "valid": "valid_filtered.txt", "eval": "test_filtered.txt"}
RATIOS = {"train": 0.8, "valid": 0.1, "eval": 0.1}
"""Of the random division, where there are no lists."""

_FOLDERS = ("genres", "genres_original", "Data/genres_original")


def plan_gtzan(root: Path, lists: Path | None = None, seed: int = 1) -> Plan:
    """Splits by the fault-filtered lists, or at random where there are none.

    Args:
        root: the folder of the genres, or one around it.
        lists: folder of the lists; None: the root, if they are there.
        seed: of the random division, in which each genre is in proportion.

    Raises:
        ManifestError: no folder of a genre, no list, a line of another form, a clip that is listed twice.
    """
    table = official_table(GTZAN)
    folder = next((root / name for name in _FOLDERS if (root / name).is_dir()), root)
    found = _clips(folder, table.mids)
    plan = Plan(folder, {}, table, title=GTZAN.title)
    if lists is None and (root / LISTS["train"]).is_file():
        lists = root
    if lists is not None:
        plan.splits = {split: _listed(lists / name, found) for split, name in LISTS.items()}
        _refuse_repeated(plan.splits)
        plan.published = GTZAN.num_clips
        return plan
    plan.splits = split_by_ratio(found, RATIOS, seed)
    plan.warnings.append(
        f"{root}: without {', '.join(LISTS.values())} the clips are divided at random (seed {seed}): an artist, and a "
        "repeated clip, may be in two splits, so that results are too good and not those of papers; --lists names the "
        "folder of the lists"
    )
    return plan


def _clips(folder: Path, genres: list[str]) -> list[PlannedClip]:
    folders = [path.name for path in sorted(folder.iterdir()) if path.is_dir() and not path.name.startswith(".")]
    missing = [genre for genre in genres if genre not in folders]
    if missing:
        there = ", ".join(folders[:12]) or "no folder"
        raise ManifestError(f"{folder}: no folder {', '.join(missing)}; expected one for each genre, found {there}")
    return [
        PlannedClip(f"{genre}/{path.name}", (genre,))
        for genre in genres
        for path in sorted((folder / genre).iterdir())
        if path.suffix.lower() in AUDIO_SUFFIXES and not path.name.startswith(".")
    ]


def _listed(file: Path, found: list[PlannedClip]) -> list[PlannedClip]:
    """The clips of a list, whatever the ending of their files; one that is not there is planned, and so reported."""
    by_stem = {clip.row.rpartition(".")[0]: clip for clip in found}
    genres = {clip.labels[0] for clip in found}
    clips = []
    for where, line in read_lines(file):
        genre, slash, name = line.partition("/")
        stem = line.rpartition(".")[0]
        if genre not in genres or not slash or not stem or "/" in name:
            raise ManifestError(f"{where}: expected `genre/genre.00000.wav` of one of its genres, got {line!r}")
        clips.append(by_stem.get(stem) or PlannedClip(line, (genre,)))
    return clips


def _refuse_repeated(splits: dict[str, list[PlannedClip]]) -> None:
    split_of: dict[str, str] = {}
    for split, clips in splits.items():
        for clip in clips:
            if clip.row in split_of:
                raise ManifestError(
                    f"{LISTS[split]}: {clip.row} stands in {LISTS[split_of[clip.row]]} already; a clip is of one split"
                )
            split_of[clip.row] = split
