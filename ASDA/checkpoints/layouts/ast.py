"""AST as a Hugging Face directory, `model_type: audio-spectrogram-transformer` (arXiv 2104.01778).

| file | what is taken from it |
|---|---|
| `config.json` | the architecture, `id2label`, `problem_type` |
| `preprocessor_config.json` | the front end |
| `model.safetensors`, `pytorch_model.bin` or their parts | the weights |

A missing key has the value that transformers gives it. Without `problem_type` the scores are one sigmoid per class, as
AST's published heads were trained; without `preprocessor_config.json` the statistics are AudioSet's, with a warning.
`LABEL_0`, `LABEL_1`, ... are no names. The class is pooled from the mean of both prefix tokens.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from torch import Tensor

from ...audio.front_end import LONGEST_WINDOW_FRAMES, FrontEnd
from ...core.config import ConfigError, EncoderConfig, HeadConfig, PatchConfig
from ...core.patches import patch_grid
from ..checkpoint import Checkpoint
from ..contents import CONFIG, Contents, read_json
from ..files import CheckpointError
from ..validation import (
    expect_equal,
    expect_flag,
    expect_mapping,
    expect_number,
    expect_shape,
    expect_word,
)
from ..weight_files import load_weights
from .ast_names import TENSOR_NAMES, split_tensors
from .transformers_config import is_model, is_multi_label, label_names, sizes
from .vit_tensors import vit_stack, with_our_axes

logger = logging.getLogger(__name__)

MODEL_TYPE = "audio-spectrogram-transformer"
EXPECTED = f"a directory whose {CONFIG} says model_type={MODEL_TYPE}"
PREPROCESSOR = "preprocessor_config.json"

_SIZES = {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "patch_size": 16,
    "frequency_stride": 10,
    "time_stride": 10,
    "max_length": 1024,
    "num_mel_bins": 128,
}
_NUM_PREFIX_TOKENS = 2
_EXTRACTOR = "ASTFeatureExtractor"
_MEAN, _STD = -4.2677393, 4.5689974  # its defaults: AudioSet's


def knows(contents: Contents) -> bool:
    """Whether the contents have this layout."""
    return is_model(contents, MODEL_TYPE)


def read(contents: Contents) -> Checkpoint:
    """What such a directory holds.

    Raises:
        CheckpointError: a file is missing, damaged or not of this layout.
    """
    folder, config = contents.path, contents.config
    file = folder / CONFIG
    expect_word(file, "hidden_act", config.get("hidden_act", "gelu"), ("gelu",))
    qkv_bias = bool(expect_flag(file, "qkv_bias", config.get("qkv_bias", True)))
    encoder_config = _architecture(file, config)
    encoder, head = split_tensors(folder, load_weights(folder, trust=contents.trust), qkv_bias)
    multi_label = is_multi_label(file, config)
    return Checkpoint(
        path=folder,
        layout="ast",
        encoder_config=encoder_config,
        encoder=with_our_axes(folder, encoder, encoder_config, TENSOR_NAMES),
        front_end=_front_end(folder, config),
        front_end_recorded=(folder / PREPROCESSOR).is_file(),
        head_config=_head_config(folder, head, encoder_config.stack.norm_eps) if head else None,
        head=head,
        label_names=label_names(file, config) if head else [],
        multi_label=multi_label,
        independent_scores=multi_label is not False,
    )


def training_state(contents: Contents) -> None:  # noqa: ARG001 - no run of this project's trainer
    """None: of a model that was not trained here."""
    return None


def _architecture(file: Path, config: dict[str, Any]) -> EncoderConfig:
    size = sizes(file, config, _SIZES)
    eps = expect_number(file, "layer_norm_eps", config.get("layer_norm_eps", 1e-12), above=0, high=1)
    try:
        patches = PatchConfig((size["patch_size"],) * 2, stride=(size["time_stride"], size["frequency_stride"]))
        ratio = size["intermediate_size"] / size["hidden_size"]
        stack = vit_stack(size["hidden_size"], size["num_hidden_layers"], size["num_attention_heads"], ratio, eps)
        return EncoderConfig(
            stack,
            patches,
            num_mel_bins=size["num_mel_bins"],
            positions="learned",
            max_rows=patch_grid(size["max_length"], size["num_mel_bins"], patches).rows,
            num_prefix_tokens=_NUM_PREFIX_TOKENS,
        )
    except (ConfigError, ValueError) as error:
        raise CheckpointError(f"{file}: {error}") from error


def _head_config(folder: Path, head: dict[str, Tensor], eps: float) -> HeadConfig:
    bias = expect_shape(folder, "classifier.dense.bias", head.get("linear.bias"), (None,))
    try:
        return HeadConfig(len(bias), "prefix_mean", norm_eps=eps)
    except ConfigError as error:
        raise CheckpointError(f"{folder}: {error}") from error


def _front_end(folder: Path, config: dict[str, Any]) -> FrontEnd:
    """As ASTFeatureExtractor computes it: Kaldi's filterbank, cut or filled up with zeros, (x - mean) / (2 std)."""
    file = folder / PREPROCESSOR
    if file.is_file():
        settings = expect_mapping(file, "the contents", read_json(file))
    else:
        settings = {name: config[name] for name in ("max_length", "num_mel_bins") if name in config}
        logger.warning(
            f"{folder} has no {PREPROCESSOR}: its input is taken to be normalised with AudioSet's statistics, "
            f"mean {_MEAN} and standard deviation {_STD}"
        )
    kind = settings.get("feature_extractor_type", _EXTRACTOR)
    expect_equal(file, "feature_extractor_type", kind, _EXTRACTOR, "the one that AST hears with")

    def number(name: str, default: float, high: float = 10**9, **bounds: Any) -> Any:
        return expect_number(file, name, settings.get(name, default), high=high, **bounds)

    normalised = expect_flag(file, "do_normalize", settings.get("do_normalize", True))
    mean, std = number("mean", _MEAN, low=-1e9), number("std", _STD, above=0)
    try:
        return FrontEnd(
            target_length_frames=number("max_length", _SIZES["max_length"], LONGEST_WINDOW_FRAMES, low=1, whole=True),
            norm_mean=mean if normalised else 0.0,
            norm_std=std if normalised else 0.5,  # which leaves x as it is
            sample_rate_hz=number("sampling_rate", 16_000, low=1, whole=True),
            num_mel_bins=number("num_mel_bins", _SIZES["num_mel_bins"], low=1, whole=True),
            remove_mean=False,
        )
    except ValueError as error:
        raise CheckpointError(f"{file}: {error}") from error
