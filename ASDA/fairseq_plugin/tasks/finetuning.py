"""The fine-tuning task: labelled clips, and metrics over all clips of all processes.

No postponed annotations here: omegaconf 2.0 reads the types of the fields.
"""

import logging
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, Optional, Tuple

import numpy as np
import torch
import torch.distributed as dist
from fairseq.distributed import utils as distributed_utils
from fairseq.logging import metrics
from fairseq.tasks import register_task

from ...checkpoints.checkpoint import Checkpoint
from ...checkpoints.reading import read_checkpoint
from ...data.corpora.corpus import metric_of
from ...data.folders import FoldersError
from ...data.labels import ClipLabels, LabelError, LabelTable, read_clip_labels
from ...data.manifest import Manifest
from ...data.sampling import read_clip_weights
from ...metrics import accuracy, mean_average_precision
from ..aliases import register_task_alias
from ..run.culprits import places
from ..run.data_identity import checksum
from ..run.run_config import run_config, value_in
from .front_end import named_corpus
from .spectrogram_task import SpectrogramTask, SpectrogramTaskConfig, label_descriptors

logger = logging.getLogger(__name__)


@dataclass
class FinetuningTaskConfig(SpectrogramTaskConfig):
    label_descriptors: str = field(
        default="label_descriptors.csv", metadata={"help": "class table, relative to task.data"}
    )
    labels: str = field(default="lbl", metadata={"help": "suffix of the label files, {split}.lbl"})
    multi_label: Optional[bool] = field(
        default=None, metadata={"help": "several labels per clip (mAP) or one (accuracy); null: the data set's"}
    )
    precompute_mask_config: Any = field(default=None, metadata={"help": "fine-tuning masks no patches; stays null"})


