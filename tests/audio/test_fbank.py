"""The front end: published numbers, agreement of the fast path with torchaudio, and the edges of clip length."""

import math

import numpy as np
import pytest
import soundfile
import torch

from ASDA.audio import FrontEnd, fit_length, load_waveform, log_mel, normalise, num_frames, resample
from ASDA.audio.fbank import WINDOWS, mel_bin_frequencies_hz, reference_log_mel
from ASDA.data.corpora.corpus import get_corpus

RATE = 16_000
# target_length in the names of the golden tensors -> the data set whose statistics they were made with
CORPUS_OF_LENGTH = {1024: "audioset", 512: "esc50", 128: "spcv2"}


def noise(num_samples: int, seed: int = 0) -> torch.Tensor:
    return 0.1 * torch.randn(num_samples, generator=torch.Generator().manual_seed(seed))


NUMERICAL_FLOOR = 2.0**-32  # of the loudest bin of a frame


def energies_of(features, front_end):
    """Mel energies of normalised log-mel features."""
    return (features * 2 * front_end.norm_std + front_end.norm_mean).exp()


def test_front_end__golden_numbers(shared_dir):
    """Features of the published front end, for every recording there is."""
    golden = torch.load(shared_dir / "golden" / "fbank.expected.pt", weights_only=True)
    recordings = sorted((shared_dir / "golden" / "wav").glob("*.wav"))
    checked = set()
    for name, expected in golden.items():
        stem, length = name.rsplit("/", 1)
        front_end = get_corpus(CORPUS_OF_LENGTH[int(length)]).front_end()
        assert front_end.target_length_frames == int(length)
        features = front_end.from_file(shared_dir / "golden" / "wav" / f"{stem}.wav")
        # Stored in half precision: half a unit in the last place, at most 2^-10 for values of 1 to 2.
        tolerance = 1e-4 if expected.dtype == torch.float32 else 2.0**-11 * expected.abs().max().item() + 1e-4
        wrong = (features - expected[0].float()).abs() > tolerance
        # Where a bin holds nothing but the rounding error of the FFT, another processor's FFT (MKL has several) rounds
        # otherwise, and torchaudio's features differ as these do: there the energies are compared, 96 dB down.
        energies, wanted = (energies_of(x.double(), front_end) for x in (features, expected[0]))
        loudest = wanted.amax(dim=1, keepdim=True)
        wrong &= (energies - wanted).abs() > NUMERICAL_FLOOR * loudest
        assert not wrong.any(), f"{name}: {int(wrong.sum())} values, the first at {wrong.nonzero()[0].tolist()}"
        checked.add(stem)
    assert checked == {path.stem for path in recordings} and checked


