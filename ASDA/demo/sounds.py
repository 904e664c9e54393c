"""Synthetic sound events: one function per class, numpy only.

Each function takes ``(rng, sample_rate_hz)`` and returns one event: a mono float64 waveform of shape (W,) whose largest
absolute value is 1. Pitch, length, rhythm and timbre are drawn from ``rng``, so that no two events of a class are equal
and no single frequency or duration identifies a class.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

# Partials above this share of the sampling rate are left out, so that no event aliases.
HIGHEST_PARTIAL = 0.45


@dataclass(frozen=True)
class SoundEvent:
    """One class of sound: its identifier in the manifests, its name for people and how to make it."""

    mid: str
    name: str
    synthesise: Callable[[np.random.Generator, int], np.ndarray]


def decibels(level_db: float) -> float:
    """Returns the amplitude that belongs to a level."""
    return 10 ** (level_db / 20)


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """Draws evenly on a logarithmic scale, as pitch and duration are heard."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def seconds(rng: np.random.Generator, sample_rate_hz: int, low_s: float, high_s: float) -> np.ndarray:
    """Returns the time axis (W,) in seconds of an event of random length."""
    return np.arange(int(log_uniform(rng, low_s, high_s) * sample_rate_hz)) / sample_rate_hz


def oscillator(frequency_hz: np.ndarray, sample_rate_hz: int) -> np.ndarray:
    """Returns a sine whose instantaneous frequency is ``frequency_hz`` (W,)."""
    return np.sin(2 * np.pi * np.cumsum(frequency_hz) / sample_rate_hz)


