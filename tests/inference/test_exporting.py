"""torch.export of trained models: the same numbers as eager code, for any number of clips and any length."""

import warnings

import pytest
import torch

from ASDA.inference.exporting import FEATURES, PADDING_MASK, SPECTROGRAM, WAVEFORM, Graph, exported_program
from tests.inference.exported_models import ARCHITECTURES, FRAMES, WITH_PADDING, sounds, trained

SIZES = [(1, 400), (3, 6_123), (2, 10_480), (4, 30_000)]
# The others are as quick, and there are many.
SHORT = [("differential", "constant"), ("differential",)]


def cases(every):
    return [pytest.param(*case, marks=[] if case in SHORT else pytest.mark.long) for case in every]


@pytest.mark.parametrize(("architecture", "padding"), cases(WITH_PADDING))
def test_exported_program__of_waveforms_is_embed(architecture, padding):
    model = trained(architecture, padding=padding)
    graph = Graph(model)
    program = exported_program(model).module()
    X, Q = model.encoder.config.num_prefix_tokens, model.encoder.config.columns
    assert graph.outputs == ((FEATURES, PADDING_MASK) if padding == "mask" else (FEATURES,))
    for num_clips, num_samples in SIZES:
        waveforms = sounds(num_clips, num_samples)
        with torch.no_grad():
            features, *padding_mask = program(waveforms)
            assert torch.equal(features, graph(waveforms)[0])
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of clips that are cut
                expected = model.embed(waveforms)
        found = features[:, X:].unflatten(1, (-1, Q))
        torch.testing.assert_close(found[:, : expected.patches.shape[1]], expected.patches, atol=1e-4, rtol=0)
        assert not found[:, expected.patches.shape[1] :].any()
        if X == 1:
            torch.testing.assert_close(features[:, 0], expected.cls, atol=1e-4, rtol=0)
        if padding_mask:
            torch.testing.assert_close(~padding_mask[0].unflatten(1, (-1, Q))[:, :, 0], features[:, X::Q].any(dim=2))


@pytest.mark.parametrize(("architecture",), cases((name,) for name in ARCHITECTURES))
def test_exported_program__of_spectrograms_is_the_encoder(architecture):
    model = trained(architecture)
    program = exported_program(model, SPECTROGRAM).module()
    shortest, longest = Graph(model, SPECTROGRAM).lengths
    for num_clips, length in ((1, shortest), (3, 2 * shortest + 1), (5, FRAMES), (2, longest)):
        spectrogram = torch.randn(num_clips, 1, length, 128)
        with torch.no_grad():
            expected = model(spectrogram)
            torch.testing.assert_close(program(spectrogram)[0], expected, atol=1e-6, rtol=0)
    for length in (shortest - 1, longest + 1):
        with pytest.raises(Exception, match="(?i)frames|shape|guard|constraint"):
            program(torch.randn(2, 1, length, 128))


@pytest.mark.long
@pytest.mark.parametrize("softmax", [False, True])
def test_exported_program__of_a_classifier_has_logits_and_probabilities(softmax):
    model = trained(head="cls", softmax=softmax)
    program = exported_program(model).module()
    waveform = sounds(1, 7_000)
    with torch.no_grad():
        logits, probabilities, features = program(waveform)
    torch.testing.assert_close(logits[0], model.logits(model.spectrogram(waveform[0])[None])[0], atol=1e-4, rtol=0)
    torch.testing.assert_close(probabilities[0], model.scores(waveform[0]), atol=1e-5, rtol=0)
    torch.testing.assert_close(features[0], model.features(waveform[0]), atol=1e-4, rtol=0)


@pytest.mark.long
def test_exported_program__is_saved_and_loaded(tmp_path):
    model = trained()
    torch.export.save(exported_program(model), tmp_path / "model.pt2")
    waveforms = sounds(3, 9_000)
    with torch.no_grad():
        found = torch.export.load(tmp_path / "model.pt2").module()(waveforms)[0]
        assert torch.equal(found, Graph(model)(waveforms)[0])


@pytest.mark.long
def test_torch_export__takes_the_encoder_itself():
    encoder = trained().encoder
    free = {0: torch.export.Dim("clips"), 2: torch.export.Dim("frames", min=16, max=111)}
    program = torch.export.export(encoder, (torch.randn(2, 1, 40, 128),), dynamic_shapes={"spectrogram": free})
    spectrogram = torch.randn(3, 1, 96, 128)
    with torch.no_grad():
        torch.testing.assert_close(program.module()(spectrogram), encoder(spectrogram), atol=1e-6, rtol=0)


def test_exported_program__says_in_one_line_what_cannot_be_exported():
    model = trained()
    with pytest.raises(ValueError, match='source "mp3" is not one of waveform, spectrogram'):
        exported_program(model, "mp3")
    with pytest.raises(ValueError, match="no length that waveforms are brought to: set target_length"):
        exported_program(trained(target_length_frames=None), WAVEFORM)
    with pytest.raises(ValueError, match=r"cannot be exported as one graph \(.*position table") as caught:
        exported_program(trained(target_length_frames=200))
    assert "\n" not in str(caught.value)
