"""The folder of an ablation: a folder for each run, what has been done in it, and what went wrong."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from ...atomic import atomic_writer
from ...data.folders import data_folders
from ..settings import LaunchError
from .stages import Composed, changed

GRID_MARK = "ablation.json"
"""Says whose folder it is."""


@dataclass(frozen=True)
class RunFolder:
    """The folder of a setting at a seed.

    Attributes:
        path: of the folder.
        pretrained: save folder of the encoder that is judged; another run's, where that pre-trains it.
    """

    path: Path
    pretrained: Path

    @property
    def log(self) -> Path:
        """What its processes print."""
        return self.path / "output.txt"

    @property
    def record(self) -> Path:
        """What it is: words and composed yaml of each stage."""
        return self.path / "setting.yaml"

    def probe(self, task: str) -> Path:
        return self.path / "tasks" / task / "probe.json"

    def finetuned(self, task: str) -> Path:
        return self.path / "tasks" / task / "finetuned"

    def scores(self, task: str, fold: str = "") -> Path:
        """What asda-eval says of the fine-tuned model, on a fold."""
        return self.path / "tasks" / task / f"scores{f'_{fold}' if fold else ''}.json"

    # -- what has been done

    def is_done(self, stage: str) -> bool:
        return stage in self._state().get("done", {})

    def note_done(self, stage: str, seconds: float) -> None:
        state = self._state()
        state.setdefault("done", {})[stage] = round(seconds, 1)
        state.setdefault("failed", {}).pop(stage, None)
        self._write(state)

    def note_failed(self, stage: str, reason: str) -> None:
        state = self._state()
        state.setdefault("failed", {})[stage] = reason
        self._write(state)

    def failures(self) -> dict[str, str]:
        """Stage -> why it failed."""
        return dict(self._state().get("failed", {}))

    def forget_failures(self) -> None:
        """They are tried again."""
        if self.failures():
            self._write({**self._state(), "failed": {}})

    def _state(self) -> dict[str, Any]:
        try:
            return json.loads((self.path / "state.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (ValueError, RecursionError) as error:
            raise LaunchError(f"{self.path / 'state.json'}: {error}; remove it to do the run again") from error

    def _write(self, state: Mapping[str, Any]) -> None:
        with atomic_writer(self.path / "state.json") as handle:
            json.dump(state, handle, indent=2)

    # -- what it is

    def require_same(self, stages: Mapping[str, Mapping[str, Any]]) -> None:
        """Refuses a setting that is not what it was when the run began.

        Args:
            stages: name -> `words` and `composed`, and of its data `data`.

        Raises:
            LaunchError: a stage that has begun would be another; the message names folder, keys and both values.
        """
        if not self.record.exists():
            return
        try:
            then = yaml.safe_load(self.record.read_text(encoding="utf-8"))
        except (ValueError, yaml.YAMLError, RecursionError) as error:
            raise LaunchError(f"{self.record}: {' '.join(str(error).split())}") from error
        if not isinstance(then, dict):
            raise LaunchError(f"{self.record}: expected what the run is, found {then}")
        for name, now in stages.items():
            before = then.get(name)
            if before is None:  # a task that is new
                continue
            found = changed(before["composed"], now["composed"], before["words"] == now["words"])
            found += [f"{key} of other clips or labels" for key in _other(before["data"], now["data"])]
            if found:
                raise LaunchError(
                    f"{self.path} holds runs of another setting of this name: {name}: {'; '.join(found)}. Give the "
                    "setting another name, or the ablation another --output"
                )

    def write_record(self, stages: Mapping[str, Mapping[str, Any]]) -> None:
        """Keeps what they are; what is kept of stages that are not among them stays."""
        earlier = yaml.safe_load(self.record.read_text(encoding="utf-8")) if self.record.exists() else {}
        with atomic_writer(self.record) as handle:
            handle.write("# What these runs are. They are only gone on with if it is the same.\n")
            yaml.safe_dump({**earlier, **stages}, handle, sort_keys=False, allow_unicode=True)


def described_stage(words: tuple[str, ...], composed: Composed, data: str) -> dict[str, Any]:
    """What is kept of a stage that reads these folders."""
    content: dict[str, int] = {}
    for number, folder in enumerate(data_folders(data)):
        content |= {f"{number}/{name}" if number else name: crc for name, crc in checksums(Path(folder)).items()}
    return {"words": list(words), "composed": dict(composed), "data": content}


@cache
def checksums(data: Path) -> dict[str, int]:
    """File -> CRC-32 of the manifests and labels in a folder, or in its folds; where the clips lie does not count."""
    found = {}
    for file in sorted(
        [*data.glob("*.tsv"), *data.glob("*.lbl"), *data.glob("fold*/*.tsv"), *data.glob("fold*/*.lbl")]
    ):
        content = file.read_bytes()
        of_clips = content.partition(b"\n")[2] if file.suffix == ".tsv" else content
        found[file.relative_to(data).as_posix()] = zlib.crc32(of_clips)
    return found


def _other(then: Mapping[str, int], now: Mapping[str, int]) -> list[str]:
    return [name for name in {**then, **now} if then.get(name) != now.get(name)] if then and now else []


def claim(output: Path, grid: str) -> None:
    """Marks a folder as that of an ablation.

    Raises:
        LaunchError: it holds something else, or another ablation.
    """
    mark = output / GRID_MARK
    if mark.exists():
        try:
            named = json.loads(mark.read_text(encoding="utf-8")).get("asda_ablate")
        except (ValueError, AttributeError, RecursionError) as error:
            raise LaunchError(f"{mark}: {error}") from error
        if named != grid:
            raise LaunchError(f"--output: {output} holds the runs of {named}, not of {grid}; name another folder")
        return
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise LaunchError(f"--output: {output} holds files that are not an ablation's; name another folder")
    output.mkdir(parents=True, exist_ok=True)
    with atomic_writer(mark) as handle:
        json.dump({"asda_ablate": grid}, handle)
