"""In what precision a run computes on a CPU, who may say otherwise, and what is said of it."""

import pytest

from ASDA.launch import precision
from ASDA.launch.precision import native_bf16

from .conftest import compose, plan

AMX = "processor\t: 0\nflags\t\t: fpu sse2 avx512f avx512_bf16 amx_bf16 amx_tile\n\nprocessor\t: 1\n"
PLAIN = "processor\t: 0\nflags\t\t: fpu sse2 avx512f avx512_vbmi\n"


@pytest.fixture
def with_bf16(monkeypatch, processor_without_bf16):  # noqa: ARG001 - in that order
    monkeypatch.setattr(precision, "cpu_info", lambda: AMX)


def on_the_cpu(*words: str, config: str = "pretraining_AS2M", **settings: str):
    launch = plan(config, *words, NGPU="0", **settings)
    return compose(launch.runs[0].command), launch.notes[0]


@pytest.mark.parametrize(
    ("cpuinfo", "feature"),
    [
        (AMX, "amx_bf16"),
        (AMX.replace("amx_bf16 ", ""), "avx512_bf16"),
        (PLAIN, ""),
        ("Features\t: fp asimd\n", ""),
        ("model name\t: not_a_flag avx512_bf16\n", ""),
        ("", ""),
    ],
)
def test_native_bf16__is_read_from_the_flags(cpuinfo, feature):
    assert native_bf16(cpuinfo) == feature


@pytest.mark.usefixtures("with_bf16")
@pytest.mark.parametrize("config", ["pretraining_AS2M", "finetuning"])
def test_precision__is_bf16_where_the_processor_is_made_for_it(config):
    cfg, note = on_the_cpu(config=config)
    assert (cfg.common.fp16, cfg.model.autocast.name) == (False, "bf16")
    assert note == (
        "no GPU: running on the CPU, autocast bf16, for which it has amx_bf16; model.autocast=none computes in full "
        "precision"
    )


def test_precision__is_full_elsewhere():
    cfg, note = on_the_cpu()
    assert (cfg.common.fp16, cfg.model.autocast.name) == (False, "none")
    assert note == "no GPU: running on the CPU in full precision"


@pytest.mark.usefixtures("with_bf16")
def test_precision__of_a_gpu_is_the_yamls():
    cfg = compose(plan("pretraining_AS2M", NGPU="1").runs[0].command)
    assert (cfg.common.fp16, cfg.model.autocast.name) == (True, "none")


@pytest.mark.usefixtures("with_bf16")
@pytest.mark.parametrize(
    ("word", "autocast", "note"),
    [
        ("model.autocast=none", "none", "no GPU: running on the CPU in full precision"),
        ("model.autocast=bf16", "bf16", "no GPU: running on the CPU, autocast bf16"),
        ("common.fp16=false", "none", "no GPU: running on the CPU in full precision"),
        ("common.bf16=true", "none", "no GPU: running on the CPU, weights in half precision"),
        ("common.fp16=true", "none", "no GPU: running on the CPU, weights in half precision"),
    ],
)
def test_precision__an_override_decides(word, autocast, note):
    cfg, said = on_the_cpu(word)
    assert cfg.model.autocast.name == autocast and said == note
    assert cfg.common.fp16 == (word == "common.fp16=true")


@pytest.mark.usefixtures("with_bf16")
def test_precision__a_recipe_decides(tmp_path):
    from ASDA.launch.composing import CONFIG_FOLDER

    (tmp_path / "mine.yaml").write_text((CONFIG_FOLDER / "pretraining_AS2M.yaml").read_text())
    (tmp_path / "recipe").mkdir()
    (tmp_path / "recipe/exact.yaml").write_text("# @package _global_\nmodel: {autocast: none}\n")
    assert on_the_cpu("exact", CONFIG="./mine")[0].model.autocast.name == "none"
    assert on_the_cpu(CONFIG="./mine")[0].model.autocast.name == "bf16"  # what a yaml itself says is its default


@pytest.mark.parametrize("autocast", ["none", "bf16"])
def test_precision__a_run_goes_on_as_it_began_on_any_processor(monkeypatch, tmp_path, autocast):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/run.yaml").write_text(f"model:\n  autocast: {autocast}\n")
    for cpuinfo in (AMX, PLAIN):
        monkeypatch.setattr(precision, "cpu_info", lambda cpuinfo=cpuinfo: cpuinfo)
        cfg, note = on_the_cpu()
        assert cfg.model.autocast.name == autocast and note.endswith(" as the run in SAVE_DIR began")
