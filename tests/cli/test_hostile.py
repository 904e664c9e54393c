"""Programs on what strangers send: one line, exit code 1; names in pages, pictures, tables and terminals stay text."""

from __future__ import annotations

import csv
import html.parser
import importlib
import json
import os

import numpy as np
import pytest
import soundfile
import torch

from ASDA.cli.convert import main as convert
from ASDA.cli.evaluate import main as evaluate
from ASDA.cli.extract import main as extract
from ASDA.cli.infer import main as infer
from ASDA.cli.look import main as look
from ASDA.reports import ablation_page, figures, timeline_figure
from ASDA.reports.ablation import Ablation, SettingFiles
from tests.hostile import Code, bounded, refused
from tests.published_files import published_finetuned, published_pretraining

NAMES = [
    "<script>alert(1)<", "<img src=x onerror=alert(1)>", '"><b>', "=cmd|' -C calc'!A0", "+1", "@SUM(1)", 'a,b"c',
    "$x^{$", "\\frac{", "_hidden", "'; rm -rf ~", "${HOME}", "$(id)", "%s%n", "{0}", "\x1b[31mred", "line\nbreak",
    "tab\there", "ünï", "🎵", "-rf", "..", "a" * 200,
]  # fmt: skip
"""Of clips and of classes; no name of a file holds a slash."""
CLIPS = [name for name in NAMES if not name.startswith(".")]  # files of such names are hidden


DEMO = pytest.param("demo", marks=pytest.mark.long)  # which imports gradio


@pytest.mark.parametrize("main", ["info", "convert", "average", "infer", "extract", "probe", "look", DEMO])
def test_programs__a_checkpoint_with_code_is_one_line_and_exit_code_1(run, tmp_path, main):
    program = importlib.import_module(f"ASDA.cli.{main}").main
    model, clip = tmp_path / "model.pt", tmp_path / "clips" / "a.wav"
    torch.save({**published_pretraining(embed_dim=16, depth=1), "more": Code(tmp_path / "marker")}, model)
    clip.parent.mkdir()
    soundfile.write(clip, np.zeros(8_000), 16_000)
    (clip.parent / "train.tsv").write_text(f"{clip.parent}\na.wav\t8000\n")
    arguments = {
        "info": [model],
        "convert": [model, tmp_path / "new", "--to", "directory"],
        "average": [model, "--output", tmp_path / "mean.pt"],
        "infer": [clip, "--checkpoint", model],
        "extract": [clip.parent, "--checkpoint", model, "--output", tmp_path / "out"],
        "probe": ["--checkpoint", model, "--data", clip.parent, "--output", tmp_path / "out"],
        "look": [model, clip, "--output", tmp_path / "out"],
        "demo": [model],
    }
    refused(run, program, *arguments[main])
    assert not (tmp_path / "marker").exists() and not (tmp_path / "new").exists()


class Tags(html.parser.HTMLParser):
    """The tags of a page, with the names of their attributes."""

    def __init__(self, page: str):
        super().__init__()
        self.found: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.found |= {tag, *(name for name, _ in attributes)}


def assert_harmless(page: str) -> None:
    tags = Tags(page)
    assert not tags.found & {"script", "iframe", "object", "form", "base", "onerror", "onload", "b"}, tags.found


@pytest.fixture
def oddly_named(tmp_path):
    """Clips with these names, and a classifier whose classes have them."""
    folder = tmp_path / "clips"
    folder.mkdir()
    for number, name in enumerate(CLIPS):
        soundfile.write(folder / f"{name}.wav", 0.1 * np.random.default_rng(number).standard_normal(4_000), 16_000)
    state = published_finetuned(num_classes=len(NAMES), embed_dim=16, depth=1, task={"target_length": 32})
    state["task_state"] = {"label_names": NAMES}
    torch.save(state, tmp_path / "model.pt")
    return folder, tmp_path / "model.pt"


def test_look__names_of_clips_and_checkpoints_stay_text(run, tmp_path):
    name = "".join(name for name in NAMES[:16] if "/" not in name)[:200]
    clip, model = tmp_path / f"{name}\n🎵.wav", tmp_path / f"{name}\n🎵.pt"
    soundfile.write(clip, 0.1 * np.random.default_rng(0).standard_normal(4_000), 16_000)
    torch.save(published_finetuned(num_classes=2, embed_dim=16, depth=1, task={"target_length": 32}), model)
    result = run(look, model, clip, "--output", tmp_path / "look", "--html")
    assert result.code == 0, result.err
    assert_harmless((tmp_path / "look" / "look.html").read_text())
    assert list(json.loads((tmp_path / "look" / "numbers.json").read_text())["asda_look"]) == [str(model)]


def test_ablation__names_and_failures_stay_text(tmp_path):
    settings = []
    for number, name in enumerate(NAMES):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "probe.json").write_text(json.dumps([{"weights": "pre-trained", "mAP": 0.1 + number / 50}]))
        scores = {f"{name}:": {1: [folder / "probe.json"]}}
        settings.append(SettingFiles(name, name, scores, {1: [folder]}, {2: {"pretraining": name}}))
    ablation = Ablation.read(NAMES[0], NAMES[0], (1, 2), settings, NAMES)
    ablation_page.write_results(ablation, tmp_path)
    assert_harmless((tmp_path / "index.html").read_text())
    with open(tmp_path / "table.csv", newline="") as file:
        assert {row[0] for row in csv.reader(file)} >= set(NAMES)


