"""AST directories of Hugging Face: the numbers are those of transformers' own model and feature extractor."""

import json
import logging
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from ASDA.audio.front_end import FrontEnd
from ASDA.checkpoints.files import CheckpointError
from ASDA.checkpoints.reading import read_checkpoint
from ASDA.core.zoo import system_of
from ASDA.inference import load_classifier, load_encoder
from tests.vit_files import PREPROCESSOR, ast_config, ast_tensors, write_ast

SHAPES = [  # max_length, frequency_stride, time_stride, num_mel_bins
    (64, 10, 10, 128),
    (128, 16, 16, 128),
    (100, 7, 13, 64),
    (96, 16, 10, 128),
    (50, 10, 16, 40),
]


def transformers_model(folder, **settings):
    """A model of transformers with random weights, saved by it."""
    transformers = pytest.importorskip("transformers", reason="its models are the oracle, a development requirement")
    config = {**ast_config(num_hidden_layers=2), **settings}
    torch.manual_seed(0)
    model = transformers.ASTForAudioClassification(transformers.ASTConfig(**config)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
    model.save_pretrained(folder)
    return model


def old_and_new(folder, model):
    """The weights as the model itself names them, beside the names that its version writes."""
    written = load_file(folder / "model.safetensors")
    own = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    assert any(".encoder.layer.0." in name for name in written) and any(".layers.0." in name for name in own)
    return {"old": written, "new": own}


@pytest.mark.parametrize(("length", "frequency", "time", "bins"), SHAPES)
@pytest.mark.parametrize("names", ["old", "new"])
def test_load_classifier__computes_what_transformers_computes(tmp_path, names, length, frequency, time, bins):
    sizes = {"max_length": length, "frequency_stride": frequency, "time_stride": time, "num_mel_bins": bins}
    model = transformers_model(tmp_path, **sizes)
    save_file(old_and_new(tmp_path, model)[names], tmp_path / "model.safetensors", metadata={"format": "pt"})
    spectrogram = torch.randn(2, length, bins, generator=torch.Generator().manual_seed(1))
    classifier, encoder = load_classifier(tmp_path), load_encoder(tmp_path)
    with torch.no_grad():
        theirs = model(spectrogram, output_hidden_states=True)
        torch.testing.assert_close(classifier.logits(spectrogram[:, None]), theirs.logits, atol=1e-5, rtol=0)
        features, their_features = encoder(spectrogram[:, None]), model.audio_spectrogram_transformer(spectrogram)[0]
    grid = encoder.encoder.grid(spectrogram[:, None])
    prefix, patches = their_features[:, :2], their_features[:, 2:].unflatten(1, (grid.columns, grid.rows))
    time_major = torch.cat([prefix, patches.transpose(1, 2).flatten(1, 2)], dim=1)
    torch.testing.assert_close(features, time_major, atol=1e-5, rtol=1e-5)


SETTINGS = [
    {"qkv_bias": False},
    {"layer_norm_eps": 1e-3},
    {"patch_size": 8, "time_stride": 5, "frequency_stride": 8},
    {"intermediate_size": 41},
    {"hidden_size": 24},
]


@pytest.mark.parametrize("settings", SETTINGS)
def test_load_classifier__settings_of_the_config_count(tmp_path, settings):
    model = transformers_model(tmp_path, **settings)
    spectrogram = torch.randn(1, 64, 128, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        logits = load_classifier(tmp_path).logits(spectrogram[:, None])
        torch.testing.assert_close(logits, model(spectrogram).logits, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("do_normalize", [True, False])
def test_front_end__is_that_of_the_feature_extractor(tmp_path, do_normalize):
    transformers = pytest.importorskip("transformers")
    settings = {"max_length": 128, "mean": -6.6, "std": 5.4, "do_normalize": do_normalize}
    extractor = transformers.ASTFeatureExtractor(**settings)
    write_ast(tmp_path, preprocessor=None)
    extractor.save_pretrained(tmp_path)
    front_end = read_checkpoint(tmp_path).front_end
    for seed, seconds in enumerate((0.5, 1.29, 3.0)):
        waveform = np.random.default_rng(seed).normal(0.05, 0.1, int(16_000 * seconds)).astype(np.float32)
        theirs = extractor(waveform, sampling_rate=16_000, return_tensors="pt")["input_values"][0]
        torch.testing.assert_close(front_end(torch.from_numpy(waveform)), theirs, atol=1e-5, rtol=0)


def test_read_checkpoint__what_the_directory_says(tmp_path):
    checkpoint = read_checkpoint(write_ast(tmp_path, problem_type="single_label_classification"))
    assert system_of(checkpoint.encoder_config) == "AST" and checkpoint.encoder_config.max_rows == 5
    assert checkpoint.label_names == ["bark", "meow", "rain"] and checkpoint.head_config.pooling == "prefix_mean"
    assert checkpoint.multi_label is False and not checkpoint.independent_scores
    assert checkpoint.front_end == FrontEnd(64, -4.2677393, 4.5689974, remove_mean=False)


def test_read_checkpoint__without_problem_type_or_names_of_classes(tmp_path):
    checkpoint = read_checkpoint(write_ast(tmp_path, id2label={str(n): f"LABEL_{n}" for n in range(3)}))
    assert checkpoint.label_names == [] and checkpoint.multi_label is None and checkpoint.independent_scores


def test_read_checkpoint__without_preprocessor_config_the_statistics_are_audiosets_and_said_to_be(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        front_end = read_checkpoint(write_ast(tmp_path, preprocessor=None)).front_end
    assert (front_end.target_length_frames, front_end.norm_mean) == (64, -4.2677393)
    assert "no preprocessor_config.json" in caplog.text and str(tmp_path) in caplog.text


def test_load_encoder__of_a_directory_without_a_head(tmp_path):
    spectrogram = torch.randn(1, 1, 64, 128)
    write_ast(tmp_path / "with")
    write_ast(tmp_path / "without", classes=0)
    with torch.no_grad():
        assert torch.equal(*(load_encoder(tmp_path / name)(spectrogram) for name in ("with", "without")))
    with pytest.raises(CheckpointError, match="without a classification head"):
        load_classifier(tmp_path / "without")


def test_load_classifier__pickled_weights_and_weights_in_parts(tmp_path):
    spectrogram, tensors = torch.randn(1, 1, 64, 128), ast_tensors(ast_config())
    expected = load_classifier(write_ast(tmp_path / "one")).logits(spectrogram)
    names = sorted(tensors)
    for folder in ("pickled", "parts", "pickled_parts"):
        write_ast(tmp_path / folder)
        (tmp_path / folder / "model.safetensors").unlink()
    torch.save(tensors, tmp_path / "pickled" / "pytorch_model.bin")
    for folder, single, write in (
        ("parts", "model.safetensors", save_file),
        ("pickled_parts", "pytorch_model.bin", torch.save),
    ):
        index = {}
        for number, part in enumerate((names[:7], names[7:]), 1):
            file = f"{Path(single).stem}-0000{number}-of-00002{Path(single).suffix}"
            write({name: tensors[name] for name in part}, tmp_path / folder / file)
            index |= dict.fromkeys(part, file)
        (tmp_path / folder / f"{single}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
    for folder in ("pickled", "parts", "pickled_parts"):
        assert torch.equal(load_classifier(tmp_path / folder).logits(spectrogram), expected)


@pytest.mark.slow
def test_load_classifier__needs_no_transformers(tmp_path):
    write_ast(tmp_path / "model", new_names=True)
    code = (
        "import sys; sys.modules['transformers'] = sys.modules['timm'] = None\n"
        "from ASDA.inference import load_classifier\n"
        f"print(load_classifier({str(tmp_path / 'model')!r}).num_classes)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "3"


class Code:
    """Runs code when it is unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return (Path.touch, (self.marker,))


def pickled_code(folder):
    (folder / "model.safetensors").unlink()
    torch.save({"embeddings.cls_token": Code(folder.parent / "marker")}, folder / "pytorch_model.bin")


def plain_pickle(folder):
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Code(folder.parent / "marker")))


def index_that_leads_away(folder):
    (folder / "model.safetensors").rename(folder.parent / "model.safetensors")
    index = {"weight_map": {"embeddings.cls_token": "../model.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def index_to_a_pickle(folder):
    pickled_code(folder)
    index = {"weight_map": {"embeddings.cls_token": "pytorch_model.bin"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def missing_part(folder):
    (folder / "model.safetensors").unlink()
    index = {"weight_map": {"embeddings.cls_token": "model-00001-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def huge_header(folder):
    (folder / "model.safetensors").write_bytes((1 << 60).to_bytes(8, "little") + b"{}")


def huge_sizes(folder):
    header = b'{"embeddings.cls_token":{"dtype":"F32","shape":[1000000000000],"data_offsets":[0,4000000000000]}}'
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)


def no_weights(folder):
    (folder / "model.safetensors").unlink()


def both_names(folder):
    config = ast_config()
    save_file(ast_tensors(config) | ast_tensors(config, new_names=True), folder / "model.safetensors")


def edited(**settings):
    def edit(folder):
        (folder / "config.json").write_text(json.dumps(ast_config(**settings)))

    edit.__name__ = f"edited {settings}"
    return edit


HOSTILE = {
    pickled_code: "holds more than tensors",
    plain_pickle: "holds more than tensors|not a checkpoint",
    index_that_leads_away: "weight_map.embeddings.cls_token: expected the name of a file beside the index",
    index_to_a_pickle: "expected the name of a file beside the index, of the same kind",
    missing_part: "no such file",
    huge_header: "truncated, corrupt or not a safetensors file",
    huge_sizes: "truncated, corrupt or not a safetensors file",
    no_weights: "no weights: expected model.safetensors or pytorch_model.bin",
    both_names: "there twice, under its old and its new name",
    edited(hidden_act="gelu_new"): "hidden_act: expected one of gelu",
    edited(num_attention_heads=5): "num_heads: expected a divisor of embed_dim",
    edited(hidden_size=10**9): "expected a tensor of shape",
    edited(max_length=10**9): "position_embeddings: expected a tensor of shape",
    edited(max_length=74): "position_embeddings: expected a tensor of shape",
    edited(time_stride=17): "would skip sound",
    edited(num_hidden_layers=3): "stack.depth: expected 1, as the tensors have it",
    edited(id2label={"0": "bark", "2": "meow", "3": "rain"}): "id2label: expected the keys 0 to 2",
    edited(id2label={"0": "bark", "1": "meow"}): "label_names: expected 3 texts or none",
    edited(problem_type="regression"): "problem_type: expected one of null, multi_label_classification",
    edited(qkv_bias=False): "Unexpected key",
}


@pytest.mark.parametrize("damage", HOSTILE, ids=lambda damage: damage.__name__)
def test_load_classifier__hostile_and_edited_directories_run_nothing_and_say_why_in_one_line(tmp_path, damage):
    folder = write_ast(tmp_path / "model")
    damage(folder)
    with pytest.raises(CheckpointError, match=HOSTILE[damage]) as caught:
        load_classifier(folder)
    assert not (tmp_path / "marker").exists()
    assert str(folder) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"feature_extractor_type": "WhisperFeatureExtractor"},
            "feature_extractor_type: expected 'ASTFeatureExtractor'",
        ),
        ({"std": 0}, "std: expected a finite number above 0"),
        ({"mean": float("nan")}, "mean: expected a finite number"),
        ({"max_length": "long"}, "max_length: expected a whole number"),
        ({"num_mel_bins": 64}, "num_mel_bins: expected 128, as the encoder has it"),
        ({"do_normalize": 1}, "do_normalize: expected true or false"),
        ({"sampling_rate": 10}, "sample_rate_hz is too low"),
    ],
)
def test_read_checkpoint__edited_preprocessor_config(tmp_path, settings, message):
    write_ast(tmp_path, preprocessor={**PREPROCESSOR, **settings})
    with pytest.raises(CheckpointError, match=message) as caught:
        read_checkpoint(tmp_path)
    assert str(tmp_path) in str(caught.value)