SIGNALS = {
    "noise": noise(10 * RATE),
    "quiet noise": 1e-4 * noise(RATE),
    "tone": torch.sin(torch.arange(RATE) * 0.3),
    "constant": torch.full((RATE,), 0.7),
    "zeros": torch.zeros(RATE),
    "clicks": torch.zeros(RATE).index_fill_(0, torch.arange(0, RATE, 1000), 1.0),
    "band-limited": resample(noise(RATE // 2), 8_000, RATE),
    "one window": noise(400),
    "longer than a chunk": noise(5_000 * 160),
}


@pytest.mark.parametrize("signal", SIGNALS)
def test_log_mel__equals_torchaudio(signal):
    waveform = SIGNALS[signal]
    expected = reference_log_mel(waveform)
    assert expected.shape == (num_frames(len(waveform)), 128)
    torch.testing.assert_close(log_mel(waveform), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize(("rate_hz", "num_mel_bins"), [(8_000, 64), (22_050, 80), (32_000, 128), (48_000, 96)])
def test_log_mel__equals_torchaudio_at_other_settings(rate_hz, num_mel_bins):
    waveform = noise(rate_hz)
    expected = reference_log_mel(waveform, rate_hz, num_mel_bins)
    torch.testing.assert_close(log_mel(waveform, rate_hz, num_mel_bins), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("remove_mean", [True, False])
@pytest.mark.parametrize("window", WINDOWS)
def test_front_end__window_and_mean_are_torchaudios(window, remove_mean):
    how = {"window": window, "remove_mean": remove_mean}
    front_end = FrontEnd(None, norm_mean=0.0, norm_std=0.5, **how)  # the log-mel values themselves
    clips = [0.02 + noise(RATE), noise(3 * RATE, 1), noise(399)]
    expected = [reference_log_mel(clip, **how) for clip in clips]
    for clip, frames in zip(clips, expected, strict=True):
        torch.testing.assert_close(front_end(clip), frames, atol=1e-4, rtol=0)
    padded = torch.nn.utils.rnn.pad_sequence(clips, batch_first=True, padding_value=9.0)
    of_batch = front_end.of_batch(padded, torch.tensor([len(clip) for clip in clips]))
    for row, frames in zip(of_batch, expected, strict=True):
        torch.testing.assert_close(row[: len(frames)], frames, atol=5e-4, rtol=0)  # a mean of another rounding


def test_front_end__unknown_window_is_refused():
    with pytest.raises(ValueError, match='window: expected one of hanning, povey, found "hamming"'):
        FrontEnd(window="hamming")


def test_log_mel__batch_equals_single_clips():
    batch = torch.stack([noise(RATE, seed) + seed for seed in range(3)])
    expected = torch.stack([reference_log_mel(clip) for clip in batch])
    torch.testing.assert_close(log_mel(batch), expected, atol=1e-4, rtol=0)
    assert log_mel(batch[:, :100]).shape == (3, 0, 128)
    with pytest.raises(ValueError, match=r"\(1, 2, 800\)"):
        log_mel(torch.zeros(1, 2, 800))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("signal", ["noise", "quiet noise", "zeros", "longer than a chunk"])
def test_front_end__device_equals_cpu(signal):
    batch = torch.stack([SIGNALS[signal], SIGNALS[signal].flip(0)])
    front_end = FrontEnd()
    torch.testing.assert_close(front_end(batch.cuda()).cpu(), front_end(batch), atol=1e-4, rtol=0)


PADDED_LENGTHS = [RATE, 5, 3 * RATE, 400, 399, 17_777]


def padded_batch():
    clips = [noise(length, seed) + 0.3 * seed for seed, length in enumerate(PADDED_LENGTHS)]
    batch = torch.full((len(clips), max(PADDED_LENGTHS)), 9.0)  # what follows a clip must not matter
    for row, clip in zip(batch, clips, strict=True):
        row[: len(clip)] = clip
    return clips, batch, torch.tensor(PADDED_LENGTHS)


@pytest.mark.parametrize("frames", [50, 298, 1024])
def test_front_end__padded_batch_equals_single_clips(frames):
    clips, batch, lengths = padded_batch()
    front_end = FrontEnd(target_length_frames=frames)
    expected = torch.stack([front_end(clip) for clip in clips])
    # Some processors' FFT rounds otherwise in a batch: 1.1e-4 in one value of a million, where a bin is almost empty.
    torch.testing.assert_close(front_end.of_batch(batch, lengths), expected, atol=2e-4, rtol=0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_front_end__padded_batch_on_a_device_equals_single_clips():
    clips, batch, lengths = padded_batch()
    expected = torch.stack([FrontEnd()(clip) for clip in clips])
    torch.testing.assert_close(FrontEnd().of_batch(batch.cuda(), lengths.cuda()).cpu(), expected, atol=1e-4, rtol=0)


def test_log_mel__double_and_half_precision_input():
    waveform = noise(RATE)
    assert log_mel(waveform.double()).dtype == torch.float64
    torch.testing.assert_close(log_mel(waveform.double()).float(), log_mel(waveform), atol=1e-3, rtol=0)
    assert log_mel(waveform.half()).dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(log_mel(waveform), log_mel(waveform.clone())) and log_mel(waveform).dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        under_autocast = log_mel(waveform)
    assert torch.equal(under_autocast, log_mel(waveform))


def test_log_mel__naive_oracle():
    """Kaldi's filterbank with explicit loops in float64, from its definition."""
    waveform = noise(400 + 160, seed=3)
    samples = waveform.double().numpy() - waveform.double().numpy().mean()

    def mel(hz):
        return 1127.0 * math.log(1.0 + hz / 700.0)

    edges = np.linspace(mel(20.0), mel(8_000.0), 128 + 2)
    for frame_index in range(2):
        frame = samples[160 * frame_index : 160 * frame_index + 400]
        frame = frame - frame.mean()
        emphasised = [frame[i] - 0.97 * frame[max(i - 1, 0)] for i in range(400)]
        windowed = [emphasised[i] * (0.5 - 0.5 * math.cos(2 * math.pi * i / 399)) for i in range(400)]
        power = np.abs(np.fft.fft(windowed, 512)[:256]) ** 2
        for bin_index in range(0, 128, 9):
            low, centre, high = edges[bin_index : bin_index + 3]
            energy = 0.0
            for k in range(256):
                m = mel(k * 16_000 / 512)
                energy += max(0.0, min((m - low) / (centre - low), (high - m) / (high - centre))) * power[k]
            expected = math.log(max(energy, 2.0**-23))
            assert log_mel(waveform)[frame_index, bin_index].item() == pytest.approx(expected, abs=1e-3)


def test_log_mel__first_frames_are_those_of_the_whole_clip():
    waveform = noise(RATE) + torch.linspace(0, 1, RATE)  # the mean of the beginning is not that of the whole
    torch.testing.assert_close(log_mel(waveform, max_frames=7), log_mel(waveform)[:7], atol=1e-5, rtol=0)
    assert log_mel(waveform, max_frames=1024).shape == (98, 128)


def test_log_mel__leaves_its_input_alone():
    waveform = noise(RATE)
    before = waveform.clone()
    FrontEnd()(waveform)
    assert torch.equal(waveform, before)


@pytest.mark.parametrize(
    ("num_samples", "expected"),
    [(0, 0), (1, 0), (399, 0), (400, 1), (559, 1), (560, 2), (160_000, 998), (163_920, 1023)],
)
def test_num_frames__counts_windows_that_fit(num_samples, expected):
    assert num_frames(num_samples) == expected
    assert log_mel(noise(num_samples)).shape == (expected, 128)


def test_fit_length__crops_or_adds_zeros():
    frames = torch.arange(6.0).reshape(3, 2)
    assert torch.equal(fit_length(frames, 2), frames[:2])
    assert torch.equal(fit_length(frames, 3), frames)
    assert torch.equal(fit_length(frames, 5), torch.cat([frames, torch.zeros(2, 2)]))
    assert torch.equal(fit_length(frames[:0], 2), torch.zeros(2, 2))
    assert fit_length(frames.expand(4, 3, 2), 5).shape == (4, 5, 2)


@pytest.mark.parametrize("num_samples", [0, 1, 399])
def test_front_end__clip_shorter_than_a_window_is_all_padding(num_samples):
    features = FrontEnd()(noise(num_samples))
    torch.testing.assert_close(features, torch.full((1024, 128), 4.268 / (2 * 4.569)))
    assert FrontEnd(target_length_frames=None)(noise(num_samples)).shape == (0, 128)


def test_front_end__batch_of_no_clip():
    front_end = FrontEnd(target_length_frames=64)
    assert front_end(torch.zeros(0, RATE)).shape == (0, 64, 128)
    assert front_end.of_batch(torch.zeros(0, RATE), torch.zeros(0, dtype=torch.int64)).shape == (0, 64, 128)


def test_front_end__padding_happens_before_normalisation():
    front_end = FrontEnd(target_length_frames=120, norm_mean=-5.0, norm_std=2.0)
    features = front_end(noise(RATE))
    torch.testing.assert_close(features[98:], torch.full((22, 128), 1.25))
    torch.testing.assert_close(features[:98], normalise(log_mel(noise(RATE)), -5.0, 2.0))
    assert torch.equal(normalise(torch.tensor([3.0, -5.0]), -5.0, 2.0), torch.tensor([2.0, 0.0]))


def test_front_end__stereo_44100_agrees_with_mono_16000(tmp_path):
    """The same band-limited sound, once as 44.1 kHz stereo and once as 16 kHz mono, to 1e-3."""

    def sound(rate_hz):
        t = np.arange(2 * rate_hz) / rate_hz
        rng = np.random.default_rng(0)
        partials = [
            a * np.sin(2 * np.pi * (f * t + p)) for f, a, p in rng.uniform((150, 0.01, 0), (3500, 0.05, 1), (30, 3))
        ]
        return np.sum(partials, axis=0)

    rng = np.random.default_rng(1)
    floor = rng.normal(0, 0.01, 2 * RATE)  # so that no mel bin holds rounding errors only
    mono = torch.from_numpy(sound(RATE) + floor).float()
    wide = resample(mono.double(), RATE, 44_100).numpy()
    soundfile.write(
        tmp_path / "mono.wav", resample(torch.from_numpy(wide), 44_100, RATE).numpy(), RATE, subtype="FLOAT"
    )
    other = rng.normal(0, 0.1, len(wide))  # cancels in the mean of the channels
    soundfile.write(tmp_path / "stereo.wav", np.stack([wide + other, wide - other], 1), 44_100, subtype="FLOAT")
    front_end = FrontEnd(target_length_frames=198)
    difference = front_end.from_file(tmp_path / "mono.wav") - front_end.from_file(tmp_path / "stereo.wav")
    assert difference.abs().max() < 1e-3
    assert load_waveform(tmp_path / "stereo.wav").shape == mono.shape


def test_front_end__round_trip_and_validation():
    front_end = FrontEnd(target_length_frames=None, norm_mean=-1.0, norm_std=2.0, sample_rate_hz=8_000, num_mel_bins=64)
    assert FrontEnd.from_dict(front_end.to_dict()) == front_end
    assert front_end(noise(8_000)).shape == (98, 64)
    with pytest.raises(ValueError, match="norm_sdt"):
        FrontEnd.from_dict({"norm_sdt": 1.0})
    for bad in (
        {"target_length_frames": 0},
        {"norm_std": 0.0},
        {"norm_std": math.nan},
        {"sample_rate_hz": 50},
        {"padding": "own"},
    ):
        with pytest.raises(ValueError, match=next(iter(bad))):
            FrontEnd(**bad)


def test_front_end__padding_is_recorded_where_it_is_not_constant():
    masked = FrontEnd(padding="mask")
    assert masked.to_dict() == {**FrontEnd().to_dict(), "padding": "mask"}
    assert FrontEnd.from_dict(masked.to_dict()) == masked
    assert FrontEnd.from_dict(FrontEnd().to_dict()).padding == "constant"  # as in files from before there was a choice


@pytest.mark.parametrize(("rate_hz", "num_bins"), [(16_000, 128), (8_000, 64)])
def test_mel_bin_frequencies__are_where_a_tone_is_loudest(rate_hz, num_bins):
    frequencies_hz = mel_bin_frequencies_hz(num_bins, rate_hz)
    assert (frequencies_hz.diff() > 0).all() and 20 < frequencies_hz[0] and frequencies_hz[-1] < rate_hz / 2
    time = torch.arange(rate_hz) / rate_hz
    for place in (num_bins // 3, num_bins // 2, num_bins - 9):
        tone = torch.sin(2 * math.pi * float(frequencies_hz[place]) * time)
        loudest = reference_log_mel(tone, rate_hz, num_bins).mean(dim=0).argmax()
        assert abs(int(loudest) - place) <= 1
