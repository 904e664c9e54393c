"""EAT directories of Hugging Face: what they compute is worked out naively; they go into every layout."""

import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from ASDA.audio.front_end import FrontEnd
from ASDA.checkpoints.files import CheckpointError
from ASDA.checkpoints.reading import read_checkpoint
from ASDA.cli.convert import main as convert
from ASDA.core.zoo import system_of
from ASDA.inference import load_classifier, load_encoder
from tests.eat_files import eat_config, eat_tensors, write_eat
from tests.published_files import oracle_features, oracle_logits, pretraining_cfg

HEADS = 4
LABELS = {"0": "bark", "1": "meow", "2": "rain"}


def spectrogram(clips=1):
    return torch.randn(clips, 1, 80, 128, generator=torch.Generator().manual_seed(3))


def test_load_encoder__computes_what_the_paper_says(tmp_path):
    source, (_, published) = spectrogram(), eat_tensors()
    with torch.no_grad():
        features = load_encoder(write_eat(tmp_path))(source)[0]
    expected = torch.from_numpy(oracle_features(published, source[0, 0].double().numpy(), HEADS))
    torch.testing.assert_close(features.double(), expected, atol=1e-5, rtol=0)


def test_load_classifier__heads_norm_has_torchs_eps_and_not_that_of_fairseq_files(tmp_path):
    small = {name: 1e-3 * tensor for name, tensor in eat_tensors(3)[0].items() if ".blocks.1.norm2" in name}
    tensors, published = eat_tensors(3)
    published |= {name.removeprefix("model."): tensor for name, tensor in small.items()}  # there eps counts
    write_eat(tmp_path, 3)
    save_file(tensors | small, tmp_path / "model.safetensors")
    source = spectrogram()
    classifier = load_classifier(tmp_path)
    with torch.no_grad():
        logits = classifier.logits(source)[0].double()
    features = oracle_features(published, source[0, 0].double().numpy(), HEADS)
    there, fairseq = (torch.from_numpy(oracle_logits(published, features, eps=eps)) for eps in (1e-5, 1e-6))
    torch.testing.assert_close(logits, there, atol=1e-4, rtol=0)
    assert (there - fairseq).abs().max() > 1e-2
    assert read_checkpoint(tmp_path).head_config.norm_eps == 1e-5


def test_load_encoder__is_that_of_the_fairseq_file_with_the_same_tensors(tmp_path):
    cfg = pretraining_cfg(embed_dim=32, depth=2, num_heads=HEADS)
    torch.save({"cfg": cfg, "model": eat_tensors()[1]}, tmp_path / "eat.pt")
    theirs, ours = load_encoder(tmp_path / "eat.pt"), load_encoder(write_eat(tmp_path / "directory"))
    assert theirs.encoder.config == ours.encoder.config and theirs.front_end == ours.front_end
    with torch.no_grad():
        assert torch.equal(theirs(spectrogram(2)), ours(spectrogram(2)))


def test_read_checkpoint__what_the_directory_says(tmp_path):
    checkpoint = read_checkpoint(write_eat(tmp_path / "a", 3, id2label=LABELS))
    assert system_of(checkpoint.encoder_config) == "EAT" and checkpoint.layout == "eat"
    assert checkpoint.front_end == FrontEnd(1024, -4.268, 4.569) and not checkpoint.front_end_recorded
    assert checkpoint.label_names == list(LABELS.values())
    assert checkpoint.multi_label is None and checkpoint.independent_scores
    checkpoint = read_checkpoint(write_eat(tmp_path / "b", 3, problem_type="single_label_classification"))
    assert checkpoint.multi_label is False and not checkpoint.independent_scores and checkpoint.label_names == []
    checkpoint = read_checkpoint(write_eat(tmp_path / "c", img_size=[512, 128]))
    assert checkpoint.front_end.target_length_frames == 512 and checkpoint.head_config is None


