"""Masked prediction: the objective of SSAST (arXiv 2110.09784, section 2.2).

The encoder sees all patches of a clip, a learned token in the places of the hidden ones. What it makes of these has to
tell which hidden patch is which (discriminative) and what it sounds like (generative).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ..core.encoder import SpectrogramEncoder
from ..core.patches import patchify
from ..core.places import Places, gather_patches
from .losses import bin_mean_loss, info_nce, summed_squares
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
        for head, weight in zip((self.classify, self.reconstruct), self.weights.values(), strict=True):
            head.requires_grad_(bool(weight))  # else weight decay alone would move it

    def forward(self, spectrogram: Tensor, mask: Tensor | Places, counts: bool = True) -> Losses:
        """Losses of a batch.

        Args:
            spectrogram: (B, 1, T, F).
            mask: (B * M, N), True = hidden, the M masks of a clip side by side, or their places.
            counts: whether the batch enters statistics over all processes; there are none.

        Returns:
            ``discriminative`` and ``generative``, each times its weight and summed so that dividing by R, the number of
            hidden patches of all masks, gives the mean over those that the loss is taken of; ``nce_accuracy``: how
            often a patch has the largest product with its own prediction; ``bin_mean_loss``: the squared error of
            predicting each mel bin's mean, which the generative loss without its weight has to beat.
        """
        grid, places = self.encoder.grid(spectrogram), Places.of(mask, len(spectrogram))
        places.check(len(spectrogram), grid.num_patches)
        _, patches = self.encoder(spectrogram, replace=lambda x: self.hide(x, places))  # (B*M, N, D)
        encoded = patches.flatten(0, 1).index_select(0, places.hidden)  # (R, D)
        target = places.hide(patchify(spectrogram, self.encoder.config.patches))  # (R, V)
        encoded, target = (x.view(len(spectrogram), places.students, -1, x.shape[-1]) for x in (encoded, target))
        mean = spectrogram.mean(dim=(0, 1, 2), keepdim=True)
        terms, statistics = {}, {"bin_mean_loss": bin_mean_loss(spectrogram, mean, places, self.encoder.config.patches)}
        for name, masks in self.deal(places.students).items():
            of_name, wanted = (x[:, masks].flatten(0, 1) for x in (encoded, target))  # (rows, hidden of a mask, .)
            if name == "discriminative":  # the softmax is over the predictions for a target
                loss, statistics["nce_accuracy"] = info_nce(wanted, self.classify(of_name))
            else:
                loss = summed_squares(self.reconstruct(of_name), wanted)
            terms[name] = self.weights[name] * loss * (len(encoded[0]) / len(encoded[0, masks]))
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
