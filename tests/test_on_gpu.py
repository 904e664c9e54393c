"""The one command for a machine with a card: its parts, its limits, what it tells; tried on the CPU at tiny sizes."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch

from benchmarks import on_gpu
from benchmarks.on_gpu import DONE, NOT_MEASURED, Outcome, Part, tables_of, targets_table
from benchmarks.profiling import covered

ROOT = Path(__file__).resolve().parents[1]


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    command = ["bash", str(ROOT / "benchmarks" / "on_gpu.sh"), *arguments]
    settings = {**os.environ, "OMP_NUM_THREADS": "1", "ASDA_PYTHON": sys.executable, "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(command, env=settings | environment, capture_output=True, text=True, timeout=900)


@pytest.mark.slow
@pytest.mark.long
def test_on_gpu__tiny_does_every_part_and_says_that_nothing_was_measured(tmp_path):
    pytest.importorskip("fairseq", reason="updates are made in fairseq's trainer")
    distinct = {(part.module, part.tiny): part.name for part in reversed(on_gpu.PARTS)}  # several are tried alike
    names = [part.name for part in on_gpu.PARTS if part.name in distinct.values()]
    process = run(*names, "--tiny", "--output", str(tmp_path), "--minutes", "30", "--patience", "10")
    logs = "\n".join(f"{log.name}: {log.read_text()[-1500:]}" for log in tmp_path.glob("*.log"))
    assert process.returncode == 0, process.stderr[-1000:] + logs
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert {part["part"]: part["state"] for part in summary["parts"]} == dict.fromkeys(names, DONE)
    assert summary["measured_on_a_gpu"] is False
    text = (tmp_path / "summary.md").read_text()
    assert text.count(NOT_MEASURED) == 1 + len(on_gpu.TARGETS) and " reached" not in text
    for name in names[1:]:
        found = json.loads((tmp_path / f"{name}.json").read_text())
        assert found["tables"][0]["rows"] and " -m benchmarks.bench_" in found["command"]
    steps = json.loads((tmp_path / "step_12.json").read_text())["tables"]
    rows = [row[0] for row in steps[0]["rows"]]
    assert rows[-1] == "trainer fp32" and len(steps) == 3
    assert {f"{target.row.split()[0]} fp32" for target in on_gpu.TARGETS} <= set(rows)
    assert {target.column for target in on_gpu.TARGETS} <= set(steps[0]["headings"])


def test_on_gpu__without_a_card_is_refused():
    process = run("loader")
    assert process.returncode == 1 and process.stdout == ""
    assert process.stderr == "on_gpu: torch finds no CUDA device here; --tiny tries it on the CPU\n"


def test_on_gpu__wheels_are_used_and_not_installed(tmp_path):
    pytest.importorskip("pip")
    wheel = tmp_path / "wheels" / "carried_along-1.0-py3-none-any.whl"
    wheel.parent.mkdir()
    with zipfile.ZipFile(wheel, "w") as archive:
        about = "carried_along-1.0.dist-info"
        archive.writestr("sitecustomize.py", "print('carried along')")
        archive.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: carried-along\nVersion: 1.0\n")
        archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{about}/RECORD", "")
    process = run("loader", WHEELS=str(wheel.parent), TMPDIR=str(tmp_path))
    assert process.stdout == "carried along\n" and "no CUDA device" in process.stderr
    assert list(tmp_path.iterdir()) == [wheel.parent]
    assert "holds no wheels" in run("loader", WHEELS=str(tmp_path)).stderr


@pytest.fixture
def three_parts(monkeypatch, tmp_path):
    """One that is done, one that fails, one that takes too long, with a process of its own that must end with it."""
    done = "import sys; open(sys.argv[-1], 'w').write('| a | b |\\n|---|--:|\\n| x | 1 |\\n')"
    endless = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(300)'])"
    programs = {"good": done, "bad": "raise SystemExit('it | broke')", "long": endless, "last": done}
    parts = tuple(Part(name, "why?", "none", "", "", 2 if name == "long" else 60) for name in programs)
    monkeypatch.setattr(on_gpu, "PARTS", parts)
    command = [sys.executable, "-c"]
    monkeypatch.setattr(on_gpu, "command_of", lambda part, tiny, report: [*command, programs[part.name], str(report)])
    return tmp_path


def states(folder: Path) -> dict[str, str]:
    return {part["part"]: part["state"] for part in json.loads((folder / "summary.json").read_text())["parts"]}


def test_on_gpu__a_part_that_fails_or_takes_too_long_is_named_and_the_others_go_on(three_parts, capsys):
    (three_parts / "bad.json").write_text("of an earlier run")
    assert on_gpu.main(["--tiny", "--output", str(three_parts)]) == 1
    assert states(three_parts) == {
        "good": DONE,
        "bad": "failed, exit code 1: it | broke",
        "long": "out of time after 2 s",
        "last": DONE,
    }
    assert capsys.readouterr().err == "on_gpu: not done: bad, long\n"
    assert (three_parts / "bad.log").read_text() == "it | broke\n" and not (three_parts / "good.log").exists()
    assert not (three_parts / "bad.json").exists()
    found = json.loads((three_parts / "good.json").read_text())
    assert found["tables"] == [{"headings": ["a", "b"], "rows": [["x", "1"]]}]


def test_on_gpu__what_the_minutes_do_not_suffice_for_is_not_begun(three_parts):
    assert on_gpu.main(["--tiny", "--minutes", "0", "--output", str(three_parts)]) == 1
    assert set(states(three_parts).values()) == {"not begun: 0 minutes were over"}


def test_on_gpu__unknown_part():
    with pytest.raises(SystemExit) as stop:
        on_gpu.main(["nothing"])
    assert stop.value.code == 2


def test_parts__fit_into_the_minutes_in_the_order_of_what_they_are_worth():
    names = [part.name for part in on_gpu.PARTS]
    assert names[:3] == ["tests", "step_12", "step_48"] and len(set(names)) == len(names)
    assert sum(part.limit_s for part in on_gpu.PARTS[:5]) <= 480  # whatever they do, these are begun
    assert on_gpu.gpu_tests() and all((ROOT / file).exists() for file in on_gpu.gpu_tests())


def test_tables_of__each_table_of_a_report():
    text = "about\n\n| a  | b |\n|:---|--:|\n| x | 1 |\n| y | 2 |\n\nand\n\n| c |\n|---|\n\nend"
    first, second = tables_of(text)
    assert first == {"headings": ["a", "b"], "rows": [["x", "1"], ["y", "2"]]}
    assert second == {"headings": ["c"], "rows": []}


def test_targets__are_reached_or_not_by_what_a_card_has_shown():
    headings = ["step", "ms", "plain/ms", "MiB/plain", "of matmul"]
    rows = [["fast bf16", "60", "2.10", "0.70", "33%"], ["trainer bf16", "47", "-", "-", "29%"]]
    outcomes = [Outcome("step_12", DONE, tables=[{"headings": headings, "rows": rows}])]
    (table,) = tables_of(targets_table(outcomes, on_card=True))
    assert [row[2:] for row in table["rows"]] == [
        ["47", "reached"],
        ["-", NOT_MEASURED],  # fp16 has no row
        ["29%", "not reached"],
        ["2.10", "reached"],
        ["0.70", "not reached"],
    ]
    (table,) = tables_of(targets_table(outcomes, on_card=False))
    assert {row[3] for row in table["rows"]} == {NOT_MEASURED}


def test_covered__counts_what_ranges_share_once():
    assert covered([(5, 6), (0, 2), (1, 3), (1.5, 2)]) == 4
    assert covered([]) == 0


def test_profiled__names_operations_and_the_time_between_them():
    import time

    from benchmarks.profiling import profiled

    x = torch.randn(200, 200)

    def work():
        x @ x
        time.sleep(0.02)

    found = profiled(work, torch.device("cpu"), repeats=2)
    assert found.operations[0][0] in ("aten::mm", "aten::matmul") and found.wall_ms > 20 and found.idle > 0.5
    calls = {name: calls for name, _, calls in found.operations}
    assert calls["aten::mm"] == 1
    (table,) = tables_of(found.table(most=1))
    assert len(table["rows"]) == 2 and "others" in table["rows"][1][0]
