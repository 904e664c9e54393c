"""Training on Parquet and on tars of webdataset, with several workers, is training on the same clips as files."""

import io
import sys
import tarfile

import pytest
import soundfile

from tests.data.generated_corpora import NEEDS_PYARROW, audio_cells, sound, write_parquet

from .conftest import TINY_NETWORK, assert_ok, run, train
from .test_data_faults import log_lines

pytestmark = [pytest.mark.slow, pytest.mark.long]
CLIPS = {"train": 6, "test": 4}


def write_rows(path, files, labels):
    features = {"audio": {"_type": "Audio"}, "label": {"_type": "ClassLabel", "names": ["cat", "dog"]}}
    return write_parquet(path, {"audio": audio_cells(files), "label": labels}, features, row_group_size=2)


def write_tar(path, files, labels):
    with tarfile.open(path, "w") as archive:
        for number, (file, label) in enumerate(zip(files, labels, strict=True)):
            for ending, data in (("wav", file.read_bytes()), ("cls", str(label).encode())):
                info = tarfile.TarInfo(f"{number}.{ending}")
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))


FORMATS = [
    pytest.param("parquet", "parquet", write_rows, marks=NEEDS_PYARROW, id="parquet"),
    pytest.param("webdataset", "tar", write_tar, id="webdataset"),
]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Clips as files, with manifests of train and eval."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "audio").mkdir()
    for split, number in CLIPS.items():
        for i in range(number):
            soundfile.write(folder / "audio" / f"{split}_{i}.wav", sound(0.2, seed=i + 10 * len(split)), 16_000)
    for split, stem in (("train", "train"), ("eval", "test")):
        rows = "".join(f"{stem}_{i}.wav\t3200\n" for i in range(CLIPS[stem]))
        (folder / f"{split}.tsv").write_text(f"{folder}/audio\n{rows}")
        (folder / f"{split}.lbl").write_text(
            "".join(f"{stem}_{i}\t{'cat' if i % 2 == 0 else 'dog'}\n" for i in range(CLIPS[stem]))
        )
    (folder / "label_descriptors.csv").write_text("0,cat,cat\n1,dog,dog\n")
    return folder


@pytest.mark.parametrize(("name", "ending", "write"), FORMATS)
def test_training__on_a_container_is_that_on_files(files, pretrained, tmp_path, name, ending, write):
    (tmp_path / "data").mkdir()
    for split, number in CLIPS.items():
        clips = [files / "audio" / f"{split}_{i}.wav" for i in range(number)]
        write(tmp_path / "data" / f"{split}-0.{ending}", clips, [i % 2 for i in range(number)])
    command = [sys.executable, "-m", "ASDA.cli.manifest", name, tmp_path / "data", "--out", tmp_path / "held"]
    assert_ok(run(command))
    found = []
    for data in (files, tmp_path / "held"):
        save_dir = tmp_path / f"run_{data.name}"
        options = ["optimization.max_update=3", "dataset.num_workers=2", "optimization.max_epoch=3"]
        process = assert_ok(
            train(
                "pretraining_AS2M",
                save_dir / "pre",
                f"task.data={data}",
                "model.average_top_k_layers=2",
                *TINY_NETWORK,
                *options,
            )
        )
        checkpoint = f"model.model_path={pretrained / 'checkpoint_last.pt'}"
        tuned = assert_ok(
            train(
                "finetuning", save_dir / "tuned", f"task.data={data}", checkpoint, "model.num_classes=2",
                "task.multi_label=false", "checkpoint.best_checkpoint_metric=accuracy", *options,
            )
        )  # fmt: skip
        losses = [line["train_loss"] for line in log_lines(process.stdout + process.stderr, "train")]
        evaluated = [line["eval_accuracy"] for line in log_lines(tuned.stdout + tuned.stderr, "eval")]
        assert losses and evaluated
        found.append(
            (losses, [line["train_loss"] for line in log_lines(tuned.stdout + tuned.stderr, "train")], evaluated)
        )
    assert found[0] == found[1]
