"""What a training run does when something is wrong with its data: the message, the exit code, and what it leaves."""

import json
import re
from pathlib import Path

import pytest
import soundfile

from ASDA.data.manifest import Manifest, write_manifest
from tests.data.generated_corpora import NEEDS_PYARROW, RATE_HZ, break_clips, put_into, sound, write_corpus

from .conftest import TINY_NETWORK, assert_ok, train

pytestmark = [pytest.mark.slow, pytest.mark.long]

PRETRAINING = ["optimization.max_epoch=2", "model.average_top_k_layers=2", *TINY_NETWORK]


def pretrain(data, save_dir, *overrides):
    return train("pretraining_AS2M", save_dir, f"task.data={data}", *PRETRAINING, *overrides)


def left_behind(save_dir) -> set[str]:
    return {path.name for path in save_dir.rglob("*.pt*")}


HELD = [(0, None), (2, None), (2, "tar"), pytest.param(2, "parquet", marks=NEEDS_PYARROW)]


@pytest.mark.parametrize(("num_workers", "container"), HELD)
def test_pretraining__goes_on_without_an_unreadable_clip_and_counts_it(tmp_path, num_workers, container):
    manifest = write_corpus(tmp_path, n=6, duration_s=0.2)
    break_clips(manifest, 3)
    if container is not None:
        paths = put_into(container, tmp_path, [Path(manifest.path(i)) for i in range(len(manifest))])
        write_manifest(tmp_path / "train.tsv", "/", ((path, 3200) for path in paths))
        manifest = Manifest.read(tmp_path / "train.tsv")
    process = assert_ok(
        pretrain(tmp_path, tmp_path / "run", "task.max_bad_fraction=0.2", f"dataset.num_workers={num_workers}")
    )
    output = process.stdout + process.stderr
    named = [line for line in output.splitlines() if "unreadable clip" in line]
    assert len(named) == 1 and manifest.path(3) in named[0] and "train.tsv:5" in named[0]
    counts = [float(line["train_unreadable"]) for line in log_lines(output, "train")]
    assert counts == [1.0, 1.0]  # once in each of the two epochs


def log_lines(output: str, kind: str) -> list[dict]:
    return [json.loads(line) for line in re.findall(rf"\[{kind}\]\[INFO\] - (\{{.*\}})", output)]


def test_pretraining__stops_with_the_list_when_too_many_clips_are_unreadable(tmp_path):
    manifest = write_corpus(tmp_path, n=6, duration_s=0.2)
    break_clips(manifest, 1, 4)
    process = pretrain(tmp_path, tmp_path / "run", "task.max_bad_fraction=0.2")
    assert process.returncode != 0
    output = process.stdout + process.stderr
    assert "2 of the 6 clips of" in output and "more than max_bad_fraction = 0.2 allows" in output
    assert manifest.path(1) in output and manifest.path(4) in output
    assert not {name for name in left_behind(tmp_path / "run") if "best" in name}


MANIFEST_FAULTS = {
    "wrong header": (b"path\tframes\nclip_0.wav\t3200\n", "train.tsv:1: the first line must be the root folder"),
    "no rows": (b"{root}\n", "train.tsv: the manifest lists no clip"),
    "bad row": (
        b"{root}\nclip_0.wav 3200\n",
        "train.tsv:2: expected `path<TAB>number of samples`, got 'clip_0.wav 3200'",
    ),
}


@pytest.mark.parametrize("fault", MANIFEST_FAULTS)
def test_pretraining__malformed_manifest_is_named_by_line(tmp_path, fault):
    write_corpus(tmp_path, n=2, duration_s=0.2)
    text, message = MANIFEST_FAULTS[fault]
    (tmp_path / "train.tsv").write_bytes(text.replace(b"{root}", str(tmp_path / "audio").encode()))
    process = pretrain(tmp_path, tmp_path / "run")
    assert process.returncode != 0 and message in process.stdout + process.stderr
    assert left_behind(tmp_path / "run") == set()


