"""Grids: what their yaml means, and what of it is refused, in one line that names file and key."""

from pathlib import Path

import pytest

pytest.importorskip("hydra", reason="settings are composed by hydra")

from ASDA.launch.ablation.grid import Grid
from ASDA.launch.ablation.grid_file import GRID_FOLDER, find_grid
from ASDA.launch.ablation.stages import PRETRAINING, compose_grid
from ASDA.launch.ablation.words import joined_words
from ASDA.launch.composing import CONFIG_FOLDER
from ASDA.launch.settings import LaunchError

TASKS = "tasks: {events: {probe: mean, finetuning: finetuning demo_finetuning}}\n"
HEAD = f"seeds: [1, 2]\nreference: a\npretraining: pretraining_AS2M demo_pretraining\n{TASKS}"
GOOD = f"{HEAD}settings:\n  a: {{}}\n  b: {{pretraining: model.diff_lambda=0}}\n"


@pytest.fixture
def write(tmp_path):
    def write(text: str, name: str = "grid") -> Path:
        file = tmp_path / f"{name}.yaml"
        file.write_text(text)
        return file

    return write


def test_joined_words__later_values_win_and_recipes_stand_first():
    first = ("pretraining_AS2M", "demo_pretraining", "+size=tiny", "model.depth=4", "optimization.lr=[0.1]")
    later = ("EAT", "model.depth=2", "+size=small")
    expected = ("pretraining_AS2M", "demo_pretraining", "EAT", "+size=small", "model.depth=2", "optimization.lr=[0.1]")
    assert joined_words(first, later) == expected
    assert joined_words(first, ("pretraining_MAE_AST", "model.encoder_layers=2"))[1:] == ("model.encoder_layers=2",)


