"""Features as rows of Parquet files: what is in them, and what survives an interruption."""

import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from ASDA.inference import parquet_store
from ASDA.inference.clips import Clip
from ASDA.inference.features import ClipFeatures
from ASDA.inference.parquet_store import ParquetFolder
from ASDA.inference.rows import Rows
from ASDA.inference.store import OutputError, UnwritableClipError
from ASDA.inference.windows import BadClip

SETTINGS = {"granularity": "frame", "layers": (1, 2), "half": False}


@pytest.fixture
def clips(tmp_path):
    names = ["a.wav", "sub/b ü.flac", "shard.parquet/audio[3]", b"no-utf-8-\xff.wav".decode("utf-8", "surrogateescape")]
    (tmp_path / "in").mkdir()
    for number in range(len(names)):
        (tmp_path / "in" / f"{number}.wav").write_bytes(b"x" * (number + 1))
    return [Clip(str(tmp_path / "in" / f"{number}.wav"), name) for number, name in enumerate(names)]


def features(number, num_rows=3):
    values = number + torch.arange(4.0 * num_rows).reshape(num_rows, 4) / 7
    return ClipFeatures(values, torch.tensor([[number, number + 1.0]] * num_rows, dtype=torch.float64))


@pytest.fixture
def open_store(tmp_path, clips):
    def open_store(resume=False, settings=SETTINGS):
        return ParquetFolder(tmp_path / "out.parquet", clips, settings, resume)

    return open_store


def table(tmp_path):
    return {row["clip"]: row for row in pq.read_table(tmp_path / "out.parquet").to_pylist()}


def test_parquet_folder__is_one_table_of_plain_lists(tmp_path, clips, open_store):
    with open_store() as store:
        store.write(clips[0], features(0))
        store.write(clips[1], ClipFeatures(torch.ones(5), torch.tensor([0.0, 2.0], dtype=torch.float64)))
        store.left_out([BadClip(2, clips[2], "the file has 0 bytes")])
    found = table(tmp_path)
    row = found["a.wav"]
    assert np.array_equal(np.array(row["features"], "float32").reshape(row["shape"]), features(0).values.numpy())
    assert row["shape"] == [3, 4] and row["start_s"] == [0.0] * 3 and row["end_s"] == [1.0] * 3
    assert row["path"] == clips[0].path and row["source_bytes"] == 1 and row["error"] is None
    assert found["sub/b ü.flac"]["features"] == [1.0] * 5 and found["sub/b ü.flac"]["end_s"] == [2.0]
    bad = found["shard.parquet/audio[3]"]
    assert bad["error"] == "the file has 0 bytes" and bad["features"] is None and bad["shape"] is None
    assert str(pq.read_schema(tmp_path / "out.parquet/features-000001.parquet").field("features").type) == (
        "list<element: float>"
    )
    assert len(found) == 3 and not list((tmp_path / "out.parquet").glob(".*"))


def test_parquet_folder__half_precision_stays_so(tmp_path, clips, open_store):
    with open_store(settings=SETTINGS | {"half": True}) as store:
        store.write(clips[0], features(0).half())
    found = pq.read_table(tmp_path / "out.parquet")["features"]
    assert str(found.type) == "list<element: halffloat>"
    assert np.array_equal(found[0].values.to_numpy(), features(0).values.half().numpy().reshape(-1))


def test_parquet_folder__names_that_are_no_utf_8_are_escaped(tmp_path, clips, open_store):
    with open_store() as store:
        store.write(clips[3], features(3))
    assert list(table(tmp_path)) == ["no-utf-8-\\udcff.wav"]
    assert open_store(resume=True).done(clips[3])


def test_parquet_folder__resuming_keeps_parts_and_tries_bad_clips_again(tmp_path, clips, open_store, monkeypatch):
    monkeypatch.setattr(parquet_store, "CLIPS_PER_PART", 1)
    with open_store() as store:
        store.write(clips[0], features(0))
        store.write(clips[1], features(1))
        store.left_out([BadClip(2, clips[2], "unreadable")])
    before = (tmp_path / "out.parquet/features-000001.parquet").stat().st_mtime_ns
    with open_store(resume=True) as store:
        assert [store.done(clip) for clip in clips] == [True, True, False, False]
        assert sorted(table(tmp_path)) == ["a.wav", "sub/b ü.flac"]  # the error is gone
        store.write(clips[2], features(2))
        store.left_out([])
    assert sorted(table(tmp_path)) == ["a.wav", "shard.parquet/audio[3]", "sub/b ü.flac"]
    assert (tmp_path / "out.parquet/features-000001.parquet").stat().st_mtime_ns == before
    assert len(list((tmp_path / "out.parquet").iterdir())) == 3


