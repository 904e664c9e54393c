"""The pre-training task: unlabelled clips, and masks that depend only on (seed, epoch, clip, student).

No postponed annotations here: omegaconf 2.0 reads the types of the fields.
"""

from dataclasses import dataclass, field
from typing import Any

from fairseq.tasks import register_task

from ..core.masking import InverseBlockMask
from ..core.patches import patch_grid
from ..data.dataset import Augmentation
from ._dataset import FairseqSpectrogramDataset
from ._spectrogram_task import SpectrogramTask, SpectrogramTaskConfig, register_task_alias

# Keys of precompute_mask_config for variants of the masks that are not implemented -> their inert value.
_INERT_MASK_KEYS = {"mask_dropout": 0.0, "expand_adjacent": False, "non_overlapping": False}


@dataclass
class PretrainingTaskConfig(SpectrogramTaskConfig):
    precompute_mask_config: Any = field(
        default=None,
        metadata={
            "help": "patch_size, clone_batch, mask_prob, mask_prob_adjust, mask_length, inverse_mask; as the model's"
        },
    )


@register_task("asda_pretraining", dataclass=PretrainingTaskConfig)
class PretrainingTask(SpectrogramTask):
    """Loads clips without labels and draws a set of masks for each."""

    def load_dataset(self, split: str, combine: bool = False, task_cfg: Any = None, **kwargs) -> None:
        cfg = task_cfg or self.cfg
        training = split == "train"
        self.datasets[split] = FairseqSpectrogramDataset(
            self.manifest(split),
            self.front_end,
            mask_sampler=self.mask_sampler(),
            augmentation=Augmentation(roll=cfg.roll_aug, noise=cfg.noise) if training else None,
            seed=cfg.seed,
            shuffle=training,
            random_crop=cfg.random_crop and training,
            max_bad_fraction=cfg.max_bad_fraction,
            replace_bad=training,
            h5_sample_rate_hz=cfg.h5_sample_rate,
            waveforms=cfg.fbank_on_device,
        )

    def mask_sampler(self) -> InverseBlockMask:
        """The masks of a clip, as task.precompute_mask_config asks for them.

        Raises:
            ValueError: the config is missing, or asks for a variant that is not implemented.
        """
        cfg = self.cfg.precompute_mask_config
        if not cfg:
            raise ValueError(
                "task.precompute_mask_config is not set: it holds patch_size, clone_batch, mask_prob, "
                "mask_prob_adjust, mask_length and inverse_mask (see config/pretraining_AS2M.yaml)"
            )
        for key, value in _INERT_MASK_KEYS.items():
            if cfg.get(key, value) != value:
                raise ValueError(f"task.precompute_mask_config.{key}={cfg[key]} is not implemented; only {value} is")
        return InverseBlockMask(
            patch_grid(self.front_end.target_length_frames, self.front_end.num_mel_bins, cfg["patch_size"]),
            num_masks=cfg["clone_batch"],
            mask_ratio=cfg["mask_prob"],
            block_size=cfg["mask_length"],
            adjust=cfg["mask_prob_adjust"],
            inverse=cfg["inverse_mask"],
        )

    def train_step(self, sample, model, criterion, optimizer, update_num, ignore_grad=False):
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
