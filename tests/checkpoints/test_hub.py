"""Checkpoints by their names on the Hugging Face hub, from its cache on disk: nothing here reaches a network."""

import json
import logging
import os
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest
import torch

from ASDA.checkpoints import hub
from ASDA.checkpoints.files import CheckpointError
from ASDA.cli.convert import main as convert
from ASDA.cli.extract import main as extract
from ASDA.inference import load_classifier, load_encoder
from tests.eat_files import write_eat
from tests.vit_files import write_ast

huggingface_hub = pytest.importorskip("huggingface_hub", reason="the extra hub")
constants = pytest.importorskip("huggingface_hub.constants")

NAME = "worstchan/EAT-base_epoch30_pretrain"
COMMITS = ["0123456789abcdef" * 2 + "01234567", "fedcba9876543210" * 2 + "89abcdef"]


def into_cache(cache: Path, name: str, folder: Path, commit: str = COMMITS[0], ref: str | None = "main") -> Path:
    """What huggingface_hub leaves on disk of a repository that holds a folder's files."""
    repository = cache / f"models--{name.replace('/', '--')}"
    snapshot = repository / "snapshots" / commit
    for made in (repository / "blobs", repository / "refs", snapshot):
        made.mkdir(parents=True, exist_ok=True)
    for number, file in enumerate(sorted(folder.iterdir())):
        blob = repository / "blobs" / f"{commit[:8]}{number}"
        blob.write_bytes(file.read_bytes())
        (snapshot / file.name).symlink_to(os.path.relpath(blob, snapshot))
    if ref:
        (repository / "refs" / ref).write_text(commit)
    return snapshot


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The cache, with a pre-trained EAT of which there are two commits, while there is no network."""
    cache = tmp_path / "cache"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)
    for commit, seed, ref in zip(COMMITS, (0, 1), ("main", "v1"), strict=True):
        into_cache(cache, NAME, write_eat(tmp_path / f"commit {seed}", seed=seed), commit, ref)
    return cache


def features(model):
    with torch.no_grad():
        return model(torch.randn(1, 1, 64, 128, generator=torch.Generator().manual_seed(1)))


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize(
    ("name", "settings", "seed"),
    [
        (NAME, {}, 0),
        (Path(NAME), {}, 0),
        (NAME, {"revision": "main"}, 0),
        (NAME, {"revision": "v1"}, 1),
        (NAME, {"revision": COMMITS[1]}, 1),
        (f"{NAME}@{COMMITS[1]}", {}, 1),
        (f"{NAME}@v1", {"revision": "v1"}, 1),
    ],
)
def test_load_encoder__by_its_name_and_revision(tmp_path, name, settings, seed):
    expected = load_encoder(tmp_path / f"commit {seed}")
    assert torch.equal(features(load_encoder(name, **settings)), features(expected))


@pytest.mark.usefixtures("cache")
def test_load_encoder__which_commit_it_is_can_be_told(caplog):
    with caplog.at_level(logging.INFO):
        load_encoder(f"{NAME}@v1")
    assert f"{NAME}@{COMMITS[1]} stays the same" in caplog.text


@pytest.mark.slow
def test_load_encoder__hf_hub_offline_is_honoured_and_no_code_of_the_repository_runs(tmp_path):
    """In a process of its own, as huggingface_hub looks at the environment when it is imported."""
    source = write_eat(tmp_path / "eat")
    into_cache(tmp_path / "home" / "hub", NAME, source)
    code = (
        "import socket, sys, torch\n"
        "def refuse(*args, **kwargs): raise SystemExit('a network was asked for')\n"
        "socket.getaddrinfo = socket.create_connection = refuse\n"
        "sys.modules['transformers'] = sys.modules['timm'] = None\n"
        "from ASDA.inference import load_encoder\n"
        f"here, there = load_encoder({str(source)!r}), load_encoder({NAME!r})\n"
        "x = torch.randn(1, 1, 32, 128)\n"
        "print(torch.equal(here(x), there(x)))\n"
        "load_encoder('worstchan/EAT-large_epoch20_pretrain')"
    )
    environment = {**os.environ, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1"}
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        environment.pop(name, None)
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert run.stdout.strip() == "True", run.stderr
    last = run.stderr.strip().splitlines()[-1]
    assert "CheckpointError: worstchan/EAT-large_epoch20_pretrain: no such file or directory, and not to be had" in last
    assert not list(tmp_path.rglob("marker"))


def test_load_classifier__ast_and_this_projects_own_directories_too(cache, tmp_path):
    into_cache(cache, "MIT/ast", write_ast(tmp_path / "ast"))
    assert load_classifier("MIT/ast").label_names == ["bark", "meow", "rain"]
    assert convert([NAME, str(tmp_path / "own"), "--to", "directory"]) == 0
    into_cache(cache, "somebody/own", tmp_path / "own")
    assert torch.equal(features(load_encoder("somebody/own")), features(load_encoder(NAME)))


@pytest.mark.usefixtures("cache")
def test_extract__takes_a_name_as_eats_own_scripts_do(tmp_path, capsys):
    import soundfile

    soundfile.write(tmp_path / "a.wav", 0.1 * torch.randn(8_000).numpy(), 16_000)
    arguments = ["--source_file", "a.wav", "--target_file", "a.npy", "--device", "cpu", "--target_length", "64"]
    for framework in ([], ["--framework", "huggingface"]):
        assert extract([*arguments, "--checkpoint_dir", NAME, *framework]) == 0, capsys.readouterr().err
    assert extract([*arguments, "--checkpoint_dir", "worstchan/absent"]) == 1
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


@pytest.mark.usefixtures("cache")
def test_local_path__what_is_there_goes_first(tmp_path):
    write_eat(tmp_path / NAME, seed=5)
    assert torch.equal(features(load_encoder(NAME)), features(load_encoder(tmp_path / NAME)))
    with pytest.raises(CheckpointError, match="goes with a name on the Hugging Face hub"):
        load_encoder(NAME, revision="main")


def only_pickles(snapshot):
    (snapshot / "model.safetensors").unlink()
    torch.save({}, snapshot / "pytorch_model.bin")


def pickles_beside_adapters(snapshot):
    only_pickles(snapshot)
    (snapshot / "adapter.safetensors").touch()


def cut_short(snapshot):
    (snapshot / "model.safetensors").resolve().write_bytes(b"\x10")


def no_config(snapshot):
    (snapshot / "config.json").unlink()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (only_pickles, "holds no .safetensors on the Hugging Face hub; pickles are not taken"),
        (pickles_beside_adapters, "holds no .safetensors on the Hugging Face hub; pickles are not taken"),
        (cut_short, "truncated, corrupt or not a safetensors file"),
        (no_config, "config.json: no such file"),
    ],
)
def test_load_encoder__damaged_snapshots(cache, damage, message):
    damage(cache / f"models--{NAME.replace('/', '--')}" / "snapshots" / COMMITS[0])
    with pytest.raises(CheckpointError, match=message) as caught:
        load_encoder(NAME)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("worstchan/absent", {}, "no such file or directory, and not to be had from the Hugging Face hub"),
        (NAME, {"revision": "absent"}, "not to be had"),
        (NAME, {"revision": "0" * 40}, "not to be had"),
        (NAME, {"revision": "../../../other"}, "is no revision: expected a commit, a tag or a branch"),
        (NAME, {"revision": "/etc"}, "is no revision"),
        (NAME, {"revision": ""}, "is no revision"),
        (f"{NAME}@a/../b", {}, "is no revision"),
        (f"{NAME}@main", {"revision": "v1"}, "names the revision main, but revision=v1"),
        ("../secret", {}, "no name that the Hugging Face hub could have"),
        ("a/..", {}, "no name that the Hugging Face hub could have"),
        ("a--b/c", {}, "no name that the Hugging Face hub could have"),
        ("runs/absent.pt", {}, "runs/absent.pt: no such checkpoint file"),
        ("absent", {}, "absent: no such checkpoint file"),
        ("a/b/c", {}, "a/b/c: no such checkpoint file"),
        ("absent.pt", {"revision": "main"}, "goes with a name on the Hugging Face hub"),
    ],
)
def test_load_encoder__what_is_not_there_or_no_name(name, settings, message):
    with pytest.raises(CheckpointError, match=message) as caught:
        load_encoder(name, **settings)
    assert "\n" not in str(caught.value) and str(caught.value).startswith(name)


def test_load_encoder__a_ref_that_leads_out_of_the_cache(cache):
    (cache / f"models--{NAME.replace('/', '--')}" / "refs" / "main").write_text("../../../commit 1")
    with pytest.raises(CheckpointError, match="cache of the Hugging Face hub is damaged: .* is not a commit"):
        load_encoder(NAME)


@pytest.mark.usefixtures("cache")
def test_load_encoder__without_huggingface_hub_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(CheckpointError, match=r"no such file or directory; .*install huggingface_hub"):
        load_encoder(NAME)


def test_local_path__asks_for_json_and_safetensors_alone_at_the_revision(tmp_path, monkeypatch):
    asked = {}

    def download(name, **settings):
        asked.update(settings, name=name)
        return str(into_cache(tmp_path / "cache", name, write_eat(tmp_path / "eat")))

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert hub.local_path("a/b@v2").name == COMMITS[0]
    assert (asked["name"], asked["revision"]) == ("a/b", "v2")

    def is_fetched(file):
        return any(fnmatch(file, pattern) for pattern in asked["allow_patterns"])

    wanted = ["config.json", "preprocessor_config.json", "model.safetensors", "model-00001-of-00002.safetensors"]
    assert all(map(is_fetched, [*wanted, "model.safetensors.index.json", "adapter_model.safetensors"]))
    others = ["modeling_eat.py", "pytorch_model.bin", "model.pt", "training_args.bin", "sub/model.safetensors", "x.pkl"]
    assert not any(map(is_fetched, others))


def test_local_path__whatever_the_download_raises_is_one_line(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    def download(*args, **settings):  # noqa: ARG001
        raise RuntimeError("first line\nsecond line")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    with pytest.raises(CheckpointError, match=r"^a/b: .*RuntimeError: first line\)$"):
        hub.local_path("a/b")


@pytest.mark.usefixtures("cache")
def test_info__a_name_on_the_hub_is_described(capsys):
    from ASDA.cli.info import main as info

    assert info([NAME, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["system"] == "EAT" and found["origin"]["layout"] == "eat" and COMMITS[0] in found["origin"]["path"]
