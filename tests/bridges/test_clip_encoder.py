"""What every bridge rests on: the features of `embed`, whatever a clip is batched with, between the rows too."""

import warnings

import pytest
import torch

from ASDA.audio.errors import AudioError
from ASDA.audio.front_end import normalise
from ASDA.bridges import clip_encoder
from ASDA.bridges.clip_encoder import ClipEncoder, own_lengths
from ASDA.checkpoints.files import CheckpointError
from ASDA.inference.model import load_encoder
from tests.bridges.conftest import NAMES, noise, padded

LENGTHS = (16_000, 9_600, 2_000, 700, 25_000, 9_600)
WINDOW = 64  # frames: the longest of these clips are longer
CLIPS = [noise(length, seed) for seed, length in enumerate(LENGTHS)]
RATE_HZ = 16_000


def embedded(encoder, clip, **settings):
    with torch.no_grad():
        return encoder.trained.embed(clip[None], sample_rate_hz=RATE_HZ, long="windows", **settings)


@pytest.mark.parametrize("padding", ["mask", "constant"])
@pytest.mark.parametrize("name", NAMES)
def test_clip_encoder__is_what_embed_gives_of_each_clip_alone(checkpoints, name, padding):
    settings = {"target_length_frames": WINDOW, "padding": padding}
    encoder = ClipEncoder(checkpoints[name], **settings)
    assert encoder.padding == padding and not encoder.training
    with torch.no_grad():
        vectors, frames = encoder.clip_vectors(CLIPS, RATE_HZ), encoder.frames(CLIPS, RATE_HZ)
        fine = ClipEncoder(checkpoints[name], hop_ms=10, **settings).frames(CLIPS[:3], RATE_HZ)
    assert vectors.dtype == frames.values.dtype == torch.float32
    per_row = round(encoder.hop_ms / 10)
    for place, clip in enumerate(CLIPS):
        expected, count = embedded(encoder, clip, padding=padding), frames.counts[place]
        torch.testing.assert_close(vectors[place], expected.mean[0], atol=1e-5, rtol=0)
        torch.testing.assert_close(frames.values[place, :count], expected.frames[0, :count], atol=1e-5, rtol=0)
        assert not frames.values[place, count:].any()
        middles = 1000 * expected.times_s.mean(dim=1)[:count]
        torch.testing.assert_close(frames.centres_ms[:count], middles)
        if place < len(fine.counts):
            first = round((encoder.places.centres_ms(1) - fine.centres_ms[0]).item() / 10)
            among = fine.values[place, first : fine.counts[place] : per_row]
            torch.testing.assert_close(among[:count], expected.frames[0, :count][: len(among)], atol=1e-5, rtol=0)


@pytest.mark.parametrize("hop_ms", [None, 50])
@pytest.mark.parametrize("name", ["asda", "mae_ast_frame", "ast"])
def test_clip_encoder__a_clip_is_the_same_in_any_batch(checkpoints, name, hop_ms, monkeypatch):
    encoder = ClipEncoder(checkpoints[name], target_length_frames=WINDOW, hop_ms=hop_ms, pooling="mean")
    with torch.no_grad():
        together, vectors = encoder.frames(CLIPS), encoder.clip_vectors(CLIPS)
        monkeypatch.setattr(clip_encoder, "MOST_S", 1.0)  # clips go through in several groups
        grouped = encoder.frames(CLIPS)
        torch.testing.assert_close(grouped.values, together.values, atol=1e-5, rtol=0)
        assert grouped.counts == together.counts
        for place, clip in enumerate(CLIPS):
            alone = encoder.frames([clip])
            assert alone.counts == (together.counts[place],) and alone.values.shape[1] == alone.counts[0]
            torch.testing.assert_close(together.values[place, : alone.counts[0]], alone.values[0], atol=1e-5, rtol=0)
            torch.testing.assert_close(vectors[place], encoder.clip_vectors([clip])[0], atol=1e-5, rtol=0)


