"""Counted work of steps: the published numbers, and formulas."""

import pytest
import torch
from torch import nn

from ASDA.core.counting import encoder_flops
from ASDA.core.places import Places
from ASDA.objectives.counting import step_flops
from ASDA.objectives.objective import Losses, Objective

pytestmark = pytest.mark.slow

PLACES = Places.of(torch.tensor([[True, False]]), 1)


class Convolutions(Objective):
    """Two convolutions in groups, the first without a gradient for its input."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1, groups=4))

    def forward(self, spectrogram, mask):
        return Losses({"sum": self.layers(spectrogram).sum()}, 1)


def test_step_flops__of_convolutions_in_groups():
    objective = Convolutions()
    first, second = 2 * 5 * 7 * 8 * 1 * 9, 2 * 5 * 7 * 8 * (8 // 4) * 9
    assert step_flops(objective, torch.randn(1, 1, 5, 7), PLACES) == 2 * first + 3 * second
    assert objective.layers[0].weight.device.type == "cpu"  # it stays as it was


class TestRegistered:
    """Of the registered objectives, from their yaml."""

    @pytest.fixture(autouse=True)
    def _needs_fairseq(self):
        pytest.importorskip("fairseq", reason="the registered models are fairseq's")

    @staticmethod
    def count(words, clips=1, alone=False):
        from benchmarks.objective_steps import WholeClips
        from benchmarks.registered import registered

        run = registered(words)
        spectrogram, mask = run.batch(clips)
        objective = WholeClips(run.objective.encoder) if alone else run.objective
        return step_flops(objective, spectrogram, Places.of(mask, clips)), run

    @pytest.mark.parametrize(("layers", "masked", "whole"), [(6, 83.3, 145.4), (12, 116.8, 290.4)])
    def test_mae_ast__takes_the_published_work(self, layers, masked, whole):
        words = f"pretraining_MAE_AST model.encoder_layers={layers} task.target_length=1024"
        assert self.count(words)[0] / 1e9 == pytest.approx(masked, abs=0.1)
        assert self.count(words, alone=True)[0] / 1e9 == pytest.approx(whole, abs=0.1)

    def test_mae_ast__in_frames_takes_as_much(self):
        of_patches, of_frames = (
            self.count(f"pretraining_MAE_AST {recipe} +size=tiny task.target_length=1024")[0]
            for recipe in ("", "MAE_AST_frame")
        )
        assert of_patches == of_frames

    def test_ssast__two_masks_are_two_passes_of_which_each_has_a_head(self):
        words = "pretraining_SSAST +size=tiny task.target_length=256 model.clone_batch="
        once, twice = self.count(words + "1")[0], self.count(words + "2")[0]
        D, V, hidden = 128, 256, 100
        # One mask: both heads and InfoNCE; two: a head and its loss each, and the patches are embedded once.
        heads = 2 * 3 * 2 * hidden * (D * D + D * V)
        nce = 2 * 2 * hidden * hidden * V
        embedding = 2 * 2 * 128 * V * D
        assert twice == 2 * (once - heads - nce - embedding) + embedding + heads + nce

    def test_asda__is_the_formulas_of_its_parts(self):
        clips, students, patches = 2, 4, 64
        words = f"pretraining_AS2M +size=tiny task.target_length=128 model.clone_batch={students}"
        counted, run = self.count(words, clips)
        config, decoder = run.objective.encoder.config, run.objective.decoder
        kept = patches - int(run.masks()[0].sum())

        def forward(sequences, tokens):  # the second map's product with V is made apart
            apart = 2 * sequences * tokens * tokens * config.stack.embed_dim * config.stack.depth
            return encoder_flops(config, clips, patches, sequences, tokens) + apart

        embedding = 2 * clips * patches * 256 * config.stack.embed_dim
        convolutions = patches * sum(block[0].weight.numel() for block in decoder.blocks)
        decoding = 2 * clips * students * (convolutions + (patches - kept) * decoder.proj.weight.numel())
        student = 3 * forward(clips * students, 1 + kept) - embedding  # the spectrogram gets no gradient
        assert counted == forward(clips, 1 + patches) + student + 3 * decoding

    def test_equal_work__gives_the_others_as_much_as_the_first(self, capsys):
        from benchmarks import equal_work

        words = ["pretraining_MAE_AST demo_MAE_AST", "pretraining_AS2M demo_pretraining"]
        assert equal_work.main(["--updates", "1000", *words]) == 0
        (first, updates), (other, other_updates) = (line.split("\t") for line in capsys.readouterr().out.splitlines())
        assert updates == "1000" and float(other) * int(other_updates) == pytest.approx(1000 * float(first), rel=0.01)
        assert float(first) == pytest.approx(8 * self.count(words[0])[0] / 1e9, rel=1e-3)

    def test_saved_bytes__are_those_that_the_backward_pass_waits_for(self):
        from benchmarks.objective_steps import saved_bytes
        from benchmarks.step import Step, make_optimizer

        class Exponential(Objective):
            def __init__(self):
                super().__init__()
                self.weight = nn.Parameter(torch.ones(1))

            def forward(self, spectrogram, mask):
                return Losses({"sum": (self.weight * spectrogram).exp().sum()}, 1)

        objective = Exponential()
        batch = (torch.randn(1, 1, 5, 7), torch.tensor([[True, False]]))
        step = Step(objective, make_optimizer(objective), batch, "fp32")
        # The result of exp, the terms as they are stacked; weight and input are there anyway.
        assert 4 * 5 * 7 <= saved_bytes(step) <= 4 * 5 * 7 + 16
