"""A file is the old one or the new one, whatever is in its place and whatever happens meanwhile."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from ASDA.atomic import atomic_binary, atomic_path, atomic_writer, fitting_name, is_stream, look_for_leftovers_again

REPOSITORY = Path(__file__).resolve().parents[2]


def write(file, text="new"):
    with atomic_writer(file) as handle:
        handle.write(text)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def python(code, *arguments, **options):
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, timeout=60, **options)


def test_atomic_writer__makes_folders_and_leaves_nothing_else(tmp_path):
    write(tmp_path / "new" / "file.txt")
    assert names(tmp_path / "new") == ["file.txt"]
    assert (tmp_path / "new" / "file.txt").read_text() == "new"


def test_atomic_writer__keeps_the_old_file_after_an_error(tmp_path):
    write(tmp_path / "file", "old")
    with pytest.raises(ZeroDivisionError), atomic_writer(tmp_path / "file") as handle:
        handle.write("half")
        raise ZeroDivisionError
    assert names(tmp_path) == ["file"] and (tmp_path / "file").read_text() == "old"


def test_atomic_writer__keeps_permissions_and_takes_the_usual_ones(tmp_path):
    (tmp_path / "private").touch(mode=0o600)
    write(tmp_path / "private")
    write(tmp_path / "usual")
    (tmp_path / "plain").touch()
    modes = {name: (tmp_path / name).stat().st_mode & 0o777 for name in names(tmp_path)}
    assert modes["private"] == 0o600 and modes["usual"] == modes["plain"]


def test_atomic_writer__writes_through_links(tmp_path):
    for number, target in enumerate(["there", "not/yet/there"]):
        (tmp_path / f"link{number}").symlink_to(target)
    (tmp_path / "there").write_text("old")
    for number, target in enumerate(["there", "not/yet/there"]):
        write(tmp_path / f"link{number}", f"text {number}")
        assert (tmp_path / f"link{number}").is_symlink()
        assert (tmp_path / target).read_text() == f"text {number}"


def test_atomic_writer__refuses_folders_and_links_without_end(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    for name, message in {"folder": "is a folder", "loop": "symbolic links"}.items():
        with pytest.raises(OSError, match=message) as caught:
            write(tmp_path / name)
        assert caught.value.filename == str(tmp_path / name)
    assert names(tmp_path) == ["folder", "loop"]


def test_atomic_writer__devices_pipes_and_own_streams_are_written_not_replaced(tmp_path, capfd):
    before = os.lstat("/dev/null")
    write("/dev/null")
    assert os.path.samestat(before, os.lstat("/dev/null"))
    os.mkfifo(tmp_path / "pipe")
    received = []
    reader = threading.Thread(target=lambda: received.append((tmp_path / "pipe").read_text()))
    reader.start()
    write(tmp_path / "pipe", "through the pipe")
    reader.join(10)
    assert received == ["through the pipe"] and names(tmp_path) == ["pipe"]
    print("first")
    write("/dev/stdout", "out\n")
    (tmp_path / "link").symlink_to("/dev/stderr")
    write(tmp_path / "link", "err\n")
    assert capfd.readouterr() == ("first\nout\n", "err\n")
    assert is_stream("/dev/fd/1") and is_stream(tmp_path / "pipe")
    assert not is_stream(tmp_path) and not is_stream(tmp_path / "absent")


def test_atomic_writer__adds_to_a_file_that_the_output_is_redirected_to(tmp_path):
    code = "import sys; from ASDA.atomic import atomic_writer\nprint('printed')\n"
    code += "with atomic_writer('/dev/stdout') as file: file.write('listed\\n')\nprint('after')"
    with open(tmp_path / "out", "w") as out:
        subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, stdout=out, check=True)
    assert (tmp_path / "out").read_text() == "printed\nlisted\nafter\n"


@pytest.mark.parametrize("name", ["n" * 255, "日" * 85, "n" * 251 + ".npy", os.fsdecode(b"\xff" * 255)])
def test_atomic_writer__names_as_long_as_the_file_system_takes(tmp_path, name):
    write(tmp_path / name)
    assert names(tmp_path) == [name]


def test_fitting_name__shortens_only_what_is_too_long_and_keeps_names_apart():
    assert fitting_name("dog", ".npy") == "dog.npy"
    assert fitting_name("n" * 251, ".npy") == "n" * 251 + ".npy"
    long = ["日" * 90, "日" * 91, "n" * 300, "n" * 299 + "m", os.fsdecode(b"\xff\xfe" * 200)]
    short = [fitting_name(name, ".npy", ".times.npy") for name in long]
    assert len(set(short)) == len(long) and all(name.endswith(".npy") for name in short)
    assert all(len(os.fsencode(name)) <= 255 - len(".times") for name in short)
    assert short == [fitting_name(name, ".npy", ".times.npy") for name in long]
    short[0].encode("utf-8")  # no half characters


KILLED = """
import os, sys
from ASDA.atomic import atomic_writer
with atomic_writer(sys.argv[1]) as file:
    file.write("half")
    file.flush()
    os.kill(os.getpid(), 9)
