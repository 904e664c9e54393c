"""A labelled corpus, fine-tuned and pre-trained checkpoints, and the programs to run on them."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch

from ASDA.inference import loading
from tests.published_files import published_finetuned, published_pretraining

CLASSES = ["bark", "meow, purr", "rain"]


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """Published checkpoints with D = 32 and 3 classes."""
    folder = tmp_path_factory.mktemp("models")
    torch.save(published_pretraining(), folder / "pretrained.pt")
    torch.save(published_finetuned(num_classes=3, task={"target_length": 96}), folder / "finetuned.pt")
    return SimpleNamespace(pretrained=folder / "pretrained.pt", finetuned=folder / "finetuned.pt")


@pytest.fixture
def corpus(tmp_path):
    """Nine clips of 0.5 to 1.3 s in wav and flac, with manifest, labels and class table, in `tmp_path/corpus`."""
    folder = tmp_path / "corpus"
    (folder / "sub").mkdir(parents=True)
    rows, labels = [str(folder)], []
    for number in range(9):
        name = f"sub/clip {number}.flac" if number % 2 else f"clip_{number}.wav"
        samples = 0.1 * np.random.default_rng(number).standard_normal(8_000 + 1_600 * number)
        soundfile.write(folder / name, samples, 16_000)
        rows.append(f"{name}\t{len(samples)}")
        labels.append(f"{name.rsplit('.', 1)[0]}\t/m/{number % 3}" + (",/m/1" if number == 3 else ""))
    (folder / "eval.tsv").write_text("\n".join(rows) + "\n")
    (folder / "eval.lbl").write_text("\n".join(labels) + "\n")
    table = "".join(f'{index},/m/{index},"{name}"\n' for index, name in enumerate(CLASSES))
    (folder / "label_descriptors.csv").write_text("index,mid,display_name\n" + table)
    return folder


@pytest.fixture
def run(capsys):
    """Runs a program's main; returns its exit code, what it printed, and what it said on stderr."""

    def run(main, *arguments):
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return SimpleNamespace(code=code, out=captured.out, err=captured.err)

    return run


def json_lines(text):
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def processes_started(monkeypatch):
    """How many processes decode, each time that some are started; threads stand for them, which start at once."""
    numbers = []

    def processes(number, settings):
        numbers.append(number)
        return loading._threads(number, settings)

    monkeypatch.setattr(loading, "_processes", processes)
    return numbers
