"""One process fails, all end, and each knows why: three processes in one, without torch.distributed."""

import queue
import socket
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from ASDA.training import shared_end
from ASDA.training.shared_end import SharedEnd


@pytest.fixture
def three(monkeypatch):
    """The first process of a run and two more, and which of them were ended."""
    monkeypatch.setattr(shared_end, "GRACE_S", 0.05)
    monkeypatch.setattr(shared_end, "NEWS_WAIT_S", 0.3)
    told, ended = queue.Queue(), []

    def give(value):
        for _ in range(2):
            told.put(value)
        return value

    hosts = ["localhost"]
    ends = [SharedEnd(0, 3, give, hosts, end=lambda: ended.append(0))]
    ends += [
        SharedEnd(rank, 3, lambda _: told.get(), hosts, end=lambda rank=rank: ended.append(rank)) for rank in (1, 2)
    ]
    wait_until(lambda: sorted(ends[0]._peers.values(), key=str) == [1, 2])
    yield ends, ended
    for end in ends:
        end.leave()


def wait_until(condition):
    until = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.mark.parametrize("failed", [0, 1, 2])
def test_failure__reaches_all_others_with_its_reason(three, failed):
    ends, ended = three
    assert ends[failed].fail("the sky falls") == (failed, "the sky falls")
    others = sorted({0, 1, 2} - {failed})
    wait_until(lambda: sorted(ended) == others)
    assert all(end.first == (failed, "the sky falls") for end in ends)


@pytest.mark.parametrize(("first", "second"), [(1, 0), (0, 2), (2, 1)])
def test_failure__that_follows_from_another_is_not_taken_for_the_reason(three, first, second):
    ends, _ = three
    found = {}
    consequence = threading.Thread(target=lambda: found.update(second=ends[second].fail("connection reset by peer")))
    cause = threading.Thread(target=lambda: ends[first]._learn(first, "the sky falls"))
    consequence.start()
    time.sleep(0.1)  # the error of the connection comes sooner than the news
    cause.start()
    consequence.join(10)
    assert found["second"] == (first, "the sky falls")


@pytest.mark.parametrize("lost", [1, 0])
def test_kill__is_seen_by_the_end_of_the_connection(three, lost):
    ends, ended = three
    ends[lost]._leaving = True  # it is gone, and can say no more
    for peer in list(ends[lost]._peers):
        peer.shutdown(socket.SHUT_RDWR)
    wait_until(lambda: all(ends[rank].first is not None for rank in {0, 1, 2} - {lost}))
    assert all(ends[rank].first[0] == lost and "without a word" in ends[rank].first[1] for rank in {0, 1, 2} - {lost})
    wait_until(lambda: {0, 1, 2} - {lost} <= set(ended))


def test_leave__is_no_failure(three):
    ends, ended = three
    ends[1].leave()
    ends[2].leave()
    ends[0].leave()
    time.sleep(0.3)
    assert all(end.first is None for end in ends) and not ended


def test_stranger__at_the_port_is_turned_away(three):
    ends, ended = three
    port = ends[0]._listener.getsockname()[1]
    with socket.create_connection(("localhost", port), timeout=10) as stranger:
        stranger.sendall(b'{"token": "guess", "rank": 1}\n{"failed": 1, "reason": "mischief"}\n')
        assert stranger.recv(10) == b""
    with socket.create_connection(("localhost", port), timeout=10) as stranger:
        stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert stranger.recv(10) == b""
    time.sleep(0.1)
    assert ends[0].first is None and not ended


def test_install__tells_the_error_that_ends_the_process():
    program = """
        import queue, threading
        from ASDA.training import shared_end
        from ASDA.training.shared_end import SharedEnd
        shared_end.NEWS_WAIT_S = 0.1
        told = queue.Queue()
        first = SharedEnd(0, 2, told.put, ["localhost"], end=lambda: None)
        second = SharedEnd(1, 2, lambda _: told.get(), ["localhost"], end=lambda: None)
        second.install()
        class Watching(threading.Thread):
            def run(self):
                first._news.wait(10)
                print(first.first, flush=True)
        Watching().start()
        raise ValueError("the sky falls")
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "(1, 'ValueError: the sky falls')" in done.stdout
    assert done.stderr.rstrip().endswith("ValueError: the sky falls")
