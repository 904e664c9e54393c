"""Tars as they come: made with a dot, cut, joined, with links, sparse members and equal names."""

import io
import tarfile

import numpy as np
import pytest
import soundfile

from ASDA.audio.io import AudioError
from ASDA.data.containers import ClipReader
from ASDA.data.preparation.finding import find_clips
from ASDA.data.tar_members import scan_members

BLOCK = 512


def wav(value: int, num_samples: int = 400) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.full(num_samples, value, np.int16), 16_000, format="WAV")
    return file.getvalue()


def add(archive: tarfile.TarFile, name: str, content: bytes = b"", **fields) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for field, value in fields.items():
        setattr(info, field, value)
    archive.addfile(info, io.BytesIO(content))


def tar_of(path, members: dict[str, int], **options):
    with tarfile.open(path, "w", **options) as archive:
        for name, value in members.items():
            add(archive, name, wav(value))
    return path


def value(tar, name: str) -> float:
    (found,) = set((ClipReader().load(f"{tar}/{name}") * 32768).tolist())
    return found


def names(tar) -> list[str]:
    return [member.name for member in scan_members(str(tar)).members]


def test_scan_members__names_without_what_tar_puts_before_them(tmp_path):
    tar = tar_of(tmp_path / "s.tar", {"./a.wav": 1, "./cat//b.wav": 2, "cat/../c.wav": 3, "/d.wav": 4})
    assert names(tar) == ["a.wav", "cat/b.wav", "c.wav", "d.wav"]
    for name, expected in (("a.wav", 1), ("./a.wav", 1), ("cat/b.wav", 2), ("./cat//b.wav", 2), ("d.wav", 4)):
        assert value(tar, name) == expected
    assert [clip.row for clip in find_clips(tmp_path)] == [
        f"s.tar/{n}" for n in ("a.wav", "c.wav", "cat/b.wav", "d.wav")
    ]


def test_scan_members__whole_tar_has_no_problem(tmp_path):
    for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        tar = tar_of(tmp_path / "s.tar", {f"{'x' * 150}/{i}.wav": i for i in range(3)}, format=form)
        content = scan_members(str(tar))
        assert content.problem == "" and len(content.members) == 3
        data = tar.read_bytes().rstrip(b"\0")
        tar.write_bytes(data + bytes(-len(data) % BLOCK + BLOCK))  # one block of zeros is enough of an end
        assert scan_members(str(tar)).problem == ""


@pytest.mark.parametrize("kept", [0, 100, BLOCK - 1], ids=["border", "in a header", "before its end"])
def test_scan_members__tar_cut_between_members(tmp_path, caplog, kept):
    tar = tar_of(tmp_path / "s.tar", {f"{i}.wav": i + 1 for i in range(10)}, format=tarfile.USTAR_FORMAT)
    with tarfile.open(tar) as archive:
        border = archive.getmember("5.wav").offset
    tar.write_bytes(tar.read_bytes()[: border + kept])
    content = scan_members(str(tar))
    assert len(content.members) == 5 and "stops behind 5 members" in content.problem
    problems = []
    assert len(find_clips(tmp_path, problems)) == 5
    assert [(problem.kind, problem.clip) for problem in problems] == [("incomplete", "s.tar")]
    assert f"{tar}: stops behind 5 members" in caplog.text
    assert value(tar, "4.wav") == 5
    with pytest.raises(AudioError, match="holds no member '5.wav'"):
        value(tar, "5.wav")


def test_scan_members__tar_cut_in_a_member_or_damaged_in_a_header(tmp_path):
    tar = tar_of(tmp_path / "s.tar", {f"{i}.wav": i for i in range(10)}, format=tarfile.USTAR_FORMAT)
    data = tar.read_bytes()
    with tarfile.open(tar) as archive:
        border = archive.getmember("5.wav").offset
    for damaged, said in (
        (data[: border - 10], "unexpected end|truncated"),
        (data[:border] + b"damaged!" + data[border + 8 :], "no header of a member at byte"),
        (data[: border + BLOCK + 100], "unexpected end|truncated"),
        (b"damaged!" + data[8:], "damaged"),
    ):
        tar.write_bytes(damaged)
        with pytest.raises(tarfile.ReadError, match=said):
            scan_members(str(tar))


