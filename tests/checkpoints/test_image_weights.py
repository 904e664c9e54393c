"""An encoder that starts from an image network of timm, with random weights: nothing is downloaded."""

import sys

import pytest
import torch

from ASDA.audio.front_end import FrontEnd
from ASDA.checkpoints.files import CheckpointError
from ASDA.checkpoints.image_weights import read_image_weights
from ASDA.core.counting import parts_of
from ASDA.core.encoder import SpectrogramEncoder
from ASDA.core.zoo import system_of

pytestmark = pytest.mark.slow

DEIT = "deit_tiny_distilled_patch16_224.fb_in1k"


@pytest.fixture
def timm(monkeypatch):
    """timm, whose networks have random weights whatever is asked for: `timm.made` is the last one."""
    timm = pytest.importorskip("timm", reason="image networks come through timm, an extra")
    create = timm.create_model

    def create_model(name, pretrained=False):
        torch.manual_seed(0)
        timm.made = create(name)
        timm.asked_for_weights = pretrained
        return timm.made

    monkeypatch.setattr(timm, "create_model", create_model)
    for name in ("made", "asked_for_weights"):
        monkeypatch.setattr(timm, name, None, raising=False)
    return timm


def encoder_of(checkpoint):
    encoder = SpectrogramEncoder(checkpoint.encoder_config).eval()
    encoder.load_state_dict(checkpoint.encoder)
    return encoder


@pytest.mark.parametrize(("name", "tokens"), [(DEIT, 2), ("vit_tiny_patch16_224", 1)])
def test_read_image_weights__is_the_image_network_on_a_grey_image(timm, name, tokens):
    checkpoint = read_image_weights(name, FrontEnd(224, num_mel_bins=224), stride=(16, 16))
    assert checkpoint.encoder_config.num_prefix_tokens == tokens
    spectrogram = torch.randn(1, 1, 224, 224)  # time x frequency
    image = spectrogram.transpose(2, 3).expand(-1, 3, -1, -1)  # frequency is the height
    with torch.no_grad():
        theirs = timm.made.eval().forward_features(image)
        prefix, patches = encoder_of(checkpoint)(spectrogram)
    torch.testing.assert_close(prefix, theirs[:, :tokens], atol=1e-4, rtol=1e-4)
    frequency_first = patches.unflatten(1, (14, 14)).transpose(1, 2).flatten(1, 2)
    torch.testing.assert_close(frequency_first, theirs[:, tokens:], atol=1e-4, rtol=1e-4)


def test_read_image_weights__colours_are_added_or_averaged(timm):
    added, averaged = (read_image_weights(DEIT, FrontEnd(), colours=colours) for colours in ("sum", "mean"))
    kernel = timm.made.patch_embed.proj.weight.detach()  # (D, 3, bins, frames)
    assert torch.equal(added.encoder["patch_embed.proj.weight"], kernel.sum(1, keepdim=True).transpose(2, 3))
    assert timm.asked_for_weights
    assert torch.equal(averaged.encoder["patch_embed.proj.weight"], kernel.mean(1, keepdim=True).transpose(2, 3))


@pytest.mark.parametrize("frames", [1024, 128, 100, 166])
def test_read_image_weights__positions_are_cut_along_frequency_and_cut_or_interpolated_along_time(timm, frames):
    checkpoint = read_image_weights(DEIT, FrontEnd(frames))
    assert system_of(checkpoint.encoder_config) == "AST"
    image = timm.made.pos_embed.detach()[:, 2:].transpose(1, 2).unflatten(2, (14, 14))  # (1, D, frequency, time)
    rows = 1 + (frames - 16) // 10
    if rows > 14:
        image = torch.nn.functional.interpolate(image, size=(14, rows), mode="bilinear")
    else:
        image = image[..., 7 - rows // 2 : 7 - rows // 2 + rows]
    image = image[:, :, 1:13]  # the 12 in the middle of 14
    positions = checkpoint.encoder["positions"]
    assert torch.equal(positions[:, :2], timm.made.pos_embed.detach()[:, :2])
    expected = image.permute(0, 3, 2, 1).flatten(1, 2)
    torch.testing.assert_close(positions[:, 2:], expected, atol=1e-6, rtol=1e-5)


@pytest.mark.usefixtures("timm")
def test_read_image_weights__of_base_size_is_ast():
    checkpoint = read_image_weights("deit_base_distilled_patch16_384.fb_in1k", FrontEnd(1024), pretrained=False)
    with torch.device("meta"):
        parts = parts_of(SpectrogramEncoder(checkpoint.encoder_config))
    assert sum(part.parameters for part in parts) == 86_594_063 - (2 * 768 + 769 * 527)  # AST's without its head


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("deit_tiny", "timm has no such network .*Unknown model.* names are like deit_base_distilled"),
        ("deit_tiny_distilled_patch16_224.other", "timm has no such network .*Invalid pretrained tag"),
        ("resnet18", "expected those of a vision transformer .* found 'conv1.weight'"),
        ("swin_tiny_patch4_window7_224", "expected those of a vision transformer"),
        ("vit_base_patch16_clip_224", "found 'norm_pre.weight'"),
        ("deit3_small_patch16_224", "not a plain vision transformer, .*ls1.gamma"),
    ],
)
@pytest.mark.usefixtures("timm")
def test_read_image_weights__refuses_other_names_and_networks_in_one_line(name, message):
    with pytest.raises(CheckpointError, match=message) as caught:
        read_image_weights(name, FrontEnd())
    assert str(caught.value).startswith(f"timm:{name}: ") and "\n" not in str(caught.value)


def test_read_image_weights__says_when_the_weights_cannot_be_had(timm, monkeypatch):
    create = timm.create_model

    def offline(name, pretrained=False):
        if pretrained:
            raise ConnectionError("no route to host\nsecond line")
        return create(name)

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(CheckpointError, match=r"timm:\S+: the weights cannot be had \(no route to host\)"):
        read_image_weights(DEIT, FrontEnd())
    read_image_weights(DEIT, FrontEnd(), pretrained=False)


def test_read_image_weights__without_timm(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(CheckpointError, match="the package timm is not installed: pip install"):
        read_image_weights(DEIT, FrontEnd())
