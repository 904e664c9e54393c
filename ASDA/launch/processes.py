"""Where a run computes: which device, how many processes, and where those of several machines meet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .settings import LaunchError, Settings


@dataclass(frozen=True)
class Processes:
    """The processes of a run.

    Attributes:
        device: "cuda" or "cpu".
        here: how many on this machine.
        everywhere: how many on all machines.
        rendezvous: torchrun's arguments that say where they meet.
    """

    device: str
    here: int
    everywhere: int
    rendezvous: tuple[str, ...]

    @property
    def unit(self) -> str:
        return "GPUs" if self.device == "cuda" else "processes"


def choose_processes(settings: Settings, count_gpus: Callable[[], int]) -> Processes:
    """A process per GPU, or those of NPROC on the CPU.

    Args:
        count_gpus: how many GPUs are visible; asked only when the settings do not say it all.

    Raises:
        LaunchError: fewer GPUs are visible than wanted, or several machines have no place to meet.
    """
    wanted = settings.num_gpus
    visible = wanted if wanted is not None and (wanted == 0 or settings.dry_run) else count_gpus()
    if visible == 0 and wanted:
        raise LaunchError(f"NGPU={wanted}, but no GPU is visible; NGPU=0 takes the CPU")
    if visible == 0:
        device, here = "cpu", settings.num_processes
    else:
        device, here = "cuda", wanted or visible
    if here > visible > 0:
        raise LaunchError(f"NGPU={here}, but only {visible} are visible")
    rendezvous: tuple[str, ...] = ("--standalone",)
    if settings.num_nodes > 1:
        if not settings.rendezvous_endpoint:
            raise LaunchError(f"set RDZV_ENDPOINT: host:port of one of the {settings.num_nodes} machines")
        rendezvous = (
            f"--nnodes={settings.num_nodes}",
            "--rdzv_backend=c10d",
            f"--rdzv_endpoint={settings.rendezvous_endpoint}",
            f"--rdzv_id={settings.run_id}",
        )
    return Processes(device, here, here * settings.num_nodes, rendezvous)


def count_gpus() -> int:
    """How many GPUs this machine shows."""
    import torch

    return torch.cuda.device_count()
