"""The estimate of memory, held against the network's own numbers and against what its backward pass keeps."""

from dataclasses import replace

import pytest
import torch

from ASDA.core.config import DifferentialV2, Plain
from ASDA.core.encoder import SpectrogramEncoder
from ASDA.core.zoo import ASDA
from ASDA.launch.arguments import Arguments
from ASDA.launch.memory import BF16_AUTOCAST, FLOAT32, HALF, Machine, Workload, clip_bytes, peak_bytes, weight_bytes
from ASDA.launch.recipe import Recipe, find_config
from ASDA.launch.settings import LaunchError
from ASDA.launch.workload import workload_of
from ASDA.masks.inverse_block import InverseBlockMask
from ASDA.objectives.conv_decoder import ConvDecoder2d
from ASDA.objectives.self_distillation import SelfDistillation
from benchmarks import measuring

CPU, GPU = Machine("cpu", FLOAT32), Machine("cuda", FLOAT32)


def work(*words: str) -> Workload:
    return workload_of(Recipe(find_config("pretraining_AS2M"), Arguments.parse(list(words))), None)


def objective(of: Workload) -> SelfDistillation:
    """The network that a workload is the numbers of."""
    stack = replace(
        ASDA.stack,
        embed_dim=of.width,
        depth=of.depth,
        num_heads=of.num_heads,
        mlp_ratio=of.mlp_width / of.width,
        attention=DifferentialV2() if of.shares_keys else Plain() if of.maps == 1 else ASDA.stack.attention,
    )
    encoder = SpectrogramEncoder(replace(ASDA, stack=stack))
    decoder = ConvDecoder2d(of.width, decoder_dim=of.decoder.width, num_layers=of.decoder.layers)
    return SelfDistillation(encoder, decoder, average_top_k_layers=of.depth)


