"""Masked autoencoding with a reconstruction and a contrastive loss: the objective of MAE-AST (arXiv 2203.16691).

The encoder sees the kept patches alone; a light decoder makes of its output, with a learned token in the hidden places,
what has been hidden, and tells it apart from whatever else has been hidden in the same clip.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.encoder import SpectrogramEncoder
from ..core.patches import PatchGrid, patchify
from ..core.places import Places
from .input_norm import InputNorm, mean_over
from .losses import bin_mean_loss, info_nce, summed_squares
from .objective import Losses, Objective
from .transformer_decoder import TransformerDecoder


class MaskedAutoencoder(Objective):
    """Encoder, decoder, the normalisation of their input, and a head for each of the two losses (MAE-AST, section 3).

    Args:
        encoder: the encoder that is trained.
        decoder: what the hidden patches are read off.
        reconstruction_weight: of the generative loss; 0 turns it off.
        classification_weight: of the discriminative loss; 0 turns it off.

    Raises:
        ValueError: both losses are off.
    """

    def __init__(
        self,
        encoder: SpectrogramEncoder,
        decoder: TransformerDecoder,
        *,
        reconstruction_weight: float = 10.0,
        classification_weight: float = 1.0,
    ):
        super().__init__()
        self.weights = (reconstruction_weight, classification_weight)
        if not any(self.weights):
            raise ValueError("reconstruction_weight and classification_weight are both 0: there is nothing to learn")
        self.input_norm = InputNorm()
        self.encoder = encoder
        self.decoder = decoder
        width, values = decoder.stack.config.embed_dim, math.prod(encoder.config.patches.size)
        self.heads = nn.ModuleList(nn.Linear(width, values) for _ in self.weights)
        for head, weight in zip(self.heads, self.weights, strict=True):
            head.requires_grad_(bool(weight))  # else weight decay alone would move it

    def compile_layers(self, **options: Any) -> None:
        """torch.compile for the blocks of encoder and decoder, in place."""
        super().compile_layers(**options)
        self.decoder.compile_layers(**options)

    def normalise(self, spectrogram: Tensor, counts: bool = True, real: Tensor | None = None) -> Tensor:
        """What the encoder sees of spectrograms (B, 1, T, F), float32: mean 0, standard deviation one half."""
        return 0.5 * self.input_norm(spectrogram, counts, real)

    def forward(self, spectrogram: Tensor, mask: Tensor | Places, counts: bool = True) -> Losses:
        """Losses of a batch. Padding is nothing: neither kept, nor predicted, nor a negative, nor in the statistics.

        Args:
            spectrogram: (B, 1, T, F), not normalised: that is part of the model.
            mask: (B * M, N), True = hidden, the M students of a clip side by side, or their places, which may have
                padding.
            counts: whether the batch enters the running statistics of the input.

        Returns:
            ``generative`` (squared error, mean over the values of a patch) and ``discriminative`` (InfoNCE among the
            hidden patches of a student), each times its weight and summed over the R hidden patches; ``nce_accuracy``:
            how often a prediction is nearest to its own patch; ``bin_mean_loss``: the squared error of predicting each
            mel bin's mean, which the generative loss without its weight has to beat.
        """
        grid, places = self.encoder.grid(spectrogram), Places.of(mask, len(spectrogram))
        places.check(len(spectrogram), grid.num_patches, may_be_padded=True)
        real = self._real_frames(spectrogram, places, grid)
        spectrogram = self.normalise(spectrogram, counts, real)
        seen = spectrogram.to(self.encoder.dtype)
        _, patches = self.encoder(seen, places.padding, places.kept, places.kept_padding)  # (B*M, K, D)
        decoded = self.decoder(patches, places, grid)  # (R, D')
        target = places.hide(patchify(spectrogram, self.encoder.config.patches))  # (R, V)
        (generative, discriminative), (reconstruct, classify) = self.weights, self.heads
        terms, statistics = {}, {"bin_mean_loss": self._bin_mean_loss(spectrogram, places, real)}
        if generative:
            terms["generative"] = generative * summed_squares(reconstruct(decoded), target)
        if discriminative:
            loss, statistics["nce_accuracy"] = info_nce(*_by_student(classify(decoded), target, places, grid))
            terms["discriminative"] = discriminative * loss
        return Losses(terms, len(target), statistics)

    def _real_frames(self, spectrogram: Tensor, places: Places, grid: PatchGrid) -> Tensor | None:
        """(B, 1, T, 1), False at the frames of padding; None if there is none."""
        if places.padding is None:
            return None
        rows = ~places.padding.view(-1, *grid)[:, :, 0]  # (B, P)
        frames = rows.repeat_interleave(self.encoder.config.patches.size[0], dim=1)
        return F.pad(frames, (0, spectrogram.shape[2] - frames.shape[1]))[:, None, :, None]

    def _bin_mean_loss(self, spectrogram: Tensor, places: Places, real: Tensor | None) -> Tensor:
        """The squared error in the hidden places of predicting the batch's mean of each mel bin."""
        over = (0, 1, 2)
        mean = spectrogram.mean(over, keepdim=True) if real is None else mean_over(spectrogram, real, over)
        return bin_mean_loss(spectrogram, mean, places, self.encoder.config.patches)


def _by_student(
    predicted: Tensor, target: Tensor, places: Places, grid: PatchGrid
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Rows (R, V) of all students -> those of each (B * M, H, V), and where some have none, (B * M, H), or None."""
    rows, N = len(places.kept), grid.num_patches
    if places.padding is None:  # each hides as many
        shape = (rows, N - places.kept.shape[1])
        return predicted.unflatten(0, shape), target.unflatten(0, shape), None
    full = [
        x.new_zeros(rows * N, x.shape[1]).index_copy(0, places.hidden, x).view(rows, N, -1) for x in (predicted, target)
    ]
    absent = torch.ones(rows * N, dtype=torch.bool, device=target.device).index_fill_(0, places.hidden, False)
    return full[0], full[1], absent.view(rows, N)