def test_read_checkpoint__keys_that_are_missing_have_their_defaults(tmp_path):
    config = eat_config()
    needed = ("model_type", "embed_dim", "depth", "num_heads")
    whole = read_checkpoint(write_eat(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps({name: config[name] for name in needed}))
    found = read_checkpoint(tmp_path)
    assert (found.encoder_config, found.front_end) == (whole.encoder_config, whole.front_end)


def test_load_encoder__weights_without_the_outer_name_and_in_parts(tmp_path):
    source, tensors = spectrogram(), eat_tensors()[0]
    expected = load_encoder(write_eat(tmp_path / "one"))(source)
    write_eat(tmp_path / "plain")
    save_file({n.removeprefix("model."): t for n, t in tensors.items()}, tmp_path / "plain" / "model.safetensors")
    write_eat(tmp_path / "parts")
    (tmp_path / "parts" / "model.safetensors").unlink()
    index, names = {}, sorted(tensors)
    for number, part in enumerate((names[:9], names[9:]), 1):
        file = f"model-0000{number}-of-00002.safetensors"
        save_file({name: tensors[name] for name in part}, tmp_path / "parts" / file)
        index |= dict.fromkeys(part, file)
    (tmp_path / "parts" / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    for name in ("plain", "parts"):
        assert torch.equal(load_encoder(tmp_path / name)(source), expected)


@pytest.mark.slow
def test_load_classifier__needs_no_other_library_and_runs_no_code_of_the_directory(tmp_path):
    write_eat(tmp_path / "model", 3)
    code = (
        "import sys\n"
        "for name in ('transformers', 'timm', 'huggingface_hub'): sys.modules[name] = None\n"
        "from ASDA.inference import load_classifier\n"
        f"print(load_classifier({str(tmp_path / 'model')!r}).num_classes)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "3" and not (tmp_path / "model" / "marker").exists()


@pytest.mark.parametrize("layout", ["published", "project", "directory", "huggingface"])
@pytest.mark.parametrize("classes", [0, 3])
def test_convert__into_every_layout_and_on_from_there(tmp_path, capsys, layout, classes):
    source = write_eat(tmp_path / "eat", classes, **({"id2label": LABELS} if classes else {}))
    suffix = ".pt" if layout in ("published", "project") else ""
    there, back = tmp_path / f"there{suffix}", tmp_path / "back"
    assert convert([str(source), str(there), "--to", layout]) == 0
    said = capsys.readouterr().err
    assert convert([str(there), str(back), "--to", "directory"]) == 0
    assert ("encoder alone, without decoder and teacher" in said) == (not classes and suffix == ".pt")
    assert ("will not honour fc_norm_eps=1e-05" in said) == bool(classes and layout == "published")
    load = load_classifier if classes else load_encoder
    expected = load(source)
    with torch.no_grad():
        for path in (there, back):
            found = load(path)
            assert torch.equal(found(spectrogram()), expected(spectrogram())) and found.front_end == expected.front_end
            if classes:
                assert torch.equal(found.logits(spectrogram()), expected.logits(spectrogram()))
                assert found.label_names == list(LABELS.values()) and found.independent_scores


class Code:
    """Runs code when it is unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return (Path.touch, (self.marker,))


def pickled_code(folder):
    (folder / "model.safetensors").unlink()
    torch.save({"model.extra_tokens": Code(folder / "marker")}, folder / "pytorch_model.bin")


def pickle_named_safetensors(folder):
    (folder / "model.safetensors").write_bytes(pickle.dumps(Code(folder / "marker")))


def index_that_leads_away(folder):
    (folder / "model.safetensors").rename(folder.parent / "model.safetensors")
    index = {"weight_map": {"model.extra_tokens": "../model.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def huge_header(folder):
    (folder / "model.safetensors").write_bytes((1 << 60).to_bytes(8, "little") + b"{}")


def huge_sizes(folder):
    header = b'{"model.extra_tokens":{"dtype":"F32","shape":[1000000000000],"data_offsets":[0,4000000000000]}}'
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)


def changed(**tensors):
    def change(folder):
        new = load_file(folder / "model.safetensors") | tensors
        save_file({name: t for name, t in new.items() if t is not None}, folder / "model.safetensors")

    change.__name__ = f"changed {', '.join(tensors)}"
    return change


def edited(**settings):
    def edit(folder):
        (folder / "config.json").write_text(json.dumps(eat_config(3, **settings)))

    edit.__name__ = f"edited {settings}"
    return edit


HOSTILE = {
    pickled_code: "holds more than tensors",
    pickle_named_safetensors: "truncated, corrupt or not a safetensors file",
    index_that_leads_away: "weight_map.model.extra_tokens: expected the name of a file beside the index",
    huge_header: "truncated, corrupt or not a safetensors file",
    huge_sizes: "truncated, corrupt or not a safetensors file",
    changed(**{"extra_tokens": torch.zeros(1, 1, 32)}): "there twice, with and without model. before it",
    changed(**{"model.decoder.proj.weight": torch.zeros(2)}): "tensors: expected those of EAT",
    changed(**{"model.head.bias": torch.zeros(4)}): "num_classes: expected 4, as the tensors have it, found 3",
    changed(**{"model.head.bias": None}): "head.bias: expected a tensor of shape",
    changed(**{"model.extra_tokens": None}): "num_prefix_tokens: expected 0, as the tensors have it|prefix_tokens",
    changed(**{"model.blocks.0.attn.qkv.weight": None}): "Missing key",
    edited(embed_dim=10**9): "embed_dim: expected 32, as the tensors have it",
    edited(max_length=10**9): "max_rows: expected what gives 6144 positions",
    edited(depth=3): "stack.depth: expected 2, as the tensors have it",
    edited(mlp_ratio=3.5): "mlp_ratio: expected 4, as the tensors have it",
    edited(num_heads=5): "num_heads: expected a divisor of embed_dim",
    edited(num_classes=4): "num_classes: expected 3, as the tensors have it, found 4",
    edited(model_variant="pretrain"): "model_variant=pretrain, but there is a head",
    edited(model_variant="other"): "model_variant: expected one of pretrain, finetune",
    edited(layer_norm_first=True): "layer_norm_first: expected False, the one that is known here",
    edited(in_chans=3): "in_chans: expected 1",
    edited(stride=10): "stride: expected 16, as patch_size has it",
    edited(norm_eps=0): "norm_eps: expected a finite number above 0",
    edited(img_size=[1024]): "img_size: expected two numbers",
    edited(img_size=[1024, 64]): "img_size.1: expected 128, as mel_bins has it",
    edited(id2label={"0": "bark"}): "label_names: expected 3 texts or none",
}


@pytest.mark.parametrize("damage", HOSTILE, ids=lambda damage: damage.__name__)
def test_load_classifier__hostile_and_edited_directories_run_nothing_and_say_why_in_one_line(tmp_path, damage):
    folder = write_eat(tmp_path / "model", 3)
    damage(folder)
    with pytest.raises(CheckpointError, match=HOSTILE[damage]) as caught:
        load_classifier(folder)
    assert not (folder / "marker").exists()
    assert str(folder) in str(caught.value) and "\n" not in str(caught.value)
