"""The yaml of config/ and what hydra makes of it."""

import pytest
from omegaconf import OmegaConf

from ASDA.launch.arguments import Arguments
from ASDA.launch.composing import CONFIG_FOLDER
from ASDA.launch.recipe import Recipe, find_config, recipe_files
from ASDA.launch.settings import LaunchError
from ASDA.training.epoch_decay import EpochDecay

PRIMARIES = sorted(CONFIG_FOLDER.glob("*.yaml"))
ALL = sorted(CONFIG_FOLDER.rglob("*.yaml"))


def read(config: str, *words: str) -> Recipe:
    return Recipe(find_config(config), Arguments.parse(list(words)))


def leaves(node, path: str = "") -> set[str]:
    if not isinstance(node, dict):
        return {path}
    return {leaf for key, value in node.items() for leaf in leaves(value, f"{path}.{key}")}


def content(file) -> dict:
    return OmegaConf.to_container(OmegaConf.load(file))


@pytest.mark.parametrize("file", PRIMARIES, ids=lambda file: file.stem)
def test_config__shares_no_key_with_its_bases(file):
    """hydra 1.0 lets the defaults win over the file, 1.3 what comes last; without a common key both make the same."""
    primary = content(file)
    defaults = primary.pop("defaults")
    assert defaults[0] == "_self_"
    parts = {file.stem: leaves(primary)}
    for name in defaults[1:]:
        base = CONFIG_FOLDER / f"{name}.yaml"
        assert base.read_text().startswith("# @package _global_\n")
        parts[name] = leaves(content(base))
    everything = [leaf for part in parts.values() for leaf in part]
    assert len(everything) == len(set(everything)), sorted(k for k in everything if everything.count(k) > 1)


@pytest.mark.parametrize("file", ALL, ids=lambda file: str(file.relative_to(CONFIG_FOLDER)))
def test_config__starts_with_purpose_data_and_launch_line(file):
    lines = file.read_text().splitlines()
    if file.parent != CONFIG_FOLDER:
        assert lines.pop(0) == "# @package _global_"
    head = [line.split(":")[0] for line in lines[: [line.startswith("#") for line in lines].index(False)]]
    assert head[0] == "# Purpose" and [h for h in head if h in ("# Data", "# Launch")] == ["# Data", "# Launch"]


# recipe -> updates, warm-up, clips per update, learning rate, target length (frames), data set, validation splits;
# where there is one, as in the paper
# A length of None is the data set's.
FINETUNING = {
    "": (60_000, 6_000, 32, 5e-5, None, "", "eval"),
    "AS20K": (60_000, 6_000, 32, 5e-5, None, "audioset", "eval"),
    "AS2M": (600_000, 60_000, 48, 5e-5, None, "audioset", "eval"),
    "ESC50": (4_000, 400, 48, 5e-5, None, "esc50", "eval"),
    "SPCv2": (80_000, 8_000, 256, 2e-4, None, "spcv2", "valid,eval"),
    "FSD50K": (60_000, 6_000, 48, 5e-5, None, "fsd50k", "valid,eval"),
    "UrbanSound8K": (8_000, 800, 48, 5e-5, None, "urbansound8k", "eval"),
    "mean_pooling": (60_000, 6_000, 32, 5e-5, None, "", "eval"),
    "linear_probe": (1_000, 0, 64, 0.05, None, "", "eval"),
    "own_data": (60_000, 6_000, 16, 2e-4, None, "", "eval"),  # before task.epochs=60 sets the updates
    "AST_AS20K": (60_000, 1_000, 12, 5e-5, None, "audioset", "eval"),  # before task.epochs
    "MAE_AST_ESC50": (60_000, 100, 48, 1e-4, None, "esc50", "eval"),  # before task.epochs
    "MAE_AST_SPCv2": (60_000, 1_000, 128, 2.5e-4, None, "spcv2", "valid,eval"),  # before task.epochs
    "MAE_AST_AS20K": (60_000, 1_000, 12, 5e-5, None, "audioset", "eval"),  # before task.epochs
    "SSAST_AS20K": (60_000, 1_000, 12, 5e-5, None, "audioset", "eval"),  # before task.epochs
    "MAE_AST_SPCv1": (10_000, 500, 32, 1e-5, None, "spcv1", "valid,eval"),
    "MAE_AST_VoxCeleb1": (60_000, 3_000, 32, 1e-4, None, "voxceleb1", "valid,eval"),
    "MAE_AST_IEMOCAP": (3_000, 150, 32, 1e-4, None, "iemocap", "eval"),
    "demo_finetuning": (300, 30, 16, 5e-4, 256, "", "valid"),
}
PRETRAINING = {
    "": (800_000, 106_666, 48, 5e-4, 1024, "", None),
    "EAT": (800_000, 106_666, 48, 5e-4, 1024, "", None),
    "own_pretraining": (800_000, 106_666, 12, 1e-3, None, "", None),  # before task.epochs=100
    "demo_pretraining": (640, 64, 8, 2e-3, 256, "", None),
}
MAE_AST = {
    "": (550_000, 32_000, 32, 1e-4, 998, "", None),
    "MAE_AST_frame": (550_000, 32_000, 32, 1e-4, 998, "", None),
    "MAE_AST_6_layers": (550_000, 32_000, 32, 1e-4, 998, "", None),
    "MAE_AST_ViT": (550_000, 32_000, 32, 1e-4, 1024, "", None),
    "demo_MAE_AST": (1_000, 100, 8, 1e-3, 256, "", None),
}
SSAST = {
    "": (800_000, 1_000, 24, 1e-4, 1024, "", None),
    "SSAST_frame": (800_000, 1_000, 24, 1e-4, 1024, "", None),
}
TABLES = {
    "finetuning": FINETUNING,
    "pretraining_AS2M": PRETRAINING,
    "pretraining_MAE_AST": MAE_AST,
    "pretraining_SSAST": SSAST,
}
RECIPES = [(config, recipe, numbers) for config, recipes in TABLES.items() for recipe, numbers in recipes.items()]


