"""What is printed of this project's lines and of others'; the order of a user's and this project's warning filters."""

import logging
import logging.config
import subprocess
import sys
import types

import pytest
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from ASDA.fairseq_plugin.run import quiet

SITE = "/opt/env/lib/python3.12/site-packages"
HYDRAS = {"version": 1, "disable_existing_loggers": False, "root": {"level": "INFO", "handlers": ["console"]}}
HYDRAS["handlers"] = {"console": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout"}}


@pytest.fixture(autouse=True)
def level_info():
    """The level that hydra gives the root logger, whatever another test has left there."""
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.INFO)
    yield
    root.setLevel(before)


def passes(name, file, level=logging.INFO, function="f"):
    return quiet.OwnLines().filter(logging.LogRecord(name, level, file, 1, "text", (), None, function))


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("ASDA.fairseq_plugin.run.long_run", quiet.__file__),
        ("train_inner", f"{SITE}/fairseq/logging/progress_bar.py"),
        ("eval", "/home/me/fairseq/fairseq/logging/progress_bar.py"),
        ("my_task", "/home/me/plugin/my_task.py"),
        ("__main__", "train.py"),
    ],
)
def test_info__of_the_project_its_statistics_and_a_users_code_passes(name, file):
    assert passes(name, file)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("fairseq_cli.train", f"{SITE}/fairseq_cli/train.py"),
        ("fairseq.trainer", "/home/me/fairseq/fairseq/trainer.py"),  # a clone
        ("hydra.core.utils", f"{SITE}/hydra/core/utils.py"),
        ("numexpr.utils", f"{SITE}/numexpr/utils.py"),
        ("tensorboard", "/usr/lib/python3/dist-packages/tensorboard/x.py"),
        ("concurrent.futures", logging.__file__),  # the standard library
    ],
)
def test_info__of_others_does_not_but_warnings_and_errors_do(name, file):
    assert not passes(name, file) and not passes(name, file, logging.DEBUG)
    assert passes(name, file, logging.WARNING) and passes(name, file, logging.ERROR)


def test_info__of_fairseq_on_how_a_run_is_doing_passes():
    file = f"{SITE}/fairseq/trainer.py"
    assert passes("fairseq.trainer", file, function="train_step")  # fp16 overflows
    assert not passes("fairseq.trainer", file, function="load_checkpoint")
    assert passes("fairseq_cli.train", f"{SITE}/fairseq_cli/train.py", function="validate_and_save")


def test_verbose_logger__passes():
    logger = logging.getLogger("fairseq.quiet_test")
    assert not passes(logger.name, f"{SITE}/fairseq/x.py")
    logger.setLevel(logging.DEBUG)  # what hydra.verbose=[fairseq.quiet_test] does
    assert passes(logger.name, f"{SITE}/fairseq/x.py")


def test_handlers__that_a_later_configuration_makes_are_filtered(monkeypatch):
    root = logging.getLogger()
    before = list(root.handlers)
    monkeypatch.setattr(logging.config, "dictConfigClass", quiet._Configurator)
    try:
        logging.config.dictConfig(HYDRAS)
        quiet.filter_handlers()
        (handler,) = root.handlers
        assert [type(f) for f in handler.filters] == [quiet.OwnLines]
    finally:
        root.handlers = before


def test_unraisable__copies_of_a_parents_loaders_are_not_told_and_others_are(monkeypatch):
    told = []
    monkeypatch.setattr(sys, "unraisablehook", told.append)
    quiet.ignore_loaders_of_the_parent()

    def raised(error, by):
        return types.SimpleNamespace(exc_value=error, object=by)

    copy = raised(AssertionError("can only test a child process"), _MultiProcessingDataLoaderIter.__del__)
    others = [raised(AssertionError("can only test a child process"), len), raised(OSError("x"), copy.object)]
    for unraisable in (copy, *others):
        sys.unraisablehook(unraisable)
    assert told == others


CODE = """
import sys, types, warnings
from ASDA.fairseq_plugin.run.quiet import ignore_foreign_warnings
ignore_foreign_warnings()
ignore_foreign_warnings()
for module in ("fairseq.trainer", "hydra.main", "torch.cuda.amp", "torch.utils.data.dataloader", "fairseqish", "mine"):
    for category in (FutureWarning, DeprecationWarning, UserWarning, RuntimeWarning):
        warnings.warn_explicit(f"{module} {category.__name__}", category, "file.py", 1, module)
pinned = "'pin_memory' argument is set as true but no accelerator is found"
warnings.warn_explicit(pinned, UserWarning, "file.py", 1, "torch.utils.data.dataloader")
"""


def warned(*options, **environment):
    command = [sys.executable, *options, "-c", CODE]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, env=environment or None)
    return {tuple(line.split(": ", 2)[2].split()) for line in done.stderr.splitlines() if line.startswith("file.py")}


def test_warnings__of_the_training_stacks_outdated_calls_are_ignored_and_no_others():
    found = warned()
    assert {category for module, category in found if module == "mine"} == {
        "FutureWarning",
        "UserWarning",
        "RuntimeWarning",
    }  # Python itself ignores DeprecationWarning
    assert {category for module, category in found if module == "fairseqish"} == {
        "FutureWarning",
        "UserWarning",
        "RuntimeWarning",
    }
    assert {pair for pair in found if pair[0] not in ("mine", "fairseqish")} == {
        ("fairseq.trainer", "RuntimeWarning"),
        ("hydra.main", "RuntimeWarning"),
        ("torch.cuda.amp", "UserWarning"),
        ("torch.cuda.amp", "RuntimeWarning"),
        ("torch.utils.data.dataloader", "UserWarning"),
        ("torch.utils.data.dataloader", "RuntimeWarning"),
    }


def test_warnings__a_users_word_is_the_last():
    assert ("fairseq.trainer", "FutureWarning") in warned("-W", "default")
    assert not warned("-W", "ignore")
