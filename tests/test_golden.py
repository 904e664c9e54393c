"""Golden numbers of the published pre-training programs, run as black boxes on the CPU.

A case is NAME.pt, a checkpoint, and NAME.expected.pt, what the published programs made of it: features, losses and
gradients with mask noise 0 and given masks, and the teacher after one step. Sizes are read off the tensors.
"""

from pathlib import Path

import pytest
import torch

from ASDA.checkpoints.layouts.published_architecture import recorded_architecture
from ASDA.checkpoints.layouts.published_names import (
    PRETRAINING_NAMES,
    encoder_from_published,
    split_published,
    to_native,
)
from ASDA.core.encoder import SpectrogramEncoder
from ASDA.core.positions import position_table
from ASDA.objectives.conv_decoder import ConvDecoder2d
from ASDA.objectives.ema_teacher import LinearDecay
from ASDA.objectives.self_distillation import SelfDistillation

GOLDEN = Path(__file__).resolve().parents[2] / "shared" / "golden"
OF_PRETRAINING = {"source", "features_all", "precomputed_mask", "losses", "sample_size", "grads", "ema_after"}
# The numbers were made after 100 updates: p -= 1e-3 / sample_size * gradient, then the teacher's step of update 101.
LEARNING_RATE, UPDATE = 1e-3, 101


def load(path):
    return torch.load(path, weights_only=True, map_location="cpu")


def pretraining_cases():
    if not GOLDEN.is_dir():
        return [pytest.param(None, marks=pytest.mark.skip(reason=f"{GOLDEN} does not exist"))]
    names = [path.name.removesuffix(".expected.pt") for path in sorted(GOLDEN.glob("*.expected.pt"))]
    return [
        n for n in names if (GOLDEN / f"{n}.pt").exists() and load(GOLDEN / f"{n}.expected.pt").keys() >= OF_PRETRAINING
    ]


class Case:
    def __init__(self, name):
        self.checkpoint = load(GOLDEN / f"{name}.pt")
        self.expected = load(GOLDEN / f"{name}.expected.pt")
        self.cfg = self.checkpoint["cfg"]["model"]
        self.parts = split_published(self.checkpoint["model"])
        self.source = self.expected["source"].float()

    def objective(self):
        cfg, student = self.cfg, self.parts["encoder"]
        encoder = SpectrogramEncoder(recorded_architecture(cfg, student))
        embed_dim = encoder.embed_dim
        convolutions = [w for name, w in self.parts["decoder"].items() if name.endswith(".0.weight")]
        out_channels, in_channels_of_a_group, side, _ = convolutions[0].shape
        decoder = ConvDecoder2d(
            embed_dim,
            decoder_dim=out_channels,
            num_layers=len(convolutions),
            kernel_size=side,
            groups=embed_dim // in_channels_of_a_group,
            mask_noise_std=0.0,
        )
        model = SelfDistillation(
            encoder,
            decoder,
            decay=LinearDecay(cfg["ema_decay"], cfg["ema_end_decay"], cfg["ema_anneal_end_step"]),
            average_top_k_layers=cfg["average_top_k_layers"],
            utterance_weight=cfg["cls_loss"],
            frame_weight=cfg["d2v_loss"],
        )
        model.encoder.load_state_dict(student)
        model.decoder.load_state_dict(self.parts["decoder"])
        model.teacher.encoder.load_state_dict(self.parts["teacher"])
        return model.eval()


@pytest.fixture(scope="module", params=pretraining_cases())
def case(request):
    return Case(request.param)


def test_golden__every_tensor_has_its_place(case):
    assert case.parts["other"] == {}
    assert case.parts["head"] == {}
    total = sum(len(part) for part in case.parts.values())
    assert total == len(case.checkpoint["model"]) - 1 + len(case.checkpoint["model"]["_ema"])


def test_golden__position_table_is_ours(case):
    ours = case.objective().encoder.config
    torch.testing.assert_close(position_table(ours), case.parts["encoder"]["positions"], rtol=0, atol=1e-6)


def test_golden__features(case):
    student = case.objective().encoder
    lengths = {name: name.removeprefix("features_") for name in case.expected if name.startswith("features_")}
    assert "features_all" in lengths
    for name, frames in lengths.items():
        source = case.source if frames == "all" else case.source[:, :, : int(frames)]
        with torch.no_grad():
            torch.testing.assert_close(student.features(source), case.expected[name], rtol=0, atol=1e-5, msg=name)


def test_golden__losses_gradients_and_teacher(case):
    model, expected = case.objective(), case.expected
    mask = expected["precomputed_mask"]
    out = model(case.source, mask)
    assert out.sample_size == expected["sample_size"]
    (regression,) = [name for name in expected["losses"] if name.endswith("_regression")]
    torch.testing.assert_close(out.terms["frame"], expected["losses"][regression], rtol=1e-5, atol=0)
    torch.testing.assert_close(out.terms["utterance"], expected["losses"]["cls"], rtol=1e-5, atol=0)
    assert out.sample_size / mask.numel() == pytest.approx(expected["stats"]["masked_pct"], abs=1e-12)
    for name in ("pred_var", "target_var"):
        assert out.statistics[name].item() == pytest.approx(expected["stats"][name], rel=1e-5)

    (out.terms["frame"] + out.terms["utterance"]).backward()
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    gradients = {
        to_native(name, PRETRAINING_NAMES).removeprefix("objective."): gradient
        for name, gradient in expected["grads"].items()
    }
    assert gradients.keys() == trained.keys()
    for name, gradient in gradients.items():
        error = (trained[name].grad - gradient).norm() / gradient.norm()
        assert error < 1e-4, f"{name}: relative error {error:.2g}"

    with torch.no_grad():
        for parameter in trained.values():
            parameter -= LEARNING_RATE / expected["sample_size"] * parameter.grad
    assert model.teacher.decay(UPDATE) == pytest.approx(expected["ema_decay"], abs=1e-12)
    model.teacher.update(model.encoder, UPDATE)
    after = encoder_from_published(expected["ema_after"])
    teacher = model.teacher.encoder.state_dict()
    assert after.keys() == teacher.keys()
    for name, tensor in after.items():
        torch.testing.assert_close(teacher[name], tensor, rtol=0, atol=1e-6, msg=name)
