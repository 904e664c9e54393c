"""Clips in Parquet files: which columns are audio, and what is said of rows and files that are none."""

import json
import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from ASDA.audio.errors import AudioError
from ASDA.data.containers import ClipReader
from ASDA.data.dataset import SpectrogramDataset
from ASDA.data.manifest import Manifest, write_manifest
from ASDA.data.parquet_layout import MissingPyarrowError, ParquetError, ParquetLayout, _features
from ASDA.data.preparation.finding import find_clips
from tests.data.generated_corpora import (
    FRONT_END,
    NEEDS_PYARROW,
    RATE_HZ,
    audio_cells,
    put_into,
    sound,
    write_parquet,
)

pytestmark = NEEDS_PYARROW
PCM = np.round(sound() * 32767).astype(np.int16)


@pytest.fixture
def wavs(write_audio):
    return [write_audio(f"{i}.wav", sound(0.3 + 0.1 * i, seed=i)) for i in range(4)]


def test_reader__rows_that_are_no_clip_name_row_and_reason(tmp_path, wavs):
    cells = audio_cells(wavs)
    cells[1] = {"bytes": None, "path": "x/a.wav"}
    cells[2] = None
    cells[3] = {"bytes": b"no sound", "path": "b.wav"}
    path = write_parquet(tmp_path / "s.parquet", {"audio": cells, "label": [0, 1, 2, 3]})
    reader = ClipReader()
    cases = {
        "audio[1]": "row 1 has the path 'x/a.wav' alone, expected the bytes of a clip in 'audio.bytes'",
        "audio[2]": "row 2 has neither bytes nor a path, expected the bytes of a clip in 'audio.bytes'",
        "audio[3]": "not readable as audio",
        "audio[4]": "column 'audio' has 4 rows, there is no row 4",
        "audio": "a Parquet file has a clip in each row: expected a column and a row, as in audio\\[0\\]",
        "sound[0]": "no column 'sound', the columns are audio, label",
        "label[0]": "column 'label' is no audio: .* its type is int64",
    }
    for key, reason in cases.items():
        for read in (reader.load, reader.probe):
            with pytest.raises(AudioError, match=reason) as caught:
                read(f"{path}/{key}")
            assert caught.value.path == f"{path}/{key}"
    assert reader.load(f"{path}/audio[0]").numel() == round(0.3 * RATE_HZ)


def test_reader__files_that_are_not_all_of_one_say_what_was_expected(tmp_path, wavs):
    path = write_parquet(tmp_path / "s.parquet", {"audio": audio_cells(wavs)})
    whole = path.read_bytes()
    cases = {
        whole[:-10]: r"truncated: expected b'PAR1' at its end, found b'.*' behind \d+ bytes",
        b"": "the file has 0 bytes",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n": "a Git LFS pointer",
        b"RIFF" + bytes(40): "not a Parquet file: expected it to begin with b'PAR1'",
        whole[:-8] + (10**9).to_bytes(4, "little") + b"PAR1": "its footer should have 1000000000 bytes, the file has",
        whole[:100] + whole[-8:]: "damaged: its footer",
    }
    for content, reason in cases.items():
        path.write_bytes(content)
        with pytest.raises(AudioError, match=f"the container cannot be opened .*{reason}"):
            ClipReader().load(f"{path}/audio[0]")


def test_reader__a_file_that_was_replaced_is_read_anew(tmp_path, wavs, monkeypatch):
    monkeypatch.setattr("ASDA.data.containers.MAX_OPEN_CONTAINERS", 1)
    first = write_parquet(tmp_path / "a.parquet", {"audio": audio_cells(wavs[:1])})
    other = write_parquet(tmp_path / "b.parquet", {"audio": audio_cells(wavs[1:2])})
    reader = ClipReader()
    assert reader.load(f"{first}/audio[0]").numel() == round(0.3 * RATE_HZ)
    reader.load(f"{other}/audio[0]")  # closes the first
    write_parquet(tmp_path / "new", {"audio": audio_cells(wavs[2:])})
    os.replace(tmp_path / "new", first)
    assert reader.load(f"{first}/audio[0]").numel() == round(0.5 * RATE_HZ)


def test_layout__which_columns_are_audio(tmp_path, wavs):
    cells, data = audio_cells(wavs), [wav.read_bytes() for wav in wavs]
    features = {"sound": {"_type": "Audio"}, "picture": {"_type": "Image"}, "x": {"_type": "Value", "dtype": "binary"}}
    cases = [
        ({"audio": cells, "label": [1] * 4}, None, ["audio"]),
        ({"picture": cells, "sound": cells, "x": data}, features, ["sound"]),
        ({"left": cells, "right": cells}, None, ["left", "right"]),
        ({"wav": data, "thumbnail": data}, None, ["wav"]),
        ({"text": ["a"] * 4}, None, []),
    ]
    for columns, said, expected in cases:
        layout = ParquetLayout.open(write_parquet(tmp_path / "s.parquet", columns, said))
        assert layout.audio_columns() == expected
        if len(expected) == 1:
            assert layout.audio_column().name == expected[0]
        else:
            with pytest.raises(ParquetError, match="choose one|no column of audio: expected .* text \\(string\\)"):
                layout.audio_column()
    path = write_parquet(tmp_path / "s.parquet", {"left": cells, "audio": cells})
    assert ParquetLayout.open(path).audio_column().name == "audio"


