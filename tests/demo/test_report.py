"""The report: figures and page from what the steps leave, complete and readable without a network."""

import csv
import html.parser
import json
import re
import shutil

import numpy as np
import pytest
import soundfile
import torch

from ASDA.audio.front_end import FrontEnd
from ASDA.core.classifier import SpectrogramClassifier
from ASDA.core.config import HeadConfig
from ASDA.data.labels import LabelTable
from ASDA.demo import report, results
from ASDA.inference import TrainedClassifier
from tests.architectures import make_encoder

CONFUSION_FILES = (("report", "confusion.csv"), ("results", "finetuned_confusion.csv"))


class Links(html.parser.HTMLParser):
    """Everything that a page refers to, and its text."""

    def __init__(self, page):
        super().__init__()
        self.found, self.text = [], ""
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.found += [value for name, value in attributes if name in ("src", "href")]

    def handle_data(self, data):
        self.text += data


def line(stage, **values):
    prefix = "" if stage == "train_inner" else f"{stage}_"
    values = {f"{prefix}{name}": str(value) for name, value in values.items()}
    return f"[2026-11-21 03:21:37,304][{stage}][INFO] - {json.dumps(values)}\n"


def write_runs(tmp_path, metric):
    """What a run of the demo on tmp_path/data leaves, in the form its programs write it."""
    for run in ("pretrained", "finetuned", "finetuned_from_random", "results"):
        (tmp_path / run).mkdir()
    losses = {"loss_IMAGE_regression": 3.0, "loss_cls": 2.0, "pred_var": 0.8, "target_var": 0.9}
    steps = [line("train_inner", num_updates=update, **losses) for update in (10, 20)]
    (tmp_path / "pretrained" / "train.log").write_text("".join(steps))
    column = {"mAP": "average_precision", "accuracy": "accuracy"}[metric]
    rows = [f"index,mid,display_name,positives,{column}"]
    names = LabelTable.read(tmp_path / "data" / "label_descriptors.csv").names
    for run, value in (("finetuned", 0.75), ("finetuned_from_random", 0.5)):
        epochs = line("train", num_updates=7, loss=3.0) + line("valid", num_updates=7, **{metric: value})
        (tmp_path / run / "train.log").write_text(epochs)
        cells = [f"{i},/m/{i},{name},{4 if i else 0},{value if i else ''}" for i, name in enumerate(names)]
        (tmp_path / "results" / f"{run}_per_class.csv").write_text("\n".join(rows + cells) + "\n")
        score = {"value": value, "low": value - 0.031, "high": value + 0.042}
        (tmp_path / "results" / f"{run}_metrics.json").write_text(json.dumps({"clips": 30, metric: score}))
    probes = [
        {"weights": weights, "seed": 1, metric: value, f"{metric}_low": value - 0.05, f"{metric}_high": value + 0.06}
        for weights, value in (("pre-trained", 0.411), ("random", 0.287))
    ]
    (tmp_path / "results" / "probe.json").write_text(json.dumps(probes))
    (tmp_path / "results" / "prediction.txt").write_text("a<b.wav\nLABEL  PREDICTION\n")
    (tmp_path / "results" / "seconds.tsv").write_text("corpus\t61\npre-training\t120\n")
    np.save(tmp_path / "results" / "features.npy", np.random.default_rng(0).normal(size=(64, 32)).astype("float32"))
    return tmp_path


@pytest.fixture
def demo_dir(tmp_path, small_corpus):
    """With several labels per clip."""
    shutil.copytree(small_corpus, tmp_path / "data")
    return write_runs(tmp_path, "mAP")


