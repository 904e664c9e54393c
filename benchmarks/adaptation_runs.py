"""Adapts encoders to labelled clips by every method, fold by fold and seed by seed, and measures what an update costs.

    python -m benchmarks.adaptation_runs --folds FOLD ... --encoders asda=CHECKPOINT,... ast --work DIR

An encoder comes with a checkpoint for each seed; `ast` is AST's network at random weights, of the size of the demo's.
The learning rate of a method is chosen once for each encoder, on a quarter of the first fold's training clips, if there
are several to choose from. Results are json files in DIR/ENCODER/METHOD; runs that are there are not repeated.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ASDA.atomic import atomic_writer
from ASDA.core.encoder import SpectrogramEncoder
from ASDA.metrics import accuracy
from ASDA.objectives.classification import Classification
from benchmarks import measuring
from benchmarks.adapted_encoders import Clips, Source
from benchmarks.step import make_optimizer

METHODS = ("all", "last_blocks", "head", "prompts", "lora", "spatial_adapter", "aat_m", "aat")
AST = "ast"
HELD_OUT_EVERY = 4  # of the first fold's training clips, to choose a learning rate by
JUDGED_AT_ONCE = 64


@dataclass(frozen=True)
class Training:
    """How every run trains: AdamW, a tenth of the updates warm-up, then a cosine.

    Attributes:
        updates: of a run.
        clips: of an update.
        weight_decay: of all that is trained.
        clip_norm: largest norm of a gradient.
    """

    updates: int
    clips: int
    weight_decay: float = 0.05
    clip_norm: float = 1.0

    def run(self, objective: Classification, clips: Clips, samples: Sequence[dict], rate: float, seed: int) -> None:
        """Trains; the order of the clips depends on the seed alone."""
        trained = [parameter for parameter in objective.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=rate, weight_decay=self.weight_decay)
        warmup = max(1, self.updates // 10)

        def factor(update: int) -> float:
            return min((update + 1) / warmup, 0.5 * (1 + np.cos(np.pi * update / self.updates)))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        objective.train()
        for batch in self._batches(samples, seed):
            objective(**clips.batch(batch)).total.backward()
            torch.nn.utils.clip_grad_norm_(trained, self.clip_norm)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()

    def _batches(self, samples: Sequence[dict], seed: int) -> Iterator[list[dict]]:
        random, left = np.random.default_rng(seed), np.array([], dtype=int)
        for _ in range(self.updates):
            while len(left) < self.clips:
                left = np.concatenate([left, random.permutation(len(samples))])
            yield [samples[row] for row in left[: self.clips]]
            left = left[self.clips :]


@torch.inference_mode()
def judge(objective: Classification, clips: Clips, samples: Sequence[dict]) -> tuple[float, float]:
    """Accuracy and cross-entropy on clips."""
    objective.eval()
    targets, scores, loss = [], [], 0.0
    for first in range(0, len(samples), JUDGED_AT_ONCE):
        losses = objective(**clips.batch(samples[first : first + JUDGED_AT_ONCE]))
        targets.append(losses.statistics["_targets"])
        scores.append(losses.statistics["_scores"])
        loss += float(losses.total) * losses.sample_size
    return accuracy(torch.cat(targets).numpy(), torch.cat(scores).numpy()), loss / len(samples)


def choose_rate(
    source: Source, method: str, clips: Clips, training: Training, rates: Sequence[float], seed: int
) -> dict[str, Any]:
    """The learning rate that is best on clips held out of the first fold's training clips, and what each reached.

    With one to choose from nothing is held out.
    """
    if len(rates) == 1:
        return {"rate": rates[0], "held_out": 0, "reached": {}}
    samples = clips.folds[0]["train"]
    held_out = samples[::HELD_OUT_EVERY]
    others = [sample for row, sample in enumerate(samples) if row % HELD_OUT_EVERY]
    reached = {}
    for rate in rates:
        objective = source.adapted(method, clips.num_classes, seed)
        training.run(objective, clips, others, rate, seed)
        reached[rate] = judge(objective, clips, held_out)
    best = max(rates, key=lambda rate: (reached[rate][0], -reached[rate][1]))
    return {"rate": best, "held_out": len(held_out), "reached": {str(rate): value for rate, value in reached.items()}}


def cost(source: Source, methods: Sequence[str], clips: Clips, number: int, repeats: int) -> dict[str, Any]:
    """Parameters, time and peak memory of an update of so many clips of full length, methods in turns."""
    batch, updates, counts = clips.batch(clips.longest(number)), {}, {}
    for method in methods:
        objective = source.adapted(method, clips.num_classes, 0).train()
        counts[method] = sum(p.numel() for p in objective.parameters() if p.requires_grad)
        updates[method] = _update(objective, batch)
    total = sum(tensor.numel() for tensor in SpectrogramEncoder(source.config).parameters())
    measured = measuring.take_turns(updates, torch.device("cpu"), repeats)
    of_methods = {
        method: {"trained": counts[method], "ms": 1000 * m.seconds, "peak_mib": m.peak_bytes / measuring.MIB}
        for method, m in measured.items()
    }
    return {"clips": number, "encoder_parameters": total, "methods": of_methods}


def _update(objective: Classification, batch: dict[str, Any]) -> Callable[[], None]:
    optimizer = make_optimizer(objective)

    def update() -> None:
        objective(**batch).total.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return update


def kept(file: Path, settings: dict[str, Any], make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What a file holds, if it was made with these settings; else what is made now, which it then holds."""
    settings = json.loads(json.dumps(settings))
    if file.is_file():
        found = json.loads(file.read_text(encoding="utf-8"))
        if found["settings"] == settings:
            return found
    found = {"settings": settings, **make()}
    with atomic_writer(file) as handle:
        handle.write(json.dumps(found, indent=1) + "\n")
    return found