def test_grid__settings_add_to_what_all_have(write, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = GOOD + "  c: {pretraining_of: b, finetuning: model.prediction_mode=CLS_TOKEN, probe: cls}\n"
    grid = Grid.read(write(text), {"": "data", "events": "/labelled"})
    a, b, c = grid.settings
    assert grid.seeds == (1, 2) and grid.data == str(tmp_path / "data") and grid.tasks == ("events",)
    assert b.pretraining == (*a.pretraining, "model.diff_lambda=0") == c.pretraining
    assert grid.trainer_of(c) is b and grid.trainer_of(b) is b
    assert a.tasks[0].finetuning == ("finetuning", "demo_finetuning") and a.tasks[0].data == "/labelled"
    assert c.tasks[0].finetuning[-1] == "model.prediction_mode=CLS_TOKEN" and c.tasks[0].probe == "cls"
    composed = compose_grid(grid)
    assert composed[1].stages[PRETRAINING]["model"]["diff_lambda"] == 0
    assert composed[1].stages[PRETRAINING]["model"]["depth"] == 4


def test_grid__what_it_says_wins_over_its_base(write):
    write(GOOD + "  c: {pretraining: model.diff_lambda=0.5}\n", "below")
    own = "settings:\n  b: {pretraining: model.cls_loss=1}\n  d: {pretraining: EAT}\n"
    file = write(f"base: below\nwithout: [c]\nseeds: [7]\n{own}")
    grid = Grid.read(file)
    assert [setting.name for setting in grid.settings] == ["a", "b", "d"] and grid.seeds == (7,)
    assert grid.setting("b").own == "model.cls_loss=1" and "EAT" in grid.setting("d").pretraining


NO_KEY = f"settings.c.{{}}: {CONFIG_FOLDER}/{{}}.yaml: Could not override '{{}}'"
BAD = {
    "no seeds": (GOOD.replace("seeds: [1, 2]\n", ""), "seeds: None: expected a list of whole numbers"),
    "empty seeds": (GOOD.replace("[1, 2]", "[]"), "seeds: []: expected a list"),
    "seed twice": (GOOD.replace("[1, 2]", "[1, 1]"), "seeds: [1, 1]: a seed stands there twice"),
    "no numbers": (GOOD.replace("[1, 2]", "[one]"), "seeds: ['one']: expected"),
    "reference": (GOOD.replace("reference: a", "reference: z"), "reference: z is no setting; expected one of a, b"),
    "unknown key": (GOOD + "sedes: [3]\n", "sedes: unknown key (did you mean seeds?)"),
    "unknown key of a setting": (
        GOOD + "  c: {pretrain: x=1}\n",
        "settings.c.pretrain: unknown key (did you mean pretr",
    ),
    "duplicate": (GOOD + "  b: {pretraining: model.cls_loss=1}\n", "b: stands there twice; the second is in line 8"),
    "only case": (GOOD + "  B: {pretraining: model.cls_loss=1}\n", "settings: b and B differ in case alone"),
    "no folder": (GOOD + "  ../c: {pretraining: model.cls_loss=1}\n", "settings: ../c: a name is made of letters"),
    "key": (
        GOOD + "  c: {pretraining: model.dif_lambda=1}\n",
        NO_KEY.format("pretraining", "pretraining_AS2M", "model.dif_lambda"),
    ),
    "recipe": (GOOD + "  c: {pretraining: demo_pretrainin}\n", "settings.c.pretraining: there is no recipe demo_pre"),
    "finetuning": (
        GOOD + "  c: {finetuning: model.x=1}\n",
        NO_KEY.format("finetuning (events)", "finetuning", "model.x"),
    ),
    "reserved": (
        GOOD + "  c: {pretraining: common.seed=3}\n",
        "settings.c.pretraining: common.seed=3: the grid's seeds",
    ),
    "same": (
        GOOD + "  c: {pretraining: model.diff_lambda=0.3}\n",
        "settings.c: a and c differ in nothing that changes",
    ),
    "free": (
        GOOD + "  c: {pretraining: dataset.num_workers=5}\n",
        "settings.c: a and c differ in nothing that changes",
    ),
    "alike": (GOOD + "  c: {probe: cls}\n", "settings.c: a and c pre-train alike; pretraining_of: a does it once"),
    "nobody's": (GOOD + "  c: {pretraining_of: z, probe: cls}\n", "settings.c.pretraining_of: z is no other setting"),
    "both": (GOOD + "  c: {pretraining_of: a, pretraining: EAT}\n", "settings.c: has both pretraining and"),
    "pooling": (GOOD + "  c: {pretraining_of: a, probe: max}\n", "settings.c.probe: max: expected one of cls, mean"),
    "no yaml": (GOOD.replace("pretraining_AS2M ", ""), "pretraining: begins with demo_pretraining; expected a yaml"),
    "wrong yaml": (
        GOOD.replace("{}", "{pretraining: finetuning}"),
        "settings.a.pretraining: finetuning is not for pre",
    ),
    "no task": (GOOD.replace(TASKS, ""), "tasks: None: expected at least one name"),
    "idle task": (GOOD.replace(TASKS, "tasks: {events: {}}\n"), "tasks.events: expected probe, finetuning or both"),
    "unused": (
        GOOD.replace(TASKS, "tasks: {events: {probe: mean}}\n").replace("{}", "{finetuning: model.mixup=1}"),
        "settings.a.finetuning: the task events fine-tunes nothing",
    ),
    "list": (GOOD + "  c: {pretraining: [EAT]}\n", "settings.c.pretraining: ['EAT']: expected a text"),
    "no table": ("[1, 2]", "expected seeds, reference"),
    "no settings": (HEAD, "settings: None: expected at least one name"),
    "damaged": ("seeds: [1", "while parsing a flow sequence"),
    "base": (f"base: nothing\n{GOOD}", "base: nothing: expected the name of another grid"),
    "own base": (f"base: grid\n{GOOD}", "base: grid: expected the name of another grid"),
}


@pytest.mark.parametrize("name", BAD)
def test_grid__refuses_what_cannot_be_meant(name, write):
    text, message = BAD[name]
    file = write(text)
    with pytest.raises(LaunchError) as refused:
        compose_grid(Grid.read(file))
    assert str(refused.value).startswith(f"{file}: {message}"), refused.value
    assert "\n" not in str(refused.value)


def test_grid__refuses_data_for_a_task_that_is_not_there(write):
    with pytest.raises(LaunchError, match=r"grid.yaml: tasks: there is no task evnts"):
        Grid.read(write(GOOD), {"evnts": "/data"})


def test_find_grid__by_name_or_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_grid("ASDA") == GRID_FOLDER / "ASDA.yaml"
    Path("mine.yaml").touch()
    assert find_grid("mine.yaml") == tmp_path / "mine.yaml"
    with pytest.raises(LaunchError, match=r"there is no grid asda \(did you mean ASDA\?\); expected a yaml's path, or"):
        find_grid("asda")
