"""Weights of image networks as the start of an audio encoder (AST, section 2.2), through timm.

The spectrogram is the image, its frequency the height. The filters of the three colours become one; positions are cut
or interpolated from the image's grid to the clip's; CLS and distillation token stay, the heads of image classes go.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..audio.front_end import FrontEnd
from ..core.config import EncoderConfig, PatchConfig
from ..core.encoder import SpectrogramEncoder
from ..core.patches import PatchGrid, patch_grid
from ..core.positions import fit_grid
from .checkpoint import Checkpoint
from .files import CheckpointError, first_line
from .layouts.vit_tensors import encoder_from_vit, swap_axes, time_major, vit_stack
from .validation import refuse

_MAX_REASON = 200  # letters of what timm says

AST_STRIDE = (10, 10)  # of patches that overlap
COLOURS = {"sum": Tensor.sum, "mean": Tensor.mean}
"""What becomes of the filters of the three colours: AST's program adds them, its paper averages them."""


def read_image_weights(
    name: str,
    front_end: FrontEnd,
    *,
    colours: str = "sum",
    stride: tuple[int, int] = AST_STRIDE,
    pretrained: bool = True,
) -> Checkpoint:
    """An encoder with the weights of a vision transformer (DeiT, ViT) of timm.

    Args:
        name: timm's name of the weights, such as `deit_base_distilled_patch16_384.fb_in1k`.
        front_end: what the encoder will hear; the positions are for clips of this length.
        colours: one of `COLOURS`.
        stride: frames and mel bins from patch to patch.
        pretrained: False: the architecture with random weights, and no download.

    Raises:
        CheckpointError: timm is not there, does not know the name, cannot get the weights; or the network is another
            kind than AST's.
    """
    source = f"timm:{name}"
    network = _create(source, name, pretrained)
    state = {key: tensor.detach() for key, tensor in network.state_dict().items()}
    tensors = encoder_from_vit(source, state)
    bins, frames = tensors["patch_embed.proj.weight"].shape[2:]
    block = network.blocks[0]  # type: ignore[index]
    width, hidden = tensors["prefix_tokens"].shape[2], block.mlp.fc1.weight.shape[0]
    stack = vit_stack(width, len(network.blocks), block.attn.num_heads, hidden / width, block.norm1.eps)  # type: ignore
    patches = PatchConfig((frames, bins), stride=stride)
    assert front_end.target_length_frames is not None  # of a task
    grid = patch_grid(front_end.target_length_frames, front_end.num_mel_bins, patches)
    config = EncoderConfig(
        stack,
        patches,
        num_mel_bins=front_end.num_mel_bins,
        positions="learned",
        max_rows=grid.rows,
        num_prefix_tokens=tensors["prefix_tokens"].shape[1],
    )
    tensors["positions"] = _positions(source, tensors["positions"], config, grid)
    kernel = COLOURS[colours](tensors["patch_embed.proj.weight"], dim=1, keepdim=True)
    tensors["patch_embed.proj.weight"] = swap_axes(kernel)
    _require_plain(source, network, config, tensors)
    return Checkpoint(Path(source), "timm", config, tensors, front_end)


def _create(source: str, name: str, pretrained: bool) -> Any:
    try:
        import timm
    except ModuleNotFoundError as error:
        raise CheckpointError(
            f"{source}: the package timm is not installed: pip install 'asda[timm]', or pip install timm"
        ) from error
    try:
        with torch.device("meta"):  # is there such a network at all? Nothing is downloaded to find out
            timm.create_model(name, pretrained=False)
    except Exception as error:
        raise CheckpointError(
            f"{source}: timm has no such network ({first_line(error)[:_MAX_REASON]}); names are like "
            "deit_base_distilled_patch16_384.fb_in1k, and timm.list_models('deit*', pretrained=True) lists them"
        ) from error
    try:
        return timm.create_model(name, pretrained=pretrained)
    except Exception as error:  # whatever the clients of its hub raise
        raise CheckpointError(f"{source}: the weights cannot be had ({first_line(error)[:_MAX_REASON]})") from error


def _positions(source: str, table: Tensor, config: EncoderConfig, wanted: PatchGrid) -> Tensor:
    """The table of a square image (1, X + n, D), perhaps without entries for the tokens -> (1, X + N, D)."""
    X = config.num_prefix_tokens
    side = math.isqrt(table.shape[1])
    if side * side == table.shape[1]:
        table = torch.cat([table.new_zeros(1, X, table.shape[2]), table], dim=1)
    elif (side := math.isqrt(table.shape[1] - X)) ** 2 + X != table.shape[1]:
        refuse(source, "pos_embed", f"{X} entries for tokens and those of a square image", table.shape[1])
    image = PatchGrid(side, side)
    table = time_major(table, X, image)
    return torch.cat([table[:, :X], fit_grid(table[:, X:], image, wanted)], dim=1)


def _require_plain(source: str, network: nn.Module, config: EncoderConfig, tensors: dict[str, Tensor]) -> None:
    """Refuses a network that computes something else than AST's, though it has tensors of the same names."""
    with torch.device("meta"):
        expected = SpectrogramEncoder(config).state_dict()
    other = sorted(expected.keys() ^ tensors.keys())
    blocks = {type(block).__name__ for block in network.blocks}  # type: ignore[union-attr]
    activations = {str(module) for module in network.modules() if "GELU" in type(module).__name__}
    if other or blocks != {"Block"} or activations != {str(nn.GELU())}:
        found = f"the tensors {', '.join(other[:4])} differ" if other else f"{', '.join(blocks | activations)}"
        raise CheckpointError(
            f"{source}: not a plain vision transformer, as AST starts from (DeiT, ViT; pre-norm blocks, GELU): {found}"
        )
