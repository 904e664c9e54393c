"""Decoding: every format, and every kind of broken file, gives the right waveform or an AudioError that says why."""

import io
import math
import pickle

import numpy as np
import pytest
import soundfile
import torch
import torchaudio

from ASDA.audio import AudioError, FrontEnd, list_audio_files, load_waveform, mono_waveform, probe, resample

RATE = 16_000


def tone(num_samples: int, rate_hz: int = RATE, seed: int = 0) -> np.ndarray:
    """A chord whose partials stay below 3 kHz, with a soft start and end, so that every rate can carry it."""
    rng = np.random.default_rng(seed)
    t = np.arange(num_samples) / rate_hz
    chord = sum(
        rng.uniform(0.02, 0.15) * np.sin(2 * np.pi * (f * t + rng.uniform())) for f in rng.uniform(100, 3000, 12)
    )
    edge = np.minimum(1.0, np.minimum(t, t[::-1]) / 0.05) if num_samples > 1 else 1.0
    return (chord * edge).astype(np.float32)


def write(path, samples, rate_hz=RATE, **options):
    soundfile.write(path, samples, rate_hz, **options)
    return path


FORMATS = {  # suffix: (how to write it, largest difference that its coding may cause; None = a lossy codec)
    "pcm16.wav": ({"subtype": "PCM_16"}, 1e-4),
    "pcm24.wav": ({"subtype": "PCM_24"}, 1e-6),
    "pcm32.wav": ({"subtype": "PCM_32"}, 1e-6),
    "u8.wav": ({"subtype": "PCM_U8"}, 1e-2),
    "float.wav": ({"subtype": "FLOAT"}, 0.0),
    "double.wav": ({"subtype": "DOUBLE"}, 0.0),
    "a.flac": ({}, 1e-4),
    "a.aiff": ({}, 1e-4),
    "a.ogg": ({"format": "OGG", "subtype": "VORBIS"}, None),
    "a.opus": ({"format": "OGG", "subtype": "OPUS"}, None),
    "a.mp3": ({"format": "MP3"}, None),
}


@pytest.mark.parametrize("name", FORMATS)
def test_load_waveform__reads_every_format(tmp_path, name):
    options, tolerance = FORMATS[name]
    samples = tone(RATE)
    path = write(tmp_path / name, samples, **options)
    assert probe(path).sample_rate_hz == RATE and probe(path).num_channels == 1
    waveform = load_waveform(path)
    assert waveform.dtype == torch.float32 and waveform.shape == (RATE,)
    error = (waveform - torch.from_numpy(samples)).abs()
    if tolerance is not None:
        assert error.max() <= tolerance
    else:
        assert error.square().mean() < 0.1 * np.square(samples).mean()  # a shift or a gain error would exceed it


@pytest.mark.parametrize(
    "name", ["pcm16.wav", "pcm24.wav", "float.wav", "a.flac", "a.aiff", "a.ogg", "a.opus", "a.mp3"]
)
@pytest.mark.parametrize("share", [0.99, 0.5, 0.01])
def test_load_waveform__notices_a_truncated_file(tmp_path, name, share):
    path = write(tmp_path / name, tone(5 * RATE), **FORMATS[name][0])
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(AudioError, match=r"truncated|not readable|damaged") as caught:
        load_waveform(path)
    assert str(path) in str(caught.value) and caught.value.path == str(path)


@pytest.mark.parametrize("suffix", ["au", "w64", "rf64", "caf"])
def test_load_waveform__notices_truncation_in_rarer_containers(tmp_path, suffix):
    path = write(tmp_path / f"a.{suffix}", tone(RATE), subtype="PCM_16")
    assert load_waveform(path).shape == (RATE,)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(AudioError):
        load_waveform(path)


@pytest.mark.parametrize("size_field", [0xFFFFFFFF, 0x7FFFF000])
def test_load_waveform__takes_wav_files_written_to_a_pipe(tmp_path, size_field):
    path = write(tmp_path / "a.wav", tone(RATE))
    data = bytearray(path.read_bytes())
    at = data.index(b"data") + 4
    data[at : at + 4] = size_field.to_bytes(4, "little")
    path.write_bytes(data)
    assert load_waveform(path).shape == (RATE,)


def test_load_waveform__takes_chunks_and_tags_behind_the_audio(tmp_path):
    path = write(tmp_path / "a.wav", tone(RATE))
    path.write_bytes(path.read_bytes() + b"LIST" + (26).to_bytes(4, "little") + b"INFOISFT" + bytes(18))
    assert load_waveform(path).shape == (RATE,)