def saved_bytes(of: Workload, frames: int, precision: str) -> int:
    """What the backward pass of one clip keeps, parameters left out: each storage once."""
    learner = objective(of)
    mask = InverseBlockMask((frames // 16, 8), of.sequences)(torch.Generator().manual_seed(0))

    def forward():
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == BF16_AUTOCAST):
            losses = learner(torch.randn(1, 1, frames, 128), mask)
        assert losses.total.requires_grad

    return measuring.saved_bytes(forward, learner.parameters())


@pytest.mark.parametrize(
    "words",
    [[f"+size={size}"] for size in ("tiny", "small", "base", "large")] + [["EAT", "tiny"], ["differential_v2", "tiny"]],
)
def test_workload__has_the_networks_parameters(words):
    of = work(*words)
    with torch.device("meta"):
        learner = objective(of)
    assert of.encoder_parameters == sum(p.numel() for p in learner.encoder.parameters())
    assert of.parameters == sum(p.numel() for p in learner.parameters())


def test_workload__has_the_tokens_of_the_masks():
    of = work("model.clone_batch=3", "task.target_length=512", "model.modalities.image.mask_prob=0.7")
    mask = InverseBlockMask((32, 8), 3, mask_ratio=0.7)
    assert (of.patches, of.sequences, of.tokens) == (mask.num_patches, 3, 1 + mask.num_marked)
    shown = work("model.modalities.image.inverse_mask=false", "task.target_length=512")
    assert shown.tokens == 1 + 256 - InverseBlockMask((32, 8), inverse=False).num_marked


def test_workload__settings_of_the_encoder_have_the_last_word():
    of = work(
        "+model.encoder.stack.depth=3",
        "+model.encoder.stack.attention.kind=plain",
        "+model.encoder.patches.size=[16,128]",
    )
    assert (of.depth, of.maps, of.patches, of.patch_values) == (3, 1, 64, 2048)


def test_workload__a_value_that_is_no_number_is_named():
    with pytest.raises(LaunchError, match="model.depth=deep: it has to be a number"):
        work("model.depth=deep")


@pytest.mark.parametrize("precision", [FLOAT32, BF16_AUTOCAST])
@pytest.mark.parametrize("words", [[], ["EAT"], ["differential_v2"]], ids=["differential", "plain", "differential_v2"])
def test_clip__is_what_the_backward_pass_keeps_and_some(words, precision):
    """Beyond that a backward pass makes tensors of its own: not less than is kept, and not half as much again."""
    torch.manual_seed(0)
    of = work(*words, "+size=small", "model.depth=4", "task.target_length=256", "model.clone_batch=8")
    kept = saved_bytes(of, 256, precision)
    if precision == BF16_AUTOCAST:  # the weights as the linear maps see them, which count as weights
        kept -= 2 * of.parameters
    assert kept <= clip_bytes(of, Machine("cpu", precision)) <= 1.5 * kept


def test_peak__grows_with_all_that_takes_memory():
    of, least = work("+size=small"), peak_bytes(work("+size=small"), CPU, 2)
    larger = [
        peak_bytes(of, CPU, 3),
        peak_bytes(replace(of, sequences=17), CPU, 2),
        peak_bytes(replace(of, depth=13), CPU, 2),
        peak_bytes(replace(of, tokens=of.tokens + 8), CPU, 2),
        peak_bytes(replace(of, decoder=replace(of.decoder, layers=7)), CPU, 2),
        peak_bytes(of, replace(CPU, workers=2), 2),
        peak_bytes(of, replace(CPU, several=True), 2),
    ]
    assert min(larger) > least
    assert peak_bytes(replace(of, recomputes=True), CPU, 2) < least
    assert peak_bytes(of, replace(CPU, precision=BF16_AUTOCAST), 2) < least
    assert peak_bytes(of, replace(GPU, precision=BF16_AUTOCAST), 2) < peak_bytes(of, GPU, 2)


def test_peak__workers_are_in_the_memory_of_the_machine_not_of_the_gpu():
    of = work("+size=small")
    assert peak_bytes(of, replace(GPU, workers=6), 2) == peak_bytes(of, GPU, 2)


def test_weights__masters_are_beside_half_ones():
    of = work()
    assert weight_bytes(of, replace(CPU, precision=HALF)) - weight_bytes(of, CPU) == 4 * of.parameters


# Measured (benchmarks/results/memory.md): peak of the process in GB, with one worker beside it.
MEASURED = [
    (["demo_pretraining"], FLOAT32, 8, 1.10),
    (["+size=small"], FLOAT32, 2, 3.69),
    (["model.depth=6", "model.clone_batch=8"], FLOAT32, 1, 2.56),
    (["model.depth=3", "model.clone_batch=4"], BF16_AUTOCAST, 1, 1.61),
]


@pytest.mark.parametrize(("words", "precision", "clips", "gigabytes"), MEASURED)
def test_peak__is_within_a_quarter_of_what_was_measured(words, precision, clips, gigabytes):
    estimate = peak_bytes(work(*words), Machine("cpu", precision), clips) / 1e9
    assert 0.95 * gigabytes <= estimate <= 1.25 * gigabytes


@pytest.mark.parametrize("config", ["pretraining_MAE_AST", "pretraining_SSAST"])
@pytest.mark.parametrize("size", ["tiny", "small", "base", "large"])
def test_workload__of_the_other_objectives_has_their_networks_parameters(config, size):
    pytest.importorskip("fairseq", reason="the registered models are fairseq's")
    from ASDA.fairseq_plugin.describing import describe_run

    recipe = Recipe(find_config(config), Arguments.parse([f"+size={size}"]))
    network = describe_run(recipe.config)[1]
    of = workload_of(recipe, None)
    trained = sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
    assert 0.8 * trained < of.parameters < 1.02 * trained  # without SSAST's heads and learned positions
    assert not of.teacher and peak_bytes(of, CPU, 2) > peak_bytes(of, CPU, 1)


def test_workload__a_decoder_of_all_patches_costs_what_it_sees():
    recipe = Recipe(find_config("pretraining_MAE_AST"), Arguments.parse(["+size=small"]))
    of = workload_of(recipe, None)
    assert of.tokens < of.patches / 3  # the encoder sees a quarter
    deeper = replace(of, decoder=replace(of.decoder, layers=4))
    block = clip_bytes(deeper, CPU) - clip_bytes(of, CPU)
    assert block > clip_bytes(replace(of, depth=of.depth + 2), CPU) - clip_bytes(of, CPU)
