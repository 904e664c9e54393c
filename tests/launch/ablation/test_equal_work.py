"""As much arithmetic for each setting."""

import pytest

pytest.importorskip("hydra", reason="settings are composed by hydra")

from ASDA.launch.ablation.equal_work import equal_updates, equalised
from ASDA.launch.ablation.grid import Grid
from ASDA.launch.ablation.stages import compose_grid
from ASDA.launch.settings import LaunchError

GRID = """
seeds: [1]
reference: eight
equal_gflop: true
pretraining: pretraining_AS2M demo_pretraining optimization.max_update=300
tasks: {events: {probe: mean}}
settings:
  eight: {}
  four: {pretraining: model.clone_batch=4}
  mae: {pretraining: pretraining_MAE_AST demo_MAE_AST}
  cls: {pretraining_of: four, probe: cls}
"""


def by_students(config) -> float:
    return float(config.model.clone_batch)


@pytest.fixture
def read(tmp_path):
    def read(text: str) -> Grid:
        (tmp_path / "grid.yaml").write_text(text)
        return Grid.read(tmp_path / "grid.yaml")

    return read


def test_equal_updates__keep_the_product():
    assert equal_updates(400, 3.0, [3.0, 1.0, 6.0, 1e9]) == [400, 1200, 200, 1]


def test_equalised__gives_each_as_much_with_its_own_share_of_warm_up(read):
    grid = read(GRID)
    eight, four, mae, cls = equalised(grid, compose_grid(grid), by_students).settings
    warmup = "optimizer.groups.default.lr_scheduler.warmup_updates"
    assert {"optimization.max_update=300", f"{warmup}=64"} <= set(eight.pretraining)
    assert {"optimization.max_update=600", f"{warmup}=128"} <= set(four.pretraining)
    assert {"optimization.max_update=2400", f"{warmup}=240"} <= set(mae.pretraining)  # of its own 1000 and 100
    assert cls.pretraining == four.pretraining and "600 updates" in cls.own


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("optimization.max_update=7", "settings.four.pretraining: optimization.max_update is what equal_gflop decides"),
        ("task.epochs=3", "settings.four.pretraining: task.epochs says its length"),
    ],
)
def test_equalised__refuses_a_length_of_a_settings_own(words, message, read):
    grid = read(GRID.replace("clone_batch=4", f"clone_batch=4 {words}"))
    with pytest.raises(LaunchError, match=message):
        equalised(grid, compose_grid(grid), by_students)
