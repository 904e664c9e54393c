"""The spectrogram encoder: patches -> positions -> drop the hidden -> prefix tokens -> transformer blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from .config import EncoderConfig, Regularisation, choose
from .patches import PatchEmbed, PatchGrid, patch_grid
from .places import gather_patches
from .positions import POSITIONS, position_table, positions_of
from .stack import TransformerStack


class SpectrogramEncoder(nn.Module):
    """Encodes a log-mel spectrogram (ASDA, section 2; EAT, section 3.1; MAE-AST, section 3; AST, section 2.1).

    Args:
        config: the architecture; `ASDA/core/zoo.py` has the known ones.
        regularisation: how it is trained.

    Raises:
        ConfigError: a word in the architecture is not known.
    """

    positions: Tensor

    def __init__(self, config: EncoderConfig, regularisation: Regularisation | None = None):
        super().__init__()
        choose("positions", config.positions, POSITIONS)
        D, X = config.stack.embed_dim, config.num_prefix_tokens
        self.config = config
        self.prefix_tokens = nn.Parameter(torch.zeros(1, X, D)) if X else None
        self.patch_embed = PatchEmbed(D, config.patches)
        self.patch_drop = nn.Dropout(regularisation.patch_dropout if regularisation else 0.0)
        table = position_table(config)
        if POSITIONS[config.positions].is_learned:
            self.positions = nn.Parameter(table)
        else:  # a buffer, so that training everything does not train it; files have it all the same
            self.register_buffer("positions", table)
        self.stack = TransformerStack(config.stack, regularisation)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Xavier-uniform patch projection, prefix tokens normal(0, 1); the stack has initialised itself."""
        projection = self.patch_embed.proj
        nn.init.xavier_uniform_(projection.weight.view(projection.weight.shape[0], -1))
        assert projection.bias is not None
        nn.init.zeros_(projection.bias)
        if self.prefix_tokens is not None:
            nn.init.normal_(self.prefix_tokens)

    @property
    def embed_dim(self) -> int:
        """Width ``D``."""
        return self.config.stack.embed_dim

    @property
    def depth(self) -> int:
        """Layers ``L``."""
        return self.config.stack.depth

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.patch_embed.proj.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """Type of the weights."""
        return self.patch_embed.proj.weight.dtype

    def grid(self, spectrogram: Tensor) -> PatchGrid:
        """Patch rows and columns of a spectrogram (B, 1, T, F).

        Raises:
            ValueError: the shape is not (B, 1, T, F) with this encoder's mel bins, or the clip is too short or too
                long for the position table.
        """
        config = self.config
        if spectrogram.ndim != 4 or spectrogram.shape[1] != 1 or spectrogram.shape[3] != config.num_mel_bins:
            raise ValueError(
                f"expected a spectrogram of shape (clips, 1, frames, {config.num_mel_bins}), "
                f"got {tuple(spectrogram.shape)}"
            )
        grid = patch_grid(spectrogram.shape[2], spectrogram.shape[3], config.patches)
        if grid.rows > config.max_rows and not POSITIONS[config.positions].is_learned:
            longest = config.patches.size[0] + (config.max_rows - 1) * config.patches.stride[0]
            raise ValueError(
                f"a clip of {spectrogram.shape[2]} frames has {grid.rows} patch rows, the position table "
                f"{config.max_rows} ({longest} frames); cut the clip or raise max_length"
            )
        return grid

    def embed(
        self,
        spectrogram: Tensor,
        padding_mask: Tensor | None = None,
        kept: Tensor | None = None,
        kept_padding: Tensor | None = None,
        replace: Callable[[Tensor], Tensor] | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """The tokens that enter the first block, prefix tokens first.

        Args:
            spectrogram: (B, 1, T, F).
            padding_mask: (B, N), True = padding, or None.
            kept: (B * M, K) indices of the patches each student keeps, clip-major, or None for all.
            kept_padding: (B * M, K), True where ``kept`` stands for no patch (:class:`Places`), or None; by default
                where it names padding.
            replace: what becomes of the embedded patches (B, N, D) before they get their positions: (B * M, N, D); with
                it, there are neither padding nor kept patches.

        Returns:
            Tokens (B * M, S, D) and their padding mask (B * M, S) or None.
        """
        grid = self.grid(spectrogram)
        x = self.patch_drop(self.patch_embed(spectrogram))  # (B, N, D)
        if padding_mask is not None and padding_mask.shape != x.shape[:2]:
            raise ValueError(
                f"expected a padding mask of shape {tuple(x.shape[:2])} (clips, patches), "
                f"got {tuple(padding_mask.shape)}"
            )
        if replace is not None:
            x = replace(x)  # (B * M, N, D)
        of_prefix, of_patches = positions_of(self.positions, grid, self.config, padding_mask)
        x = x + of_patches.to(x.dtype)
        if kept is not None:
            x = gather_patches(x, kept)  # (B * M, K, D)
            if kept_padding is not None:
                padding_mask = kept_padding
            elif padding_mask is not None:
                padding_mask = gather_patches(padding_mask[..., None], kept)[..., 0]
        if self.prefix_tokens is not None:
            prefix = self.prefix_tokens if of_prefix is None else self.prefix_tokens + of_prefix  # (1 or B, X, D)
            if kept is not None and prefix.shape[0] > 1:
                students = x.shape[0] // prefix.shape[0]
                prefix = prefix.repeat_interleave(students, dim=0, output_size=x.shape[0])
            x = torch.cat([prefix.to(x.dtype).expand(x.shape[0], -1, -1), x], dim=1)
            if padding_mask is not None:
                real = padding_mask.new_zeros(x.shape[0], self.config.num_prefix_tokens)
                padding_mask = torch.cat([real, padding_mask], dim=1)
        return self.stack.enter(x), padding_mask

    def layers(self, tokens: Tensor, padding_mask: Tensor | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields, layer by layer, the block's output and its MLP output, both (B, S, D).

        The features of an encoder with a LayerNorm after the last block are that norm's, not the last block's output.
        """
        return self.stack.layers(tokens, padding_mask)

    def forward(
        self,
        spectrogram: Tensor,
        padding_mask: Tensor | None = None,
        kept: Tensor | None = None,
        kept_padding: Tensor | None = None,
        replace: Callable[[Tensor], Tensor] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Features of the last layer; arguments as of :meth:`embed`.

        Returns:
            Those of the prefix tokens (B * M, X, D) and of the patches (B * M, K or N, D).
        """
        return self.split(self.features(spectrogram, padding_mask, kept, kept_padding, replace))

    def features(
        self,
        spectrogram: Tensor,
        padding_mask: Tensor | None = None,
        kept: Tensor | None = None,
        kept_padding: Tensor | None = None,
        replace: Callable[[Tensor], Tensor] | None = None,
    ) -> Tensor:
        """The same in one tensor (B * M, S, D), prefix tokens first."""
        tokens, padding_mask = self.embed(spectrogram, padding_mask, kept, kept_padding, replace)
        for output, _ in self.layers(tokens, padding_mask):
            tokens = output  # a list of them would keep every layer's tensors alive
        return self.stack.norm_last(tokens)

    def split(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (B, S, D) -> prefix tokens (B, X, D) and patches (B, S - X, D)."""
        X = self.config.num_prefix_tokens
        return tokens[:, :X], tokens[:, X:]
