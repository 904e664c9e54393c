"""The registered pre-training model: checkpoints, the teacher's count of updates, the collapse monitor, legacy keys."""

import copy

import pytest
import torch
from omegaconf import OmegaConf

from ASDA.fairseq_plugin.models.objective_model import CollapseError

from .conftest import TINY, build


def step(model, spectrograms, masks, num_updates: int) -> None:
    """One plain gradient step, with the calls that fairseq's trainer and the task make around it."""
    model.train()
    model.set_num_updates(num_updates)
    result = model(spectrograms, precomputed_mask=masks)
    (sum(result["losses"].values()) / result["sample_size"]).backward()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter -= 0.1 * parameter.grad
                parameter.grad = None
    model.set_num_updates(num_updates + 1)


def teacher_of(model) -> dict:
    return {name: tensor.clone() for name, tensor in model.teacher.encoder.state_dict().items()}


def equal(first: dict, second: dict) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[n], second[n]) for n in first)


def test_pretraining_model__state_dict_carries_the_published_names(tiny_pretraining_model):
    state = tiny_pretraining_model.state_dict()
    assert state["modality_encoders.IMAGE.extra_tokens"].shape == (1, 1, 32)
    assert state["modality_encoders.IMAGE.decoder.blocks.5.0.weight"].shape == (32, 8, 3, 3)
    assert state["blocks.1.attn.qk.weight"].shape == (128, 32)
    assert set(state["_ema"]) == {n for n in state if not n.startswith("_ema") and ".decoder." not in n}
    assert not [n for n in state if n.startswith(("objective", "student", "decoder"))]
    named = dict(tiny_pretraining_model.named_parameters())
    assert set(named) == {n for n in state if not n.startswith("_ema") and not n.endswith(".positions")}


def test_pretraining_model__round_trip_is_exact(tiny_pretraining_model, spectrograms, masks):
    step(tiny_pretraining_model, spectrograms, masks, 0)
    state = copy.deepcopy(tiny_pretraining_model.state_dict())
    torch.manual_seed(5)
    other = build("asda", TINY)
    other.set_num_updates(1)
    other.load_state_dict(state)
    assert equal(teacher_of(other), teacher_of(tiny_pretraining_model))
    restored = other.state_dict()
    assert all(torch.equal(restored[n], state[n]) for n in state if n != "_ema")
    assert other.teacher.num_updates == 1


def test_set_num_updates__each_update_moves_the_teacher_once(tiny_pretraining_model, spectrograms, masks):
    model = tiny_pretraining_model
    before = teacher_of(model)
    step(model, spectrograms, masks, 0)
    after = teacher_of(model)
    assert not equal(before, after)
    decay = model.teacher.decay(1)
    for name, parameter in model.encoder.named_parameters():
        expected = decay * before[name].double() + (1 - decay) * parameter.detach().double()
        torch.testing.assert_close(after[name].double(), expected, rtol=0, atol=2.5e-7)
    model.set_num_updates(1)
    assert equal(teacher_of(model), after)


def test_set_num_updates__own_checkpoint_is_resumed_without_a_step(tiny_pretraining_model, spectrograms, masks):
    model = tiny_pretraining_model
    for n in range(3):
        step(model, spectrograms, masks, n)
    state = copy.deepcopy(model.state_dict())
    resumed = build("asda", TINY)
    resumed.set_num_updates(3)  # fairseq says so before it loads
    resumed.load_state_dict(state)
    resumed.set_num_updates(3)
    assert equal(teacher_of(resumed), teacher_of(model))
    torch.manual_seed(9)
    step(model, spectrograms, masks, 3)
    torch.manual_seed(9)
    step(resumed, spectrograms, masks, 3)
    assert equal(teacher_of(resumed), teacher_of(model))


def test_set_num_updates__published_checkpoint_gets_the_step_that_is_due(tiny_pretraining_model, spectrograms, masks):
    model = tiny_pretraining_model
    step(model, spectrograms, masks, 0)
    behind = teacher_of(model)
    step(model, spectrograms, masks, 1)
    state = copy.deepcopy(model.state_dict())
    # A published file is written before the teacher's step of its last update, and does not count the steps.
    state["_ema"] = {n: t for n, t in zip(state["_ema"], behind.values(), strict=True)}
    del state["_ema_num_updates"]
    resumed = build("asda", TINY)
    resumed.set_num_updates(2)
    resumed.load_state_dict(state)
    resumed.train()
    resumed.set_num_updates(2)  # start of the first step after loading
    assert equal(teacher_of(resumed), teacher_of(model))


def test_set_num_updates__counter_that_starts_again_does_not_stop_the_teacher(
    tiny_pretraining_model, spectrograms, masks
):
    model = tiny_pretraining_model
    state = copy.deepcopy(model.state_dict())
    state["_ema_num_updates"] = torch.tensor(1000)
    model.set_num_updates(1000)
    model.load_state_dict(state)
    before = teacher_of(model)
    step(model, spectrograms, masks, 0)  # checkpoint.reset_optimizer=true: fairseq counts from 0 again
    assert not equal(teacher_of(model), before)


