"""The registered pre-training model of MAE-AST: a masked autoencoder."""

from __future__ import annotations

from typing import Any

import torch
from fairseq.models import register_model
from torch import Tensor, nn

from ...checkpoints.layouts import mae_ast_names as names
from ...checkpoints.layouts.mae_ast_architecture import config_of_keys, decoder_of_keys
from ...core.config import EncoderConfig, Regularisation
from ...core.encoder import SpectrogramEncoder
from ...core.positions import POSITIONS
from ...objectives.masked_autoencoder import MaskedAutoencoder
from ...objectives.transformer_decoder import TransformerDecoder
from .encoder_keys import plain
from .mae_ast_keys import MaeAstConfig
from .pretraining_model import PretrainingModel

_OBJECTIVE = "objective."
_TABLES = ("encoder.positions", "decoder.positions")


class UnusedParameters(nn.Module):
    """What the released post-norm networks have and never use: no gradient, but a place in their files.

    Args:
        embed_dim: width of the encoder.
        num_mel_bins: mel bins of the spectrograms.
    """

    def __init__(self, embed_dim: int, num_mel_bins: int):
        super().__init__()
        self.mask_token = nn.Parameter(torch.rand(embed_dim))
        self.norm = nn.LayerNorm(num_mel_bins)
        self.requires_grad_(False)


@register_model(names.PUBLISHED_MODEL, dataclass=MaeAstConfig)
class MaeAstModel(PretrainingModel):
    """Encoder, decoder and two heads, trained by :class:`MaskedAutoencoder`."""

    config_class = MaeAstConfig
    objective: MaskedAutoencoder

    @classmethod
    def architecture(cls, cfg: Any) -> EncoderConfig:
        return config_of_keys({key: plain(cfg[key]) for key in cfg})

    def recorded_architecture(self, tensors: dict[str, Tensor]) -> EncoderConfig:
        return self.architecture(self.cfg)

    def build_objective(self, encoder: EncoderConfig) -> MaskedAutoencoder:
        cfg = self.cfg
        if encoder.patches.overlap:
            raise ValueError(
                f"patches of {encoder.patches.size} frames and mel bins with a stride of {encoder.patches.stride} "
                "overlap: what one of them hides, its neighbour would show. Set model.ast_kernel_stride_time and "
                "model.ast_kernel_stride_chan to the size, or null"
            )
        dropouts = Regularisation(
            attention_dropout=cfg.attention_dropout,
            projection_dropout=cfg.dropout,
            activation_dropout=cfg.activation_dropout,
            mlp_dropout=cfg.dropout,
            input_dropout=cfg.dropout,
            checkpoint_activations=cfg.checkpoint_activations,
        )
        of_encoder = {**vars(dropouts), "patch_dropout": cfg.dropout_input, "layerdrop": cfg.encoder_layerdrop}
        of_decoder = {**vars(dropouts), "layerdrop": cfg.decoder_layerdrop}
        decoder = TransformerDecoder(
            encoder, decoder_of_keys(cfg, encoder), Regularisation(**of_decoder), project=cfg.use_post_enc_proj
        )
        objective = MaskedAutoencoder(
            SpectrogramEncoder(encoder, Regularisation(**of_encoder)),
            decoder,
            reconstruction_weight=cfg.reconstruction_weight,
            classification_weight=cfg.classification_weight,
        )
        if encoder.stack.norm == "post":
            objective.unused = UnusedParameters(encoder.stack.embed_dim, encoder.num_mel_bins)
        return objective

    # -- checkpoints

    def published(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        return names.to_published({name.removeprefix(_OBJECTIVE): tensor for name, tensor in tensors.items()})

    def native(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        config = self.encoder.config
        native = names.from_published(tensors, config.patches, config.stack.norm_first)
        if not POSITIONS[config.positions].is_learned:
            own = {name: self.objective.get_buffer(name) for name in _TABLES}
            native |= {name: _of_length(native[name], own[name]) for name in _TABLES if name in native}
        return {_OBJECTIVE + name: tensor for name, tensor in native.items()}

    def published_name(self, name: str) -> str:
        return names.published_name(name.removeprefix(_OBJECTIVE))

    def published_place(self, module: str) -> tuple:
        return ()  # their order is that of the code

    def encoder_tensors(self, state_dict: dict) -> dict[str, Tensor]:
        config = self.architecture(self.cfg)
        native = names.from_published(state_dict, config.patches, config.stack.norm_first)
        own = {name: tensor for name, tensor in native.items() if name.startswith("encoder.")}
        return {name.removeprefix("encoder."): tensor for name, tensor in own.items()}

    # -- features

    def extract_features(self, source: Tensor, *args: Any, **kwargs: Any) -> dict[str, Tensor | None]:
        """As :func:`.objective_model.extract_features`; ``source`` is not normalised."""
        normalised = self.require_objective().normalise(source, counts=False).to(self.encoder.dtype)
        return super().extract_features(normalised, *args, **kwargs)


def _of_length(table: Tensor, own: Tensor) -> Tensor:
    """A fixed position table of a file with as many entries as the model's own, which says what the file lacks."""
    if table.ndim != 3 or table.shape[2] != own.shape[2]:
        return table  # of another width, which loading reports
    return torch.cat([table[:, : own.shape[1]], own[:, table.shape[1] :].to(table)], dim=1)
