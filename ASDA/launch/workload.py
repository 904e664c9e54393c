"""What does a run train, in the numbers that its memory depends on? From its yaml, or the checkpoint it starts from."""

from __future__ import annotations

from typing import Any

from .adapting import trained_of
from .memory import ConvolutionalDecoder, TransformerDecoder, Workload
from .recipe import Recipe
from .settings import LaunchError
from .starting_point import StartingPoint

_MEL_BINS = 128  # of MAE-AST's spectrograms, which no key of its says
_DEFAULT_FRAMES = 1024  # AudioSet's, which the tasks take where nothing says otherwise
_SHARED_KEYS = "differential_v2"  # the kind of attention whose two maps have the same keys


def workload_of(recipe: Recipe, start: StartingPoint | None) -> Workload | None:
    """The workload of a run; None for a model whose keys nothing here knows, or whose checkpoint is not there (yet).

    Args:
        recipe: what is trained.
        start: what fine-tuning starts from.

    Raises:
        LaunchError: a value is no number.
    """
    if recipe.has("model.modalities"):
        return _self_distillation(recipe)
    if recipe.has("model.random_mask_prob"):
        return _masked_autoencoding(recipe)
    if recipe.has("model.discriminative_weight"):
        return _masked_prediction(recipe)
    return None if start is None else _finetuning(recipe, start)


def _self_distillation(recipe: Recipe) -> Workload:
    image = "model.modalities.image"
    stack = "model.encoder.stack"  # of which the settings have the last word
    size = recipe.get("model.encoder.patches.size") or [_number(recipe, f"{image}.patch_size")] * 2
    step = recipe.get("model.encoder.patches.stride") or size
    bins = int(_number(recipe, "model.encoder.num_mel_bins", f"{image}.num_mel_bins"))
    columns = _steps(bins, size[1], step[1])
    patches = _steps(_frames(recipe, None), size[0], step[0]) * columns
    kind = str(recipe.get(f"{stack}.attention.kind", recipe.get("model.attention", "differential")))
    prefix = int(_number(recipe, "model.encoder.num_prefix_tokens", default=1))
    hidden = _number(recipe, f"{image}.mask_prob")
    kept = int(patches * (1 - hidden) + 1e-6) if recipe.get(f"{image}.inverse_mask", True) else patches
    if not recipe.get(f"{image}.inverse_mask", True):
        kept = patches - int(patches * hidden + 1e-6)
    width = int(_number(recipe, f"{stack}.embed_dim", "model.embed_dim"))
    return Workload(
        depth=int(_number(recipe, f"{stack}.depth", "model.depth")),
        width=width,
        num_heads=int(_number(recipe, f"{stack}.num_heads", "model.num_heads")),
        mlp_width=int(width * _number(recipe, f"{stack}.mlp_ratio", "model.mlp_ratio") + 1e-6),
        maps=1 if kind == "plain" else 2,
        patches=patches,
        patch_values=size[0] * size[1],
        position_rows=int(_number(recipe, "model.encoder.max_rows", f"{image}.max_length")) * columns,
        tokens=prefix + kept,
        sequences=int(_number(recipe, "model.clone_batch")),
        decoder=ConvolutionalDecoder(
            width=int(_number(recipe, f"{image}.decoder.decoder_dim")),
            layers=int(_number(recipe, f"{image}.decoder.decoder_layers")),
            groups=int(_number(recipe, f"{image}.decoder.decoder_groups")),
            kernel=int(_number(recipe, f"{image}.decoder.decoder_kernel")),
            products=recipe.get("model.decoder_backend", "conv") != "conv",
        ),
        teacher=True,
        recomputes=bool(recipe.get("model.checkpoint_activations", False)),
        shares_keys=kind == _SHARED_KEYS,
    )


