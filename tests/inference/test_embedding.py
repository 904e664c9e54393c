"""Batches of waveforms: what asda-extract writes for the same clips, whatever they are batched with; gradients."""

import warnings

import numpy as np
import pytest
import soundfile
import torch

from ASDA.audio.errors import AudioError
from ASDA.audio.front_end import FrontEnd
from ASDA.audio.resampling import resample
from ASDA.cli.extract import main as extract
from ASDA.inference import embedding
from ASDA.inference.embedding import LONG
from ASDA.inference.model import TrainedEncoder, load_encoder
from ASDA.inference.windows import PADDINGS
from tests.architectures import make_encoder
from tests.mae_ast_files import released
from tests.published_files import published_pretraining
from tests.vit_files import write_ast

RATE = 16_000
LENGTHS = [9_600, 400, 16_000, 12_345, 2_960]
D = 32


def sounds(lengths, seed=0):
    """A batch of clips, each followed by what must not be heard."""
    batch = torch.full((len(lengths), max(lengths)), float("nan"))
    for clip, length in enumerate(lengths):
        batch[clip, :length] = 0.1 * torch.randn(length, generator=torch.Generator().manual_seed(seed + clip))
    return batch


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Checkpoints of encoders with one, two and no prefix tokens, of one or overlapping patches."""
    folder = tmp_path_factory.mktemp("encoders")
    torch.save(published_pretraining(), folder / "asda.pt")
    torch.save(released(), folder / "mae_ast.pt")
    return {"asda": folder / "asda.pt", "mae_ast": folder / "mae_ast.pt", "ast": write_ast(folder / "ast")}


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    network = make_encoder(embed_dim=D, depth=3, num_heads=4, max_rows=16)
    return TrainedEncoder(network, FrontEnd(64, -4.0, 4.5)).eval()


EXTRACTED = {"cls": "utterance", "patches": "patch-grid", "mean": "patch-grid --pool mean"}
CASES = [(name, padding, long) for name in ("asda", "mae_ast", "ast") for padding in PADDINGS for long in LONG]
CASES = [case for case in CASES if case[1] != "own" or case == ("asda", "own", "crop")]  # the same as mask


@pytest.mark.parametrize(("name", "padding", "long"), CASES)
def test_embed__is_what_asda_extract_writes(files, tmp_path, name, padding, long):
    lengths, target = [*LENGTHS, 25_000], 64
    batch = sounds(lengths)
    for clip, length in enumerate(lengths):
        soundfile.write(tmp_path / f"{clip}.wav", batch[clip, :length].numpy(), RATE, subtype="FLOAT")
    model = load_encoder(files[name], target_length_frames=target)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = model.embed(batch, lengths, padding=padding, long=long)
    for attribute, granularity in EXTRACTED.items():
        arguments = [
            "--checkpoint_dir",
            files[name],
            "--output",
            tmp_path / attribute,
            "--timestamps",
            "--device",
            "cpu",
        ]
        arguments += ["--padding", padding, "--long", long, "--target_length", target]
        arguments += ["--granularity", *granularity.split()]
        assert extract([str(argument) for argument in (tmp_path, *arguments)]) == 0
        for clip in range(len(lengths)):
            values = getattr(found, attribute)[clip]
            written = torch.from_numpy(np.load(tmp_path / attribute / f"{clip}.npy"))
            if attribute == "patches":
                values = values[: found.num_rows[clip]]
                times = np.load(tmp_path / attribute / f"{clip}.times.npy")
                np.testing.assert_allclose(found.times_s[: found.num_rows[clip]].numpy(), times, atol=1e-9)
            torch.testing.assert_close(values, written, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("long", LONG)
@pytest.mark.parametrize("padding", PADDINGS)
def test_embed__a_clip_is_the_same_in_any_batch(encoder, padding, long):
    lengths = [*LENGTHS, 25_000]
    batch = sounds(lengths)
    settings = {"padding": padding, "long": long, "layers": "all"}
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        together = encoder.embed(batch, torch.tensor(lengths), **settings)
        for clip, length in enumerate(lengths):
            alone, rows = encoder.embed(batch[clip : clip + 1, :length], **settings), together.num_rows[clip]
            assert alone.num_rows == (rows,)
            torch.testing.assert_close(together.cls[clip], alone.cls[0], atol=1e-5, rtol=0)
            torch.testing.assert_close(together.mean[clip], alone.mean[0], atol=1e-5, rtol=0)
            torch.testing.assert_close(together.patches[clip, :, :rows], alone.patches[0], atol=1e-5, rtol=0)
            assert torch.equal(together.padding_mask[clip, :rows], alone.padding_mask[0])
            assert together.padding_mask[clip, rows:].all() and not together.patches[clip, :, rows:].any()
            assert torch.equal(together.times_s[:rows], alone.times_s)


def test_embed__padding_mask_says_where_there_is_sound(encoder):
    lengths = [16_000, 400, 400 + 160 * 15, 400 + 160 * 16]  # 98, 1, 16 and 17 frames
    for padding in ("constant", "mask"):
        with pytest.warns(UserWarning, match=r"clips longer than the window of 0.64 s"):
            found = encoder.embed(sounds(lengths), lengths, padding=padding)
        assert (~found.padding_mask).sum(dim=1).tolist() == [4, 1, 1, 2]
    assert found.num_rows == (4, 1, 1, 2)


@pytest.mark.parametrize("padding", PADDINGS)
def test_embed__few_windows_at_a_time_are_the_same(encoder, padding, monkeypatch):
    lengths = [*LENGTHS, 25_000]
    settings = {"lengths": lengths, "padding": padding, "long": "windows", "layers": "all"}
    with torch.no_grad():
        expected = encoder.embed(sounds(lengths), **settings)
        monkeypatch.setattr(embedding, "MOST_WINDOWS", 2)
        found = encoder.embed(sounds(lengths), **settings)
    assert found.num_rows == expected.num_rows
    torch.testing.assert_close(found.patches, expected.patches, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.cls, expected.cls, atol=1e-5, rtol=0)


def test_embed__leading_frames_move_the_rows(encoder):
    """They are those of the padded spectrogram, and stand where those of the clip without 12 frames do."""
    batch, later = sounds([9_600]), sounds([9_600])[:, 12 * 160 :]
    with torch.no_grad():
        found = encoder.embed(batch, padding="mask", lead_frames=4)
        cut = encoder.embed(later, padding="mask")
        model = encoder.encoder
        own = encoder.front_end_module.log_mel(batch)
        source = torch.nn.functional.pad(own, (0, 0, 4, 64 - 4 - own.shape[1]))
        normalised = (source - encoder.front_end.norm_mean) / (2 * encoder.front_end.norm_std)
        expected = model.split(model.features(normalised[:, None]))[1].unflatten(1, (4, 8))
    assert found.num_rows == (4,) and cut.num_rows == (3,)
    torch.testing.assert_close(found.patches, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.times_s[1:], cut.times_s + 0.12)
    assert found.times_s[0, 0].item() == pytest.approx(-0.04)
    for wrong in (-1, 16):
        with pytest.raises(ValueError, match=f"lead_frames={wrong}: expected 0 to 15"):
            encoder.embed(batch, lead_frames=wrong)


def test_embed__layers(encoder):
    batch = sounds([8_000, 8_000])
    with torch.no_grad():
        last, every, mean = (encoder.embed(batch, layers=layers) for layers in (None, "all", "mean"))
        assert (
            every.patches.shape == (2, 3, 4, 8, D) and every.frames.shape == (2, 3, 4, D) and last.cls.shape == (2, D)
        )
        for attribute in ("cls", "patches", "frames", "mean"):
            values = getattr(every, attribute)
            torch.testing.assert_close(values[:, 2], getattr(last, attribute))
            torch.testing.assert_close(values.mean(dim=1), getattr(mean, attribute))
            torch.testing.assert_close(getattr(encoder.embed(batch, layers=2), attribute), values[:, 1])
            torch.testing.assert_close(getattr(encoder.embed(batch, layers=[3, 1]), attribute), values[:, [2, 0]])


def test_embed__is_what_features_gives(encoder):
    batch = sounds([8_000, 8_000])
    with torch.no_grad():
        found = encoder.embed(batch)
    for clip in range(2):
        tokens = encoder.features(batch[clip])
        torch.testing.assert_close(found.cls[clip], tokens[0], atol=1e-5, rtol=0)
        torch.testing.assert_close(found.patches[clip].flatten(0, 1), tokens[1:], atol=1e-5, rtol=0)


@pytest.mark.parametrize("rate_hz", [8_000, 44_100, 11_127])
def test_embed__other_rates_are_resampled_clip_by_clip(encoder, rate_hz):
    lengths = [rate_hz // 2, rate_hz // 5]
    batch = sounds(lengths)
    with torch.no_grad():
        found = encoder.embed(batch, lengths, sample_rate_hz=rate_hz)
        for clip, length in enumerate(lengths):
            at_rate = resample(batch[clip : clip + 1, :length], rate_hz, RATE)
            torch.testing.assert_close(found.cls[clip], encoder.embed(at_rate).cls[0], atol=1e-5, rtol=0)


@pytest.mark.parametrize("rate_hz", [RATE, 22_050])
def test_embed__gradients_reach_waveforms_and_weights(encoder, rate_hz):
    with torch.inference_mode():
        encoder.embed(sounds([8_000]), sample_rate_hz=rate_hz)  # which must not spoil what is kept for later calls
    lengths = [9_000, 5_000]
    batch = sounds(lengths).double().nan_to_num(3.0).requires_grad_()
    encoder.double()
    settings = {"lengths": lengths, "sample_rate_hz": rate_hz, "padding": "mask", "layers": "all"}
    weight = torch.randn(2, 3, D, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def loss(waveforms):
        found = encoder.embed(waveforms, **settings)
        return ((found.cls + found.mean) * weight).sum()

    loss(batch).backward()
    assert batch.grad[1, 5_000:].abs().max() == 0
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in encoder.encoder.stack.parameters())
    direction = torch.randn(batch.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    with torch.no_grad():
        step = 1e-4 * direction
        difference = (loss(batch + step) - loss(batch - step)).item() / 2e-4
    assert difference == pytest.approx((batch.grad * direction).sum().item(), rel=2e-2)


def test_embed__half_precision_networks_hear_in_full_precision(encoder):
    batch = sounds([8_000, 8_000])
    with torch.no_grad():
        expected = encoder.embed(batch).cls
        found = encoder.bfloat16().embed(batch.half().float()).cls
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, atol=0.1, rtol=0)


def test_front_end__cannot_be_exchanged_behind_the_modules_back(encoder):
    with pytest.raises(AttributeError):
        encoder.front_end = FrontEnd(32)
    assert encoder.front_end.target_length_frames == 64
    assert not [name for name in encoder.state_dict() if not name.startswith("encoder.")]


def broken(clip, value):
    batch = sounds([8_000, 8_000])
    batch[clip, 100] = value
    return batch


GOOD = sounds([8_000, 8_000])


@pytest.mark.parametrize(
    ("waveforms", "settings", "error", "message"),
    [
        (GOOD[0], {}, ValueError, r"shape \(clips, samples\), got \(8000,\); a single clip is waveform\[None\]"),
        (GOOD[None], {}, ValueError, r"got \(1, 2, 8000\); average channels first"),
        (torch.tensor(0.1), {}, ValueError, r"expected waveforms of shape \(clips, samples\), got \(\)"),
        (GOOD[:0], {}, ValueError, "expected at least one clip"),
        (GOOD[:, :0], {}, ValueError, "expected at least one clip with samples"),
        ([[0.1] * 800], {}, ValueError, "expected waveforms as a tensor"),
        ((GOOD * 1000).short(), {}, ValueError, "expected floats in .* got torch.int16; divide 16-bit values by 32768"),
        (broken(1, float("nan")), {}, AudioError, "clip 1 of the batch: holds NaN or infinity"),
        (broken(0, float("inf")), {}, AudioError, "clip 0 of the batch: holds NaN or infinity"),
        (32768 * GOOD, {}, AudioError, "clip 0 of the batch: samples up to .* divide 16-bit values by 32768"),
        (GOOD[:, :399], {}, AudioError, "clip 0 .*399 samples at 16000 Hz, 24.9375 ms, are shorter than .* 25 ms"),
        (GOOD, {"lengths": [8_000, 399]}, AudioError, "clip 1 of the batch: 399 samples"),
        (GOOD, {"lengths": [8_000, 8_001]}, ValueError, "lengths: clip 1 has 8001 samples, expected 1 to 8000"),
        (GOOD, {"lengths": [0, 8_000]}, ValueError, "lengths: clip 0 has 0 samples"),
        (GOOD, {"lengths": [8_000]}, ValueError, r"lengths: expected 2 whole numbers .* got shape \(1,\)"),
        (GOOD, {"lengths": [1.0, 0.5]}, ValueError, "lengths: expected 2 whole numbers .* torch.float32"),
        (GOOD, {"lengths": ["a", "b"]}, ValueError, "lengths: expected 2 whole numbers"),
        (GOOD, {"sample_rate_hz": 0}, ValueError, "sample rate of 0 Hz, expected 1000 to 1000000 Hz"),
        (GOOD, {"sample_rate_hz": 44_100.5}, ValueError, "sample rate of 44100.5 Hz"),
        (GOOD, {"sample_rate_hz": "fast"}, ValueError, "sample_rate_hz: expected a whole number"),
        (GOOD, {"layers": 4}, ValueError, "this encoder has layers 1 to 3"),
        (GOOD, {"layers": []}, ValueError, "layers: expected numbers from 1 to 3, got none"),
        (GOOD, {"layers": "last"}, ValueError, 'layers "last" are neither numbers nor "mean"'),
        (GOOD, {"padding": "zeros"}, ValueError, 'padding "zeros" is not one of'),
        (GOOD, {"long": "all"}, ValueError, 'long="all" is not one of crop, windows'),
    ],
)
def test_embed__bad_input_is_one_line(encoder, waveforms, settings, error, message):
    with pytest.raises(error, match=message) as caught:
        encoder.embed(waveforms, **settings)
    assert "\n" not in str(caught.value)


def test_embed__what_the_encoder_makes_that_is_not_finite_is_an_error(encoder):
    with torch.no_grad():
        encoder.encoder.patch_embed.proj.bias.fill_(float("inf"))
    with pytest.raises(ValueError, match="the features hold NaN or infinity"):
        encoder.embed(GOOD)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("padding", ["constant", "mask"])
def test_embed__on_a_device_equals_the_cpu(encoder, padding):
    batch = sounds(LENGTHS)
    settings = {"lengths": LENGTHS, "padding": padding, "long": "windows"}
    with torch.no_grad():
        expected = encoder.embed(batch, **settings)
        found = encoder.cuda().embed(batch.cuda(), **settings)
    assert found.patches.is_cuda and found.times_s.is_cuda and found.padding_mask.is_cuda
    torch.testing.assert_close(found.patches.cpu(), expected.patches, atol=1e-3, rtol=0)
    torch.testing.assert_close(found.cls.cpu(), expected.cls, atol=1e-3, rtol=0)