def test_clip_encoder__frames_between_rows_are_those_of_the_clip_behind_padding(checkpoints):
    """An oracle from the definition: a spectrogram with zeros before it, whole patches, the network."""
    model, clip = load_encoder(checkpoints["eat"]), noise(16_000)
    found = ClipEncoder(checkpoints["eat"], hop_ms=50).frames([clip])
    own = model.front_end.log_mel(clip)
    for number, centre_ms in enumerate(found.centres_ms.tolist()):
        begin = round(centre_ms / 10) - 8
        lead = -begin % 16
        spectrogram = torch.cat([torch.zeros(lead, 128), own])
        spectrogram = torch.nn.functional.pad(spectrogram, (0, 0, 0, -len(spectrogram) % 16))
        source = normalise(spectrogram, model.front_end.norm_mean, model.front_end.norm_std)[None, None]
        with torch.no_grad():
            rows = model(source)[0, 1:].unflatten(0, (-1, 8)).mean(dim=1)
        torch.testing.assert_close(found.values[0, number], rows[(begin + lead) // 16], atol=1e-5, rtol=0)
    assert found.counts == (20,) and found.centres_ms[0] == 30


def test_clip_encoder__layers_and_cls(checkpoints):
    clip = noise(9_600)
    for layer in (1, 2, "mean", None):
        encoder = ClipEncoder(checkpoints["asda"], layer=layer, pooling="cls")
        expected = embedded(encoder, clip, layers=layer, padding="mask")
        torch.testing.assert_close(encoder.clip_vectors([clip])[0], expected.cls[0], atol=1e-5, rtol=0)
        torch.testing.assert_close(encoder.frames([clip]).values, expected.frames, atol=1e-5, rtol=0)
    every = encoder.frames([clip], all_layers=True).values
    expected = embedded(encoder, clip, layers="all", padding="mask").frames
    torch.testing.assert_close(every, expected.transpose(1, 2), atol=1e-5, rtol=0)


@pytest.mark.parametrize("length", [0, 1, 399])
def test_clip_encoder__a_clip_below_the_analysis_window_is_heard_with_silence_and_said(checkpoints, length):
    encoder = ClipEncoder(checkpoints["asda"])
    clip = noise(500)[:length]
    with pytest.warns(UserWarning, match="shorter than the analysis window of 25 ms"):
        vectors, frames = encoder.clip_vectors([clip, noise(8_000)]), encoder.frames([clip])
    expected = encoder.clip_vectors([torch.nn.functional.pad(clip, (0, 400 - length)), noise(8_000)])
    torch.testing.assert_close(vectors, expected)
    assert frames.counts == (1,)


def test_clip_encoder__clips_of_a_whole_patch_are_heard_without_a_word(checkpoints):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ClipEncoder(checkpoints["asda"]).frames([noise(400), noise(30_000)]).counts == (1, 12)


def test_clip_encoder__other_rates_are_resampled(checkpoints):
    encoder, clip = ClipEncoder(checkpoints["32_khz"], hop_ms=40), noise(16_000)
    assert encoder.sample_rate_hz == 32_000
    assert encoder.num_frames(16_000, 16_000) == encoder.num_frames(32_000) == 26
    frames = encoder.frames([clip], 16_000)
    assert frames.counts == (26,) and frames.centres_ms[-1] == 1000
    expected = embedded(encoder, clip, padding="mask")
    torch.testing.assert_close(frames.values[0, 2::4], expected.frames[0, :6], atol=1e-5, rtol=0)


def test_clip_encoder__gradients_reach_every_weight_that_frames_depend_on(checkpoints):
    encoder = ClipEncoder(checkpoints["asda"], hop_ms=40)
    (encoder.frames(CLIPS, all_layers=True).values.sum() + encoder.clip_vectors(CLIPS).square().sum()).backward()
    lacking = [name for name, parameter in encoder.named_parameters() if parameter.grad is None]
    assert not lacking and encoder.trained.encoder.patch_embed.proj.weight.grad.abs().max() > 0


def test_clip_encoder__half_precision_networks_give_float32(checkpoints):
    encoder = ClipEncoder(checkpoints["asda"])
    expected = encoder.clip_vectors(CLIPS)
    found = encoder.to(torch.bfloat16).clip_vectors(CLIPS)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, atol=0.2, rtol=0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_clip_encoder__is_the_same_on_a_gpu(checkpoints):
    encoder = ClipEncoder(checkpoints["asda"], hop_ms=40)
    vectors, frames = encoder.clip_vectors(CLIPS), encoder.frames(CLIPS)
    encoder.to("cuda")
    for clips in (CLIPS, [clip.cuda() for clip in CLIPS]):
        found = encoder.frames(clips)
        assert found.values.is_cuda and found.counts == frames.counts
        torch.testing.assert_close(found.values.cpu(), frames.values, atol=1e-3, rtol=0)
        torch.testing.assert_close(encoder.clip_vectors(clips).cpu(), vectors, atol=1e-3, rtol=0)


def test_clip_encoder__adapters_beside_their_base_or_alone(checkpoints):
    alone, plain = (ClipEncoder(checkpoints[name]) for name in ("adapted", "asda"))
    beside = ClipEncoder(checkpoints["asda"], adapter=checkpoints["adapted"])
    assert torch.equal(alone.clip_vectors(CLIPS), beside.clip_vectors(CLIPS))
    assert not torch.allclose(alone.clip_vectors(CLIPS), plain.clip_vectors(CLIPS), atol=1e-2)


def test_clip_encoder__identity_tells_weights_and_settings_apart(checkpoints):
    encoders = [ClipEncoder(checkpoints[name]) for name in NAMES if name != "finetuned"]
    assert ClipEncoder(checkpoints["finetuned"]).identity == encoders[0].identity  # another head on the same encoder
    for settings in ({"layer": 1}, {"pooling": "cls"}, {"padding": "constant"}, {"hop_ms": 40}, {"norm_mean": -5.0}):
        encoders.append(ClipEncoder(checkpoints["asda"], **settings))
    assert len({encoder.identity for encoder in encoders}) == len(encoders)
    assert ClipEncoder(checkpoints["asda"]).identity == encoders[0].identity


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("asda", {"pooling": "max"}, 'pooling "max" is not one of mean, cls'),
        ("mae_ast", {"pooling": "cls"}, "no prefix tokens"),
        ("asda", {"layer": 3}, 'layer 3: expected 1 to 2, or "mean"'),
        ("asda", {"layer": "all"}, "layer 'all'"),
        ("asda", {"padding": "zeros"}, 'padding "zeros"'),
        ("asda", {"hop_ms": 25}, "multiple of 10 ms"),
        ("asda", {"hop": 50}, "hop is no setting: expected one of layer, pooling, padding, hop_ms"),
    ],
)
def test_clip_encoder__settings_that_do_not_fit_are_refused(checkpoints, name, settings, message):
    with pytest.raises(ValueError, match=message):
        ClipEncoder(checkpoints[name], **settings)


def test_clip_encoder__what_is_no_clip_is_refused_by_its_place(checkpoints):
    encoder, clip = ClipEncoder(checkpoints["asda"]), noise(8_000)
    for wrong, message in ((float("nan"), "NaN"), (9_000.0, "divide 16-bit values by 32768")):
        broken = clip.clone()
        broken[7] = wrong
        with pytest.raises(AudioError, match=rf"clip 2 of the batch: .*{message}"):
            encoder.clip_vectors([clip[:900], clip, broken])
    with pytest.raises(ValueError, match="average channels first"):
        encoder.frames([torch.zeros(2, 8_000)])
    with pytest.raises(ValueError, match="at least one clip"):
        encoder.frames([])
    with pytest.raises(ValueError, match="no checkpoint is given"):
        ClipEncoder("")
    with pytest.raises(CheckpointError):
        ClipEncoder("nowhere.pt")


def test_own_lengths__end_with_the_last_sample_that_is_not_zero():
    clips = [torch.tensor([1.0, 0.0, 2.0]), torch.tensor([-1.0, 0, 0, 0, 3.0, 0]), torch.zeros(2)]
    assert own_lengths(padded(clips)) == [3, 5, 1]
