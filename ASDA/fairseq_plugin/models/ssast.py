"""The registered pre-training model of SSAST: masked prediction over all patches (arXiv 2110.09784)."""

from __future__ import annotations

from typing import Any

from fairseq.models import register_model
from torch import Tensor

from ...checkpoints.layouts.published_architecture import merged
from ...checkpoints.layouts.ssast_names import SSAST_MODEL, from_ssast, to_ssast
from ...core.config import EncoderConfig
from ...core.encoder import SpectrogramEncoder
from ...core.zoo import SSAST
from ...objectives.masked_prediction import MaskedPrediction
from .encoder_keys import is_complete, plain, regularisation
from .pretraining_model import PretrainingModel
from .ssast_keys import SsastConfig

_OBJECTIVE, _ENCODER = "objective.", "encoder."


@register_model(SSAST_MODEL, dataclass=SsastConfig)
class SsastModel(PretrainingModel):
    """Encoder, mask token and heads, trained by :class:`MaskedPrediction`; checkpoints have SSAST's own tensors."""

    config_class = SsastConfig
    takes_padding = False
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
