"""Plans of launches in this process, and the configuration that fairseq makes of their commands."""

import shlex
from pathlib import Path

import pytest

pytest.importorskip("hydra", reason="recipes are composed by hydra")

from ASDA.cli.train import num_folds
from ASDA.launch import precision
from ASDA.launch.command import Launch, plan_launch
from ASDA.launch.settings import Settings

ROOT = Path(__file__).resolve().parents[2]


def plan(config: str, *words: str, **settings: str) -> Launch:
    """A dry run on one GPU, as a launch script plans it. Settings are environment variables; None leaves one out."""
    given = {"DATA": "data", "SAVE_DIR": "run", "CHECKPOINT": "pretrained.pt", "NGPU": "1", "DRY_RUN": "1"} | settings
    environment = {name: value for name, value in given.items() if value is not None}
    return plan_launch(config, list(words), Settings.read(environment), num_folds)


def compose(command: tuple[str, ...]):
    """The configuration that fairseq would train with, checked against the plugin's dataclasses."""
    pytest.importorskip("fairseq", reason="training runs inside fairseq")
    from fairseq.dataclass.initialize import add_defaults, hydra_init
    from fairseq.utils import import_user_module
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.core.config_store import ConfigStore
    from omegaconf import OmegaConf

    arguments = command[command.index("fairseq_cli.hydra_train") + 1 :]
    assert arguments[0:4:2] == ("--config-dir", "--config-name"), shlex.join(command)
    import_user_module(OmegaConf.create({"user_dir": str(ROOT / "ASDA")}))
    store = ConfigStore.instance()
    without_fairseq = dict(store.repo)
    try:
        hydra_init(arguments[3])
        with initialize_config_dir(config_dir=arguments[1], version_base=None):
            overrides = [word for word in arguments[4:] if not word.startswith("hydra.job_logging")]
            cfg = hydra_compose(arguments[3], overrides)
    finally:
        store.repo = without_fairseq  # a launch plans in a process of its own, which has no fairseq
    add_defaults(cfg)
    return cfg


@pytest.fixture(autouse=True)
def processor_without_bf16(monkeypatch) -> None:
    """Plans for the CPU that do not depend on this machine's."""
    monkeypatch.setattr(precision, "cpu_info", lambda: "flags\t: fpu sse2\n")


@pytest.fixture(autouse=True)
def somewhere_else(tmp_path, monkeypatch) -> Path:
    """The current folder: one that has nothing to do with the repository."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
