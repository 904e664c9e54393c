"""The registered classifier: a pre-trained encoder, a pooled token and a linear head."""

from __future__ import annotations

import logging
from contextlib import nullcontext
from typing import Any

import torch
from fairseq.models import BaseFairseqModel, register_model
from omegaconf import OmegaConf
from torch import Tensor, nn
from torch.nn import functional as F

from ...adaptation.parameter_groups import exclude_from_decay
from ...audio.augment import draw_mixup_weight, mixup, spec_augment
from ...checkpoints.layouts.published_names import LEGACY_CLASSIFIER, split_published
from ...core.classifier import FC_NORM_EPS, pool_tokens
from ...core.encoder import SpectrogramEncoder
from ...randomness import clip_generator
from ..aliases import register_alias
from ..eat_keys import reject_unsupported
from .classifier_keys import ClassificationLoss, ClassifierConfig, LegacyClassifierConfig, PredictionMode
from .encoder_keys import Autocast
from .legacy import arguments_for, pretraining_config
from .objective_model import EncoderModel
from .published_state import PublishedNames

logger = logging.getLogger(__name__)


@register_model("asda_classifier", dataclass=ClassifierConfig)
class ClassifierModel(PublishedNames, BaseFairseqModel):
    """Fine-tunes an encoder (or probes a frozen one) for single- or multi-label classification (F7)."""

    native_root = "model."

    def __init__(self, cfg: Any, multi_label: bool = True):
        super().__init__()
        reject_unsupported(ClassifierConfig, cfg, "model", training=False)
        if cfg.prediction_mode is PredictionMode.LIN_SOFTMAX:
            raise ValueError(
                "model.prediction_mode=LIN_SOFTMAX is not implemented here; use PredictionMode.CLS_TOKEN or "
                "PredictionMode.MEAN_POOLING"
            )
        self.cfg = cfg
        weights = {}
        if cfg.pretrained_model_args is None:
            pretrained, weights = read_pretrained(cfg.model_path)
            cfg.pretrained_model_args = OmegaConf.create(pretrained)  # a plain dictionary is refused by omegaconf 2.0.6
        self._build(arguments_for(self._pretraining_config, weights))
        if weights and not cfg.no_pretrained_weights:
            self.model.student.load_state_dict(split_published(weights)["student"])
        D = self.model.student.embed_dim
        self.fc_norm = nn.LayerNorm(D, eps=FC_NORM_EPS) if cfg.use_fc_norm else nn.Identity()
        self.head = nn.Linear(D, cfg.num_classes)
        nn.init.trunc_normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)
        self.use_bce = cfg.loss is ClassificationLoss.bce or (
            cfg.loss is ClassificationLoss.auto and (multi_label or cfg.mixup > 0)
        )
        self._set_optimiser_groups()

    @classmethod
    def build_model(cls, cfg: Any, task: Any) -> ClassifierModel:
        return cls(cfg, multi_label=getattr(task, "multi_label", True))

    def reject_unsupported(self) -> None:
        """Raises ValueError if the config asks for training that is not implemented."""
        reject_unsupported(ClassifierConfig, self.cfg, "model", training=True)

    @property
    def _pretraining_config(self) -> Any:
        return pretraining_config(OmegaConf.create(self.cfg.pretrained_model_args).model)

    def _build(self, arguments: dict) -> None:
        cfg = self.cfg
        arguments.update(
            attention_dropout=cfg.attention_dropout,
            encoder_dropout=cfg.encoder_dropout,
            activation_dropout=cfg.activation_dropout,
            post_mlp_drop=cfg.post_mlp_drop,
            drop_path=(0.0, 0.0) if cfg.linear_classifier else (cfg.drop_path_rate, cfg.drop_path_rate),
            checkpoint_activations=cfg.checkpoint_activations,
        )
        if cfg.norm_eps is not None:
            arguments["norm_eps"] = cfg.norm_eps
        self.model = EncoderModel(SpectrogramEncoder(**arguments))
        if cfg.linear_classifier:
            self.model.requires_grad_(False)
        if cfg.compile:
            self.model.student.compile_blocks()

    def _set_optimiser_groups(self) -> None:
        """Layer-wise learning rates: decay^k for the k-th layer below the head, the embedding counted as one."""
        cfg, encoder = self.cfg, self.model.student
        depth = len(encoder.blocks)
        if cfg.no_decay_blocks:
            exclude_from_decay(self, cfg.no_decay_group)
        if cfg.layer_decay == 1.0 or cfg.linear_classifier:
            return
        blocks = {id(p): layer for layer, block in enumerate(encoder.blocks) for p in block.parameters()}
        for parameter in encoder.parameters():
            below = depth - blocks.get(id(parameter), -1)
            parameter.optim_overrides = {"optimizer": {"lr_scale": cfg.layer_decay**below}}

    # -- checkpoints

    def load_state_dict(self, state_dict: dict, strict: bool = True, model_cfg: Any = None, args: Any = None):
        """Loads encoder and head; if the recorded config leaves the attention open, as the tensors say."""
        arguments = arguments_for(self._pretraining_config, state_dict)
        config = self.model.student.config
        if any(config[n] != arguments[n] for n in config if n != "norm_eps"):
            device = self.head.weight.device
            self._build(arguments)
            self._set_optimiser_groups()
            self.to(device).train(self.training)
        return super().load_state_dict(dict(state_dict), strict, model_cfg, args)

    # -- training

    def train(self, mode: bool = True) -> ClassifierModel:
        super().train(mode)
        if self.cfg.linear_classifier:
            self.model.eval()
        return self

    def extract_features(self, source, mode=None, padding_mask=None, mask=False, remove_extra_tokens=True):
        """As :func:`ASDA.fairseq_plugin.models.objective_model.extract_features`, of the fine-tuned encoder."""
        return self.model.extract_features(source, mode, padding_mask, mask, remove_extra_tokens)

    def logits(self, source: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        """(B, 1, T, F) -> (B, C)."""
        with torch.no_grad() if self.cfg.linear_classifier else nullcontext():
            tokens = self.model.student(source, padding_mask)
        pooling = "cls" if self.cfg.prediction_mode is PredictionMode.CLS_TOKEN else "mean"
        return self.head(self.fc_norm(pool_tokens(tokens, pooling, padding_mask)))

    def forward(
        self,
        source: Tensor,
        target: Tensor | None = None,
        seeds: Tensor | None = None,
        padding_mask: Tensor | None = None,
        id: Tensor | None = None,
    ) -> Any:
        """Logits (B, C) when there is no target; else the loss of the batch, while training with augmentation.

        Args:
            source: spectrograms (B, 1, T, F).
            target: (B, C), 1 for each label of a clip.
            seeds: (B,) int64, what each clip's augmentation is drawn from; needed for training with augmentation.
            padding_mask: (B, N), True = padding.
            id: accepted because fairseq passes it.

        Returns:
            Logits, or a dictionary with ``losses``, ``sample_size`` (BCE: the number of positive labels after mixup;
            cross-entropy: the number of clips), and scores and targets for the metrics.
        """
        bf16 = self.cfg.autocast is Autocast.bf16
        autocast = torch.autocast(source.device.type, torch.bfloat16) if bf16 else nullcontext()
        if target is None:
            with autocast:
                return self.logits(source, padding_mask)
        if self.training:
            source, target = self._augment(source, target, seeds)
        with autocast:
            logits = self.logits(source, padding_mask)
        logits, smoothed = logits.float(), self._smooth(target.float())
        if self.use_bce:
            loss = F.binary_cross_entropy_with_logits(logits, smoothed, reduction="sum")
            sample_size = max(float(target.sum()), min(len(target), 1.0))
        else:
            loss = -(smoothed * logits.log_softmax(dim=1)).sum()
            sample_size = target.shape[0]
        return {
            "losses": {"classification": loss},
            "sample_size": sample_size,
            "_scores": logits.detach().sigmoid() if self.use_bce else logits.detach().softmax(dim=1),
            "_targets": target,
        }

    def _augment(self, source: Tensor, target: Tensor, seeds: Tensor | None) -> tuple[Tensor, Tensor]:
        cfg = self.cfg
        if not (cfg.specaug or cfg.mixup > 0):
            return source, target
        if seeds is None:
            raise ValueError("training with SpecAugment or mixup needs the clips' seeds (see SpectrogramDataset)")
        if cfg.specaug:
            frames, mel_bins = source.shape[2:]
            by_ratio = int(cfg.mask_ratio * mel_bins), int(cfg.mask_ratio * frames)
            by_width = min(cfg.freqm, mel_bins), min(cfg.timem, frames)  # at most all of a short clip
            source = spec_augment(source, seeds, *(by_ratio if cfg.mask_ratio > 0 else by_width))
        if cfg.mixup > 0:
            # The whole batch is mixed with one weight, so the batch's first clip decides it.
            weight = draw_mixup_weight(clip_generator(int(seeds[0]), 1), cfg.mixup, cfg.mixup_prob)
            source, target = mixup(source, target, weight)
        return source, target

    def _smooth(self, target: Tensor) -> Tensor:
        smoothing = self.cfg.label_smoothing if self.training else 0.0
        return target * (1.0 - smoothing) + smoothing / target.shape[1] if smoothing > 0 else target


def read_pretrained(path: str) -> tuple[dict, dict[str, Tensor]]:
    """Config (the whole one, as a plain container) and tensors of the checkpoint that fine-tuning starts from.

    Args:
        path: a pre-training checkpoint, or a fine-tuned one, whose encoder is taken.

    Raises:
        ValueError: no path is given.
        FileNotFoundError: there is no such file.
    """
    if not path:
        raise ValueError(
            "fine-tuning starts from a pre-trained checkpoint: set model.model_path=/path/to/checkpoint.pt"
        )
    state = torch.load(path, map_location="cpu", weights_only=True)
    cfg = state["cfg"]["model"].get("pretrained_model_args") or state["cfg"]
    return cfg, state["model"]


register_alias(LEGACY_CLASSIFIER, ClassifierModel, LegacyClassifierConfig)
