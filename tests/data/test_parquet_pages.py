"""Single values out of Parquet files, against pyarrow, for all that a writer may choose."""

import itertools
import os
import random

import numpy as np
import pytest

from ASDA.audio.errors import AudioError
from ASDA.data import parquet_container
from ASDA.data.parquet_container import ParquetContainer
from ASDA.data.parquet_pages import KeptPages, PageError, _run_lengths
from tests.data.generated_corpora import write_parquet

pyarrow = pytest.importorskip("pyarrow", reason="needs pyarrow, of the extra parquet")
NUM_ROWS = 57
CODECS = ("none", "snappy", "gzip", "zstd", "brotli", "lz4")
pread = os.pread
CHUNKING = {"min_chunk_size": 2048, "max_chunk_size": 8192}


def cells(seed=0, nulls=True, alike=False, smallest=0):
    """Clips of some 1000 bytes, some of them null, without bytes or like others."""
    rng = np.random.default_rng(seed)
    sizes = smallest + rng.integers(0, 4000, NUM_ROWS)
    found = [{"bytes": rng.bytes(int(size)), "path": f"{i}"} for i, size in enumerate(sizes)]
    if alike:
        found[20:40] = found[:20]
    if nulls:
        found[5], found[30:33] = None, [{"bytes": None, "path": "x"}] * 3
    return found


def container(path):
    return ParquetContainer(str(path), {}, KeptPages())


def value(container, row):
    try:
        return container._encoded(f"audio[{row}]", "clip").getvalue()
    except AudioError as error:
        assert "expected the bytes of a clip" in error.reason
        return None


def expected(clips):
    return [None if clip is None else clip["bytes"] for clip in clips]


@pytest.fixture
def without_pyarrow(monkeypatch):
    """Refuses the way round by pyarrow, but for names of clips."""

    def refuse(self, group, leaf):
        assert leaf == "audio.path", "read by pyarrow"
        return original(self, group, leaf)

    original = parquet_container.ParquetContainer._row_group
    monkeypatch.setattr(parquet_container.ParquetContainer, "_row_group", refuse)


@pytest.mark.usefixtures("without_pyarrow")
@pytest.mark.parametrize("dictionary", [False, True])
@pytest.mark.parametrize("codec", CODECS)
def test_value__is_what_was_written(tmp_path, codec, dictionary):
    sizes = (
        {},
        {"data_page_size": 1000, "write_batch_size": 3},
        {"dictionary_pagesize_limit": 9000, "write_batch_size": 2},
    )
    for number, (version, options, group, nulls) in enumerate(
        itertools.product(("1.0", "2.0"), sizes, (100, 10), (True, False))
    ):
        clips = cells(number, nulls, alike=dictionary)
        path = write_parquet(
            tmp_path / f"{number}.parquet", {"audio": clips}, compression=codec, use_dictionary=dictionary,
            data_page_version=version, row_group_size=group, **options,
        )  # fmt: skip
        opened = container(path)
        for row in random.Random(number).sample(range(NUM_ROWS), NUM_ROWS):
            assert value(opened, row) == expected(clips)[row], (version, options, group, nulls, row)
        opened.close()


@pytest.mark.usefixtures("without_pyarrow")
@pytest.mark.parametrize("codec", CODECS)
def test_value__of_pages_cut_by_content(tmp_path, codec):
    """As `datasets` writes them now."""
    options = {"use_content_defined_chunking": CHUNKING, "write_page_index": True, "compression": codec}
    try:
        path = write_parquet(tmp_path / "a.parquet", {"audio": cells()}, **options)
    except TypeError:
        pytest.skip(f"pyarrow {pyarrow.__version__} does not cut by content")
    opened = container(path)
    assert [value(opened, row) for row in range(NUM_ROWS)] == expected(cells())


@pytest.mark.parametrize("encoding", ["DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY"])
def test_value__of_other_kinds_of_pages_comes_from_pyarrow(tmp_path, encoding):
    options = {"column_encoding": {"audio.bytes": encoding}, "use_dictionary": False}
    path = write_parquet(tmp_path / "a.parquet", {"audio": cells()}, row_group_size=20, **options)
    opened = container(path)
    rows = random.Random(0).sample(range(NUM_ROWS), NUM_ROWS)
    assert [value(opened, row) for row in rows] == [expected(cells())[row] for row in rows]


