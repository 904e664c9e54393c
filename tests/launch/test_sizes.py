"""Sizes of the network: which there are, for which yaml, and what wins over what."""

import pytest
from omegaconf import OmegaConf

from ASDA.launch.arguments import Arguments
from ASDA.launch.composing import CONFIG_FOLDER, leaves
from ASDA.launch.recipe import Recipe, find_config
from ASDA.launch.settings import LaunchError
from ASDA.launch.sizes import by_size, size_files

from .conftest import compose, plan

DECODER = "model.modalities.image.decoder"
NUMBERS = {  # layers, width, heads, decoder's width and layers
    "tiny": (4, 128, 4, 128, 3),
    "small": (12, 384, 6, 384, 6),
    "base": (12, 768, 12, 768, 6),
    "large": (24, 1024, 16, 1024, 6),
}


def read(config: str, *words: str) -> Recipe:
    return Recipe(find_config(config), Arguments.parse(list(words)))


def numbers(recipe: Recipe) -> tuple:
    keys = ("model.depth", "model.embed_dim", "model.num_heads", f"{DECODER}.decoder_dim", f"{DECODER}.decoder_layers")
    return tuple(recipe.get(key) for key in keys)


def content(name: str) -> dict:
    return leaves(OmegaConf.to_container(OmegaConf.load(CONFIG_FOLDER / f"{name}.yaml")))


def test_sizes__are_these_from_the_smallest():
    assert by_size(size_files(find_config("pretraining_AS2M"), "asda")) == list(NUMBERS)


@pytest.mark.parametrize("name", NUMBERS)
def test_size__has_its_numbers_with_any_recipe(name):
    for words in ([f"+size={name}"], ["demo_pretraining", f"+size={name}"], [f"+size={name}", "+recipe=EAT"], [name]):
        recipe = read("pretraining_AS2M", *words)
        assert numbers(recipe) == NUMBERS[name]
        assert recipe.get("model.average_top_k_layers") == NUMBERS[name][0]
    assert recipe.names == ()
    assert read("pretraining_AS2M", "EAT", name).get("model.attention") == "plain"


def test_size__wins_over_the_recipe_and_overrides_over_the_size():
    recipe = read("pretraining_AS2M", "demo_pretraining", "model.depth=3", "+size=small")
    assert numbers(recipe) == (3, *NUMBERS["small"][1:])
    assert recipe.get("optimization.max_update") == 640  # the recipe's own


def test_size__the_demo_is_tiny_and_the_paper_is_base():
    """The recipe states them itself, since hydra 1.0 gives recipes no defaults."""
    stated = content("recipe/demo_pretraining")
    assert {key: stated[key] for key in content("size/tiny")} == content("size/tiny")
    assert numbers(read("pretraining_AS2M")) == NUMBERS["base"]


def test_size__all_state_the_same_keys():
    assert len({frozenset(content(f"size/{name}")) for name in NUMBERS}) == 1


def test_size__reaches_the_run():
    (run,) = plan("pretraining_AS2M", "demo_pretraining", "+size=small").runs
    cfg = compose(run.command)
    assert (cfg.model.depth, cfg.model.embed_dim, cfg.model.modalities.image.decoder.decoder_dim) == (12, 384, 384)
    assert cfg.model.modalities.image.embed_dim == 384 and cfg.optimization.max_update == 640


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            ["+size=smal"],
            r"there is no size smal (did you mean small?); those of config/size are tiny, small, base, large",
        ),
        (["+size=huge"], "there is no size huge; those of config/size are tiny, small, base, large"),
        (["+size=[tiny,small]"], "a network has one size"),
        (["+size=tiny", "+size=small"], "+size=tiny,small: a network has one size"),
        (["tiny", "+size=small"], "a network has one size"),
        (["+size="], "a network has one size"),
        (["size=small"], "use +size=small"),
    ],
)
def test_size__errors_are_one_line(words, says):
    with pytest.raises(LaunchError) as error:
        read("pretraining_AS2M", *words)
    assert says in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("words", [["ESC50", "+size=small"], ["ESC50", "small"]])
def test_size__of_what_is_fine_tuned_is_its_checkpoints(words):
    with pytest.raises(LaunchError, match=r"^\+size=small: what is fine-tuned has the size of its checkpoint"):
        read("finetuning", *words)


def test_size__a_yaml_elsewhere_uses_this_projects_and_its_own(tmp_path):
    (tmp_path / "mine.yaml").write_text((CONFIG_FOLDER / "pretraining_AS2M.yaml").read_text())
    (tmp_path / "size").mkdir()
    (tmp_path / "size/narrow.yaml").write_text("# @package _global_\nmodel: {embed_dim: 192}\n")
    assert numbers(read("./mine", "+size=small")) == NUMBERS["small"]
    assert numbers(read("./mine", "narrow"))[1] == 192
    with pytest.raises(LaunchError, match="are tiny, narrow, small, base, large"):
        read("./mine", "+size=wide")


def test_size__another_model_has_its_own_or_none(tmp_path):
    text = "defaults: [_self_]\nmodel: {_name: other, layers: 12}\n"
    (tmp_path / "other.yaml").write_text(text)
    with pytest.raises(LaunchError, match=r"^\+size=small: other.yaml has no model.depth; .* into config/size/other/"):
        read("./other", "+size=small")
    (tmp_path / "size/other").mkdir(parents=True)
    (tmp_path / "size/other/small.yaml").write_text("# @package _global_\nmodel: {layers: 6}\n")
    assert read("./other", "+size=small").get("model.layers") == 6
    with pytest.raises(LaunchError, match="there is no size base; those of config/size are small"):
        read("./other", "+size=base")
