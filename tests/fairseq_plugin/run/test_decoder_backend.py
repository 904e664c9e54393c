"""Which way a run's decoder computes: what is asked for, or what a measurement finds faster, and that for good."""

import pytest

pytest.importorskip("fairseq", reason="the models are fairseq's")

from ASDA.fairseq_plugin.run.decoder_backend import decide_backend

from ..models.conftest import TINY, build

CLIPS, FRAMES = 3, 64


def model(backend, monkeypatch, **seconds):
    built = build("asda", {**TINY, "decoder_backend": backend})
    asked = []
    monkeypatch.setattr(built.objective.decoder, "measure", lambda rows, grid: asked.append((rows, grid)) or seconds)
    return built, asked


def used(built):
    return {block.backend for block in built.objective.decoder.blocks}


@pytest.mark.parametrize("backend", ["conv", "matmul"])
def test_decide__what_is_asked_for_is_not_measured(backend, monkeypatch):
    built, asked = model(backend, monkeypatch)
    assert decide_backend(built, None, CLIPS, FRAMES) is None
    assert used(built) == {backend} and not asked


@pytest.mark.parametrize(("conv", "matmul"), [(0.001, 0.002), (0.002, 0.001), (0.001, float("inf"))])
def test_decide__auto_takes_the_faster_one_and_says_it(conv, matmul, monkeypatch, caplog):
    built, asked = model("auto", monkeypatch, conv=conv, matmul=matmul)
    faster = "conv" if conv < matmul else "matmul"
    with caplog.at_level("INFO"):
        assert decide_backend(built, None, CLIPS, FRAMES) == faster
    assert used(built) == {faster}
    assert f"decoder: {faster}, by a layer forward and backward: conv {1e3 * conv:.3g} ms" in caplog.text
    assert asked == [(TINY["clone_batch"], (4, 2))]  # of one clip, on a CPU


def test_decide__a_run_that_goes_on_keeps_what_it_began_with(monkeypatch, caplog):
    built, asked = model("auto", monkeypatch, conv=0.001, matmul=0.002)
    with caplog.at_level("INFO"):
        assert decide_backend(built, "matmul", CLIPS, FRAMES) == "matmul"
    assert used(built) == {"matmul"} and not asked and "as when this run began" in caplog.text


def test_decide__really_measures(caplog):
    built = build("asda", {**TINY, "decoder_backend": "auto"})
    with caplog.at_level("INFO"):
        assert decide_backend(built, None, CLIPS, FRAMES) in ("conv", "matmul")
    assert "matmul" in caplog.text


def test_decide__models_without_a_choice_have_none():
    from ..models.test_no_waits import MAE_AST

    assert decide_backend(build("mae_ast", MAE_AST), None, CLIPS, FRAMES) is None
