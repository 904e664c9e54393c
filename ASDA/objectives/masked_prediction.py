"""Masked prediction: the objective of SSAST (arXiv 2110.09784, section 2.2).

The encoder sees all patches of a clip, a learned token in the places of the hidden ones. What it makes of these has to
tell which hidden patch is which (discriminative) and what it sounds like (generative).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.encoder import SpectrogramEncoder
from ..core.patches import patchify
from ..core.places import Places, gather_patches
from .objective import Losses, Objective


class MaskedPrediction(Objective):
    """An encoder over all tokens with a mask token, and two heads on its output in hidden places.

    The masks of a clip are dealt to the two losses in turn, as SSAST makes a pass with a mask for each; a single mask
    serves both, in one pass.

    Args:
        encoder: the encoder that is trained.
        discriminative_weight: of the loss of telling the hidden patches apart; 0 leaves it out.
        generative_weight: of the squared error of their values; 0 leaves it out.

    Raises:
        ValueError: both weights are 0, or one is negative.
    """

    def __init__(
        self, encoder: SpectrogramEncoder, *, discriminative_weight: float = 1.0, generative_weight: float = 10.0
    ):
        super().__init__()
        self.weights = {"discriminative": discriminative_weight, "generative": generative_weight}
        if min(self.weights.values()) < 0 or not any(self.weights.values()):
            raise ValueError(f"the losses need weights of at least 0, one of them above it; got {self.weights}")
        D, V = encoder.embed_dim, math.prod(encoder.config.patches.size)
        self.encoder = encoder
        self.mask_token = nn.Parameter(torch.empty(1, 1, D).normal_(std=0.02))
        self.classify = nn.Sequential(nn.Linear(D, D), nn.ReLU(), nn.Linear(D, V))
        self.reconstruct = nn.Sequential(nn.Linear(D, D), nn.ReLU(), nn.Linear(D, V))

    def forward(self, spectrogram: Tensor, mask: Tensor | Places, counts: bool = True) -> Losses:
        """Losses of a batch.

        Args:
            spectrogram: (B, 1, T, F).
            mask: (B * M, N), True = hidden, the M masks of a clip side by side, or their places.
            counts: whether the batch enters statistics over all processes; there are none.

        Returns:
            ``discriminative`` and ``generative``, both times R, the number of hidden patches of all masks, so that
            dividing by it gives the mean over the hidden patches that the loss is taken of; ``nce_accuracy``: the share
            of these that are told from the others of their clip.
        """
        grid, places = self.encoder.grid(spectrogram), Places.of(mask, len(spectrogram))
        places.check(len(spectrogram), grid.num_patches)
        _, patches = self.encoder(spectrogram, replace=lambda x: self.hide(x, places))  # (B*M, N, D)
        encoded = patches.flatten(0, 1).index_select(0, places.hidden)  # (R, D)
        target = places.hide(patchify(spectrogram, self.encoder.config.patches))  # (R, V)
        encoded, target = (x.view(len(spectrogram), places.students, -1, x.shape[-1]) for x in (encoded, target))
        terms, statistics = {}, {}
        for name, masks in self.deal(places.students).items():
            predicted, wanted = encoded[:, masks], target[:, masks].float()  # (B, m, R / B M, .)
            if name == "discriminative":
                loss, statistics["nce_accuracy"] = told_apart(self.classify(predicted), wanted)
            else:
                loss = F.mse_loss(self.reconstruct(predicted).float(), wanted)
            terms[name] = self.weights[name] * loss * len(places.hidden)
        return Losses(terms, len(places.hidden), statistics)

    def hide(self, patches: Tensor, places: Places) -> Tensor:
        """Embedded patches (B, N, D) -> (B * M, N, D) with the mask token in hidden places."""
        rows, (_, N, D) = len(places.kept), patches.shape
        tokens = self.mask_token.to(patches.dtype).expand(rows, N, D).contiguous()
        return places.fill_grid(gather_patches(patches, places.kept), tokens)

    def deal(self, students: int) -> dict[str, slice]:
        """Which masks of a clip each loss is taken of."""
        names = [name for name, weight in self.weights.items() if weight > 0]
        apart = len(names) if students > 1 else 1
        return {name: slice(number % apart, None, apart) for number, name in enumerate(names)}


def told_apart(predicted: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy of finding a hidden patch's prediction among those of the same mask, and how often it is the best.

    The softmax is over predictions for a target (SSAST, equation 1); no temperature, no norm.

    Args:
        predicted: (..., n, V).
        target: (..., n, V).

    Returns:
        Mean over all targets, and the share of them whose own prediction has the largest product with them.
    """
    with torch.autocast(predicted.device.type, enabled=False):
        logits = target.float() @ predicted.float().mT  # (..., n targets, n predictions)
    own = torch.arange(logits.shape[-1], device=logits.device).expand(logits.shape[:-1])
    loss = F.cross_entropy(logits.flatten(0, -2), own.flatten())
    return loss, (logits.detach().argmax(dim=-1) == own).float().mean()
