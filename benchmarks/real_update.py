"""Whole updates of a run: fairseq's trainer with this project's task, criterion, network and optimiser, on noise."""

from __future__ import annotations

import signal
from pathlib import Path

import numpy as np
import soundfile
import torch
from fairseq import tasks, utils
from fairseq.dataclass.initialize import add_defaults, hydra_init
from fairseq.dataclass.utils import omegaconf_no_object_check
from fairseq.logging import metrics
from fairseq.trainer import Trainer
from omegaconf import OmegaConf

from ASDA.data.manifest import write_manifest
from ASDA.launch.arguments import Arguments, quoted
from ASDA.launch.recipe import Recipe, find_config
from ASDA.training.stopping import INTERRUPT, SIGNALS
from benchmarks import measuring
from benchmarks.step import Parts, precisely

PRECISIONS = {
    "fp32": ("common.fp16=false", "model.autocast=none"),
    "tf32": ("common.fp16=false", "model.autocast=none", "model.tf32=true"),
    "bf16": ("common.fp16=false", "model.autocast=bf16"),
    "fp16": ("common.fp16=true", "model.autocast=none"),
}
"""What a run says to compute so."""

RATE_HZ = 16_000
CLASSES = 527  # AudioSet's


class RealUpdate:
    """One update of a run, as its trainer makes it, again and again on the same batch.

    Args:
        words: yaml, recipes, size and overrides, as `asda-train` takes them.
        clips: of a batch.
        precision: one of PRECISIONS.
        device: where it runs; what the words say of it does not count.
        folder: for its clips and whatever it writes.
        compiled: with torch.compile.
    """

    def __init__(
        self, words: str, clips: int, precision: str, device: torch.device, folder: Path, compiled: bool = False
    ):
        self.precision, self.device, self.clips = precision, device, clips
        data = folder / f"clips-{clips}"
        if not data.exists():
            write_clips(data, clips)
        config = _configuration(words, clips, precision, device, data, folder, compiled)
        utils.set_torch_seed(config.common.seed)
        self.task = tasks.setup_task(config.task)
        model = self.task.build_model(config.model)
        criterion = self.task.build_criterion(config.criterion)
        self.trainer = Trainer(config, self.task, model, criterion)
        epochs = self.trainer.get_train_iterator(1)
        handlers = {number: signal.getsignal(number) for number in (*SIGNALS, INTERRUPT)}
        self.trainer.begin_epoch(1)
        for number, handler in handlers.items():  # a run finishes its update first and saves, which is not wanted here
            signal.signal(number, handler)
        self.batch = next(iter(epochs.next_epoch_itr(shuffle=False)))

    def __call__(self) -> None:
        with metrics.aggregate("train_inner"):
            self.trainer.train_step([self.batch])

    def prepare(self) -> None:
        """Has the machine compute as this update wants it."""
        precisely(self.precision)
        if self.device.type == "cpu":
            measuring.keep_freed_memory(True)

    def part_seconds(self) -> dict[str, float]:
        """Time of each part of one update, the second of two."""
        self.prepare()
        self()
        parts = Parts(self.device)
        task = self.task
        task.train_step = _between(parts, "before the batch", task.train_step, "forward and backward pass")
        task.optimizer_step = _between(parts, "sums, clipping", task.optimizer_step, "optimiser, teacher")
        try:
            self()
        finally:
            del task.train_step, task.optimizer_step  # the class has them again
        parts.mark("log")
        return dict(parts.seconds)

    def close(self) -> None:
        """Ends what a run keeps going beside its updates."""
        self.task._report.close()


def _between(parts: Parts, before: str, function, name: str):
    def run(*args, **kwargs):
        parts.mark(before)
        result = function(*args, **kwargs)
        parts.mark(name)
        return result

    return run


def _configuration(
    words: str, clips: int, precision: str, device: torch.device, data: Path, folder: Path, compiled: bool
) -> OmegaConf:
    """What fairseq's program for training makes of the words, with what a benchmark needs."""
    overrides = [
        *PRECISIONS[precision],
        f"task.data={quoted(data)}",
        f"checkpoint.save_dir={quoted(folder / 'run')}",
        f"dataset.batch_size={clips}",
        "optimization.update_freq=[1]",
        "dataset.num_workers=0",
        "dataset.disable_validation=true",
        "common.tensorboard_logdir=null",
        "common.log_interval=1000000",
        "checkpoint.no_save=true",
        f"common.cpu={str(device.type == 'cpu').lower()}",
        f"model.compile={str(compiled).lower()}",
        "task.norm_mean=-4.268",
        "task.norm_std=4.569",
    ]
    name, *others = words.split()
    hydra_init(name)
    config = Recipe(find_config(name), Arguments.parse([*others, *overrides])).config
    add_defaults(config)
    with omegaconf_no_object_check():
        config = OmegaConf.create(OmegaConf.to_container(config, resolve=True, enum_to_str=True))
    OmegaConf.set_struct(config, True)
    return config


def write_clips(folder: Path, number: int, seconds: float = 10.0) -> None:
    """A labelled corpus of noise."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    samples = round(seconds * RATE_HZ)
    for clip in range(number):
        soundfile.write(folder / f"{clip}.wav", 0.1 * rng.standard_normal(samples), RATE_HZ)
    write_manifest(folder / "train.tsv", folder, [(f"{clip}.wav", samples) for clip in range(number)])
    (folder / "train.lbl").write_text("".join(f"{c}\t/m/{c % CLASSES},/m/{CLASSES - 1}\n" for c in range(number)))
    table = "".join(f'{c},/m/{c},"class {c}"\n' for c in range(CLASSES))
    (folder / "label_descriptors.csv").write_text("index,mid,display_name\n" + table)