def test_forward__reports_the_losses_and_the_statistics(tiny_pretraining_model, spectrograms, masks):
    result = tiny_pretraining_model(spectrograms, precomputed_mask=masks)
    assert result["sample_size"] == 6 * 6
    assert result["masked_pct"] == pytest.approx(0.75)
    assert set(result["losses"]) == {"cls", "IMAGE_regression"}
    assert result["ema_decay"] == pytest.approx(999.8)
    assert 0 < result["pred_var"] < 10 and 0 < result["target_var"] < 10


def test_forward__draws_masks_of_its_own_when_none_are_given(tiny_pretraining_model, spectrograms):
    result = tiny_pretraining_model(spectrograms)
    assert result["sample_size"] == 2 * 3 * (8 - 1)  # int(8 * 0.2) = 1 kept


def test_forward__loss_keys_weigh_the_losses(spectrograms, masks):
    losses = []
    for alpha, frame in ((0.5, 1.0), (1.0, 2.0), (0.0, 0.0)):
        torch.manual_seed(0)
        model = build("asda", {**TINY, "cls_loss": alpha, "d2v_loss": frame})
        torch.manual_seed(1)
        losses.append(model(spectrograms, precomputed_mask=masks)["losses"])
    for name in ("cls", "IMAGE_regression"):
        assert float(losses[1][name]) == pytest.approx(2 * float(losses[0][name]), rel=1e-6)
        assert float(losses[2][name]) == 0.0


@pytest.mark.parametrize("floor", ["min_pred_var", "min_target_var"])
def test_collapse_monitor__stops_after_the_given_update(spectrograms, masks, floor):
    model = build("asda", {**TINY, floor: 100.0, "collapse_after_updates": 2}).train()
    result = model(spectrograms, precomputed_mask=masks)
    statistics = {name: float(result[name]) for name in ("pred_var", "target_var")}
    for n in (0, 1):
        model.set_num_updates(n)
        model.check_floors(statistics)
    model.set_num_updates(2)
    with pytest.raises(CollapseError, match=rf"{floor.removeprefix('min_')} is .* at update 2.*model.{floor}=100.0"):
        model.check_floors(statistics)
    model.eval()
    model.check_floors(statistics)


@pytest.mark.long
def test_autocast__bf16_trains_close_to_float32(spectrograms, masks):
    def loss_of(autocast):
        torch.manual_seed(0)
        model = build("asda", {**TINY, "autocast": autocast})
        torch.manual_seed(1)
        result = model(spectrograms, precomputed_mask=masks)
        total = sum(result["losses"].values())
        total.backward()
        assert all(p.dtype == torch.float32 for p in model.parameters())
        return float(total)

    assert loss_of("bf16") == pytest.approx(loss_of("none"), rel=2e-2)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"layerdrop": 0.1}, r"model.layerdrop=0.1 is not implemented here; only model.layerdrop=0.0"),
        ({"modalities": {"image": {"mask_dropout": 0.2}}}, r"model.modalities.image.mask_dropout=0.2"),
        ({"modalities": {"image": {"decoder": {"projection_layers": 2}}}}, r"image.decoder.projection_layers=2"),
        ({"modalities": {"image": {"embed_dim": 64}}}, r"image.embed_dim \(64\) must equal model.embed_dim \(32\)"),
        ({"num_heads": 5}, r"num_heads: expected a divisor of embed_dim \(32\), found 5"),
        ({"average_top_k_layers": 3}, r"average_top_k_layers \(3\) must be between 1 and depth \(2\)"),
    ],
)
def test_config__what_is_not_implemented_is_refused_by_name(overrides, message):
    merged = OmegaConf.to_container(OmegaConf.merge(TINY, overrides))
    with pytest.raises(ValueError, match=message):
        build("asda", merged).reject_unsupported()  # the task asks a run's model for it, not that of a checkpoint


def test_no_decay_group__holds_biases_and_vectors(tiny_pretraining_model):
    groups = {n: getattr(p, "param_group", "default") for n, p in tiny_pretraining_model.named_parameters()}
    assert groups["blocks.0.attn.qk.bias"] == groups["blocks.0.norm1.weight"] == "no_decay"
    assert groups["blocks.0.attn.qk.weight"] == groups["modality_encoders.IMAGE.extra_tokens"] == "default"


def test_legacy_name__attention_follows_the_tensors(spectrograms):
    plain = build("asda", {**TINY, "attention": "plain", "mlp_ratio": 4.0})
    differential = build("asda", {**TINY, "diff_lambda": 0.1})
    for source in (plain, differential):
        model = build("data2vec_multi", TINY)  # records neither attention nor the real MLP width
        model.load_state_dict(copy.deepcopy(source.state_dict()))
        features = model.extract_features(spectrograms)["x"]
        torch.testing.assert_close(features, source.extract_features(spectrograms)["x"], rtol=0, atol=0)


