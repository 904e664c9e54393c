"""What a fine-tuning trains, and what its memory is by that: held against the network and what its backward keeps."""

import re
from dataclasses import replace

import pytest
import torch

pytest.importorskip("peft", reason="LoRA is peft's")

from ASDA.adaptation.adapting import adapt
from ASDA.adaptation.keys import methods_of_keys
from ASDA.audio.front_end import FrontEnd
from ASDA.core import zoo
from ASDA.core.encoder import SpectrogramEncoder
from ASDA.launch.adapting import trained_of
from ASDA.launch.arguments import Arguments
from ASDA.launch.memory import BF16_AUTOCAST, FLOAT32, HALF, Machine, clip_bytes, peak_bytes, weight_bytes
from ASDA.launch.recipe import Recipe, find_config
from ASDA.launch.settings import LaunchError
from ASDA.launch.starting_point import StartingPoint
from ASDA.launch.workload import workload_of
from benchmarks import measuring
from tests.vit_files import ssast_tensors

from .conftest import plan

CPU = Machine("cpu", FLOAT32)
METHODS = {
    "all": ["model.adaptation=[all]"],
    "last_blocks": ["model.adaptation=[last_blocks]", "model.trained_blocks=2"],
    "aat": ["model.adaptation=[aat]"],
    "lora": ["model.adaptation=[lora]"],
    "prompts": ["model.adaptation=[prompts]"],
    "prompts without a gate": ["model.adaptation=[prompts]", "model.prompt_gated=false"],
    "head": ["model.adaptation=[head]"],
    "aat and last_blocks": ["model.adaptation=[aat,last_blocks]", "model.trained_blocks=1"],
}


def recipe(*words: str) -> Recipe:
    return Recipe(find_config("finetuning"), Arguments.parse(list(words)))


def work(config, *words: str):
    start = StartingPoint(None, config, FrontEnd(), True)
    return workload_of(recipe("task.target_length=256", *words), start)


@pytest.mark.parametrize("config", [zoo.ASDA, zoo.AST], ids=["ASDA", "AST"])
def test_trained__counts_at_base_size(config):
    total = sum(p.numel() for p in on_meta(config).parameters())
    aat = trained_of(recipe("model.adaptation=[aat]"), config)
    assert (aat.parameters, aat.frozen, aat.blocks) == (7_100_928, total, 12)
    assert trained_of(recipe("model.adaptation=[aat_m]"), config).parameters == 3_550_464
    head = trained_of(recipe("model.linear_classifier=true"), config)
    assert (head.parameters, head.frozen, head.blocks) == (0, total, 0)
    assert aat.passed == sum(p.numel() for p in on_meta(config).stack.blocks.parameters())
    last = trained_of(recipe("model.adaptation=[last_blocks]"), config)
    assert last.passed == 0
    assert last.blocks == 6 and last.parameters + last.frozen == total
    everything = trained_of(recipe("model.adaptation=[all]"), config)
    assert (everything.parameters, everything.frozen, everything.blocks) == (total, 0, 12)
    assert trained_of(recipe(), config) is None


def on_meta(config) -> SpectrogramEncoder:
    with torch.device("meta"):
        return SpectrogramEncoder(config)


def test_weights__frozen_ones_have_neither_gradients_nor_an_optimisers_state():
    whole, aat = work(zoo.AST), work(zoo.AST, "model.adaptation=[aat]")
    parameters, added = whole.encoder_parameters, 7_100_928
    frozen = aat.trained.frozen
    assert 0 <= frozen - parameters < 1e6  # the estimate of the encoder leaves out learned positions
    assert weight_bytes(whole, CPU) - weight_bytes(aat, CPU) == 16 * parameters - 16 * added - 4 * frozen
    assert weight_bytes(whole, CPU) - weight_bytes(aat, CPU) > 0.9e9
    several = replace(CPU, several=True)
    assert weight_bytes(aat, several) - weight_bytes(aat, CPU) == 4 * added
    assert weight_bytes(aat, Machine("cuda", HALF)) - weight_bytes(aat, CPU) == 4 * added
    head = work(zoo.AST, "model.adaptation=[head]")
    assert weight_bytes(head, CPU) < weight_bytes(whole, CPU) / 3


