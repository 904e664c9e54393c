import pytest
import torch

from ASDA.core.config import Plain, Regularisation, StackConfig
from ASDA.core.stack import TransformerStack

SIZES = {"embed_dim": 16, "depth": 4, "num_heads": 2, "mlp_ratio": 2.0, "attention": Plain()}


def stack(seed=0, how=None, **settings):
    torch.manual_seed(seed)
    return TransformerStack(StackConfig(**SIZES | settings), how).double()


def tokens(rows=2):
    return torch.randn(rows, 5, 16, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("norm", ["post", "pre"])
@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("last", [False, True])
def test_stack__is_norm_blocks_norm(norm, first, last):
    model, x = stack(norm=norm, norm_first=first, norm_last=last).eval(), tokens()
    expected = model.norm_first(x)
    assert torch.equal(expected, x) is not first
    for block in model.blocks:
        expected, _ = block(expected)
    out = model(x)
    assert torch.equal(out, model.norm_last(expected))
    assert torch.equal(out, expected) is not last
    names = {name.split(".")[0] for name in model.state_dict()}
    assert names == {"blocks"} | ({"norm_first"} if first else set()) | ({"norm_last"} if last else set())


@pytest.mark.slow
def test_layerdrop__leaves_out_whole_layers_at_its_rate_while_training():
    model, x = stack(how=Regularisation(layerdrop=0.3)), tokens()
    assert len(list(model.eval().layers(x))) == 4
    model.train()
    torch.manual_seed(0)
    counts = [len(list(model.layers(x))) for _ in range(500)]
    assert sum(counts) / (4 * 500) == pytest.approx(0.7, abs=5 * (0.21 / 2000) ** 0.5)
    assert stack(how=Regularisation(layerdrop=0.999)).train()(x).shape == x.shape  # even if none is left


def test_layerdrop__depends_on_the_seed_alone():
    model, x = stack(how=Regularisation(layerdrop=0.5)).train(), tokens()
    outputs = []
    for _ in range(2):
        torch.manual_seed(7)
        outputs.append(model(x))
    assert torch.equal(*outputs)


def test_input_dropout__acts_on_what_enters_the_first_block_while_training():
    model, x = stack(how=Regularisation(input_dropout=0.5)), tokens(200)
    entered = model.train().enter(x)
    assert abs((entered == 0).double().mean() - 0.5) < 0.02
    assert torch.equal(model.eval().enter(x), model.norm_first(x))