@pytest.mark.parametrize(("config", "recipe", "numbers"), RECIPES, ids=[f"{c}+{r}" for c, r, _ in RECIPES])
def test_recipe__has_its_numbers(config, recipe, numbers):
    composed = read(config, *([recipe] if recipe else []))
    group = "default" if config == "pretraining_MAE_AST" else "no_decay"
    keys = (
        "optimization.max_update",
        f"optimizer.groups.{group}.lr_scheduler.warmup_updates",
        "task.clips_per_update",
        f"optimizer.groups.{group}.lr_float",
        "task.target_length",
        "task.dataset",
        "dataset.valid_subset",
    )
    assert tuple(composed.get(key) for key in keys) == numbers
    at_once = {"pretraining_AS2M": {"": 12, "EAT": 12}, "pretraining_MAE_AST": dict.fromkeys(MAE_AST, 16)}
    at_once["pretraining_MAE_AST"]["demo_MAE_AST"] = 8
    assert composed.get("dataset.batch_size") == at_once.get(config, {}).get(recipe, numbers[2])


# recipe -> epochs, factor of a step, first epoch with a lower rate, epochs between steps, rate of the last epoch
BY_EPOCH = {
    "MAE_AST_ESC50": (50, 0.85, 6, 1, 1e-4 * 0.85**45),
    "MAE_AST_SPCv2": (30, 0.85, 5, 1, 2.5e-4 * 0.85**26),
    "MAE_AST_AS20K": (25, 0.5, 10, 5, 5e-5 / 16),
    "AST_AS20K": (25, 0.5, 10, 5, 5e-5 / 16),
    "SSAST_AS20K": (25, 0.5, 10, 5, 5e-5 / 16),
}


@pytest.mark.parametrize("recipe", BY_EPOCH)
def test_recipe__lowers_its_learning_rate_by_epochs(recipe):
    composed, group = read("finetuning", recipe), "optimizer.groups.no_decay.lr_scheduler"
    assert (composed.get(f"{group}._name"), composed.get(f"{group}.min_lr")) == ("asda_epoch_decay", 0.0)
    steps = [composed.get(f"{group}.{key}") for key in ("decay", "decay_from_epoch", "decay_every_epochs")]
    epochs, *expected, last = BY_EPOCH[recipe]
    assert (composed.get("task.epochs"), *steps) == (epochs, *expected)
    assert composed.get("optimization.lr")[0] * EpochDecay(*steps).factor(epochs) == pytest.approx(last)


def test_recipes__are_all_in_the_table():
    assert set(recipe_files(PRIMARIES[0])) == set().union(*TABLES.values()) - {""}