def broken_files(folder):
    """(path, part of the reason) of files that are no usable audio."""
    (folder / "empty.wav").write_bytes(b"")
    yield folder / "empty.wav", "0 bytes"
    (folder / "text.wav").write_text("this is not audio\n" * 100)
    yield folder / "text.wav", "not readable as audio"
    (folder / "text.raw").write_text("nor is this\n" * 100)
    yield folder / "text.raw", "not readable as audio"
    (folder / "folder.wav").mkdir()
    yield folder / "folder.wav", "not a regular file"
    yield folder / "missing.wav", "no such file"
    yield write(folder / "no_samples.wav", np.zeros(0, np.float32)), "no samples"
    samples = tone(RATE)
    for name, value in (("nan", math.nan), ("inf", math.inf), ("garbage", 1e30)):
        samples[1234] = value
        yield write(folder / f"{name}.wav", samples, subtype="FLOAT"), "sample 1234 is"
    both = np.stack([np.full(9, math.inf), np.full(9, -math.inf)], axis=1)
    yield write(folder / "inf_minus_inf.wav", both, subtype="DOUBLE"), "sample 0 is nan"
    flac = bytearray(write(folder / "piped.flac", tone(RATE)).read_bytes())
    flac[21] &= 0xF0  # the 36 bits of STREAMINFO's total number of samples
    flac[22:26] = bytes(4)
    (folder / "piped.flac").write_bytes(flac)
    yield folder / "piped.flac", "states no length"


def test_load_waveform__refuses_an_implausible_rate(tmp_path):
    for rate_hz in (1, 999, 1_000_001):
        path = write(tmp_path / "a.wav", tone(100), rate_hz)
        with pytest.raises(AudioError, match=f"sample rate of {rate_hz} Hz, expected 1000 to 1000000 Hz"):
            load_waveform(path)


def test_load_waveform__names_file_and_reason(tmp_path):
    for path, reason in broken_files(tmp_path):
        with pytest.raises(AudioError) as caught:
            load_waveform(path)
        assert str(caught.value).startswith(f"{path}: "), path.name
        assert reason in caught.value.reason, path.name
        assert "\n" not in str(caught.value), path.name


def test_audio_error__survives_pickling_between_processes():
    error = pickle.loads(pickle.dumps(AudioError("a b.wav", "too short")))
    assert (error.path, error.reason, str(error)) == ("a b.wav", "too short", "a b.wav: too short")


@pytest.mark.parametrize("num_samples", [1, 2, 399])
@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 44_100, 192_000])
def test_load_waveform__very_short_clips_are_defined(tmp_path, num_samples, rate_hz):
    path = write(tmp_path / "short.wav", tone(num_samples, rate_hz), rate_hz)
    waveform = load_waveform(path)
    assert waveform.shape == (math.ceil(num_samples * RATE / rate_hz),)
    assert torch.isfinite(FrontEnd()(waveform)).all()


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 22_050, 32_000, 44_100, 48_000, 192_000])
def test_load_waveform__same_sound_at_any_rate(tmp_path, rate_hz):
    samples = tone(rate_hz, rate_hz)
    path = write(tmp_path / "a.wav", samples, rate_hz, subtype="FLOAT")
    waveform = load_waveform(path)
    assert waveform.shape == (RATE,)
    # The same chord, sampled at 16 kHz in the first place; the resampler's pass band is flat to about 1e-2.
    assert (waveform - torch.from_numpy(tone(RATE))).abs().max() < 1e-2


def test_load_waveform__averages_channels_before_resampling(tmp_path):
    samples = np.stack([tone(44_100, 44_100, seed) for seed in range(8)], axis=1)
    path = write(tmp_path / "eight.wav", samples, 44_100, subtype="FLOAT")
    assert probe(path).num_channels == 8
    expected = torchaudio.functional.resample(torch.from_numpy(samples.mean(axis=1)), 44_100, RATE)
    torch.testing.assert_close(load_waveform(path), expected, atol=1e-6, rtol=0)


