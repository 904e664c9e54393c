"""Methods of adaptation on every kind of encoder: unchanged at the start, frozen means still, counts, refusals."""

import json
from dataclasses import replace

import pytest
import torch

pytest.importorskip("peft", reason="LoRA is peft's")

from ASDA.adaptation.adapting import (
    METHODS,
    adapt,
    fold,
    from_dicts,
    is_added,
    load_tensors,
    methods_named,
    split_added,
    to_dicts,
)
from ASDA.adaptation.bottlenecks import MlpAdapters, SpatialAdapters
from ASDA.adaptation.keys import keys_of_methods, methods_of_keys, unused_keys
from ASDA.adaptation.lora import Lora
from ASDA.adaptation.method import AdaptationError
from ASDA.adaptation.partial import Everything, HeadOnly, LastBlocks
from ASDA.adaptation.prompts import DeepPrompts
from ASDA.core import zoo
from ASDA.core.classifier import SpectrogramClassifier
from ASDA.core.config import DifferentialV2, HeadConfig, Regularisation
from ASDA.core.encoder import SpectrogramEncoder
from ASDA.objectives.classification import Classification

ALL = [MlpAdapters(), SpatialAdapters(), Lora(rank=4, targets=("q", "v", "output", "mlp")), DeepPrompts(3)]
SETS = {
    "aat_m": ALL[:1],
    "aat": ALL[:2],
    "lora": [Lora(rank=4)],
    "lora of q and v": [Lora(rank=4, dropout=0.5, targets=("q", "v"))],
    "prompts": [DeepPrompts(3)],
    "last_blocks": [LastBlocks(1)],
    "head": [HeadOnly()],
    "all": [Everything()],
    "lora and last_blocks": [Lora(rank=4), LastBlocks(1)],
    "last_blocks and lora": [LastBlocks(1), Lora(rank=4)],
    "added together": ALL,
}
DROPOUTS = Regularisation(
    attention_dropout=0.5,
    projection_dropout=0.5,
    activation_dropout=0.5,
    mlp_dropout=0.5,
    patch_dropout=0.5,
    input_dropout=0.5,
    drop_path=(0.5, 0.5),
    layerdrop=0.5,
)


def tiny(config, regularisation=None):
    """A known system with D = 32, 2 layers and 16 mel bins in a patch of its own kind."""
    torch.manual_seed(0)
    stack = replace(config.stack, embed_dim=32, depth=2, num_heads=4)
    bins = max(32, config.patches.size[1])
    encoder = SpectrogramEncoder(
        replace(config, stack=stack, num_mel_bins=bins, max_rows=min(config.max_rows, 64)), regularisation
    )
    return encoder


def sound(encoder):
    return torch.randn(2, 1, 64, encoder.config.num_mel_bins, generator=torch.Generator().manual_seed(1))


V2 = replace(zoo.ASDA, stack=replace(zoo.ASDA.stack, attention=DifferentialV2()))
SYSTEMS = {**zoo.SYSTEMS, "lambda of each token": V2}


@pytest.fixture(params=SYSTEMS.values(), ids=SYSTEMS.keys())
def system(request):
    return request.param


# All methods on the kinds of attention and of blocks; what differs between other encoders is met by all at once.
CASES = [(system, methods) for system in ("ASDA", "AST") for methods in SETS]
CASES += [(system, methods) for system in SYSTEMS for methods in ("added together", "lora and last_blocks")]
CASES = list(dict.fromkeys(CASES))


@pytest.fixture(params=CASES, ids=" ".join)
def case(request):
    system, methods = request.param
    return SYSTEMS[system], SETS[methods]


def trained_classifier(config, methods, regularisation=DROPOUTS):
    encoder = tiny(config, regularisation)
    modules = adapt(encoder, methods)
    pooling = "cls" if config.num_prefix_tokens else "mean"
    return Classification(
        SpectrogramClassifier(encoder, HeadConfig(3, pooling)), independent_scores=False, trained_parts=modules
    )


def train(objective, source, steps=2):
    parameters = [p for p in objective.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=0.05, weight_decay=0.1)
    objective.train()
    for _ in range(steps):
        optimizer.zero_grad()
        objective(source, torch.eye(3)[:2]).total.backward()
        optimizer.step()
    return optimizer


def test_adapt__output_is_the_encoders_bit_for_bit_and_so_are_names(case):
    system, methods = case
    encoder = tiny(system).eval()
    source, before = sound(encoder), {n: t.clone() for n, t in encoder.state_dict().items()}
    padding = torch.zeros(2, encoder.grid(source).num_patches, dtype=torch.bool)
    padding[1, -2:] = True
    with torch.no_grad():
        expected, padded = encoder.features(source), encoder.features(source, padding)
        adapt(encoder, methods)
        assert torch.equal(encoder.eval().features(source), expected)
        assert torch.equal(encoder.features(source, padding), padded)
    own, added = split_added(encoder.state_dict())
    assert own.keys() == before.keys() and all(torch.equal(own[name], before[name]) for name in own)
    assert bool(added) == any(type(method) in map(type, ALL) for method in methods)


