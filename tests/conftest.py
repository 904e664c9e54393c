"""Fixtures that every folder of tests may use."""

import os
import signal
from pathlib import Path

import pytest

_ENVIRONMENT = dict(os.environ)

# A shell starts what it runs in the background deaf to Ctrl-C, and so would be all that the tests start and interrupt.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


MINUTES_EACH = ("test_findings.py", "test_benchmarks_adaptation.py", "test_demo_script.py", "test_benchmarks.py")
"""Files with tests that run whole scripts."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first: of two processes none is left with one of them when the other is done."""
    items.sort(key=lambda item: item.path.name not in MINUTES_EACH)


@pytest.fixture(autouse=True)
def environment_stays_as_it_was():
    """What a program sets for its own process (how many kernels oneDNN keeps) must not reach the runs of others."""
    yield
    for name in os.environ.keys() - _ENVIRONMENT.keys() - {"PYTEST_CURRENT_TEST"}:
        del os.environ[name]
    os.environ.update(_ENVIRONMENT)


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder with golden numbers beside the repository; tests that need it are skipped where it is absent."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip(f"golden numbers are not here: {folder} does not exist")
    return folder
