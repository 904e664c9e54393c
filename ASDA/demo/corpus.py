"""Writes the demo corpus: short clips of overlapping sound events over coloured noise, with manifests.

    python -m ASDA.demo.corpus OUT_DIR [--num-clips 800] [--seed 1] [--quiet-stretches]

A clip holds one to three classes of `ASDA.demo.sounds`; places.csv says where in it each is. Clips take turns through
wav and flac, 16 and 44.1 kHz, mono and stereo, independently of what they hold. The same arguments always give the same
corpus.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from tqdm import tqdm

from ASDA.atomic import atomic_writer
from ASDA.data.manifest import write_manifest
from ASDA.demo.places import QUIET, Place, place_of, write_places
from ASDA.demo.sounds import SOUND_EVENTS, coloured_noise, decibels, normalise_peak

CLIP_DURATION_S = 2.56
SPLIT_SHARES = {"train": 0.7, "valid": 0.1, "eval": 0.2}
FILE_KINDS = tuple(itertools.product((".wav", ".flac"), (16_000, 44_100), (1, 2)))
MAX_EVENTS = 3
EVENT_PEAK_DB = (-16.0, -3.0)
NOISE_RMS_DB = (-55.0, -30.0)
QUIET_SHARE = (0.25, 0.4)
QUIET_DB = -40.0


@dataclass(frozen=True)
class ClipPlan:
    """What a clip is to hold and how it is to be written."""

    number: int
    path: str
    classes: tuple[int, ...]
    sample_rate_hz: int
    num_channels: int


def plan_clips(num_clips: int, seed: int) -> dict[str, list[ClipPlan]]:
    """Decides every clip's split, classes and file kind; each class leads equally many clips of a split (within one).

    Raises:
        ValueError: so few clips that some split could lack a class.
    """
    counts = {split: int(num_clips * share) for split, share in SPLIT_SHARES.items()}
    counts["train"] += num_clips - sum(counts.values())
    num_classes = len(SOUND_EVENTS)
    if min(counts.values()) < num_classes:
        needed = int(np.ceil(num_classes / min(SPLIT_SHARES.values())))
        raise ValueError(
            f"{num_clips} clips are too few to show {num_classes} classes in every split; ask for {needed}"
        )
    numbers = itertools.count()
    plans: dict[str, list[ClipPlan]] = {}
    for split_number, (split, count) in enumerate(counts.items()):
        rng = np.random.default_rng([seed, 0, split_number])
        leaders = rng.permutation(np.arange(count) % num_classes)
        plans[split] = [plan_clip(rng, split, next(numbers), int(leader)) for leader in leaders]
    return plans


def plan_clip(rng: np.random.Generator, split: str, number: int, leader: int) -> ClipPlan:
    """Adds up to two further classes to the leading one and picks the file kind by turns."""
    others = rng.permutation([index for index in range(len(SOUND_EVENTS)) if index != leader])
    num_others = rng.choice(MAX_EVENTS, p=(0.4, 0.4, 0.2))
    suffix, sample_rate_hz, num_channels = FILE_KINDS[number % len(FILE_KINDS)]
    classes = tuple(sorted([leader, *map(int, others[:num_others])]))
    return ClipPlan(number, f"{split}/clip_{number:05d}{suffix}", classes, sample_rate_hz, num_channels)


def clip_generator(seed: int, plan: ClipPlan) -> np.random.Generator:
    """What a clip's sound is drawn from."""
    return np.random.default_rng([seed, 1, plan.number])


def quiet_stretch(seed: int, plan: ClipPlan) -> Place:
    """A stretch of a clip in which the background is to be turned down; drawn apart from the clip's sound."""
    rng = np.random.default_rng([seed, 2, plan.number])
    length_s = CLIP_DURATION_S * rng.uniform(*QUIET_SHARE)
    start_s = rng.uniform(0, CLIP_DURATION_S - length_s)
    return Place(QUIET, start_s, start_s + length_s, 0.0, plan.sample_rate_hz / 2)


