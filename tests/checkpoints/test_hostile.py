"""Checkpoints from strangers: nothing of them runs, nothing beside them is read, and sizes they claim cost nothing."""

from __future__ import annotations

import copy
import json
import os
import pickle
import struct
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from ASDA.adaptation.adapting import adapt, split_added
from ASDA.adaptation.bottlenecks import MlpAdapters
from ASDA.adaptation.lora import Lora
from ASDA.checkpoints.adapters import Adapter, base_of
from ASDA.checkpoints.files import CheckpointError
from ASDA.checkpoints.layouts import adapter_directory, peft_directory
from ASDA.checkpoints.reading import read_adapter, read_checkpoint
from ASDA.cli.convert import main as convert
from ASDA.core.encoder import SpectrogramEncoder
from ASDA.inference import load_encoder
from tests.eat_files import write_eat
from tests.hostile import SECRET, Code, bounded, code_file
from tests.mae_ast_files import released
from tests.published_files import published_finetuned, published_pretraining
from tests.vit_files import ssast_tensors, write_ast

STATES = {
    "ASDA": lambda: published_pretraining(embed_dim=16, depth=1),
    "ASDA fine-tuned": lambda: published_finetuned(num_classes=3, embed_dim=16, depth=1),
    "MAE-AST": lambda: released(embed_dim=16, layers=1),
    "SSAST": lambda: ssast_tensors(depth=1, hidden=16),
}


def refuses(path: Path, load=load_encoder) -> str:
    """The one line with which a checkpoint is refused."""
    with bounded(), pytest.raises(CheckpointError) as caught:
        load(path)
    line = str(caught.value)
    assert "\n" not in line and len(line) < 2_000
    assert str(path) in line or path.name in line
    return line


def at_the_top(state, code):
    return {**state, "more": code}


def in_the_place_of_a_tensor(state, code):
    part = state.get("model", state)
    part = {**part, next(iter(part)): code}
    return {**state, "model": part} if "model" in state else part


def deep_in_the_configuration(state, code):
    return {**state, "cfg": {**state.get("cfg", {}), "task": {"data": ["a", {"b": (code,)}]}}}


def in_the_optimisers_state(state, code):
    return {**state, "last_optimizer_state": {"state": {0: {"step": code}}, "param_groups": []}}


def instead_of_everything(state, code):  # noqa: ARG001
    return code


PLACES = [at_the_top, in_the_place_of_a_tensor, deep_in_the_configuration, in_the_optimisers_state]
PLACES += [instead_of_everything]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("system", STATES)
def test_load_encoder__a_pickle_with_code_in_any_place_is_refused(tmp_path, system, place):
    marker = tmp_path / "marker"
    state = place(STATES[system](), Code(marker))
    for name, settings in {"new.pt": {}, "old.pt": {"_use_new_zipfile_serialization": False}}.items():
        torch.save(state, tmp_path / name, **settings)
        assert "--trust-checkpoint" in refuses(tmp_path / name)
        with pytest.raises(CheckpointError):
            read_adapter(tmp_path / name)
    assert not marker.exists()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_load_encoder__a_plain_pickle_of_any_protocol_is_refused(tmp_path, protocol):
    (tmp_path / "plain.pt").write_bytes(pickle.dumps({"model": Code(tmp_path / "marker")}, protocol))
    refuses(tmp_path / "plain.pt")
    assert not (tmp_path / "marker").exists()


CODE_FILES = (
    "__init__.py", "modeling_asda.py", "modeling_eat.py", "configuration_eat.py", "feature_extraction_asda.py",
    "sitecustomize.py", "conftest.py", "setup.py", "torch.py", "safetensors.py", "json.py",
)  # fmt: skip
AUTO_MAP = {"AutoConfig": "modeling_asda.Config", "AutoModel": "modeling_asda.Model", "AutoFeatureExtractor": "json.X"}


def own_directory(folder: Path) -> Path:
    torch.save(STATES["ASDA fine-tuned"](), folder.with_suffix(".pt"))
    assert convert([str(folder.with_suffix(".pt")), str(folder), "--to", "directory"]) == 0
    return folder


def hub_export(folder: Path) -> Path:
    torch.save(STATES["ASDA fine-tuned"](), folder.with_suffix(".pt"))
    assert convert([str(folder.with_suffix(".pt")), str(folder), "--to", "huggingface"]) == 0
    return folder


