"""Environment variables, read once and checked."""

import pytest

from ASDA.launch.settings import SETTINGS, LaunchError, Settings


def test_settings__defaults_are_those_of_nothing_set():
    assert Settings.read({}) == Settings.read(dict.fromkeys(SETTINGS, "")) == Settings()


def test_settings__are_read():
    settings = Settings.read(
        {"NGPU": "0", "NPROC": "2", "FOLDS": "1, 3", "DRY_RUN": "1", "SLURM_JOB_ID": "41", "MEMORY_GB": "1.5"}
    )
    assert (settings.num_gpus, settings.num_processes, settings.dry_run, settings.run_id) == (0, 2, True, "41")
    assert settings.folds == ("1", "3") and settings.memory_bytes == 1.5e9


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NGPU", "all"),
        ("NGPU", "-1"),
        ("NPROC", "0"),
        ("BATCH_SIZE", "0"),
        ("BATCH_SIZE", "1.5"),
        ("NNODES", "0"),
        ("DRY_RUN", "yes"),
        ("MEMORY_GB", "0"),
        ("MEMORY_GB", "24GB"),
    ],
)
def test_settings__a_value_that_makes_no_sense_is_named(name, value):
    with pytest.raises(LaunchError, match=f"^{name}={value}; it has to be "):
        Settings.read({name: value})