def test_extract_features__as_eat_programs_call_it(tiny_pretraining_model, spectrograms):
    model = tiny_pretraining_model.eval()
    with_cls = model.extract_features(spectrograms, padding_mask=None, mask=False, remove_extra_tokens=False)["x"]
    without = model.extract_features(spectrograms, padding_mask=None, mask=False, remove_extra_tokens=True)["x"]
    assert with_cls.shape == (2, 9, 32)
    torch.testing.assert_close(with_cls[:, 1:], without, rtol=0, atol=0)
    with pytest.raises(ValueError, match="mask=True"):
        model.extract_features(spectrograms, mask=True)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"attention": "plain"}, r"model.attention=differential, the checkpoint has plain"),
        ({"mlp_ratio": 2.0}, r"model.mlp_ratio=\S+, the checkpoint has 2.0"),
        ({"depth": 3}, r"model.depth=2, the checkpoint has 3"),
    ],
)
def test_loading__never_replaces_parameters(source, message, tiny_pretraining_model):
    before = {name: (id(p), p.detach().clone()) for name, p in tiny_pretraining_model.named_parameters()}
    with pytest.raises(ValueError, match=message):
        tiny_pretraining_model.load_state_dict(build("asda", {**TINY, **source}).state_dict())
    after = dict(tiny_pretraining_model.named_parameters())
    assert after.keys() == before.keys()
    assert all(id(p) == before[name][0] and torch.equal(p, before[name][1]) for name, p in after.items())


def test_encoder_key__says_what_the_other_keys_cannot(spectrograms, masks):
    settings = {"stack": {"norm": "pre", "norm_first": False, "norm_last": True}, "num_prefix_tokens": 2}
    model = build("asda", {**TINY, "encoder": settings})
    config = model.encoder.config
    assert (config.stack.norm, config.stack.norm_last, config.num_prefix_tokens) == ("pre", True, 2)
    assert config.stack.embed_dim == TINY["embed_dim"]
    step(model, spectrograms, masks, 0)
    torch.manual_seed(5)
    again = build("asda", {**TINY, "encoder": OmegaConf.to_container(model.cfg.encoder)})  # as a checkpoint records it
    assert again.encoder.config == config
    with pytest.raises(ValueError, match="stack.norms: unknown"):
        build("asda", {**TINY, "encoder": {"stack": {"norms": "pre"}}})


KINDS = {
    "lambda of each layer": {"diff_lambda": [0.1, 0.6]},
    "learned lambda of each layer": {"lambda_mode": "learned", "lambda_init": [0.1, 0.6], "out_scale": None},
    "lambda of each token": {"attention": "differential_v2", "lambda_init": 0.3},
}


@pytest.mark.parametrize("autocast", ["none", pytest.param("bf16", marks=pytest.mark.long)])
@pytest.mark.parametrize("kind", KINDS)
def test_attention_keys__are_trained_recorded_and_built_again(kind, autocast, spectrograms, masks):
    model = build("asda", {**TINY, **KINDS[kind], "autocast": autocast})
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    for update in range(2):
        step(model, spectrograms, masks, update)
    still = [name for name, p in model.named_parameters() if torch.equal(p, before[name])]
    assert still == []
    state = copy.deepcopy(model.state_dict())
    assert all(torch.isfinite(tensor).all() for name, tensor in state.items() if torch.is_tensor(tensor))
    recorded = OmegaConf.to_container(model.cfg.encoder)
    again = build("asda", {**TINY, "encoder": recorded})  # as a checkpoint records it
    again.load_state_dict(state)
    assert again.encoder.config == model.encoder.config
    features = [m.eval().extract_features(spectrograms)["x"] for m in (model, again)]
    assert torch.equal(*features)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"diff_lambda": [0.1, 0.2, 0.3]},
            "attention.diff_lambda: expected one number, or one for each of the 2 layers",
        ),
        ({"diff_lambda": 1.5}, "stack.attention.diff_lambda: expected a number from 0 to 1, or a list .* found 1.5"),
        ({"diff_lambda": "high"}, "stack.attention.diff_lambda: expected a number from 0 to 1, .* found 'high'"),
        ({"diff_lambda": None}, "stack.attention.diff_lambda: expected a number from 0 to 1, .* found None"),
        ({"attention": "differential_v2", "lambda_init": 0}, "lambda_init: expected a number between 0 and 1"),
        (
            {"attention": "differential_v2", "lambda_mode": "learned"},
            "lambda_mode: expected fixed with attention=differential_v2, found learned",
        ),
        ({"attention": "differential_v2", "num_heads": 5}, "num_heads: expected a divisor of embed_dim"),
    ],
)
def test_attention_keys__what_cannot_be_is_refused_in_one_line(settings, said):
    with pytest.raises(ValueError, match=said) as caught:
        build("asda", {**TINY, **settings})
    assert "\n" not in str(caught.value)


def test_loading__another_kind_of_attention_is_refused(tiny_pretraining_model):
    other = build("asda", {**TINY, "attention": "differential_v2"})
    with pytest.raises(ValueError, match="model.attention=differential, the checkpoint has differential_v2"):
        tiny_pretraining_model.load_state_dict(other.state_dict())
    with pytest.raises(ValueError, match="model.attention=differential_v2, the checkpoint has differential"):
        other.load_state_dict(tiny_pretraining_model.state_dict())
