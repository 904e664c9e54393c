"""What does it hear? Audio files, the log-mel front end, augmentation. Needs torch, torchaudio, soundfile and numpy."""

from .augment import (
    add_noise_and_roll,
    clip_generator,
    draw_mixup_weight,
    mixup,
    roll_and_scale,
    spec_augment,
)
from .fbank import FrontEnd, fit_length, log_mel, normalise, num_frames
from .io import AUDIO_SUFFIXES, AudioError, AudioInfo, list_audio_files, load_waveform, mono_waveform, probe, resample
from .presets import PRESETS, DatasetPreset, get_preset

__all__ = [
    "AUDIO_SUFFIXES",
    "PRESETS",
    "AudioError",
    "AudioInfo",
    "DatasetPreset",
    "FrontEnd",
    "add_noise_and_roll",
    "clip_generator",
    "draw_mixup_weight",
    "fit_length",
    "get_preset",
    "list_audio_files",
    "load_waveform",
    "log_mel",
    "mixup",
    "mono_waveform",
    "normalise",
    "num_frames",
    "probe",
    "resample",
    "roll_and_scale",
    "spec_augment",
]
