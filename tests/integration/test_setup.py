"""scripts/setup.sh says what is missing, in one line and before it changes anything."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Answers like an interpreter of version $VERSION, without the module $LACKS, whose headers are in $INCLUDE.
FAKE_PYTHON = """#!/usr/bin/env bash
case $2 in
  *print*version_info*) echo {version} ;;
  *ensurepip*) exit {lacks_venv} ;;
  *platform*) exit 1 ;;
  *get_paths*) echo {include} ;;
  *) echo "unexpected: $2" >&2; exit 3 ;;
esac
"""


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder with what the set-up reads of the repository, and no environment."""
    (tmp_path / "scripts").mkdir()
    for name in ("scripts/setup.sh", "scripts/help.sh", "requirements.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def fake_python(folder: Path, version: str = "3.11", lacks_venv: int = 0, include: str = "/nonexistent") -> Path:
    file = folder / "python"
    file.write_text(FAKE_PYTHON.format(version=version, lacks_venv=lacks_venv, include=include))
    file.chmod(0o755)
    return file


def set_up(clone: Path, **settings: str) -> subprocess.CompletedProcess:
    unset = ("ASDA_PYTHON", "ASDA_USE_ACTIVE_ENV", "VIRTUAL_ENV", "CONDA_PREFIX", "CC", "CXX")
    environment = {key: value for key, value in os.environ.items() if key not in unset}
    environment |= {"ASDA_NO_UV": "1"} | settings
    return subprocess.run(
        ["bash", str(clone / "scripts" / "setup.sh")], cwd=clone, env=environment, capture_output=True, text=True
    )


def assert_refused(result: subprocess.CompletedProcess, clone: Path, *words: str) -> None:
    assert result.returncode == 1
    assert result.stderr.startswith("set-up failed: ") and result.stderr.count("\n") == 1, result.stderr
    for word in words:
        assert word in result.stderr
    assert not (clone / ".venv").exists()


def test_setup__refuses_an_interpreter_that_does_not_run(clone):
    shim = clone / "python3.12"
    shim.write_text("#!/usr/bin/env bash\nexit 127\n")
    shim.chmod(0o755)
    assert_refused(set_up(clone, ASDA_PYTHON=str(shim)), clone, str(shim), "does not run")


def test_setup__refuses_an_unsupported_version(clone):
    python = fake_python(clone, version="3.9")
    assert_refused(set_up(clone, ASDA_PYTHON=str(python)), clone, "is Python 3.9", "3.10 to 3.13")


def test_setup__names_the_package_with_the_missing_venv_module(clone):
    python = fake_python(clone, lacks_venv=1)
    assert_refused(set_up(clone, ASDA_PYTHON=str(python)), clone, "apt install python3.11-venv")


def test_setup__names_the_missing_compiler(clone):
    python = fake_python(clone)
    result = set_up(clone, ASDA_PYTHON=str(python), CC="true", CXX="/nonexistent/g++")
    assert_refused(result, clone, "fairseq has to be compiled", "/nonexistent/g++", "apt install g++")


def test_setup__names_the_missing_headers(clone):
    python = fake_python(clone, include=str(clone / "include"))
    result = set_up(clone, ASDA_PYTHON=str(python), CC="true", CXX="true")
    assert_refused(result, clone, f"{clone}/include/Python.h is missing", "apt install python3.11-dev")


def test_setup__active_environment_has_to_be_active(clone):
    assert_refused(set_up(clone, ASDA_USE_ACTIVE_ENV="1"), clone, "no virtual or conda environment is active")


def test_setup__passes_over_interpreters_that_do_not_run(clone):
    """A pyenv shim of a version that is not activated is on PATH and exits 127."""
    broken, working = clone / "broken", clone / "pyenv" / "versions" / "3.12.99" / "bin"
    for folder in (broken, working):
        folder.mkdir(parents=True)
    (broken / "python3.12").write_text("#!/usr/bin/env bash\nexit 127\n")
    (broken / "python3.12").chmod(0o755)
    fake_python(working, version="3.12", include=str(clone)).rename(working / "python3.12")
    (clone / "Python.h").touch()
    settings = {"PATH": f"{broken}:/usr/bin:/bin", "PYENV_ROOT": str(clone / "pyenv"), "CC": "true", "CXX": "true"}
    result = set_up(clone, **settings)
    # The fake one cannot make an environment; that it is the one asked to is what counts.
    assert f"with {working}/python3.12 (Python 3.12)" in result.stderr
    assert result.returncode == 1 and f"could not make {clone}/.venv" in result.stderr


def test_requirements__hold_the_tested_builds_on_every_python():
    from packaging.markers import default_environment
    from packaging.requirements import Requirement

    lines = [line.split("  #")[0] for line in (ROOT / "requirements.txt").read_text().splitlines()]
    requirements = [Requirement(line) for line in lines if line and not line.startswith("#")]
    for version in ("3.10", "3.11", "3.12", "3.13"):
        environment = default_environment() | {"python_version": version, "python_full_version": f"{version}.1"}
        pins = {
            requirement.name: str(requirement.specifier)
            for requirement in requirements
            if requirement.marker is None or requirement.marker.evaluate(environment)
        }
        assert pins["torch"] == pins["torchaudio"] == "==2.11.0" and pins["torchvision"] == "==0.26.0"
        assert pins["fairseq-fixed"] == "==0.12.3.1"
        assert all(pin.startswith("==") for pin in pins.values())
        assert {"numpy", "scipy", "scikit-learn", "hydra-core", "omegaconf", "torchvision", "ruff"} <= pins.keys()
