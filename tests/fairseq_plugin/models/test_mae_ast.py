"""The registered model of MAE-AST: its files, its keys, its criterion."""

from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch
from fairseq import checkpoint_utils, utils
from fairseq.criterions import CRITERION_DATACLASS_REGISTRY, CRITERION_REGISTRY

import ASDA
from ASDA.cli.convert import main as convert
from ASDA.inference import read_checkpoint
from tests.mae_ast_files import KERNELS, oracle_features, released

from .conftest import build

TINY = {
    "encoder_layers": 2,
    "encoder_embed_dim": 32,
    "encoder_ffn_embed_dim": 64,
    "encoder_attention_heads": 4,
    "decoder_layers": 1,
    "decoder_embed_dim": 32,
    "max_token_length": 160,
}
NO_DROPOUT = dict.fromkeys(("dropout", "attention_dropout", "dropout_input", "encoder_layerdrop"), 0.0)


@pytest.fixture(autouse=True)
def user_dir():
    utils.import_user_module(Namespace(user_dir=str(Path(ASDA.__file__).parent)))


@pytest.fixture
def source():
    return 4.0 * torch.randn(2, 1, 64, 128, generator=torch.Generator().manual_seed(5)) - 6.0


@pytest.fixture
def mask():
    """(2, 32): a quarter is kept."""
    hidden = torch.ones(2, 32, dtype=torch.bool)
    return hidden.scatter_(1, torch.stack([torch.arange(8), 3 * torch.arange(8)]), False)


