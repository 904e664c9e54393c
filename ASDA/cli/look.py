"""asda-look: what does an encoder attend to in a clip? Pictures over the spectrogram, and numbers by layer and head.

asda-look asda.pt clip.wav --output look
asda-look asda.pt eat.pt clip.wav --layers 1,6,12 --html

maps.png: both maps of differential attention and their difference (of plain attention its one map), by layer, or with
--heads by head. rollout.png: what went into the output over all layers. numbers.png and numbers.json: entropy, share of
the weight on patches below the clip's noise floor, share of negative weight, distance in time and frequency.
"""

from __future__ import annotations

import argparse
import base64
import html
from dataclasses import asdict
from pathlib import Path

import numpy as np

from ..atomic import atomic_writer
from ..audio.fbank import mel_bin_frequencies_hz
from ..inference.attention import NOISE_MARGIN_DB, ClipAttention, HeadNumbers, clip_attention
from ..inference.model import load_encoder
from . import _console as console
from ._flags import choose_device
from ._json import to_json
from ._outputs import holds, refuse_foreign
from ._parser import Parser, finite

PANELS = {
    "entropy (share of uniform)": "entropy",
    "weight on quiet patches": "quiet_share",
    "negative weight": "negative_share",
    "distance (s)": "distance_s",
    "distance (Hz)": "distance_hz",
}


