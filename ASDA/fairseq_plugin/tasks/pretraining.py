"""The pre-training task: unlabelled clips, and masks that depend only on (seed, epoch, clip, student).

No postponed annotations here: omegaconf 2.0 reads the types of the fields.
"""

from dataclasses import dataclass, field
from typing import Any, Dict, Optional

import torch
from fairseq.tasks import register_task

from ...core.config import PatchConfig
from ...core.patches import patch_grid
from ...core.places import Places
from ...masks.inverse_block import InverseBlockMask
from ..aliases import register_task_alias
from ..run.batch_iterators import real_batch
from ..run.run_config import run_config
from .spectrogram_task import SpectrogramTask, SpectrogramTaskConfig

# Keys of precompute_mask_config -> where the model's config has the same, which stands in for a missing one, as in EAT.
_MODEL_PLACES = {
    "patch_size": "modalities.image.patch_size",
    "clone_batch": "clone_batch",
    "mask_prob": "modalities.image.mask_prob",
    "mask_prob_adjust": "modalities.image.mask_prob_adjust",
    "mask_length": "modalities.image.mask_length",
    "inverse_mask": "modalities.image.inverse_mask",
}
# Keys of precompute_mask_config for variants of the masks that are not implemented -> their inert value.
_INERT_MASK_KEYS = {"mask_dropout": 0.0, "expand_adjacent": False, "non_overlapping": False}


@dataclass
class PretrainingTaskConfig(SpectrogramTaskConfig):
    precompute_mask_config: Any = field(
        default=None,
        metadata={
            "help": "patch_size, clone_batch, mask_prob, mask_prob_adjust, mask_length, inverse_mask; what is missing, "
            "also all of it ({}), is the model's"
        },
    )


def _places(masks: torch.Tensor, num_clips: int, padding: Optional[torch.Tensor]) -> Dict[str, torch.Tensor]:
    return Places.of(masks, num_clips, padding).to_dict()


@register_task("asda_pretraining", dataclass=PretrainingTaskConfig)
class PretrainingTask(SpectrogramTask):
    """Loads clips without labels and draws a set of masks for each."""

    def load_dataset(self, split: str, combine: bool = False, task_cfg: Any = None, **kwargs) -> None:
        masks = {"mask_sampler": self.mask_sampler(), "mask_places": _places}
        self.datasets[split] = self.spectrograms(split, self.manifest(split), task_cfg or self.cfg, **masks)

    def patches(self) -> PatchConfig:
        """Those of the model or, before it is built, those that the masks are for."""
        if self._patches is None:
            size = self._mask_settings()["patch_size"]
            return PatchConfig((size, size))
        return super().patches()

    def mask_sampler(self) -> InverseBlockMask:
        """The masks of a clip, as task.precompute_mask_config asks for them.

        Raises:
            ValueError: the config is missing, has a key that it should not have, lacks one that the model's config does
                not have either, or asks for a variant that is not implemented.
        """
        cfg = self._mask_settings()
        patches = PatchConfig((cfg["patch_size"], cfg["patch_size"]))
        return InverseBlockMask(
            patch_grid(self.front_end.target_length_frames, self.front_end.num_mel_bins, patches),
            num_masks=cfg["clone_batch"],
            mask_ratio=cfg["mask_prob"],
            block_size=cfg["mask_length"],
            adjust=cfg["mask_prob_adjust"],
            inverse=cfg["inverse_mask"],
        )

    def _mask_settings(self) -> dict:
        given = self.cfg.precompute_mask_config
        if given is None:
            raise ValueError(
                "task.precompute_mask_config is not set: {} takes the model's settings, and it may hold "
                f"{', '.join(_MODEL_PLACES)} of its own (see config/pretraining_AS2M.yaml)"
            )
        for key in given:
            name = f"task.precompute_mask_config.{key}"
            if key not in _MODEL_PLACES and key not in _INERT_MASK_KEYS:
                raise ValueError(f"there is no {name}; the keys are {', '.join(_MODEL_PLACES)}")
            if key in _INERT_MASK_KEYS and given[key] != _INERT_MASK_KEYS[key]:
                raise ValueError(f"{name}={given[key]} is not implemented; only {_INERT_MASK_KEYS[key]} is")
        run = run_config(self.cfg)
        settings = {}
        for key, place in _MODEL_PLACES.items():
            own = given[key] if key in given else None
            settings[key] = _value_at(run, f"model.{place}") if own is None else own
            if settings[key] is None:
                raise ValueError(
                    f"task.precompute_mask_config.{key} is not set, and this run's configuration has no model.{place} "
                    "to take it from"
                )
        return settings

    def reported_metrics(self) -> dict:
        return {**super().reported_metrics(), "loss_cls": False, "loss_IMAGE_regression": False}

    def train_step(self, sample, model, criterion, optimizer, update_num, ignore_grad=False):
        sample, ignore_grad = real_batch(sample, ignore_grad)
        if ignore_grad:
            # A process that has run out of batches repeats one to keep step: it must not enter the statistics.
            sample = {**sample, "net_input": {**sample["net_input"], "counts": False}}
        return super().train_step(sample, model, criterion, optimizer, update_num, ignore_grad)

    def apply_update(self, optimizer, model, update_num) -> None:
        """The optimiser's step and, right after it, the teacher's: a checkpoint then holds both."""
        super().apply_update(optimizer, model, update_num)
        model.set_num_updates(update_num + 1)

    def leave_out_update(self, optimizer, model, update_num) -> None:
        super().leave_out_update(optimizer, model, update_num)
        model.skip_update(update_num + 1)


def _value_at(cfg: Any, place: str) -> Any:
    """What a config has at ``place``; None if there is nothing."""
    for key in place.split("."):
        if cfg is None or key not in cfg:
            return None
        cfg = cfg[key]
    return cfg


register_task_alias("mae_image_pretraining", PretrainingTask, PretrainingTaskConfig)
