"""The exported directory as transformers' users take it: feature extractor, classifier, pipeline, fine-tuning, saving.

What it is held against is computed by this project's own programs from the same file. A test marked `long` does the
same on other versions of transformers, of which it installs a copy of each into a cache.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from ASDA.checkpoints.layouts import huggingface
from ASDA.checkpoints.layouts.huggingface import model_card, preprocessor
from ASDA.cli.convert import main as convert
from ASDA.cli.infer import main as infer
from ASDA.inference import load_classifier, load_encoder, read_checkpoint
from tests.mae_ast_files import released
from tests.published_files import published_finetuned
from tests.vit_files import write_ast

USE = Path(__file__).with_name("use_of_export.py")
EXPORTED = Path(huggingface.__file__).parent / "exported"
VERSIONS = ("4.48.3", "4.57.6", "5.0.0", "5.5.4", "5.23.0")
FRAMES = 80
TOLERANCE = 1e-4
LABELS = ("bark", "meow", "rain")


def export(source, target, *flags):
    assert convert([str(source), str(target), "--to", "huggingface", "--target_length", str(FRAMES), *flags]) == 0
    return target


def edited(folder, **sections):
    """A directory whose config.json has other settings."""
    config = json.loads((folder / "config.json").read_text())
    for section, settings in sections.items():
        config[section] |= settings
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def as_directory(source, folder):
    assert convert([str(source), str(folder), "--to", "directory"]) == 0
    return folder


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Directories: sigmoids; softmax; patches that overlap, a padding mask and Kaldi's window; encoders alone."""
    folder = tmp_path_factory.mktemp("hub")
    torch.save(published_finetuned("differential", num_classes=3), folder / "sigmoid.pt")
    mean = {"prediction_mode": "MEAN_POOLING"}
    torch.save(published_finetuned("plain", num_classes=3, model=mean), folder / "softmax.pt")
    torch.save(released("patch"), folder / "mae_ast.pt")
    (folder / "labels.csv").write_text(
        "index,mid,display_name\n" + "".join(f'{index},/m/{index},"{name}"\n' for index, name in enumerate(LABELS))
    )
    softmax = edited(as_directory(folder / "softmax.pt", folder / "softmax"), head={"independent_scores": False})
    sigmoid = edited(as_directory(folder / "sigmoid.pt", folder / "sigmoid"), head={"independent_scores": True})
    masked = as_directory(write_ast(folder / "ast", max_length=FRAMES + 4), folder / "masked")
    edited(masked, front_end={"padding": "mask", "window": "povey"}, head={"independent_scores": True})
    named = ("--label_file", str(folder / "labels.csv"))
    target = folder / "exported"
    export(sigmoid, target / "sigmoid", *named)
    export(softmax, target / "softmax", *named)
    export(masked, target / "masked")
    export(folder / "mae_ast.pt", target / "encoder")
    return target


@pytest.fixture(scope="module")
def clip(exported):
    """A clip of 0.7 s in 16 bits, which has 68 frames, and its samples as a file."""
    file = exported.parent / "clip.wav"
    time_s = np.arange(11_200) / 16_000
    noise = np.random.default_rng(3).standard_normal(len(time_s))
    soundfile.write(file, 0.4 * np.sin(2 * np.pi * 440 * time_s) * np.exp(-4 * time_s) + 0.01 * noise + 0.02, 16_000)
    np.save(exported.parent / "clip.npy", soundfile.read(file, dtype="float32")[0])
    return file


def run_elsewhere(exported, clip, home, python_path=""):
    environment = {
        "HF_HOME": str(home / "hf"),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
        "PYTHONPATH": python_path,
    }
    command = [sys.executable, str(USE), str(exported), str(clip.with_suffix(".npy")), str(home / "results.pt")]
    run = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-4000:]
    return torch.load(home / "results.pt", weights_only=True)


def inferred(folder, clip, capsys, *flags):
    """What asda-infer prints."""
    capsys.readouterr()
    assert infer([str(clip), "--checkpoint_dir", str(folder), "--json", "--device", "cpu", *flags]) == 0
    record = json.loads(capsys.readouterr().out)
    return {found["label"]: found["score"] for found in record["predictions"]}


