"""Writes the demo's report: index.html and its figures, from what the steps of scripts/demo.sh left behind.

python -m ASDA.demo.report DEMO_DIR
"""

from __future__ import annotations

import argparse
import datetime
import html
import platform
import shutil
import sys
from pathlib import Path

import numpy as np
import soundfile
import torch

from ASDA.audio.fbank import mel_bin_frequencies_hz, num_frames
from ASDA.audio.io import AudioError, load_waveform
from ASDA.demo.html_parts import headline, interval, percent
from ASDA.demo.results import RUNS, SPLITS, Results, Score
from ASDA.inference import TrainedClassifier, load_classifier
from ASDA.reports import figures
from ASDA.reports.html_parts import STYLE, panels, table
from ASDA.reports.run_logs import EPOCH, INTERVAL, Series, read_run

NUM_EXAMPLES = 8
TOP_K = 3
WEIGHTS = ("pre-trained", "random weights")
"""What RUNS started from."""
METRIC_OF_CLASS = {"mAP": "average precision", "accuracy": "share of its clips that is right"}


def interval_lines(folder: Path) -> Series:
    """What a run logged while it trained: by interval, or of a very short one by epoch."""
    run = read_run(folder)
    return run.get(INTERVAL) or run[EPOCH]


def scores(results: Results) -> dict[str, list[Score]]:
    """What was trained -> its score from each of WEIGHTS."""
    return {
        "fine-tuned": [results.finetuned(run) for run in RUNS],
        "linear probe": [results.probe(weights) for weights in ("pre-trained", "random")],
    }


def summary(results: Results) -> str:
    """The headline in lines of text."""
    lines = [
        f"{name}, {weights}: {results.metric} {percent(score.value)} ({interval(score)})"
        for name, found in scores(results).items()
        for weights, score in zip(WEIGHTS, found, strict=True)
    ]
    return "\n".join([*lines, f"chance: {percent(results.chance)}"])


def scores_section(results: Results, report: Path) -> str:
    """The headline: fine-tuning beside the probe, from pre-trained and from random weights, and chance."""
    rows = scores(results)
    drawn = [
        (f"{name},\n{weights}", score.value, score.low, score.high, weights == WEIGHTS[0])
        for name, scores in rows.items()
        for weights, score in zip(WEIGHTS, scores, strict=True)
    ]
    metric = f"{results.metric} on held-out clips"
    figures.draw_intervals(drawn, results.chance, metric, report / "scores.png")
    if results.single_label:
        name, classes = html.escape(results.most_frequent_class), len(results.table)
        chance = (
            f"Chance: <strong>{percent(results.chance)}</strong> by always naming the most frequent class, "
            f"{name}; {percent(1 / classes)} (1/{classes}) by guessing all classes alike."
        )
    else:
        chance = (
            f"Chance: <strong>{percent(results.chance)}</strong>, the share of clips that hold a class, averaged over "
            "the classes: the mAP of clips in any order."
        )
    return (
        f"<h2>{results.metric[0].upper()}{results.metric[1:]} on {len(results.targets['eval'])} held-out clips</h2>"
        f"{headline(list(WEIGHTS), rows)}<p>{chance} Under each number its 95 % interval, from drawing the held-out "
        "clips anew.</p><p>The probe is a logistic regression per class on the mean of the features of an encoder that "
        "stays as it is and, where pre-trained, has never seen a label.</p>"
        f'<div class=panels><img src="scores.png" alt="{metric}, with intervals and chance"></div>'
    )


def pretraining_section(results: Results, report: Path) -> str:
    """What pre-training logged."""
    drawn = {
        "frame loss": {"": "loss_IMAGE_regression"},
        "utterance loss": {"": "loss_cls"},
        "spread": {"predictions": "pred_var", "targets": "target_var"},
    }
    series = interval_lines(results.folder / "pretrained")
    files = {}
    for number, (title, keys) in enumerate(drawn.items(), start=1):
        files[title] = f"pretraining{number}.png"
        figures.draw_curves({label: series[key] for label, key in keys.items()}, report / files[title])
    return (
        f"<h2>Pre-training</h2>{panels(files)}<p>The students' squared error against the teacher's targets, for hidden "
        "patches (frame) and for whole clips (utterance, weighted); standard deviation of predictions and targets over "
        "patches, which would fall to zero if the representation collapsed.</p>"
    )


