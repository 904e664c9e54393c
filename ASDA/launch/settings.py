"""The settings of the launch scripts: environment variables, read once and checked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass


class LaunchError(ValueError):
    """A setting, an argument or a file that the run cannot start with; the message is one line."""


SETTINGS = {
    "DATA": "folder with {split}.tsv of the splits that the run uses; to pre-train, also several, /a:/b; to fine-tune, "
    "also {split}.lbl and label_descriptors.csv, or fold1, fold2, ... with these (required)",
    "SAVE_DIR": "folder for checkpoints, train.log and TensorBoard logs; an interrupted run continues from it; each "
    "fold gets a folder in it (required)",
    "CHECKPOINT": "to fine-tune: the pre-trained checkpoint (required, but for recipes with model.init); "
    "model.no_pretrained_weights=true takes its architecture only",
    "FOLDS": 'to fine-tune: the folds to run, as "1 2 3" (default: all folds of a data set that has some)',
    "NGPU": "GPUs to use on this machine (default: every visible one; 0: the CPU)",
    "NPROC": "processes when running on the CPU (default 1)",
    "BATCH_SIZE": "clips per GPU and step (default: what keeps the recipe's clips per update, no more than its "
    "dataset.batch_size)",
    "MEMORY_GB": "GB of memory that the run may take, on the CPU or on each GPU (default: what is free); a large "
    "number overrules the estimate",
    "CONFIG": "another yaml: a name in config/ or a path",
    "NNODES": "number of machines (default 1)",
    "RDZV_ENDPOINT": "with NNODES: host:port of one of the machines, the same on each",
    "EXTEND": "1: go on in a used SAVE_DIR with a longer schedule or another number of clips per update",
    "DRY_RUN": "1: print the command instead of running it; NGPU is then taken as given",
}
"""Name -> meaning, in the order in which `--help` lists them."""


@dataclass(frozen=True)
class Settings:
    """What the environment variables say; None or empty where one is not set. See `SETTINGS`."""

    data: str = ""
    save_dir: str = ""
    checkpoint: str = ""
    folds: tuple[str, ...] = ()
    num_gpus: int | None = None
    num_processes: int = 1
    batch_size: int | None = None
    memory_bytes: float | None = None
    config: str = ""
    num_nodes: int = 1
    rendezvous_endpoint: str = ""
    run_id: str = "asda"  # by which the machines of one run know each other
    extend: bool = False
    dry_run: bool = False

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Settings:
        """Reads the variables.

        Raises:
            LaunchError: a number is none, or too small.
        """

        def number(name: str, least: int) -> int | None:
            return _number(name, environment.get(name, ""), least)

        def switch(name: str) -> bool:
            text = environment.get(name, "")
            if text not in ("", "0", "1"):
                raise LaunchError(f"{name}={text}; it has to be 1 or 0")
            return text == "1"

        return cls(
            data=environment.get("DATA", ""),
            save_dir=environment.get("SAVE_DIR", ""),
            checkpoint=environment.get("CHECKPOINT", ""),
            folds=tuple(re.findall(r"[^\s,]+", environment.get("FOLDS", ""))),
            num_gpus=number("NGPU", 0),
            num_processes=number("NPROC", 1) or 1,
            batch_size=number("BATCH_SIZE", 1),
            memory_bytes=_gigabytes("MEMORY_GB", environment.get("MEMORY_GB", "")),
            config=environment.get("CONFIG", ""),
            num_nodes=number("NNODES", 1) or 1,
            rendezvous_endpoint=environment.get("RDZV_ENDPOINT", ""),
            run_id=environment.get("SLURM_JOB_ID", "") or "asda",
            extend=switch("EXTEND"),
            dry_run=switch("DRY_RUN"),
        )


def _number(name: str, text: str, least: int) -> int | None:
    if not text.strip():
        return None
    if not re.fullmatch(r"\d+", text.strip()) or int(text) < least:
        raise LaunchError(f"{name}={text}; it has to be a whole number of at least {least}")
    return int(text)


def _gigabytes(name: str, text: str) -> float | None:
    """A number of GB in bytes."""
    if not text.strip():
        return None
    if not re.fullmatch(r"\d+(\.\d+)?", text.strip()) or float(text) == 0:
        raise LaunchError(f"{name}={text}; it has to be a number of GB above 0")
    return 1e9 * float(text)
