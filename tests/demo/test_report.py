"""The report: figures and page from what the steps leave, complete and readable without a network."""

import html.parser
import json
import shutil

import numpy as np
import pytest
import soundfile
import torch

from ASDA.audio.front_end import FrontEnd
from ASDA.core.classifier import SpectrogramClassifier
from ASDA.core.config import HeadConfig
from ASDA.data.labels import LabelTable
from ASDA.demo import report
from ASDA.inference import TrainedClassifier
from tests.architectures import make_encoder


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


@pytest.fixture
def demo_dir(tmp_path, small_corpus):
    """What a run of the demo leaves, in the form its programs write it."""
    shutil.copytree(small_corpus, tmp_path / "data")
    for run in ("pretrained", "finetuned", "finetuned_from_random", "results"):
        (tmp_path / run).mkdir()
    losses = {"loss_IMAGE_regression": 3.0, "loss_cls": 2.0, "pred_var": 0.8, "target_var": 0.9}
    steps = [line("train_inner", num_updates=update, **losses) for update in (10, 20)]
    (tmp_path / "pretrained" / "train.log").write_text("".join(steps))
    rows = ["index,mid,display_name,positives,average_precision"]
    names = LabelTable.read(tmp_path / "data" / "label_descriptors.csv").names
    for run, value in (("finetuned", 0.75), ("finetuned_from_random", 0.5)):
        epochs = line("train", num_updates=7, loss=3.0) + line("valid", num_updates=7, mAP=value)
        (tmp_path / run / "train.log").write_text(epochs)
        cells = [f"{i},/m/{i},{name},{4 if i else 0},{value if i else ''}" for i, name in enumerate(names)]
        (tmp_path / "results" / f"{run}_average_precision.csv").write_text("\n".join(rows + cells) + "\n")
    probes = [{"weights": "pre-trained", "seed": 1, "mAP": 0.411}, {"weights": "random", "seed": 1, "mAP": 0.287}]
    (tmp_path / "results" / "probe.json").write_text(json.dumps(probes))
    (tmp_path / "results" / "prediction.txt").write_text("a<b.wav\nLABEL  PREDICTION\n")
    (tmp_path / "results" / "seconds.tsv").write_text("corpus\t61\npre-training\t120\n")
    np.save(tmp_path / "results" / "features.npy", np.random.default_rng(0).normal(size=(64, 32)).astype("float32"))
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
def test_report__every_link_is_a_file_beside_the_page(demo_dir):
    assert report.main([str(demo_dir)]) == 0
    folder = demo_dir / "report"
    links = Links((folder / "index.html").read_text(encoding="utf-8")).found
    assert len(links) == 4 + 2 * report.NUM_EXAMPLES  # curves, classes and features; each example is seen and heard
    for link in links:
        assert "/" not in link and (folder / link).stat().st_size > 1000
    assert {path.name for path in folder.iterdir()} == {*links, "index.html"}


@pytest.mark.usefixtures("classifier")
def test_report__shows_the_numbers_of_the_steps(demo_dir):
    report.main([str(demo_dir)])
    text = Links((demo_dir / "report" / "index.html").read_text(encoding="utf-8")).text
    for number in ("75.0 %", "50.0 %", "41.1 %", "28.7 %", "1:01", "3:01", "64 × 32", "a<b.wav", "Beep0––"):
        assert number in text


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


def test_class_scores__mean_leaves_out_classes_without_clips(demo_dir):
    assert report.Results(demo_dir).scores("finetuned").mean == pytest.approx(0.75)
