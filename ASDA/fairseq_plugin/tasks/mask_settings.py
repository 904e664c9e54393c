"""task.precompute_mask_config -> the masks of a clip; what it does not say is taken from the model's config."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from ...core.config import ConfigError, PatchConfig
from ...core.patches import PatchGrid
from ...masks.kinds import MASKS, mask_kind
from ...masks.mask import Mask

_CONFIG = "task.precompute_mask_config"
_PATCH_SIZE = "patch_size"
_PATCH_SIZE_PLACE = "modalities.image.patch_size"


@dataclass(frozen=True)
class _Setting:
    """A setting of a kind of masks.

    Attributes:
        key: of precompute_mask_config.
        places: where a model's config may have the same.
    """

    key: str
    places: tuple[str, ...] = ()


# By the name of the argument.
_SETTINGS = {
    "num_masks": _Setting("clone_batch", ("clone_batch",)),
    "mask_ratio": _Setting("mask_prob", ("modalities.image.mask_prob", "random_mask_prob")),
    "block_size": _Setting("mask_length", ("modalities.image.mask_length",)),
    "adjust": _Setting("mask_prob_adjust", ("modalities.image.mask_prob_adjust",)),
    "inverse": _Setting("inverse_mask", ("modalities.image.inverse_mask",)),
    "span_length": _Setting("mask_length", ("mask_length",)),
    "chunk_sizes": _Setting("chunk_sizes"),
}
KEYS = (_PATCH_SIZE, *dict.fromkeys(setting.key for setting in _SETTINGS.values()))
# Keys of EAT's for variants of the masks that are not implemented -> their inert value.
_INERT_KEYS = {"mask_dropout": 0.0, "expand_adjacent": False, "non_overlapping": False}


def make_masks(given: Mapping[str, Any], kind: str, grid: PatchGrid, run: Any) -> Mask:
    """The masks of a clip.

    Args:
        given: task.precompute_mask_config.
        kind: task.mask_type.
        grid: of the clip's patches.
        run: the configuration of the whole run, which has the model's; None if the task stands alone.

    Raises:
        ValueError: a key is unknown, asks for a variant that is not implemented, does nothing for this kind of masks,
            or is missing; or the grid and the settings allow no masks.
    """
    mask = MASKS[mask_kind(kind)]
    own = {entry.name: _SETTINGS[entry.name] for entry in fields(mask) if entry.name in _SETTINGS}  # type: ignore[arg-type]
    _check_keys(given, kind, {setting.key for setting in own.values()}, run)
    values = {}
    for argument, setting in own.items():
        value = given[setting.key] if setting.key in given else None
        for place in setting.places:
            value = _value_at(run, f"model.{place}") if value is None else value
        if value is None and run is None and setting.places:
            raise ValueError(_missing(setting.key, setting.places[0]))
        if value is not None:  # else the kind's own
            values[argument] = tuple(value) if argument == "chunk_sizes" else value
    return mask(tuple(grid), **values)


def _check_keys(given: Mapping[str, Any], kind: str, own: set[str], run: Any) -> None:
    for key in given:
        name = f"{_CONFIG}.{key}"
        if key not in KEYS and key not in _INERT_KEYS:
            raise ValueError(f"there is no {name}; the keys are {', '.join(KEYS)}")
        if key in _INERT_KEYS and given[key] != _INERT_KEYS[key]:
            raise ValueError(f"{name}={given[key]} is not implemented; only {_INERT_KEYS[key]} is")
        if key in KEYS and key not in (_PATCH_SIZE, *own) and given[key] not in (None, *_of_model(key, run)):
            raise ValueError(
                f"{name}={given[key]} does nothing for masks of the kind {kind}, whose keys are "
                f"{', '.join(sorted(own))}; leave it out"
            )


def _of_model(key: str, run: Any) -> list[Any]:
    """What a model's config has for a key, as recipes refer to it whatever the kind of masks is."""
    places = [place for setting in _SETTINGS.values() if setting.key == key for place in setting.places]
    return [_value_at(run, f"model.{place}") for place in places]


def mask_patches(given: Mapping[str, Any], built: PatchConfig | None, run: Any) -> PatchConfig:
    """The patches that masks are drawn over: the model's, once there is one.

    Args:
        given: task.precompute_mask_config.
        built: the patches of the run's encoder; None before it is built.
        run: see :func:`make_masks`.

    Raises:
        ValueError: patch_size is missing, or other than the encoder's.
    """
    size = given[_PATCH_SIZE] if _PATCH_SIZE in given else None
    if size is None and built is None:
        size = _value_at(run, f"model.{_PATCH_SIZE_PLACE}")
        if size is None:
            raise ValueError(_missing(_PATCH_SIZE, _PATCH_SIZE_PLACE))
    if size is None:
        assert built is not None
        return built
    try:
        patches = PatchConfig((size, size) if isinstance(size, int) else tuple(size))
    except (ConfigError, TypeError) as error:
        raise ValueError(f"{_CONFIG}.{_PATCH_SIZE}={size}: expected a number, or frames and mel bins") from error
    if built is not None and patches.size != built.size:
        raise ValueError(
            f"{_CONFIG}.{_PATCH_SIZE}={size}, but the encoder's patches have {built.size[0]} frames x {built.size[1]} "
            f"mel bins; set it to [{built.size[0]},{built.size[1]}], or to null, which takes the encoder's"
        )
    return built or patches


def _missing(key: str, place: str) -> str:
    return f"{_CONFIG}.{key} is not set, and this run's configuration has no model.{place} to take it from"


def _value_at(cfg: Any, place: str) -> Any:
    """What a config has at ``place``; None if there is nothing."""
    for key in place.split("."):
        if cfg is None or key not in cfg:
            return None
        cfg = cfg[key]
    return cfg