def test_figures__names_are_not_taken_for_formulas(tmp_path):
    stretches = [(name, 0.0, 1.0, 0.5) for name in NAMES]
    figures.save(timeline_figure.draw_timeline(stretches, 1.0, None, np.linspace(20, 8_000, 8)), tmp_path / "a.png")
    figures.draw_class_bars(NAMES, [0.5] * len(NAMES), [0.4] * len(NAMES), NAMES[7], tmp_path / "b.png")
    figures.draw_confusion(np.eye(len(NAMES), dtype=int), NAMES, tmp_path / "c.png")
    figures.draw_curves({name: {1: 0.5, 2: 0.6} for name in NAMES[6:8]}, tmp_path / "d.png")
    assert len(list(tmp_path.glob("*.png"))) == 4
    figure, axis = figures.plt.subplots()
    figures.draw_curve(axis, {1: 0.5}, label="_hidden")
    assert [text.get_text().strip("\u200b") for text in axis.legend().get_texts()] == ["_hidden"]
    figures.plt.close(figure)


def test_infer__names_come_back_as_they_are(run, oddly_named):
    """In json to the letter; on a terminal without line breaks and without what would command it."""
    folder, model = oddly_named
    with bounded():
        result = run(infer, folder, "--checkpoint", model, "--json", "--device", "cpu")
        shown = run(infer, folder, "--checkpoint", model, "--device", "cpu")
    assert result.code == shown.code == 0, result.err
    records = [json.loads(line) for line in result.out.splitlines()]
    assert {os.path.basename(record["path"]) for record in records} == {f"{name}.wav" for name in CLIPS}
    assert {found["label"] for record in records for found in record["predictions"]} <= set(NAMES)
    assert "\x1b" not in shown.out + shown.err + result.err


def test_extract__writes_below_its_output_alone(run, oddly_named, tmp_path):
    folder, model = oddly_named
    before = set(tmp_path.rglob("*"))
    with bounded():
        result = run(extract, folder, "--checkpoint", model, "--output", tmp_path / "out", "--device", "cpu")
    assert result.code == 0, result.err
    assert all(tmp_path / "out" in (path, *path.parents) for path in set(tmp_path.rglob("*")) - before)
    assert len(list((tmp_path / "out").rglob("*.npy"))) == len(CLIPS)


@pytest.mark.parametrize("row", ["../clip.wav", "a/../../clip.wav", "{tmp}/clip.wav"])
def test_extract__rows_that_leave_the_root_do_not_make_files_leave_the_output(run, tmp_path, row):
    (tmp_path / "data").mkdir()
    soundfile.write(tmp_path / "clip.wav", 0.1 * np.ones(4_000), 16_000)
    torch.save(published_pretraining(embed_dim=16, depth=1), tmp_path / "model.pt")
    (tmp_path / "data" / "train.tsv").write_text(f"{tmp_path}/data\n{row.format(tmp=tmp_path)}\t4000\n")
    before = set(tmp_path.rglob("*"))
    manifest = tmp_path / "data" / "train.tsv"
    result = run(extract, manifest, "--checkpoint", tmp_path / "model.pt", "--output", tmp_path / "out")
    assert result.code in (0, 1, 2) and "Traceback" not in result.err
    assert all(tmp_path / "out" in (path, *path.parents) for path in set(tmp_path.rglob("*")) - before)
    assert result.code == 0 or "clip.wav" in result.err


def test_evaluate__tables_give_names_back_to_the_letter(run, oddly_named, tmp_path):
    """Also those that a spreadsheet would take for formulas: tables are data, which nobody may change on the way."""
    folder, model = oddly_named
    names = [name for name in NAMES if not set(name) & set("\n\t,")]
    clips = [name for name in names if name in CLIPS]
    (folder / "eval.tsv").write_text(f"{folder}\n" + "".join(f"{name}.wav\t4000\n" for name in clips))
    (folder / "eval.lbl").write_text("".join(f"{name}\t{NAMES.index(name)}\n" for name in clips))
    with open(folder / "label_descriptors.csv", "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["index", "mid", "display_name"])
        rows.writerows([index, index, name] for index, name in enumerate(NAMES))
    table = tmp_path / "classes.csv"
    flags = ["--checkpoint", model, "--device", "cpu", "--ap_log_path", table]
    result = run(evaluate, "--eval_dir", folder, "--label_file", folder / "label_descriptors.csv", *flags)
    assert result.code == 0, result.err
    with open(table, newline="") as file:
        assert {name for row in csv.reader(file) for name in row} >= set(names)


def test_convert__a_model_card_of_odd_classes_is_yaml_and_markdown(run, oddly_named, tmp_path):
    yaml = pytest.importorskip("yaml")
    _, model = oddly_named
    result = run(convert, model, tmp_path / "hub", "--to", "huggingface")
    assert result.code == 0, result.err
    card = (tmp_path / "hub" / "README.md").read_text()
    assert isinstance(yaml.safe_load(card.split("---")[1]), dict)
    assert "<script>" not in card and "<img" not in card and r"\frac{" in card
