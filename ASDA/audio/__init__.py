"""What does it hear? Audio files, the log-mel front end, augmentation. Needs torch, torchaudio, soundfile and numpy."""

from .augment import add_noise_and_roll, draw_mixup_weight, mixup, roll_and_scale, spec_augment
from .errors import AmplitudeError, AudioError
from .fbank import log_mel, num_frames
from .finding import AUDIO_SUFFIXES, list_audio_files
from .front_end import FrontEnd, fit_length, normalise
from .io import AudioInfo, load_waveform, probe
from .resampling import resample
from .samples import mono_waveform

__all__ = [
    "AUDIO_SUFFIXES",
    "AmplitudeError",
    "AudioError",
    "AudioInfo",
    "FrontEnd",
    "add_noise_and_roll",
    "draw_mixup_weight",
    "fit_length",
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