@register_task("asda_finetuning", dataclass=FinetuningTaskConfig)
class FinetuningTask(SpectrogramTask):
    """Loads clips with labels; validation reports mAP (multi-label) or accuracy (single-label)."""

    def __init__(self, cfg: FinetuningTaskConfig):
        super().__init__(cfg)
        if cfg.precompute_mask_config is not None:
            raise ValueError("task.precompute_mask_config belongs to pre-training: fine-tuning masks no patches")
        self.multi_label = self.corpus.multi_label if cfg.multi_label is None else cfg.multi_label
        self.label_names: list = []
        self.pretrained: Optional[Checkpoint] = None  # what the run starts from, until its model is built
        self._labels: Dict[str, ClipLabels] = {}

    @classmethod
    def for_run(cls, cfg: Any, run: Any) -> "FinetuningTask":
        task = super(SpectrogramTask, cls).for_run(cfg, run)
        if cfg.data:
            task.settle("data", *task.folders())
        task.settle_schedule(run)
        if cfg.data:  # else the first split that is asked for says that it is missing
            task._settle_labels(run.dataset.train_subset)
        path = value_in(run, "model", "model_path")
        if path:
            task.pretrained = read_checkpoint(path)
        recorded = task.pretrained is not None and task.pretrained.front_end_recorded
        task.settle_front_end(task.pretrained.front_end if recorded else None)
        return task

    def folders(self) -> Tuple[str, ...]:
        folders = super().folders()
        if len(folders) > 1:
            raise FoldersError(
                f"task.data names {len(folders)} folders ({', '.join(folders)}), but fine-tuning takes one, "
                "whose label table holds for all of its clips"
            )
        return folders

    def _settle_labels(self, split: str) -> None:
        """Whether a clip may have several labels: by those of a split, where neither the run nor its data set says so.

        Raises:
            LabelError: there is nothing to tell apart.
        """
        table = LabelTable.read(label_descriptors(self.cfg))
        if self.cfg.multi_label is None and named_corpus(self.cfg) is None:
            self.multi_label = self._read_labels(split, self.manifest(split), table).is_multi_label
        self.settle("multi_label", self.multi_label)
        kind = "several labels per clip" if self.multi_label else "one label per clip"
        logger.info(f"labels: {len(table)} classes, {kind}; validation reports {metric_of(self.multi_label)}")
        if len(table) == 1 and not self.multi_label:
            raise LabelError(
                f'{table.file} has one class, "{table.names[0]}", and each clip has it: there is nothing to tell '
                "apart. Add clips of other classes, or clips without a label (task.multi_label=true)"
            )

    def described(self) -> Dict[str, str]:
        several = "several" if self.multi_label else "one"
        return {**super().described(), "labels": f"{len(self.label_names)} classes, {several} per clip"}

    def data_identity(self) -> Dict[str, Any]:
        identity = super().data_identity()
        split = run_config(self.cfg).dataset.train_subset
        labels = Path(self.cfg.data, f"{split}.{self.cfg.labels}")
        return {**identity, split: {**identity[split], labels.name: checksum(labels)}}

    def state_dict(self) -> dict:
        return {**super().state_dict(), "label_names": self.label_names, "multi_label": self.multi_label}

    def load_state_dict(self, state_dict: dict) -> None:
        # A task made from a checkpoint has no table of its own; one that trains keeps the one it read.
        self.label_names = self.label_names or state_dict.get("label_names", [])

    @property
    def best_metric(self) -> Tuple[str, bool]:
        return metric_of(self.multi_label), True

    def build_model(self, cfg: Any, from_checkpoint: bool = False) -> torch.nn.Module:
        if not from_checkpoint and "num_classes" in cfg and self.cfg.data:
            cfg.num_classes = self._num_classes(cfg.num_classes)  # the checkpoint has to record the number
        model = super().build_model(cfg, from_checkpoint)
        self.pretrained = None  # its tensors are in the model
        if not from_checkpoint:
            # The checkpoint has to record which encoder the fine-tuned model holds.
            cfg.pretrained_model_args = model.cfg.pretrained_model_args
        return model

    def _num_classes(self, stated: Optional[int]) -> int:
        """The number of classes of a run: the table's.

        Raises:
            LabelError: the run states another one, or the table is not that of the data set which it names.
        """
        table, named = LabelTable.read(label_descriptors(self.cfg)), named_corpus(self.cfg)
        if stated is None and named is not None and named.num_classes != len(table):
            raise LabelError(
                f"{named.title} (task.dataset={named.name}) has {named.num_classes} classes, but {table.file} has "
                f"{len(table)}; set task.data to the manifests of that data set, or state "
                f"model.num_classes={len(table)} if this table is meant"
            )
        if stated not in (None, len(table)):
            raise LabelError(
                f"model.num_classes={stated}, but {table.file} has {len(table)} classes; set "
                f"model.num_classes={len(table)}, or task.data and task.label_descriptors to the table that is meant"
            )
        return len(table)

    def _read_labels(self, split: str, manifest: Manifest, table: LabelTable) -> ClipLabels:
        """Those of a split; read once."""
        if split not in self._labels:
            file = os.path.join(self.cfg.data, f"{split}.{self.cfg.labels}")
            self._labels[split] = read_clip_labels(file, manifest, table)
        return self._labels[split]

    def load_dataset(self, split: str, combine: bool = False, task_cfg: Any = None, **kwargs) -> None:
        cfg = task_cfg or self.cfg
        manifest = self.manifest(split)
        table = LabelTable.read(label_descriptors(cfg))
        self.label_names = list(table.names)
        labels = self._read_labels(split, manifest, table)
        if not self.multi_label:
            _require_single_labels(labels, manifest, table)
        if labels.absent is not None:
            self._require_independent_scores(split, labels)
        is_weighted = cfg.weights_file and self.trains_on(split)
        self.datasets[split] = self.spectrograms(
            split,
            manifest,
            cfg,
            labels=labels,
            sample_weights=read_clip_weights(cfg.weights_file, manifest) if is_weighted else None,
            num_draws=cfg.num_samples if is_weighted else None,
        )

    def _require_independent_scores(self, split: str, labels: ClipLabels) -> None:
        """Says that a split's labels are partial, and refuses a softmax, in which each class is judged by the others.

        Raises:
            LabelError: the model has one.
        """
        loss = value_in(run_config(self.cfg) or {}, "model", "loss")
        if getattr(loss, "name", loss) == "cross_entropy":
            raise LabelError(
                f"the labels of {split} are partial: clips were not judged for each class, which "
                "model.loss=cross_entropy cannot leave out; take model.loss=bce"
            )
        logger.info(
            f"labels of {split} are partial: {labels.judged_share:.1%} of the pairs of a clip and a class were judged; "
            "the others enter neither loss nor metric"
        )

    def valid_step(self, sample, model, criterion):
        """Adds the scores of all processes to the metrics of this validation; each clip counts once."""
        captured = []
        handle = model.register_forward_hook(lambda module, inputs, output: captured.append(output))
        try:
            loss, sample_size, logging_output = super().valid_step(sample, model, criterion)
        finally:
            handle.remove()
        ids, scores, targets = (
            gather_rows(rows)
            for rows in (sample["id"], captured[0]["_scores"].float(), captured[0]["_targets"].float())
        )
        metrics.log_concat_tensor("_ids", ids.cpu())
        metrics.log_concat_tensor("_scores", scores.cpu())
        metrics.log_concat_tensor("_targets", targets.cpu())
        if self.multi_label:
            metrics.log_derived(metric_of(True), lambda meters: round(_mean_average_precision(meters).value, 5))
            metrics.log_derived("classes_left_out", lambda meters: _mean_average_precision(meters).num_skipped_classes)
        else:
            metrics.log_derived(metric_of(False), lambda meters: round(accuracy(*_all_clips(meters)), 5))
        metrics.log_derived("clips", lambda meters: len(_all_clips(meters)[0]))
        metrics.log_derived("not_finite", lambda meters: len(_not_finite_clips(meters)))
        return loss, sample_size, logging_output

    def reported_metrics(self) -> dict:
        return {"mAP" if self.multi_label else "accuracy": True, **super().reported_metrics()}

    def post_validate(self, model, stats, meters) -> None:
        super().post_validate(model, stats, meters)
        clips = _not_finite_clips(meters) if "_ids" in meters else []
        if len(clips):
            split = next(name for name, dataset in self.datasets.items() if dataset is self._validated)
            logger.warning(
                f"{len(clips)} clips of {split} have scores that are not finite and are left out of its metrics: "
                f"{places(self._validated, clips.tolist())}"
            )