def finetuning_section(results: Results, report: Path) -> str:
    """Fine-tuning with and without pre-training."""
    folders = {weights: results.folder / run for weights, run in zip(WEIGHTS, RUNS, strict=True)}
    losses = {weights: interval_lines(folder)["loss"] for weights, folder in folders.items()}
    valid = {weights: read_run(folder)["valid"][results.metric] for weights, folder in folders.items()}
    files = {"training loss": "finetuning1.png", f"{results.metric} on the validation clips": "finetuning2.png"}
    loss_file, valid_file = (report / file for file in files.values())
    figures.draw_curves(losses, loss_file)
    figures.draw_curves(valid, valid_file, chance=results.chance)
    return f"<h2>Fine-tuning</h2>{panels(files)}"


def classes_section(results: Results, report: Path) -> str:
    """A bar and a line of numbers for each class, and what was taken for what."""
    pretrained, random = (results.class_scores(run) for run in RUNS)
    metric = METRIC_OF_CLASS[results.metric]
    drawn = figures.draw_class_bars(pretrained.names, pretrained.values, random.values, metric, report / "classes.png")
    few = "" if len(drawn) == len(pretrained.names) else f" The {len(drawn)} best and worst are drawn."
    rows = [
        [name, str(count), percent(a), percent(b)]
        for name, count, a, b in zip(
            pretrained.names, pretrained.positives, pretrained.values, random.values, strict=True
        )
    ]
    text = (
        f"<h2>Classes</h2><p>Of each class: {metric}, on the held-out clips.{few}</p>"
        f'<img src="classes.png" alt="{metric} of each class"><details><summary>as a table</summary>'
        f"{table(['class', 'clips that hold it', *WEIGHTS], rows)}</details>"
    )
    if not results.single_label:
        return text
    figures.draw_confusion(results.confusion(), results.table.names, report / "confusion.png")
    shutil.copyfile(results.confusion_file, report / "confusion.csv")
    return (
        f"{text}<h2>Confusion matrix</h2><p>What the fine-tuned model took the held-out clips of each class for, "
        'with their number; as a table: <a href="confusion.csv">confusion.csv</a>.</p>'
        '<div class=scroll><img src="confusion.png" alt="confusion matrix"></div>'
    )


def examples_section(results: Results, model: TrainedClassifier, report: Path) -> str:
    """Evenly spaced clips of the eval split: what they sound like, what they hold and what the model says."""
    manifest, targets = results.manifest("eval"), results.targets["eval"]
    rows = np.unique(np.linspace(0, len(manifest) - 1, NUM_EXAMPLES).astype(int)).tolist()
    articles = []
    for number, row in enumerate(rows, start=1):
        classes = set(np.flatnonzero(targets[row]).tolist())
        try:
            articles.append(example_clip(manifest.path(row), classes, model, report / f"clip{number}"))
        except AudioError as error:
            articles.append(f"<article><p>{html.escape(str(error))}</p></article>")
    return (
        f"<h2>What the model says</h2><p>{len(rows)} clips of the evaluation split, evenly spaced, not chosen; "
        f"predictions that are right stand out.</p><div class=clips>{''.join(articles)}</div>"
    )


