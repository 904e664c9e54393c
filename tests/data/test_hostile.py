"""Data sets from strangers: no code of theirs runs, and no file of the machine but theirs is read for them."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import tarfile
import zipfile
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import soundfile

from ASDA.audio.errors import AudioError
from ASDA.cli.manifest import main as manifest
from ASDA.data.containers import ClipReader
from ASDA.data.corpora.openmic import _read_labels
from ASDA.data.labels import LabelError, LabelTable
from ASDA.data.manifest import Manifest, ManifestError
from ASDA.data.preparation.finding import find_clips
from ASDA.launch.ablation.grid_file import GridError, read_grid_file
from ASDA.training.run_record import RecordError, read_record
from tests.hostile import SECRET, Code, bounded

RATE_HZ = 16_000
SOUND = 0.1 * np.random.default_rng(0).standard_normal(4_000).astype(np.float32)


def reason(path: str) -> str:
    """Why a clip is refused, when it is decoded and when only its length is asked for."""
    with bounded(), pytest.raises(AudioError) as caught:
        ClipReader(RATE_HZ).load(path)
    with bounded(), pytest.raises(AudioError):
        ClipReader(RATE_HZ).probe(path)
    line = str(caught.value)
    assert "\n" not in line and SECRET not in line
    return line


# -- h5: what a file names


@pytest.fixture
def theirs(tmp_path):
    """A data set's folder, and outside of it somebody's sound and somebody's words."""
    folder, elsewhere = tmp_path / "set", tmp_path / "elsewhere"
    folder.mkdir(), elsewhere.mkdir()
    for place in (elsewhere, folder):
        with h5py.File(place / "sound.h5", "w") as file:
            file["clip"] = SOUND
            file["lengths"] = np.array([100, 200])
    (elsewhere / "words").write_bytes(SECRET.encode() * 500)
    os.chdir(folder)
    return SimpleNamespace(folder=folder, elsewhere=elsewhere, file=folder / "set.h5")


@pytest.fixture(autouse=True)
def _back_home():
    here = os.getcwd()
    yield
    os.chdir(here)


def linked(name):
    def make(file, theirs):
        file["clip"] = h5py.ExternalLink(name.format(elsewhere=theirs.elsewhere, folder=theirs.folder), "/clip")

    return make


def soft_link_to_a_link(file, theirs):
    file["more/away"] = h5py.ExternalLink(str(theirs.elsewhere / "sound.h5"), "/")
    file["clip"] = h5py.SoftLink("/more/away/clip")


def link_by_a_file_beside_it(file, theirs):
    with h5py.File(theirs.folder / "beside.h5", "w") as other:
        other["clip"] = h5py.ExternalLink("../elsewhere/sound.h5", "/clip")
    file["clip"] = h5py.ExternalLink("beside.h5", "/clip")


def samples_stored_in(name):
    def make(file, theirs):
        stored = [(name.format(elsewhere=theirs.elsewhere), 0, 8_000)]
        file.create_dataset("clip", (4_000,), np.int16, external=stored)

    return make


def view_of(name):
    def make(file, theirs):
        layout = h5py.VirtualLayout((4_000,), np.float32)
        layout[:] = h5py.VirtualSource(name.format(elsewhere=theirs.elsewhere), "clip", (4_000,))
        file.create_virtual_dataset("clip", layout)

    return make


def view_of_a_view(file, theirs):
    with h5py.File(theirs.folder / "beside.h5", "w") as other:
        samples_stored_in("{elsewhere}/words")(other, theirs)
    layout = h5py.VirtualLayout((4_000,), np.int16)
    layout[:] = h5py.VirtualSource("beside.h5", "clip", (4_000,))
    file.create_virtual_dataset("clip", layout)


AWAY = {
    "a link up": linked("../elsewhere/sound.h5"), "a link": linked("{elsewhere}/sound.h5"),
    "a link through the folder": linked("{folder}/../elsewhere/sound.h5"), "a soft link to a link": soft_link_to_a_link,
    "a link beside, and away": link_by_a_file_beside_it, "samples": samples_stored_in("{elsewhere}/words"),
    "samples up": samples_stored_in("../elsewhere/words"), "a view": view_of("{elsewhere}/sound.h5"),
    "a view up": view_of("../elsewhere/sound.h5"), "a view of samples": view_of_a_view,
}  # fmt: skip


@pytest.mark.parametrize("name", AWAY)
def test_h5__what_lies_outside_the_files_folder_is_not_read(theirs, name):
    with h5py.File(theirs.file, "w") as file:
        AWAY[name](file, theirs)
    assert "not in the folder of the file" in reason(f"{theirs.file}/clip")
    found = find_clips(theirs.folder)
    assert not [clip for clip in found if "set.h5" in clip.row]


