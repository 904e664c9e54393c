"""Registers this project's models under EAT's names too, so that EAT's configs and checkpoints find them."""

from __future__ import annotations

import logging

from fairseq.models import MODEL_REGISTRY, register_model
from fairseq.tasks import TASK_REGISTRY, register_task

logger = logging.getLogger(__name__)


def register_alias(name: str, model: type, config: type) -> None:
    """Registers ``model`` under the legacy ``name`` with ``config``.

    A name that is taken is left alone, with a warning: fairseq would answer a second registration with the first class,
    and say nothing.
    """
    if name in MODEL_REGISTRY:
        logger.warning(
            f'the model name "{name}" is taken by {MODEL_REGISTRY[name].__module__}; checkpoints that ask for it will '
            "get that model, not this project's"
        )
        return
    # A class of its own, because registering stores the config class on the class it is given.
    register_model(name, dataclass=config)(type(f"Legacy{model.__name__}", (model,), {"__doc__": model.__doc__}))


def register_task_alias(name: str, task: type, config: type) -> None:
    """Registers ``task`` under the legacy ``name`` too; a name that is taken is left alone, with a warning."""
    if name in TASK_REGISTRY:
        logger.warning(f'the task name "{name}" is taken by {TASK_REGISTRY[name].__module__}')
        return
    # A class of its own, because registering stores the config class on the class it is given.
    register_task(name, dataclass=config)(type(f"Legacy{task.__name__}", (task,), {"__doc__": task.__doc__}))
