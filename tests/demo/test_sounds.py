"""The sound events: each is what its name says, and no two of a class are equal."""

import numpy as np
import pytest

from ASDA.demo import sounds
from ASDA.demo.sounds import SOUND_EVENTS

RATES_HZ = (16_000, 44_100)
EVENTS = pytest.mark.parametrize("event", SOUND_EVENTS, ids=lambda event: event.mid)


def centroids(waveform, sample_rate_hz, num_parts):
    """Centre of gravity of the power spectrum, in Hz, of each of the equal parts of a waveform."""
    found = []
    for part in np.array_split(waveform, num_parts):
        power = np.abs(np.fft.rfft(part * np.hanning(len(part)))) ** 2
        found.append((power * np.fft.rfftfreq(len(part), 1 / sample_rate_hz)).sum() / power.sum())
    return found


@EVENTS
@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_sound_event__is_sound_of_a_plausible_length(event, rate_hz):
    for seed in range(3):
        waveform = event.synthesise(np.random.default_rng(seed), rate_hz)
        assert waveform.ndim == 1 and np.isfinite(waveform).all()
        assert np.abs(waveform).max() > 0.05
        assert 0.02 < len(waveform) / rate_hz < 4.0


@EVENTS
def test_sound_event__depends_on_its_generator_alone(event):
    first, again, other = (event.synthesise(np.random.default_rng(seed), 16_000) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert len(first) != len(other) or np.abs(first - other).max() > 0.05


@pytest.mark.parametrize(("chirp", "direction"), [(sounds.chirp_up, 1), (sounds.chirp_down, -1)])
def test_chirp__glides_one_way(chirp, direction):
    for seed in range(3):
        places = centroids(chirp(np.random.default_rng(seed), 16_000), 16_000, 4)
        assert (np.diff(places) * direction > 0).all()


@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0])
def test_coloured_noise__has_the_slope_asked_for(exponent):
    noise = sounds.coloured_noise(np.random.default_rng(0), 2**16, exponent)
    power = np.abs(np.fft.rfft(noise))[1:-1] ** 2
    octaves = [power[2**k : 2 ** (k + 1)].mean() for k in range(4, 15)]
    slope = np.polyfit(np.arange(len(octaves)), np.log2(octaves), 1)[0]
    assert slope == pytest.approx(-exponent, abs=0.15)
    assert noise.std() == pytest.approx(1.0)


def test_harmonics__leaves_out_what_would_alias():
    fundamental_hz = np.full(16_000, 1500.0)
    power = np.abs(np.fft.rfft(sounds.harmonics(fundamental_hz, np.ones(20), 16_000))) ** 2  # one bin is one Hz
    assert sorted(np.argsort(power)[-4:]) == [1500, 3000, 4500, 6000]
    assert power[6100:].max() < 1e-6 * power.max()


def test_band_pass__keeps_the_band_and_removes_the_rest():
    time = np.arange(16_000) / 16_000
    inside, outside = np.sin(2 * np.pi * 1000 * time), np.sin(2 * np.pi * 4000 * time)
    np.testing.assert_allclose(sounds.band_pass(inside + outside, 16_000, 500, 2000), inside, atol=1e-9)


def test_lay_out__adds_pieces_at_their_times():
    mixture = sounds.lay_out([(0.0, np.ones(3)), (0.002, np.full(2, 2.0))], 1000)
    assert mixture.tolist() == [1, 1, 3, 2]


def test_fade__starts_and_ends_in_silence():
    faded = sounds.fade(np.ones(100), 1000, 0.01)
    assert faded[0] == 0 and faded[-1] == 0 and (faded[10:90] == 1).all()
