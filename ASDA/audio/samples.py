"""Samples of any type, rate and number of channels -> a mono waveform, if they are on the scale of audio."""

import logging

import numpy as np
import torch
from torch import Tensor

from .errors import AmplitudeError, AudioError, PathLike
from .resampling import resample

logger = logging.getLogger(__name__)

# Beyond this a float sample is garbage rather than loud: its square would overflow in the power spectrum.
MAX_ABS_SAMPLE = 1e12
MAX_PLAUSIBLE_PEAK = 256.0  # 48 dB above full scale: integers that were made floats without being divided
MIN_PLAUSIBLE_PEAK = 2.0**-15  # one step of 16 bits: below it, 16-bit values stand in wider integers
PLAUSIBLE_RATES_HZ = (1_000, 1_000_000)  # others stand in damaged headers, and resampling from 1 Hz fills any memory
MAX_CHANNELS = 1024  # libsndfile's own limit
_MANY_CHANNELS = 8  # below, NumPy's mean over the channels takes seven times as long as adding them one by one

_MAX_QUIET_NAMED = 5  # clips that are near silence, in the log of a process
_quiet: set[str] = set()


def mono_waveform(
    samples: np.ndarray, from_rate_hz: int, to_rate_hz: int, name: PathLike, warn_always: bool = False
) -> Tensor:
    """Turn decoded samples of any source (file, h5 data set, tar member) into a mono waveform.

    Args:
        samples: (W,) or (W, channels); integers are scaled to [-1, 1], floats are taken as they are.
        from_rate_hz: rate of `samples`.
        to_rate_hz: rate of the result.
        name: what to call the source in an error.

    Returns:
        float32 samples (W',). Channels are averaged before resampling.

    Raises:
        AudioError: no samples, a shape, type or rate that is not audio, or values that are not finite.
    """
    samples = np.asarray(samples)
    if not PLAUSIBLE_RATES_HZ[0] <= from_rate_hz <= PLAUSIBLE_RATES_HZ[1]:
        raise AudioError(name, implausible_rate(from_rate_hz))
    if samples.ndim not in (1, 2) or (samples.ndim == 2 and not 1 <= samples.shape[1] <= MAX_CHANNELS):
        raise AudioError(name, f"expected samples of shape (W,) or (W, channels), got {samples.shape}")
    if len(samples) == 0:
        raise AudioError(name, "holds no samples")
    is_wide = samples.dtype.kind == "i" and samples.dtype.itemsize == 4
    waveform = average_channels(to_float32(samples, name))
    return resampled(waveform, from_rate_hz, to_rate_hz, name, is_wide, warn_always)


def resampled(
    waveform: np.ndarray,
    from_rate_hz: int,
    to_rate_hz: int,
    name: PathLike,
    is_wide: bool,
    warn_always: bool = False,
) -> Tensor:
    """Checks the amplitude of a mono waveform (W,), and resamples it.

    Args:
        is_wide: its samples were integers of 32 bits.

    Raises:
        AudioError: values that are not finite, or on another scale than [-1, 1].
    """
    peak = np.abs(waveform).max()
    if not peak <= MAX_ABS_SAMPLE:  # written so that NaN fails as well
        bad = int(np.argmax(~(np.abs(waveform) <= MAX_ABS_SAMPLE)))
        raise AudioError(name, f"sample {bad} is {waveform[bad]}, expected finite values (in [-1, 1])")
    if peak > MAX_PLAUSIBLE_PEAK:
        raise AmplitudeError(name, f"samples up to {peak:g}, expected [-1, 1]; divide 16-bit values by 32768")
    if is_wide and 0 < peak < MIN_PLAUSIBLE_PEAK:
        _warn_of_near_silence(name, warn_always)
    return resample(torch.from_numpy(np.ascontiguousarray(waveform)), from_rate_hz, to_rate_hz)


def _warn_of_near_silence(name: PathLike, always: bool) -> None:
    """By default once for each of the first clips of a process: a whole corpus may be like that."""
    if not always:
        if str(name) in _quiet or len(_quiet) > _MAX_QUIET_NAMED:
            return
        _quiet.add(str(name))
        if len(_quiet) > _MAX_QUIET_NAMED:
            logger.warning("more clips are near silence in the same way; `asda-manifest check` counts them")
            return
    logger.warning(
        "%s: no sample is above 1/32768 of full scale, as when 16-bit values are kept in 32-bit integers; it is "
        "heard as near silence",
        name,
    )


def to_float32(samples: np.ndarray, name: PathLike) -> np.ndarray:
    """Integers scaled to [-1, 1] by their type, floats as they are.

    Raises:
        AudioError: a type that is no audio's, or one that does not say how large full scale is.
    """
    if samples.dtype.kind == "f":
        with np.errstate(over="ignore"):  # too large for float32 becomes inf, which is refused
            return samples.astype(np.float32, copy=False)
    if samples.dtype.kind == "i" and samples.dtype.itemsize == 8:
        raise AmplitudeError(
            name,
            "integers of 64 bits do not say how large full scale is; convert them to the type that the samples had "
            "(int16, int32), or to floats in [-1, 1]",
        )
    if samples.dtype.kind == "i":
        return samples.astype(np.float32) / np.float32(2.0 ** (8 * samples.dtype.itemsize - 1))
    if samples.dtype == np.uint8:  # 8-bit PCM is stored with an offset
        return (samples.astype(np.float32) - 128.0) / 128.0
    raise AudioError(name, f"expected integer or float samples, got {samples.dtype}")


def average_channels(samples: np.ndarray) -> np.ndarray:
    """(W,) or (W, channels) -> (W,), the plain mean."""
    if samples.ndim == 1:
        return samples
    num_channels = samples.shape[1]
    with np.errstate(invalid="ignore", over="ignore"):  # inf - inf: the result is tested for finiteness anyway
        if num_channels >= _MANY_CHANNELS:
            return samples.mean(axis=1)
        total = samples[:, 0].copy()
        for channel in range(1, num_channels):
            total += samples[:, channel]
        total /= num_channels
        return total


def implausible_rate(rate_hz: float) -> str:
    """What to say about a rate that is none."""
    return "sample rate of {} Hz, expected {} to {} Hz".format(rate_hz, *PLAUSIBLE_RATES_HZ)
