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
from ...masks.mask import Mask
from ..aliases import register_task_alias
from ..run.batch_iterators import real_batch
from ..run.run_config import run_config
from .mask_settings import KEYS, make_masks, mask_patches
from .spectrogram_task import SpectrogramTask, SpectrogramTaskConfig


@dataclass
class PretrainingTaskConfig(SpectrogramTaskConfig):
    precompute_mask_config: Any = field(
        default=None,
        metadata={
            "help": "patch_size, clone_batch, mask_prob, mask_prob_adjust, mask_length, inverse_mask, chunk_sizes; "
            "what is missing, also all of it ({}), is the model's"
        },
    )
    mask_type: Optional[str] = field(
        default="inverse_block", metadata={"help": "inverse_block, chunk, random, random_batched, span"}
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
            return mask_patches(self.cfg.precompute_mask_config or {}, None, run_config(self.cfg))
        return super().patches()

    def mask_sampler(self) -> Mask:
        """The masks of a clip, as task.mask_type and task.precompute_mask_config ask for them.

        Raises:
            ValueError: the config is missing, or asks for masks that there are not.
        """
        given, run = self.cfg.precompute_mask_config, run_config(self.cfg)
        if given is None:
            raise ValueError(
                "task.precompute_mask_config is not set: {} takes the model's settings, and it may hold "
                f"{', '.join(KEYS)} of its own (see config/pretraining_AS2M.yaml)"
            )
        patches = mask_patches(given, self._patches, run)
        grid = patch_grid(self.front_end.target_length_frames, self.front_end.num_mel_bins, patches)
        return make_masks(given, self.cfg.mask_type, grid, run)

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


register_task_alias("mae_image_pretraining", PretrainingTask, PretrainingTaskConfig)