def test_peak__workers_hold_on_to_what_changes():
    machine = replace(CPU, workers=2)
    beside = {
        name: peak_bytes(of, machine, 1) - peak_bytes(of, CPU, 1)
        for name, of in {words: work(zoo.AST, f"model.adaptation=[{words}]") for words in ("all", "head")}.items()
    }
    assert beside["all"] - beside["head"] == 4 * work(zoo.AST, "model.adaptation=[all]").parameters


def saved_bytes(config, words: list[str], precision: str) -> int:
    """What the backward pass of a clip keeps, parameters left out, each storage once."""
    torch.manual_seed(0)
    encoder = SpectrogramEncoder(config)
    keys = {word.removeprefix("model.").partition("=")[0]: recipe(*words).get(word.partition("=")[0]) for word in words}
    adapt(encoder, methods_of_keys(keys))

    def forward():
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == BF16_AUTOCAST):
            return encoder.features(torch.randn(1, 1, 256, 128))

    return measuring.saved_bytes(forward, encoder.parameters())


@pytest.mark.parametrize("precision", [FLOAT32, BF16_AUTOCAST])
@pytest.mark.parametrize("system", ["ASDA", "AST"])
@pytest.mark.parametrize("method", METHODS)
def test_clip__is_what_the_backward_pass_keeps_and_some(method, system, precision):
    known = zoo.SYSTEMS[system]
    config = replace(known, stack=replace(known.stack, embed_dim=192, depth=4, num_heads=6))
    kept, of = saved_bytes(config, METHODS[method], precision), work(config, *METHODS[method])
    if precision == BF16_AUTOCAST:  # the weights as the linear maps see them, which count as weights
        kept -= 2 * (of.trained.parameters + of.trained.passed)
    block = clip_bytes(work(config, *METHODS["head"]), Machine("cpu", precision)) / 2
    assert kept <= clip_bytes(of, Machine("cpu", precision)) <= 1.5 * kept + 2 * block


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["model.adaptation=[aat,adapters]"], 'there is no method "adapters", there are aat'),
        (["model.adaptation=[last_blocks]", "model.trained_blocks=13"], "last_blocks: 13 blocks, but the encoder has"),
        (["model.adaptation=[lora]", "model.lora_targets=[qk]"], 'the target "qk" matches nothing'),
        (["model.adaptation=aat"], "expected a list such as [aat]"),
        (["model.adaptation=[aat]", "model.linear_classifier=true"], "set one of them"),
        (["model.adaptation=[aat]", "model.adapter_width=0"], "width is 0, expected a whole number of at least 1"),
    ],
)
def test_launch__a_method_that_does_not_fit_is_refused_before_the_start(words, says, tmp_path):
    torch.save(ssast_tensors(num_patches=512, depth=12), tmp_path / "ssast.pth")
    with pytest.raises(LaunchError, match=re.escape(says)) as refused:
        plan("finetuning", *words, CHECKPOINT=str(tmp_path / "ssast.pth"))
    assert "\n" not in str(refused.value)


def test_launch__a_setting_of_a_method_that_the_run_does_not_have_is_told():
    notes = plan("finetuning", "model.adaptation=[aat]", "model.adapter_width=64", "model.lora_rank=4").notes
    assert "model.lora_rank: without effect, as nothing of model.adaptation=[aat] has such a setting" in notes
    assert not any("without effect" in note for note in plan("finetuning", "model.adaptation=[lora]").notes)
    with pytest.raises(LaunchError, match=re.escape("model.lora_rank: model.adaptation=[] trains everything")):
        plan("finetuning", "model.lora_rank=4")
