"""Hosts that are not there, or cannot decode."""

from __future__ import annotations

import importlib
import io
import warnings
from types import ModuleType
from typing import Any

import numpy as np
import soundfile
import torch
import torchaudio
from torch import Tensor


def require(module: str, bridge: str, install: str) -> ModuleType:
    """A module of a host.

    Raises:
        ModuleNotFoundError: the host is not installed; in one line with what to do.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        host = module.partition(".")[0]
        if error.name is None or error.name.partition(".")[0] != host:
            raise  # the host is there, and something that it needs is not
        raise ModuleNotFoundError(f"{bridge} needs {host}: {install}", name=error.name) from None


def load_with_soundfile_if_needed() -> None:
    """Lets `torchaudio.load` decode with soundfile, and says so, where it cannot decode as it is.

    It needs torchcodec and FFmpeg's libraries. Where they are missing X-ARES leaves out every clip, and ends with
    "Empty dataloader".
    """
    wav = io.BytesIO()
    soundfile.write(wav, np.zeros((16, 1), np.float32), 16_000, format="WAV")
    wav.seek(0)
    try:
        torchaudio.load(wav)
    except (ImportError, OSError, RuntimeError):
        warnings.warn(
            "torchaudio.load cannot decode here, as torchcodec or FFmpeg's libraries are missing: soundfile does it in "
            "its place",
            stacklevel=3,
        )
        torchaudio.load = _load


def _load(
    uri: Any,
    frame_offset: int = 0,
    num_frames: int = -1,
    normalize: bool = True,
    channels_first: bool = True,
    *hints: Any,  # noqa: ARG001 (which format it is, and who decodes it)
    **named_hints: Any,  # noqa: ARG001
) -> tuple[Tensor, int]:
    """`torchaudio.load` for what libsndfile decodes."""
    if not normalize:
        raise ValueError("normalize=False: soundfile decodes to floats in [-1, 1] here")
    samples, rate_hz = soundfile.read(uri, num_frames, frame_offset, dtype="float32", always_2d=True)
    waveform = torch.from_numpy(samples)
    return (waveform.T.contiguous() if channels_first else waveform), rate_hz
