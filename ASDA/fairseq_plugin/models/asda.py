"""The registered pre-training model: multi-student self-distillation of ASDA and EAT."""

from __future__ import annotations

import logging
from contextlib import nullcontext
from typing import Any

import torch
from fairseq.models import BaseFairseqModel, register_model
from torch import Tensor

from ...adaptation.parameter_groups import exclude_from_decay
from ...checkpoints.layouts.published_names import (
    LEGACY_PRETRAINING_MODEL,
    TEACHER_KEY,
    TEACHER_UPDATES_KEY,
    to_native,
    to_published,
)
from ...core.encoder import SpectrogramEncoder
from ...masks.inverse_block import InverseBlockMask
from ...objectives.conv_decoder import ConvDecoder2d
from ...objectives.ema_teacher import LinearDecay
from ...objectives.self_distillation import SelfDistillation
from ..aliases import register_alias
from ..eat_keys import reject_unsupported
from .asda_keys import LegacyPretrainingModelConfig, PretrainingModelConfig
from .encoder_keys import AttentionKind, Autocast
from .legacy import arguments_for
from .objective_model import extract_features
from .published_state import PublishedNames

logger = logging.getLogger(__name__)


class CollapseError(RuntimeError):
    """The predictions or the targets have become (nearly) the same for every patch."""