def test_training__moves_what_is_trained_and_not_a_bit_of_the_rest(case):
    system, methods = case
    objective = trained_classifier(system, methods, Regularisation())
    before = {name: p.detach().clone() for name, p in objective.named_parameters()}
    buffers = {name: b.clone() for name, b in objective.named_buffers()}
    torch.manual_seed(2)
    optimizer = train(objective, sound(objective.encoder))
    for name, parameter in objective.named_parameters():
        if parameter.requires_grad:
            assert parameter in optimizer.state, name
            assert not torch.equal(parameter, before[name]), name
        else:
            assert torch.equal(parameter, before[name]) and parameter.grad is None, name
    assert all(torch.equal(b, buffers[name]) for name, b in objective.named_buffers())
    assert len(optimizer.state) == sum(p.requires_grad for p in objective.parameters())


def test_training__dropout_of_what_is_frozen_does_nothing(system):
    objective = trained_classifier(system, ALL).train()
    source, target = sound(objective.encoder), torch.eye(3)[:2]
    losses = {objective(source, target).total.item() for _ in range(3)}
    assert losses == {objective.eval()(source, target).total.item()}
    assert objective.train().classifier.head.training and not objective.encoder.training


@pytest.mark.parametrize("methods", [[LastBlocks(1)], [Lora(dropout=0.9)], [Everything()]], ids=lambda m: m[0].kind)
def test_training__dropout_of_what_is_trained_acts(methods):
    objective = trained_classifier(zoo.EAT, methods)
    source, target = sound(objective.encoder), torch.eye(3)[:2]
    train(objective, source, steps=1)  # an update of LoRA is 0 before
    assert len({objective.train()(source, target).total.item() for _ in range(4)}) > 1
    if methods == [LastBlocks(1)]:
        assert [block.training for block in objective.encoder.stack.blocks] == [False, True]


def test_lora__rows_of_parts_that_are_no_target_stay_zero(system):
    objective = trained_classifier(system, [Lora(rank=4, targets=("k",))])
    torch.manual_seed(2)
    train(objective, sound(objective.encoder))
    state = objective.encoder.state_dict()
    fused = {"differential": "qk", "differential_v2": "kv", "plain": "qkv"}[system.stack.attention.kind]
    rows = state[f"stack.blocks.0.attn.{fused}.lora_B.weight"].abs().sum(dim=1)
    D = objective.encoder.embed_dim
    share = {"qk": slice(2 * D, 4 * D), "kv": slice(D), "qkv": slice(D, 2 * D)}[fused]
    keys = torch.zeros_like(rows, dtype=torch.bool)
    keys[share] = True
    assert bool((rows[keys] > 0).all()) and not rows[~keys].any()


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        (("q", "v"), {"q", "kv"}),
        (("q", "k", "v", "output"), {"q", "kv", "proj"}),
        (("kv", "lambda_proj"), {"kv", "lambda_proj"}),
    ],
)
def test_lora__targets_where_queries_have_a_map_of_their_own(targets, expected):
    encoder = tiny(V2)
    adapt(encoder, [Lora(targets=targets)])
    assert {name.split(".")[4] for name in split_added(encoder.state_dict())[1]} == expected


@pytest.mark.parametrize("targets", [("qkv",), ("q", "k", "v"), ("mlp",), ("output", "fc1")])
def test_lora__targets_by_part_and_by_map(targets):
    encoder = tiny(zoo.EAT)
    adapt(encoder, [Lora(targets=targets)])
    maps = {name.split(".")[4] for name in split_added(encoder.state_dict())[1]}
    expected = {"qkv": {"qkv"}, "q": {"qkv"}, "mlp": {"fc1", "fc2"}, "output": {"proj", "fc1"}}
    assert maps == expected[targets[0]]


@pytest.mark.parametrize("config", [zoo.ASDA, zoo.AST, V2], ids=["ASDA", "AST", "lambda of each token"])
def test_fold__computes_lora_into_the_weights_and_leaves_adapters(config):
    objective = trained_classifier(config, ALL)
    torch.manual_seed(2)
    train(objective, sound(objective.encoder))
    adapted = objective.encoder.eval()
    own, added, rest = fold(*split_added(adapted.state_dict()), ALL)
    assert [method.kind for method in rest] == ["mlp_adapter", "spatial_adapter", "prompts"]
    whole = tiny(config).eval()
    adapt(whole, rest)
    load_tensors(whole, own, added)
    source = sound(adapted)
    with torch.no_grad():
        torch.testing.assert_close(whole.features(source), adapted.features(source), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("names", "blocks", "added"),
    [(["mlp_adapter"], 12, 3_550_464), (["spatial_adapter"], 1, 295_872), (["aat"], 12, 7_100_928)],
)
def test_adapt__counts_of_the_paper(names, blocks, added):
    config = replace(zoo.AST, stack=replace(zoo.AST.stack, depth=blocks))
    with torch.device("meta"):
        encoder = SpectrogramEncoder(config)
        adapt(encoder, methods_named(names, {}))
    assert sum(p.numel() for p in encoder.parameters() if p.requires_grad) == added


