"""In what precision does a run compute? On a GPU as the yaml says; on a CPU in what its processor is made for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ..training.file_names import RUN_RECORD
from .arguments import Arguments
from .memory import BF16_AUTOCAST, FLOAT32, HALF
from .processes import Processes
from .recipe import Recipe

AUTOCAST = "model.autocast"
_HALF = ("common.fp16", "common.bf16")
_NATIVE_BF16 = ("amx_bf16", "avx512_bf16")


@dataclass(frozen=True)
class Precision:
    """A run's precision.

    Attributes:
        kind: one of `ASDA.launch.memory`.
        overrides: what the run has to be told for it.
        notes: a line on it; none where the yaml decides.
    """

    kind: str
    overrides: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def choose_precision(recipe: Recipe, arguments: Arguments, processes: Processes, save_dir: Path) -> Precision:
    """The precision of a run: on a CPU with bfloat16 in hardware autocast bf16, unless somebody says otherwise.

    An override or a recipe says otherwise, and so does the run that began in the save folder.
    """
    if processes.device != "cpu":
        return Precision(_kind(recipe, {}))
    stated = any(arguments.names(key) or recipe.recipe_states(key) for key in (AUTOCAST, *_HALF))
    if stated or not recipe.has(AUTOCAST):
        kind = _kind(recipe, {} if arguments.names("common.fp16") else _NO_FP16)
        return Precision(kind, _words(_NO_FP16), (f"{_ON_THE_CPU}{_SPOKEN[kind]}",))
    begun, native = begun_autocast(save_dir), native_bf16(cpu_info())
    told = {**_NO_FP16, AUTOCAST: begun or ("bf16" if native else "none")}
    kind = _kind(recipe, told)
    why = " as the run in SAVE_DIR began" if begun else ""
    if kind == BF16_AUTOCAST and not begun:
        why = f", for which it has {native}; {AUTOCAST}=none computes in full precision"
    return Precision(kind, _words(told), (f"{_ON_THE_CPU}{_SPOKEN[kind]}{why}",))


_NO_FP16 = {"common.fp16": "false"}
_ON_THE_CPU = "no GPU: running on the CPU"
_SPOKEN = {FLOAT32: " in full precision", BF16_AUTOCAST: ", autocast bf16", HALF: ", weights in half precision"}


def _words(told: dict[str, str]) -> tuple[str, ...]:
    return tuple(f"{key}={value}" for key, value in told.items())


def native_bf16(cpuinfo: str) -> str:
    """The feature by which a processor multiplies bfloat16 matrices in hardware; empty if it has none.

    Args:
        cpuinfo: what /proc/cpuinfo says.
    """
    flags = set(" ".join(re.findall(r"^flags\s*:(.*)$", cpuinfo, re.MULTILINE)).split())
    return next((name for name in _NATIVE_BF16 if name in flags), "")


def cpu_info() -> str:
    """What the system says of its processors; empty where it does not."""
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def begun_autocast(save_dir: Path) -> str:
    """The autocast of the run that began in a save folder, "none" or "bf16"; empty if none did."""
    from omegaconf import OmegaConf

    try:
        begun = OmegaConf.load(save_dir / RUN_RECORD)
        return str(OmegaConf.select(begun, AUTOCAST) or "")
    except (OSError, ValueError):
        return ""


def _kind(recipe: Recipe, changed: dict[str, str]) -> str:
    def value(key: str) -> str:
        return changed.get(key, str(recipe.get(key, "")).lower())

    if any(value(key) == "true" for key in _HALF):
        return HALF
    return BF16_AUTOCAST if value(AUTOCAST) == "bf16" else FLOAT32