def render_clip(rng: np.random.Generator, plan: ClipPlan, quiet: Place | None = None) -> tuple[np.ndarray, list[Place]]:
    """Mixes a clip's events over background noise, which is turned down in the quiet place.

    Returns:
        Its sound, (W, channels) within [-1, 1], and where its events are, and the quiet place.
    """
    num_samples = int(round(CLIP_DURATION_S * plan.sample_rate_hz))
    exponent, noise_rms = rng.uniform(0, 2), decibels(rng.uniform(*NOISE_RMS_DB))
    channels = [noise_rms * coloured_noise(rng, num_samples, exponent) for _ in range(plan.num_channels)]
    mixture = np.stack(channels, axis=1)
    places = []
    if quiet is not None:
        first, last = (int(second * plan.sample_rate_hz) for second in (quiet.start_s, quiet.end_s))
        mixture[first:last] *= decibels(QUIET_DB)
        places.append(quiet)
    for index in plan.classes:
        event = normalise_peak(SOUND_EVENTS[index].synthesise(rng, plan.sample_rate_hz))[:num_samples]
        # The start may leave the last quarter of an event outside the clip, as cutting a long recording does.
        start = int(rng.integers(0, num_samples - int(0.75 * len(event))))
        event = decibels(rng.uniform(*EVENT_PEAK_DB)) * event[: num_samples - start]
        places.append(place_of(SOUND_EVENTS[index].mid, event, start, plan.sample_rate_hz))
        mixture[start : start + len(event)] += event[:, None] * channel_gains(rng, plan.num_channels)
    return mixture / max(1.0, np.abs(mixture).max() / 0.99), places


def channel_gains(rng: np.random.Generator, num_channels: int) -> np.ndarray:
    """Places an event in the stereo field at constant power; a mono clip gets gain 1."""
    if num_channels == 1:
        return np.ones(1)
    angle = rng.uniform(0.1, 0.9) * np.pi / 2
    return np.sqrt(2) * np.array([np.cos(angle), np.sin(angle)])


def write_corpus(out_dir: Path, num_clips: int, seed: int, quiet_stretches: bool = False) -> None:
    """Writes the clips, `{split}.tsv`, `{split}.lbl`, `label_descriptors.csv` and `places.csv`; progress on stderr."""
    plans = plan_clips(num_clips, seed)
    places: list[tuple[str, list[Place]]] = []
    progress = tqdm(total=num_clips, desc="generating clips", unit="clip", mininterval=1)
    for split, clips in plans.items():
        (out_dir / split).mkdir(parents=True, exist_ok=True)
        rows = []
        for clip in clips:
            quiet = quiet_stretch(seed, clip) if quiet_stretches else None
            waveform, of_clip = render_clip(clip_generator(seed, clip), clip, quiet)
            soundfile.write(out_dir / clip.path, waveform, clip.sample_rate_hz, subtype="PCM_16")
            rows.append((clip.path, len(waveform)))
            places.append((clip.path, of_clip))
            progress.update()
        write_manifest(out_dir / f"{split}.tsv", out_dir.resolve(), rows)
        with atomic_writer(out_dir / f"{split}.lbl") as handle:
            for clip in clips:
                labels = ",".join(SOUND_EVENTS[index].mid for index in clip.classes)
                handle.write(f"{Path(clip.path).stem}\t{labels}\n")
    progress.close()
    write_places(out_dir / "places.csv", places)
    with atomic_writer(out_dir / "label_descriptors.csv") as handle:
        rows = csv.writer(handle, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
        handle.write("index,mid,display_name\n")
        rows.writerows((index, event.mid, event.name) for index, event in enumerate(SOUND_EVENTS))


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out_dir", type=Path, help="folder that receives the clips and the manifests")
    parser.add_argument("--num-clips", type=int, default=800, help="clips of all three splits together")
    parser.add_argument("--seed", type=int, default=1, help="another seed makes another corpus of the same kind")
    parser.add_argument("--quiet-stretches", action="store_true", help="turn each clip's background down for a while")
    args = parser.parse_args(argv)
    try:
        write_corpus(args.out_dir, args.num_clips, args.seed, args.quiet_stretches)
    except ValueError as error:
        parser.error(str(error))
    return 0


if __name__ == "__main__":
    sys.exit(main())