DIRECTORIES = {
    "own": own_directory, "export": hub_export, "AST": write_ast, "EAT": lambda folder: write_eat(folder, 3)
}  # fmt: skip


@pytest.mark.parametrize("kind", DIRECTORIES)
def test_load_encoder__code_in_a_directory_is_never_imported(tmp_path, kind, monkeypatch):
    folder = DIRECTORIES[kind](tmp_path / "model")
    for name in CODE_FILES:
        (folder / name).write_text(code_file(tmp_path / "marker"))
    for file in ("config.json", "preprocessor_config.json"):
        content = json.loads((folder / file).read_text()) if (folder / file).exists() else {}
        if content or file == "config.json":
            (folder / file).write_text(json.dumps({**content, "auto_map": AUTO_MAP, "trust_remote_code": True}))
    monkeypatch.chdir(folder)  # as who looks at what was downloaded
    load_encoder(folder)
    load_encoder(".")
    assert not (tmp_path / "marker").exists()


OUTSIDE = {
    "relative": "../elsewhere/part.safetensors", "absolute": "{elsewhere}/part.safetensors", "itself": ".",
    "up": "..", "nothing": "", "a pickle": "part.bin", "backslashes": "..\\elsewhere\\part.safetensors",
    "nul": "a\0.safetensors", "a url": "https://example.org/part.safetensors", "a list": ["model.safetensors"],
}  # fmt: skip


@pytest.mark.parametrize("named", OUTSIDE)
@pytest.mark.parametrize("kind", ["AST", "EAT"])
def test_load_encoder__an_index_names_files_beside_it_alone(tmp_path, kind, named):
    folder = DIRECTORIES[kind](tmp_path / "model")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").rename(elsewhere / "part.safetensors")
    torch.save(Code(tmp_path / "marker"), folder / "part.bin")
    name = OUTSIDE[named].format(elsewhere=elsewhere) if isinstance(OUTSIDE[named], str) else OUTSIDE[named]
    index = {"weight_map": dict.fromkeys(tensors, name)}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    line = refuses(folder)
    assert "weight_map" in line or "no such file" in line, line
    assert not (tmp_path / "marker").exists()


def header(*entries: tuple[str, object], size: int | None = None, behind: bytes = b"") -> bytes:
    """A safetensors file; entries may repeat a name, as json does not mind."""
    text = ("{" + ",".join(f"{json.dumps(name)}:{json.dumps(value)}" for name, value in entries) + "}").encode()
    return struct.pack("<Q", len(text) if size is None else size) + text + behind


def entry(shape, start: int, stop: int, dtype: str = "F32") -> dict:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}


TWO = bytes(8)
LIES = {
    "a header of 2**63 bytes": header(size=2**63),
    "a header of 2**64 - 1 bytes": header(size=2**64 - 1),
    "a header of 10**8 bytes": header(size=10**8),
    "no header": b"\0" * 8,
    "a tensor of 4 TB": header(("a", entry([10**12], 0, 4 * 10**12))),
    "a shape that overflows": header(("a", entry([2**63, 2**63, 4], 0, 0)), behind=TWO),
    "overlapping tensors": header(("a", entry([2], 0, 8)), ("b", entry([2], 0, 8)), behind=TWO),
    "a gap": header(("a", entry([1], 4, 8)), behind=TWO),
    "offsets in the wrong order": header(("a", entry([2], 8, 0)), behind=TWO),
    "negative offsets": header(("a", entry([2], -8, 0)), behind=TWO),
    "a negative shape": header(("a", entry([-2], 0, 8)), behind=TWO),
    "a name twice": header(("a", entry([1], 0, 4)), ("a", entry([1], 4, 8)), behind=TWO),
    "an unknown type": header(("a", entry([2], 0, 8, "PICKLE")), behind=TWO),
    "a deep header": struct.pack("<Q", 100_000) + b"[" * 100_000,
    "bytes behind the end": header(("a", entry([2], 0, 8)), behind=TWO * 2),
}


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("kind", ["own", "EAT"])
def test_load_encoder__safetensors_whose_header_lies(tmp_path, kind, lie):
    folder = DIRECTORIES[kind](tmp_path / "model")
    (folder / "model.safetensors").write_bytes(LIES[lie])
    assert "model.safetensors" in refuses(folder)


def sizes_in(config, path=()):
    """Paths to all numbers of a config."""
    for key, value in config.items() if isinstance(config, dict) else enumerate(config):
        if isinstance(value, (dict, list)):
            yield from sizes_in(value, (*path, key))
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            yield (*path, key)