def assert_as_our_own(exported, clip, results, capsys):
    """The results against what this project's programs compute."""
    samples = torch.from_numpy(np.load(clip.with_suffix(".npy")))
    for name, labels in {"sigmoid": LABELS, "softmax": LABELS, "masked": LABELS}.items():
        result, model = results[name], load_classifier(exported / name)
        heard = model.spectrogram(clip)
        assert result["inputs"].shape == heard.shape
        torch.testing.assert_close(result["inputs"], heard, atol=TOLERANCE, rtol=0)
        expected = inferred(exported / name, clip, capsys)
        assert result["scores"].keys() == expected.keys() == set(labels)
        for label, score in expected.items():
            assert result["scores"][label] == pytest.approx(score, abs=TOLERANCE)
            assert result["saved_scores"][label] == pytest.approx(score, abs=TOLERANCE)
        by_softmax = inferred(exported / name, clip, capsys, "--scores", "softmax")
        assert result["softmax"] == pytest.approx(by_softmax, abs=TOLERANCE)
        with torch.no_grad():
            short = model.logits(model.spectrogram(samples[: len(samples) // 3])[None])[0]
        torch.testing.assert_close(result["both"], torch.stack([result["logits"], short]), atol=1e-3, rtol=0)
        assert result["labels"] == dict(enumerate(labels))
        assert result["of_four"] == [f"LABEL_{index}" for index in range(4)]
    assert results["masked"]["hearing"] == "AsdaFeatureExtractor"
    assert results["masked"]["inputs"].shape[1] == 76  # 68 frames, in whole patches of 16 with a stride of 10
    assert results["sigmoid"]["hearing"] == "ASTFeatureExtractor"
    encoder = load_encoder(exported / "encoder")
    torch.testing.assert_close(results["encoder"]["inputs"], encoder.spectrogram(clip), atol=TOLERANCE, rtol=0)
    torch.testing.assert_close(results["encoder"]["features"][0], encoder.features(clip), atol=1e-3, rtol=0)


def assert_saved_is_ours(exported, clip, capsys):
    """This project's programs read what `save_pretrained` has written."""
    for name in ("sigmoid", "softmax", "masked"):
        saved = exported.with_name("exported.saved") / name
        assert inferred(saved, clip, capsys) == pytest.approx(inferred(exported / name, clip, capsys), abs=1e-6)
        of_four = read_checkpoint(saved.with_name(f"{name}-of-four"))
        assert (of_four.num_classes, of_four.independent_scores, of_four.label_names) == (4, False, [])
        assert read_checkpoint(saved).label_names == read_checkpoint(exported / name).label_names
    assert read_checkpoint(exported.with_name("exported.saved") / "encoder").head_config is None


@pytest.mark.slow
def test_write_huggingface__is_a_complete_hub_directory(exported, clip, tmp_path, capsys):
    pytest.importorskip("transformers", reason="the exported directory is for transformers, a development requirement")
    results = run_elsewhere(exported, clip, tmp_path)
    assert_as_our_own(exported, clip, results, capsys)
    assert_saved_is_ours(exported, clip, capsys)


def installed(version):
    """A folder with a version of transformers and what it needs of its own; skips where it cannot be had."""
    cache = os.environ.get("ASDA_TRANSFORMERS") or Path.home() / ".cache" / "asda" / "transformers"
    folder = Path(cache) / version
    if not (folder / "transformers").is_dir():
        command = [sys.executable, "-m", "pip", "install", "-q", "--target", str(folder), f"transformers=={version}"]
        run = subprocess.run(command, capture_output=True, text=True)
        if run.returncode:
            reason = (run.stderr.strip().splitlines() or [""])[-1]
            pytest.skip(f"transformers {version} is neither in {folder} nor to be had from the index: {reason}")
    return folder


@pytest.mark.long
@pytest.mark.parametrize("version", VERSIONS)
def test_write_huggingface__loads_on_other_versions(exported, clip, tmp_path, capsys, version):
    results = run_elsewhere(exported, clip, tmp_path, python_path=str(installed(version)))
    assert results["version"] == version
    assert_as_our_own(exported, clip, results, capsys)


def relative_imports(file):
    """As transformers finds them."""
    return {f"{name}.py" for name in re.findall(r"^\s*from\s+\.(\S+)\s+import", file.read_text(), flags=re.MULTILINE)}


def test_exported_code__names_every_file_that_it_needs_itself(exported):
    """Older versions of transformers copy what the modeling file imports, and nothing that those files import."""
    written = {file.name for file in (exported / "sigmoid").glob("*.py")}
    assert written == {*huggingface.CORE_FILES, *huggingface.EXPORTED_FILES}
    assert relative_imports(EXPORTED / "modeling_asda.py") == written - {"modeling_asda.py"}
    for name in written - {"modeling_asda.py"}:
        assert relative_imports(exported / "sigmoid" / name) <= written
    for name in ("configuration_asda.py", preprocessor.CODE, "pipeline_asda.py"):  # which are loaded on their own
        assert not relative_imports(EXPORTED / name)


def test_write_huggingface__config(exported):
    for name, problem in {"sigmoid": "multi_label", "softmax": "single_label", "masked": "multi_label"}.items():
        config = json.loads((exported / name / "config.json").read_text())
        assert config["problem_type"] == f"{problem}_classification"
        assert config["id2label"] == {str(index): label for index, label in enumerate(LABELS)}
        assert config["label2id"] == {label: index for index, label in enumerate(LABELS)}
    hearing = json.loads((exported / "sigmoid" / preprocessor.FILE).read_text())
    assert (hearing["max_length"], hearing["mean"], hearing["std"]) == (FRAMES, -4.268, 4.569)


def test_write_huggingface__without_names_there_are_as_many_classes(tmp_path):
    torch.save(published_finetuned("plain", num_classes=5), tmp_path / "model.pt")
    config = json.loads((export(tmp_path / "model.pt", tmp_path / "hub") / "config.json").read_text())
    assert config["id2label"] == {str(index): f"LABEL_{index}" for index in range(5)}


def test_model_card__tells_what_is_known(exported):
    card = (exported / "sigmoid" / "README.md").read_text()
    for known in (
        "library_name: transformers",
        "pipeline_tag: audio-classification",
        "license: unknown",
        "2507.02666",
        "bark, meow, rain",
        "one sigmoid per class",
        "16000 Hz",
        "0.8 s (80 frames)",
        "pipeline(",
    ):
        assert known in card, known
    other = (exported / "encoder" / "README.md").read_text()
    assert "2203.16691" in other and "povey" in other and "feature-extraction" in other and "Classes" not in other


def test_model_card__has_the_metric_and_no_paths_of_this_machine(tmp_path):
    state = published_finetuned("plain", num_classes=5)
    state["extra_state"]["best"] = 0.4567
    state["cfg"]["checkpoint"] = {**(state["cfg"].get("checkpoint") or {}), "best_checkpoint_metric": "mAP"}
    state["cfg"]["task"]["data"] = "/secret/place/as20k"
    torch.save(state, tmp_path / "model.pt")
    card = (export(tmp_path / "model.pt", tmp_path / "hub") / "README.md").read_text()
    assert "| best mAP on its validation set | 0.4567 |" in card
    assert "| data | as20k |" in card and "secret" not in card


def test_convert__a_card_of_ones_own_stays(tmp_path, capsys):
    torch.save(published_finetuned("plain", num_classes=5), tmp_path / "model.pt")
    folder = tmp_path / "hub"
    folder.mkdir()
    (folder / "README.md").write_text("mine")  # a clone of a new repository on the hub
    export(tmp_path / "model.pt", folder)
    assert (folder / "README.md").read_text() == "mine" and "somebody's own" in capsys.readouterr().err
    (folder / "README.md").unlink()
    export(tmp_path / "model.pt", folder)
    assert model_card.MARK in (folder / "README.md").read_text()
    assert convert([str(tmp_path / "model.pt"), str(folder), "--to", "directory"]) == 0
    assert sorted(file.name for file in folder.iterdir()) == ["config.json", "model.safetensors", "training.json"]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["hub", "model.pt"]
