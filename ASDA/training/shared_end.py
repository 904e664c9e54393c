"""A failure of one process ends them all, with the reason of the first.

Left alone, the others wait in a collective operation for the one that is gone: for as long as NCCL's time-out, or until
an error of the connection hides the cause. Here each process holds a connection to the first one. An error is told
through it; a process that is killed tells by its connection's end.
"""

from __future__ import annotations

import atexit
import json
import logging
import multiprocessing
import os
import secrets
import selectors
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any, cast

logger = logging.getLogger(__name__)

GRACE_S = 10.0
"""From the news of a failure until a process that has not ended by itself is ended."""

NEWS_WAIT_S = 1.0
"""How long an own error waits for the news that it is but a consequence of another's."""

_CONNECT_S = 10.0
_KILLED = "it ended without a word: killed by a signal, perhaps because the machine ran out of memory"


class SharedEnd:
    """Connections between the processes of a run; the first (rank 0) passes on what it hears.

    Args:
        rank: of this process.
        size: number of processes.
        exchange: gives every process what the first one puts in; a collective call.
        hosts: names of the first process's machine, as others may reach it; tried in turn.
        end: ends this process at once; for tests.
    """

    def __init__(
        self,
        rank: int,
        size: int,
        exchange: Callable[[Any], Any],
        hosts: list[str],
        end: Callable[[], None] | None = None,
    ):
        self.rank = rank
        self.first: tuple[int, str] | None = None  # the process that failed first, and why
        self._end = end or _end_now
        self._news = threading.Event()
        self._lock = threading.Lock()
        self._leaving = False
        self._end_at: float | None = None  # when this process ends, if it does not by itself
        self._peers: dict[socket.socket, int | None] = {}  # their ranks, once they have said them
        self._partial: dict[socket.socket, bytes] = {}
        self._selector = selectors.DefaultSelector()
        self._listener: socket.socket | None = None
        self._connect(size, exchange, hosts)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._close_copies)
        threading.Thread(target=self._listen, name="shared-end", daemon=True).start()

    def _connect(self, size: int, exchange: Callable[[Any], Any], hosts: list[str]) -> None:
        if self.rank == 0:
            self._listener = socket.create_server(("", 0), backlog=size)
            self._selector.register(self._listener, selectors.EVENT_READ)
            self._token = secrets.token_hex(16)
            exchange((self._listener.getsockname()[1], hosts, self._token))
            return
        port, hosts, self._token = exchange(None)
        for host in hosts:
            try:
                peer = socket.create_connection((host, port), timeout=_CONNECT_S)
            except OSError:
                continue
            peer.settimeout(None)
            self._peers[peer] = 0
            self._selector.register(peer, selectors.EVENT_READ)
            self._send(peer, token=self._token, rank=self.rank)
            return
        logger.warning(
            f"process {self.rank} cannot reach process 0 (port {port} of {' or '.join(hosts)}): should one of them "
            "fail, the other ends only with its own time-out"
        )

    # -- this process

    def install(self) -> None:
        """From now on an error that ends this process is told to the others, and so is a good end."""
        previous = sys.excepthook

        def tell(kind: type[BaseException], error: BaseException, trace: Any) -> None:
            rank, reason = self.fail("".join(traceback.format_exception_only(kind, error)).strip())
            if rank == self.rank:
                previous(kind, error, trace)
            else:  # what the connection to the lost one said is no reason
                print(f"process {self.rank} ends because process {rank} failed: {reason}", file=sys.stderr, flush=True)

        sys.excepthook = tell
        atexit.register(self.leave)

    def fail(self, reason: str) -> tuple[int, str]:
        """Tells the others why this process fails, unless another one has failed before.

        Returns:
            The process that failed first, and its reason.
        """
        self._news.wait(NEWS_WAIT_S)
        self._learn(self.rank, reason)
        assert self.first is not None
        return self.first

    def leave(self) -> None:
        """Says that this process ends as it should (or has told why not): the end of its connections is no failure."""
        self._leaving = True
        for peer in list(self._peers):
            self._send(peer, leaves=True)

    # -- the others

    def _learn(self, rank: int, reason: str) -> None:
        with self._lock:
            if self.first is not None:
                return
            self.first = (rank, reason)
        self._news.set()
        for peer in list(self._peers):
            self._send(peer, failed=rank, reason=reason)
        if rank != self.rank:
            logger.error(f"process {rank} failed, and so all end: {reason}")
            self._end_at = time.monotonic() + GRACE_S

    def _listen(self) -> None:
        while True:
            wait_s = None if self._end_at is None else self._end_at - time.monotonic()
            if wait_s is not None and wait_s <= 0:
                self._end()
                return
            for key, _ in self._selector.select(wait_s):
                if key.fileobj is self._listener:
                    peer, _ = self._listener.accept()
                    self._peers[peer] = None
                    self._selector.register(peer, selectors.EVENT_READ)
                else:
                    self._read(cast(socket.socket, key.fileobj))

    def _read(self, peer: socket.socket) -> None:
        try:
            received = peer.recv(65_536)
        except OSError:
            received = b""
        if not received:
            self._lose(peer)
            return
        *lines, self._partial[peer] = (self._partial.get(peer, b"") + received).split(b"\n")
        for line in lines:
            message = _message(line)
            if self._peers.get(peer) is None:
                if message.get("token") != self._token:  # a stranger at the port
                    self._forget(peer)
                    return
                self._peers[peer] = int(message["rank"])
                if self.first is not None:
                    self._send(peer, failed=self.first[0], reason=self.first[1])
            elif "failed" in message:
                self._learn(message["failed"], message["reason"])
            elif message.get("leaves"):
                self._forget(peer)
                return

    def _lose(self, peer: socket.socket) -> None:
        rank = self._peers.get(peer)
        self._forget(peer)
        if rank is not None and not self._leaving:
            self._learn(rank, _KILLED)

    def _forget(self, peer: socket.socket) -> None:
        self._selector.unregister(peer)
        self._peers.pop(peer, None)
        self._partial.pop(peer, None)
        peer.close()

    @staticmethod
    def _send(peer: socket.socket, **message: Any) -> None:
        try:
            peer.sendall(json.dumps(message).encode() + b"\n")
        except OSError:  # it is gone
            pass

    def _close_copies(self) -> None:
        """In a forked worker: its copies of the connections would hide the end of this process."""
        for copy in (*self._peers, *([self._listener] if self._listener else [])):
            os.close(copy.detach())
        self._peers, self._listener = {}, None


def _message(line: bytes) -> dict:
    try:
        message = json.loads(line)
    except ValueError:
        return {}
    return message if isinstance(message, dict) else {}


def _end_now() -> None:
    for worker in multiprocessing.active_children():
        worker.kill()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)