def counted(model):
    total = sum(p.numel() for p in model.parameters())
    return total, sum(p.numel() for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize(
    ("overrides", "total", "unused", "entries"),
    [
        ({}, 99_826_176, 1024, 243),
        ({"encoder_layers": 6}, 57_298_944, 1024, 147),
        ({"ast_kernel_size_time": 2, "ast_kernel_size_chan": 128}, 99_826_176, 1024, 243),
        ({"encoder_layers": 6, "layer_norm_first": True, "use_post_enc_proj": True}, 57_888_512, 0, None),
    ],
)
def test_parameters__are_the_published_ones(overrides, total, unused, entries):
    with torch.device("meta"):
        model = build("mae_ast", overrides)
    assert counted(model) == (total, total - unused)
    assert entries in (None, len(model.state_dict()))
    assert model.encoder.positions.shape[1] == 48_000


def load(path):
    (model,), cfg, task = checkpoint_utils.load_model_ensemble_and_task([str(path)])
    return model, cfg, task


@pytest.mark.parametrize("converted", [False, True])
@pytest.mark.parametrize("kind", KERNELS)
def test_released__through_fairseqs_own_loader(tmp_path, source, kind, converted):
    state = released(kind)
    history = {"optimizer_history": [{"lr_scheduler_state": {}}], "extra_state": {}}
    torch.save(state if converted else {**state, **history}, tmp_path / "released.pt")
    if converted:  # a file that holds the model and its config alone is none of fairseq's
        assert convert([str(tmp_path / "released.pt"), str(tmp_path / "c.pt"), "--to", "project"]) == 0
    model, cfg, task = load(tmp_path / ("c.pt" if converted else "released.pt"))
    assert (cfg.model._name, type(task).__name__) == ("mae_ast", "MaeAstPretrainingTask")
    with torch.no_grad():
        features = model.eval().extract_features(source)["x"]
    expected = np.stack([oracle_features(state, clip[0].double().numpy(), kind) for clip in source])
    np.testing.assert_allclose(features.numpy(), expected, atol=2e-5)
    saved = model.state_dict()
    assert saved.keys() == state["model"].keys()
    assert all(torch.equal(saved[name], tensor) for name, tensor in state["model"].items())


def test_load__position_tables_of_another_length():
    state = released(max_tokens=80)["model"]
    model = build("mae_ast", TINY)
    model.load_state_dict(state)
    longer = released(max_tokens=160)["model"]
    torch.testing.assert_close(model.state_dict()["enc_sine_pos_embed.pe"], longer["enc_sine_pos_embed.pe"])
    shorter = build("mae_ast", {**TINY, "max_token_length": 40})
    shorter.load_state_dict(state)
    assert torch.equal(shorter.encoder.positions, state["enc_sine_pos_embed.pe"][:, :40])


OTHER_ATTENTION = (
    {"kind": "differential"},
    {"kind": "differential", "diff_lambda": [0.1, 0.3]},
    {"kind": "differential_v2"},
)


@pytest.mark.parametrize(
    "encoder", [None, *({"stack": {"attention": kind}} for kind in OTHER_ATTENTION), {"num_prefix_tokens": 1}]
)
def test_state_dict__round_trip_of_what_mae_ast_does_not_have(source, mask, encoder):
    torch.manual_seed(0)
    model, other = (build("mae_ast", {**TINY, **NO_DROPOUT, "encoder": encoder}) for _ in range(2))
    if encoder == {"stack": {"attention": OTHER_ATTENTION[0]}}:
        assert model.encoder.config.stack.attention.diff_lambda == 0.3  # the kind's own constants
    other.load_state_dict(model.state_dict())
    one, two = (m(source, precomputed_mask=mask)["losses"] for m in (model, other))
    assert all(torch.equal(one[name], two[name]) for name in ("generative", "discriminative"))


def test_state_dict__is_read_by_what_is_trained_here(tmp_path, source):
    """What a run writes: the same encoder, whatever it has seen of the input's statistics."""
    model = build("mae_ast", TINY)
    for n in range(3):
        model.train()(source - n, precomputed_mask=torch.arange(32).expand(2, 32) >= 8)
    plain = {key: value for key, value in model.cfg.items() if not hasattr(value, "name")}
    plain["encoder"] = model.encoder.config.to_dict()
    torch.save({"model": model.state_dict(), "cfg": {"model": plain}}, tmp_path / "own.pt")
    front_end = read_checkpoint(tmp_path / "own.pt").front_end
    normalised = (source - front_end.norm_mean) / (2 * front_end.norm_std)
    model.eval()
    with torch.no_grad():
        torch.testing.assert_close(model.encoder.features(normalised), model.extract_features(source)["x"])


@pytest.mark.parametrize(
    ("key", "value", "accepted"),
    [
        ("activation_fn", "relu", "gelu"),
        ("enc_sine_pos", False, True),
        ("dec_conv_pos", True, False),
        ("mask_selection", "uniform", "static"),
        ("no_mask_overlap", True, False),
        ("feature_grad_mult", 0.1, 1.0),
    ],
)
def test_keys__of_what_is_not_implemented_are_refused_by_name(key, value, accepted):
    with pytest.raises(ValueError, match=rf"model.{key}={value} is not implemented here; only model.{key}={accepted}"):
        build("mae_ast", {**TINY, key: value}).reject_unsupported()


def test_keys__overlapping_patches_are_refused():
    with pytest.raises(ValueError, match=r"patches of \(16, 16\) .* with a stride of \(10, 16\) overlap"):
        build("mae_ast", {**TINY, "ast_kernel_stride_time": 10})


def test_keys__that_do_nothing_are_accepted(source, mask):
    model = build("mae_ast", {**TINY, "conv_pos": 3, "conv_pos_groups": 2, "mask_other": 1.0, "mask_min_space": 4})
    model.reject_unsupported()
    assert model(source, precomputed_mask=mask)["sample_size"] == 48


def test_forward__needs_masks(source):
    model = build("mae_ast", TINY)
    with pytest.raises(ValueError, match="pre-training needs masks"):
        model(source)
    assert model(source, features_only=True)["x"].shape == (2, 32, 32)


def test_forward__several_masks_per_clip(source, mask):
    result = build("mae_ast", TINY)(source, precomputed_mask=mask.repeat_interleave(3, dim=0))
    assert result["sample_size"] == 3 * 48 and result["masked_pct"] == 0.75
    stacked = build("mae_ast", TINY)(source, precomputed_mask=mask[:, None].expand(2, 3, 32))
    assert stacked["sample_size"] == 3 * 48


def criterion(**settings):
    cfg = CRITERION_DATACLASS_REGISTRY["mae_ast"](**settings)
    return CRITERION_REGISTRY["mae_ast"].build_criterion(cfg, Namespace())


@pytest.mark.parametrize(
    ("weights", "generative", "discriminative"),
    [
        ({}, 10.0, 1.0),
        ({"reconstruction_weight": 10.0, "classification_weight": 1.0}, 10.0, 1.0),
        ({"reconstruction_weight": 3.0}, 3.0, 1.0),
        ({"classification_weight": 0.0}, 10.0, 0.0),
    ],
)
def test_criterion__says_the_weights(source, mask, weights, generative, discriminative):
    model = build("mae_ast", {**TINY, **NO_DROPOUT})
    sample = {"id": torch.arange(2), "net_input": {"source": source, "precomputed_mask": mask}}
    plain = model(**sample["net_input"])["losses"]
    loss, sample_size, log = criterion(**weights)(model, sample)
    expected = generative / 10 * plain["generative"] + discriminative * plain["discriminative"]
    assert float(loss) == pytest.approx(float(expected), rel=1e-6) and sample_size == 48
    assert {"masked_pct", "nce_accuracy", "bin_mean_loss"} < log.keys()


def test_criterion__cannot_weigh_what_the_model_has_turned_off(source, mask):
    model = build("mae_ast", {**TINY, "reconstruction_weight": 0.0})
    sample = {"id": torch.arange(2), "net_input": {"source": source, "precomputed_mask": mask}}
    assert float(criterion()(model, sample)[0]) > 0
    with pytest.raises(ValueError, match=r"criterion.reconstruction_weight=2.0, but model.reconstruction_weight=0"):
        criterion(reconstruction_weight=2.0)(model, sample)
