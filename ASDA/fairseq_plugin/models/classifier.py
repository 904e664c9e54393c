"""The registered classifier: a trained encoder with a classification head, fine-tuned or probed."""

from __future__ import annotations

from typing import Any

import numpy as np
from fairseq.models import register_model
from omegaconf import OmegaConf
from torch import Tensor

from ...adaptation.parameter_groups import decay_by_layer
from ...checkpoints.layouts.project import pretraining_model_config, trained_with_softmax
from ...checkpoints.layouts.published_architecture import recorded_architecture
from ...checkpoints.layouts.published_names import CLASSIFIER_NAMES, LEGACY_CLASSIFIER
from ...core.classifier import SpectrogramClassifier
from ...core.config import EncoderConfig, HeadConfig
from ...core.encoder import SpectrogramEncoder
from ...objectives.classification import BatchAugmentation, Classification
from ..aliases import register_alias
from .classifier_keys import ClassifierConfig, LegacyClassifierConfig, PredictionMode
from .encoder_keys import is_complete, plain, regularisation, with_norm_eps
from .objective_model import EncoderView, ObjectiveModel
from .starting_weights import starting_weights

_POOLINGS = {
    PredictionMode.CLS_TOKEN: "cls",
    PredictionMode.MEAN_POOLING: "mean",
    PredictionMode.PREFIX_MEAN: "prefix_mean",
}


@register_model("asda_classifier", dataclass=ClassifierConfig)
class ClassifierModel(ObjectiveModel):
    """Fine-tunes an encoder (or probes a frozen one) for single- or multi-label classification.

    Args:
        cfg: the merged config.
        encoder: the architecture; None: what the tensors of the checkpoint say that is going to be loaded.
        multi_label: whether a clip may have several labels.
    """

    config_class = ClassifierConfig
    names = CLASSIFIER_NAMES
    objective: Classification

    def __init__(self, cfg: Any, encoder: EncoderConfig | None, multi_label: bool = True):
        if cfg.prediction_mode not in _POOLINGS:
            raise ValueError(
                f"model.prediction_mode={cfg.prediction_mode.name} is not implemented here; use "
                f"{', '.join(f'PredictionMode.{mode.name}' for mode in _POOLINGS)}"
            )
        self._multi_label = multi_label
        super().__init__(cfg, encoder)

    @classmethod
    def build_model(cls, cfg: Any, task: Any) -> ClassifierModel:
        """Called by fairseq. A new run starts from ``model.model_path`` or ``model.init``; a checkpoint records what it
        started from."""
        multi_label = getattr(task, "multi_label", True)
        if is_complete(cfg.encoder):
            return cls(cfg, EncoderConfig.from_dict(plain(cfg.encoder)), multi_label)
        if cfg.pretrained_model_args is not None:
            return cls(cfg, None, multi_label)
        checkpoint = starting_weights(cfg, getattr(task, "front_end", None), getattr(task, "pretrained", None))
        if checkpoint.training_config is not None:
            cfg.pretrained_model_args = OmegaConf.create(_pretraining_run(checkpoint.training_config))
        model = cls(cfg, with_norm_eps(checkpoint.encoder_config, cfg.norm_eps), multi_label)
        if not cfg.no_pretrained_weights:
            model.encoder.load_state_dict(checkpoint.encoder)
        return model

    def recorded_architecture(self, tensors: dict[str, Tensor]) -> EncoderConfig:
        recorded = pretraining_model_config({"model": {"pretrained_model_args": plain(self.cfg.pretrained_model_args)}})
        return with_norm_eps(recorded_architecture(recorded, tensors), self.cfg.norm_eps)

    def build_objective(self, encoder: EncoderConfig) -> Classification:
        cfg = self.cfg
        drop_path = 0.0 if cfg.linear_classifier else cfg.drop_path_rate
        head = HeadConfig(cfg.num_classes, _POOLINGS[cfg.prediction_mode], cfg.use_fc_norm, cfg.fc_norm_eps)
        network = SpectrogramEncoder(encoder, regularisation(cfg, (drop_path, drop_path)))
        return Classification(
            SpectrogramClassifier(network, head),
            independent_scores=not trained_with_softmax(cfg.loss.name, self._multi_label, cfg.mixup),
            augmentation=BatchAugmentation(
                spec_augment=cfg.specaug,
                mask_ratio=cfg.mask_ratio,
                mel_bins=cfg.freqm,
                frames=cfg.timem,
                mixup=cfg.mixup,
                mixup_prob=cfg.mixup_prob,
                label_smoothing=cfg.label_smoothing,
            ),
            frozen_encoder=cfg.linear_classifier,
        )

    def group_parameters(self) -> None:
        if self.cfg.no_decay_blocks:
            super().group_parameters()
        if self.cfg.layer_decay != 1.0 and not self.cfg.linear_classifier:
            decay_by_layer(self.encoder, self.cfg.layer_decay)

    @property
    def model(self) -> EncoderView:
        """The encoder, where EAT's programs look for it."""
        return EncoderView(self.encoder)

    def logits(self, source: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        """(B, 1, T, F) -> (B, C)."""
        with self.autocast(source):
            return self.objective.logits(source, padding_mask)

    def forward(
        self,
        source: Tensor,
        target: Tensor | None = None,
        seeds: Tensor | np.ndarray | None = None,
        padding_mask: Tensor | None = None,
        id: Tensor | None = None,
        num_labels: float | None = None,
    ) -> Any:
        """Logits (B, C) when there is no target; else the loss of the batch, while training with augmentation.

        Args:
            source: spectrograms (B, 1, T, F).
            target: (B, C), 1 for each label of a clip, NaN for classes that were not judged.
            seeds: (B,) int64, what each clip's augmentation is drawn from; needed for training with augmentation.
            padding_mask: (B, N), True = padding.
            id: accepted because fairseq passes it.
            num_labels: of the batch, where the host knows it.

        Returns:
            Logits, or a dictionary with ``losses``, ``sample_size`` (BCE: the number of positive labels after mixup;
            cross-entropy: the number of clips), and scores and targets for the metrics.
        """
        if target is None:
            return self.logits(source, padding_mask)
        losses = self.losses(source, target=target, seeds=seeds, padding_mask=padding_mask, num_labels=num_labels)
        return {"losses": losses.terms, "sample_size": losses.sample_size, **losses.statistics}


def _pretraining_run(cfg: dict[str, Any]) -> dict[str, Any]:
    """The config of the run that pre-trained an encoder, which a fine-tuned checkpoint nests in its own."""
    return cfg["model"].get("pretrained_model_args") or cfg


register_alias(LEGACY_CLASSIFIER, ClassifierModel, LegacyClassifierConfig)
