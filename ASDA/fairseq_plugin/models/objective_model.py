"""What the registered models share: an encoder behind EAT's interface, with its tensors under the published names."""

from __future__ import annotations

import logging

from fairseq.models import BaseFairseqModel
from torch import Tensor

from ...core.encoder import SpectrogramEncoder
from .published_state import PublishedNames

logger = logging.getLogger(__name__)


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
