"""docs/reproducing.md: its commands compose, and what it says of their work is what is counted."""

import re
import shlex
from pathlib import Path

import pytest

pytest.importorskip("fairseq", reason="work is counted on the registered models")

from ASDA.fairseq_plugin.counting import update_flops
from ASDA.fairseq_plugin.describing import require_known_keys
from ASDA.launch.ablation.grid import Grid
from ASDA.launch.ablation.grid_file import find_grid
from ASDA.launch.arguments import Arguments
from ASDA.launch.recipe import Recipe, find_config

pytestmark = pytest.mark.long  # hydra takes a second for each command

DOCUMENT = (Path(__file__).resolve().parents[1] / "docs" / "reproducing.md").read_text(encoding="utf-8")
COMMANDS = sorted(set(re.findall(r"`((?:\./pretraining_\w+\.sh|scripts/finetune\.sh|asda-ablate) ?[^`]*)`", DOCUMENT)))
RATE = 120e12
PRETRAINING = [
    [cell.strip() for cell in line.strip("|").split("|")] for line in DOCUMENT.splitlines() if "`./pretraining" in line
]


def composed(command: str) -> Recipe:
    script, *words = shlex.split(command)
    config = "finetuning" if "finetune" in script else Path(script).stem
    return Recipe(find_config(config), Arguments.parse(words))


@pytest.mark.parametrize("command", COMMANDS)
def test_reproducing__every_command_composes(command):
    if command.startswith("asda-ablate"):
        assert Grid.read(find_grid(command.split()[1])).seeds
    else:
        require_known_keys(composed(command).config)


@pytest.mark.parametrize("row", [row for row in PRETRAINING if len(row) == 7], ids=lambda row: row[0])
def test_reproducing__work_and_hours_are_those_that_are_counted(row):
    _, _, command, schedule, gflop, eflop, hours = row
    recipe = composed(command.strip("`"))
    updates, clips = (int(number.replace(",", "")) for number in schedule.split(" x "))
    assert updates == recipe.get("optimization.max_update") and clips == recipe.get("task.clips_per_update")
    counted = update_flops(recipe.config)
    assert counted / clips / 1e9 == pytest.approx(float(gflop), abs=0.1)
    assert updates * counted / 1e18 == pytest.approx(float(eflop), rel=0.01)
    assert updates * counted / RATE / 3600 == pytest.approx(float(hours), rel=0.02)