def _require_single_labels(labels: ClipLabels, manifest: Manifest, table: LabelTable) -> None:
    """Refuses clips with several labels or none, whose targets a softmax could not meet and accuracy would not count.

    Raises:
        LabelError: there are such clips; the message names the first.
    """
    if labels.absent is not None:
        raise LabelError(
            f"{manifest.file.with_suffix('').name}: labels are partial, clips were not judged for each class, but this "
            "task expects one label per clip; set task.multi_label=true"
        )
    per_clip = labels.labels_per_clip
    for wrong, remedy in ((per_clip > 1, "leave one label to each clip"), (per_clip == 0, "give each clip its label")):
        rows = np.flatnonzero(wrong)
        if len(rows):
            row = int(rows[0])
            names = ", ".join(f'"{table.names[index]}"' for index in labels.targets(row))
            found = f"several labels ({names})" if names else "no label"
            others = f", and {len(rows) - 1} more clips like it" if len(rows) > 1 else ""
            raise LabelError(
                f'clip "{manifest.relative_path(row)}" ({manifest.where(row)}) has {found}{others}, but this task '
                f"expects one per clip; set task.multi_label=true, or {remedy}"
            )


def gather_rows(rows: torch.Tensor) -> torch.Tensor:
    """The rows (n, ...) of all processes, in rank order; n may differ between them. A collective call."""
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return rows
    group = distributed_utils.get_data_parallel_group()
    counts = [torch.zeros(1, dtype=torch.int64, device=rows.device) for _ in range(dist.get_world_size(group))]
    dist.all_gather(counts, torch.tensor([len(rows)], device=rows.device), group=group)
    padded = rows.new_zeros(int(max(counts)), *rows.shape[1:])
    padded[: len(rows)] = rows
    gathered = [torch.empty_like(padded) for _ in counts]
    dist.all_gather(gathered, padded, group=group)
    return torch.cat([part[: int(count)] for part, count in zip(gathered, counts, strict=True)])


def _all_clips(meters: Any) -> tuple:
    """Targets and scores (n, C) of the validation, each clip once; without those whose scores are not finite.

    A process that has run out of batches repeats one so that all keep step; its clips must not count twice.
    """
    _, first = np.unique(meters["_ids"].tensor.numpy(), return_index=True)
    targets, scores = (meters[name].tensor.numpy()[first] for name in ("_targets", "_scores"))
    finite = np.isfinite(scores).all(axis=1)
    return targets[finite], scores[finite]


def _not_finite_clips(meters: Any) -> np.ndarray:
    finite = np.isfinite(meters["_scores"].tensor.numpy()).all(axis=1)
    return np.unique(meters["_ids"].tensor.numpy()[~finite])


def _mean_average_precision(meters: Any):
    return mean_average_precision(*_all_clips(meters))


register_task_alias("mae_image_classification", FinetuningTask, FinetuningTaskConfig)
