"""Which files count as audio, and that nothing is passed over without a word."""

import os

import pytest

from ASDA.audio.finding import PassedOver, list_audio_files, undecodable_ending


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def found(folder, **options):
    return [path.relative_to(folder).as_posix() for path in list_audio_files(folder, **options)]


def test_list_audio_files__rarer_endings_are_found_like_the_others(tmp_path):
    names = [f"{i}.{suffix}" for i, suffix in enumerate(("sph", "SND", "voc", "mp2", "rf64", "caf"))]
    touch(tmp_path, *names, "notes.txt")
    assert found(tmp_path) == names


def test_list_audio_files__what_cannot_be_decoded_is_counted_by_its_ending(tmp_path):
    touch(
        tmp_path, "a.wav", "b.M4A", "sub/c.m4a", "d.webm", "e.mkv", "f.tar.gz", "g.csv.gz", "h.txt", "i.tar", ".j.m4a"
    )
    passed_over = PassedOver(frozenset({".tar"}))
    assert found(tmp_path, passed_over=passed_over) == ["a.wav"]
    assert passed_over.files == {".m4a": 2, ".webm": 1, ".mkv": 1, ".tar.gz": 1, ".tar": 1}
    undecodable, containers = passed_over.messages("sounds")
    assert undecodable.startswith("sounds: ") and "2 .m4a, 1 .mkv, 1 .tar.gz, 1 .webm" in undecodable
    assert "1 .tar" in containers and "asda-manifest" in containers
    others = PassedOver()
    found(tmp_path, pattern="sub/*", passed_over=others)
    assert others.files == {".m4a": 1}


@pytest.mark.parametrize("ending", ["m4a", "webm", "wma", "aac", "mkv", "mp4", "amr", "ape", "tgz", "tar.xz"])
def test_undecodable_ending__of_recordings_and_archives(ending):
    assert undecodable_ending(f"a.b.{ending.upper()}") == f".{ending}"
    assert undecodable_ending(f"{ending}.txt") is None


def test_list_audio_files__every_link_to_a_folder_counts(tmp_path):
    touch(tmp_path, "elsewhere/deep/a.wav", "root/own/b.wav")
    root = tmp_path / "root"
    for name, target in (("one", "../elsewhere"), ("two", "../elsewhere"), ("own2", "own"), ("own/up", "..")):
        (root / name).symlink_to(target)
    assert found(root) == ["one/deep/a.wav", "own/b.wav", "own2/b.wav", "two/deep/a.wav"]


def test_list_audio_files__cycles_of_links_end(tmp_path):
    touch(tmp_path, "a/x.wav", "b/y.wav")
    (tmp_path / "a" / "to_b").symlink_to("../b")
    (tmp_path / "b" / "to_a").symlink_to("../a")
    (tmp_path / "self").symlink_to(".")
    assert found(tmp_path) == ["a/to_b/y.wav", "a/x.wav", "b/to_a/x.wav", "b/y.wav"]


def test_list_audio_files__folders_that_cannot_be_entered_are_told(tmp_path, monkeypatch):
    touch(tmp_path, "open/a.wav", "closed/deep/b.wav")
    scandir = os.scandir

    def refuse(path):
        if os.path.basename(path) == "closed":
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    passed_over = PassedOver()
    assert found(tmp_path, passed_over=passed_over) == ["open/a.wav"]
    assert passed_over.folders == [(str(tmp_path / "closed"), "Permission denied")]
    (message,) = passed_over.messages(tmp_path)
    assert message.startswith(f"{tmp_path / 'closed'}: ") and "Permission denied" in message
