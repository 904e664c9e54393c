"""A connection to a Ray cluster: one that runs, or one of this machine's cores, which ends with the program.

Ray is imported here only when a cluster is asked for.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..checkpoints.files import first_line

PACKAGE = Path(__file__).resolve().parents[1]
AUTO, LOCAL = "auto", "local"

_MOST_CPUS = 4
"""Of a worker, where nobody says how many: a network gains little from more at usual batches."""

_AUTH_MODE = "RAY_AUTH_MODE"
_THERE_IS_ONE = "connecting to an existing cluster"
"""What Ray says of `num_cpus` where it would connect rather than start."""

_TOO_SLOW = "timed out during startup"
_START_TRIES = 4  # Ray gives its start half a minute, which is not enough on a busy machine

_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",  # else the C++ core writes warnings between the program's own lines
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # what Ray 3 does, and a warning less
}


class ClusterError(ValueError):
    """A cluster cannot be reached, has no room, or its workers failed."""


@dataclass(frozen=True)
class Workers:
    """How many workers, and what each has.

    Attributes:
        count: of them, as far as the cluster has room.
        cpus: cores of each, which are its threads.
        gpus: 1 or 0.
    """

    count: int
    cpus: int
    gpus: int

    def __str__(self) -> str:
        each = f"{self.cpus} CPU{'s' * (self.cpus > 1)}" + (" and a GPU" if self.gpus else "")
        return f"{self.count} worker{'s' * (self.count > 1)} with {each}{' each' * (self.count > 1)}"


@contextmanager
def connected(address: str, num_cpus: int) -> Iterator[str]:
    """Connects to a cluster inside the block, and gives what it is called.

    The cluster gets this package's code along, so that every worker runs the code that this process runs.

    Args:
        address: of a running cluster; `auto`: the one that RAY_ADDRESS or this machine knows, else one that is started
            here; `local`: one that is started here. A connection that is there already is used, and stays.
        num_cpus: cores that a cluster started here may use.

    Raises:
        ClusterError: Ray is not installed, or no cluster answers.
    """
    ray = _import_ray()
    if ray.is_initialized():
        yield "the cluster that is connected"
        return
    with _signal_handlers_kept(), _descriptor_silenced(2):
        try:
            called = _connect(ray, address, num_cpus)
        except BaseException:
            ray.shutdown()
            raise
    try:
        yield called
    finally:
        ray.shutdown()  # which ends a cluster that was started here, and leaves another


def choose_workers(count: int | None, cpus: int | None, device: str) -> Workers:
    """What is asked for, completed by what the connected cluster has.

    Args:
        count: of workers; None: as many as there is room for.
        cpus: of each; None: up to 4.
        device: `auto`: GPUs if there are any; `cpu`, `cuda`.

    Raises:
        ClusterError: the cluster has no room for a single one.
    """
    import ray

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    with_gpu = [node for node in nodes if node.get("GPU", 0) >= 1]
    if device == "cuda" and not with_gpu:
        raise ClusterError("--device cuda: the cluster has no GPU; use --device cpu")
    gpus = int(bool(with_gpu) and device != "cpu")
    nodes = with_gpu if gpus else nodes
    if cpus is None:
        roomiest = max((node.get("CPU", 0) / (node["GPU"] if gpus else 1) for node in nodes), default=0)
        cpus = max(1, min(_MOST_CPUS, int(roomiest)))
    room = sum(int(min(node.get("CPU", 0) // cpus, node["GPU"] if gpus else node.get("CPU", 0))) for node in nodes)
    if not room:
        largest = max((node.get("CPU", 0) for node in nodes), default=0)
        raise ClusterError(
            f"no machine of the cluster has room for a worker with {cpus} CPUs; the largest has {largest:g} "
            "(--ray-cpus N asks for fewer)"
        )
    return Workers(min(count or room, room), cpus, gpus)


def _import_ray() -> Any:
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise ClusterError(
            f"--ray takes the package ray with its part for data ({error}): pip install 'asda[ray]', or "
            "pip install '.[ray]' in the project's folder"
        ) from error
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # what ends a run is raised
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False  # the program has its own
    context.print_on_execution_start = False
    return ray


def _connect(ray: Any, address: str, num_cpus: int) -> str:
    if address.startswith("ray://"):
        raise ClusterError(
            f"--ray {address}: a Ray client's address, through which data sets do not run; start the program on a "
            "machine of the cluster, with --ray auto"
        )
    common = {
        "logging_level": logging.ERROR,
        "log_to_driver": False,
        "runtime_env": {
            "py_modules": [str(PACKAGE)],
            "excludes": ["__pycache__"],
            "env_vars": {"OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "PASSIVE")},
        },
    }
    if address in (AUTO, LOCAL) and _start(ray, address, num_cpus=num_cpus, include_dashboard=False, **common):
        return "this machine"
    where = os.environ.get("RAY_ADDRESS") or address if address == AUTO else address
    try:
        ray.init(address=None if address == AUTO else address, **common)
    except Exception as error:
        raise ClusterError(f"--ray {where}: no cluster can be reached there ({first_line(error)})") from error
    return f"the cluster at {ray.get_runtime_context().gcs_address}"


def _start(ray: Any, address: str, **options: Any) -> bool:
    """Starts a cluster of this machine; False: with `auto`, if there is one that others know, too.

    (Ray's own "auto" would take one that another program has started for itself, and will end.)
    """
    chosen = os.environ.get(_AUTH_MODE)
    os.environ.setdefault(_AUTH_MODE, "disabled")  # its port is this machine's own
    for tries_left in reversed(range(_START_TRIES)):
        try:
            ray.init(address=None if address == AUTO else address, **options)
            return True
        except Exception as error:
            ray.shutdown()
            if address == AUTO and _THERE_IS_ONE in str(error):
                if chosen is None:
                    del os.environ[_AUTH_MODE]
                return False
            if tries_left == 0 or _TOO_SLOW not in str(error):
                raise ClusterError(f"--ray {address}: Ray does not start here ({first_line(error)})") from error
    raise AssertionError("unreachable")


@contextmanager
def _descriptor_silenced(number: int) -> Iterator[None]:
    """What Ray's core writes past Python while it starts; what went wrong, it raises."""
    kept = os.dup(number)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, number)
        yield
    finally:
        os.dup2(kept, number)
        os.close(kept)
        os.close(nowhere)


@contextmanager
def _signal_handlers_kept() -> Iterator[None]:
    """Ray takes SIGTERM over; the program has its own way to end."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    earlier = {number: signal.getsignal(number) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in earlier.items():
            if handler is not None:
                signal.signal(number, handler)