@pytest.mark.usefixtures("without_pyarrow")
def test_value__of_columns_of_bytes_and_of_large_files(tmp_path):
    data = [clip["bytes"] for clip in cells(nulls=False)]
    for kind in (pyarrow.binary(), pyarrow.large_binary()):
        path = tmp_path / f"{kind}.parquet"
        pyarrow.parquet.write_table(pyarrow.table({"audio": pyarrow.array(data, kind)}), path)
        opened = container(path)
        assert [value(opened, row) for row in range(NUM_ROWS)] == data
    required = pyarrow.schema([pyarrow.field("audio", pyarrow.binary(), nullable=False)])
    pyarrow.parquet.write_table(pyarrow.table({"audio": data}, schema=required), tmp_path / "required.parquet")
    opened = container(tmp_path / "required.parquet")
    assert [value(opened, row) for row in range(NUM_ROWS)] == data


@pytest.mark.parametrize("dictionary", [False, True])
def test_value__takes_one_read_where_nothing_is_compressed(tmp_path, monkeypatch, dictionary):
    clips = cells(nulls=False)
    path = write_parquet(tmp_path / "a.parquet", {"audio": clips}, compression="none", use_dictionary=dictionary)
    opened = container(path)
    value(opened, 0)  # finds the pages and where their values are
    counted = []
    monkeypatch.setattr(os, "pread", lambda *args: counted.append(args[1]) or pread(*args))
    for row in (40, 3, 17):
        value(opened, row)
    assert counted == [len(clips[row]["bytes"]) for row in (40, 3, 17)]


def test_value__of_a_compressed_page_is_there_for_its_neighbours(tmp_path, monkeypatch):
    clips = cells(nulls=False, smallest=5000)  # none is short enough to stand in the pages' statistics
    path = write_parquet(tmp_path / "a.parquet", {"audio": clips}, use_dictionary=False, row_group_size=20)
    opened = container(path)
    counted = []
    monkeypatch.setattr(os, "pread", lambda *args: counted.append(args[1]) or pread(*args))
    for row in range(NUM_ROWS):
        value(opened, row)
    assert sum(counted) < 1.2 * path.stat().st_size


def test_run_lengths__of_runs_and_packed_groups():
    assert _run_lengths(bytes([5 << 1, 3]), 2, 5).tolist() == [3] * 5
    packed = bytes([1 << 1 | 1, 0b11_10_01_00, 0b00_01_10_11])
    assert _run_lengths(packed, 2, 8).tolist() == [0, 1, 2, 3, 3, 2, 1, 0]
    assert _run_lengths(bytes([2 << 1, 1]) + packed, 2, 9).tolist() == [1, 1, 0, 1, 2, 3, 3, 2, 1]
    assert _run_lengths(b"", 0, 3).tolist() == [0, 0, 0]
    for damaged in (b"", bytes([0, 0]), bytes([3, 1]), b"\xff" * 20):
        with pytest.raises(PageError):
            _run_lengths(damaged, 2, 100)


def test_value__of_damaged_files_is_refused_or_one_of_the_file(tmp_path):
    """Whatever bytes are overwritten: an error of the clip, never another one, and nothing beyond memory."""
    draw = random.Random(0)
    for codec in ("none", "snappy"):
        path = write_parquet(tmp_path / "a.parquet", {"audio": cells()}, compression=codec, row_group_size=20)
        whole = path.read_bytes()
        for number in range(60):
            damaged = bytearray(whole)
            for _ in range(draw.randrange(1, 5)):
                at = draw.randrange(len(whole)) if number % 2 else len(whole) - 1 - draw.randrange(2000)
                damaged[at : at + 4] = draw.randbytes(4)
            path.write_bytes(damaged[: len(whole)])
            try:
                opened = container(path)
            except (ValueError, OSError) as error:
                assert "\n" not in str(error)
                continue
            for row in range(0, NUM_ROWS, 7):
                try:
                    opened._encoded(f"audio[{row}]", "clip")
                except AudioError as error:
                    assert "\n" not in error.reason
            opened.close()