BESIDE = {
    "a link": linked("sound.h5"), "a link by its path": linked("{folder}/sound.h5"), "a view": view_of("sound.h5"),
}  # fmt: skip


@pytest.mark.parametrize("name", BESIDE)
def test_h5__what_lies_beside_it_is(theirs, name, monkeypatch, tmp_path):
    with h5py.File(theirs.file, "w") as file:
        BESIDE[name](file, theirs)
    monkeypatch.chdir(tmp_path)
    found = ClipReader(RATE_HZ, h5_sample_rate_hz=RATE_HZ).load(f"{theirs.file}/clip")
    np.testing.assert_allclose(found.numpy(), SOUND, atol=1e-6)


def test_h5__links_in_a_circle_and_lengths_from_elsewhere(theirs):
    with h5py.File(theirs.file, "w") as file:
        file["a"], file["b"] = h5py.SoftLink("/b"), h5py.SoftLink("/a")
        file["waveform"] = np.tile(SOUND, (2, 1))
        file["lengths"] = h5py.ExternalLink("../elsewhere/sound.h5", "/lengths")
    assert "circle" in reason(f"{theirs.file}/a")
    with pytest.raises(AudioError):  # by the lengths of another file it would be a table, with a clip in each row
        ClipReader(RATE_HZ).load(f"{theirs.file}/waveform[0]")


# -- npz: pickles


def openmic_file(folder, keys: bytes, likelihoods: bytes | None = None, compression=zipfile.ZIP_STORED):
    file = folder / "openmic-2018.npz"
    with zipfile.ZipFile(file, "w", compression) as archive:
        archive.writestr("sample_key.npy", keys)
        for name in ("Y_true", "Y_mask"):
            archive.writestr(f"{name}.npy", likelihoods or npy(np.zeros((2, 20))))
    return file


def npy(array) -> bytes:
    content = io.BytesIO()
    np.save(content, array)
    return content.getvalue()


