import zipfile

import numpy as np
import pytest

from ASDA.data.containers import ClipReader
from ASDA.data.manifest import ManifestError
from ASDA.data.preparation.finding import find_clips
from tests.data.generated_corpora import write_h5, write_tar, write_zip

PCM = np.arange(-2000, 2000, dtype=np.int16)


def test_find_clips__sees_files_and_members_of_containers(tmp_path, write_audio):
    root = tmp_path / "root"
    wav = write_audio("a.wav", PCM)
    for name in ("x/b c.flac", "x/y/D.WAV", "x/.hidden.wav", ".cache/e.wav"):
        write_audio(f"root/{name}", PCM)
    (root / "notes.txt").write_text("not audio")
    write_tar(root / "s.tar", [wav])
    write_h5(root / "s.h5", {"k1": PCM, "group/k2": PCM}, 16_000)
    write_zip(root / "s.zip", [wav])
    found = find_clips(root)
    assert [clip.name for clip in found] == [
        "s.h5/group/k2", "s.h5/k1", "s.tar/a.wav", "s.zip/a.wav", "x/b c.flac", "x/y/D.WAV"
    ]  # fmt: skip
    reader = ClipReader()
    for clip in found:  # what was found can be read under the name that a manifest will hold
        np.testing.assert_array_equal(reader.load(f"{root}/{clip.row}").numpy() * 32768, PCM)


def test_find_clips__follows_links_once(tmp_path, write_audio):
    write_audio("elsewhere/a.wav", PCM)
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(root)
    assert [clip.name for clip in find_clips(root)] == ["link/a.wav"]


def test_find_clips__refuses_what_it_cannot_open(tmp_path, write_audio):
    with pytest.raises(ManifestError, match="absent: no such folder"):
        find_clips(tmp_path / "absent")
    with zipfile.ZipFile(tmp_path / "s.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(write_audio("a/a.wav", np.zeros(4000)), arcname="a.wav")
    with pytest.raises(ManifestError, match=r"s\.zip: a\.wav is compressed"):
        find_clips(tmp_path)
    (tmp_path / "s.zip").unlink()
    (tmp_path / "s.h5").write_bytes(b"not h5")
    with pytest.raises(ManifestError, match=r"s\.h5: the container cannot be opened"):
        find_clips(tmp_path)


def zip_of(path, members: dict[str, bytes]):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path.read_bytes()


def test_find_clips__zips_that_were_joined_or_are_damaged(tmp_path, write_audio):
    wav = write_audio("elsewhere/a.wav", PCM).read_bytes()
    file = tmp_path / "root" / "s.zip"
    file.parent.mkdir()
    first, second = zip_of(file, {"a.wav": wav}), zip_of(file, {"./x//b.wav": wav})
    assert [clip.name for clip in find_clips(file.parent)] == ["s.zip/x/b.wav"]
    file.write_bytes(first + second)
    with pytest.raises(ManifestError, match="several zips joined to one"):
        find_clips(file.parent)
    file.write_bytes(b"XX" + first[2:])
    with pytest.raises(ManifestError, match="no member where a.wav should begin"):
        find_clips(file.parent)
    encrypted = bytearray(first)
    encrypted[first.index(b"PK\1\2") + 8] |= 1
    file.write_bytes(encrypted)
    with pytest.raises(ManifestError, match="a.wav is encrypted"):
        find_clips(file.parent)


def test_find_clips__every_link_counts(tmp_path, write_audio):
    write_audio("elsewhere/a.wav", PCM)
    root = tmp_path / "root"
    root.mkdir()
    for name in ("one", "two"):
        (root / name).symlink_to(tmp_path / "elsewhere")
    assert [clip.name for clip in find_clips(root)] == ["one/a.wav", "two/a.wav"]


def test_find_clips__counts_what_cannot_be_decoded_in_containers_too(tmp_path, write_audio):
    wav = write_audio("elsewhere/a.wav", PCM)
    other = wav.with_name("b.m4a")
    other.write_bytes(b"x")
    (tmp_path / "root").mkdir()
    write_tar(tmp_path / "root" / "s.tar", [wav, other])
    write_zip(tmp_path / "root" / "s.zip", [wav])
    problems = []
    assert len(find_clips(tmp_path / "root", problems)) == 2
    assert [(problem.kind, problem.clip) for problem in problems] == [("undecodable", "*.m4a")]
