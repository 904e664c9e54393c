"""Adapts encoders to labelled clips by every method, fold by fold and seed by seed, and measures what an update costs.

    python -m benchmarks.adaptation_runs --folds FOLD ... --encoders asda=CHECKPOINT,... ast --work DIR

An encoder comes with a checkpoint for each seed; NAME_random=CHECKPOINT,... is the same network untrained, and `ast`
AST's network at random weights, of the size of the demo's. The learning rate of a method is chosen once for each
encoder, on a quarter of the first fold's training clips, if there are several to choose from. Results are json files in
DIR/ENCODER/METHOD; those that were made of the same clips, weights and settings are not made again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ASDA.adaptation.adapting import to_dicts
from ASDA.atomic import atomic_writer
from ASDA.core.encoder import SpectrogramEncoder
from ASDA.metrics import accuracy
from ASDA.objectives.classification import Classification
from benchmarks import measuring
from benchmarks.adapted_encoders import UNTRAINED, Clips, Source, checksum_of, methods_of
from benchmarks.bench_adaptation import METHODS, costs

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
        targets.append(losses.statistics["_targets"].cpu())
        scores.append(losses.statistics["_scores"].cpu())
        loss += float(losses.total) * losses.sample_size
    return accuracy(torch.cat(targets).numpy(), torch.cat(scores).numpy()), loss / len(samples)


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


@dataclass(frozen=True)
class Case:
    """An encoder with a seed, its clips and how it is trained.

    Attributes:
        source: the encoder.
        clips: as it hears them.
        folds: folders of these.
        training: of every run.
        seed: of the new head and parts, and of the order of the clips.
        device: where it runs.
    """

    source: Source
    clips: Clips
    folds: Sequence[Path]
    training: Training
    seed: int
    device: torch.device

    def settings(self, method: str, fold: int) -> dict[str, Any]:
        """All that a run's result follows from, its learning rate aside."""
        of_method = to_dicts(methods_of(method, self.source.config.stack.depth))
        own = {"method": of_method, "clips_sha256": checksum_of(self.folds[fold]), "seed": self.seed}
        where = {"device": self.device.type, "torch": torch.__version__}
        return {**own, **asdict(self.training), **self.source.identity(), **where}

    def adapted(self, method: str) -> Classification:
        return self.source.adapted(method, self.clips.num_classes, self.seed, self.device)

    def choose_rate(self, method: str, rates: Sequence[float]) -> dict[str, Any]:
        """The learning rate that is best on clips held out of the first fold's training clips, and what each reached.

        With one to choose from nothing is held out.
        """
        if len(rates) == 1:
            return {"rate": rates[0], "held_out": 0, "reached": {}}
        samples = self.clips.folds[0]["train"]
        held_out = samples[::HELD_OUT_EVERY]
        others = [sample for row, sample in enumerate(samples) if row % HELD_OUT_EVERY]
        reached = {}
        for rate in rates:
            objective = self.adapted(method)
            self.training.run(objective, self.clips, others, rate, self.seed)
            reached[rate] = judge(objective, self.clips, held_out)
        best = max(rates, key=lambda rate: (reached[rate][0], -reached[rate][1]))
        by_rate = {str(rate): value for rate, value in reached.items()}
        return {"rate": best, "held_out": len(held_out), "reached": by_rate}

    def run_fold(self, method: str, fold: int, rate: float) -> dict[str, Any]:
        """Adapts to the training clips of a fold; accuracy on the others after the last update."""
        objective, parts = self.adapted(method), self.clips.folds[fold]
        self.training.run(objective, self.clips, parts["train"], rate, self.seed)
        return {"accuracy": judge(objective, self.clips, parts["eval"])[0], "held_out": len(parts["eval"])}

    def costs(self, methods: Sequence[str], repeats: int) -> dict[str, Any]:
        """What an update of so many clips of full length costs, methods in turns."""
        batch, stack = self.clips.batch(self.clips.longest(self.training.clips)), self.source.config.stack
        found = costs(self.adapted, methods, batch, self.device, repeats)
        return {
            "encoder_parameters": sum(p.numel() for p in SpectrogramEncoder(self.source.config).parameters()),
            "depth": stack.depth,
            "width": stack.embed_dim,
            "clock": measuring.clock_name(self.device),
            "environment": measuring.environment(self.device),
            "methods": {method: asdict(cost) for method, cost in found.items()},
        }


def adapt_encoder(name: str, sources: dict[int, Source], args: argparse.Namespace) -> None:
    """All runs of an encoder, which has a source for each seed."""
    training = Training(args.updates, args.clips)
    cases = {
        seed: Case(source, Clips(args.folds, source, args.device), args.folds, training, seed, args.device)
        for seed, source in sources.items()
    }
    first, folder = cases[args.seeds[0]], args.work / name
    measured = {"methods": args.methods, "repeats": args.repeats, "threads": torch.get_num_threads()}
    kept(
        folder / "cost.json",
        {**first.settings(args.methods[0], 0), **measured},
        partial(first.costs, args.methods, args.repeats),
    )
    for method in args.methods:
        chosen = kept(
            folder / method / "rate.json",
            {**first.settings(method, 0), "rates": args.rates},
            partial(first.choose_rate, method, args.rates),
        )
        for seed, case in cases.items():
            for number, fold in enumerate(args.folds):
                found = kept(
                    folder / method / f"seed{seed}_{fold.name}.json",
                    {**case.settings(method, number), "rate": chosen["rate"]},
                    partial(case.run_fold, method, number, chosen["rate"]),
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
    sources = {seed: Source.read(file, args.frames) for seed, file in zip(args.seeds, checkpoints, strict=True)}
    if name.endswith(UNTRAINED):
        sources = {seed: source.at_random_weights(seed) for seed, source in sources.items()}
    return name, sources


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
    parser.add_argument("--repeats", type=int, default=15, help="measured turns of each method's update")
    parser.add_argument("--device", type=torch.device, default=measuring.best_device())
    args = parser.parse_args(argv)
    for encoder in args.encoders:
        adapt_encoder(*sources_of(encoder, args), args)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
