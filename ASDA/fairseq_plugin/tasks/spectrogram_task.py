"""What pre-training and fine-tuning share: a data set's identity, its front end, its clips, its log lines.

No postponed annotations here: omegaconf 2.0 reads the types of the fields.
"""

import logging
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Dict, Optional, Tuple

import torch
from fairseq.logging import metrics
from omegaconf import II

from ...audio.front_end import FrontEnd
from ...core.config import PatchConfig
from ...core.patches import PatchRows
from ...data.dataset import Augmentation
from ...data.folders import data_folders, joined
from ...data.joined_manifest import JoinedManifest
from ...data.manifest import Manifest
from ..criterion import without_waits
from ..eat_keys import EatTaskKeys, reject_unsupported
from ..models.encoder_keys import plain, record_encoder
from ..models.legacy import decide_architecture, require_recorded_architecture
from ..run.batch_iterators import real_batch
from ..run.data_identity import identity
from ..run.drawn_shares import counted, log_shares, of_epoch
from ..run.long_run import LongRunTask
from ..run.processes import rank_and_size
from ..run.run_config import check_best_metric, run_config, set_epochs, starting_checkpoint
from ..run.tf32 import allow_tf32
from .dataset import FairseqSpectrogramDataset
from .front_end import NUMBERS, STATED, Padding, corpus_of, front_end_of, origins

logger = logging.getLogger(__name__)

BEST_METRIC_AUTO = "auto"


@dataclass
class SpectrogramTaskConfig(EatTaskKeys):
    data: Any = field(
        default="",
        metadata={
            "help": "folder with {split}.tsv (and {split}.lbl, label_descriptors.csv); to pre-train, also several: "
            "[/a,/b] or /a:/b"
        },
    )
    dataset: str = field(
        default="",
        metadata={
            "help": "known data set: normalisation, length, classes, loss, metric; empty: those of the checkpoint that "
            "fine-tuning starts from and of the labels, else AudioSet's"
        },
    )
    target_length: Optional[int] = field(
        default=None, metadata={"help": "frames per clip; null: the data set's, else the checkpoint's"}
    )
    norm_mean: Optional[float] = field(default=None, metadata={"help": "null: the data set's, else the checkpoint's"})
    norm_std: Optional[float] = field(default=None, metadata={"help": "null: the data set's, else the checkpoint's"})
    padding: Optional[Padding] = field(
        default=None,
        metadata={
            "help": "of clips shorter than target_length: constant (seen as sound is) or mask (not seen; batches are "
            "as long as their longest clip); null: constant or, in fine-tuning, the checkpoint's"
        },
    )
    random_crop: bool = field(default=False, metadata={"help": "train on a random excerpt of clips that are longer"})
    max_bad_fraction: float = field(default=0.01, metadata={"help": "share of unreadable clips that stops the run"})
    max_skipped_updates: int = field(
        default=10, metadata={"help": "updates in a row that may be left out for a loss or gradient that is not finite"}
    )
    clips_per_update: Optional[int] = field(
        default=None, metadata={"help": "what the recipe's schedule is for; other sizes get a warning. null: anything"}
    )
    epochs: Optional[int] = field(
        default=None,
        metadata={"help": "length of the run in passes over its clips, a tenth of it warm-up; null: max_update"},
    )
    fbank_on_device: bool = field(
        default=False, metadata={"help": "log-mel transform on the training device: the loaders only decode"}
    )
    h5_sample_rate: int = field(default=32_000, metadata={"help": "Hz, for h5 data that does not state its own"})
    extend: bool = field(
        default=False, metadata={"help": "go on in a used save folder with a longer schedule or other batches"}
    )
    seed: int = field(default=II("common.seed"), metadata={"help": "of masks, augmentation and sample order"})
    rebuild_batches: bool = field(default=True, metadata={"help": "a new sample order in each epoch"})
    roll_aug: bool = field(default=False, metadata={"help": "roll the waveform and vary its loudness"})
    noise: bool = field(default=False, metadata={"help": "noise on the spectrogram and a small roll in time"})

    esc50_eval: bool = field(default=False, metadata={"help": "EAT's spelling of dataset=esc50"})
    spcv2_eval: bool = field(default=False, metadata={"help": "EAT's spelling of dataset=spcv2"})
    spcv1_finetune: bool = field(default=False, metadata={"help": "EAT's spelling of dataset=spcv1"})
    fsd50k_eval: bool = field(default=False, metadata={"help": "EAT's spelling of dataset=fsd50k"})
    AS2M_finetune: bool = field(
        default=False, metadata={"help": "EAT's spelling of dataset=audioset with weighted sampling (weights_file)"}
    )
    weights_file: str = field(default="", metadata={"help": "clip weights for weighted sampling; empty: off"})
    num_samples: int = field(default=200_000, metadata={"help": "clips per epoch with weighted sampling"})


