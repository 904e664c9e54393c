"""Speech Commands: spoken words of 1 s, with the official validation and test lists.

Layout: a folder per word, `validation_list.txt`, `testing_list.txt` and `_background_noise_/`.

Version 2 is the task of all 35 words. Version 1 is the task of twelve classes: ten command words, `unknown` (every
other word) and `silence` (cut from the background noise).
"""

from __future__ import annotations

import math
import random
from pathlib import Path

import soundfile

from ..manifest import ManifestError
from ..preparation.plan import Plan, PlannedClip
from .corpus import SPEECH_COMMANDS_V1, SPEECH_COMMANDS_V2
from .tables import official_table, require_layout

SILENCE_PER_COMMAND_CLIP = 0.1
"""As many clips of silence as an average command word has, as in the task's original definition."""
SILENCE_S = 1.0
NOISE_SHARES = {"train": (0.0, 0.8), "valid": (0.8, 0.9), "eval": (0.9, 1.0)}
"""The stretch of each noise recording that a split may cut from, so that no split hears another's noise."""

_LISTS = {"valid": "validation_list.txt", "eval": "testing_list.txt"}
_NOISE_FOLDER = "_background_noise_"


def plan_speechcommands_v2(root: Path) -> Plan:
    """All 35 words; `train`, `valid` and `eval` by the official lists."""
    table = official_table(SPEECH_COMMANDS_V2)
    splits = _words_by_split(root)
    for clips in splits.values():
        for row in clips:
            table.index(_word(row), row)
    return Plan(root, {name: [PlannedClip(row, (_word(row),)) for row in rows] for name, rows in splits.items()}, table)


def plan_speechcommands_v1(root: Path, silence_folder: Path, seed: int) -> Plan:
    """Ten commands, `unknown` and `silence`; writes the clips of silence.

    Args:
        silence_folder: where to write them.
        seed: of the places where they are cut.
    """
    table = official_table(SPEECH_COMMANDS_V1)
    splits = {}
    for name, rows in _words_by_split(root).items():
        clips = [PlannedClip(row, (_word(row) if _word(row) in table else "unknown",)) for row in rows]
        num_commands = sum(clip.labels != ("unknown",) for clip in clips)
        num_silence = math.ceil(num_commands * SILENCE_PER_COMMAND_CLIP)
        silence = _write_silence(root / _NOISE_FOLDER, silence_folder, name, num_silence, seed)
        splits[name] = clips + [PlannedClip(str(path), ("silence",)) for path in silence]
    return Plan(root, splits, table)


def _word(row: str) -> str:
    return row.partition("/")[0]


def _words_by_split(root: Path) -> dict[str, list[str]]:
    require_layout(root, tuple(_LISTS.values()), "Speech Commands")
    split_of: dict[str, str] = {}
    for name, file in _LISTS.items():
        for line in (root / file).read_text(encoding="utf-8-sig").split():
            split_of[line] = name
    splits: dict[str, list[str]] = {"train": [], "valid": [], "eval": []}
    for path in sorted(root.glob("[!._]*/*.wav")):
        row = path.relative_to(root).as_posix()
        splits[split_of.pop(row, "train")].append(row)
    for row, name in split_of.items():  # listed, but not there: planned all the same, so that the report names it
        splits[name].append(row)
    return splits


def _write_silence(noise_folder: Path, out: Path, split: str, count: int, seed: int) -> list[Path]:
    """Cuts clips from random places of the noise recordings, within the stretch that belongs to the split."""
    recordings = sorted(noise_folder.glob("*.wav"))
    if not recordings:
        raise ManifestError(f"{noise_folder}: no noise recordings to cut the clips of silence from")
    first, last = NOISE_SHARES[split]
    generator = random.Random(f"{seed} {split}")
    out.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(count):
        recording = recordings[number % len(recordings)]
        info = soundfile.info(recording)
        length = round(SILENCE_S * info.samplerate)
        low, high = math.ceil(first * info.frames), math.floor(last * info.frames) - length
        if high < low:
            raise ManifestError(f"{recording}: too short to cut {SILENCE_S:g} s of silence for {split!r} from it")
        start = generator.randint(low, high)
        samples, rate_hz = soundfile.read(recording, start=start, frames=length, dtype="int16")
        paths.append((out / f"silence_{split}_{number:05d}.wav").resolve())
        soundfile.write(paths[-1], samples, rate_hz)
    return paths
