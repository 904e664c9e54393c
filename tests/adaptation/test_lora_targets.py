"""Which rows of which maps LoRA changes, by kind of attention; needs no peft."""

import pytest

from ASDA.adaptation.lora import Lora
from ASDA.adaptation.method import AdaptationError
from tests.architectures import make_encoder

D = 32
# Kind of attention -> part -> the map that holds it, and its rows.
PARTS = {
    "plain": {"q": ("qkv", 0, D), "k": ("qkv", D, 2 * D), "v": ("qkv", 2 * D, 3 * D), "output": ("proj", 0, D)},
    "differential": {"q": ("qk", 0, 2 * D), "k": ("qk", 2 * D, 4 * D), "v": ("v", 0, D), "output": ("proj", 0, D)},
    "differential_v2": {"q": ("q", 0, 2 * D), "k": ("kv", 0, D), "v": ("kv", D, 2 * D), "output": ("proj", 0, D)},
}
CASES = [(kind, part) for kind, parts in PARTS.items() for part in parts]


@pytest.mark.parametrize(("kind", "part"), CASES)
def test_lora__changes_the_rows_of_its_target_alone(kind, part):
    encoder = make_encoder(embed_dim=D, depth=2, num_heads=4, max_rows=4, attention=kind)
    name, first, last = PARTS[kind][part]
    rows = Lora(targets=(part,)).changed_rows(encoder)
    assert list(rows) == [f"stack.blocks.{block}.attn.{name}" for block in range(2)]
    for changed in rows.values():
        assert changed.nonzero()[:, 0].tolist() == list(range(first, last))


def test_lora__targets_maps_by_name_and_names_those_there_are():
    encoder = make_encoder(embed_dim=D, depth=1, num_heads=4, max_rows=4, attention="differential_v2")
    rows = Lora(targets=("lambda_proj", "kv")).changed_rows(encoder)
    assert {name.rpartition(".")[2]: bool(changed.all()) for name, changed in rows.items()} == {
        "kv": True,
        "lambda_proj": True,
    }
    with pytest.raises(AdaptationError, match="by map q, kv, lambda_proj, proj, fc1, fc2"):
        Lora(targets=("qkv",)).changed_rows(encoder)
