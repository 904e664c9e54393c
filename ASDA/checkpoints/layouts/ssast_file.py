"""A `.pth` file of SSAST's or AST's own programs: tensors alone.

`v.*` are a vision transformer's; before fine-tuning there are `mask_embed`, `cpredlayer.*` and `gpredlayer.*`, after it
`mlp_head.*`; all of them perhaps with `module.` in front. What such a file does not say:

* Heads of attention are 64 wide, as in every published size; another width is refused. LayerNorms have timm's eps of
  1e-6, the head's torch's of 1e-5. There are 128 mel bins (or `p_input_fdim`).
* Patches overlap after fine-tuning alone (SSAST, section 2.3): a 16 x 16 patch then has a stride of 10 if the position
  table has whole columns of 12 patches, else of 16. Frames of 2 x 128 in a fine-tuned file are refused.
* The head pools both prefix tokens if the file holds trained heads of image classes, which DeiT's weights have (AST),
  else the mean of the patches (SSAST). asda-info shows which.
* The normalisation is AudioSet's, and a clip as long as the position table.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ...audio.front_end import FrontEnd
from ...core.config import EncoderConfig, HeadConfig, PatchConfig
from ...core.patches import patch_grid
from ..checkpoint import Checkpoint
from ..consistency import num_blocks
from ..contents import Contents
from ..files import CheckpointError
from ..validation import expect_key, expect_number, expect_shape, expect_tensors, refuse
from .run_state import PRETRAINING_TASK, sizes_by_part, without_run
from .ssast_names import ENCODER, MEL_BINS, SIZES, SSAST_MODEL, from_ssast, patches_of, split_ssast, unwrapped
from .vit_tensors import IMAGE_HEADS, VIT_NORM_EPS, vit_stack

EXPECTED = f"a file with SSAST's or AST's tensors ({ENCODER}pos_embed, {ENCODER}blocks.N.*, ...)"

_HEAD_WIDTH = 64
_NUM_MEL_BINS = 128
_OVERLAPPING = PatchConfig((16, 16), stride=(10, 10))
_HEAD_NORM_EPS = 1e-5
_MEAN, _STD = -4.2677393, 4.5689974  # of AudioSet, in both programs


def knows(contents: Contents) -> bool:
    """Whether the contents have this layout."""
    state = contents.state
    return isinstance(state, dict) and f"{ENCODER}pos_embed" in unwrapped(state)


def read(contents: Contents) -> Checkpoint:
    """What such a file holds.

    Raises:
        CheckpointError: its tensors are not those of an encoder that this project has, or it leaves open what it is.
    """
    path, tensors = contents.path, expect_tensors(contents.path, "", contents.state)
    config = inferred_architecture(path, tensors)
    parts = from_ssast(path, tensors, config)
    frames = config.patches.size[0] + (config.max_rows - 1) * config.patches.stride[0]
    return Checkpoint(
        path=path,
        layout="ssast_file",
        encoder_config=config,
        encoder=parts["encoder"],
        front_end=FrontEnd(frames, _MEAN, _STD, num_mel_bins=config.num_mel_bins),
        front_end_recorded=False,
        head_config=_head_config(path, tensors, parts["head"]) if parts["head"] else None,
        head=parts["head"],
        training_parts=sizes_by_part(parts["training"]),
    )


def training_state(contents: Contents) -> dict[str, Any] | None:
    """What a file before fine-tuning amounts to: SSAST's model before the first update. None for a fine-tuned file."""
    checkpoint = read(contents)
    if not checkpoint.training_parts:
        return None
    left_out = (*SIZES, *(f"{ENCODER}{name}" for name in IMAGE_HEADS))
    model = {name: tensor for name, tensor in unwrapped(contents.state).items() if not name.startswith(left_out)}
    cfg_model = {"_name": SSAST_MODEL, "encoder": checkpoint.encoder_config.to_dict()}
    return without_run(cfg_model, PRETRAINING_TASK, checkpoint.front_end) | {"model": model}


def inferred_architecture(path: Path, tensors: Mapping[str, Tensor]) -> EncoderConfig:
    """The architecture that the tensors of such a file tell.

    Raises:
        CheckpointError: they tell none, or leave it open.
    """
    parts = split_ssast(path, tensors)
    encoder = parts["encoder"]
    _, num_prefix, width = encoder["prefix_tokens"].shape
    if width % _HEAD_WIDTH:
        refuse(path, f"{ENCODER}cls_token", f"a width that heads of {_HEAD_WIDTH} divide", width)
    mlp = expect_key(path, "", encoder, "stack.blocks.0.mlp.fc1.weight")
    hidden = expect_shape(path, f"{ENCODER}blocks.0.mlp.fc1.weight", mlp, (None, width)).shape[0]
    bins = _num_mel_bins(path, parts["sizes"])
    num_patches = encoder["positions"].shape[1] - num_prefix
    try:
        patches = _patches(path, patches_of(encoder), bool(parts["head"]), bins, num_patches)
        columns = patch_grid(patches.size[0], bins, patches).columns
        if num_patches < 1 or num_patches % columns:
            refuse(path, f"{ENCODER}pos_embed", f"whole columns of {columns} patches", num_patches)
        return EncoderConfig(
            vit_stack(width, num_blocks(path, encoder), width // _HEAD_WIDTH, hidden / width, VIT_NORM_EPS),
            patches,
            num_mel_bins=bins,
            positions="learned",
            max_rows=num_patches // columns,
            num_prefix_tokens=num_prefix,
        )
    except CheckpointError:
        raise
    except ValueError as error:  # a size that describes no encoder
        raise CheckpointError(f"{path}: {error}") from error


def _num_mel_bins(path: Path, sizes: dict[str, Tensor]) -> int:
    recorded = sizes.get(MEL_BINS)
    if recorded is None:
        return _NUM_MEL_BINS
    number = recorded.item() if recorded.numel() == 1 else recorded
    return int(expect_number(path, MEL_BINS, number, low=1, high=10_000))


def _patches(path: Path, apart: PatchConfig, is_finetuned: bool, bins: int, num_patches: int) -> PatchConfig:
    if not is_finetuned:
        return apart
    if apart.size != _OVERLAPPING.size:
        refuse(path, f"{ENCODER}patch_embed.proj.weight", "patches of 16 x 16 in a fine-tuned file", apart.size)
    columns = patch_grid(apart.size[0], bins, _OVERLAPPING).columns
    return _OVERLAPPING if num_patches % columns == 0 else apart


def _head_config(path: Path, tensors: Mapping[str, Tensor], head: dict[str, Tensor]) -> HeadConfig:
    bias = expect_shape(path, "mlp_head.1.bias", head.get("linear.bias"), (None,))
    if not len(bias):
        refuse(path, "mlp_head.1.bias", "at least one class", bias)
    heads = tuple(f"{ENCODER}{name}" for name in IMAGE_HEADS)
    biases = [t for name, t in unwrapped(tensors).items() if name.startswith(heads) and name.endswith(".bias")]
    is_trained = any(bool(bias.any()) for bias in biases)  # at the start they are zero
    return HeadConfig(len(bias), "prefix_mean" if is_trained else "mean", norm_eps=_HEAD_NORM_EPS)
