"""What does an update cost, by the method of adaptation: trained parameters, time, memory, the optimiser's state.

    python -m benchmarks.bench_adaptation --encoder AST --frames 128 --clips 2

At the size of the published encoder, or with fewer layers, at random weights, on noise.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from ASDA.audio.front_end import FrontEnd
from ASDA.core import zoo
from ASDA.core.encoder import SpectrogramEncoder
from ASDA.core.patches import patch_grid
from ASDA.objectives.classification import Classification
from benchmarks import measuring
from benchmarks.adapted_encoders import Source
from benchmarks.step import make_optimizer

FULL = "all"
METHODS = (FULL, "last_blocks", "head", "prompts", "lora", "spatial_adapter", "aat_m", "aat")
LEGEND = (
    "One update (forward, backward, AdamW in float32) of {clips} clips of {frames} frames: {name}, {depth} layers of "
    "width {width}, {parameters:,} parameters, a head on the mean of the patches. `ms`: {clock}, methods in turns. "
    "`peak MiB`: what the update takes beyond weights and optimiser state, gradients and activations mostly; "
    "`optimiser MiB`: what AdamW keeps between updates."
)


@dataclass(frozen=True)
class Cost:
    """What an update of a method takes.

    Attributes:
        trained: parameters, the head's among them.
        ms: of an update.
        peak_mib: at most, beyond weights and the optimiser's state.
        optimizer_mib: the optimiser's state.
    """

    trained: int
    ms: float
    peak_mib: float
    optimizer_mib: float

    def cells(self, full: Cost | None) -> list[str]:
        """For a table; times also as a share of full fine-tuning's."""
        share = "" if full is None else f" ({self.ms / full.ms:.2f})"
        return [f"{self.ms:.0f}{share}", f"{self.peak_mib:.1f}", f"{self.optimizer_mib:.1f}"]


COST_HEADINGS = ["ms (of full)", "peak MiB", "optimiser MiB"]


def costs(
    adapted: Callable[[str], Classification],
    methods: Sequence[str],
    batch: dict[str, Any],
    device: torch.device,
    repeats: int,
) -> dict[str, Cost]:
    """What an update on a batch costs, the methods in turns; their networks are all held at once.

    Args:
        adapted: makes the network of a method.
        methods: which.
        batch: arguments of `Classification`, on the device.
        device: of the networks.
        repeats: measured turns.
    """
    if device.type == "cpu":
        measuring.keep_freed_memory(True)  # as a training run has it
    networks = {method: adapted(method).train() for method in methods}
    optimizers = {method: make_optimizer(network) for method, network in networks.items()}

    def update(method: str) -> None:
        networks[method](**batch).total.backward()
        optimizers[method].step()
        optimizers[method].zero_grad(set_to_none=True)

    measured = measuring.take_turns({method: partial(update, method) for method in methods}, device, repeats)
    return {
        method: Cost(
            trained=sum(p.numel() for p in networks[method].parameters() if p.requires_grad),
            ms=1000 * one.seconds,
            peak_mib=one.peak_bytes / measuring.MIB,
            optimizer_mib=_state_bytes(optimizers[method]) / measuring.MIB,
        )
        for method, one in measured.items()
    }


def _state_bytes(optimizer: torch.optim.Optimizer) -> int:
    return sum(
        value.nbytes
        for state in optimizer.state.values()
        for value in state.values()
        if isinstance(value, torch.Tensor)
    )


def _batch(source: Source, clips: int, num_classes: int, device: torch.device) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(0)
    frames, bins = source.front_end.target_length_frames, source.config.num_mel_bins
    spectrogram = torch.randn(clips, 1, frames, bins, generator=generator)
    target = torch.nn.functional.one_hot(torch.arange(clips) % num_classes, num_classes).float()
    return {"spectrogram": spectrogram.to(device), "target": target.to(device)}


def _source(name: str, depth: int | None, frames: int) -> Source:
    config = zoo.SYSTEMS[name]
    if depth is not None:
        config = replace(config, stack=replace(config.stack, depth=depth))
    if config.positions == "learned":
        config = replace(config, max_rows=patch_grid(frames, config.num_mel_bins, config.patches).rows)
    return Source(config, SpectrogramEncoder(config).state_dict(), FrontEnd(frames))


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--encoder", choices=zoo.SYSTEMS, default="AST")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--depth", type=int, help="layers; default: the encoder's own")
    parser.add_argument("--frames", type=int, default=512, help="of a clip, of 10 ms")
    parser.add_argument("--clips", type=int, default=2, help="of an update")
    parser.add_argument("--classes", type=int, default=50)
    measuring.add_arguments(parser, repeats=3)
    args = parser.parse_args(argv)
    measuring.set_threads(args.threads)
    source = _source(args.encoder, args.depth, args.frames)
    found = costs(
        lambda method: source.adapted(method, args.classes, 0, args.device),
        args.methods,
        _batch(source, args.clips, args.classes, args.device),
        args.device,
        args.repeats,
    )
    total = sum(tensor.numel() for tensor in SpectrogramEncoder(source.config).parameters())
    rows = [
        [method, f"{cost.trained:,} ({100 * cost.trained / total:.1f} %)", *cost.cells(found.get(FULL))]
        for method, cost in found.items()
    ]
    legend = LEGEND.format(
        clips=args.clips,
        frames=args.frames,
        name=args.encoder,
        depth=source.config.stack.depth,
        width=source.config.stack.embed_dim,
        parameters=total,
        clock=measuring.clock_name(args.device),
    )
    table = measuring.table(["model.adaptation", "trained (of the encoder's)", *COST_HEADINGS], rows)
    text = "\n\n".join([measuring.environment(args.device), legend, table])
    measuring.publish("bench_adaptation", argv, text, args.output)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