def npy_of(pickled: bytes, shape="(2,)", descr="'|O'") -> bytes:
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (63 - (len(header) + 10) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + pickled


class Addresses:
    """An array of objects whose type says that it has none: NumPy would take the bytes for addresses of objects."""

    def __reduce__(self):
        make, arguments, _ = np.empty(0, dtype=object).__reduce__()
        return make, arguments, (1, (2,), PlainObjects(), False, b"\x41" * 16)


class PlainObjects:
    def __reduce__(self):
        return np.dtype, ("O8", False, True), (3, "|", None, None, None, -1, -1, 0)


class Made:
    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_openmic__keys_are_read_from_a_pickle_of_any_protocol_and_nothing_else_is(tmp_path, protocol):
    good = np.array(["a", "b"], dtype=object)
    file = openmic_file(tmp_path, npy_of(pickle.dumps(good, protocol)))
    assert _read_labels(file, 20)[0] == ["a", "b"]
    hostile = [
        np.array(["a", Code(tmp_path / "marker")], dtype=object), Code(tmp_path / "marker"), ["a", "b"], Addresses(),
        np.array([["a"], ["b"]], dtype=object)[:, :0], np.array(["a", 3], dtype=object), {"values": ["a", "b"]},
        Made(np.ndarray, ((10**12,), np.dtype("u1"))), Made(eval, ("1",)), Made(getattr, (good, "tofile")),
    ]  # fmt: skip
    for number, value in enumerate(hostile):
        file = openmic_file(tmp_path, npy_of(pickle.dumps(value, protocol)))
        with bounded(), pytest.raises(ManifestError, match="openmic-2018.npz") as caught:
            _read_labels(file, 20)
        assert "\n" not in str(caught.value), number
    assert not (tmp_path / "marker").exists()


LYING_ARRAYS = {
    "a pickle": npy_of(pickle.dumps(np.array([3], dtype=object))),
    "10**12 numbers": npy_of(b"", "(1000000000000, 20)", "'<f8'"),
    "2**70 numbers": npy_of(b"", f"({2**70},)", "'<f8'"),
    "a negative shape": npy_of(b"", "(-1, 20)", "'<f8'"),
    "code for a header": npy_of(b"", "__import__('os').getcwd()", "'<f8'"),
    "a deep header": npy_of(b"", "(" * 5_000, "'<f8'"),
    "no array": b"no array",
}


@pytest.mark.parametrize("name", LYING_ARRAYS)
def test_openmic__arrays_that_lie_are_refused(tmp_path, name):
    keys = npy(np.array(["a", "b"]))
    for file in (openmic_file(tmp_path, keys, LYING_ARRAYS[name]), openmic_file(tmp_path, LYING_ARRAYS[name])):
        with bounded(), pytest.raises(ManifestError, match="openmic-2018.npz"):
            _read_labels(file, 20)


def test_openmic__keys_that_unpack_to_more_than_keys_are(tmp_path):
    file = openmic_file(tmp_path, npy_of(bytes(10**8)), compression=zipfile.ZIP_DEFLATED)
    with bounded(), pytest.raises(ManifestError, match="sample_key has more than"):
        _read_labels(file, 20)


# -- tar


def wav() -> bytes:
    content = io.BytesIO()
    soundfile.write(content, SOUND, RATE_HZ, format="WAV")
    return content.getvalue()


@pytest.fixture
def tar(tmp_path):
    """A tar with a good clip among members that lead elsewhere."""
    (tmp_path / "set").mkdir()
    (tmp_path / "secret.wav").write_bytes(wav())
    file = tmp_path / "set" / "shard.tar"
    with tarfile.open(file, "w") as archive:
        for name in ("good.wav", "../../up.wav", "/absolute.wav", "a/../../../b.wav"):
            info = tarfile.TarInfo(name)
            info.size = len(wav())
            archive.addfile(info, io.BytesIO(wav()))
        for name, kind, target in (
            ("link.wav", tarfile.SYMTYPE, "../secret.wav"), ("far.wav", tarfile.SYMTYPE, "/etc/passwd"),
            ("hard.wav", tarfile.LNKTYPE, "../secret.wav"), ("device.wav", tarfile.CHRTYPE, ""),
            ("pipe.wav", tarfile.FIFOTYPE, ""), ("block.wav", tarfile.BLKTYPE, ""),
            ("circle.wav", tarfile.SYMTYPE, "circle.wav"),
        ):  # fmt: skip
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.devmajor, info.devminor = kind, target, 1, 5  # /dev/zero
            archive.addfile(info)
    return file


@pytest.mark.parametrize(
    "name", ["link.wav", "far.wav", "hard.wav", "device.wav", "pipe.wav", "block.wav", "circle.wav"]
)
def test_tar__links_and_devices_lead_nowhere(tar, name):
    assert "shard.tar" in reason(f"{tar}/{name}")


@pytest.mark.parametrize("kind", ["folder", "webdataset"])
def test_manifest__of_a_tar_writes_in_its_folder_alone(tar, tmp_path, kind, capsys):
    before = {path for path in tmp_path.rglob("*")}
    with bounded():
        code = manifest([kind, str(tar.parent), "--out", str(tmp_path / "out")])
    said = capsys.readouterr()
    assert code in (0, 2), said.err
    assert "Traceback" not in said.err
    new = {path for path in tmp_path.rglob("*")} - before
    assert all(tmp_path / "out" in (path, *path.parents) or path.name == "shard.tar.index.npy" for path in new)
    rows = Manifest.read(tmp_path / "out" / "train.tsv")
    reader = ClipReader(RATE_HZ)
    for row in range(len(rows)):
        assert len(reader.load(rows.path(row))) == len(SOUND)


def test_tar__an_index_beside_it_that_lies_is_not_believed(tar, tmp_path):
    """An index may come with the tar: what it says of sizes is held against the tar before anything is read."""
    manifest(["folder", str(tar.parent), "--out", str(tmp_path / "out")])
    index = tar.with_name("shard.tar.index.npy")
    entries = np.load(index)
    for field, value in (("size", 2**62), ("offset", 2**62), ("size", 2**40), ("offset", 0)):
        lying = entries.copy()
        lying[field][1:] = value
        np.save(index, lying)
        with bounded():
            try:
                assert len(ClipReader(RATE_HZ).load(f"{tar}/good.wav")) == len(SOUND)
            except AudioError as error:
                assert "\n" not in str(error)
    np.save(index, np.array([Code(tmp_path / "marker")], dtype=object), allow_pickle=True)
    assert len(ClipReader(RATE_HZ).load(f"{tar}/good.wav")) == len(SOUND)
    assert not (tmp_path / "marker").exists()


# -- files named by rows


@pytest.mark.parametrize(
    "row", ["/dev/zero", "/dev/stdin", "{tmp}/pipe.wav", "{tmp}", "../" * 40 + "etc/passwd", "a\0b.wav"]
)
def test_manifest__rows_that_are_no_clips_are_not_waited_for(tmp_path, row):
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "train.tsv").write_text(f"{tmp_path}\n{row.format(tmp=tmp_path)}\t16000\n")
    reason(Manifest.read(tmp_path / "train.tsv").path(0))


# -- tables, yaml


