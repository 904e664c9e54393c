"""The flags of a run on a Ray cluster, and what they come to."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout

from ..core.encoder import SpectrogramEncoder
from ..inference.clips import Clips
from ..inference.features import FeatureSpec
from ..inference.ray_cluster import Workers, choose_workers, connected
from ..inference.windows import Windowing, clips_together
from . import _console as console
from . import _threads
from ._parser import Parser, positive

_DEVICES = ("auto", "cpu", "cuda")


def add_cluster_arguments(parser: argparse.ArgumentParser) -> None:
    """All of them."""
    group = parser.add_argument_group("cluster")
    group.add_argument(
        "--ray",
        metavar="ADDRESS|auto",
        help="compute on a Ray cluster: at HOST:PORT; auto: the one that this machine knows, else a local one",
    )
    group.add_argument("--ray-workers", type=positive, metavar="N", help="that many [what the cluster has room for]")
    group.add_argument("--ray-cpus", type=positive, metavar="N", help="cores of each worker [up to 4]")


def check(parser: Parser, args: argparse.Namespace) -> None:
    """Refuses what does not go together."""
    if args.ray is None:
        for flag in ("ray_workers", "ray_cpus"):
            if getattr(args, flag) is not None:
                parser.error(f"--{flag.replace('_', '-')} goes with --ray")
        return
    if not args.ray.strip():
        parser.error("--ray: expected an address, or auto")
    if args.worker_processes:
        parser.error("--ray starts the processes itself; --worker_processes does not go with it")
    if args.source_file:
        parser.error("--ray spreads several clips; it does not go with --source_file")
    if args.shard != (1, 1):
        parser.error("--ray spreads the clips itself; --shard does not go with it")
    if args.device not in _DEVICES:
        parser.error(f"--device {args.device}: with --ray it is one of {', '.join(_DEVICES)}; Ray chooses the GPU")


@contextmanager
def cluster(args: argparse.Namespace) -> Iterator[Workers]:
    """The workers of the cluster that --ray names, inside the block.

    What Ray prints there of workers that ended is not shown: they are started again, and what ends a run is raised.
    """
    nowhere = open(os.devnull, "w")
    with nowhere, redirect_stdout(nowhere), connected(args.ray, _threads.available_cores()) as where:
        workers = choose_workers(args.ray_workers, args.ray_cpus, args.device)
        console.note(f"Ray on {where}: {workers}")
        if args.ray_workers and args.ray_workers > workers.count:
            console.note(f"it has no room for --ray-workers {args.ray_workers}")
        yield workers


def run_on(
    workers: Workers,
    args: argparse.Namespace,
    encoder: SpectrogramEncoder,
    spec: FeatureSpec,
    windowing: Windowing,
    clips: Clips,
    wanted: Sequence[int],
) -> Iterator:
    """Results of the wanted clips, or BadClips, as they come."""
    from ..inference.ray_run import run_clips_on_ray
    from ..inference.ray_worker import Work

    decoders = args.num_workers or (workers.cpus if workers.gpus else _threads.decoding_threads(True, workers.cpus))
    work = Work(
        encoder=encoder,
        spec=spec,
        windowing=windowing,
        half=args.half,
        batch_size=args.batch_size,
        together=clips_together(args.batch_size, windowing.padding),
        num_decoders=decoders,
        num_threads=_threads.named_threads() or workers.cpus,
        h5_sample_rate_hz=args.h5_sample_rate,
    )
    return run_clips_on_ray(work, clips, wanted, workers)