def test_load_waveform__excerpt_is_a_part_of_the_whole(tmp_path):
    path = write(tmp_path / "a.flac", tone(3 * RATE))
    whole = load_waveform(path)
    assert torch.equal(load_waveform(path, start_s=1.0, duration_s=0.5), whole[RATE : RATE + RATE // 2])
    assert torch.equal(load_waveform(path, start_s=2.5, duration_s=9.0), whole[2 * RATE + RATE // 2 :])
    with pytest.raises(AudioError, match="starts at 3.0 s, the file ends at 3.000 s"):
        load_waveform(path, start_s=3.0)
    with pytest.raises(ValueError, match="start_s=-1"):
        load_waveform(path, start_s=-1)


def test_load_waveform__thirty_minutes_in_blocks(tmp_path):
    path = tmp_path / "long.wav"
    minute = np.zeros((60 * 8_000, 2), np.int16)
    minute[0] = (16_384, 0)
    with soundfile.SoundFile(path, "w", 8_000, 2, "PCM_16") as file:
        for _ in range(30):
            file.write(minute)
    waveform = load_waveform(path, sample_rate_hz=8_000)
    assert waveform.shape == (30 * 60 * 8_000,)
    assert waveform.nonzero().flatten().tolist() == [60 * 8_000 * i for i in range(30)]
    assert waveform.max() == 0.25
    assert load_waveform(path, 8_000, start_s=29 * 60, duration_s=1).shape == (8_000,)


@pytest.mark.parametrize("name", ["with space.wav", "ünïcødé 音声 🎵.wav", "semi;quote'\".wav", "UPPER.WAV"])
def test_load_waveform__any_file_name(tmp_path, name):
    path = write(tmp_path / name, tone(RATE), format="WAV")
    assert load_waveform(path).shape == load_waveform(str(path)).shape == (RATE,)
    assert list_audio_files(tmp_path) == [path]


def test_load_waveform__reads_files_inside_other_files(tmp_path):
    for name in ("pcm16.wav", "a.ogg", "a.mp3"):
        path = write(tmp_path / name, tone(RATE), **FORMATS[name][0])
        data = path.read_bytes()
        inside = load_waveform("shard.tar/a", encoded=io.BytesIO(data))
        assert torch.equal(inside, load_waveform(path))
        with pytest.raises(AudioError, match="^shard.tar/a: "):
            load_waveform("shard.tar/a", encoded=io.BytesIO(data[: len(data) // 2]))


def strip_length_header(data: bytes) -> bytes:
    """Drop an MP3's first frame, which holds only the Xing/Info header."""
    return data[data.index(b"\xff" + data[1:2], 4) :]


def test_load_waveform__mp3_without_length_header(tmp_path):
    """libsndfile guesses the length; with a varying bit rate that would lose sound without a word."""
    loud_then_silent = np.concatenate([np.random.default_rng(0).normal(0, 0.3, 3 * RATE), np.zeros(8 * RATE)])
    path = tmp_path / "a.mp3"
    write(path, loud_then_silent, format="MP3", bitrate_mode="CONSTANT", compression_level=0.5)
    path.write_bytes(strip_length_header(path.read_bytes()))
    assert load_waveform(path).shape[0] == pytest.approx(11 * RATE, abs=0.2 * RATE)
    path.write_bytes(path.read_bytes() + b"TAG" + bytes(125))
    assert load_waveform(path).shape[0] == pytest.approx(11 * RATE, abs=0.2 * RATE)
    write(path, loud_then_silent, format="MP3", bitrate_mode="VARIABLE", compression_level=0.5)
    assert load_waveform(path).shape == (11 * RATE,)
    path.write_bytes(strip_length_header(path.read_bytes()))
    with pytest.raises(AudioError, match="varying bit rate without a length header"):
        load_waveform(path)


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.uint8, np.float16, np.float32, np.float64])
def test_mono_waveform__scales_by_type(dtype):
    signal = np.array([-1.0, -0.5, 0.0, 0.5])
    if dtype == np.uint8:
        samples = (signal * 128 + 128).astype(dtype)
    elif np.issubdtype(dtype, np.integer):
        samples = (signal * 2.0 ** (8 * np.dtype(dtype).itemsize - 1)).astype(dtype)
    else:
        samples = signal.astype(dtype)
    for given in (samples, np.stack([samples, samples], axis=1)):
        waveform = mono_waveform(given, RATE, RATE, "name")
        assert waveform.dtype == torch.float32 and waveform.tolist() == signal.tolist()


@pytest.mark.parametrize(
    ("samples", "reason"),
    [
        (np.zeros((0,)), "no samples"),
        (np.zeros((2, 3, 4)), r"got \(2, 3, 4\)"),
        (np.zeros((2, 0)), r"got \(2, 0\)"),
        (np.zeros((2, 48_000)), r"got \(2, 48000\)"),
        (np.zeros(4, bool), "got bool"),
        (np.zeros(4, complex), "got complex128"),
        (np.array([0.0, math.nan]), "sample 1 is nan"),
    ],
)
def test_mono_waveform__refuses_what_is_not_audio(samples, reason):
    with pytest.raises(AudioError, match=rf"data\.h5/key: .*{reason}"):
        mono_waveform(samples, RATE, RATE, "data.h5/key")


@pytest.mark.parametrize("rate_hz", [8_000, 22_050, 32_000, 44_100, 48_000])
def test_resample__is_bit_equal_to_torchaudio(rate_hz):
    waveform = torch.from_numpy(tone(rate_hz, rate_hz))
    assert torch.equal(resample(waveform, rate_hz, RATE), torchaudio.functional.resample(waveform, rate_hz, RATE))


@pytest.mark.parametrize("rate_hz", [11_127, 44_056, 7_919])
def test_resample__rates_without_common_divisor(rate_hz):
    """Interpolated directly: torchaudio's kernel for these pairs would take up to gigabytes. Oracle: explicit sums."""
    waveform = torch.from_numpy(tone(rate_hz // 4, rate_hz)).double()
    result = resample(waveform.float(), rate_hz, RATE)
    assert result.shape == (math.ceil(len(waveform) * RATE / rate_hz),)
    cutoff_hz = 0.99 * min(rate_hz, RATE)
    for j in [0, 1, 777, len(result) - 1]:
        expected = 0.0
        for i in range(len(waveform)):
            t = (i / rate_hz - j / RATE) * cutoff_hz
            if abs(t) < 6:
                lowpass = math.sin(math.pi * t) / (math.pi * t) if t else 1.0
                expected += waveform[i].item() * lowpass * math.cos(math.pi * t / 12) ** 2 * cutoff_hz / rate_hz
        assert result[j].item() == pytest.approx(expected, abs=1e-6)


def test_resample__direct_interpolation_agrees_with_torchaudio():
    from ASDA.audio.resampling import _interpolate

    waveform = torch.from_numpy(tone(4_410, 44_100))
    expected = torchaudio.functional.resample(waveform.double(), 44_100, RATE).float()
    torch.testing.assert_close(_interpolate(waveform, 441, 160, chunk=100), expected, atol=1e-6, rtol=0)


def test_resample__refuses_impossible_rates():
    with pytest.raises(ValueError, match="0 Hz -> 16000 Hz"):
        resample(torch.zeros(4), 0, RATE)


def test_list_audio_files__sorted_by_suffix_and_pattern(tmp_path):
    for name in ("b/2.flac", "b/1.WAV", "a.mp3", "b/notes.txt", "c.wav/inside.ogg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    found = [str(path.relative_to(tmp_path)) for path in list_audio_files(tmp_path)]
    assert found == ["a.mp3", "b/1.WAV", "b/2.flac", "c.wav/inside.ogg"]
    assert list_audio_files(tmp_path, "b/*.flac") == [tmp_path / "b/2.flac"]
    assert list_audio_files(tmp_path, "**/*.flac") == [tmp_path / "b/2.flac"]
    assert list_audio_files(tmp_path, "*/inside.*") == [tmp_path / "c.wav/inside.ogg"]
    assert list_audio_files(tmp_path, "*") == [tmp_path / "a.mp3"]
    with pytest.raises(NotADirectoryError, match="missing"):
        list_audio_files(tmp_path / "missing")


def test_list_audio_files__follows_links_and_skips_hidden_files(tmp_path):
    for name in ("elsewhere/deep/a.wav", "root/b.wav", "root/._b.wav", "root/.trash/c.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    root = tmp_path / "root"
    (root / "link").symlink_to(tmp_path / "elsewhere")
    (root / "gone.wav").symlink_to(tmp_path / "nowhere.wav")
    (tmp_path / "elsewhere" / "up").symlink_to(root)
    found = [str(path.relative_to(root)) for path in list_audio_files(root)]
    assert found == ["b.wav", "gone.wav", "link/deep/a.wav"]


@pytest.mark.parametrize("num_channels", range(1, 10))
def test_load_waveform__integers_and_channels_are_those_of_the_plain_mean(tmp_path, num_channels):
    """Bit for bit what libsndfile's float samples and NumPy's mean give, by whatever faster way it is reached."""
    samples = np.random.default_rng(0).integers(-32768, 32768, (500, num_channels)).astype(np.int16)
    soundfile.write(tmp_path / "a.wav", samples, 16_000)
    expected = soundfile.read(tmp_path / "a.wav", dtype="float32", always_2d=True)[0].mean(axis=1)
    assert np.array_equal(load_waveform(tmp_path / "a.wav").numpy(), expected)
