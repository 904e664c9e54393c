"""SSAST and AST as their own programs write them, and SSAST as this project's training does.

A `.pth` file holds nothing but tensors: `v.*`, a vision transformer's; before fine-tuning `mask_embed`, `cpredlayer.*`
and `gpredlayer.*`; after it `mlp_head.*`; all of them perhaps with `module.` in front. A `.pt` of this project has the
same tensors in fairseq's layout, and records what follows.

What a `.pth` does not say:

* Heads of attention are 64 wide, as in every published size; another width is refused. LayerNorms have timm's eps of
  1e-6, the head's torch's of 1e-5. There are 128 mel bins (or `p_input_fdim`).
* Patches overlap after fine-tuning alone (SSAST, section 2.3): a 16 x 16 patch then has a stride of 10 if the position
  table has whole columns of 12 patches, else of 16. Frames of 2 x 128 in a fine-tuned file are refused.
* The head pools both prefix tokens if the file holds trained heads of image classes, which DeiT's weights have (AST),
  else the mean of the patches (SSAST). asda-info shows which.
* The normalisation is AudioSet's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from ...audio.front_end import FrontEnd
from ...core.config import EncoderConfig, HeadConfig, PatchConfig
from ...core.patches import patch_grid
from ..checkpoint import Checkpoint
from ..consistency import front_end_of, num_blocks
from ..contents import Contents
from ..files import CheckpointError
from ..validation import expect_history, expect_key, expect_mapping, expect_number, expect_shape, expect_tensors, refuse
from .published_names import SSAST_MODEL
from .run_state import PRETRAINING_TASK, without_run
from .ssast_names import ENCODER, MEL_BINS, SIZES, from_ssast, patch_size, split_ssast, unwrapped
from .training_tensors import sizes_by_part
from .vit_tensors import IMAGE_HEADS, VIT_NORM_EPS, vit_stack

EXPECTED = f"a file with SSAST's or AST's tensors ({ENCODER}pos_embed, {ENCODER}blocks.N.*, ...)"

_HEAD_WIDTH = 64
_NUM_MEL_BINS = 128
_OVERLAPPING = PatchConfig((16, 16), stride=(10, 10))
_HEAD_NORM_EPS = 1e-5
_MEAN, _STD = -4.2677393, 4.5689974  # of AudioSet, in both published programs


def knows(contents: Contents) -> bool:
    """Whether the contents have this layout."""
    if contents.is_fairseq:
        return contents.model_name == SSAST_MODEL
    state = contents.state
    return isinstance(state, dict) and any(
        isinstance(name, str) and name.removeprefix("module.") == f"{ENCODER}pos_embed" for name in state
    )


def read(contents: Contents) -> Checkpoint:
    """What such a file holds.

    Raises:
        CheckpointError: its tensors are not those of an encoder that this project has, or it leaves open what it is.
    """
    path, state = contents.path, contents.state
    tensors = expect_tensors(path, "model", state["model"] if contents.is_fairseq else state)
    try:
        config = _recorded(path, state) if contents.is_fairseq else _inferred(path, tensors)
        parts = from_ssast(path, tensors, config)
        head = _head_config(path, tensors, parts["head"]) if parts["head"] else None
    except CheckpointError:
        raise
    except ValueError as error:  # a size that describes no encoder
        raise CheckpointError(f"{path}: {error}") from error
    sizes = {name: tensor.numel() for name, tensor in parts["training"].items()}
    checkpoint = Checkpoint(
        path=path,
        layout=SSAST_MODEL,
        encoder_config=config,
        encoder=parts["encoder"],
        front_end=_front_end(config),
        head_config=head,
        head=parts["head"],
        training_parts=sizes_by_part(sizes),
    )
    if contents.is_fairseq:
        task_state = expect_mapping(path, "task_state", state.get("task_state") or {})
        if task_state.get("front_end"):
            checkpoint.front_end = front_end_of(path, "task_state.front_end", task_state["front_end"])
        checkpoint.training_config = state["cfg"]
        checkpoint.num_updates = expect_history(path, state.get("optimizer_history"))[-1].get("num_updates")
    return checkpoint


def training_state(contents: Contents) -> dict[str, Any] | None:
    """The checkpoint of fairseq's trainer that a file of this project is; a `.pth` amounts to one before fine-tuning.

    Of the latter no update counts as made. None for a fine-tuned file.
    """
    checkpoint, state = read(contents), contents.state
    if contents.is_fairseq:
        return state
    if not checkpoint.training_parts:
        return None
    images = tuple(f"{ENCODER}{name}" for name in IMAGE_HEADS)
    model = {
        name: tensor for name, tensor in unwrapped(state).items() if name not in SIZES and not name.startswith(images)
    }
    cfg_model = {"_name": SSAST_MODEL, "encoder": checkpoint.encoder_config.to_dict()}
    return without_run(cfg_model, PRETRAINING_TASK, checkpoint.front_end) | {"model": model}


def _recorded(path: Path, state: dict[str, Any]) -> EncoderConfig:
    recorded = expect_key(path, "cfg.model", state["cfg"]["model"], "encoder")
    return EncoderConfig.from_dict(expect_mapping(path, "cfg.model.encoder", recorded))


def _inferred(path: Path, tensors: dict[str, Tensor]) -> EncoderConfig:
    parts = split_ssast(path, tensors)
    encoder = parts["encoder"]
    width = encoder["prefix_tokens"].shape[2]
    if width % _HEAD_WIDTH:
        refuse(path, f"{ENCODER}cls_token", f"a width that heads of {_HEAD_WIDTH} divide", width)
    hidden = expect_shape(
        path,
        f"{ENCODER}blocks.0.mlp.fc1.weight",
        expect_key(path, "", encoder, "stack.blocks.0.mlp.fc1.weight"),
        (None, width),
    ).shape[0]
    depth = num_blocks(path, encoder)
    bins = _num_mel_bins(path, parts["sizes"])
    num_patches = encoder["positions"].shape[1] - encoder["prefix_tokens"].shape[1]
    patches = _patches(path, patch_size(encoder), bool(parts["head"]), bins, num_patches)
    columns = patch_grid(patches.size[0], bins, patches).columns
    if num_patches < 1 or num_patches % columns:
        refuse(path, f"{ENCODER}pos_embed", f"whole columns of {columns} patches", num_patches)
    return EncoderConfig(
        vit_stack(width, depth, width // _HEAD_WIDTH, hidden / width, VIT_NORM_EPS),
        patches,
        num_mel_bins=bins,
        positions="learned",
        max_rows=num_patches // columns,
        num_prefix_tokens=encoder["prefix_tokens"].shape[1],
    )


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


def _head_config(path: Path, tensors: dict[str, Tensor], head: dict[str, Tensor]) -> HeadConfig:
    bias = expect_shape(path, "mlp_head.1.bias", head.get("linear.bias"), (None,))
    heads = tuple(f"{ENCODER}{name}" for name in IMAGE_HEADS)
    is_trained = any(
        bool(tensor.any())
        for name, tensor in unwrapped(tensors).items()
        if name.startswith(heads) and name.endswith("bias")
    )
    return HeadConfig(len(bias), "prefix_mean" if is_trained else "mean", norm_eps=_HEAD_NORM_EPS)


def _front_end(config: EncoderConfig) -> FrontEnd:
    """The input of a `.pth` file: as many frames as the position table covers."""
    frames = config.patches.size[0] + (config.max_rows - 1) * config.patches.stride[0]
    return FrontEnd(frames, _MEAN, _STD, num_mel_bins=config.num_mel_bins)
