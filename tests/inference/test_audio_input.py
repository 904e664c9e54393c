"""Every form in which one clip may be given gives the same waveform, or a clear error."""

import io
import tarfile

import numpy as np
import pytest
import soundfile
import torch

from ASDA.audio import AudioError
from ASDA.inference.audio_input import read_waveform

RATE_HZ = 16_000
PCM = np.round(8000 * np.sin(np.arange(4000) / 7)).astype(np.int16)
EXPECTED = torch.from_numpy(PCM / 32768).float()


@pytest.fixture
def wav(tmp_path):
    soundfile.write(tmp_path / "a.wav", PCM, RATE_HZ)
    return tmp_path / "a.wav"


def test_read_waveform__files(tmp_path, wav):
    with tarfile.open(tmp_path / "s.tar", "w") as archive:
        archive.add(wav, "a.wav")
    content = wav.read_bytes()
    for given in (wav, str(wav), f"{tmp_path}/s.tar/a.wav", content, bytearray(content), io.BytesIO(content)):
        assert torch.equal(read_waveform(given, RATE_HZ), EXPECTED)
    with open(wav, "rb") as file:
        assert torch.equal(read_waveform(file, RATE_HZ), EXPECTED)


def test_read_waveform__samples():
    floats = PCM / 32768
    for given in (PCM, floats, torch.from_numpy(floats), floats.tolist(), floats[:, None], np.stack([floats, floats])):
        assert torch.equal(read_waveform(given, RATE_HZ), EXPECTED)
        assert read_waveform(given, RATE_HZ, 8_000).shape == (8_000,)
        assert read_waveform((given, 8_000), RATE_HZ).shape == (8_000,)
        assert torch.equal(read_waveform((given, 16_000.0), RATE_HZ, 16_000), EXPECTED)
        assert read_waveform({"array": given, "sampling_rate": 8_000, "path": None}, RATE_HZ).shape == (8_000,)


def test_read_waveform__undecoded_rows_of_data_sets(wav):
    for given in ({"bytes": wav.read_bytes(), "path": "a.wav"}, {"bytes": None, "path": str(wav)}):
        assert torch.equal(read_waveform(given, RATE_HZ), EXPECTED)


def test_read_waveform__rate_that_contradicts_is_refused(wav):
    for given in (wav, wav.read_bytes(), io.BytesIO(wav.read_bytes()), {"bytes": wav.read_bytes()}):
        with pytest.raises(ValueError, match="sample_rate_hz=8000 goes with samples; a file states its own rate"):
            read_waveform(given, RATE_HZ, 8_000)
    for given in ((PCM, 44_100), {"array": PCM, "sampling_rate": 44_100}):
        with pytest.raises(ValueError, match="sample_rate_hz=8000, but the samples come with a rate of 44100 Hz"):
            read_waveform(given, RATE_HZ, 8_000)


LONG = PCM.astype(np.int64)


@pytest.mark.parametrize("given", [LONG, torch.from_numpy(LONG), LONG.tolist(), (LONG.tolist(), 16_000)])
def test_read_waveform__integers_without_a_scale_are_refused(given):
    with pytest.raises(AudioError, match="integers of 64 bits do not say how large full scale is"):
        read_waveform(given, RATE_HZ)


def test_read_waveform__scale_of_16_bits_in_other_types(caplog):
    with pytest.raises(AudioError, match="divide 16-bit values by 32768"):
        read_waveform(PCM.astype(np.float32), RATE_HZ)
    for _ in range(9):
        read_waveform(PCM.astype(np.int32), RATE_HZ)
    assert caplog.text.count("in 32-bit integers") == 9


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        (None, TypeError, "expected a path"),
        (object(), TypeError, "expected a path"),
        (["a.wav", "b.wav"], TypeError, "expected a path"),
        ([[0.0], [0.0, 1.0]], TypeError, "no array"),
        ({"audio": PCM}, TypeError, "got one with audio"),
        ((PCM, "fast"), TypeError, "expected a sample rate in Hz, got 'fast'"),
        ((PCM, 0), AudioError, "sample rate of 0 Hz"),
        ((PCM, 22_050.5), AudioError, "expected a whole number"),
        ((PCM, float("nan")), AudioError, "sample rate of nan"),
        (b"", AudioError, "0 bytes"),
        (b"no audio" * 99, AudioError, "the audio given: not readable as audio"),
        (io.StringIO("text"), TypeError, "mode 'rb'"),
        (np.zeros(0), AudioError, "no samples"),
        (np.zeros((20, 20, 20)), AudioError, r"got \(20, 20, 20\)"),
        ("absent.wav", AudioError, "absent.wav: no such file"),
    ],
)
def test_read_waveform__anything_else_is_a_clear_error(given, error, said):
    with pytest.raises(error, match=said):
        read_waveform(given, RATE_HZ)