def test_label_table__odd_csv_files_are_one_line(tmp_path):
    file = tmp_path / "label_descriptors.csv"
    for content in (
        b"0,/m/0,a\0b\n1,/m/1,c\n",
        b'0,/m/0,"' + b"x" * 200_000,
        b"0,/m/0\xff,a\n",
        b"\0" * 100,
        b"0" * 300_000,
    ):
        file.write_bytes(content)
        with bounded():
            try:
                LabelTable.read(file)
            except (LabelError, ManifestError) as error:
                assert str(file) in str(error) and "\n" not in str(error) and len(str(error)) < 2_000


def test_manifest__labels_in_odd_csv_files_are_one_line(tmp_path, capsys):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "a.wav").write_bytes(wav())
    labels = tmp_path / "labels.csv"
    for content in (
        b'file,label\na.wav,"' + b"x" * 200_000,
        b"file,label\na.wav,\0\n",
        b"\xff\xfe",
        b"file,label\n" * 2,
    ):
        labels.write_bytes(content)
        with bounded():
            code = manifest(["folder", str(tmp_path / "set"), "--labels", str(labels), "--out", str(tmp_path / "out")])
        said = capsys.readouterr().err
        assert code in (0, 2) or len(said.strip().splitlines()) == 1, (content[:20], said)


HOSTILE_YAML = {
    "code": "!!python/object/apply:pathlib.Path.touch [{marker}]\n",
    "code in a key": "settings: !!python/object/new:os.system ['touch {marker}']\n",
    "a module": "seeds: !!python/module:ASDA.absent\n",
    "laughs": "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{after}: &{after} [*{name}, *{name}, *{name}, *{name}, *{name}, *{name}, *{name}, *{name}]\n"
        for name, after in zip("abcdefghijklmno", "bcdefghijklmnop", strict=True)
    ) + "seeds: *p\n",
    "without end": "[" * 600,
    "a list for a key": "? [a, b]\n: 1\n",
    "nul": "seeds: \0\n",
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE_YAML)
def test_yaml__grids_and_records_of_runs_run_nothing(tmp_path, name):
    text = HOSTILE_YAML[name].replace("{marker}", str(tmp_path / "marker"))
    (tmp_path / "grid.yaml").write_text(text)
    (tmp_path / "run.yaml").write_text(text)
    with bounded():
        try:
            read_grid_file(tmp_path / "grid.yaml")
        except GridError as error:
            assert "\n" not in str(error) and len(str(error)) < 2_000
    for file in ("run_config.yaml", "config.yaml", "run.yaml"):
        (tmp_path / file).write_text(text)
    with bounded():
        try:
            read_record(tmp_path)
        except RecordError as error:
            assert "\n" not in str(error) and len(str(error)) < 2_000
    assert not (tmp_path / "marker").exists()


# -- parquet


def test_parquet__a_schema_that_lies(tmp_path, capsys):
    pa = pytest.importorskip("pyarrow", reason="the extra parquet")
    from pyarrow import parquet

    file = tmp_path / "set" / "train.parquet"
    file.parent.mkdir()
    (tmp_path / "secret.wav").write_bytes(wav())
    clips = [{"bytes": None, "path": "../secret.wav"}, {"bytes": None, "path": str(tmp_path / "secret.wav")}]
    lies = [
        ({"audio": [1, 2]}, {"audio": {"_type": "Audio"}}),
        ({"audio": clips}, {"audio": {"_type": "Audio"}}),
        (
            {"audio": [{"bytes": b"x", "path": "../../x"}], "label": [0]},
            {"label": {"names": {"a": 1}, "_type": "ClassLabel"}},
        ),
        (
            {"audio": [{"bytes": wav(), "path": "../../x"}], "label": [10**9]},
            {"label": {"names": ["a"], "_type": "ClassLabel"}},
        ),
        ({"audio": [{"bytes": wav(), "path": None}], "label": [0]}, {"label": {"feature": [[[[[]]]]]}}),
        ({"audio": [{"bytes": wav(), "path": None}], "label": ["../../x"]}, "[" * 100_000),
    ]
    for columns, features in lies:
        text = features if isinstance(features, str) else json.dumps({"info": {"features": features}})
        table = pa.table(columns)
        parquet.write_table(table.replace_schema_metadata({"huggingface": text}), file)
        for flags in ([], ["--labels", "label"]):
            with bounded():
                code = manifest(["parquet", str(file.parent), "--out", str(tmp_path / "out"), *flags])
            said = capsys.readouterr().err
            assert code in (0, 1, 2) and "Traceback" not in said, said
            if code == 1:
                assert len(said.strip().splitlines()) == 1, said
        for row in range(len(table)):
            with bounded():
                try:
                    ClipReader(RATE_HZ).load(f"{file}/audio[{row}]")
                except AudioError as error:
                    assert "\n" not in str(error)
                else:
                    assert columns["audio"][row]["bytes"] == wav()  # never what a path names
    assert {path.name for path in tmp_path.iterdir()} <= {"set", "out", "secret.wav"}
