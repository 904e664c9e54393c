"""What a launch chooses by data and checkpoint, and says."""

import re

import numpy as np
import pytest
import soundfile
import torch

from ASDA.audio.front_end import FrontEnd
from ASDA.checkpoints.checkpoint import Checkpoint
from ASDA.checkpoints.layouts import directory
from ASDA.launch.settings import LaunchError

from ..architectures import encoder_config, make_encoder
from ..published_files import published_pretraining
from .conftest import plan

RATE = 16_000


def write_data(folder, seconds=(1.0, 1.2, 1.4, 1.6), labels=("a", "b"), splits=("train", "eval"), level=0.1):
    """Noise of these lengths; a clip has one of the labels, or those of an entry with a comma."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    names = sorted({name for label in labels for name in label.split(",") if name})
    rows = [f'{index},{name},"class {name}"' for index, name in enumerate(names)]
    (folder / "label_descriptors.csv").write_text("\n".join(["index,mid,display_name", *rows]) + "\n")
    for split in splits:
        lines = []
        for clip, length in enumerate(seconds):
            samples = level * rng.standard_normal(round(length * RATE))
            soundfile.write(folder / f"{split}_{clip}.wav", samples, RATE)
            lines.append((f"{split}_{clip}.wav\t{len(samples)}", f"{split}_{clip}\t{labels[clip % len(labels)]}"))
        (folder / f"{split}.tsv").write_text("\n".join([str(folder), *(row for row, _ in lines)]) + "\n")
        (folder / f"{split}.lbl").write_text("\n".join(label for _, label in lines) + "\n")
    return folder


@pytest.fixture
def data(tmp_path):
    return write_data(tmp_path / "data")


def write_checkpoint(folder, **front_end):
    """A model directory, which records its front end."""
    torch.manual_seed(0)
    encoder = make_encoder()
    checkpoint = Checkpoint(folder, "directory", encoder.config, encoder.state_dict(), FrontEnd(**front_end))
    directory.write(folder, checkpoint, state=None)
    return folder


def chosen(launch):
    """The choices of a launch, by key."""
    (run,) = launch.runs
    return dict(word.split("=", 1) for word in run.command if word.startswith(("task.", "dataset.valid")))


def test_finetuning__follows_what_the_checkpoint_records_and_says_so(data, tmp_path):
    checkpoint = write_checkpoint(tmp_path / "model", target_length_frames=128, norm_mean=-7.66, norm_std=3.3)
    launch = plan("finetuning", "own_data", DATA=str(data), CHECKPOINT=str(checkpoint))
    assert set(chosen(launch)) == {"task.data"}  # the task takes it from the checkpoint
    (line,) = [note for note in launch.notes if note.startswith("front end: ")]
    assert line == "front end: target_length 128, norm_mean -7.6600, norm_std 3.3000: the checkpoint's"


def test_finetuning__warns_of_a_window_that_does_not_fit(data, tmp_path):
    checkpoint = write_checkpoint(tmp_path / "model", target_length_frames=1024)
    notes = plan("finetuning", "own_data", DATA=str(data), CHECKPOINT=str(checkpoint)).notes
    (warning,) = [note for note in notes if note.startswith("warning: of this window")]
    assert "of the frames would be padding" in warning and "task.target_length=160" in warning


def test_finetuning__from_a_file_that_records_nothing_takes_the_datas_own(data, tmp_path):
    torch.save(published_pretraining(), tmp_path / "published.pt")
    launch = plan("finetuning", "own_data", DATA=str(data), CHECKPOINT=str(tmp_path / "published.pt"))
    found = chosen(launch)
    assert found["task.target_length"] == "160"  # 1.6 s are 158 frames
    assert -6 < float(found["task.norm_mean"]) < 2 and 0 < float(found["task.norm_std"]) < 4
    assert [note.split(":")[0] for note in launch.notes[:3]] == [
        "labels", "window", "normalisation (the checkpoint records none)"
    ]  # fmt: skip
    again = plan("finetuning", "own_data", DATA=str(data), CHECKPOINT=str(tmp_path / "published.pt"))
    assert chosen(again) == found and any("read from" in note for note in again.notes)


def test_finetuning__what_is_stated_holds(data, tmp_path):
    torch.save(published_pretraining(), tmp_path / "published.pt")
    stated = {"task.target_length": "96", "task.norm_mean": "-1.5", "task.norm_std": "2.5"}
    words = [f"{key}={value}" for key, value in stated.items()]
    launch = plan("finetuning", "own_data", *words, DATA=str(data), CHECKPOINT=str(tmp_path / "published.pt"))
    assert {key: chosen(launch)[key] for key in stated} == stated


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (("a", "b"), "labels: 2 classes, one per clip: accuracy, as their files have it; model.loss=cross_entropy"),
        (("a", "a,b"), "labels: 2 classes, several per clip, or none: mAP, as their files have it; model.loss=bce"),
        (("a", ""), "labels: 1 classes, several per clip, or none: mAP, as their files have it; model.loss=bce"),
    ],
)
def test_finetuning__labels_decide_metric_and_loss(labels, expected, tmp_path):
    data = write_data(tmp_path / "data", labels=labels)
    checkpoint = write_checkpoint(tmp_path / "model")
    assert expected in plan("finetuning", "own_data", DATA=str(data), CHECKPOINT=str(checkpoint)).notes


def test_finetuning__a_wrong_number_of_classes_is_refused_first(data, tmp_path):
    checkpoint = write_checkpoint(tmp_path / "model")
    with pytest.raises(LaunchError, match="model.num_classes=7, but .*label_descriptors.csv has 2 classes"):
        plan("finetuning", "own_data", "model.num_classes=7", DATA=str(data), CHECKPOINT=str(checkpoint))


@pytest.mark.parametrize(("splits", "expected"), [(("train", "eval"), None), (("train", "valid", "eval"), "valid")])
def test_finetuning__chooses_on_valid_where_there_is_one_and_else_warns(splits, expected, tmp_path):
    data, checkpoint = write_data(tmp_path / "data", splits=splits), write_checkpoint(tmp_path / "model")
    launch = plan("finetuning", "own_data", DATA=str(data), CHECKPOINT=str(checkpoint))
    assert chosen(launch).get("dataset.valid_subset") == expected
    warned = any(note.startswith("warning: checkpoint_best.pt will be chosen on eval") for note in launch.notes)
    assert warned == (expected is None)


def test_a_named_data_set__has_its_own_numbers(data, tmp_path):
    checkpoint = write_checkpoint(tmp_path / "model", target_length_frames=128, norm_mean=-7.66)
    for words in (["AS20K"], ["own_data", "task.dataset=spcv2"], ["own_data", "task.spcv2_eval=true"]):
        launch = plan("finetuning", *words, DATA=str(data), CHECKPOINT=str(checkpoint))
        assert not any(re.match("front end|window|normalisation", note) for note in launch.notes)


def test_pretraining__of_own_data_takes_window_and_normalisation_from_the_clips(tmp_path):
    data = write_data(tmp_path / "data", level=1e-4)  # far quieter than AudioSet
    found = chosen(plan("pretraining_AS2M", "own_pretraining", DATA=str(data)))
    assert found["task.target_length"] == "160" and float(found["task.norm_mean"]) < -8


def test_pretraining__with_audiosets_recipe_keeps_its_normalisation_for_what_is_like_it(tmp_path, monkeypatch):
    from ASDA.launch import own_data

    data = write_data(tmp_path / "data", seconds=(10.24,) * 2)
    far = plan("pretraining_AS2M", DATA=str(data))
    assert "task.norm_mean" in chosen(far) and any(note.startswith("normalisation (far from") for note in far.notes)
    monkeypatch.setattr(own_data, "_alike", lambda *_: True)
    near = plan("pretraining_AS2M", DATA=str(data))
    assert set(chosen(near)) == {"task.data"} and any("AudioSet's, -4.268 and 4.569" in note for note in near.notes)


def test_clips_that_cannot_be_read__are_the_runs_to_judge(tmp_path):
    data = write_data(tmp_path / "data")
    for clip in data.glob("train_*.wav"):
        clip.write_bytes(b"RIFFbroken")
    notes = plan("pretraining_AS2M", DATA=str(data)).notes
    assert any(note.startswith("warning: nothing is chosen by these clips: ") for note in notes)


def test_a_dry_run__needs_no_data(tmp_path):
    (note, *_) = plan("pretraining_AS2M", DATA=str(tmp_path / "absent")).notes
    assert note.endswith("absent is not there: window and normalisation will be chosen when it is")


def test_encoder_config__has_patches_of_16_frames():
    assert encoder_config().patches.size[0] == 16  # what the windows above are multiples of
