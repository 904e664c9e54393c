import multiprocessing
import pickle
import time
import tracemalloc

import pytest

from ASDA.data.manifest import BYTES_PER_ROW, Manifest, ManifestError, clip_id, write_manifest


@pytest.fixture
def write(tmp_path):
    """Writes raw bytes as a manifest; `{root}` stands for an existing folder."""

    def write(text: str | bytes, name: str = "train.tsv"):
        text = text.encode() if isinstance(text, str) else text
        (tmp_path / name).write_bytes(text.replace(b"{root}", str(tmp_path).encode()))
        return tmp_path / name

    return write


def test_manifest__reads_rows_in_order(write, tmp_path):
    manifest = Manifest.read(write("{root}\na b/c.wav\t160000\nd.flac\t7\n"))
    assert len(manifest) == 2
    assert manifest.root == str(tmp_path)
    assert [manifest.relative_path(i) for i in range(2)] == ["a b/c.wav", "d.flac"]
    assert manifest.path(0) == f"{tmp_path}/a b/c.wav"
    assert [manifest.num_samples(i) for i in range(2)] == [160000, 7]
    assert manifest.all_num_samples.tolist() == [160000, 7]
    assert [manifest.line(i) for i in range(2)] == [2, 3]
    assert manifest.where(1) == "train.tsv:3"
    assert manifest.clip_id(0) == "c"


@pytest.mark.parametrize(
    "text",
    [
        "{root}\r\na.wav\t16\r\nb.wav\t32\r\n",
        "\ufeff{root}\na.wav\t16\nb.wav\t32\n",
        "\ufeff{root}\r\na.wav\t16\r\nb.wav\t32\r\n\r\n",
        "{root}\na.wav\t16\nb.wav\t32",
        "{root}\na.wav\t16\nb.wav\t32\n\n\n",
    ],
    ids=["crlf", "bom", "bom+crlf+blank end", "no newline at end", "blank end"],
)
def test_manifest__line_ends_and_byte_order_mark_do_not_matter(write, tmp_path, text):
    manifest = Manifest.read(write(text))
    assert [(manifest.path(i), manifest.num_samples(i)) for i in range(len(manifest))] == [
        (f"{tmp_path}/a.wav", 16),
        (f"{tmp_path}/b.wav", 32),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"train\.tsv: the manifest is empty"),
        ("\n", r"train\.tsv:1: the first line must be the root folder"),
        ("a.wav\t16\nb.wav\t32\n", r"train\.tsv:1: the first line must be the root folder .* 'a\.wav\\t16'"),
        ("path\tframes\na.wav\t16\n", r"train\.tsv:1: the first line must be the root folder"),
        ("/no/such/folder\na.wav\t16\n", r"train\.tsv:1: the root folder /no/such/folder does not exist"),
        ("{root}\n", r"train\.tsv: the manifest lists no clip"),
        ("{root}\na.wav\t16\n\nb.wav\t32\n", r"train\.tsv:3: expected `path<TAB>number of samples`, got ''"),
        ("{root}\na.wav\t16\nb.wav 32\n", r"train\.tsv:3: .* got 'b\.wav 32'"),
        ("{root}\na.wav\t16\nb\tc.wav\t32\n", r"train\.tsv:3: .* got 'b\\tc\.wav\\t32'"),
        ("{root}\na.wav\t16\nb.wav\t3.5\n", r"train\.tsv:3: .* got 'b\.wav\\t3\.5'"),
        ("{root}\na.wav\t16\nb.wav\t-3\n", r"train\.tsv:3: .* got 'b\.wav\\t-3'"),
        ("{root}\na.wav\t16\nb.wav\t\n", r"train\.tsv:3: .* got 'b\.wav\\t'"),
        ("{root}\na.wav\t16\n\t32\n", r"train\.tsv:3: .* got '\\t32'"),
        ("{root}\na.wav\t16\nb.wav\t1234567890123456\n", r"train\.tsv:3: "),
        # Two errors that would cancel in a count over the whole block.
        ("{root}\na.wav\nb\tc.wav\t32\n", r"train\.tsv:2: .* got 'a\.wav'"),
    ],
)
def test_manifest__refuses_malformed_files_by_line(write, text, message):
    with pytest.raises(ManifestError, match=message):
        Manifest.read(write(text))


def test_manifest__names_a_missing_file(tmp_path):
    with pytest.raises(ManifestError, match="absent.tsv: no such manifest"):
        Manifest.read(tmp_path / "absent.tsv")


def test_manifest__relative_root_is_relative_to_the_manifest(write, tmp_path, monkeypatch):
    (tmp_path / "audio").mkdir()
    file = write("audio\na.wav\t16\n")
    monkeypatch.chdir("/")
    assert Manifest.read(file).path(0) == f"{tmp_path}/audio/a.wav"


def test_manifest__absolute_rows_stay_absolute(write):
    assert Manifest.read(write("{root}\n/elsewhere/a.wav\t16\n")).path(0) == "/elsewhere/a.wav"


