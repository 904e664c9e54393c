"""The registered pre-training model of SSAST: masked prediction over all patches (arXiv 2110.09784)."""

from __future__ import annotations

from typing import Any

from fairseq.models import register_model
from torch import Tensor

from ...checkpoints.layouts.published_architecture import merged
from ...checkpoints.layouts.ssast_names import SSAST_MODEL, from_ssast, to_ssast
from ...core.config import EncoderConfig
from ...core.encoder import SpectrogramEncoder
from ...core.places import Places
from ...core.zoo import SSAST
from ...objectives.masked_prediction import MaskedPrediction
from .encoder_keys import is_complete, plain, regularisation
from .objective_model import ObjectiveModel
from .ssast_keys import SsastConfig

_OBJECTIVE, _ENCODER = "objective.", "encoder."


@register_model(SSAST_MODEL, dataclass=SsastConfig)
class SsastModel(ObjectiveModel):
    """Encoder, mask token and heads, trained by :class:`MaskedPrediction`; checkpoints have SSAST's own tensors."""

    config_class = SsastConfig
    objective: MaskedPrediction

    @classmethod
    def architecture(cls, cfg: Any) -> EncoderConfig:
        if is_complete(cfg.encoder):
            return EncoderConfig.from_dict(plain(cfg.encoder))
        stated = {
            "stack": {name: cfg[name] for name in ("embed_dim", "depth", "num_heads", "mlp_ratio", "norm_eps")},
            "patches": {"size": list(cfg.patch_size), "stride": list(cfg.patch_size)},
            "num_mel_bins": cfg.num_mel_bins,
            "max_rows": cfg.max_length,
        }
        return EncoderConfig.from_dict(merged(merged(SSAST.to_dict(), stated), plain(cfg.encoder) or {}))

    def build_objective(self, encoder: EncoderConfig) -> MaskedPrediction:
        return MaskedPrediction(
            SpectrogramEncoder(encoder, regularisation(self.cfg)),
            discriminative_weight=self.cfg.discriminative_weight,
            generative_weight=self.cfg.generative_weight,
        )

    # -- checkpoints

    def published(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        own = {name.removeprefix(_OBJECTIVE): tensor for name, tensor in tensors.items()}
        encoder = {name.removeprefix(_ENCODER): own.pop(name) for name in list(own) if name.startswith(_ENCODER)}
        return to_ssast(encoder, own, self.encoder.config)

    def native(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        parts = from_ssast("the checkpoint", tensors, self.encoder.config)
        encoder = {_ENCODER + name: tensor for name, tensor in parts["encoder"].items()}
        return {_OBJECTIVE + name: tensor for name, tensor in (encoder | parts["training"]).items()}

    def published_name(self, name: str) -> str:
        return name  # several of them are made of one, or turned

    def published_place(self, module: str) -> tuple:
        return ()  # their order is that of the code

    def encoder_tensors(self, state_dict: dict) -> dict[str, Tensor]:
        return from_ssast("the checkpoint", state_dict, self.architecture(self.cfg))["encoder"]

    # -- training

    def forward(
        self,
        source: Tensor,
        id: Tensor | None = None,
        padding_mask: Tensor | None = None,
        mask: bool = True,
        features_only: bool = False,
        remove_extra_tokens: bool = True,
        places: dict[str, Tensor] | None = None,
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
            remove_extra_tokens: with ``features_only``, drop the prefix tokens.
            places: the masks as indices, as :meth:`Places.to_dict` gives them.
            precomputed_mask: instead of these, masks (B * M, N) or (B, M, N), True = hidden.
            counts: whether the batch enters statistics over all processes.

        Returns:
            ``losses`` with ``discriminative`` and ``generative``, both times ``sample_size``; ``masked_pct`` and
            ``nce_accuracy`` for the log.
        """
        if features_only:
            return self.extract_features(source, None, padding_mask, False, remove_extra_tokens)
        if not mask or padding_mask is not None:
            raise ValueError("pre-training needs mask=True and takes no padding mask; for features: features_only=True")
        if places is not None:
            hidden = Places.from_dict(places, len(source))
        elif precomputed_mask is not None:
            hidden = Places.of(precomputed_mask.bool().flatten(0, -2), len(source)).to(source.device)
        else:
            raise ValueError("pre-training needs the masks of the clips: places, or precomputed_mask (B, M, N)")
        losses = self.losses(source, mask=hidden, counts=counts)
        return {
            "losses": losses.terms,
            "sample_size": losses.sample_size,
            "masked_pct": losses.sample_size / max(losses.sample_size + hidden.kept.numel(), 1),
            **losses.statistics,
        }
