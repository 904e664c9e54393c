"""Stop requests: remembered, not acted on; a data-loader worker outlives one SIGTERM."""

import os
import signal
import subprocess
import sys
import textwrap

import pytest

from ASDA.training import stopping

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="this system has no SIGUSR1")


@pytest.fixture
def handlers():
    """Puts this process' own signal handlers back."""
    before = {number: signal.getsignal(number) for number in (*stopping.SIGNALS, stopping.INTERRUPT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1", "SIGINT"])
def test_stop_request__remembers_the_signal(name):
    request = stopping.StopRequest()
    request.install()
    assert not request
    os.kill(os.getpid(), getattr(signal, name))
    assert request and request.signal_name == name


def run_python(program: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", textwrap.dedent(program)], timeout=60, capture_output=True, text=True)


def test_outlive_first_termination__survives_one_and_not_two():
    program = """
        import os, signal
        from ASDA.training.stopping import outlive_first_termination
        outlive_first_termination()
        os.kill(os.getpid(), signal.SIGTERM)
        outlive_first_termination()  # as with every batch; the second signal must count all the same
        print("alive", flush=True)
        os.kill(os.getpid(), signal.SIGTERM)
        print("still alive", flush=True)
    """
    result = run_python(program)
    assert result.stdout == "alive\n" and result.returncode == -signal.SIGTERM


def test_outlive_first_termination__survives_any_ctrl_c():
    program = """
        import os, signal
        from ASDA.training.stopping import outlive_first_termination
        outlive_first_termination()
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGINT)
        print("alive", flush=True)
    """
    assert run_python(program).stdout == "alive\n"


def test_stop_request__a_second_ctrl_c_ends_at_once():
    program = """
        import os, signal
        from ASDA.training.stopping import StopRequest
        request = StopRequest()
        request.install()
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        print(request.signal_name, flush=True)
        os.kill(os.getpid(), signal.SIGINT)
        print("still alive", flush=True)
    """
    result = run_python(program)
    assert result.stdout == "SIGINT\n" and result.returncode == -signal.SIGINT
    assert result.stderr.count("Ctrl-C again ends at once") == 1


def test_exit__does_not_wait_for_a_child_that_outlives_the_signal():
    program = """
        import multiprocessing, time
        from ASDA.training.stopping import StopRequest, outlive_first_termination

        def work(ready):
            outlive_first_termination()
            ready.set()
            time.sleep(1000)

        context = multiprocessing.get_context("fork")
        StopRequest().install()
        ready = context.Event()
        context.Process(target=work, args=(ready,), daemon=True).start()
        ready.wait()
    """
    assert run_python(program).returncode == 0