def test_recipes__several_at_once_the_later_wins():
    composed = read("finetuning", "+recipe=[ESC50,linear_probe]")
    assert (composed.get("task.dataset"), composed.get("model.linear_classifier")) == ("esc50", True)
    assert (composed.get("optimization.max_update"), composed.get("optimization.lr")[0]) == (1000, 0.05)
    one, other = read("finetuning", "ESC50", "SPCv2"), read("finetuning", "SPCv2", "ESC50")
    assert (one.get("task.dataset"), other.get("task.dataset")) == ("spcv2", "esc50")


def test_recipe__batch_size_follows_the_clips_per_update_and_an_override_wins():
    assert read("finetuning", "SPCv2", "task.clips_per_update=64").get("dataset.batch_size") == 64
    assert read("finetuning", "SPCv2", "dataset.batch_size=8").get("dataset.batch_size") == 8


@pytest.mark.parametrize(
    "word",
    ["checkpoint.keep_last_epochs=3", "dataset.valid_subset='valid,eval'", "+task.multi_data=null", "~task.noise"],
)
def test_recipe__takes_what_fairseq_takes(word):
    read("finetuning", word)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["Nope"], "there is no recipe Nope; those of config/recipe are AS20K, AS2M"),
        (["esc50"], "there is no recipe esc50 (did you mean ESC50?)"),
        (["+recipe=[ESC50,liner_probe]"], "(did you mean linear_probe?)"),
        (["recipe=ESC50"], "To append to your default list use +recipe=ESC50"),
        (["task.clips_per_updat=3"], "Could not override 'task.clips_per_updat'"),
        (["optimizaton.lr=[1]"], "Could not override 'optimizaton.lr'"),
        (["dataset.valid_subset=valid,eval"], "quote the value: key='value1,value2'"),
        (["+dataset.valid_subset=valid"], "++dataset.valid_subset=valid"),
        (["task.target_length=[1"], "task.target_length=[1"),
    ],
)
def test_recipe__errors_are_one_line(words, says):
    with pytest.raises(LaunchError) as error:
        read("finetuning", *words)
    assert says in str(error.value) and "\n" not in str(error.value)


def test_recipe__an_interpolation_that_leads_nowhere_is_named():
    with pytest.raises(LaunchError, match=r"dataset.batch_size: .*nothing"):
        read("finetuning", "dataset.batch_size=${nothing.here}").get("dataset.batch_size")


def test_find_config__takes_names_and_paths(tmp_path):
    (tmp_path / "mine.yaml").touch()
    assert find_config("finetuning") == CONFIG_FOLDER / "finetuning.yaml"
    assert (
        find_config("mine.yaml") == find_config("./mine") == find_config(f"{tmp_path}/mine") == tmp_path / "mine.yaml"
    )
    with pytest.raises(LaunchError, match=r"^CONFIG: .*config/none.yaml does not exist"):
        find_config("none")


def test_recipe__a_yaml_elsewhere_uses_this_projects_and_its_own(tmp_path):
    text = (CONFIG_FOLDER / "finetuning.yaml").read_text()
    (tmp_path / "mine.yaml").write_text(text.replace("max_update: 60000", "max_update: 7"))
    (tmp_path / "recipe").mkdir()
    (tmp_path / "recipe/short.yaml").write_text("# @package _global_\ntask: {clips_per_update: 4}\n")
    assert read("./mine").get("optimization.max_update") == 7
    assert read("./mine").get("common.fp16_no_flatten_grads") is True
    assert read("./mine", "short").get("dataset.batch_size") == 4
    assert read("./mine", "ESC50").get("task.dataset") == "esc50"


@pytest.mark.parametrize(
    ("defaults", "says"),
    [
        ("[finetuning, _self_]", "_self_ has to stand first"),
        ("[finetuning]", "_self_ has to stand first"),
        ("[_self_, finetuning]", "its model.mixup is lost"),
    ],
)
def test_recipe__a_yaml_that_would_lose_to_its_bases_is_refused(defaults, says, tmp_path):
    (tmp_path / "mine.yaml").write_text(f"defaults: {defaults}\ncommon: {{seed: 1}}\nmodel: {{mixup: 0.3}}\n")
    with pytest.raises(LaunchError, match=f"^{tmp_path}/mine.yaml: {says}"):
        read("./mine")


def test_recipe__a_damaged_yaml_is_named_with_its_line(tmp_path):
    (tmp_path / "mine.yaml").write_text("common:\n  seed: 1\n task: [\n")
    with pytest.raises(LaunchError, match=r"mine.yaml.*line 3") as error:
        read("./mine")
    assert "\n" not in str(error.value)
