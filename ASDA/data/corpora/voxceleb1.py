"""VoxCeleb1, speaker identification: 1,251 speakers, all of them in each split.

Layout: `wav/idXXXXX/VIDEO/NNNNN.wav`, or as the archives unpack it, `dev/wav/...` and `test/wav/...`; and
`iden_split.txt`, with lines `1 idXXXXX/VIDEO/NNNNN.wav`: 1 for training, 2 for validation, 3 for testing.
"""

from __future__ import annotations

import re
from pathlib import Path

from ..labels import LabelTable
from ..manifest import ManifestError
from ..preparation.plan import Plan, PlannedClip
from .corpus import VOXCELEB1
from .tables import read_lines

LIST_NAME = "iden_split.txt"
SPLITS = {"1": "train", "2": "valid", "3": "eval"}

_LINE = re.compile(r"(?P<split>[123]) +(?P<path>(?P<speaker>id\d{5})/(?P<video>[^/\s]+)/\d+\.wav)")
_FOLDERS = (".", "wav", "dev", "test", "dev/wav", "test/wav", "vox1_dev_wav/wav", "vox1_test_wav/wav")
"""Where folders of speakers are looked for."""


def plan_voxceleb1(root: Path, split_list: Path | None = None) -> Plan:
    """Joins the list of the identification task with the folders of the speakers, who are the classes by their ids.

    Args:
        root: the unpacked data set.
        split_list: `iden_split.txt`, if it does not lie in the root.

    Raises:
        ManifestError: no list, no folder of a speaker, a line of another form.
    """
    file = split_list or root / LIST_NAME
    if not file.is_file():
        raise ManifestError(f"{file}: there is no list of the identification task; download it, or name it by --list")
    folder_of = _speaker_folders(root)
    if not folder_of:
        raise ManifestError(f"{root}: no folder of a speaker (wav/id10001, ...) is in it or in its wav, dev and test")
    plan = Plan(root, {split: [] for split in SPLITS.values()}, title=VOXCELEB1.title, published=VOXCELEB1.num_clips)
    listed: dict[str, str] = {}
    for where, line in read_lines(file):
        match = _LINE.fullmatch(line)
        if match is None:
            raise ManifestError(f"{where}: expected `1 idXXXXX/VIDEO/NNNNN.wav` with 1, 2 or 3, got {line!r}")
        if match["path"] in listed:
            raise ManifestError(f"{where}: {match['path']} stands in {listed[match['path']]} already")
        listed[match["path"]] = where
        speaker = match["speaker"]
        clip = PlannedClip(
            f"{folder_of.get(speaker, 'wav/')}{match['path']}",
            (speaker,),
            columns={"speaker": speaker, "video": match["video"]},
        )
        plan.splits[SPLITS[match["split"]]].append(clip)
    _set_classes(plan, file)
    return plan


def _speaker_folders(root: Path) -> dict[str, str]:
    """Each speaker's place below the root: what stands before the speaker in a row."""
    found: dict[str, str] = {}
    for folder in _FOLDERS:
        if (root / folder).is_dir():
            prefix = "" if folder == "." else f"{folder}/"
            for path in (root / folder).glob("id*"):
                found.setdefault(path.name, prefix)
    return found


def _set_classes(plan: Plan, file: Path) -> None:
    """The table of the speakers in the order of their ids, and what is unlike the published list."""
    speakers = {split: {label for clip in clips for label in clip.labels} for split, clips in plan.splits.items()}
    classes = sorted(set().union(*speakers.values()))
    plan.table = LabelTable(classes, classes)
    if len(classes) != VOXCELEB1.num_classes:
        plan.warnings.append(f"{file}: {len(classes)} speakers, {plan.title} has {VOXCELEB1.num_classes}")
    for split in ("valid", "eval"):
        if strangers := speakers[split] - speakers["train"]:
            plan.warnings.append(f"{split} has {len(strangers)} speakers without a clip in train, as {min(strangers)}")
