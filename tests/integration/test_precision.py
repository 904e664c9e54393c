"""Each precision trains the tiny model to a loss near that of float32, and what has to stay float32 does."""

import numpy as np
import pytest
import torch

from .training_runs import Run, write_clips

pytestmark = pytest.mark.slow
UPDATES = ("optimization.max_update=30",)
# What learns in so few updates.
FASTER = {
    "pretraining_AS2M": (),
    "pretraining_MAE_AST": ("optimization.lr=[0.003]",),
    "pretraining_SSAST": ("optimization.lr=[0.001]",),
}
KEEPS_NOTHING = ("pretraining_SSAST",)  # no teacher, no statistics of the input
TOLERANCE = 0.02  # of the last five losses, which have fallen to about half by then


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    return write_clips(tmp_path_factory.mktemp("clips"))


@pytest.fixture(scope="module")
def fp32(clips, pretraining, tmp_path_factory):
    return Run(tmp_path_factory.mktemp("fp32"), clips, *UPDATES, *FASTER[pretraining], config=pretraining).finish()


def last_loss(run) -> float:
    return float(np.mean([float(line["loss"]) for line in run.log()[-5:]]))


def test_fp32__learns(fp32):
    assert last_loss(fp32) < 0.75 * float(fp32.log()[0]["loss"])


@pytest.mark.parametrize(
    "mode",
    [
        ("common.bf16=true",),
        pytest.param(("model.autocast=bf16",), marks=pytest.mark.long),
        # The losses are sums, so that a larger scale overflows.
        pytest.param(("common.fp16=true", "common.fp16_init_scale=1"), marks=pytest.mark.long),
    ],
    ids=["bf16", "autocast", "fp16"],
)
def test_precision__trains_to_a_loss_near_float32s(fp32, clips, pretraining, tmp_path, mode):
    run = Run(tmp_path, clips, *UPDATES, *FASTER[pretraining], *mode, config=pretraining).finish()
    assert last_loss(run) == pytest.approx(last_loss(fp32), rel=TOLERANCE)
    assert [line["loss"] for line in run.log()] != [line["loss"] for line in fp32.log()]  # the mode is really on
    assert float(run.log()[-1]["skipped_updates"]) == 0
    saved = run.checkpoint()["model"]
    kept = saved.get("_ema") or {n: t for n, t in saved.items() if n.startswith("batch_norm.running")}
    assert pretraining in KEEPS_NOTHING or kept
    assert all(tensor.dtype == torch.float32 for tensor in kept.values())
    # More bits than a half-precision weight has: what is kept was not rounded on its way.
    rounded = [torch.equal(tensor, tensor.to(torch.bfloat16).float()) for tensor in kept.values()]
    assert not kept or not all(rounded)


@pytest.mark.long
def test_fp16__on_the_cpu_outlives_an_overflow_of_its_loss_scale(clips, tmp_path):
    """fairseq's own way of leaving such an update out needs a GPU."""
    run = Run(tmp_path, clips, *UPDATES, "common.fp16=true", "common.fp16_init_scale=128").finish()
    skipped = [float(line["skipped_updates"]) for line in run.log()]
    assert 0 < sum(skipped) < 10 and skipped[-1] == 0
    scales = [float(line["loss_scale"]) for line in run.log()]
    assert scales[-1] == 128 / 2 ** sum(skipped)
    assert last_loss(run) < 0.85 * float(run.log()[int(sum(skipped))]["loss"])


@pytest.mark.parametrize(
    "mode, advice",
    [
        ("common.amp=true", "model.autocast=bf16"),
        ("common.memory_efficient_bf16=true", "common.bf16=true"),
        ("common.memory_efficient_fp16=true", "common.fp16=true"),
    ],
)
def test_precision__that_cannot_work_is_refused_with_one_that_does(clips, tmp_path, mode, advice):
    run = Run(tmp_path, clips, mode).start()
    assert run.wait() == 1
    assert f"{mode.partition('=')[0]} " in run.text and advice in run.text