@pytest.fixture
def single_label_dir(tmp_path, small_corpus):
    """With the first label of each clip alone."""
    shutil.copytree(small_corpus, tmp_path / "data")
    for file in (tmp_path / "data").glob("*.lbl"):
        file.write_text("".join(f"{line.split(',')[0]}\n" for line in file.read_text().splitlines()))
    write_runs(tmp_path, "accuracy")
    names = LabelTable.read(tmp_path / "data" / "label_descriptors.csv").names
    rows = [[name, *(2 if i == j else 0 for j in range(len(names)))] for i, name in enumerate(names)]
    with (tmp_path / "results" / "finetuned_confusion.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["class \\ taken for", *names], *rows])
    return tmp_path


@pytest.fixture
def classifier(monkeypatch, small_corpus):
    """Stands for the demo's fine-tuned model, which takes minutes to make."""
    torch.manual_seed(0)
    network = make_encoder(embed_dim=32, depth=2, num_heads=4, max_rows=16)
    names = LabelTable.read(small_corpus / "label_descriptors.csv").names
    front_end = FrontEnd(target_length_frames=128, norm_mean=-7.0, norm_std=4.0)
    model = TrainedClassifier(SpectrogramClassifier(network, HeadConfig(len(names))), front_end, names).eval()
    monkeypatch.setattr(report, "load_classifier", lambda path: model)
    return model


@pytest.mark.usefixtures("classifier")
@pytest.mark.parametrize("kind", ["demo_dir", "single_label_dir"])
def test_report__every_link_is_a_file_beside_the_page(kind, request):
    folder = request.getfixturevalue(kind)
    assert report.main([str(folder)]) == 0
    folder = folder / "report"
    links = Links((folder / "index.html").read_text(encoding="utf-8")).found
    # Scores, curves, classes and features; each example is seen and heard; the confusion matrix as picture and table.
    assert len(links) == 8 + 2 * report.NUM_EXAMPLES + (2 if kind == "single_label_dir" else 0)
    for link in links:
        assert "/" not in link and (folder / link).stat().st_size > 500
    assert {path.name for path in folder.iterdir()} == {*links, "index.html"}


@pytest.mark.usefixtures("classifier")
def test_report__shows_the_numbers_of_the_steps(demo_dir, capsys):
    report.main([str(demo_dir)])
    text = Links((demo_dir / "report" / "index.html").read_text(encoding="utf-8")).text
    for number in ("75.0 %", "50.0 %", "41.1 %", "28.7 %", "1:01", "3:01", "64 × 32", "a<b.wav", "Beep0––"):
        assert number in text
    assert "linear probe, pre-trained: mAP 41.1 % (36.1 to 47.1 %)" in capsys.readouterr().out


@pytest.mark.usefixtures("classifier")
def test_report__the_headline_has_fine_tuning_beside_the_probe_with_intervals_and_chance(demo_dir):
    report.main([str(demo_dir)])
    page = (demo_dir / "report" / "index.html").read_text(encoding="utf-8")
    headline = Links(page[: page.index("<h2>Pre-training</h2>")]).text
    for number in ("75.0 %71.9 to 79.2 %", "50.0 %46.9 to 54.2 %", "41.1 %36.1 to 47.1 %", "28.7 %23.7 to 34.7 %"):
        assert number in headline
    targets = report.Results(demo_dir).targets["eval"]
    assert f"Chance: {report.percent(targets.mean())}, the share of clips" in headline


@pytest.mark.usefixtures("classifier")
def test_report__one_label_per_clip_means_accuracy_its_chance_and_a_confusion_matrix(single_label_dir):
    report.main([str(single_label_dir)])
    page = (single_label_dir / "report" / "index.html").read_text(encoding="utf-8")
    text = Links(page).text
    assert "Accuracy on 30 held-out clips" in text and "mAP" not in text and "one label per clip" in text
    targets = report.Results(single_label_dir).targets["eval"]
    assert targets.sum() == 30
    assert f"{report.percent(targets.sum(axis=0).max() / 30)} by always naming the most frequent class" in text
    assert f"{report.percent(1 / 15)} (1/15)" in text
    copied, made = (single_label_dir / folder / name for folder, name in CONFUSION_FILES)
    assert copied.read_bytes() == made.read_bytes()


@pytest.mark.usefixtures("classifier")
def test_report__fits_a_telephone(demo_dir):
    """390 pixels: the page takes the screen's width, nothing else is wide, what is wide scrolls in its box."""
    report.main([str(demo_dir)])
    page = (demo_dir / "report" / "index.html").read_text(encoding="utf-8")
    assert '<meta name=viewport content="width=device-width, initial-scale=1">' in page
    rule = dict(re.findall(r"([^{}]+)\{([^{}]*)\}", page[page.index("<style>") + 7 : page.index("</style>")]))
    rule = {selector.strip(): body for selector, body in rule.items()}
    assert (
        "max-width: 100%" in rule["img"] and "overflow-x: auto" in rule[".scroll"] and "overflow-x: auto" in rule["pre"]
    )
    for selector in (".panels", ".clips"):
        columns = re.search(r"minmax\(min\(100%, \d+rem\), 1fr\)", page[page.index(f"{selector} {{ grid") :])
        assert columns, f"{selector}: a column must not be wider than the page"
    tables = [page[: match.start()] for match in re.finditer("<table>", page)]
    assert tables and all(before.endswith("<div class=scroll>") for before in tables)
    widths = re.findall(r"(?<!max-)width: *([\d.]+)([a-z]+)", page)
    assert all(unit == "rem" and float(number) < 20 for number, unit in widths)


def test_report__examples_are_what_the_model_hears_and_says(demo_dir, classifier):
    report.main([str(demo_dir)])
    samples, rate_hz = soundfile.read(demo_dir / "report" / "clip1.wav")
    assert rate_hz == 16_000 and samples.ndim == 1
    assert len(samples) == pytest.approx(1.28 * 16_000, abs=2)
    first = (demo_dir / "data" / "eval.tsv").read_text().splitlines()[1].split("\t")[0]
    scores = classifier.scores(demo_dir / "data" / first)
    text = Links((demo_dir / "report" / "index.html").read_text(encoding="utf-8")).text
    assert f"{report.percent(float(scores.max()))} {classifier.label_names[int(scores.argmax())]}" in text


@pytest.mark.usefixtures("classifier")
def test_report__a_missing_step_ends_with_its_file_named(demo_dir, capsys):
    (demo_dir / "results" / "probe.json").unlink()
    assert report.main([str(demo_dir)]) == 1
    assert "probe.json" in capsys.readouterr().err
    assert not (demo_dir / "report" / "index.html").exists()


def test_results__one_clip_with_two_labels_makes_the_data_multi_label(single_label_dir, capsys):
    assert report.Results(single_label_dir).metric == "accuracy"
    assert results.main([str(single_label_dir)]) == 0 and capsys.readouterr().out == "false\n"
    file = single_label_dir / "data" / "train.lbl"
    lines = file.read_text().splitlines()
    other = next(line.split("\t")[1] for line in lines if line.split("\t")[1] != lines[0].split("\t")[1])
    file.write_text("\n".join([f"{lines[0]},{other}", *lines[1:]]) + "\n")
    assert report.Results(single_label_dir).metric == "mAP"
    assert results.main([str(single_label_dir)]) == 0 and capsys.readouterr().out == "true\n"


def test_results__a_class_may_have_a_comma_in_its_name(single_label_dir):
    data = single_label_dir / "data"
    table = data / "label_descriptors.csv"
    table.write_text(table.read_text().replace('"Beep"', '"Beep, short"'))
    for file in data.glob("*.lbl"):
        file.write_text(file.read_text().replace("/demo/beep", "Beep, short"))
    assert report.Results(single_label_dir).single_label


def test_results__a_metric_that_is_not_defined_is_a_dash(demo_dir):
    (demo_dir / "results" / "finetuned_metrics.json").write_text('{"mAP": {"value": null, "low": null, "high": null}}')
    score = report.Results(demo_dir).finetuned("finetuned")
    assert report.percent(score.value) == "–" and report.interval(score) == ""
