"""The spectrogram encoder: patches -> positions -> drop the masked -> CLS -> transformer blocks."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .attention import Attention, DifferentialAttention, depth_lambda_init
from .block import TransformerBlock
from .patches import PatchEmbed, patch_grid
from .places import gather_patches
from .positions import POSITIONS

ATTENTIONS = ("differential", "plain")
CLS_POSITIONS = ("head", "middle")


def _choose(name: str, value: str, known) -> None:
    if value not in known:
        raise ValueError(f'{name} "{value}" is not one of {", ".join(known)}')


class SpectrogramEncoder(nn.Module):
    """Encodes a log-mel spectrogram (ASDA, section 2; EAT, section 3.1).

    Args:
        embed_dim: width ``D``.
        depth: layers ``L``.
        num_heads: heads ``H``; must divide ``embed_dim``.
        mlp_ratio: hidden width of the MLPs, as a multiple of ``embed_dim``.
        attention: ``differential`` (ASDA) or ``plain`` (EAT).
        diff_lambda: coefficient of the second attention map when ``lambda_mode`` is ``fixed``.
        out_scale: constant after the norm of differential attention; None takes 1 - lambda_init (the convention of
            arXiv 2410.05258, only with a learned lambda).
        lambda_mode: ``fixed`` or ``learned``.
        lambda_init: constant of a learned lambda; None lets it grow with the depth as in arXiv 2410.05258.
        num_mel_bins: mel bins ``F``, a multiple of ``patch_size``.
        patch_size: side of a patch, in frames and mel bins.
        max_patch_rows: patch rows that the position table has; the longest clip is patch_size times as many frames.
        positions: ``sincos_2d`` or ``sincos_1d``.
        cls_position: place of CLS in the sequence the blocks see, ``head`` or ``middle``. CLS carries no position
            and attention does not see order, so both are the same function; outputs always have CLS first.
        norm_eps: eps of the encoder's LayerNorms.
        attention_dropout, encoder_dropout, activation_dropout, post_mlp_drop: dropout on the attention maps, after the
            attention's projection, inside the MLP, after the MLP.
        drop_path: stochastic depth of the first and of the last layer, linear in between.
        checkpoint_activations: recompute the blocks in the backward pass instead of keeping their activations.

    Raises:
        ValueError: an argument is out of range or not one of the known words.
    """

    def __init__(
        self,
        *,
        embed_dim: int = 768,
        depth: int = 12,
        num_heads: int = 12,
        mlp_ratio: float = 3.5,
        attention: str = "differential",
        diff_lambda: float = 0.3,
        out_scale: float | None = 0.95,
        lambda_mode: str = "fixed",
        lambda_init: float | None = None,
        num_mel_bins: int = 128,
        patch_size: int = 16,
        max_patch_rows: int = 768,
        positions: str = "sincos_2d",
        cls_position: str = "head",
        norm_eps: float = 1e-6,
        attention_dropout: float = 0.0,
        encoder_dropout: float = 0.0,
        activation_dropout: float = 0.0,
        post_mlp_drop: float = 0.0,
        drop_path: tuple[float, float] = (0.0, 0.0),
        checkpoint_activations: bool = False,
    ):
        super().__init__()
        # What it takes to build the same function again; how it is trained (dropout, checkpointing) is no part of it.
        self.config = {
            "embed_dim": embed_dim,
            "depth": depth,
            "num_heads": num_heads,
            "mlp_ratio": mlp_ratio,
            "attention": attention,
            "diff_lambda": diff_lambda,
            "out_scale": out_scale,
            "lambda_mode": lambda_mode,
            "lambda_init": lambda_init,
            "num_mel_bins": num_mel_bins,
            "patch_size": patch_size,
            "max_patch_rows": max_patch_rows,
            "positions": positions,
            "cls_position": cls_position,
            "norm_eps": norm_eps,
        }
        _choose("attention", attention, ATTENTIONS)
        _choose("positions", positions, POSITIONS)
        _choose("cls_position", cls_position, CLS_POSITIONS)
        if num_mel_bins % patch_size:
            raise ValueError(f"patch_size ({patch_size}) must divide num_mel_bins ({num_mel_bins})")
        if out_scale is None and lambda_mode != "learned":
            raise ValueError("out_scale=None (1 - lambda_init) needs lambda_mode=learned")
        self.embed_dim = embed_dim
        self.patch_size = patch_size
        self.num_mel_bins = num_mel_bins
        self.max_patch_rows = max_patch_rows
        self.cls_position = cls_position
        self.checkpoint_activations = checkpoint_activations

        dropouts = {"attention_dropout": attention_dropout, "projection_dropout": encoder_dropout}

        def make_attention(layer: int) -> nn.Module:
            if attention == "plain":
                return Attention(embed_dim, num_heads, **dropouts)
            init = depth_lambda_init(layer) if lambda_init is None else lambda_init
            return DifferentialAttention(
                embed_dim,
                num_heads,
                diff_lambda=diff_lambda,
                out_scale=1.0 - init if out_scale is None else out_scale,
                lambda_mode=lambda_mode,
                lambda_init=init,
                **dropouts,
            )

        self.cls_token = nn.Parameter(torch.zeros(1, 1, embed_dim))
        self.patch_embed = PatchEmbed(embed_dim, patch_size)
        table = POSITIONS[positions](max_patch_rows, num_mel_bins // patch_size, embed_dim)
        self.positions = nn.Parameter(table[None], requires_grad=False)
        self.norm = nn.LayerNorm(embed_dim, eps=norm_eps)
        self.blocks = nn.ModuleList(
            TransformerBlock(
                make_attention(layer + 1),
                embed_dim,
                int(embed_dim * mlp_ratio + 1e-6),  # a ratio read off the tensors must give their size back
                norm_eps=norm_eps,
                drop_path=rate,
                activation_dropout=activation_dropout,
                mlp_dropout=post_mlp_drop,
            )
            for layer, rate in enumerate(torch.linspace(*drop_path, depth, device="cpu").tolist())
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Weights as in BERT (normal 0.02, zero bias); Xavier-uniform patch projection; CLS normal(0, 1)."""
        for module in self.blocks.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
        projection = self.patch_embed.proj
        nn.init.xavier_uniform_(projection.weight.view(projection.weight.shape[0], -1))
        nn.init.zeros_(projection.bias)
        nn.init.normal_(self.cls_token)

    def compile_blocks(self) -> None:
        """torch.compile for the blocks, in place: tensor names stay, clips of any length share the compiled code."""
        for block in self.blocks:
            block.compile(dynamic=True)

    def grid(self, spectrogram: Tensor) -> tuple[int, int]:
        """Patch rows and columns of a spectrogram (B, 1, T, F).

        Raises:
            ValueError: the shape is not (B, 1, T, F) with this encoder's mel bins, or the clip is too short or too
                long for the position table.
        """
        if spectrogram.ndim != 4 or spectrogram.shape[1] != 1 or spectrogram.shape[3] != self.num_mel_bins:
            raise ValueError(
                f"expected a spectrogram of shape (clips, 1, frames, {self.num_mel_bins}), "
                f"got {tuple(spectrogram.shape)}"
            )
        P, Q = patch_grid(spectrogram.shape[2], spectrogram.shape[3], self.patch_size)
        if P > self.max_patch_rows:
            raise ValueError(
                f"a clip of {spectrogram.shape[2]} frames has {P} patch rows, the position table {self.max_patch_rows} "
                f"({self.max_patch_rows * self.patch_size} frames); cut the clip or raise max_length"
            )
        return P, Q

    def embed(
        self, spectrogram: Tensor, padding_mask: Tensor | None = None, kept: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """The tokens that enter the first block.

        Args:
            spectrogram: (B, 1, T, F).
            padding_mask: (B, N), True = padding, or None.
            kept: (B * M, K) indices of the patches each student keeps, clip-major, or None for all.

        Returns:
            Tokens (B * M, S, D) and their padding mask (B * M, S) or None.
        """
        P, Q = self.grid(spectrogram)
        x = self.patch_embed(spectrogram)  # (B, N, D)
        if padding_mask is not None and padding_mask.shape != x.shape[:2]:
            raise ValueError(
                f"expected a padding mask of shape {tuple(x.shape[:2])} (clips, patches), "
                f"got {tuple(padding_mask.shape)}"
            )
        x = x + self.positions[:, : P * Q].to(x.dtype)
        if kept is not None:
            x = gather_patches(x, kept)  # (B * M, K, D)
            if padding_mask is not None:
                padding_mask = gather_patches(padding_mask[..., None], kept)[..., 0]
        place = self._cls_index(x.shape[1])
        cls_token = self.cls_token.to(x.dtype).expand(x.shape[0], -1, -1)
        x = torch.cat([x[:, :place], cls_token, x[:, place:]], dim=1)
        if padding_mask is not None:
            real = padding_mask.new_zeros(padding_mask.shape[0], 1)
            padding_mask = torch.cat([padding_mask[:, :place], real, padding_mask[:, place:]], dim=1)
        return self.norm(x), padding_mask

    def layers(self, tokens: Tensor, padding_mask: Tensor | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields, layer by layer, the block's output and its MLP output, both (B, S, D), in sequence order."""
        for block in self.blocks:
            if self.checkpoint_activations and torch.is_grad_enabled():
                tokens, m = checkpoint(block, tokens, padding_mask, use_reentrant=False)
            else:
                tokens, m = block(tokens, padding_mask)
            yield tokens, m

    def forward(self, spectrogram: Tensor, padding_mask: Tensor | None = None, kept: Tensor | None = None) -> Tensor:
        """Features of the last block, CLS first: (B, 1 + N, D), or (B * M, 1 + K, D) with ``kept``."""
        tokens, padding_mask = self.embed(spectrogram, padding_mask, kept)
        for output, _ in self.layers(tokens, padding_mask):
            features = output  # a list of them would keep every layer's tensors alive
        return self.cls_first(features)

    def split_cls(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens in sequence order (B, S, D) -> CLS (B, D) and patches (B, S - 1, D)."""
        place = self._cls_index(tokens.shape[1] - 1)
        if place == 0:
            return tokens[:, 0], tokens[:, 1:]
        return tokens[:, place], torch.cat([tokens[:, :place], tokens[:, place + 1 :]], dim=1)

    def cls_first(self, tokens: Tensor) -> Tensor:
        """Tokens in sequence order -> the same with CLS first."""
        if self.cls_position == "head":
            return tokens
        cls_token, patches = self.split_cls(tokens)
        return torch.cat([cls_token[:, None], patches], dim=1)

    def _cls_index(self, num_patches: int) -> int:
        return num_patches // 2 if self.cls_position == "middle" else 0