def run_fold(
    source: Source, method: str, clips: Clips, fold: int, training: Training, rate: float, seed: int
) -> dict[str, Any]:
    """Adapts to the training clips of a fold; accuracy on the others after the last update."""
    objective, parts = source.adapted(method, clips.num_classes, seed), clips.folds[fold]
    training.run(objective, clips, parts["train"], rate, seed)
    return {"accuracy": judge(objective, clips, parts["eval"])[0], "held_out": len(parts["eval"])}


def adapt_encoder(name: str, sources: dict[int, Source], args: argparse.Namespace) -> None:
    """All runs of an encoder, which has a source for each seed."""
    folder, first, training = args.work / name, args.seeds[0], Training(args.updates, args.clips)
    clips = {seed: Clips(args.folds, source) for seed, source in sources.items()}
    shared = {"updates": args.updates, "clips": args.clips, "frames": args.frames}
    of_seed = {seed: {**shared, "seed": seed, **source.identity()} for seed, source in sources.items()}
    kept(
        folder / "cost.json",
        {**of_seed[first], "methods": args.methods, "repeats": args.repeats},
        partial(cost, sources[first], args.methods, clips[first], args.clips, args.repeats),
    )
    for method in args.methods:
        chosen = kept(
            folder / method / "rate.json",
            {**of_seed[first], "rates": args.rates},
            partial(choose_rate, sources[first], method, clips[first], training, args.rates, first),
        )
        for seed in args.seeds:
            for number, fold in enumerate(args.folds):
                found = kept(
                    folder / method / f"seed{seed}_{fold.name}.json",
                    {**of_seed[seed], "rate": chosen["rate"]},
                    partial(run_fold, sources[seed], method, clips[seed], number, training, chosen["rate"], seed),
                )
                print(f"{name}, {method}, seed {seed}, {fold.name}: accuracy {found['accuracy']:.3f}", flush=True)


def sources_of(encoder: str, args: argparse.Namespace) -> tuple[str, dict[int, Source]]:
    """The name of an encoder and its source for each seed."""
    name, _, files = encoder.partition("=")
    if name == AST and not files:
        return name, {seed: Source.random_ast(args.frames, args.normalisation, seed) for seed in args.seeds}
    checkpoints = files.split(",")
    if len(checkpoints) != len(args.seeds):
        raise SystemExit(f"{name}: {len(checkpoints)} checkpoints, expected one for each of {len(args.seeds)} seeds")
    return name, {seed: Source.read(file, args.frames) for seed, file in zip(args.seeds, checkpoints, strict=True)}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--folds", nargs="+", type=Path, required=True, help="folders of one corpus in folds")
    parser.add_argument("--encoders", nargs="+", required=True, metavar="NAME=FILE,...", help="a file per seed; or ast")
    parser.add_argument("--work", type=Path, required=True, help="folder of the results")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[1])
    parser.add_argument("--rates", nargs="+", type=float, default=[1e-3, 4e-3], help="to choose from")
    parser.add_argument("--updates", type=int, default=50)
    parser.add_argument("--clips", type=int, default=16, help="of an update")
    parser.add_argument("--frames", type=int, default=64, help="of a clip")
    parser.add_argument("--normalisation", nargs=2, type=float, default=[-4.268, 4.569], help="mean and std, of AST")
    parser.add_argument("--repeats", type=int, default=5, help="measured turns of each method's update")
    args = parser.parse_args(argv)
    for encoder in args.encoders:
        adapt_encoder(*sources_of(encoder, args), args)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