def test_layout__class_names_of_numbers_and_lists(tmp_path):
    names = {"names": ["a", "b"], "_type": "ClassLabel"}
    features = {"one": names, "new": {"feature": names, "_type": "List"}, "old": [names], "text": {"dtype": "string"}}
    columns = {"one": [0], "new": [[0]], "old": [[0]], "text": ["a"]}
    layout = ParquetLayout.open(write_parquet(tmp_path / "s.parquet", columns, features))
    assert [layout.class_names(name) for name in ("one", "new", "old", "text", "none")] == [["a", "b"]] * 3 + [None] * 2
    for said in ("{", "[]", json.dumps({"info": None}), json.dumps({"info": {"features": [1]}})):
        assert _features({b"huggingface": said.encode()}) == {}


def test_reader__without_pyarrow_the_run_ends_with_what_to_install(tmp_path, wavs, monkeypatch):
    path = write_parquet(tmp_path / "s.parquet", {"audio": audio_cells(wavs)})
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingPyarrowError, match=r"pip install 'asda\[parquet\]'"):
        ClipReader().load(f"{path}/audio[0]")
    problems = []
    assert len(find_clips(tmp_path, problems)) == len(wavs)  # of files beside it
    assert [(problem.kind, problem.clip) for problem in problems] == [("no clip", "s.parquet")]


def test_find_clips__lists_rows_by_the_names_that_the_file_gives(tmp_path, wavs):
    root = tmp_path / "root"
    root.mkdir()
    write_parquet(root / "s.parquet", {"audio": audio_cells(wavs)})
    write_parquet(root / "t.parquet", {"audio": [{**cell, "path": None} for cell in audio_cells(wavs[:2])]})
    write_parquet(root / "u.parquet", {"text": ["a"]})
    problems = []
    found = find_clips(root, problems)
    assert [(clip.row, clip.name) for clip in found] == [
        *((f"s.parquet/audio[{i}]", f"s.parquet/{i}.wav") for i in range(4)),
        *((f"t.parquet/audio[{i}]", f"t.parquet/audio[{i}]") for i in range(2)),
    ]
    assert [(problem.kind, problem.clip) for problem in problems] == [("no clip", "u.parquet")]
    (root / "t.parquet").write_bytes(b"PAR1 cut short")
    with pytest.raises(ValueError, match=r"t\.parquet: the container cannot be opened \(truncated"):
        find_clips(root)


WORKERS = [
    *((kind, "fork") for kind in ("tar", "zip", "h5", "parquet")),
    *(pytest.param(kind, "spawn", marks=[pytest.mark.slow, pytest.mark.long]) for kind in ("tar", "parquet")),
]


@pytest.mark.parametrize(("kind", "context"), WORKERS)
def test_dataset__several_workers_read_what_one_reads_from_files(tmp_path, write_audio, kind, context):
    files = [write_audio(f"{i}.flac", sound(0.3, seed=i)) for i in range(9)]
    paths = put_into(kind, tmp_path, files)
    lists = {"files": [file.name for file in files], "shard": [os.path.relpath(path, tmp_path) for path in paths]}
    batches = {}
    for name, rows in lists.items():
        write_manifest(tmp_path / f"{name}.tsv", tmp_path, ((row, 4800) for row in rows))
        dataset = SpectrogramDataset(Manifest.read(tmp_path / f"{name}.tsv"), FRONT_END)
        dataset[0]  # the parent has the container open
        workers = {} if name == "files" else {"num_workers": 2, "multiprocessing_context": context}
        loader = DataLoader(
            dataset, batch_size=2, collate_fn=dataset.collater, sampler=dataset.ordered_indices(), **workers
        )
        batches[name] = list(loader)
    for got, expected in zip(batches["shard"], batches["files"], strict=True):
        assert torch.equal(got["id"], expected["id"])
        assert torch.equal(got["net_input"]["source"], expected["net_input"]["source"])


def test_dataset__an_unreadable_row_is_replaced_and_counted(tmp_path, wavs):
    cells = [*audio_cells(wavs), {"bytes": None, "path": "gone.wav"}, {"bytes": b"RIFF no", "path": "bad.wav"}]
    write_parquet(tmp_path / "s.parquet", {"audio": cells})
    write_manifest(tmp_path / "train.tsv", tmp_path, ((f"s.parquet/audio[{i}]", 4800) for i in range(len(cells))))
    dataset = SpectrogramDataset(Manifest.read(tmp_path / "train.tsv"), FRONT_END, max_bad_fraction=0.5)
    batch = dataset.collater([dataset[i] for i in range(len(cells))])
    assert batch["num_unreadable"] == 2 and dataset.bad_clips.indices() == [4, 5]
    assert batch["net_input"]["source"].shape[0] == len(cells)


def test_docs__what_writes_a_file_without_compression(tmp_path, wavs, monkeypatch):
    text = (Path(__file__).resolve().parents[2] / "docs" / "own_data.md").read_text()
    code = next(block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "parquet" in block)
    monkeypatch.chdir(tmp_path)
    features = {"audio": {"_type": "Audio"}, "label": {"_type": "ClassLabel", "names": ["a", "b"]}}
    write_parquet(tmp_path / "old.parquet", {"audio": audio_cells(wavs), "label": [0, 1, 1, 0]}, features)
    exec(code, {})
    old, new = (ParquetLayout.open(tmp_path / f"{name}.parquet") for name in ("old", "new"))
    assert {chunk.codec for chunk in old.audio_column().chunks} == {"snappy"}
    assert {chunk.codec for chunk in new.audio_column().chunks} == {None}
    assert new.class_names("label") == ["a", "b"] and new.num_rows == len(wavs)
    reader = ClipReader()
    for row in range(len(wavs)):
        key = f"audio[{row}]"
        assert torch.equal(reader.load(f"{tmp_path}/new.parquet/{key}"), reader.load(f"{tmp_path}/old.parquet/{key}"))
