"""What the registered models share: an encoder behind EAT's interface, with its tensors under the published names."""

from __future__ import annotations

import logging
from typing import Any

import torch
from fairseq.dataclass.utils import merge_with_parent
from fairseq.models import BaseFairseqModel
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from ..core.encoder import SpectrogramEncoder
from ._architecture import infer_architecture
from ._config import AttentionKind, LegacyPretrainingModelConfig, PretrainingModelConfig, encoder_arguments
from ._published_names import LEGACY_PRETRAINING_MODEL, published_place, split_published, to_native, to_published

logger = logging.getLogger(__name__)


class PublishedNames:
    """Mix-in for the registered models: checkpoints and parameter names carry the published names."""

    native_root = ""  # what precedes `student.` in this class's own names

    def __init__(self) -> None:
        super().__init__()
        self.register_state_dict_post_hook(self._publish)
        self.register_load_state_dict_pre_hook(self._nativise)

    @staticmethod
    def _publish(module, state_dict: dict, prefix: str, local_metadata: dict) -> None:
        for name in [n for n in state_dict if n.startswith(prefix)]:
            state_dict[prefix + to_published(name[len(prefix) :])] = state_dict.pop(name)

    @staticmethod
    def _nativise(module, state_dict: dict, prefix: str, *_) -> None:
        for name in [n for n in state_dict if n.startswith(prefix)]:
            native = to_native(name[len(prefix) :])
            if native != name[len(prefix) :]:
                state_dict[prefix + module.native_root + native] = state_dict.pop(name)

    def named_modules(self, memo: set | None = None, prefix: str = "", remove_duplicate: bool = True):
        """In the published order, and so are the parameters, of wrapped models too.

        fairseq hands them to the optimiser in this order, and an optimiser's state is a list: this is what lets the
        state of a published checkpoint be resumed from.
        """
        found = list(super().named_modules(memo, prefix, remove_duplicate))
        yield from sorted(found, key=lambda entry: published_place(entry[0].removeprefix(prefix).removeprefix(".")))

    def named_parameters(self, *args: Any, **kwargs: Any):
        for name, parameter in super().named_parameters(*args, **kwargs):
            yield to_published(name), parameter


def pretraining_config(cfg: Any) -> DictConfig:
    """A pre-training model config as recorded in a checkpoint, completed with the defaults of its name.

    Keys that this project does not know are dropped, as a published file may carry more than it needs.
    """
    cfg = cfg if isinstance(cfg, DictConfig) else OmegaConf.create(cfg)
    legacy = cfg.get("_name") == LEGACY_PRETRAINING_MODEL
    return merge_with_parent(LegacyPretrainingModelConfig() if legacy else PretrainingModelConfig(), cfg, True)


def arguments_for(cfg: Any, tensors: dict[str, Tensor]) -> dict:
    """Arguments of the encoder that ``cfg`` describes; with attention=auto, as the tensors of its checkpoint say.

    Args:
        cfg: a merged pre-training model config.
        tensors: the model's tensors under their published names; may be empty for a new model.
    """
    arguments = encoder_arguments(cfg)
    encoder = split_published(tensors)["student"]
    if cfg.attention is AttentionKind.auto and encoder:
        arguments.update(infer_architecture(encoder, arguments["num_mel_bins"]))
    return arguments


def exclude_from_decay(model: torch.nn.Module, group: str) -> None:
    """Puts biases and 1-D weights into the optimiser group ``group``, which the optimiser's config has to define."""
    for parameter in model.parameters():
        if group and parameter.ndim <= 1:
            parameter.param_group = group


class EncoderModel(PublishedNames, BaseFairseqModel):
    """An encoder with the calls that EAT's programs make on a model."""

    def __init__(self, encoder: SpectrogramEncoder):
        super().__init__()
        self.student = encoder

    def extract_features(
        self,
        source: Tensor,
        mode: str | None = None,
        padding_mask: Tensor | None = None,
        mask: bool = False,
        remove_extra_tokens: bool = True,
    ) -> dict[str, Tensor | None]:
        return extract_features(self.student, source, mode, padding_mask, mask, remove_extra_tokens)


def extract_features(
    encoder: SpectrogramEncoder,
    source: Tensor,
    mode: str | None,
    padding_mask: Tensor | None,
    mask: bool,
    remove_extra_tokens: bool,
) -> dict[str, Tensor | None]:
    """Features of the last layer, as EAT's programs ask for them.

    Args:
        encoder: the encoder.
        source: spectrograms (B, 1, T, F).
        mode: the modality in EAT; there is one, so None or "IMAGE".
        padding_mask: (B, N), True = padding.
        mask: hiding patches is a matter of training; must be False.
        remove_extra_tokens: drop CLS.

    Returns:
        ``x``: (B, N, D), or (B, 1 + N, D) with CLS first; ``padding_mask`` as given.
    """
    if mask:
        raise ValueError("extract_features(mask=True) is not supported: features are those of the whole clip")
    if mode not in (None, "IMAGE"):
        raise ValueError(f'extract_features(mode="{mode}") is not supported: the one modality is "IMAGE"')
    x = encoder(source, padding_mask)
    return {"x": x[:, 1:] if remove_extra_tokens else x, "padding_mask": padding_mask}