def with_number(config, path, number):
    config = json.loads(json.dumps(config))
    place = config
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = number
    return config


HUGE = {"10**9": 10**9, "10**12": 10**12, "10**400": 10**400, "-10**12": -(10**12), "1e308": 1e308, "NaN": float("nan")}
HUGE |= {"Infinity": float("inf")}
NUMBERS = [pytest.param(name, marks=[] if name in ("10**9", "10**400", "NaN") else pytest.mark.long) for name in HUGE]


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize(
    ("kind", "file"),
    [("own", "config.json"), ("AST", "config.json"), ("AST", "preprocessor_config.json"), ("EAT", "config.json")],
)
def test_load_encoder__huge_numbers_ask_for_no_memory(tmp_path, kind, file, number):
    """Each number of a config in turn: refused, or of no consequence: a clip is heard in bounded memory."""
    folder = DIRECTORIES[kind](tmp_path / "model")
    original = json.loads((folder / file).read_text())
    numbers = list(sizes_in(original))
    assert numbers
    for path in numbers:
        (folder / file).write_text(json.dumps(with_number(original, path, HUGE[number])))
        with bounded():
            try:
                load_encoder(folder).features(0.1 * torch.ones(8_000))
            except CheckpointError as error:
                assert "\n" not in str(error) and "model" in str(error)
            except ValueError as error:
                assert "NaN" in str(error), (path, error)


JSON_FILES = ["config.json", "training.json", "preprocessor_config.json", "model.safetensors.index.json"]
DEEP = {"lists": "[" * 100_000, "tables": '{"a":' * 100_000, "numbers": '{"depth": 1' + "0" * 10_000 + "}"}
DEEP |= {"closed lists": "[" * 50_000 + "]" * 50_000}


@pytest.mark.parametrize("text", DEEP)
@pytest.mark.parametrize(
    "file", ["config.json", "training.json", "preprocessor_config.json", "model.safetensors.index.json"]
)
def test_load_encoder__json_without_end(tmp_path, file, text):
    folder = DIRECTORIES["AST" if "training" not in file else "own"](tmp_path / "model")
    if "index" in file:
        (folder / "model.safetensors").unlink()
    (folder / file).write_text(DEEP[text])
    refuses(folder)


