"""Writes the demo's report: index.html and its figures, from what the steps of scripts/demo.sh left behind.

python -m ASDA.demo.report DEMO_DIR
"""

from __future__ import annotations

import argparse
import csv
import datetime
import html
import json
import math
import platform
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch

from ASDA.audio.fbank import num_frames
from ASDA.audio.io import AudioError, load_waveform
from ASDA.data.labels import LabelTable, read_clip_labels
from ASDA.data.manifest import Manifest
from ASDA.inference import TrainedClassifier, load_classifier
from ASDA.reports import figures
from ASDA.reports.run_logs import read_run

NUM_EXAMPLES = 8
TOP_K = 3
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; background: #fafafa; max-width: 62rem; margin: 2rem auto;
  padding: 0 1rem; }
h1, h2 { font-weight: 600; line-height: 1.2; } h2 { margin-top: 2.5rem; }
img { max-width: 100%; }
table { border-collapse: collapse; } th, td { padding: .25rem 1rem .25rem 0; text-align: left; }
th { font-weight: 600; border-bottom: 1px solid #ccc; } td.number, th.number { text-align: right; }
.numbers { display: flex; flex-wrap: wrap; gap: 1rem; }
.numbers div { background: #fff; border: 1px solid #ddd; border-radius: .5rem; padding: .75rem 1.25rem; }
.numbers strong { display: block; font-size: 1.8rem; color: #1f6f8b; }
.clips { display: grid; grid-template-columns: repeat(auto-fill, minmax(17rem, 1fr)); gap: 1rem; }
.clips article { background: #fff; border: 1px solid #ddd; border-radius: .5rem; padding: .75rem; }
.clips audio { width: 100%; height: 2rem; } .clips p { margin: .3rem 0; }
meter { width: 5rem; vertical-align: middle; } .right { color: #1f6f8b; font-weight: 600; }
footer, .aside { color: #666; font-size: .9rem; } pre { background: #fff; border: 1px solid #ddd; padding: .75rem; }
"""


@dataclass(frozen=True)
class ClassScores:
    """The per-class table that asda-eval wrote; NaN for classes without a positive clip."""

    names: list[str]
    positives: list[int]
    average_precision: list[float]

    @classmethod
    def read(cls, file: Path) -> ClassScores:
        with file.open(encoding="utf-8", newline="") as handle:
            rows = list(csv.DictReader(handle))
        values = [float(row["average_precision"] or "nan") for row in rows]
        return cls([row["display_name"] for row in rows], [int(row["positives"]) for row in rows], values)

    @property
    def mean(self) -> float:
        """mAP over the classes that have a positive clip."""
        return float(np.nanmean(self.average_precision))


@dataclass(frozen=True)
class Results:
    """Where the steps of the demo leave what the report shows."""

    folder: Path

    def scores(self, run: str) -> ClassScores:
        return ClassScores.read(self.folder / "results" / f"{run}_average_precision.csv")

    def steps(self) -> list[tuple[str, int]]:
        """Name and seconds of each step."""
        lines = (self.folder / "results" / "seconds.tsv").read_text(encoding="utf-8").splitlines()
        return [(name, int(value)) for name, value in (line.split("\t") for line in lines)]


def percent(value: float) -> str:
    """A share for people; a dash where there is none."""
    return "–" if math.isnan(value) else f"{100 * value:.1f} %"


def table(heading: list[str], rows: list[list[str]]) -> str:
    """An html table; the first column is text, the others are numbers."""

    def line(cells: list[str], tag: str) -> str:
        first = f"<{tag}>{html.escape(cells[0])}</{tag}>"
        return f"<tr>{first}{''.join(f'<{tag} class=number>{html.escape(c)}</{tag}>' for c in cells[1:])}</tr>"

    return f"<table>{line(heading, 'th')}{''.join(line(row, 'td') for row in rows)}</table>"


def draw_curves(results: Results, report: Path) -> None:
    """What pre-training logged, and fine-tuning with and without it."""
    panels = {
        "frame loss": {"": "loss_IMAGE_regression"},
        "utterance loss": {"": "loss_cls"},
        "spread": {"predictions": "pred_var", "targets": "target_var"},
    }
    pretraining = read_run(results.folder / "pretrained")["train_inner"]
    curves = {title: {label: pretraining[key] for label, key in keys.items()} for title, keys in panels.items()}
    figures.draw_panels(curves, report / "pretraining.png")
    runs = {"pre-trained": "finetuned", "random weights": "finetuned_from_random"}
    runs = {label: read_run(results.folder / name) for label, name in runs.items()}
    comparison = {
        "training loss": {label: run["train"]["loss"] for label, run in runs.items()},
        "mAP on the validation clips": {label: run["valid"]["mAP"] for label, run in runs.items()},
    }
    figures.draw_panels(comparison, report / "finetuning.png")


def example_clips(results: Results, model: TrainedClassifier, report: Path) -> str:
    """Evenly spaced clips of the eval split: what they sound like, what they hold and what the model says."""
    data = results.folder / "data"
    manifest = Manifest.read(data / "eval.tsv")
    labels = read_clip_labels(data / "eval.lbl", manifest, LabelTable.read(data / "label_descriptors.csv"))
    rows = np.unique(np.linspace(0, len(manifest) - 1, NUM_EXAMPLES).astype(int)).tolist()
    articles = []
    for number, row in enumerate(rows, start=1):
        try:
            articles.append(example_clip(manifest.path(row), set(labels.targets(row)), model, report / f"clip{number}"))
        except AudioError as error:
            articles.append(f"<article><p>{html.escape(str(error))}</p></article>")
    return f"<div class=clips>{''.join(articles)}</div>"


def example_clip(path: str, classes: set[int], model: TrainedClassifier, stem: Path) -> str:
    """One clip; writes its spectrogram, stem.png, and what the model hears of it, stem.wav."""
    rate_hz = model.front_end.sample_rate_hz
    duration_s = model.front_end.target_length_frames * figures.FRAME_SHIFT_S
    waveform = load_waveform(path, rate_hz, duration_s=duration_s)
    soundfile.write(stem.with_suffix(".wav"), waveform.numpy(), rate_hz, subtype="PCM_16")
    frames = model.spectrogram(path)[0, : num_frames(len(waveform), rate_hz)]  # without the padding
    figures.draw_spectrogram(frames.cpu().numpy(), stem.with_suffix(".png"))
    scores = model.scores(path)
    lines = []
    for index in scores.argsort(descending=True)[:TOP_K].tolist():
        name, score = html.escape(model.label_names[index]), float(scores[index])
        style = " class=right" if index in classes else ""
        lines.append(f"<p{style}><meter value={score:.3f}></meter> {percent(score)} {name}</p>")
    held = html.escape(", ".join(model.label_names[index] for index in sorted(classes)))
    return (
        f'<article><img src="{stem.name}.png" alt="log-mel spectrogram"><audio controls src="{stem.name}.wav"></audio>'
        f"<p>holds: <strong>{held}</strong></p>{''.join(lines)}</article>"
    )


def probe_section(results: Results) -> str:
    """The linear probe of the frozen encoder."""
    rows = json.loads((results.folder / "results" / "probe.json").read_text(encoding="utf-8"))
    lines = [[f"{row['weights']} encoder", percent(row["mAP"])] for row in rows]
    return (
        "<h2>Linear probe of the frozen encoder</h2><p>A logistic regression per class on the mean of the encoder's "
        "features, fitted on the train split. The encoder has never seen a label.</p>"
        + table(["encoder", "mAP on held-out clips"], lines)
    )


def page(results: Results, report: Path) -> str:
    """Draws the figures and returns the html page."""
    pretrained, random = results.scores("finetuned"), results.scores("finetuned_from_random")
    model = load_classifier(results.folder / "finetuned" / "checkpoint_best.pt")
    draw_curves(results, report)
    figures.draw_class_bars(
        pretrained.names, pretrained.average_precision, random.average_precision, report / "classes.png"
    )
    features = np.load(results.folder / "results" / "features.npy")
    columns = model.encoder.config.columns
    moments = features.reshape(-1, columns, features.shape[1]).mean(axis=1)  # (P, D)
    figures.draw_similarity(moments, report / "features.png")
    prediction = (results.folder / "results" / "prediction.txt").read_text(encoding="utf-8").strip()
    counts = {
        split: len(Manifest.read(results.folder / "data" / f"{split}.tsv")) for split in ("train", "valid", "eval")
    }
    encoder = model.encoder
    num_parameters = sum(p.numel() for p in encoder.parameters() if p.requires_grad)
    class_rows = [
        [name, str(count), percent(a), percent(b)]
        for name, count, a, b in zip(
            pretrained.names, pretrained.positives, pretrained.average_precision, random.average_precision, strict=True
        )
    ]
    seconds = [[name, f"{value // 60}:{value % 60:02d}"] for name, value in results.steps()]
    total = sum(value for _, value in results.steps())
    seconds.append(["together", f"{total // 60}:{total % 60:02d}"])
    return f"""<!doctype html>
<html lang=en><meta charset=utf-8><meta name=viewport content="width=device-width"><title>ASDA demo</title>
<style>{STYLE}</style>
<h1>ASDA on this machine</h1>
<p>A small ASDA ({encoder.depth} layers of width {encoder.embed_dim}, {num_parameters / 1e6:.2f} million weights)
was pre-trained without labels on {counts["train"]} clips, then fine-tuned on their labels ({len(pretrained.names)}
classes). The best of its epochs on {counts["valid"]} validation clips was evaluated on {counts["eval"]} clips that
neither step has seen. The same network, fine-tuned in the same way from random weights, shows what pre-training was
worth.</p>
<div class=numbers>
<div><strong>{percent(pretrained.mean)}</strong> mAP, pre-trained</div>
<div><strong>{percent(random.mean)}</strong> mAP, from random weights</div>
</div>
<h2>Pre-training</h2>
<img src="pretraining.png" alt="losses of pre-training">
<p>The students' squared error against the teacher's targets, for hidden patches (frame) and for whole clips (utterance,
weighted); standard deviation of predictions and targets over patches, which would fall to zero if the representation
collapsed.</p>
{probe_section(results)}
<h2>Fine-tuning</h2>
<img src="finetuning.png" alt="fine-tuning with and without pre-training">
<h2>Classes</h2>
<img src="classes.png" alt="average precision of each class">
<details><summary>as a table</summary>
{table(["class", "clips that hold it", "pre-trained", "random weights"], class_rows)}</details>
<h2>What the model says</h2>
<p>{NUM_EXAMPLES} clips of the evaluation split, evenly spaced, not chosen; predictions that are right stand out.</p>
{example_clips(results, model, report)}
<h2>The programs</h2>
<p>Output of <code>inference.sh</code> for one clip:</p>
<pre>{html.escape(prediction)}</pre>
<p>Output of <code>feature_extract.sh</code> for the same clip: {" × ".join(map(str, features.shape))} numbers. How
alike its moments are to the encoder (mean over the mel axis of each patch row):</p>
<img src="features.png" alt="similarity of the features over time">
<h2>Time</h2>
{table(["step", "minutes"], seconds)}
<footer><p>{datetime.date.today().isoformat()}; {html.escape(platform.platform())}, {torch.get_num_threads()} threads;
Python {platform.python_version()}, torch {torch.__version__}.</p></footer>
</html>
"""


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("demo_dir", type=Path, help="folder that scripts/demo.sh works in")
    args = parser.parse_args(argv)
    report = args.demo_dir / "report"
    report.mkdir(parents=True, exist_ok=True)
    try:
        text = page(Results(args.demo_dir), report)
    except (ValueError, KeyError, OSError) as error:
        print(f"report: error: {error}", file=sys.stderr)
        return 1
    (report / "index.html").write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
