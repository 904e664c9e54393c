"""The registered classifier: a trained encoder with a classification head: fine-tuned, adapted or probed."""

from __future__ import annotations

from typing import Any

import numpy as np
from fairseq.models import register_model
from omegaconf import OmegaConf
from torch import Tensor

from ...adaptation.adapting import adapt, load_tensors
from ...adaptation.keys import methods_of_keys
from ...adaptation.lora import state_name
from ...adaptation.method import Method
from ...adaptation.parameter_groups import decay_by_layer
from ...checkpoints.adapters import BASE_KEY, base_of, plain_encoder, require_base
from ...checkpoints.checkpoint import Base
from ...checkpoints.layouts.adapter_file import checksum_in, checksum_tensor
from ...checkpoints.layouts.project import pretraining_model_config, trained_with_softmax
from ...checkpoints.layouts.published_architecture import recorded_architecture
from ...checkpoints.layouts.published_names import CLASSIFIER_NAMES, LEGACY_CLASSIFIER
from ...checkpoints.regridding import regridded
from ...core.classifier import SpectrogramClassifier
from ...core.config import EncoderConfig, HeadConfig
from ...core.encoder import SpectrogramEncoder
from ...objectives.classification import BatchAugmentation, Classification
from ..aliases import register_alias
from .classifier_keys import ClassifierConfig, LegacyClassifierConfig, PredictionMode
from .encoder_keys import is_complete, plain, regularisation, with_norm_eps
from .objective_model import EncoderView, ObjectiveModel
from .starting_weights import read_pretrained, starting_weights

_POOLINGS = {
    PredictionMode.CLS_TOKEN: "cls",
    PredictionMode.MEAN_POOLING: "mean",
    PredictionMode.PREFIX_MEAN: "prefix_mean",
}


@register_model("asda_classifier", dataclass=ClassifierConfig)
class ClassifierModel(ObjectiveModel):
    """Fine-tunes an encoder (or adapts or probes a frozen one) for single- or multi-label classification.

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
        self.base: Base | None = None  # the encoder, where it is left out of this model's checkpoints
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
        read = getattr(task, "pretrained", None)
        if read is None and not cfg.init:
            read = read_pretrained(cfg.model_path)
        checkpoint = starting_weights(cfg, getattr(task, "front_end", None), read)
        if checkpoint.training_config is not None:
            cfg.pretrained_model_args = OmegaConf.create(_pretraining_run(checkpoint.training_config))
        model = cls(cfg, with_norm_eps(checkpoint.encoder_config, cfg.norm_eps), multi_label)
        if not cfg.no_pretrained_weights:
            load_tensors(model.encoder, checkpoint.encoder)
            if read is not None and model.leaves_weights_to_base:
                model.base = base_of(read)
        return model

    def recorded_architecture(self, tensors: dict[str, Tensor]) -> EncoderConfig:
        recorded = pretraining_model_config({"model": {"pretrained_model_args": plain(self.cfg.pretrained_model_args)}})
        return with_norm_eps(recorded_architecture(recorded, tensors), self.cfg.norm_eps)

    def build_objective(self, encoder: EncoderConfig) -> Classification:
        cfg = self.cfg
        head = HeadConfig(cfg.num_classes, _POOLINGS[cfg.prediction_mode], cfg.use_fc_norm, cfg.fc_norm_eps)
        network = SpectrogramEncoder(encoder, regularisation(cfg, (cfg.drop_path_rate, cfg.drop_path_rate)))
        methods = self.methods
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
            trained_parts=None if methods is None else adapt(network, methods),
        )

    @property
    def methods(self) -> tuple[Method, ...] | None:
        """How the encoder is adapted; None: all of it is trained.

        Raises:
            AdaptationError: the keys name no method, or have no such value.
        """
        return methods_of_keys(plain(self.cfg))

    @property
    def leaves_weights_to_base(self) -> bool:
        """Whether checkpoints hold what is trained alone: another file has the rest."""
        cfg = self.cfg
        frozen = not all(p.requires_grad for p in self.encoder.parameters())
        return bool(cfg.adaptation and cfg.model_path and not cfg.no_pretrained_weights and frozen)

    def _trained_names(self) -> set[str]:
        return {f"objective.{state_name(n)}" for n, p in self.objective.named_parameters() if p.requires_grad}

    def published(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        if self.base is None:
            return super().published(tensors)
        trained = self._trained_names()
        own = super().published({name: tensor for name, tensor in tensors.items() if name in trained})
        return {**own, BASE_KEY: checksum_tensor(self.base.sha256)}

    def load_state_dict(self, state_dict: dict, strict: bool = True, model_cfg: Any = None, args: Any = None):
        """Loads a checkpoint's tensors; of one that holds adapters alone, on the encoder that they belong to.

        Raises:
            ValueError: the tensors are those of another architecture or of other adapters.
            CheckpointError: the encoder is not there, or is another one.
        """
        if BASE_KEY not in state_dict:
            return super().load_state_dict(state_dict, strict, model_cfg, args)
        if self.base is None:  # made from the checkpoint: its encoder is still to be read
            self._load_base()
        file = "the checkpoint to go on from"
        recorded = Base(checksum_in(state_dict, file), self.cfg.model_path)
        require_base(file, recorded, self.base)
        tensors = {name: tensor for name, tensor in state_dict.items() if name != BASE_KEY}
        trained = super().published(dict.fromkeys(self._trained_names()))
        different = sorted(tensors.keys() ^ trained.keys())
        if different:
            raise ValueError(
                f"{file} holds {len(tensors)} trained tensors, model.adaptation={plain(self.cfg)['adaptation']} trains "
                f"{len(trained)}: {', '.join(different[:4])} of one and not of the other"
            )
        frozen = {f"objective.{name}": tensor for name, tensor in self.require_objective().state_dict().items()}
        return super().load_state_dict({**super().published(frozen), **tensors}, strict, model_cfg, args)

    def _load_base(self) -> None:
        read = read_pretrained(self.cfg.model_path)
        stated = self.encoder.config
        changes = {"patches": {"stride": list(stated.patches.stride)}, "max_rows": stated.max_rows}
        load_tensors(self.encoder, regridded(plain_encoder(read), changes).encoder)
        self.base = base_of(read)

    def group_parameters(self) -> None:
        if self.cfg.no_decay_blocks:
            super().group_parameters()
        if self.cfg.layer_decay != 1.0:
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
