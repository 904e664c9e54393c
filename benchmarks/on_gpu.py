"""Everything that wants a card, in one command and at most 8 minutes: benchmarks/on_gpu.sh calls this.

    python -m benchmarks.on_gpu [PART ...] [--minutes 8] [--patience 1] [--output FOLDER] [--tiny]

Each part is a process of its own with a limit of its own. One that fails or runs out of time is named, and the others
go on; what the minutes do not suffice for, at the end of the list, is not begun. Of each part that is done the folder
(benchmarks/results/cuda) gets NAME.md and NAME.json, of each other one NAME.log; summary.md and summary.json tell of
all parts, and of the targets. --tiny tries all of it at sizes whose numbers mean nothing, on a CPU, too.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from benchmarks import measuring

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "cuda"
DONE = "done"
NOT_MEASURED = "not measured on a GPU"

_TINY_STEP = "--clips 1 --students 2 --depth 1 --embed-dim 64 --repeats 1"
_TINY_TEST = "tests/core/test_layer_norm.py"


@dataclass(frozen=True)
class Part:
    """A measurement.

    Attributes:
        name: of its files.
        question: that it answers.
        module: that is run.
        arguments: on a card.
        tiny: for trying it out.
        limit_s: that it may take.
    """

    name: str
    question: str
    module: str
    arguments: str
    tiny: str
    limit_s: int


def _compiled(precision: str, clips: int) -> Part:
    return Part(
        f"compiled_{precision}_{clips}",
        f"what does torch.compile bring a step of {clips} clips in {precision}?",
        "bench_step",
        f"--clips {clips} --precisions {precision} --no-plain --compiled --trainer --repeats 3",
        f"{_TINY_STEP} --precisions fp32 --no-plain --trainer",  # a compiler is no matter of a try
        90,
    )


# In this order: what comes last is what minutes that do not suffice leave out.
PARTS = (
    Part("tests", "do the tests for a GPU pass?", "pytest", "-m gpu", "", 90),
    *(
        Part(
            f"step_{clips}",
            f"what does a step of {clips} clips cost, plain and fast, bare and in the trainer, in each precision?",
            "bench_step",
            f"--clips {clips} --precisions fp32 tf32 bf16 fp16 --trainer --repeats 3",
            f"{_TINY_STEP} --precisions fp32 --trainer",  # a CPU without bf16 of its own takes minutes for it
            80,
        )
        for clips in (12, 48)
    ),
    Part(
        "profile",
        "which kernels does an update consist of, and how long does the card idle?",
        "bench_update",
        "pretraining --profile --clips 12 --precisions bf16 --repeats 3",
        f"pretraining --profile --precisions fp32 {_TINY_STEP}",
        45,
    ),
    _compiled("bf16", 12),
    Part(
        "attention",
        "what does each kind of attention cost, by length?",
        "bench_attention",
        "--encoder --tokens 103 257 513 1025 2049 --precisions bf16 --repeats 3",
        "--encoder --depth 1 --tokens 17 --embed-dim 64 --repeats 1 --precisions fp32",
        45,
    ),
    Part(
        "finetuning",
        "what does an update of fine-tuning cost?",
        "bench_update",
        "finetuning --clips 32 --precisions fp32 tf32 bf16 fp16 --repeats 3",
        f"finetuning --precisions fp32 {_TINY_STEP}",
        60,
    ),
    Part(
        "extraction",
        "how many clips per second does extraction take?",
        "bench_extract",
        "--clips 384 --single 1 --depths 12 --threads 0",
        "--clips 2 --single 1 --seconds 1 --depths 1 --width 64",
        60,
    ),
    Part(
        "loader",
        "what do data-loading processes deliver?",
        "bench_data",
        "--workers 2 4 8 16 --clips 240 --repeats 1",
        "--workers 1 --clips 4 --seconds 1 --repeats 1",
        60,
    ),
    _compiled("bf16", 48),
    _compiled("tf32", 12),
    _compiled("fp16", 12),
    _compiled("fp32", 12),
)


@dataclass
class Outcome:
    """What has become of a part.

    Attributes:
        part: its name.
        state: DONE, or why it is not.
        seconds: that it took.
        command: that makes it.
        tables: of its report, each with headings and rows.
        text: its report.
    """

    part: str
    state: str
    seconds: float = 0.0
    command: str = ""
    tables: list[dict] = field(default_factory=list)
    text: str = ""


def gpu_tests() -> list[str]:
    """The files that have tests for a GPU: to collect all the others takes longer than to run these."""
    files = sorted((ROOT / "tests").rglob("test_*.py"))
    return [str(file.relative_to(ROOT)) for file in files if "mark.gpu" in file.read_text()]


def command_of(part: Part, tiny: bool, report: Path) -> list[str]:
    """The words that run a part; all but the tests write a report."""
    arguments = shlex.split(part.tiny if tiny else part.arguments)
    if part.module == "pytest":
        files = [_TINY_TEST] if tiny else gpu_tests()
        return [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments, *files]
    return [sys.executable, "-m", f"benchmarks.{part.module}", *arguments, "--output", str(report)]


def run_part(part: Part, tiny: bool, left_s: float, output: Path, patience: float = 1.0) -> Outcome:
    """Runs a part, and writes its report, or what it said if it comes to no good end.

    Args:
        part: which.
        tiny: at the sizes for trying it out.
        left_s: seconds that there are for all that is left.
        output: folder of the results.
        patience: what its limit is multiplied by.
    """
    report, log = output / f"{part.name}.md", output / f"{part.name}.log"
    for old in (report, report.with_suffix(".json"), log):
        old.unlink(missing_ok=True)
    limit_s = min(patience * part.limit_s, left_s)
    command = command_of(part, tiny, report)
    start = time.monotonic()
    with log.open("w") as said:
        # A group of its own: data-loading processes end with it.
        process = subprocess.Popen(command, cwd=ROOT, stdout=said, stderr=said, start_new_session=True)
        try:
            code = process.wait(limit_s)
            state = DONE if code == 0 else f"failed, exit code {code}"
        except subprocess.TimeoutExpired:
            state = f"out of time after {limit_s:.0f} s"
        finally:
            _end(process)
    said = log.read_text(errors="replace").strip()
    shown = " ".join(["python", *command[1:]])
    outcome = Outcome(part.name, state, round(time.monotonic() - start, 1), shown.partition(" --output ")[0])
    if state == DONE:
        if part.module == "pytest":
            report.write_text(f"`{outcome.command}`\n\n{said.splitlines()[-1]}\n")
        outcome.text = report.read_text()
        outcome.tables = tables_of(outcome.text)
        log.unlink()
        report.with_suffix(".json").write_text(json.dumps(asdict(outcome), indent=1) + "\n")
    elif said:
        outcome.state += f": {said.splitlines()[-1][:300]}"
    return outcome


def _end(process: subprocess.Popen) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:  # all of it has ended
        pass
    process.wait()


def tables_of(text: str) -> list[dict]:
    """The markdown tables of a report, as {"headings": [...], "rows": [[...], ...]}."""
    tables: list[dict] = []
    before = ""
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")] if line.startswith("|") else []
        if cells and not before.startswith("|"):
            tables.append({"headings": cells, "rows": []})
        elif cells and not all(re.fullmatch(r":?-+:?", cell) for cell in cells):
            tables[-1]["rows"].append(cells)
        before = line
    return tables


# -- targets


@dataclass(frozen=True)
class Target:
    """What a card of the class of an H100 is to reach.

    Attributes:
        aim: in words.
        part: whose first table tells.
        row: its row.
        column: its column.
        reached: whether a number does.
    """

    aim: str
    part: str
    row: str
    column: str
    reached: Callable[[float], bool]


TARGETS = (
    Target("an update of 12 clips in at most 48 ms (bf16)", "step_12", "trainer bf16", "ms", lambda ms: ms <= 48),
    Target("the same in fp16, as the recipe has it", "step_12", "trainer fp16", "ms", lambda ms: ms <= 48),
    Target("30 % of the rate of matrix products", "step_12", "trainer bf16", "of matmul", lambda share: share >= 30),
    Target("2x the plain step (bf16)", "step_12", "fast bf16", "plain/ms", lambda ratio: ratio >= 2),
    Target("0.6 of its memory", "step_12", "fast bf16", "MiB/plain", lambda ratio: ratio <= 0.6),
)


def targets_table(outcomes: list[Outcome], on_card: bool) -> str:
    """Each target, what was found, and whether that reaches it."""
    done = {outcome.part: outcome for outcome in outcomes if outcome.state == DONE}
    rows = []
    for target in TARGETS:
        found = _cell(done[target.part], target) if on_card and target.part in done else ""
        number = re.match(r"[0-9.]+", found)
        if number is None:
            rows.append((target.aim, f"{target.row}, {target.column}", found or "-", NOT_MEASURED))
            continue
        verdict = "reached" if target.reached(float(number[0])) else "not reached"
        rows.append((target.aim, f"{target.row}, {target.column}", found, verdict))
    return measuring.table(("target", "row, column", "found", ""), rows)


def _cell(outcome: Outcome, target: Target) -> str:
    table = outcome.tables[0]
    rows = {row[0]: dict(zip(table["headings"], row, strict=True)) for row in table["rows"]}
    return rows.get(target.row, {}).get(target.column, "")


# -- all of it


def write_summary(outcomes: list[Outcome], device: torch.device, output: Path) -> None:
    """summary.md and summary.json."""
    on_card = device.type == "cuda"
    questions = {part.name: part.question for part in PARTS}
    rows = [(o.part, questions[o.part], f"{o.seconds:.0f}", o.state.replace("|", "/")) for o in outcomes]
    warning = "" if on_card else f"No card: the numbers of this folder are {NOT_MEASURED}, and mean nothing.\n\n"
    text = (
        f"`benchmarks/on_gpu.sh`\n\n{warning}{measuring.environment(device)}\n\n"
        f"{measuring.table(('part', 'question', 's', 'state'), rows)}\n\n"
        f"{targets_table(outcomes, on_card)}\n"
    )
    (output / "summary.md").write_text(text)
    content = {
        "environment": measuring.environment(device),
        "measured_on_a_gpu": on_card,
        "parts": [asdict(outcome) for outcome in outcomes],
    }
    (output / "summary.json").write_text(json.dumps(content, indent=1) + "\n")
    print(f"\n{text}", end="")


def main(argv: list[str] | None = None) -> int:
    """Runs the parts. Exit code 0 if all are done, else 1."""
    names = [part.name for part in PARTS]
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"default: {' '.join(names)}")
    parser.add_argument("--minutes", type=float, default=8.0, help="for all of it [%(default)s]")
    parser.add_argument("--patience", type=float, default=1.0, help="times the limits of the parts [%(default)s]")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of the results [%(default)s]")
    parser.add_argument("--tiny", action="store_true", help="try it out, on a CPU, too")
    args = parser.parse_args(argv)
    if unknown := set(args.parts) - set(names):
        parser.error(f"unknown: {' '.join(sorted(unknown))}; there are {' '.join(names)}")
    until = time.monotonic() + 60 * args.minutes
    device = measuring.best_device()
    if device.type != "cuda" and not args.tiny:
        print("on_gpu: torch finds no CUDA device here; --tiny tries it on the CPU", file=sys.stderr)
        return 1
    if args.tiny and args.output == RESULTS:
        args.output = Path(tempfile.mkdtemp(prefix="on_gpu-"))
    output = args.output.absolute()
    output.mkdir(parents=True, exist_ok=True)
    outcomes = []
    for part in PARTS:
        if args.parts and part.name not in args.parts:
            continue
        left_s = until - time.monotonic()
        if left_s <= 0:
            outcomes.append(Outcome(part.name, f"not begun: {args.minutes:g} minutes were over"))
            continue
        outcomes.append(run_part(part, args.tiny, left_s, output, args.patience))
        print(f"on_gpu: {part.name}: {outcomes[-1].state} ({outcomes[-1].seconds:.0f} s)", flush=True)
    write_summary(outcomes, device, output)
    open_ends = [outcome.part for outcome in outcomes if outcome.state != DONE]
    if open_ends:
        print(f"on_gpu: not done: {', '.join(open_ends)}", file=sys.stderr)
    return 1 if open_ends else 0


if __name__ == "__main__":
    raise SystemExit(main())
