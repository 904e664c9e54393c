"""Every measurement at a size that fits the machine, each in a process of its own, each to its table.

    python -m benchmarks.run_all [NAME ...] [--output FOLDER] [--tiny]

The tables lie in benchmarks/results/cpu or benchmarks/results/cuda. benchmarks/README.md says what they tell.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks import measuring

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Plan:
    """A benchmark and its arguments on a CPU, on a GPU (None: not worth running there), and for trying it out."""

    module: str
    cpu: str | None
    cuda: str | None
    tiny: str


def _objectives(layers: int, frames: int = 1024, size: str = "") -> str:
    """MAE-AST against an encoder over all patches, SSAST and ASDA."""
    dropout = "model.dropout=0 model.attention_dropout=0 model.dropout_input=0"  # the others have none
    of_all = f"{size}task.target_length={frames} model."
    mae_ast = f"pretraining_MAE_AST {of_all}encoder_layers={layers} model.encoder_layerdrop=0"
    ssast = f"pretraining_SSAST {of_all}depth={layers}"
    runs = {
        "MAE-AST": f"{mae_ast} {dropout}",
        "MAE-AST with dropout, as its recipe has it": mae_ast,
        "SSAST, one pass for both losses": f"{ssast} model.clone_batch=1",
        "SSAST, a pass for each loss": ssast,
    }
    if layers == 12:
        runs["ASDA, 16 students"] = f"pretraining_AS2M {of_all}depth=12"
    texts = " ".join(shlex.quote(f"{name}: {words}") for name, words in runs.items())
    return f"--runs {texts} --whole-clips {shlex.quote(f'encoder over all patches: {mae_ast} {dropout}')}"


PLANS = {
    "front_end": Plan("bench_frontend", "", None, "--seconds 1 --repeats 1"),
    "front_end_44k_stereo": Plan(
        "bench_frontend",
        "--sample-rate-hz 44100 --channels 2",
        None,
        "--sample-rate-hz 44100 --channels 2 --seconds 1 --repeats 1",
    ),
    "data": Plan("bench_data", "", None, "--clips 2 --seconds 1 --repeats 1 --rows 1000"),
    "containers": Plan("bench_containers", "", None, "--clips 4 --seconds 1 --repeats 1"),
    "loading": Plan(
        "bench_data",
        "--workers 1 2 --clips 96 --repeats 3",
        "--workers 2 4 8 16 --clips 240 --repeats 3",
        "--workers 1 --clips 2 --seconds 1 --repeats 1",
    ),
    "attention": Plan(
        "bench_attention",
        "--threads 1",
        "--tokens 103 257 513 1025 2049 4097",
        "--tokens 17 --embed-dim 64 --repeats 1",
    ),
    "attention_cost": Plan(
        "bench_attention",
        "--encoder --depth 1 --tokens 103 257 513 1025 --precisions fp32 --threads 1 --repeats 2",
        "--encoder --tokens 103 257 513 1025 2049 --repeats 10",
        "--encoder --depth 1 --tokens 17 --embed-dim 64 --repeats 1",
    ),
    "step": Plan(
        "bench_step",
        "--compiled --checkpointed --repeats 2",
        "--clips 12 --compiled --checkpointed --trainer --repeats 10",
        # float32: a CPU without instructions for half precision takes minutes for it even so
        "--clips 1 --students 2 --depth 1 --embed-dim 64 --precisions fp32 --repeats 1 --checkpointed",
    ),
    "trainer": Plan(
        "bench_step",
        "--trainer --precisions fp32 --threads 1 --clips 1 --repeats 2",
        None,  # `step` has it
        "--trainer --precisions fp32 --students 2 --depth 1 --embed-dim 64 --repeats 1",
    ),
    "update": Plan(
        "bench_update",
        "pretraining finetuning --threads 1 --clips 1 --precisions fp32 --repeats 3",
        "pretraining finetuning --clips 12 --precisions fp32 bf16 fp16 --repeats 10",
        "pretraining finetuning --clips 1 --students 2 --depth 1 --embed-dim 64 --precisions fp32 --repeats 1",
    ),
    "profile": Plan(
        "bench_update",
        "pretraining --profile --threads 1 --clips 1 --precisions fp32 --repeats 1",
        "pretraining --profile --clips 12 --precisions bf16 --repeats 3",
        "pretraining --profile --clips 1 --students 2 --depth 1 --embed-dim 64 --precisions fp32 --repeats 1",
    ),
    **{
        f"objectives_{layers}_layers": Plan(
            "bench_step",
            f"{_objectives(layers)} --precisions fp32 --clips 1 --threads 1 --repeats 1",
            f"{_objectives(layers)} --clips 16 --repeats 10",
            f"{_objectives(layers, 64, '+size=tiny ')} --precisions fp32 --clips 1 --repeats 1",
        )
        for layers in (6, 12)
    },
    "students": Plan(
        "bench_students",
        "--repeats 2",
        "--clips 6 --precision bf16 --repeats 10",
        "--students 2 --depth 1 --embed-dim 64 --repeats 1",
    ),
    "adaptation": Plan(
        "bench_adaptation",
        "--frames 128 --clips 2 --threads 1 --repeats 2",
        "--clips 48 --repeats 10",
        "--depth 1 --frames 32 --clips 1 --repeats 1 --methods all head aat",
    ),
    "extract": Plan("bench_extract", "", "--clips 256", "--clips 2 --single 1 --seconds 1 --depths 1"),
    "extract_growth": Plan(
        "bench_extract",
        "--growth 1000 4000 20000 --seconds 1 --width 64 --depths 1",
        "--growth 1000 4000 20000 --seconds 1 --width 64 --depths 1",
        "--growth 2 3 --seconds 1 --width 64 --depths 1",
    ),
    "short_clips": Plan(
        "bench_short_clips", "", "--workers 1 2 4 8", "--clips 4 --few 1 --seconds 0.5 --workers 1 --turns 1"
    ),
    "programs": Plan(
        "bench_programs",
        "",
        "--clips 256",
        "--clips 2 --seconds 1 --turns 1 --single 1 --width 64 --depth 1",
    ),
    "process_per_file": Plan(
        "bench_programs",
        "--against files --clips 128",
        "--against files --clips 512",
        "--against files --clips 2 --seconds 1 --single 1 --width 64 --depth 1",
    ),
    "ray": Plan(
        "bench_ray",
        "",
        "--clips 4096 --few 64 --depth 12",
        "--clips 3 --few 1 --seconds 1 --depth 1 --width 64 --workers 1 --threads 1",
    ),
}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"default: {' '.join(PLANS)}")
    parser.add_argument("--output", type=Path, help="folder for the tables (default: benchmarks/results/DEVICE)")
    parser.add_argument("--tiny", action="store_true", help="seconds instead of an hour; the numbers mean nothing")
    args = parser.parse_args(argv)
    if unknown := set(args.names) - set(PLANS):
        parser.error(f"unknown: {' '.join(sorted(unknown))}; there are {' '.join(PLANS)}")
    device = measuring.best_device().type
    output = args.output or RESULTS / device
    failed = []
    for name in args.names or PLANS:
        plan = PLANS[name]
        arguments = getattr(plan, "tiny" if args.tiny else device)
        if arguments is None:
            continue
        print(f"\n== {name}", flush=True)
        command = [sys.executable, "-m", f"benchmarks.{plan.module}", *shlex.split(arguments)]
        if subprocess.run([*command, "--output", str((output / f"{name}.md").absolute())]).returncode != 0:
            failed.append(name)
    if failed:
        print(f"run_all: failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