def test_scan_members__compressed_tar_is_told(tmp_path):
    tar_of(tmp_path / "s.tar", {"a.wav": 1}).unlink()
    with tarfile.open(tmp_path / "s.tar", "w:gz") as archive:
        add(archive, "a.wav", wav(1))
    with pytest.raises(tarfile.ReadError, match="not a tar: a compressed archive"):
        scan_members(str(tmp_path / "s.tar"))


def test_scan_members__two_tars_joined_are_read_to_the_end(tmp_path):
    first = tar_of(tmp_path / "1.tar", {"a.wav": 1, "b.wav": 2}).read_bytes()
    second = tar_of(tmp_path / "2.tar", {"./c.wav": 3, "d.wav": 4}).read_bytes()
    tar = tmp_path / "s.tar"
    tar.write_bytes(first + second)
    content = scan_members(str(tar))
    assert [member.name for member in content.members] == ["a.wav", "b.wav", "c.wav", "d.wav"]
    assert content.problem == ""
    assert [value(tar, f"{name}.wav") for name in "abcd"] == [1, 2, 3, 4]
    tar.write_bytes(first + second + tar_of(tmp_path / "2.tar", {"a.wav": 5}).read_bytes())
    assert "1 names stand in two" in scan_members(str(tar)).problem
    tar.write_bytes(first + b"no tar" * 200)
    assert "is no tar" in scan_members(str(tar)).problem and names(tar) == ["a.wav", "b.wav"]


def test_scan_members__links_lead_to_their_data(tmp_path):
    tar = tmp_path / "s.tar"
    with tarfile.open(tar, "w") as archive:
        add(archive, "./cat/a.wav", wav(7))
        add(archive, "hard.wav", type=tarfile.LNKTYPE, linkname="./cat/a.wav")
        add(archive, "dog/soft.wav", type=tarfile.SYMTYPE, linkname="../cat/a.wav")
        add(archive, "twice.wav", type=tarfile.SYMTYPE, linkname="dog/soft.wav")
        add(archive, "ahead.wav", type=tarfile.SYMTYPE, linkname="later.wav")
        add(archive, "later.wav", wav(9))
        add(archive, "gone.wav", type=tarfile.SYMTYPE, linkname="/somewhere/else.wav")
        add(archive, "gone2.wav", type=tarfile.LNKTYPE, linkname="not_there.wav")
        add(archive, "round.wav", type=tarfile.SYMTYPE, linkname="round.wav")
        add(archive, "folder", type=tarfile.DIRTYPE)
    problems = []
    rows = [clip.row for clip in find_clips(tmp_path, problems)]
    expected = {"cat/a": 7, "hard": 7, "dog/soft": 7, "twice": 7, "ahead": 9, "later": 9}
    assert rows == sorted(f"s.tar/{name}.wav" for name in expected)
    assert {name: value(tar, f"{name}.wav") for name in expected} == expected
    assert {problem.clip for problem in problems} == {f"s.tar/{name}.wav" for name in ("gone", "gone2", "round")}
    for name in ("gone", "gone2", "round"):
        with pytest.raises(AudioError, match=f"the tar's member '{name}.wav' is a link to .* does not hold"):
            value(tar, f"{name}.wav")


def test_scan_members__sparse_members_are_refused(tmp_path):
    """Their data stands in pieces, which one positioned read would take for the file."""
    tar = tmp_path / "s.tar"
    with tarfile.open(tar, "w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("sparse.wav")
        info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "4096"}
        info.pax_headers["GNU.sparse.name"] = "sparse.wav"
        content = b"1\n0\n512\n".ljust(BLOCK, b"\0") + bytes(BLOCK)
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
        add(archive, "a.wav", wav(3))
    problems = []
    assert [clip.row for clip in find_clips(tmp_path, problems)] == ["s.tar/a.wav"]
    assert "sparse" in problems[0].detail
    with pytest.raises(AudioError, match="a sparse member"):
        value(tar, "sparse.wav")
    assert value(tar, "a.wav") == 3


def test_scan_members__each_name_once(tmp_path):
    tar = tar_of(tmp_path / "s.tar", {"a.wav": 1, "b.wav": 2})
    with tarfile.open(tar, "a") as archive:
        add(archive, "./a.wav", wav(8))
    assert names(tar) == ["b.wav", "a.wav"]
    assert len(find_clips(tmp_path)) == 2 and value(tar, "a.wav") == 8
