"""A folder holds the old files or the new ones at any moment, and keeps what is not its owner's."""

import os
import signal

import pytest

from ASDA.atomic import LockedOutputError, OutputLock, atomic_folder, folders

FILES = ("a", "b")


def is_own(name):
    return name in FILES or name == "gone"


def write(folder, text):
    with atomic_folder(folder, is_own) as temporary:
        for name in FILES:
            (temporary / name).write_text(text)


def contents(folder):
    return {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}


@pytest.fixture(params=["exchange", "no exchange"])
def exchange(request, monkeypatch):
    if request.param == "no exchange":
        monkeypatch.setattr(folders, "_exchange", lambda *_: False)


@pytest.mark.usefixtures("exchange")
def test_atomic_folder__replaces_its_own_files_and_keeps_others(tmp_path):
    write(tmp_path / "new", "first")
    assert contents(tmp_path / "new") == dict.fromkeys(FILES, "first")
    (tmp_path / "new" / "gone").write_text("of an earlier version")
    (tmp_path / "new" / "README").write_text("the user's")
    (tmp_path / "new" / ".git").mkdir()
    (tmp_path / "new" / ".git" / "HEAD").write_text("the user's")
    (tmp_path / "new").chmod(0o700)
    write(tmp_path / "new", "second")
    assert contents(tmp_path / "new") == {**dict.fromkeys(FILES, "second"), "README": "the user's"}
    assert (tmp_path / "new" / ".git" / "HEAD").read_text() == "the user's"
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700
    assert os.listdir(tmp_path) == ["new"]


@pytest.mark.usefixtures("exchange")
def test_atomic_folder__an_error_leaves_the_old_one(tmp_path):
    write(tmp_path / "new", "first")
    with pytest.raises(KeyboardInterrupt), atomic_folder(tmp_path / "new", is_own) as temporary:
        (temporary / "a").write_text("second")
        raise KeyboardInterrupt
    assert contents(tmp_path / "new") == dict.fromkeys(FILES, "first") and os.listdir(tmp_path) == ["new"]


def test_atomic_folder__an_error_names_the_file_that_was_meant(tmp_path):
    with pytest.raises(FileNotFoundError) as caught, atomic_folder(tmp_path / "new", is_own) as temporary:
        (temporary / "sub" / "a").write_text("no such folder")
    assert caught.value.filename == str(tmp_path / "new" / "sub" / "a") and os.listdir(tmp_path) == []


def test_atomic_folder__through_a_link_and_not_over_a_file(tmp_path):
    write(tmp_path / "real", "first")
    (tmp_path / "link").symlink_to("real")
    write(tmp_path / "link", "second")
    assert (tmp_path / "link").is_symlink() and contents(tmp_path / "real") == dict.fromkeys(FILES, "second")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(NotADirectoryError):
        write(tmp_path / "file", "x")
    assert (tmp_path / "file").read_text() == "mine"


def test_atomic_folder__one_writer_at_a_time(tmp_path):
    with OutputLock(tmp_path / "new"), pytest.raises(LockedOutputError):
        write(tmp_path / "new", "x")


def killed_at(moment, target, way):
    """Replaces the folder in a process that ends right before its N-th step that changes a folder; its exit status."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    count = 0

    def counted(function):
        def wrapped(*args, **kwargs):
            nonlocal count
            count += 1
            if count == moment:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **kwargs)

        return wrapped

    for name in ("rename", "unlink", "rmdir", "mkdir", "open", "chmod"):
        setattr(os, name, counted(getattr(os, name)))
    folders._exchange = counted(folders._exchange if way == "exchange" else lambda *_: False)
    try:
        write(target, "new")
    finally:
        os._exit(0)


@pytest.mark.parametrize("way", ["exchange", "no exchange"])
def test_atomic_folder__killed_at_any_moment(tmp_path, way):
    target = tmp_path / "target"
    seen = set()
    for moment in range(1, 40):
        write(target, "old")
        (target / "README").write_text("the user's")
        status = killed_at(moment, target, way)
        found = contents(target) if target.exists() else {}
        found.pop("README", None)
        seen.add(tuple(sorted(found.items())))
        assert found in ({}, dict.fromkeys(FILES, "old"), dict.fromkeys(FILES, "new")), f"killed at step {moment}"
        write(target, "next")  # brings back what there was, and clears up
        assert contents(target) == {**dict.fromkeys(FILES, "next"), "README": "the user's"}, f"after step {moment}"
        assert os.listdir(tmp_path) == ["target"]
        if status == 0:
            break
    assert status == 0 and moment > 5
    assert (() in seen) == (way == "no exchange")
