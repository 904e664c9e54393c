"""What of an encoder does a fine-tuning train? By the keys of its yaml, counted on the network itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .arguments import Arguments, split_override
from .memory import Trained
from .recipe import Recipe
from .settings import LaunchError

if TYPE_CHECKING:  # torch takes seconds to import
    from ..core.config import EncoderConfig
    from ..core.encoder import SpectrogramEncoder

_BLOCKS = "stack.blocks."


def trained_of(recipe: Recipe, config: EncoderConfig) -> Trained | None:
    """What is trained of an encoder; None: all of it, as ever.

    Raises:
        LaunchError: a method is not known, or does not fit the encoder.
    """
    import torch

    from ..adaptation.adapting import adapt
    from ..adaptation.keys import methods_of_keys
    from ..adaptation.method import AdaptationError
    from ..adaptation.prompts import DeepPrompts
    from ..core.encoder import SpectrogramEncoder

    try:
        methods = methods_of_keys(_keys(recipe))
        if methods is None:
            return None
        with torch.device("meta"):
            encoder = SpectrogramEncoder(config)
            adapt(encoder, methods)
    except AdaptationError as error:
        raise LaunchError(str(error)) from error
    gated = any(isinstance(method, DeepPrompts) and method.gated for method in methods)
    return _counted(encoder, attentions=2 if gated else 1)


def unused_settings(recipe: Recipe, arguments: Arguments) -> list[str]:
    """What to say of settings that were typed for methods which the run does not have.

    Raises:
        LaunchError: it has none at all, and would train everything; or one is not known.
    """
    typed = any(split_override(word)[1].startswith("model.") for word in arguments.overrides)
    if not (typed and recipe.has("model.adaptation")):  # which costs no import of torch
        return []
    from ..adaptation.keys import KEYS, unused_keys
    from ..adaptation.method import AdaptationError

    keys = _keys(recipe)
    try:
        unused = unused_keys(keys, [key for key in KEYS if arguments.names(f"model.{key}")])
    except AdaptationError as error:
        raise LaunchError(str(error)) from error
    if not unused:
        return []
    names, named = ", ".join(f"model.{key}" for key in unused), list(keys.get("adaptation", []))
    if not (named or keys.get("linear_classifier")):
        raise LaunchError(
            f"{names}: model.adaptation=[] trains everything; name the method there, as in [lora] or [aat]"
        )
    return [f"{names}: without effect, as nothing of model.adaptation=[{','.join(named)}] has such a setting"]


def _keys(recipe: Recipe) -> dict[str, Any]:
    """What the yaml says of methods and their settings, as plain values."""
    from ..adaptation.keys import KEYS

    stated = {key: recipe.get(f"model.{key}") for key in KEYS}
    return {
        key: value if isinstance(value, (str, bool, int, float)) else list(value)
        for key, value in stated.items()
        if value is not None
    }


def _counted(encoder: SpectrogramEncoder, attentions: int) -> Trained:
    """The numbers of an adapted encoder."""
    trained, frozen = 0, [0] * (encoder.depth + 1)  # of what stands before the blocks, and of each block
    first = encoder.depth
    for name, parameter in encoder.named_parameters():
        block = int(name.removeprefix(_BLOCKS).partition(".")[0]) if name.startswith(_BLOCKS) else -1
        if parameter.requires_grad:
            trained += parameter.numel()
            first = min(first, max(block, 0))
        else:
            frozen[block + 1] += parameter.numel()
    return Trained(trained, sum(frozen), sum(frozen[first + 1 :]), encoder.depth - first, attentions)
