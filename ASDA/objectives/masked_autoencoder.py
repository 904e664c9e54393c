"""Masked autoencoding with a reconstruction and a contrastive loss: the objective of MAE-AST (arXiv 2203.16691).

The encoder sees the kept patches alone; a light decoder makes of its output, with a learned token in the hidden places,
what has been hidden, and tells it apart from whatever else has been hidden in the same clip.
"""

from __future__ import annotations

import math

from torch import Tensor, nn

from ..core.encoder import SpectrogramEncoder
from ..core.patches import patchify
from ..core.places import Places
from .input_norm import InputNorm
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

    def compile_layers(self) -> None:
        """torch.compile for the blocks of encoder and decoder, in place."""
        super().compile_layers()
        self.decoder.compile_layers()

    def normalise(self, spectrogram: Tensor, counts: bool = True) -> Tensor:
        """What the encoder sees of spectrograms (B, 1, T, F), float32: mean 0, standard deviation one half."""
        return 0.5 * self.input_norm(spectrogram, counts)

    def forward(self, spectrogram: Tensor, mask: Tensor | Places, counts: bool = True) -> Losses:
        """Losses of a batch.

        Args:
            spectrogram: (B, 1, T, F), not normalised: that is part of the model.
            mask: (B * M, N), True = hidden, the M students of a clip side by side, or their places.
            counts: whether the batch enters the running statistics of the input.

        Returns:
            ``generative`` (squared error, mean over the values of a patch) and ``discriminative`` (InfoNCE among the
            hidden patches of a student), each times its weight and summed over the R hidden patches; ``nce_accuracy``:
            how often a prediction is nearest to its own patch; ``bin_mean_loss``: the squared error of predicting each
            mel bin's mean, which the generative loss without its weight has to beat.
        """
        spectrogram = self.normalise(spectrogram, counts)
        grid, places = self.encoder.grid(spectrogram), Places.of(mask, len(spectrogram))
        places.check(len(spectrogram), grid.num_patches)
        _, patches = self.encoder(spectrogram.to(self.encoder.dtype), kept=places.kept)  # (B*M, K, D)
        decoded = self.decoder(patches, places, grid)  # (R, D')
        target = places.hide(patchify(spectrogram, self.encoder.config.patches))  # (R, V)
        (generative, discriminative), (reconstruct, classify) = self.weights, self.heads
        terms, statistics = {}, {"bin_mean_loss": bin_mean_loss(spectrogram, places, self.encoder.config.patches)}
        if generative:
            terms["generative"] = generative * summed_squares(reconstruct(decoded), target)
        if discriminative:
            rows = (len(places.kept), grid.num_patches - places.kept.shape[1])
            loss, statistics["nce_accuracy"] = info_nce(classify(decoded).unflatten(0, rows), target.unflatten(0, rows))
            terms["discriminative"] = discriminative * loss
        return Losses(terms, len(target), statistics)