@register_model("asda", dataclass=PretrainingModelConfig)
class PretrainingModel(PublishedNames, BaseFairseqModel):
    """Encoder, decoder and teacher, trained by :class:`SelfDistillation`.

    In checkpoints the teacher stands under ``_ema``, with the number of updates in it under ``_ema_num_updates``, so
    that a resumed run neither skips nor repeats a step of the moving average.
    """

    native_root = "objective."

    def __init__(self, cfg: Any):
        super().__init__()
        self.cfg = cfg
        self.num_updates = 0
        if cfg.attention is AttentionKind.auto:
            logger.info(
                "model.attention=auto: as the tensors of a loaded checkpoint say; from scratch differential attention "
                f"with lambda {cfg.diff_lambda} and an MLP of {cfg.mlp_ratio} x D (EAT's own: model.attention=plain)"
            )
        self._build(arguments_for(cfg, {}))
        self.register_state_dict_post_hook(self._save_teacher)

    @classmethod
    def build_model(cls, cfg: Any, task: Any = None) -> PretrainingModel:
        return cls(cfg)

    def reject_unsupported(self) -> None:
        """Raises ValueError if the config asks for training that is not implemented."""
        reject_unsupported(PretrainingModelConfig, self.cfg, "model", training=True)

    def _build(self, arguments: dict) -> None:
        cfg, decoder = self.cfg, self.cfg.modalities.image.decoder
        self.objective = SelfDistillation(
            SpectrogramEncoder(**arguments),
            ConvDecoder2d(
                arguments["embed_dim"],
                decoder_dim=decoder.decoder_dim,
                num_layers=decoder.decoder_layers,
                kernel_size=decoder.decoder_kernel,
                groups=decoder.decoder_groups,
                residual=decoder.decoder_residual,
                checkpoint_activations=cfg.checkpoint_activations,
            ),
            decay=LinearDecay(cfg.ema_decay, cfg.ema_end_decay, cfg.ema_anneal_end_step),
            average_top_k_layers=cfg.average_top_k_layers,
            utterance_weight=cfg.cls_loss,
            utterance_clips=cfg.cls_loss_clips,
            frame_weight=cfg.d2v_loss,
            mask_noise_std=cfg.modalities.image.mask_noise_std,
        )
        exclude_from_decay(self, cfg.no_decay_group)
        if cfg.compile:
            self.objective.compile_layers()

    @property
    def student(self) -> SpectrogramEncoder:
        return self.objective.student

    @property
    def teacher(self):
        return self.objective.teacher

    # -- checkpoints

    @staticmethod
    def _save_teacher(module, state_dict: dict, prefix: str, local_metadata: dict) -> None:
        teacher = module.teacher
        state_dict[prefix + TEACHER_KEY] = {
            to_published(f"student.{name}"): tensor for name, tensor in teacher.encoder.state_dict().items()
        }
        state_dict[prefix + TEACHER_UPDATES_KEY] = torch.tensor(teacher.num_updates)

    def load_state_dict(self, state_dict: dict, strict: bool = True, model_cfg: Any = None, args: Any = None):
        """Loads student, decoder and teacher; with attention=auto first rebuilds the network as the tensors say."""
        state_dict = dict(state_dict)
        teacher = state_dict.pop(TEACHER_KEY, None)
        # A published file was written between a step of the student and the teacher's: one is due.
        updates = int(state_dict.pop(TEACHER_UPDATES_KEY, max(self.num_updates - 1, 0)))
        arguments = arguments_for(self.cfg, state_dict)
        if any(self.student.config[name] != arguments[name] for name in self.student.config):
            device = self.student.cls_token.device
            self._build(arguments)
            self.to(device).train(self.training)
        result = super().load_state_dict(state_dict, strict, model_cfg, args)
        if teacher is None:
            logger.warning(f"the checkpoint has no teacher ({TEACHER_KEY}): it starts as a copy of the student")
            tensors = self.student.state_dict()
        else:
            tensors = {to_native(name).removeprefix("student."): tensor for name, tensor in teacher.items()}
        self.teacher.encoder.load_state_dict(tensors, strict=strict)
        self.teacher.num_updates = updates
        return result

    # -- training

    def set_num_updates(self, num_updates: int) -> None:
        """Told by the trainer how many updates are done; the teacher takes the step of each new one.

        fairseq says N when a checkpoint of update N is loaded, at the start of each step, and (through the task) right
        after each update. Only what is news to the teacher is a step.
        """
        super().set_num_updates(num_updates)
        loading = self.num_updates == 0 and num_updates > 1
        if num_updates > self.teacher.num_updates and not loading:
            self.teacher.update(self.student, num_updates)
        self.teacher.num_updates = num_updates
        self.num_updates = num_updates

    def skip_update(self, num_updates: int) -> None:
        """Told by the task that update ``num_updates`` left the student as it was: no step of the teacher is due."""
        self.teacher.num_updates = self.num_updates = num_updates

    def forward(
        self,
        source: Tensor,
        id: Tensor | None = None,
        padding_mask: Tensor | None = None,
        mask: bool = True,
        features_only: bool = False,
        remove_extra_tokens: bool = True,
        precomputed_mask: Tensor | None = None,
        counts: bool = True,
    ) -> dict[str, Any]:
        """Losses of a batch, or its features.

        Args:
            source: spectrograms (B, 1, T, F).
            id: accepted because fairseq passes it; the masks come from the data set.
            padding_mask: (B, N), True = padding; with ``features_only``.
            mask: must be True unless ``features_only``.
            features_only: return the features of :meth:`extract_features` instead of losses.
            remove_extra_tokens: with ``features_only``, drop CLS.
            precomputed_mask: (B * M, N), True = hidden; drawn here when absent.
            counts: whether the batch enters pred_var and target_var.

        Returns:
            ``losses`` with ``cls`` (utterance) and ``IMAGE_regression`` (frame), both times ``sample_size`` = R;
            ``masked_pct``, ``pred_var``, ``target_var`` and ``ema_decay`` (times 1000) for the log.

        Raises:
            CollapseError: pred_var or target_var fell under its floor.
        """
        if features_only:
            return self.extract_features(source, None, padding_mask, False, remove_extra_tokens)
        if not mask or padding_mask is not None:
            raise ValueError("pre-training needs mask=True and takes no padding mask; for features: features_only=True")
        if precomputed_mask is None:
            precomputed_mask = self._draw_masks(source)
        precomputed_mask = precomputed_mask.to(device=source.device, dtype=torch.bool).flatten(0, -2)
        bf16 = self.cfg.autocast is Autocast.bf16
        with torch.autocast(source.device.type, torch.bfloat16) if bf16 else nullcontext():
            result = self.objective(source, precomputed_mask, counts=counts)
        statistics = {name: float(result[name]) for name in ("pred_var", "target_var")}
        self._check_collapse(statistics)
        return {
            "losses": {"cls": result["utterance"], "IMAGE_regression": result["frame"]},
            "sample_size": result["num_masked"],
            "masked_pct": result["num_masked"] / precomputed_mask.numel(),
            "ema_decay": self.teacher.decay(self.num_updates) * 1000,
            **statistics,
        }

    def extract_features(self, source, mode=None, padding_mask=None, mask=False, remove_extra_tokens=True):
        """As :func:`ASDA.fairseq_plugin.models.objective_model.extract_features`, of the student."""
        return extract_features(self.student, source, mode, padding_mask, mask, remove_extra_tokens)

    def _draw_masks(self, source: Tensor) -> Tensor:
        image = self.cfg.modalities.image
        sampler = InverseBlockMask(
            self.student.grid(source),
            self.cfg.clone_batch,
            image.mask_prob,
            image.mask_length,
            image.mask_prob_adjust,
            image.inverse_mask,
        )
        return torch.cat([sampler() for _ in range(source.shape[0])])

    def _check_collapse(self, statistics: dict[str, float]) -> None:
        if not self.training or self.num_updates < self.cfg.collapse_after_updates:
            return
        for name, value in statistics.items():
            floor = self.cfg[f"min_{name}"]
            if value < floor:
                raise CollapseError(
                    f"{name} is {value:.4g} at update {self.num_updates}, under its floor model.min_{name}={floor}: "
                    "the representation has collapsed. Resume from an older checkpoint with a lower learning rate or a "
                    "slower teacher, or lower the floor (the monitor looks after model.collapse_after_updates="
                    f"{self.cfg.collapse_after_updates} updates)"
                )


register_alias(LEGACY_PRETRAINING_MODEL, PretrainingModel, LegacyPretrainingModelConfig)