def fade(waveform: np.ndarray, sample_rate_hz: int, duration_s: float = 0.005) -> np.ndarray:
    """Fades both ends linearly, so that an event's start and end make no click of their own."""
    length = min(int(duration_s * sample_rate_hz), len(waveform) // 2)
    ramp = np.ones(len(waveform))
    ramp[:length] = np.linspace(0, 1, length, endpoint=False)
    ramp[len(waveform) - length :] = np.linspace(1, 0, length)
    return waveform * ramp


def normalise_peak(waveform: np.ndarray) -> np.ndarray:
    """Scales to a largest absolute value of 1."""
    return waveform / np.abs(waveform).max()


def band_pass(waveform: np.ndarray, sample_rate_hz: int, low_hz: float, high_hz: float) -> np.ndarray:
    """Keeps the frequencies between the two limits, with edges a quarter of an octave wide."""
    frequency = np.fft.rfftfreq(len(waveform), 1 / sample_rate_hz)
    octaves = np.log2(np.maximum(frequency, 1e-3))
    rise = np.clip((octaves - np.log2(low_hz)) / 0.25 + 1, 0, 1)
    fall = np.clip((np.log2(high_hz) - octaves) / 0.25 + 1, 0, 1)
    return np.fft.irfft(np.fft.rfft(waveform) * rise * fall, len(waveform))


def coloured_noise(rng: np.random.Generator, num_samples: int, exponent: float) -> np.ndarray:
    """Returns noise whose power falls as 1 / frequency ** exponent (0 white, 1 pink, 2 brown), standard deviation 1."""
    spectrum = np.fft.rfft(rng.standard_normal(num_samples))
    spectrum *= np.maximum(np.arange(len(spectrum)), 1.0) ** (-exponent / 2)
    spectrum[0] = 0
    noise = np.fft.irfft(spectrum, num_samples)
    return noise / noise.std()


def lay_out(pieces: list[tuple[float, np.ndarray]], sample_rate_hz: int) -> np.ndarray:
    """Adds up waveforms, each starting at its time in seconds."""
    placed = [(int(start_s * sample_rate_hz), piece) for start_s, piece in pieces]
    mixture = np.zeros(max(start + len(piece) for start, piece in placed))
    for start, piece in placed:
        mixture[start : start + len(piece)] += piece
    return mixture


def random_onsets(rng: np.random.Generator, count: int, period_s: float, jitter: float) -> np.ndarray:
    """Returns ``count`` times in seconds around a steady rhythm; ``jitter`` is a share of the period."""
    return (np.arange(count) + jitter * rng.uniform(0, 1, count)) * period_s


def harmonics(fundamental_hz: np.ndarray, amplitudes: np.ndarray, sample_rate_hz: int) -> np.ndarray:
    """Adds up the multiples of a moving fundamental (W,), the first with ``amplitudes[0]``; none of them aliases."""
    phase = 2 * np.pi * np.cumsum(fundamental_hz) / sample_rate_hz
    highest = int(HIGHEST_PARTIAL * sample_rate_hz / fundamental_hz.max())
    mixture = np.zeros(len(phase))
    for number, amplitude in enumerate(amplitudes[:highest], start=1):
        mixture += amplitude * np.sin(number * phase)
    return mixture


def beep(rng: np.random.Generator, sample_rate_hz: int) -> np.ndarray:
    """Steady sine tones of one pitch, one to four of them."""
    pitch_hz = log_uniform(rng, 300, 4000)
    time = seconds(rng, sample_rate_hz, 0.08, 0.4)
    tone = fade(np.sin(2 * np.pi * pitch_hz * time), sample_rate_hz)
    period_s = len(tone) / sample_rate_hz * rng.uniform(1.3, 2.0)
    return lay_out([(start_s, tone) for start_s in random_onsets(rng, rng.integers(1, 5), period_s, 0)], sample_rate_hz)


def chirp(rng: np.random.Generator, sample_rate_hz: int, rising: bool) -> np.ndarray:
    """One tone that glides by 0.7 to 2.5 octaves."""
    low_hz = log_uniform(rng, 250, 1500)
    high_hz = min(low_hz * 2 ** rng.uniform(0.7, 2.5), 7000)
    time = seconds(rng, sample_rate_hz, 0.25, 1.0)
    position = time / time[-1] if rising else 1 - time / time[-1]
    return fade(oscillator(low_hz * (high_hz / low_hz) ** position, sample_rate_hz), sample_rate_hz, 0.02)


def chirp_up(rng: np.random.Generator, sample_rate_hz: int) -> np.ndarray:
    """A rising glide."""
    return chirp(rng, sample_rate_hz, rising=True)


def chirp_down(rng: np.random.Generator, sample_rate_hz: int) -> np.ndarray:
    """A falling glide."""
    return chirp(rng, sample_rate_hz, rising=False)


def noise_burst(rng: np.random.Generator, sample_rate_hz: int) -> np.ndarray:
    """Band-limited noise that starts and ends abruptly, one to three times."""
    low_hz = log_uniform(rng, 300, 2500)
    bursts = []
    for start_s in random_onsets(rng, rng.integers(1, 4), rng.uniform(0.35, 0.7), 0.3):
        time = seconds(rng, sample_rate_hz, 0.1, 0.3)
        noise = band_pass(rng.standard_normal(len(time)), sample_rate_hz, low_hz, low_hz * 2 ** rng.uniform(1, 2))
        bursts.append((start_s, fade(noise, sample_rate_hz)))
    return lay_out(bursts, sample_rate_hz)


def click_train(rng: np.random.Generator, sample_rate_hz: int) -> np.ndarray:
    """Short broad-band clicks in a steady rhythm."""
    click_time = np.arange(int(0.006 * sample_rate_hz)) / sample_rate_hz
    resonance_hz = log_uniform(rng, 1500, 6000)
    click = np.exp(-click_time * rng.uniform(600, 1500)) * np.sin(2 * np.pi * resonance_hz * click_time + 0.5)
    count = int(rng.integers(5, 20))
    period_s = rng.uniform(0.5, 1.5) / count
    return lay_out([(start_s, click) for start_s in random_onsets(rng, count, period_s, 0.05)], sample_rate_hz)


def siren(rng: np.random.Generator, sample_rate_hz: int) -> np.ndarray:
    """A tone with a few harmonics whose pitch wails up and down."""
    time = seconds(rng, sample_rate_hz, 0.9, 1.8)
    wail = np.sin(2 * np.pi * rng.uniform(1.2, 3.5) * time + rng.uniform(0, 2 * np.pi))
    fundamental_hz = log_uniform(rng, 450, 1100) * 2 ** (rng.uniform(0.25, 0.5) * wail)
    return fade(harmonics(fundamental_hz, np.array([1, 0.4, 0.3, 0.1]), sample_rate_hz), sample_rate_hz, 0.03)


def drum(rng: np.random.Generator, sample_rate_hz: int) -> np.ndarray:
    """Strokes whose pitch drops fast, each with a noisy attack."""
    pitch_hz, drop, decay_hz = log_uniform(rng, 60, 200), rng.uniform(1, 3), rng.uniform(8, 25)
    strokes = []
    for start_s in random_onsets(rng, rng.integers(1, 5), rng.uniform(0.2, 0.45), 0.15):
        time = np.arange(int(0.35 * sample_rate_hz)) / sample_rate_hz
        body = oscillator(pitch_hz * (1 + drop * np.exp(-40 * time)), sample_rate_hz) * np.exp(-decay_hz * time)
        attack = rng.standard_normal(len(time)) * np.exp(-rng.uniform(80, 200) * time)
        strokes.append((start_s, rng.uniform(0.6, 1) * fade(body + 0.4 * attack, sample_rate_hz, 0.001)))
    return lay_out(strokes, sample_rate_hz)


def bell(rng: np.random.Generator, sample_rate_hz: int) -> np.ndarray:
    """Inharmonic partials struck together; the high ones die away first."""
    time = seconds(rng, sample_rate_hz, 0.8, 1.6)
    ratios = np.array([0.5, 1.0, 1.19, 1.56, 2.0, 2.51, 2.66, 3.01, 4.1]) * rng.uniform(0.98, 1.02, 9)
    partials_hz = log_uniform(rng, 350, 1400) * ratios
    amplitudes, decays_hz = rng.uniform(0.3, 1, 9), rng.uniform(2, 4) * ratios**0.7
    mixture = np.zeros(len(time))
    for partial_hz, amplitude, decay_hz in zip(partials_hz, amplitudes, decays_hz, strict=True):
        if partial_hz < HIGHEST_PARTIAL * sample_rate_hz:
            mixture += amplitude * np.exp(-decay_hz * time) * np.sin(2 * np.pi * partial_hz * time)
    return fade(mixture, sample_rate_hz, 0.002)


def buzz(rng: np.random.Generator, sample_rate_hz: int) -> np.ndarray:
    """A steady sawtooth, all harmonics falling as 1 / number."""
    time = seconds(rng, sample_rate_hz, 0.4, 1.4)
    fundamental_hz = np.full(len(time), log_uniform(rng, 90, 350))
    return fade(harmonics(fundamental_hz, 1 / np.arange(1, 61), sample_rate_hz), sample_rate_hz, 0.02)


def bird_trill(rng: np.random.Generator, sample_rate_hz: int) -> np.ndarray:
    """A fast series of short high-pitched glides, all alike."""
    time = np.arange(int(rng.uniform(0.03, 0.07) * sample_rate_hz)) / sample_rate_hz
    position = time / time[-1]
    pitch_hz = log_uniform(rng, 2200, 4200) * 2 ** (rng.choice([-1, 1]) * rng.uniform(0.2, 0.7) * position)
    note = oscillator(pitch_hz, sample_rate_hz) * np.sin(np.pi * position)
    period_s = len(note) / sample_rate_hz * rng.uniform(1.1, 1.6)
    onsets_s = random_onsets(rng, rng.integers(6, 16), period_s, 0.05)
    return lay_out([(start_s, rng.uniform(0.6, 1) * note) for start_s in onsets_s], sample_rate_hz)


def engine(rng: np.random.Generator, sample_rate_hz: int) -> np.ndarray:
    """A low rumble: an unsteady fundamental with harmonics, and noise that pulses with it."""
    time = seconds(rng, sample_rate_hz, 0.9, 1.8)
    drift = np.interp(time, np.linspace(0, time[-1], 12), rng.uniform(0.9, 1.1, 12))
    fundamental_hz = log_uniform(rng, 28, 70) * drift
    amplitudes = rng.uniform(0.3, 1, 24) / np.sqrt(np.arange(1, 25))
    pulses = 0.5 + 0.5 * oscillator(fundamental_hz, sample_rate_hz)
    noise = band_pass(rng.standard_normal(len(time)), sample_rate_hz, 80, 1200) * pulses**3
    return fade(harmonics(fundamental_hz, amplitudes, sample_rate_hz) + 3 * noise, sample_rate_hz, 0.05)


def plucked_string(rng: np.random.Generator, sample_rate_hz: int) -> np.ndarray:
    """Karplus-Strong: noise in a delay line of one period, smoothed at every turn; one to three notes."""
    notes = []
    for start_s in random_onsets(rng, rng.integers(1, 4), rng.uniform(0.25, 0.5), 0.2):
        period = int(sample_rate_hz / log_uniform(rng, 110, 600))
        # The averaging filter damps less per second at a higher sampling rate: smoothing the excitation evens it out.
        turn = band_pass(rng.uniform(-1, 1, period), sample_rate_hz, 50, 7000)
        turns = []
        for _ in range(int(0.9 * sample_rate_hz / period)):
            turns.append(turn)
            turn = 0.996 * (0.5 * turn + 0.5 * np.roll(turn, 1))
        notes.append((start_s, fade(np.concatenate(turns), sample_rate_hz, 0.002)))
    return lay_out(notes, sample_rate_hz)


def water_drops(rng: np.random.Generator, sample_rate_hz: int) -> np.ndarray:
    """Bubbles: short decaying sines whose pitch rises as they close, at irregular times."""
    drops = []
    for start_s in np.sort(rng.uniform(0, 1.2, rng.integers(3, 9))):
        time = np.arange(int(0.12 * sample_rate_hz)) / sample_rate_hz
        pitch_hz = log_uniform(rng, 500, 2200) * (1 + rng.uniform(4, 10) * time)
        drop = oscillator(pitch_hz, sample_rate_hz) * np.exp(-rng.uniform(30, 60) * time)
        drops.append((start_s, rng.uniform(0.4, 1) * fade(drop, sample_rate_hz, 0.001)))
    return lay_out(drops, sample_rate_hz)


def alarm(rng: np.random.Generator, sample_rate_hz: int) -> np.ndarray:
    """Two pitches in turn, square-like, without a gap."""
    low_hz = log_uniform(rng, 500, 1400)
    time = seconds(rng, sample_rate_hz, 0.7, 1.6)
    second = (time * rng.uniform(2, 6)) % 1 < 0.5
    fundamental_hz = np.where(second, low_hz * 2 ** rng.uniform(0.25, 0.6), low_hz)
    return fade(harmonics(fundamental_hz, np.array([1, 0, 0.33, 0, 0.2]), sample_rate_hz), sample_rate_hz, 0.01)


def voice(rng: np.random.Generator, sample_rate_hz: int) -> np.ndarray:
    """A sung vowel: harmonics with vibrato, shaped by three formants."""
    time = seconds(rng, sample_rate_hz, 0.4, 1.2)
    pitch_hz = log_uniform(rng, 110, 380)
    vibrato = 1 + 0.02 * np.sin(2 * np.pi * rng.uniform(4.5, 6.5) * time + rng.uniform(0, 2 * np.pi))
    formants_hz = np.array([rng.uniform(300, 850), rng.uniform(900, 2200), rng.uniform(2400, 3200)])
    partials_hz = pitch_hz * np.arange(1, 41)
    distance = (partials_hz[:, None] - formants_hz) / np.array([90, 130, 200])
    amplitudes = (np.array([1, 0.6, 0.35]) / (1 + distance**2)).sum(axis=1)
    return fade(harmonics(pitch_hz * vibrato, amplitudes, sample_rate_hz), sample_rate_hz, 0.05)


SOUND_EVENTS: tuple[SoundEvent, ...] = (
    SoundEvent("/demo/beep", "Beep", beep),
    SoundEvent("/demo/chirp_up", "Rising chirp", chirp_up),
    SoundEvent("/demo/chirp_down", "Falling chirp", chirp_down),
    SoundEvent("/demo/noise_burst", "Noise burst", noise_burst),
    SoundEvent("/demo/click_train", "Click train", click_train),
    SoundEvent("/demo/siren", "Siren", siren),
    SoundEvent("/demo/drum", "Drum", drum),
    SoundEvent("/demo/bell", "Bell", bell),
    SoundEvent("/demo/buzz", "Buzz", buzz),
    SoundEvent("/demo/bird_trill", "Bird trill", bird_trill),
    SoundEvent("/demo/engine", "Engine", engine),
    SoundEvent("/demo/plucked_string", "Plucked string", plucked_string),
    SoundEvent("/demo/water_drops", "Water drops", water_drops),
    SoundEvent("/demo/alarm", "Two-tone alarm", alarm),
    SoundEvent("/demo/voice", "Sung vowel", voice),
)
