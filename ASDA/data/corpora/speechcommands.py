"""Speech Commands: spoken words of 1 s, with the official validation and test lists.

Layout: a folder per word, `validation_list.txt`, `testing_list.txt` and `_background_noise_/`.

Version 2 is the task of all 35 words. Version 1 is the task of twelve classes (KS1): ten command words, `unknown`
(every other word) and `silence` (cut from the background noise); or that of all its 30 words.

The twelve classes have a test set of their own, an archive with a folder per word, `_unknown_` and `_silence_`, on
which SUPERB and others report. Without it the clips of `testing_list.txt` stand in, most of which are `unknown`.
"""

from __future__ import annotations

import math
import random
from pathlib import Path

import soundfile

from ..manifest import ManifestError
from ..preparation.plan import Plan, PlannedClip
from .corpus import SPEECH_COMMANDS_V1, SPEECH_COMMANDS_V1_WORDS, Corpus
from .tables import official_table, require_layout

SILENCE_PER_COMMAND_CLIP = 0.1
"""As many clips of silence as an average command word has, as in the task's original definition."""
SILENCE_S = 1.0
UNKNOWN, SILENCE = "unknown", "silence"
NUM_TEST_CLIPS = 3_081
"""Of the test set of the twelve classes, as it is published."""
NOISE_SHARES = {"train": (0.0, 0.8), "valid": (0.8, 0.9), "eval": (0.9, 1.0)}
"""The stretch of each noise recording that a split may cut from, so that no split hears another's noise."""

_LISTS = {"valid": "validation_list.txt", "eval": "testing_list.txt"}
_NOISE_FOLDER = "_background_noise_"


def plan_words(root: Path, corpus: Corpus) -> Plan:
    """All words of a version; `train`, `valid` and `eval` by the official lists.

    Args:
        root: the unpacked data set.
        corpus: `SPEECH_COMMANDS_V2` or `SPEECH_COMMANDS_V1_WORDS`.

    Raises:
        ManifestError: another layout, or a word that the version does not have.
    """
    table = official_table(corpus)
    splits = _words_by_split(root)
    for clips in splits.values():
        for row in clips:
            table.index(_word(row), row)
    planned = {name: [PlannedClip(row, (_word(row),)) for row in rows] for name, rows in splits.items()}
    return Plan(root, planned, table, title=corpus.title, published=corpus.num_clips)


def plan_commands(root: Path, silence_folder: Path, seed: int, test_set: Path | None = None) -> Plan:
    """Ten commands, `unknown` and `silence`, of version 1; writes the clips of silence.

    Args:
        root: the unpacked data set.
        silence_folder: where to write them.
        seed: of the places where they are cut.
        test_set: the unpacked test set of the twelve classes, which becomes `eval`.

    Raises:
        ManifestError: another layout, or nothing to cut silence from.
    """
    table = official_table(SPEECH_COMMANDS_V1)
    plan = Plan(root, {}, table, title=SPEECH_COMMANDS_V1.title)
    published = {}
    for name, rows in _words_by_split(root).items():
        if name == "eval" and test_set is not None:
            plan.splits[name], published[name] = _read_test_set(test_set), NUM_TEST_CLIPS
            continue
        clips = [PlannedClip(row, (_word(row) if _word(row) in table else UNKNOWN,)) for row in rows]
        num_commands = sum(clip.labels != (UNKNOWN,) for clip in clips)
        num_silence = math.ceil(num_commands * SILENCE_PER_COMMAND_CLIP)
        silence = _write_silence(root / _NOISE_FOLDER, silence_folder, name, num_silence, seed)
        plan.splits[name] = clips + [PlannedClip(str(path), (SILENCE,)) for path in silence]
        published[name] = SPEECH_COMMANDS_V1_WORDS.num_clips[name] + num_silence
    plan.published = published
    if test_set is None:
        plan.warnings.append(
            "eval is of testing_list.txt; published results are of the test set of the twelve classes, which "
            "--test-set takes (speech_commands_test_set_v0.01)"
        )
    return plan


def _read_test_set(folder: Path) -> list[PlannedClip]:
    """The clips of a folder per class, by absolute paths.

    Raises:
        ManifestError: a class without a folder.
    """
    folder_of = {
        name: f"_{name}_" if name in (UNKNOWN, SILENCE) else name for name in official_table(SPEECH_COMMANDS_V1).mids
    }
    require_layout(folder, tuple(folder_of.values()), "Speech Commands test set")
    return [
        PlannedClip(str(path.resolve()), (name,))
        for name, inner in folder_of.items()
        for path in sorted((folder / inner).glob("[!.]*.wav"))
    ]


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
