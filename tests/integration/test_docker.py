"""What the images are built from is there; .dockerignore leaves out nothing of it."""

import fnmatch
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def taken(name: str) -> bool:
    """Whether a file or folder of the checkout's top reaches the build; the last line that fits decides."""
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    fitting = [line for line in lines if fnmatch.fnmatch(name, line.removeprefix("!"))]
    return bool(fitting) and fitting[-1].startswith("!")


def test_dockerignore__takes_what_set_up_and_training_need_and_nothing_that_git_does_not_know():
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    top = {name.partition("/")[0] for name in tracked.splitlines()}
    needed = {
        "ASDA",
        "config",
        "scripts",
        "data_manifest",
        "requirements.txt",
        "pyproject.toml",
        "README.md",
        "LICENSE",
    }
    assert {name for name in top if taken(name)} == needed | {name for name in top if name.endswith(".sh")}
    assert not any(map(taken, (".git", ".venv", "demo", "build", "ablation")))


@pytest.mark.parametrize("target", ["cpu", "cuda"])
def test_dockerfile__each_image_is_set_up_by_the_script_and_runs_as_nobody_special(target):
    stage = re.search(rf"^FROM base AS {target}\n(.*?)(?=^FROM |\Z)", DOCKERFILE, re.MULTILINE | re.DOTALL)[1]
    assert "/opt/asda/scripts/setup.sh" in stage and "\nUSER 1000\n" in stage and "--uid 1000 asda" in DOCKERFILE
    assert f"docker build --target {target} " in (ROOT / "docs" / "docker.md").read_text()


def test_docker_page__programs_have_the_flags_that_it_gives_them():
    page = (ROOT / "docs" / "docker.md").read_text().replace("\\\n", " ")
    commands = re.findall(r"asda-(extract|demo)(.*)", page)
    assert len(commands) == 2
    for program, words in commands:
        said = subprocess.run(
            [sys.executable, "-m", f"ASDA.cli.{program}", "--help"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert re.findall(r"--\w+", words) and all(flag in said for flag in re.findall(r"--\w+", words))


def test_dockerfile__is_clean_by_its_linter():
    linter = Path(sys.executable).with_name("hadolint")
    if not linter.exists():
        pytest.skip("hadolint is not installed: it comes with set-up on x86-64 Linux")
    done = subprocess.run([linter, ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