@pytest.fixture
def labelled(tmp_path):
    """Six training and four evaluation clips of two classes."""
    write_corpus(tmp_path, n=6, duration_s=0.2)
    for i in range(4):
        soundfile.write(tmp_path / "audio" / f"eval_{i}.wav", sound(0.2, seed=10 + i), RATE_HZ)
    (tmp_path / "eval.tsv").write_text(f"{tmp_path}/audio\n" + "".join(f"eval_{i}.wav\t3200\n" for i in range(4)))
    for split, stem, n in (("train", "clip", 6), ("eval", "eval", 4)):
        (tmp_path / f"{split}.lbl").write_text("".join(f"{stem}_{i}\t{'cat' if i % 2 else 'dog'}\n" for i in range(n)))
    (tmp_path / "label_descriptors.csv").write_text("0,cat,cat\n1,dog,dog\n")
    return tmp_path


def finetune(data, pretrained, *overrides):
    checkpoint = f"model.model_path={pretrained / 'checkpoint_last.pt'}"
    fixed = [checkpoint, "model.num_classes=2", "optimization.max_update=2", "task.multi_label=true"]
    return train("finetuning", data / "run", f"task.data={data}", *fixed, *overrides)


def test_finetuning__another_number_of_classes_than_the_tables_is_refused_before_training(labelled, pretrained):
    process = finetune(labelled, pretrained, "model.num_classes=527")
    output = process.stdout + process.stderr
    assert process.returncode != 0
    assert f"model.num_classes=527, but {labelled / 'label_descriptors.csv'} has 2 classes" in output
    assert log_lines(output, "train_inner") == [] and left_behind(labelled / "run") == set()


@pytest.mark.parametrize(
    ("file", "old", "new", "messages"),
    [
        (
            "train.lbl",
            "clip_3\tcat\n",
            "",
            ['clip "clip_3.wav" (train.tsv:5) has no line in', 'there is about "clip_4"'],
        ),
        ("eval.lbl", "eval_1\tcat", "eval_1\tcow", ['label "cow" (eval.lbl:2) is not in', "label_descriptors.csv"]),
    ],
    ids=["label missing", "label unknown"],
)
def test_finetuning__labels_that_do_not_fit_are_named_on_both_sides(labelled, pretrained, file, old, new, messages):
    text = (labelled / file).read_text()
    assert old in text
    (labelled / file).write_text(text.replace(old, new))
    process = finetune(labelled, pretrained)
    assert process.returncode != 0
    for message in messages:
        assert message in process.stdout + process.stderr
    assert left_behind(labelled / "run") == set()


def test_finetuning__evaluation_leaves_an_unreadable_clip_out_and_says_so(labelled, pretrained):
    (labelled / "audio" / "eval_2.wav").write_bytes(b"RIFF not audio")
    process = assert_ok(finetune(labelled, pretrained, "task.max_bad_fraction=0.25"))
    output = process.stdout + process.stderr
    *_, last = log_lines(output, "eval")
    assert int(last["eval_clips"]) == 3 and float(last["eval_unreadable"]) == 1
    assert "unreadable clip" in output and "eval_2.wav (eval.tsv:4)" in output


@pytest.mark.parametrize(
    "options",
    [[], ["task.fbank_on_device=true"], ["task.multi_label=false", "checkpoint.best_checkpoint_metric=accuracy"]],
    ids=["multi-label", "features on the device", "single-label"],
)
def test_finetuning__evaluation_batches_without_a_readable_clip_are_counted_too(labelled, pretrained, options):
    for clip in (0, 2):  # the first batch, which fairseq keeps as a stand-in, and another
        (labelled / "audio" / f"eval_{clip}.wav").write_bytes(b"RIFF not audio")
    options = [*options, "task.max_bad_fraction=0.5", "dataset.batch_size_valid=1"]
    process = assert_ok(finetune(labelled, pretrained, *options))
    *_, last = log_lines(process.stdout + process.stderr, "eval")
    assert int(last["eval_clips"]) == 2 and float(last["eval_unreadable"]) == 2
    assert float(last["eval_loss"]) > 0
