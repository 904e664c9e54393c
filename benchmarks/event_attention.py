"""Does differential attention put less weight where nothing happens? Encoders on clips whose events are known.

    python -m benchmarks.event_attention --runs ablation/demo_attention --data FOLDER --output FILE.md \
        --settings "lambda 0.3=lambda_0.3" "lambda 0=lambda_0" plain

FOLDER is what `python -m ASDA.demo.corpus FOLDER --quiet-stretches` has written. Beside FILE.md lie its pictures.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ASDA.audio.fbank import mel_bin_frequencies_hz
from ASDA.core.attention_maps import LayerAttention
from ASDA.data.manifest import Manifest
from ASDA.demo.places import Place, read_places
from ASDA.inference import load_encoder
from ASDA.inference.attention import ClipAttention
from ASDA.probes.weights import random_twin
from ASDA.reports.ablation import Comparison
from ASDA.reports.over_seeds import compared
from ASDA.training.file_names import NEWEST
from ASDA.training.run_record import read_record
from benchmarks import measuring
from benchmarks.attended_places import FIRST, KINDS, QUERIES, WHOLE, excess, kinds_of, largest_gap, looked_at

RANDOM = "random weights"


@dataclass(frozen=True)
class Seen:
    """What the encoders of the settings look at.

    Attributes:
        seeds: of each.
        excess: name -> (seeds, QUERIES, parts, L, KINDS), means over the clips.
        area: share of each kind, a mean over the clips.
        gap: of the maps that are shown to those used, the largest.
        pictures: name -> layer -> weight per area of the patches (P, Q), of the first seed in the first clip.
        first: the first clip.
    """

    seeds: list[int]
    excess: dict[str, np.ndarray]
    area: np.ndarray
    gap: float
    pictures: dict[str, list[np.ndarray]]
    first: ClipAttention


def checkpoint(runs: Path, setting: str, seed: int) -> Path:
    return runs / "runs" / setting / f"seed{seed}" / "pretrained" / NEWEST


def common_seeds(runs: Path, settings: Sequence[str]) -> list[int]:
    """Seeds that all settings have been pre-trained with.

    Raises:
        ValueError: there is none.
    """
    of_each = [
        {int(file.parts[-3].removeprefix("seed")) for file in runs.glob(f"runs/{setting}/seed*/pretrained/{NEWEST}")}
        for setting in settings
    ]
    seeds = sorted(set.intersection(*of_each))
    if not seeds:
        raise ValueError(f"{runs}: there is no seed that {', '.join(settings)} have all been pre-trained with")
    return seeds


def look(runs: Path, settings: dict[str, str], clips: Sequence[tuple[Path, list[Place]]]) -> Seen:
    """Looks at all clips with all encoders, and with the first setting's network at random weights."""
    seeds = common_seeds(runs, list(settings.values()))
    reference, areas, pictures, gaps, first = next(iter(settings)), [], {}, [], None
    found: dict[str, list[Tensor]] = {name: [] for name in [*settings, f"{reference}, {RANDOM}"]}
    for seed in seeds:
        encoders = {name: load_encoder(checkpoint(runs, setting, seed)) for name, setting in settings.items()}
        encoders[f"{reference}, {RANDOM}"] = random_twin(encoders[reference], seed)
        for name, encoder in encoders.items():
            of_clips = []
            for audio, places in clips:
                clip = encoder.attention(audio)
                kinds = kinds_of(clip, places)
                of_clips.append(excess(clip, kinds))
                areas.append(kinds.float().sum(dim=1) / kinds.sum())
                if seed == seeds[0] and audio == clips[0][0]:
                    pictures[name] = [_picture(clip, layer) for layer in clip.layers]
                    first = first or clip
            found[name].append(torch.stack(of_clips).mean(dim=0))
            gaps.append(largest_gap(encoder, clips[0][0]))
    numbers = {name: torch.stack(of).numpy() for name, of in found.items()}
    assert first is not None
    return Seen(seeds, numbers, torch.stack(areas).mean(dim=0).numpy(), max(gaps), pictures, first)


def _picture(clip: ClipAttention, layer: LayerAttention) -> np.ndarray:
    spread = looked_at(clip, layer)[QUERIES.index("patches"), WHOLE]
    return (spread * (~clip.padding_patches()).sum()).unflatten(0, tuple(clip.grid)).numpy()


# -- what is said of it


def by_seed(seen: Seen, name: str, query: str, kind: str, layer: int | None, part: int = WHOLE) -> list[float]:
    """Of a setting, by seed; the layer is counted from 0, None is the mean over all."""
    of = seen.excess[name][:, QUERIES.index(query), part, :, KINDS.index(kind)]
    return (of.mean(axis=1) if layer is None else of[:, layer]).tolist()


def _cell(seeds: Sequence[int], gains: Sequence[float]) -> str:
    return Comparison({}, dict(zip(seeds, gains, strict=True))).shown_gain()


def layers_of(seen: Seen) -> list[int | None]:
    return [*range(next(iter(seen.excess.values())).shape[3]), None]


def named(layer: int | None) -> str:
    return "all layers" if layer is None else f"layer {layer + 1}"


def table(seen: Seen, query: str) -> str:
    """A row for each kind of patch and layer: of each setting, and the first one's differences to the others."""
    reference, *others = seen.excess
    rows = []
    for kind in KINDS:
        for layer in layers_of(seen):
            of = {name: by_seed(seen, name, query, kind, layer) for name in seen.excess}
            gains = [[a - b for a, b in zip(of[reference], of[name], strict=True)] for name in others]
            cells = [_cell(seen.seeds, numbers) for numbers in [*of.values(), *gains]]
            rows.append([f"{kind}, {named(layer)}", *cells])
    headings = [f"asked by {query}", *seen.excess, *(f"{reference}, less {name}" for name in others)]
    return measuring.table(headings, rows)