class SpectrogramTask(LongRunTask):
    """Base of both tasks. Checkpoints record the front end, so that a program can hear what the model heard."""

    config_class: type = SpectrogramTaskConfig
    own_front_end: Optional[FrontEnd] = None  # of a task that hears something else than the data set's

    def __init__(self, cfg: SpectrogramTaskConfig):
        super().__init__(cfg)
        self.corpus = corpus_of(cfg)
        self.front_end: FrontEnd = front_end_of(cfg, own=self.own_front_end)
        self._patches: Optional[PatchConfig] = None  # the model's, once it is built

    @classmethod
    def setup_task(cls, cfg: Any, from_checkpoint: bool = False) -> "SpectrogramTask":
        task = super().setup_task(cfg, from_checkpoint)
        run = run_config(cfg)
        if run is not None and not from_checkpoint:
            task.choose_best_metric(run.checkpoint)
            check_best_metric(run, task.reported_metrics())
            if cfg.data:
                task.require_same_experiment()
        return task

    @classmethod
    def for_run(cls, cfg: Any, run: Any) -> "SpectrogramTask":
        task = super().for_run(cfg, run)
        if cfg.data:
            task.settle("data", joined(task.folders()))  # fairseq takes it for one text
        task.settle_schedule(run)
        task.settle_front_end(None)
        return task

    def settle_schedule(self, run: Any) -> None:
        """Turns ``task.epochs`` into updates, which is what schedules count."""
        if self.cfg.epochs is None:
            return
        clips = self.cfg.num_samples if self.cfg.weights_file else len(self.manifest(run.dataset.train_subset))
        updates = set_epochs(run, self.cfg.epochs, clips, rank_and_size()[1])
        logger.info(f"task.epochs={self.cfg.epochs} of {clips} clips: {updates} updates")

    def settle_front_end(self, recorded: Optional[FrontEnd]) -> None:
        """Decides what the run hears, says so, and has its checkpoints record the numbers.

        Args:
            recorded: of the checkpoint that it starts from.
        """
        whose = origins(self.cfg, recorded, self.own_front_end)
        self.front_end = found = front_end_of(self.cfg, recorded, self.own_front_end)
        shown = ", ".join(f"{key} {getattr(found, name)} ({whose[key]})" for name, key in STATED.items())
        logger.info(f"front end: {shown}, {found.sample_rate_hz} Hz")
        if recorded is not None:
            for name, key in STATED.items():
                then, now = getattr(recorded, name), getattr(found, name)
                if then != now:
                    logger.warning(
                        f"task.{key} is {now} ({whose[key]}), but the checkpoint's encoder was trained with {then}"
                    )
        for name, key in NUMBERS.items():
            self.settle(key, getattr(found, name))
        self.settle("padding", Padding(found.padding))

    def settle(self, key: str, value: Any) -> None:
        """Gives a key that was left open its value: here, and in the configuration that checkpoints keep."""
        self.cfg[key] = run_config(self.cfg).task[key] = value

    def described(self) -> Dict[str, str]:
        heard = self.front_end
        window = (
            f"{heard.target_length_frames} frames ({heard.target_length_frames / 100:g} s) of {heard.num_mel_bins} mel "
            f"bins at {heard.sample_rate_hz} Hz, mean {heard.norm_mean:g}, std {heard.norm_std:g}, "
            f"{heard.padding} padding"
        )
        return {**super().described(), "front end": window}

    def data_identity(self) -> Dict[str, Any]:
        split = run_config(self.cfg).dataset.train_subset
        return {split: identity(self.manifest(split))}

    @property
    def best_metric(self) -> Tuple[str, bool]:
        """What ``checkpoint.best_checkpoint_metric=auto`` means, and whether more of it is better."""
        return "loss", False

    def choose_best_metric(self, checkpoint: Any) -> None:
        """Sets the metric of a run that leaves it open, before fairseq reads it."""
        if "best_checkpoint_metric" in checkpoint and checkpoint.best_checkpoint_metric in (None, BEST_METRIC_AUTO):
            checkpoint.best_checkpoint_metric, checkpoint.maximize_best_checkpoint_metric = self.best_metric

    def build_model(self, cfg: Any, from_checkpoint: bool = False) -> torch.nn.Module:
        file = starting_checkpoint(self.cfg)
        if not from_checkpoint:
            decide_architecture(cfg, file)
        self.builds_from_checkpoint = from_checkpoint
        model = super().build_model(cfg, from_checkpoint)
        if not from_checkpoint:  # a checkpoint is used as it is, however it was trained
            reject_unsupported(self.config_class, self.cfg, "task", training=True)
            model.reject_unsupported()
            require_recorded_architecture(model.cfg.encoder, file)
            record_encoder(cfg, model.cfg.encoder)  # the checkpoint has to record what was built
            if model.objective is not None:
                self._patches = model.encoder.config.patches
            if model.cfg.compile:
                model.compile_layers(lengths_vary=self.front_end.padding == "mask")
            allow_tf32(model.cfg.tf32)
        return model

    def build_criterion(self, cfg: Any, from_checkpoint: bool = False) -> Any:
        return without_waits(super().build_criterion(cfg, from_checkpoint))

    def folders(self) -> Tuple[str, ...]:
        """Those that ``task.data`` names."""
        return data_folders(plain(self.cfg.data))

    def has_sharded_data(self, split: str) -> bool:
        """False: fairseq would take several folders for parts of one data set, of which each epoch loads another."""
        return False

    def manifest(self, split: str) -> Manifest:
        """The clips of a split, of all folders."""
        if not self.cfg.data:
            raise ValueError(f"task.data is not set: it names the folder that holds {split}.tsv")
        return JoinedManifest.read_split(self.folders(), split)

    def trains_on(self, split: str) -> bool:
        """Whether a split is the one that the run trains on: shuffled, augmented, unreadable clips replaced."""
        run = run_config(self.cfg)
        named = run is not None and "train_subset" in run.dataset
        return split == (run.dataset.train_subset if named else "train")

    def patches(self) -> PatchConfig:
        """The patches of the model, which the data set has to know for padding masks.

        Raises:
            ValueError: no model is built.
        """
        if self._patches is None:
            raise ValueError("task.padding=mask needs the model's patches: build the model before the data sets")
        return self._patches

    def _patch_rows(self) -> Optional[PatchRows]:
        front_end = self.front_end
        if front_end.padding == "constant":
            return None
        return PatchRows.of(front_end.target_length_frames, front_end.num_mel_bins, self.patches())

    def spectrograms(self, split: str, manifest: Manifest, cfg: Any, **of_the_task) -> FairseqSpectrogramDataset:
        """The clips of a manifest as this config wants them; the ones that are trained on shuffled and augmented."""
        training = self.trains_on(split)
        return FairseqSpectrogramDataset(
            manifest,
            self.front_end,
            augmentation=Augmentation(roll=cfg.roll_aug, noise=cfg.noise) if training else None,
            seed=cfg.seed,
            shuffle=training,
            random_crop=cfg.random_crop and training,
            max_bad_fraction=cfg.max_bad_fraction,
            replace_bad=training,
            h5_sample_rate_hz=cfg.h5_sample_rate,
            waveforms=cfg.fbank_on_device,
            patch_rows=self._patch_rows(),
            **of_the_task,
        )

    def begin_epoch(self, epoch: int, model: torch.nn.Module) -> None:
        super().begin_epoch(epoch, model)
        drawn = of_epoch(self._trained_on) if self._trained_on is not None and rank_and_size()[0] == 0 else ""
        if drawn:
            logger.info(drawn)

    def get_batch_iterator(self, *args, num_workers: int = 0, data_buffer_size: int = 0, **kwargs):
        # Without workers fairseq's read-ahead thread would compute the clips, and a run that ends in mid-epoch would
        # abort ("terminate called without an active exception") because that thread is still inside torch.
        data_buffer_size = data_buffer_size if num_workers > 0 else 0
        return super().get_batch_iterator(*args, num_workers=num_workers, data_buffer_size=data_buffer_size, **kwargs)

    def state_dict(self) -> dict:
        return {**super().state_dict(), "front_end": self.front_end.to_dict()}

    def load_state_dict(self, state_dict: dict) -> None:
        """The state is a record for programs that use the checkpoint; a run's own config stays in force."""

    def with_spectrograms(self, sample: dict, model: torch.nn.Module) -> dict:
        """The batch itself or, if it holds waveforms, the same with spectrograms in the model's precision."""
        if "waveforms" not in sample:
            return sample
        sample = dict(sample)
        waveforms, num_samples = sample.pop("waveforms").float(), sample.pop("num_samples")
        padded_frames = sample.pop("padded_frames", self.front_end.target_length_frames)
        front_end = replace(self.front_end, target_length_frames=padded_frames)
        source = front_end.of_batch(waveforms, num_samples).unsqueeze(1).to(next(model.parameters()).dtype)
        return {**sample, "net_input": {"source": source, **sample["net_input"]}}

    def train_step(self, sample, model, criterion, optimizer, update_num, ignore_grad=False):
        sample, ignore_grad = real_batch(sample, ignore_grad)
        sample = self.with_spectrograms(sample, model)
        loss, sample_size, log = super().train_step(sample, model, criterion, optimizer, update_num, ignore_grad)
        # The same log: it is still to be read.
        log.update(_num_unreadable=0 if ignore_grad else sample["num_unreadable"], **counted(sample, ignore_grad))
        return loss, sample_size, log

    def valid_step(self, sample, model, criterion):
        sample = self.with_spectrograms(sample, model)
        loss, sample_size, log = super().valid_step(sample, model, criterion)
        return loss, sample_size, {**log, "_num_unreadable": sample["num_unreadable"]}

    def reduce_metrics(self, logging_outputs, criterion) -> None:
        unreadable = int(sum(log.get("_num_unreadable", 0) for log in logging_outputs))
        metrics.log_scalar_sum("unreadable", unreadable, priority=400)
        log_shares(self.folders(), logging_outputs)
        if sum(log.get("sample_size", 0) for log in logging_outputs) == 0:  # a skipped update, or no readable clip
            metrics.log_scalar("loss", float("nan"), weight=0)
            return
        super().reduce_metrics(logging_outputs, criterion)
        metrics.log_speed("clips_per_s", sum(log.get("nsentences", 0) for log in logging_outputs), priority=95, round=2)


def label_descriptors(cfg: Any) -> Path:
    """Where the class table lies: ``task.label_descriptors``, relative to ``task.data``."""
    return Path(cfg.data) / cfg.label_descriptors