def test_parquet_folder__a_clip_that_has_changed_takes_the_place_of_the_earlier(tmp_path, clips, open_store):
    with open_store() as store:
        for number, clip in enumerate(clips[:3]):
            store.write(clip, features(number))
    os.utime(clips[1].path, (5, 5))
    with open_store(resume=True) as store:
        assert [store.done(clip) for clip in clips[:3]] == [True, False, True]
        store.write(clips[1], features(8))
    names = pq.read_table(tmp_path / "out.parquet")["clip"].to_pylist()
    assert len(names) == len(set(names)) == 3
    assert table(tmp_path)["sub/b ü.flac"]["start_s"] == [8.0] * 3
    assert table(tmp_path)["a.wav"]["start_s"] == [0.0] * 3


def test_parquet_folder__a_clip_that_has_changed_and_cannot_be_read_has_its_error_alone(tmp_path, clips, open_store):
    with open_store() as store:
        store.write(clips[0], features(0))
    os.utime(clips[0].path, (5, 5))
    with open_store(resume=True) as store:
        assert not store.done(clips[0])
        store.left_out([BadClip(0, clips[0], "damaged")])
    assert pq.read_table(tmp_path / "out.parquet")["error"].to_pylist() == ["damaged"]


def test_parquet_folder__an_interrupted_run_keeps_what_it_has_and_a_killed_one_its_parts(tmp_path, clips, open_store):
    with pytest.raises(KeyboardInterrupt), open_store() as store:
        store.write(clips[0], features(0))
        raise KeyboardInterrupt
    assert list(table(tmp_path)) == ["a.wav"]
    # What a killed run leaves is a temporary file, which readers pass over and the next run removes.
    (tmp_path / "out.parquet/.features-000002.parquet.asda-0123abcd.part").write_bytes(b"PAR1 half")
    assert list(table(tmp_path)) == ["a.wav"]
    with open_store(resume=True) as store:
        assert store.done(clips[0])
        store.write(clips[1], features(1))
    assert len(table(tmp_path)) == 2


def test_parquet_folder__a_run_that_does_not_resume_replaces_it(tmp_path, clips, open_store):
    with open_store() as store:
        store.write(clips[0], features(0))
        store.left_out([BadClip(2, clips[2], "unreadable")])
    with open_store() as store:
        store.write(clips[1], features(1))
    assert list(table(tmp_path)) == ["sub/b ü.flac"]


def test_parquet_folder__other_settings_are_not_mixed_in(clips, open_store):
    with open_store() as store:
        store.write(clips[0], features(0))
    with pytest.raises(OutputError, match="granularity was frame, now all"):
        open_store(resume=True, settings=SETTINGS | {"granularity": "all"})


@pytest.mark.parametrize("name", ["notes.txt", "data.parquet", "features-000001.parquet"])
def test_parquet_folder__a_folder_of_other_things_is_left_as_it_is(tmp_path, open_store, name):
    (tmp_path / "out.parquet").mkdir()
    pq.write_table(pa.table({"a": [1]}), tmp_path / "out.parquet" / name)
    with pytest.raises(OutputError, match=f"{name}: holds no features"):
        open_store()
    assert (tmp_path / "out.parquet" / name).exists()


def test_parquet_folder__a_file_and_a_damaged_part_are_refused(tmp_path, open_store):
    (tmp_path / "out.parquet").write_text("x")
    with pytest.raises(OutputError, match="expected a folder of Parquet files"):
        open_store()
    (tmp_path / "out.parquet").unlink()
    (tmp_path / "out.parquet").mkdir()
    (tmp_path / "out.parquet/features-000001.parquet").write_bytes(b"PAR1")
    with pytest.raises(OutputError, match="features-000001.parquet: damaged: it cannot be read"):
        open_store(resume=True)


def test_parquet_folder__features_that_do_not_fit_in_memory_are_an_error_of_the_clip(clips, open_store, monkeypatch):
    monkeypatch.setattr("ASDA.inference.rows.IN_MEMORY_BYTES", 0)
    rows = Rows((1, 3, 4), torch.float32)
    rows.put(0, features(0).values[None])
    with open_store() as store, pytest.raises(UnwritableClipError, match="too large for a row"):
        store.write(clips[0], ClipFeatures(rows.values()[0], features(0).times_s, rows))
