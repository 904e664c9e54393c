"""The front end as a module: the numbers of the plain one, and gradients that are right."""

import copy

import pytest
import torch

from ASDA.audio.fbank import WINDOWS
from ASDA.audio.front_end import FrontEnd
from ASDA.audio.front_end_module import FrontEndModule
from tests.audio.test_fbank import PADDED_LENGTHS, RATE, SIGNALS, noise, padded_batch


@pytest.mark.parametrize("signal", SIGNALS)
def test_module__equals_the_front_end(signal):
    batch, front_end = torch.stack([SIGNALS[signal], SIGNALS[signal].flip(0)]), FrontEnd(norm_mean=0.0, norm_std=0.5)
    torch.testing.assert_close(FrontEndModule(front_end)(batch), front_end(batch), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    "settings",
    [
        *({"window": window, "remove_mean": remove} for window in WINDOWS for remove in (True, False)),
        {"sample_rate_hz": 8_000, "num_mel_bins": 64},
        {"sample_rate_hz": 22_050, "num_mel_bins": 80},
        {"sample_rate_hz": 48_000, "target_length_frames": None},
    ],
)
def test_module__equals_the_front_end_at_other_settings(settings):
    front_end, batch = FrontEnd(**{"target_length_frames": 90, **settings}), 0.02 + noise(2 * RATE).view(2, RATE)
    torch.testing.assert_close(FrontEndModule(front_end)(batch), front_end(batch), atol=1e-4, rtol=0)


@pytest.mark.parametrize("frames", [50, 298, 1024])
def test_module__padded_batch_equals_single_clips(frames):
    clips, batch, lengths = padded_batch()
    front_end = FrontEnd(target_length_frames=frames)
    expected = torch.stack([front_end(clip) for clip in clips])
    module = FrontEndModule(front_end)
    torch.testing.assert_close(module(batch, lengths), expected, atol=2e-4, rtol=0)
    batch[1, PADDED_LENGTHS[1] :] = float("nan")  # whatever follows a clip
    torch.testing.assert_close(module(batch, lengths), expected, atol=2e-4, rtol=0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_module__on_a_device_equals_the_front_end_on_the_cpu():
    clips, batch, lengths = padded_batch()
    expected = torch.stack([FrontEnd()(clip) for clip in clips])
    module = FrontEndModule(FrontEnd()).cuda()
    torch.testing.assert_close(module(batch.cuda(), lengths.cuda()).cpu(), expected, atol=1e-4, rtol=0)


def test_module__gradients_are_those_of_differences():
    module, lengths = FrontEndModule(FrontEnd(6)).double(), torch.tensor([1_200, 900])
    waveforms = noise(2 * 1_200).double().view(2, 1_200).requires_grad_()
    weight, direction = (torch.randn(shape, dtype=torch.float64) for shape in ((2, 6, 128), (2, 1_200)))

    def loss(x):
        return (module(x, lengths) * weight).sum()

    loss(waveforms).backward()
    with torch.no_grad():
        difference = (loss(waveforms + 1e-7 * direction) - loss(waveforms - 1e-7 * direction)) / 2e-7
    torch.testing.assert_close((waveforms.grad * direction).sum(), difference, rtol=1e-5, atol=1e-5)
    assert waveforms.grad[1, 900:].abs().max() == 0 and waveforms.grad[1, :700].abs().min() > 0


def test_module__gradient_of_silence_is_finite():
    waveforms = torch.zeros(1, RATE, requires_grad=True)
    FrontEndModule(FrontEnd())(waveforms).sum().backward()
    assert torch.isfinite(waveforms.grad).all()


def test_module__keeps_its_precision_and_leaves_nothing_in_checkpoints():
    module, batch = FrontEndModule(FrontEnd()), noise(2 * RATE).view(2, RATE)
    expected = module(batch)
    assert not module.state_dict() and not list(module.parameters())
    for changed in (module.half(), module.bfloat16(), module.float(), copy.deepcopy(module)):
        assert torch.equal(changed(batch), expected)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(module(batch), expected)
    torch.testing.assert_close(module.double()(batch.double()).float(), expected, atol=1e-3, rtol=0)


def test_module__clips_without_a_frame_are_padding():
    front_end = FrontEnd(20)
    expected = front_end(noise(100))[None]
    torch.testing.assert_close(FrontEndModule(front_end)(noise(100)[None]), expected)