def _masked_autoencoding(recipe: Recipe) -> Workload:
    """MAE-AST's keys: an encoder of the kept patches, a transformer that decodes all."""

    def number(name: str) -> int:
        return int(_number(recipe, f"model.{name}"))

    rows, bins = number("ast_kernel_size_time"), number("ast_kernel_size_chan")
    patches = _steps(_frames(recipe, None), rows, rows) * _steps(_MEL_BINS, bins, bins)
    kind = str(recipe.get("model.encoder.stack.attention.kind", "plain"))
    width, values, layers = number("decoder_embed_dim"), rows * bins, number("decoder_layers")
    return Workload(
        depth=number("encoder_layers"),
        width=number("encoder_embed_dim"),
        num_heads=number("encoder_attention_heads"),
        mlp_width=number("encoder_ffn_embed_dim"),
        maps=1 if kind == "plain" else 2,
        patches=patches,
        patch_values=values,
        position_rows=number("max_token_length"),
        tokens=max(1, int(patches * (1 - _number(recipe, "model.random_mask_prob")) + 1e-6)),
        sequences=number("clone_batch"),
        decoder=TransformerDecoder(width, layers, 4 * width, number("encoder_attention_heads"), values),
        recomputes=bool(recipe.get("model.checkpoint_activations", False)),
        shares_keys=kind == _SHARED_KEYS,
    )


def _masked_prediction(recipe: Recipe) -> Workload:
    """SSAST's keys: an encoder of all patches, and no decoder."""
    width = int(_number(recipe, "model.embed_dim"))
    size = recipe.get("model.patch_size")
    columns = _steps(int(_number(recipe, "model.num_mel_bins")), size[1], size[1])
    patches = _steps(_frames(recipe, None), size[0], size[0]) * columns
    return Workload(
        depth=int(_number(recipe, "model.depth")),
        width=width,
        num_heads=int(_number(recipe, "model.num_heads")),
        mlp_width=int(width * _number(recipe, "model.mlp_ratio") + 1e-6),
        maps=1,
        patches=patches,
        patch_values=size[0] * size[1],
        position_rows=int(_number(recipe, "model.max_length")) * columns,
        tokens=patches + 2,
        sequences=int(_number(recipe, "model.clone_batch")),
        recomputes=bool(recipe.get("model.checkpoint_activations", False)),
    )


def _finetuning(recipe: Recipe, start: StartingPoint) -> Workload:
    encoder, stack = start.encoder, start.encoder.stack
    (rows, bins), (row_step, _) = encoder.patches.size, encoder.patches.stride
    patches = _steps(_frames(recipe, start.front_end.target_length_frames), rows, row_step) * encoder.columns
    return Workload(
        depth=stack.depth,
        width=stack.embed_dim,
        num_heads=stack.num_heads,
        mlp_width=stack.mlp_dim,
        maps=1 if stack.attention.kind == "plain" else 2,
        patches=patches,
        patch_values=rows * bins,
        position_rows=encoder.max_rows * encoder.columns,
        tokens=encoder.num_prefix_tokens + patches,
        trained=trained_of(recipe, encoder),
        recomputes=bool(recipe.get("model.checkpoint_activations", False)),
        shares_keys=stack.attention.kind == _SHARED_KEYS,
    )


def _frames(recipe: Recipe, recorded: int | None) -> int:
    """Frames of a clip: as stated, else the data set's, else those that the checkpoint records."""
    if recipe.get("task.target_length") is not None:
        return int(_number(recipe, "task.target_length"))
    name = recipe.dataset
    if name:
        from ..data.corpora.corpus import CORPORA

        if name in CORPORA:
            return CORPORA[name].target_length_frames
    return recorded or _DEFAULT_FRAMES


def _steps(length: int, size: int, step: int) -> int:
    return max(1, 1 + (length - size) // step)


def _number(recipe: Recipe, *keys: str, default: Any = None) -> float:
    """The value of the first key that has one."""
    for key in keys:
        value = recipe.get(key)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise LaunchError(f"{key}={value}: it has to be a number")
        return value
    if default is None:
        raise LaunchError(f"{keys[-1]}=null: it has to be a number")
    return default
