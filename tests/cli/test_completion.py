"""Completion as bash does it, of a script made of the parsers."""

import contextlib
import os
import pty
import re
import select
import shutil
import subprocess
from pathlib import Path

import pytest

from ASDA.cli._completion import PROGRAMS, completion_script
from ASDA.cli.info import main as info

ROOT = Path(__file__).resolve().parents[2]
ASK = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_asda; printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    file = tmp_path_factory.mktemp("completion") / "asda.bash"
    file.write_text(completion_script("bash"))
    return file


def offered(script, *words):
    """What bash offers for the last word."""
    done = subprocess.run(["bash", "-c", ASK, "bash", script, *words], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("asda-manifest", "par"), ["parquet"]),
        (("asda-manifest", "parquet", "--label-"), ["--label-separator", "--label-table"]),
        (("asda-manifest", "folder", "/data/stats", "--label-l"), ["--label-level"]),
        (("asda-convert", "--to", "d"), ["directory"]),
        (("/usr/bin/asda-extract", "--granularity", "f"), ["frame"]),
        (("asda-info", "model.pt"), []),  # left to the shell: files
        (("asda-info", "--zo"), ["--zoo"]),
        (("asda-train", "finet"), ["finetuning"]),
        (("asda-train", "finetuning", "ESC"), ["ESC50"]),
        (("asda-train", "finetuning", "+recipe", "=", "ESC"), ["ESC50"]),
        (("asda-train", "finetuning", "+s"), ["+size="]),
        (("asda-convert", "--to", "=", "h"), ["huggingface"]),
        (("asda-train", "pretraining_AS2M", "--pl"), ["--plan"]),
    ],
)
def test_completion__offers_what_the_parsers_take(script, words, expected):
    assert offered(script, *words) == expected


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_completion__by_the_tab_key_of_an_interactive_shell(script):
    process, terminal = pty.fork()
    if process == 0:
        os.execvp("bash", ["bash", "--norc", "--noprofile", "-i"])
    typed = f"asda-convert() {{ printf '<%s>' \"$@\"; exit; }}; source {script}\nasda-convert --to=dir\t--tru\t\n"
    os.write(terminal, typed.encode())
    shown = _until(terminal, b"no such text")
    os.close(terminal)
    os.waitpid(process, 0)
    assert b"<--to=directory><--trust-checkpoint>" in shown


def test_completion__of_every_program():
    declared = dict(re.findall(r'^(asda-\w+) = "ASDA\.cli\.(\w+):main"$', (ROOT / "pyproject.toml").read_text(), re.M))
    modules = dict(declared)
    assert modules.pop("asda-train") == "train"
    assert modules == PROGRAMS
    for name in declared:
        assert name in completion_script("bash").splitlines()[-1].split()


def test_info__prints_the_script(capsys):
    for shell in ("bash", "zsh"):
        assert info(["--completion", shell]) == 0
        assert capsys.readouterr().out == completion_script(shell)


@pytest.fixture(scope="module")
def zsh_home(tmp_path_factory):
    """A home with the script in its start-up file, and two files to be named."""
    home = tmp_path_factory.mktemp("home")
    (home / "asda.zsh").write_text(completion_script("zsh"))
    (home / ".zshrc").write_text(f"unset zle_bracketed_paste\nsource {home}/asda.zsh\nprint ready\n")
    for name in ("model.pt", "my data.wav"):
        (home / name).touch()
    return home


@pytest.mark.skipif(shutil.which("zsh") is None, reason="needs zsh")
@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("asda-manifest par\t--label-s\t", "<parquet><--label-separator>"),
        ("asda-manifest folder /data/stats --label-l\t", "<folder></data/stats><--label-level>"),
        ("asda-convert --to dir\t--tru\t", "<--to><directory><--trust-checkpoint>"),
        ("asda-convert --to=dir\t--tru\t", "<--to=directory><--trust-checkpoint>"),
        ("asda-train finet\t+si\tbas\t", "<finetuning><+size=base>"),
        ("asda-train finetuning +recipe=ESC\t", "<finetuning><+recipe=ESC50>"),
        ("asda-info mod\t", "<model.pt>"),
        ("asda-info --checkpoint=my\t", "<--checkpoint=my data.wav>"),
        ("asda-extract my\t--granularity=fr\t", "<my data.wav><--granularity=frame>"),
    ],
)
def test_completion__by_the_tab_key_of_zsh(zsh_home, typed, expected):
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(zsh_home)
        os.execvpe("zsh", ["zsh", "-i"], {**os.environ, "ZDOTDIR": str(zsh_home), "TERM": "dumb"})
    shown = _until(terminal, b"ready")
    os.write(terminal, f"{typed.split()[0]}() {{ printf '<%s>' \"$@\"; exit; }}\n{typed}\n".encode())
    shown = _until(terminal, b"no such text")
    os.close(terminal)
    os.waitpid(process, 0)
    assert shown.decode().splitlines()[-1].endswith(expected), shown


def _until(terminal, mark):
    """What is shown up to a mark, or to the end of the shell."""
    shown = b""
    with contextlib.suppress(OSError):  # how a terminal says that its shell has ended
        while mark not in shown and select.select([terminal], [], [], 20)[0] and (read := os.read(terminal, 4096)):
            shown += read
    return shown
