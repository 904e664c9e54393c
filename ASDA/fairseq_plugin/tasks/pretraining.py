"""The pre-training task: unlabelled clips, and masks that depend only on (seed, epoch, clip, student).

No postponed annotations here: omegaconf 2.0 reads the types of the fields.
"""

from dataclasses import dataclass, field
from typing import Any, Dict, Optional, Tuple

import torch
from fairseq.tasks import register_task

from ...core.config import PatchConfig
from ...core.patches import patch_grid
from ...core.places import Places
from ...data.folders import data_shares
from ...data.sampling import folder_balanced_weights
from ...masks.mask import Mask
from ..aliases import register_task_alias
from ..models.encoder_keys import plain
from ..run.batch_iterators import real_batch
from ..run.decoder_backend import decide_backend
from ..run.run_config import run_config
from .mask_settings import KEYS, make_masks, mask_patches
from .spectrogram_task import SpectrogramTask, SpectrogramTaskConfig


@dataclass
class PretrainingTaskConfig(SpectrogramTaskConfig):
    data_weights: Any = field(
        default=None,
        metadata={
            "help": "with several folders: how much of the drawn clips is of each, as [1,2]; only ratios count. An "
            "epoch then draws as many clips as there are, with replacement; null: each clip once"
        },
    )
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

    def __init__(self, cfg: PretrainingTaskConfig):
        super().__init__(cfg)
        self._backend: Optional[str] = None  # of the decoder, where a measurement has decided on it

    @classmethod
    def for_run(cls, cfg: Any, run: Any) -> "PretrainingTask":
        if cfg.weights_file:
            raise ValueError(
                f"task.weights_file={cfg.weights_file} belongs to fine-tuning; in pre-training task.data_weights says "
                "how often the clips of each folder are drawn"
            )
        task = super().for_run(cfg, run)
        task._shares()
        return task

    def begin_epoch(self, epoch: int, model: torch.nn.Module) -> None:
        begins = self._run is None
        super().begin_epoch(epoch, model)
        if begins and self._run is not None:
            clips, frames = self._run.dataset.batch_size or 1, self.front_end.target_length_frames
            self._backend = decide_backend(model, self._backend, clips, frames)

    def get_checkpoint_dict(self) -> dict:
        state = super().get_checkpoint_dict()
        if self._backend is not None:
            state.setdefault(type(self).__name__, {})["decoder_backend"] = self._backend
        return state

    def set_checkpoint_dict(self, state: dict) -> None:
        super().set_checkpoint_dict(state)
        self._backend = state.get("decoder_backend")

    def load_dataset(self, split: str, combine: bool = False, task_cfg: Any = None, **kwargs) -> None:
        masks = {"mask_sampler": self.mask_sampler(), "mask_places": _places}
        manifest, shares = self.manifest(split), self._shares()
        weights = folder_balanced_weights(manifest, shares) if shares and self.trains_on(split) else None
        self.datasets[split] = self.spectrograms(split, manifest, task_cfg or self.cfg, sample_weights=weights, **masks)

    def _shares(self) -> Optional[Tuple[float, ...]]:
        """Of the drawn clips, each folder's by ``task.data_weights``."""
        return data_shares(plain(self.cfg.data_weights), self.folders())

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

    def without_counting(self, sample: Any) -> Any:
        return {**sample, "net_input": {**sample["net_input"], "counts": False}}

    def train_step(self, sample, model, criterion, optimizer, update_num, ignore_grad=False):
        sample, ignore_grad = real_batch(sample, ignore_grad)
        if ignore_grad:
            # A process that has run out of batches repeats one to keep step: it must not enter the statistics.
            sample = self.without_counting(sample)
        return super().train_step(sample, model, criterion, optimizer, update_num, ignore_grad)

    def apply_update(self, optimizer, model, update_num) -> None:
        """The optimiser's step and, right after it, the teacher's: a checkpoint then holds both."""
        super().apply_update(optimizer, model, update_num)
        model.set_num_updates(update_num + 1)

    def leave_out_update(self, optimizer, model, update_num) -> None:
        super().leave_out_update(optimizer, model, update_num)
        model.skip_update(update_num + 1)


register_task_alias("mae_image_pretraining", PretrainingTask, PretrainingTaskConfig)