def example_clip(path: str, classes: set[int], model: TrainedClassifier, stem: Path) -> str:
    """One clip; writes its spectrogram, stem.png, and what the model hears of it, stem.wav."""
    rate_hz = model.front_end.sample_rate_hz
    duration_s = model.front_end.target_length_frames * figures.FRAME_SHIFT_S
    waveform = load_waveform(path, rate_hz, duration_s=duration_s)
    soundfile.write(stem.with_suffix(".wav"), waveform.numpy(), rate_hz, subtype="PCM_16")
    frames = model.spectrogram(path)[0, : num_frames(len(waveform), rate_hz)].cpu().numpy()  # without the padding
    frequencies_hz = mel_bin_frequencies_hz(frames.shape[1], rate_hz).numpy()
    figures.draw_spectrogram(frames, frequencies_hz, stem.with_suffix(".png"))
    predicted = model.scores(path)
    lines = []
    for index in predicted.argsort(descending=True)[:TOP_K].tolist():
        name, score = html.escape(model.label_names[index]), float(predicted[index])
        style = " class=right" if index in classes else ""
        lines.append(f"<p{style}><meter value={score:.3f}></meter> {percent(score)} {name}</p>")
    held = html.escape(", ".join(model.label_names[index] for index in sorted(classes)))
    return (
        f'<article><img src="{stem.name}.png" alt="log-mel spectrogram"><audio controls src="{stem.name}.wav"></audio>'
        f"<p>holds: <strong>{held}</strong></p>{''.join(lines)}</article>"
    )


def programs_section(results: Results, model: TrainedClassifier, report: Path) -> str:
    """What the programs for single files print and write."""
    features = np.load(results.results / "features.npy")
    encoder = model.encoder.config
    moments = features.reshape(-1, encoder.columns, features.shape[1]).mean(axis=1)  # (P, D)
    figures.draw_similarity(moments, encoder.patches.stride[0] * figures.FRAME_SHIFT_S, report / "features.png")
    prediction = (results.results / "prediction.txt").read_text(encoding="utf-8").strip()
    return (
        "<h2>The programs</h2><p>Output of <code>inference.sh</code> for one clip:</p>"
        f"<pre>{html.escape(prediction)}</pre><p>Output of <code>feature_extract.sh</code> for the same clip: "
        f"{' × '.join(map(str, features.shape))} numbers. How alike its moments are to the encoder (mean over the mel "
        'axis of each patch row):</p><img src="features.png" alt="similarity of the features over time">'
    )


def time_section(results: Results) -> str:
    """How long each step took."""
    seconds = [*results.steps(), ("together", sum(value for _, value in results.steps()))]
    rows = [[name, f"{value // 60}:{value % 60:02d}"] for name, value in seconds]
    return f"<h2>Time</h2>{table(['step', 'minutes'], rows)}"


def page(results: Results, report: Path) -> str:
    """Draws the figures and returns the html page."""
    model = load_classifier(results.folder / "finetuned" / "checkpoint_best.pt")
    encoder = model.encoder
    num_parameters = sum(p.numel() for p in encoder.parameters() if p.requires_grad)
    num_train, num_valid, num_eval = (len(results.targets[split]) for split in SPLITS)
    labels = "one label per clip" if results.single_label else "one or more labels per clip"
    sections = [
        scores_section(results, report),
        pretraining_section(results, report),
        finetuning_section(results, report),
        classes_section(results, report),
        examples_section(results, model, report),
        programs_section(results, model, report),
        time_section(results),
    ]
    return f"""<!doctype html>
<html lang=en><meta charset=utf-8><meta name=viewport content="width=device-width, initial-scale=1">
<title>ASDA demo</title>
<style>{STYLE}</style>
<h1>ASDA on this machine</h1>
<p>A small ASDA ({encoder.depth} layers of width {encoder.embed_dim}, {num_parameters / 1e6:.2f} million weights)
was pre-trained without labels on {num_train} clips, then fine-tuned on their labels ({len(results.table)} classes,
{labels}). The state that did best on {num_valid} validation clips was evaluated on {num_eval} clips that neither step
has seen. The same network, treated in the same way from random weights, shows what pre-training was worth.</p>
{"".join(sections)}
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
    results = Results(args.demo_dir)
    try:
        text = page(results, report)
    except (ValueError, KeyError, OSError) as error:
        print(f"report: error: {error}", file=sys.stderr)
        return 1
    (report / "index.html").write_text(text, encoding="utf-8")
    print(summary(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