"""


def test_atomic_writer__removes_what_a_killed_program_left_and_nothing_else(tmp_path):
    (tmp_path / ".mine.part").write_text("a file of the user's")
    assert python(KILLED, tmp_path / "file").returncode == -signal.SIGKILL
    assert len(names(tmp_path)) == 2 and not (tmp_path / "file").exists()
    look_for_leftovers_again()
    with atomic_path(tmp_path / "slow") as being_written:  # another program's, which is alive
        look_for_leftovers_again()
        write(tmp_path / "other")
        assert being_written.exists()
        being_written.write_text("complete")
    assert names(tmp_path) == [".mine.part", "other", "slow"]


# Libraries written in C that end the process, or fail in some other way, where they cannot write.
WRITERS = {
    "torch": ("import torch", "torch.save({'w': torch.ones(100_000)}, file)"),
    "h5py": ("import h5py, numpy", "with h5py.File(file, 'w') as h5: h5['a/b'] = numpy.ones(100_000)"),
    "h5py, many": (
        "import h5py",
        "with h5py.File(file, 'w') as h5:\n for n in range(3000): h5[f'a/{n}'] = [1.0] * 9",
    ),
    "numpy": ("import numpy", "numpy.save(file, numpy.ones(100_000))"),
}
FULL = """
import resource, sys
from ASDA.atomic import atomic_binary
exec(sys.argv[2])  # before there is no room: some of what torch imports looks for a folder to write to
limit = int(sys.argv[4])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
def write(file):
    exec(sys.argv[3])
try:
    with atomic_binary(sys.argv[1]) as file:
        write(file)
except OSError as error:
    print(error)
"""


@pytest.mark.slow
@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("limit", [0, 50_000])
def test_atomic_binary__a_full_disk_is_an_error_not_a_crash(tmp_path, writer, limit):
    (tmp_path / "file").write_text("old")
    result = python(FULL, tmp_path / "file", *WRITERS[writer], limit)
    assert result.returncode == 0 and result.stderr == b""
    assert b"File too large" in result.stdout and str(tmp_path / "file").encode() in result.stdout
    assert names(tmp_path) == ["file"] and (tmp_path / "file").read_text() == "old"


def test_atomic_binary__takes_what_torch_and_h5py_write(tmp_path):
    with atomic_binary(tmp_path / "t.pt") as file:
        torch.save({"w": torch.arange(5.0)}, file)
    with atomic_binary(tmp_path / "t.h5") as file, h5py.File(file, "w") as h5:
        h5["x/y"] = np.arange(5)
    assert torch.equal(torch.load(tmp_path / "t.pt", weights_only=True, mmap=True)["w"], torch.arange(5.0))
    with h5py.File(tmp_path / "t.h5") as h5:
        assert h5["x/y"][:].tolist() == [0, 1, 2, 3, 4]


def test_atomic_binary__a_signal_waits_until_the_file_is_complete(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        with atomic_binary(tmp_path / "file") as file:
            signal.raise_signal(signal.SIGINT)
            file.write(b"all of it")
    assert (tmp_path / "file").read_bytes() == b"all of it"