def test_prompts__at_full_weight_are_inserted_tokens():
    encoder = tiny(zoo.AST).eval()
    source = sound(encoder)
    adapt(encoder, [DeepPrompts(3, gated=False)])
    block = encoder.stack.blocks[0]
    with torch.no_grad():
        tokens = encoder.embed(source)[0]
        seen = torch.cat([block.prompts.tokens.expand(2, -1, -1), block.norm1(tokens)], dim=1)
        attended = block.attn(seen)[:, 3:]
        expected = tokens + attended
        expected = expected + block.mlp(block.norm2(expected))
        torch.testing.assert_close(block(tokens)[0], expected, rtol=0, atol=0)


def test_dicts_and_keys__round_trip():
    methods = tuple(ALL) + (LastBlocks(2),)
    assert from_dicts(json.loads(json.dumps(to_dicts(methods)))) == methods
    assert methods_of_keys(keys_of_methods(methods)) == methods
    assert methods_of_keys({"adaptation": ["aat"], "adapter_width": 7}) == (MlpAdapters(7), SpatialAdapters(7))
    assert methods_of_keys({"adaptation": []}) is None
    assert methods_of_keys({"linear_classifier": True}) == (HeadOnly(),)


@pytest.mark.parametrize("name", ["stack.blocks.0.beside_mlp.fc1.weight", "stack.blocks.11.attn.qkv.lora_A.weight"])
def test_is_added__by_name(name):
    assert is_added(name) and not is_added(name.replace("beside_mlp", "mlp").replace("lora_A.", ""))


def refusal(act) -> str:
    with pytest.raises(AdaptationError) as caught:
        act()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_refusals__name_what_there_is():
    message = refusal(lambda: methods_named(["adaptor"], {}))
    assert '"adaptor"' in message and all(kind in message for kind in ["aat", *METHODS])
    maps_of = ((zoo.EAT, "qkv, proj, fc1, fc2"), (zoo.ASDA, "qk, v, proj, fc1, fc2"))
    for config, maps in (*maps_of, (V2, "q, kv, lambda_proj, proj, fc1, fc2")):
        message = refusal(lambda config=config: adapt(tiny(config), [Lora(targets=("query",))]))
        assert '"query"' in message and maps in message
    assert "qkv" in refusal(lambda: adapt(tiny(zoo.ASDA), [Lora(targets=("qkv",))]))
    assert "no targets" in refusal(lambda: adapt(tiny(zoo.ASDA), [Lora(targets=())]))
    assert "3 blocks" in refusal(lambda: adapt(tiny(zoo.EAT), [LastBlocks(3)]))
    assert "twice" in refusal(lambda: methods_named(["aat", "mlp_adapter"], {}))
    assert "rank is 0" in refusal(lambda: Lora(rank=0))
    assert "dropout is 1.0" in refusal(lambda: Lora(dropout=1.0))
    assert "width is 0" in refusal(lambda: MlpAdapters(0))
    assert "linear_classifier" in refusal(lambda: methods_of_keys({"linear_classifier": True, "adaptation": ["aat"]}))
    assert "no setting 'size'" in refusal(lambda: from_dicts([{"kind": "lora", "size": 3}]))


@pytest.mark.parametrize("method", [MlpAdapters(), SpatialAdapters(), DeepPrompts()], ids=lambda method: method.kind)
def test_adapt__what_is_attached_and_perhaps_trained_is_not_replaced(method):
    encoder = tiny(zoo.ASDA)
    adapt(encoder, [method])
    with pytest.raises(AdaptationError, match=f"{method.kind}: block 0 has one already"):
        adapt(encoder, [method])


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"adaptation": ["lora"], "lora_alpha": "16"}, "lora: alpha is '16', expected a positive number"),
        ({"adaptation": ["lora"], "lora_alpha": float("inf")}, "lora: alpha is inf"),
        ({"adaptation": ["lora"], "lora_dropout": "0.1"}, "lora: dropout is '0.1', expected a number from 0"),
        ({"adaptation": ["lora"], "lora_targets": "qk"}, "lora: targets is 'qk', expected a list such as"),
        ({"adaptation": ["prompts"], "prompt_gated": "no"}, "prompts: gated is 'no', expected true or false"),
    ],
)
def test_keys__values_of_another_kind_are_refused(keys, says):
    with pytest.raises(AdaptationError) as refused:
        methods_of_keys(keys)
    assert str(refused.value).startswith(says)


def test_unused_keys__are_those_of_methods_that_are_not_named():
    given = ["lora_rank", "adapter_width", "trained_blocks"]
    assert unused_keys({"adaptation": ["aat"]}, given) == ["lora_rank", "trained_blocks"]
    assert unused_keys({"adaptation": ["lora", "last_blocks"]}, given) == ["adapter_width"]
    assert unused_keys({}, given) == given and unused_keys({"linear_classifier": True}, given) == given
