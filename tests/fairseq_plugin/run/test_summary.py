"""The lines before the first update: what they say of data, schedule and weights."""

import pytest

pytest.importorskip("fairseq", reason="the tasks are fairseq's")

import numpy as np
import soundfile as sf
from omegaconf import OmegaConf

from ASDA.data.manifest import Manifest
from ASDA.fairseq_plugin.run import summary


def manifest(folder, rows):
    file = folder / "train.tsv"
    file.write_text("\n".join([str(folder), *(f"{name}\t{samples}" for name, samples in rows)]) + "\n")
    return Manifest.read(file)


def write(folder, name, seconds, rate=16_000):
    sf.write(folder / name, np.zeros(int(seconds * rate), dtype=np.float32), rate)
    return name, int(seconds * rate)


def test_sound__of_few_clips_is_exact_at_any_rates(tmp_path):
    rows = [write(tmp_path, "a.wav", 2.0), write(tmp_path, "b.wav", 0.5, 8_000), write(tmp_path, "c.wav", 1.0, 44_100)]
    assert summary.sound_s(manifest(tmp_path, rows)) == pytest.approx(3.5, abs=1e-3)


def test_sound__of_many_clips_follows_from_a_sample(tmp_path):
    rows = [write(tmp_path, f"{i}.wav", 0.1 + 0.01 * (i % 7)) for i in range(100)]
    expected = sum(samples for _, samples in rows) / 16_000
    assert summary.sound_s(manifest(tmp_path, rows)) == pytest.approx(expected, abs=1e-3)


def test_sound__of_clips_that_cannot_be_read_or_stand_in_containers_is_unknown(tmp_path):
    assert summary.sound_s(manifest(tmp_path, [("absent.wav", 16_000)])) is None
    assert summary.sound_s(manifest(tmp_path, [("clips.tar:a.wav", 16_000)])) is None


def optimization(**values):
    values = {"max_update": 0, "max_epoch": 0, "stop_time_hours": 0, "update_freq": [1], "lr": [0.1], **values}
    return OmegaConf.create({"optimization": values, "optimizer": None, "lr_scheduler": None, "model": {"_name": "m"}})


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"max_update": 1000}, "1,000 updates = 100 epochs of 10"),
        ({"max_update": 1000, "update_freq": [3]}, "1,000 updates = 250 epochs of 4"),
        ({"max_epoch": 5}, "at most 5 epochs of 10 updates"),
        ({"max_update": 15, "stop_time_hours": 1.5}, "15 updates = 1.5 epochs of 10, at most 1.5 h"),
        ({}, "until it is stopped"),
    ],
)
def test_schedule__is_told_in_updates_and_epochs(values, words):
    assert summary._schedule(optimization(**values), range(10)) == words


def test_learning_rate__is_that_of_the_default_group_else_of_the_run():
    run = optimization()
    assert summary._learning_rate(run) == "0.1"
    run.lr_scheduler = {"_name": "cosine", "warmup_updates": 20, "min_lr": 1e-6}
    assert summary._learning_rate(run) == "0.1, after 20 update(s) of warm-up, then a cosine to 1e-06"
    group = {"lr_float": 0.02, "lr_scheduler": {"_name": "asda_cosine", "warmup_updates": 0, "min_lr": 0.0}}
    run.optimizer = {"groups": {"default": group}}
    run.model.layer_decay = 0.65
    steps = {"_name": "asda_epoch_decay", "warmup_updates": 9, "decay": 0.5, "decay_from_epoch": 10}
    by_epoch = optimization()
    by_epoch.lr_scheduler = {**steps, "decay_every_epochs": 5}
    assert summary._learning_rate(by_epoch) == "0.1, after 9 update(s) of warm-up, x0.5 every 5 epochs from epoch 10 on"
    assert summary._learning_rate(run) == "0.02, then a cosine to 0, times 0.65 for each layer down"