def subtraction_table(seen: Seen) -> str:
    """What subtracting the second map changes in one and the same network, the first setting's."""
    reference, rows = next(iter(seen.excess)), []
    for layer in layers_of(seen):
        cells = []
        for kind in KINDS:
            whole, first = (by_seed(seen, reference, "patches", kind, layer, part) for part in (WHOLE, FIRST))
            cells.append(_cell(seen.seeds, [a - b for a, b in zip(whole, first, strict=True)]))
        rows.append([named(layer), *cells])
    return measuring.table([f"{reference}, difference less first map", *KINDS], rows)


def sentences(seen: Seen) -> str:
    """What the seeds tell, over all layers."""
    reference, *others = seen.excess
    lines = []
    for query in QUERIES:
        for kind in KINDS:
            for name in others:
                before, after = (by_seed(seen, of, query, kind, None) for of in (name, reference))
                lines.append(compared(f"weight on {kind}, asked by {query}, {reference} against {name}", before, after))
    for kind in KINDS:
        whole, first = (by_seed(seen, reference, "patches", kind, None, part) for part in (WHOLE, FIRST))
        lines.append(compared(f"weight on {kind}, {reference}, the difference against its first map", first, whole))
    return "\n".join(lines)


def draw(seen: Seen, output: Path) -> list[Path]:
    """The weight per area by layer, a dot being a seed; and the maps of the first clip."""
    from ASDA.reports.attention_figures import draw_by_layer, draw_maps  # needs matplotlib

    output.parent.mkdir(parents=True, exist_ok=True)
    files = [output.with_suffix(".png"), output.with_name(f"{output.stem}_clip.png")]
    panels = {}
    for number, kind in enumerate(KINDS):
        area = float(seen.area[number])
        panels[f"{kind}: weight / area"] = {
            name: [[1 + gain / area for gain in by_seed(seen, name, "patches", kind, layer)] for layer in range(depth)]
            for name, depth in ((name, of.shape[3]) for name, of in seen.excess.items())
        }
    draw_by_layer(panels, files[0])
    depth = len(next(iter(seen.pictures.values())))
    rows = {named(layer): {name: of[layer] for name, of in seen.pictures.items()} for layer in range(depth)}
    front_end = seen.first.front_end
    hz = mel_bin_frequencies_hz(front_end.num_mel_bins, front_end.sample_rate_hz).numpy()
    draw_maps(rows, seen.first.spectrogram.numpy(), hz, files[1])
    return files


LEGEND = (
    "Points: the share of the weight on patches that lies on those of a kind, less their share of the area (0: looked "
    "at as anything else), mean over clips, heads and the tokens that ask, negative weights by their size; then the "
    "mean over the seeds with its 95 % interval (Student's t), * where that leaves 0 out. A patch is of an event if it "
    "shares half of itself, or of the event's box, with that box in time and in frequency; quiet is where the "
    "background is 40 dB lower and no event is; noise is the rest. `random weights`: the same network, not trained."
)
LIMITS = (
    "What this does not show: anything of networks, corpora and runs of a useful size. The intervals are over seeds, "
    "on the same clips. A box holds moments without sound (between clicks, beside a glide), so events count for less "
    "than they are. Where weight lies is not what is used: values, the norm behind the subtraction and residual "
    "connections have their part. Of intervals where nothing differs one in twenty leaves 0 out by chance."
)


def _settings(words: Sequence[str]) -> dict[str, str]:
    """Name for people -> name in the ablation, of `NAME=SETTING` or `SETTING`."""
    return {word.partition("=")[0]: word.partition("=")[2] or word for word in words}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=Path, required=True, help="folder of asda-ablate")
    parser.add_argument("--settings", nargs="+", required=True, metavar="[NAME=]SETTING", help="first the reference")
    parser.add_argument("--data", type=Path, required=True, help="corpus with places.csv and quiet stretches")
    parser.add_argument("--command", default="python -m benchmarks.event_attention", help="that the report names")
    parser.add_argument("--output", type=Path, required=True, help="markdown file")
    args = parser.parse_args(argv)
    settings, places = _settings(args.settings), read_places(args.data / "places.csv")
    manifest = Manifest.read(args.data / "eval.tsv")
    rows = range(len(manifest))
    clips = [(Path(manifest.path(row)), places[manifest.relative_path(row)]) for row in rows]
    seen = look(args.runs, settings, clips)
    record = read_record(checkpoint(args.runs, next(iter(settings.values())), seen.seeds[0]).parent) or {}
    updates = (record.get("optimization") or {}).get("max_update", "?")
    shares = ", ".join(f"{kind} {100 * area:.1f} %" for kind, area in zip(KINDS, seen.area, strict=True))
    pictures = draw(seen, args.output)
    parts = [
        f"`{args.command}`",
        measuring.environment(),
        f"{len(clips)} generated clips that no run has seen; shares of the area: {shares}. Seeds "
        f"{' '.join(map(str, seen.seeds))}, {updates} updates each. The maps that are shown and what the fused forward "
        f"pass computes differ by {seen.gap:.1e} at most, over all layers of all encoders.",
        LEGEND,
        *(table(seen, query) for query in QUERIES),
        subtraction_table(seen),
        sentences(seen),
        *(f"![{file.stem}]({file.name})" for file in pictures),
        LIMITS,
    ]
    measuring.write_report(parts, args.output)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
