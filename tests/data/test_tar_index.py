import logging
import os
import tarfile

import numpy as np
import pytest
import torch

from ASDA.audio.io import AudioError
from ASDA.data import tar_index
from ASDA.data.containers import ClipReader
from ASDA.data.preparation.finding import find_clips
from ASDA.data.tar_index import TarIndex, scan_members
from tests.data.generated_corpora import write_tar

NAMES = [f"{i}.wav" for i in range(20)]


@pytest.fixture
def tar(tmp_path, write_audio):
    """A tar of clips whose samples are all equal to their number."""
    return write_tar(tmp_path / "s.tar", [write_audio(f"clips/{name}", constant(name)) for name in NAMES])


def constant(name: str) -> np.ndarray:
    return np.full(400, int(name.split(".")[0]) + 1, dtype=np.int16)


def loaded(tar, name: str) -> list[float]:
    return sorted(set((ClipReader().load(f"{tar}/{name}") * 32768).tolist()))


def test_index__finds_every_member(tar):
    content = scan_members(str(tar))
    index = TarIndex.of_members(str(tar), content)
    assert len(index) == len(NAMES) and content.problem == ""
    for member in content.members:
        assert index.locate(member.name)[:2] == (member.offset, member.size)
    for name in ("", "absent.wav", "clips", "0.wa"):
        with pytest.raises(KeyError):
            index.locate(name)


def test_index__of_an_empty_tar(tmp_path):
    tarfile.open(tmp_path / "e.tar", "w").close()
    with pytest.raises(KeyError):
        TarIndex.open(str(tmp_path / "e.tar")).locate("a.wav")


def test_index__last_of_equal_names_counts(tar, write_audio):
    with tarfile.open(tar, "a") as archive:
        archive.add(write_audio("new.wav", np.full(400, 77, dtype=np.int16)), arcname="3.wav")
    assert loaded(tar, "3.wav") == [77.0]


def test_index__written_by_the_preparation_spares_the_scan(tar, monkeypatch):
    find_clips(tar.parent)
    assert (tar.parent / "s.tar.index.npy").stat().st_size < 32 * (len(NAMES) + 1) + 256
    monkeypatch.setattr(tar_index, "scan_members", lambda file: pytest.fail(f"{file} was scanned"))
    for name in reversed(NAMES):
        assert loaded(tar, name) == [float(constant(name)[0])]


def test_index__of_a_tar_that_has_changed_is_not_used(tar, caplog, write_audio):
    find_clips(tar.parent)
    write_tar(tar, [write_audio(f"clips/{name}", constant(name)) for name in NAMES[::-1][:5]])
    with caplog.at_level(logging.WARNING):
        assert loaded(tar, "19.wav") == [20.0]
    assert "it belongs to another s.tar" in caplog.text


def test_index__of_a_tar_of_the_same_size_is_found_out(tar, write_audio):
    """Other places, other names or other sizes of the members, in a tar of the same size and age: the right samples."""
    find_clips(tar.parent)
    times = tar.stat().st_atime_ns, tar.stat().st_mtime_ns
    others = {
        "19.wav": [(name, constant(name)) for name in NAMES[::-1]],
        "new.wav": [(name, constant(name)) for name in NAMES[:-1]] + [("new.wav", np.full(400, 20, np.int16))],
        "1.wav": [("0.wav", constant("0.wav")[:300]), ("1.wav", np.full(500, 20, np.int16))]
        + [(name, constant(name)) for name in NAMES[2:]],
    }
    size = tar.stat().st_size
    for name, members in others.items():
        write_tar(tar, [write_audio(f"clips/{member}", samples) for member, samples in members])
        os.utime(tar, ns=times)
        assert tar.stat().st_size == size
        assert loaded(tar, name) == [20.0]
        assert ClipReader().load(f"{tar}/{name}").numel() == len(dict(members)[name])
        with pytest.raises(AudioError, match=r"the tar holds no member 'absent\.wav'"):
            loaded(tar, "absent.wav")


def test_index__damaged_file_is_not_used(tar, caplog):
    (tar.parent / "s.tar.index.npy").write_bytes(b"no numpy file")
    assert loaded(tar, "7.wav") == [8.0]
    assert "is not used" in caplog.text


def test_preparation__where_no_index_can_be_written(tar, caplog):
    (tar.parent / "s.tar.index.npy").mkdir()
    assert len(find_clips(tar.parent)) == 2 * len(NAMES)  # the files and the members
    assert "no index is written beside it" in caplog.text


def test_reader__keeps_the_index_of_a_tar_that_it_closed(tmp_path, write_audio, monkeypatch):
    monkeypatch.setattr("ASDA.data.containers.MAX_OPEN_CONTAINERS", 1)
    scanned = []
    monkeypatch.setattr(tar_index, "scan_members", lambda file: scanned.append(file) or scan_members(file))
    tars = [write_tar(tmp_path / f"{i}.tar", [write_audio(f"{i}.wav", constant("5.wav"))]) for i in range(3)]
    reader = ClipReader()
    for _ in range(4):
        for i, file in enumerate(tars):
            assert torch.equal(reader.load(f"{file}/{i}.wav") * 32768, torch.full((400,), 6.0))
    assert scanned == [str(file) for file in tars]