def main(argv: list[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    parser = Parser(prog="asda-look", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", nargs="+", metavar="CHECKPOINT", help="encoders, drawn side by side")
    parser.add_argument("audio", metavar="AUDIO", help="a clip")
    parser.add_argument("--output", type=Path, default=Path("look"), metavar="DIR", help="folder of the files [look]")
    parser.add_argument("--layers", metavar="L,L,...", help="which layers to draw, counted from 1 [all]")
    parser.add_argument("--heads", action="store_true", help="draw each head [the mean over a layer's heads]")
    parser.add_argument("--query", metavar="S,HZ", help="of the patch there [of CLS; without one, of all patches]")
    parser.add_argument(
        "--noise-margin", type=finite, default=NOISE_MARGIN_DB, metavar="DB", help="above the noise floor [%(default)g]"
    )
    parser.add_argument("--html", action="store_true", help="also one page, look.html, that holds all of it")
    parser.add_argument("--device", default="auto", help="cpu, cuda, ... [auto: a GPU if there is one]")
    args = parser.parse_args(argv)
    return console.run("asda-look", lambda: look(args))


def look(args: argparse.Namespace) -> int:
    """Looks at the clip with each encoder; draws and writes the numbers."""
    page = args.output / "look.html"
    refuse_foreign(args.output / "numbers.json", "numbers of asda-look", holds('"asda_look"'))
    refuse_foreign(page, "a page of asda-look", holds("asda-look"))
    from ..reports.attention_figures import draw_by_layer, draw_maps  # matplotlib: nothing else needs it

    device = choose_device(args.device)
    seen: dict[str, ClipAttention] = {}
    for path in args.checkpoints:
        seen[path] = clip_attention(load_encoder(path, device=device), args.audio)
    args.output.mkdir(parents=True, exist_ok=True)
    numbers = {path: list(clip.numbers(args.noise_margin)) for path, clip in seen.items()}
    pictures: dict[str, Path] = {}
    for number, (path, clip) in enumerate(seen.items(), start=1):
        mark = f"_{number}" if len(seen) > 1 else ""
        heard = clip.spectrogram.numpy()
        hz = mel_bin_frequencies_hz(clip.front_end.num_mel_bins, clip.front_end.sample_rate_hz).numpy()
        query = _query(args.query, clip)
        files = [args.output / f"maps{mark}.png", args.output / f"rollout{mark}.png"]
        draw_maps(_maps(clip, _layers(args.layers, clip), args.heads, query), heard, hz, files[0])
        draw_maps({"rollout": {_name(query): clip.picture(clip.rollout(), query).numpy()}}, heard, hz, files[1])
        pictures |= {f"{path}: attention of {_name(query)}": files[0], f"{path}: over all layers": files[1]}
    file = args.output / "numbers.png"
    draw_by_layer({title: _curves(numbers, field) for title, field in PANELS.items()}, file)
    pictures["by layer; a dot is a head"] = file
    content = {"asda_look": {path: [asdict(head) for head in heads] for path, heads in numbers.items()}}
    with atomic_writer(args.output / "numbers.json") as handle:
        handle.write(to_json({**content, "audio": args.audio, "noise_margin_db": args.noise_margin}, indent=1) + "\n")
    if args.html:
        with atomic_writer(page) as handle:
            handle.write(_page(args.audio, pictures))
    print("\n".join(map(str, [*pictures.values(), args.output / "numbers.json", *([page] if args.html else [])])))
    return console.EXIT_OK


def _layers(stated: str | None, clip: ClipAttention) -> list[int]:
    """Layers to draw, counted from 1."""
    depth = len(clip.layers)
    if stated is None:
        return list(range(1, depth + 1))
    try:
        layers = [int(word) for word in stated.split(",")]
    except ValueError:
        layers = [0]
    if not all(1 <= layer <= depth for layer in layers):
        raise ValueError(f"--layers {stated}: expected numbers of layers from 1 to {depth}, as in --layers 1,{depth}")
    return layers


def _query(stated: str | None, clip: ClipAttention) -> int | None:
    """The token whose attention is shown; None for the mean of all patches."""
    if stated is None:
        return 0 if clip.num_prefix_tokens else None
    try:
        second, hz = map(float, stated.split(","))
    except ValueError:
        raise ValueError(f"--query {stated}: expected a time and a frequency, as in --query 1.5,2000") from None
    time_s, frequency_hz = clip.centres()
    nearest_s = (time_s - second).abs()
    candidates = (nearest_s == nearest_s.min()).nonzero()[:, 0]
    nearest = candidates[(frequency_hz[candidates] - hz).abs().argmin()]
    return clip.num_prefix_tokens + int(nearest)


def _name(query: int | None) -> str:
    return "all patches" if query is None else "CLS" if query == 0 else f"token {query}"


def _maps(clip: ClipAttention, layers: list[int], by_head: bool, query: int | None) -> dict[str, dict[str, np.ndarray]]:
    rows: dict[str, dict[str, np.ndarray]] = {}
    for layer in layers:
        heads = {f"layer {layer}": slice(None)}
        if by_head:
            num_heads = clip.layers[layer - 1].maps.shape[2]
            heads = {f"layer {layer}, head {head + 1}": slice(head, head + 1) for head in range(num_heads)}
        for name, chosen in heads.items():
            rows[name] = {column: of.numpy() for column, of in clip.pictures(layer, query, chosen).items()}
    return rows


def _curves(numbers: dict[str, list[HeadNumbers]], field: str) -> dict[str, list[list[float]]]:
    """A number by layer: a curve for each checkpoint, and of the entropy for each of its maps."""
    curves: dict[str, list[list[float]]] = {}
    for path, heads in numbers.items():
        depth = heads[-1].layer
        several = len(heads[0].entropy) if field == "entropy" else 1
        for part in range(several):
            name = Path(path).name + (f", map {part + 1}" if several > 1 else "")
            layers: list[list[float]] = [[] for _ in range(depth)]
            for head in heads:
                value = getattr(head, field)
                layers[head.layer - 1].append(value[part] if field == "entropy" else value)
            curves[name] = layers
    return curves


def _page(audio: str, pictures: dict[str, Path]) -> str:
    """One html page that needs no other file."""
    figures = "\n".join(
        f"<h2>{html.escape(title)}</h2>\n<img alt='{html.escape(title, quote=True)}' "
        f"src='data:image/png;base64,{base64.b64encode(file.read_bytes()).decode()}'>"
        for title, file in pictures.items()
    )
    return (
        "<!doctype html>\n<html lang=en><meta charset=utf-8>"
        "<meta name=viewport content='width=device-width, initial-scale=1'><meta name=generator content=asda-look>\n"
        f"<title>asda-look: {html.escape(audio)}</title>\n"
        "<style>body{font:16px/1.5 system-ui,sans-serif;max-width:62rem;margin:1.5rem auto;padding:0 1rem}"
        "img{max-width:100%;height:auto}</style>\n"
        f"<h1>What is attended to in {html.escape(audio)}</h1>\n{figures}\n</html>\n"
    )