def test_load_torch_file__an_archive_that_unpacks_to_more_than_it_is(tmp_path):
    """Checksums are verified before torch looks, which for gigabytes of zeros in a few kilobytes would take minutes."""
    with zipfile.ZipFile(tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(20):
            archive.writestr(f"archive/data/{number}", bytes(10**6))
    assert "is compressed, as torch.save writes none" in refuses(tmp_path / "bomb.pt")
    torch.save({"model": {"w": torch.ones(9)}}, tmp_path / "good.pt")
    with zipfile.ZipFile(tmp_path / "good.pt", "a") as archive:  # many names for the same bytes
        archive.writestr("archive/data/x", bytes(1000))
        for number in range(500):
            again = copy.copy(archive.getinfo("archive/data/x"))
            again.filename = again.orig_filename = f"archive/data/y{number}"
            archive.filelist.append(again)
            archive.NameToInfo[again.filename] = again
        archive._didModify = True
    refuses(tmp_path / "good.pt")


def test_load_encoder__what_is_no_regular_file_is_not_waited_for(tmp_path):
    folder = write_ast(tmp_path / "model")
    for name in ("model.safetensors", "config.json"):
        (folder / name).rename(tmp_path / "kept")
        os.mkfifo(folder / name)
        assert "no such file" in refuses(folder) or "no weights" in refuses(folder)
        (folder / name).unlink()
        (tmp_path / "kept").rename(folder / name)
    os.mkfifo(tmp_path / "pipe.pt")
    refuses(tmp_path / "pipe.pt")
    (tmp_path / "zero.pt").symlink_to("/dev/zero")
    refuses(tmp_path / "zero.pt")


def test_load_encoder__a_link_to_somebodys_file_does_not_show_it(tmp_path):
    """Links are followed, as those of the hub's cache have to be; but what they lead to is not repeated."""
    (tmp_path / "secret").write_text(SECRET)
    for name in ("config.json", "preprocessor_config.json", "model.safetensors"):
        folder = write_ast(tmp_path / f"with {name}")
        (folder / name).unlink()
        (folder / name).symlink_to(tmp_path / "secret")
        assert not any(word in refuses(folder) for word in (SECRET, *SECRET.split()[1:2]))


@pytest.fixture
def adapted(tmp_path):
    """LoRA and adapters on a base, as a directory of this project's and as one of peft's."""
    pytest.importorskip("peft", reason="LoRA is peft's")
    base = own_directory(tmp_path / "base")
    checkpoint = read_checkpoint(base)
    config = checkpoint.encoder_config
    encoder = SpectrogramEncoder(config)
    methods = {"directory": (Lora(2), MlpAdapters(4)), "peft": (Lora(2),)}
    folders = {}
    for name, some in methods.items():
        encoder = SpectrogramEncoder(config)
        adapt(encoder, some)
        tensors = split_added(encoder.state_dict())[1]
        folders[name] = tmp_path / name
        folders[name].mkdir()
        adapter = Adapter(folders[name], "test", some, tensors, base_of(checkpoint), config, checkpoint.front_end)
        {"directory": adapter_directory, "peft": peft_directory}[name].write(folders[name], adapter)
        load_encoder(base, adapter=folders[name])
    return base, folders


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize(("kind", "file"), [("directory", "config.json"), ("peft", "adapter_config.json")])
def test_load_encoder__huge_numbers_of_adapters_ask_for_no_memory(adapted, kind, file, number):
    base, folders = adapted
    original = json.loads((folders[kind] / file).read_text())
    for path in sizes_in(original):
        if path[0] in ("encoder", "front_end"):
            continue  # as in the test above
        (folders[kind] / file).write_text(json.dumps(with_number(original, path, HUGE[number])))
        with bounded():
            try:
                load_encoder(base, adapter=folders[kind])
            except CheckpointError as error:
                assert "\n" not in str(error)


@pytest.mark.parametrize("place", ["/etc/passwd", "{tmp}/secret", "../secret", "/dev/zero", "{tmp}/pipe", "a" * 5_000])
def test_load_encoder__adapters_name_their_base_and_nothing_of_another_file_is_shown(adapted, tmp_path, place):
    _, folders = adapted
    (tmp_path / "secret").write_text(SECRET)
    os.mkfifo(tmp_path / "pipe")
    file = folders["directory"] / "config.json"
    config = json.loads(file.read_text())
    config["base"]["path"] = place.format(tmp=tmp_path)
    file.write_text(json.dumps(config))
    with bounded(), pytest.raises(CheckpointError) as caught:
        load_encoder(folders["directory"])
    assert "\n" not in str(caught.value) and not any(word in str(caught.value) for word in (SECRET, "root:"))


def test_load_encoder__adapters_in_a_pickle_or_with_code(adapted, tmp_path):
    base, folders = adapted
    for name, file in {"directory": "adapter.safetensors", "peft": "adapter_model.safetensors"}.items():
        (folders[name] / "modeling.py").write_text(code_file(tmp_path / "marker"))
        torch.save(Code(tmp_path / "marker"), folders[name] / file)
        torch.save(Code(tmp_path / "marker"), folders[name] / "adapter_model.bin")
        with bounded(), pytest.raises(CheckpointError, match="not a safetensors file"):
            load_encoder(base, adapter=folders[name])
        (folders[name] / file).unlink()
        with bounded(), pytest.raises(CheckpointError, match="no such file"):
            load_encoder(base, adapter=folders[name])
    assert not (tmp_path / "marker").exists()


NAMES = ["../../etc", "../../etc/passwd@main", "a/../..", "/etc/../etc/absent", "a/b@../../x", "owner/na\0me"]
NAMES += [
    "owner/name@\n",
    "-rf/x",
    "owner/--help",
    "http://example.org/x",
    "owner/" + "n" * 5_000,
    "~/x/y",
    "a\\..\\b/c",
]


@pytest.mark.parametrize("name", NAMES)
def test_load_encoder__names_that_lead_somewhere_else_are_asked_for_nowhere(name, monkeypatch, tmp_path):
    """Neither is the network asked, nor a file touched outside the folder."""
    hub = pytest.importorskip("huggingface_hub", reason="the extra hub")
    monkeypatch.chdir(tmp_path)

    asked = []
    monkeypatch.setattr(hub, "snapshot_download", lambda *names, **_: asked.append(names))
    with bounded(), pytest.raises(CheckpointError) as caught:
        load_encoder(name)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == [] and not asked
