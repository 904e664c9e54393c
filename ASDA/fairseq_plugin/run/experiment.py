"""A save folder belongs to one experiment: what began in it is kept there, and nothing else goes on in it.

A run that is started again goes on from the newest checkpoint of its save folder. With another network, other data or
another schedule it would do so without a word, or, past its last update, "finish" at once with the old weights.
"""

import logging
import os
from pathlib import Path
from typing import Any, Dict, List, Optional

import yaml
from omegaconf import OmegaConf

from ...atomic import atomic_writer
from ...training.file_names import MADE_WITH, NEWEST, RUN_RECORD
from ...training.run_differences import Difference, differences, is_extendable, is_free
from ...training.run_record import RecordError, read_record
from ...training.versions import versions

logger = logging.getLogger(__name__)


class ExperimentError(ValueError):
    """The save folder holds another experiment."""


def snapshot(run: Any, data: Dict[str, Any]) -> Dict[str, Any]:
    """A run's configuration as plain values, with the identity of its data.

    Args:
        run: the configuration of the whole run.
        data: split -> what its clips are known by.
    """
    plain = OmegaConf.to_container(run, resolve=True, enum_to_str=True)
    return {"data": data, **{name: value for name, value in plain.items() if isinstance(value, dict)}}


def require_same_experiment(save_dir: str, now: Dict[str, Any], extend: bool) -> None:
    """Refuses to go on in a save folder that holds another experiment.

    Args:
        save_dir: the folder; one without a checkpoint or without a record belongs to nobody.
        now: of this run, as `snapshot` gives it.
        extend: whether the keys that a run can be extended by may differ.

    Raises:
        ExperimentError: it is another one; the message names the keys and both values.
    """
    then = _read(Path(save_dir))
    if then is None:
        return
    found = differences(then, now)
    free = [difference for difference in found if is_free(difference.key, then, now)]
    extendable = [difference for difference in found if difference not in free and is_extendable(difference.key)]
    held = [difference for difference in found if difference not in free and difference not in extendable]
    if held or (extendable and not extend):
        raise ExperimentError(_refusal(save_dir, held, extendable, free, extend))
    if found:
        logger.info(f"goes on in {save_dir} with {'; '.join(map(str, extendable + free))}")


def record(save_dir: str, now: Dict[str, Any]) -> None:
    """Writes what a run is into its save folder."""
    os.makedirs(save_dir, exist_ok=True)
    with atomic_writer(Path(save_dir) / RUN_RECORD) as handle:
        handle.write("# What runs in this folder, resolved. A run is only continued here with the same.\n")
        yaml.safe_dump({**now, MADE_WITH: versions()}, handle, sort_keys=False, allow_unicode=True)


def _read(folder: Path) -> Optional[Dict[str, Any]]:
    if not (folder / NEWEST).exists():
        return None
    try:
        return read_record(folder)
    except RecordError as error:
        raise ExperimentError(str(error)) from error


def _refusal(
    save_dir: str, held: List[Difference], extendable: List[Difference], free: List[Difference], extend: bool
) -> str:
    parts = [f"{save_dir} holds the checkpoints of another experiment ({RUN_RECORD} there): "]
    parts.append("; ".join(map(str, held or extendable)))
    if held:
        parts.append(". Give this run a checkpoint.save_dir (SAVE_DIR) of its own")
        if extendable and not extend:
            parts.append(f". {'; '.join(map(str, extendable))}: that alone would be allowed by EXTEND=1")
    else:
        parts.append(
            ". EXTEND=1 (task.extend=true) goes on there with the new values; for a run of its own set SAVE_DIR"
        )
    if free:
        parts.append(f". Also other, and no obstacle: {'; '.join(map(str, free))}")
    return "".join(parts)
