"""The registered pre-training model of ASDA and EAT: multi-student self-distillation."""

from __future__ import annotations

import logging
from typing import Any

import torch
from fairseq.models import register_model
from torch import Tensor

from ...checkpoints.layouts.published_architecture import recorded_architecture
from ...checkpoints.layouts.published_names import (
    LEGACY_PRETRAINING_MODEL,
    PRETRAINING_NAMES,
    TEACHER_KEY,
    TEACHER_UPDATES_KEY,
    encoder_from_published,
    encoder_to_published,
)
from ...core.config import EncoderConfig
from ...core.encoder import SpectrogramEncoder
from ...masks.inverse_block import InverseBlockMask
from ...objectives.conv_decoder import ConvDecoder2d
from ...objectives.ema_teacher import EmaTeacher, LinearDecay
from ...objectives.self_distillation import SelfDistillation
from ..aliases import register_alias
from .asda_keys import AsdaConfig, DecoderBackend, LegacyAsdaConfig
from .encoder_keys import AttentionKind, encoder_config, encoder_keys, is_complete, regularisation
from .pretraining_model import PretrainingModel

logger = logging.getLogger(__name__)


@register_model("asda", dataclass=AsdaConfig)
class AsdaModel(PretrainingModel):
    """Encoder, decoder and teacher, trained by :class:`SelfDistillation`.

    In checkpoints the teacher stands under ``_ema``, with the number of updates in it under ``_ema_num_updates``, so
    that a resumed run neither skips nor repeats a step of the moving average.
    """

    config_class = AsdaConfig
    names = PRETRAINING_NAMES
    loss_names = {"utterance": "cls", "frame": "IMAGE_regression"}  # what EAT's configs and logs call them
    objective: SelfDistillation

    def __init__(self, cfg: Any, encoder: EncoderConfig | None):
        super().__init__(cfg, encoder)
        self.register_state_dict_post_hook(self._save_teacher)

    @classmethod
    def architecture(cls, cfg: Any) -> EncoderConfig | None:
        is_open = cfg.attention is AttentionKind.auto and not is_complete(cfg.encoder)
        return None if is_open else encoder_config(cfg)

    def recorded_architecture(self, tensors: dict[str, Tensor]) -> EncoderConfig:
        return recorded_architecture(encoder_keys(self.cfg), tensors)

    def build_objective(self, encoder: EncoderConfig) -> SelfDistillation:
        cfg, image = self.cfg, self.cfg.modalities.image
        objective = SelfDistillation(
            SpectrogramEncoder(encoder, regularisation(cfg)),
            ConvDecoder2d(
                encoder.stack.embed_dim,
                decoder_dim=image.decoder.decoder_dim,
                num_layers=image.decoder.decoder_layers,
                kernel_size=image.decoder.decoder_kernel,
                groups=image.decoder.decoder_groups,
                residual=image.decoder.decoder_residual,
                mask_noise_std=image.mask_noise_std,
                checkpoint_activations=cfg.checkpoint_activations,
            ),
            decay=LinearDecay(cfg.ema_decay, cfg.ema_end_decay, cfg.ema_anneal_end_step),
            average_top_k_layers=cfg.average_top_k_layers,
            utterance_weight=cfg.cls_loss,
            utterance_clips=cfg.cls_loss_clips,
            frame_weight=cfg.d2v_loss,
        )
        if cfg.decoder_backend is not DecoderBackend.auto:  # which is decided where a run begins
            objective.decoder.use(cfg.decoder_backend.value)
        return objective

    @property
    def teacher(self) -> EmaTeacher:
        """The teacher."""
        return self.require_objective().teacher

    # -- checkpoints

    @staticmethod
    def _save_teacher(module, state_dict: dict, prefix: str, local_metadata: dict) -> None:
        if module.objective is None:
            return
        teacher = module.objective.teacher
        state_dict[prefix + TEACHER_KEY] = encoder_to_published(teacher.encoder.state_dict())
        state_dict[prefix + TEACHER_UPDATES_KEY] = torch.tensor(module.objective.num_updates)

    def load_state_dict(self, state_dict: dict, strict: bool = True, model_cfg: Any = None, args: Any = None):
        """Loads student, decoder and teacher."""
        state_dict = dict(state_dict)
        teacher = state_dict.pop(TEACHER_KEY, None)
        # A published file was written between a step of the student and the teacher's: one is due.
        updates = int(state_dict.pop(TEACHER_UPDATES_KEY, max(self.num_updates - 1, 0)))
        result = super().load_state_dict(state_dict, strict, model_cfg, args)
        if teacher is None:
            logger.warning(f"the checkpoint has no teacher ({TEACHER_KEY}): it starts as a copy of the student")
            tensors = self.encoder.state_dict()
        else:
            tensors = encoder_from_published(teacher)
        self.objective.teacher.encoder.load_state_dict(tensors, strict=strict)
        self.objective.num_updates = updates
        return result

    # -- training

    def schedule_statistics(self) -> dict[str, float]:
        return {"ema_decay": self.objective.teacher.decay(self.num_updates) * 1000}

    def draw_masks(self, source: Tensor) -> Tensor:
        image = self.cfg.modalities.image
        sampler = InverseBlockMask(
            self.encoder.grid(source),
            self.cfg.clone_batch,
            image.mask_prob,
            image.mask_length,
            image.mask_prob_adjust,
            image.inverse_mask,
        )
        return torch.cat([sampler() for _ in range(source.shape[0])])


register_alias(LEGACY_PRETRAINING_MODEL, AsdaModel, LegacyAsdaConfig)