def test_manifest__index_out_of_range_is_an_index_error(write):
    manifest = Manifest.read(write("{root}\na.wav\t16\n"))
    for index in (1, -1):
        with pytest.raises(IndexError):
            manifest.path(index)


def test_manifest__names_that_are_not_unicode_survive(write):
    manifest = Manifest.read(write(b"{root}\ncaf\xe9.wav\t16\n"))
    assert manifest.path(0).encode(errors="surrogateescape").endswith(b"caf\xe9.wav")


def test_manifest__blocks_join_without_a_seam(write, monkeypatch):
    monkeypatch.setattr("ASDA.data.manifest._BLOCK_BYTES", 11)
    rows = [(f"{'x' * (i % 13)}/{i}.wav", i * i) for i in range(200)]
    manifest = Manifest.read(write("{root}\r\n" + "".join(f"{path}\t{n}\r\n" for path, n in rows)))
    assert [(manifest.relative_path(i), manifest.num_samples(i)) for i in range(len(manifest))] == rows
    with pytest.raises(ManifestError, match=r"train\.tsv:151: .* got 'wrong'"):
        Manifest.read(write("{root}\n" + "".join(f"{p}\t{n}\n" for p, n in rows[:149]) + "wrong\nx.wav\t3\n"))


def test_write_manifest__round_trips(tmp_path):
    rows = [("a b/ü.wav", 3), ("c.flac", 0)]
    assert write_manifest(tmp_path / "new" / "train.tsv", tmp_path, rows) == 2
    manifest = Manifest.read(tmp_path / "new" / "train.tsv")
    assert [(manifest.relative_path(i), manifest.num_samples(i)) for i in range(2)] == rows


@pytest.mark.parametrize("name", ["a\tb.wav", "a\nb.wav", "a\rb.wav"])
def test_write_manifest__refuses_separators_and_leaves_the_old_file(tmp_path, name):
    file = tmp_path / "train.tsv"
    write_manifest(file, tmp_path, [("old.wav", 1)])
    before = file.read_bytes()
    with pytest.raises(ManifestError, match="rename it"):
        write_manifest(file, tmp_path, [("new.wav", 1), (name, 2)])
    assert file.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["train.tsv"]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a/b/Y--x.y.wav", "Y--x.y"),
        ("clip.FLAC", "clip"),
        ("shard.h5/Y123.wav", "Y123"),
        ("shard.h5/Y123", "Y123"),
        ("noise.v2", "noise.v2"),
        ("a/shard.zip:12:345", "shard.zip:12:345"),
    ],
)
def test_clip_id__is_the_name_without_an_audio_ending(path, expected):
    assert clip_id(path) == expected


def test_manifest__pickles_by_reopening(write):
    manifest = Manifest.read(write("{root}\na.wav\t16\nb.wav\t32\n"))
    data = pickle.dumps(manifest)
    assert len(data) < 1000
    assert pickle.loads(data).path(1) == manifest.path(1)


NUM_ROWS = 400_000


@pytest.fixture(scope="module")
def large_manifest(tmp_path_factory):
    folder = tmp_path_factory.mktemp("large")
    with (folder / "train.tsv").open("w") as file:
        file.write(f"{folder}\n")
        file.writelines(f"part_{i % 40:02}/Y{i:011d}.flac\t{160000 + i % 7}\n" for i in range(NUM_ROWS))
    return folder / "train.tsv"


def test_manifest__keeps_the_stated_bytes_per_row(large_manifest):
    tracemalloc.start()  # counts numpy's arrays and Python's objects; the mapped file is not private memory
    manifest = Manifest.read(large_manifest)
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(manifest) == NUM_ROWS
    assert used / NUM_ROWS < BYTES_PER_ROW * 1.01
    assert manifest.relative_path(NUM_ROWS - 1) == f"part_39/Y{NUM_ROWS - 1:011d}.flac"
    assert manifest.num_samples(NUM_ROWS - 1) == 160000 + (NUM_ROWS - 1) % 7


def test_manifest__loads_a_million_rows_in_about_a_second(large_manifest):
    start = time.process_time()
    Manifest.read(large_manifest)
    assert (time.process_time() - start) * 1e6 / NUM_ROWS < 2.0  # about 0.2 s where this was written


def _private_kilobytes(manifest, queue) -> None:
    def private() -> int:
        with open("/proc/self/smaps_rollup") as file:
            return sum(int(line.split()[1]) for line in file if line.startswith("Private_Dirty"))

    before = private()
    total = sum(manifest.num_samples(i) + len(manifest.relative_path(i)) for i in range(len(manifest)))
    queue.put((private() - before, total))


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs fork")
def test_manifest__forked_workers_share_it(large_manifest):
    """A worker that reads every row makes no private copy: a list of strings would dirty all of its pages."""
    manifest = Manifest.read(large_manifest)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    worker = context.Process(target=_private_kilobytes, args=(manifest, queue))
    worker.start()
    grown, total = queue.get(timeout=60)
    worker.join()
    assert total > NUM_ROWS * 160000
    assert grown * 1024 < 0.25 * NUM_ROWS * BYTES_PER_ROW
