"""What a run prints: this project's lines, the statistics, warnings and errors; not what others say of themselves.

fairseq logs its whole configuration, the network and a dozen lines for each epoch, and it and hydra warn of their own
old calls. Warnings and errors of the log always stay, of whomever. Python's warnings go by their category and module,
behind what `-W` and PYTHONWARNINGS say. `hydra.verbose=[fairseq,fairseq_cli]` brings the lines of these loggers back.

Imports nothing of fairseq: it has to be in force before fairseq is imported.
"""

import logging
import logging.config
import os
import re
import sys
import sysconfig
import warnings
from pathlib import Path
from typing import Any

_PACKAGE = str(Path(__file__).resolve().parents[2])
_INSTALLED = re.compile(r"[\\/](site|dist)-packages[\\/]")
_STANDARD_LIBRARY = tuple(filter(None, (sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"))))
# By name too: they may be installed from a clone.
_FOREIGN_LOGGERS = frozenset(("fairseq", "fairseq_cli", "hydra"))
_STATISTICS = os.path.join("fairseq", "logging", "progress_bar.py")
# What fairseq says at level INFO although it tells how a run is doing: (logger, function).
_KEPT = frozenset(
    (
        ("fairseq.trainer", "train_step"),  # an overflow of fp16
        ("fairseq_cli.train", "should_stop_early"),
        ("fairseq_cli.train", "validate_and_save"),  # why it ends
    )
)
_KEPT_LOGGERS = frozenset(("fairseq.nan_detector",))
_OUTDATED = (FutureWarning, DeprecationWarning, PendingDeprecationWarning)


class OwnLines(logging.Filter):
    """Lets pass what a user of this project has to know."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno >= logging.WARNING or not _is_foreign(record):
            return True
        if (record.name, record.funcName) in _KEPT or record.name in _KEPT_LOGGERS:
            return True
        return record.name != "root" and logging.getLogger(record.name).getEffectiveLevel() <= logging.DEBUG


def _is_foreign(record: logging.LogRecord) -> bool:
    file = record.pathname
    if file.startswith(_PACKAGE + os.sep) or file.endswith(_STATISTICS):
        return False
    installed = _INSTALLED.search(file) is not None or file.startswith(_STANDARD_LIBRARY)
    return installed or record.name.partition(".")[0] in _FOREIGN_LOGGERS


class _Configurator(logging.config.DictConfigurator):
    """hydra makes new handlers when a job begins, and fairseq once more."""

    def configure(self) -> None:
        super().configure()
        filter_handlers()


def filter_handlers() -> None:
    """Has the handlers of the root logger let pass what `OwnLines` does."""
    for handler in logging.getLogger().handlers:
        if not any(isinstance(present, OwnLines) for present in handler.filters):
            handler.addFilter(OwnLines())


def quieten() -> None:
    """From now on foreign lines and warnings are not printed, whatever configures logging later on."""
    logging.config.dictConfigClass = _Configurator  # type: ignore[attr-defined] # the documented place for a subclass
    filter_handlers()
    ignore_foreign_warnings()
    ignore_loaders_of_the_parent()


def quieten_before_import() -> None:
    """The same for what fairseq and hydra say while they are imported, each in its own form."""
    if not logging.getLogger().handlers:
        logging.basicConfig(format="[%(asctime)s][%(name)s][%(levelname)s] - %(message)s", stream=sys.stdout)
    quieten()


def is_training_program() -> bool:
    """Whether this process runs fairseq's program, rather than one that uses a model."""
    return "fairseq_cli.train" in sys.modules


def ignore_foreign_warnings() -> None:
    """Ignores warnings of outdated calls inside the training stack; other modules' and torch's own advice stay.

    Each filter goes behind those that are there: what a user says has the last word.
    """
    stack = r"(fairseq|fairseq_cli|hydra|omegaconf|torch|torchaudio|tensorboard|numpy)(\.|$)"
    for category in _OUTDATED:
        _ignore(category, stack)
    _ignore(UserWarning, r"(fairseq|fairseq_cli|hydra|omegaconf)(\.|$)")
    # fairseq always asks for pinned memory, also where there is no GPU.
    _ignore(UserWarning, r"torch\.utils\.data\.", "'pin_memory' argument is set")


def ignore_loaders_of_the_parent() -> None:
    """Keeps quiet about iterators of torch's DataLoader that a forked worker finds among its parent's garbage.

    The worker deletes its copy, whose processes are not its own: torch then asserts, Python prints ten lines, and
    nothing is wrong.
    """
    usual = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        name = getattr(unraisable.object, "__qualname__", "")
        is_copy = isinstance(unraisable.exc_value, AssertionError) and "child process" in str(unraisable.exc_value)
        if not (is_copy and name == "_MultiProcessingDataLoaderIter.__del__"):
            usual(unraisable)

    sys.unraisablehook = hook


def ignore_warnings_of_start_up() -> None:
    """Ignores hydra's, which it pins on the frames that called its program: those of `python -m`."""
    _ignore(UserWarning, r"(runpy|__main__)$")


def _ignore(category: type, module: str, message: str = "") -> None:
    wanted = ("ignore", re.compile(message, re.IGNORECASE) if message else None, category, re.compile(module), 0)
    if wanted not in warnings.filters:
        warnings.filterwarnings("ignore", message, category, module, append=True)
