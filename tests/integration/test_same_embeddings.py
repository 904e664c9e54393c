"""The same clips through every way in: one encoder, one answer, within a tolerance that each way states.

What all ways are held against is Python: the checkpoint as its authors' programs write it, `load_encoder`, and
`encoder.embed` on the waveforms. A way is one entry of `WAYS`; it gives whatever it can of `cls` (B, D), `mean` (B, D)
and, of a classifier, `logits` or `scores` (B, C).
"""

from __future__ import annotations

import importlib.util
import math
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from ASDA.audio.fbank import num_frames
from ASDA.bridges import hear
from ASDA.cli.convert import main as convert
from ASDA.cli.extract import main as extract
from ASDA.inference import load_classifier, load_encoder
from ASDA.inference.exporting import exported_program
from ASDA.inference.model import TrainedClassifier, TrainedEncoder
from tests.eat_files import write_eat
from tests.mae_ast_files import released
from tests.published_files import published_finetuned
from tests.vit_files import ssast_tensors, write_ast

RATE_HZ = 16_000
WINDOW_FRAMES = 64
LENGTHS = [2_960, 10_480, 9_000, 25_000, 400]
"""Samples of the clips: shorter than the window, as long as it, longer, and of a single frame."""

Values = dict[str, Tensor]


def saved(contents: dict, path: Path) -> Path:
    torch.save(contents, path)
    return path


ENCODERS: dict[str, Callable[[Path], Path]] = {
    "ASDA": lambda folder: saved(published_finetuned(num_classes=3), folder / "asda.pt"),
    "EAT": lambda folder: write_eat(folder / "eat", 3),
    "MAE-AST": lambda folder: saved(released(), folder / "mae_ast.pt"),
    "SSAST": lambda folder: saved(ssast_tensors(classes=3, num_patches=84), folder / "ssast.pth"),
    "AST": lambda folder: write_ast(folder / "ast"),
}
WITHOUT_HEAD = ("MAE-AST",)


def load(path: Path, **front_end) -> TrainedEncoder:
    name = path.stem if path.is_dir() else path.name
    loader = load_encoder if name.startswith(("mae_ast", "MAE-AST")) else load_classifier
    return loader(path, **front_end)


def values_of(model: TrainedEncoder, tokens: Tensor) -> Values:
    """What a clip comes to, from its tokens (B, X + N, D), prefix tokens first; those of an encoder without: the mean.

    For clips that are filled up to the window, so that all patches count.
    """
    prefix, patches = model.encoder.split(tokens)
    mean = patches.mean(dim=1)
    return {"cls": prefix.mean(dim=1) if prefix.shape[1] else mean, "mean": mean}


def stacked(each: list[Values]) -> Values:
    """Of clips one by one, (1, ...) each -> together."""
    return {name: torch.cat([values[name] for values in each]) for name in each[0]}


def by_embed(path: Path, clips: list[Tensor]) -> Values:
    """All clips as one batch."""
    model = load(path)
    batch = torch.nn.utils.rnn.pad_sequence(clips, batch_first=True)
    found = model.embed(batch, [len(clip) for clip in clips], padding="constant")
    return {"cls": found.cls, "mean": found.mean}


def by_files(path: Path, clips: list[Tensor]) -> Values:
    """Files on disk, one by one."""
    model = load(path)
    each = []
    for file in written(clips, path.parent / "clips of python"):
        each.append(values_of(model, model.features(file)[None]))
        if isinstance(model, TrainedClassifier):
            each[-1]["scores"] = model.scores(file)[None]
    return stacked(each)


def by_extract(path: Path, clips: list[Tensor], *more: str) -> Values:
    """asda-extract over a folder of the clips."""
    folder = path.parent / " ".join(["clips of asda-extract", *more])
    written(clips, folder)
    found = {}
    for name, granularity in {"cls": ["utterance"], "mean": ["patch-grid", "--pool", "mean"]}.items():
        output = folder.with_name(f"{folder.name} {name}")
        flags = ["--checkpoint_dir", path, "--output", output, "--device", "cpu", "--long", "crop"]
        flags += ["--padding", "constant", "--granularity", *granularity, *more]
        assert extract([str(flag) for flag in (folder, *flags)]) == 0
        arrays = [np.load(output / f"{number}.npy") for number in range(len(clips))]
        found[name] = torch.from_numpy(np.stack([array.reshape(-1) for array in arrays]))
    return found


def by_ray(path: Path, clips: list[Tensor]) -> Values:
    """The same on the workers of a Ray cluster."""
    return by_extract(path, clips, "--ray", "auto")


def by_hear(path: Path, clips: list[Tensor]) -> Values:
    """HEAR's scenes, clip by clip: the mean, and CLS where there is one."""
    found = {}
    for pooling in ("mean", "cls") if load(path).encoder.config.num_prefix_tokens else ("mean",):
        model = hear.load_model(str(path), padding="constant", pooling=pooling)
        found[pooling] = torch.cat([hear.get_scene_embeddings(clip[None], model) for clip in clips])
    return found


def by_torch_export(path: Path, clips: list[Tensor]) -> Values:
    """The graph of torch.export, waveforms in."""
    model = load(path)
    program = exported_program(model).module()
    outputs = [program(clip[None]) for clip in clips]
    return stacked([graph_values(model, found) for found in outputs])


def by_onnx(path: Path, clips: list[Tensor]) -> Values:
    """asda-convert --to onnx, run by onnxruntime."""
    import onnxruntime

    target = path.with_suffix(".onnx")
    assert convert([str(path), str(target), "--to", "onnx"]) == 0
    session = onnxruntime.InferenceSession(target, providers=["CPUExecutionProvider"])
    outputs = [session.run(None, {"waveform": clip[None].numpy()}) for clip in clips]
    return stacked([graph_values(load(path), [torch.from_numpy(value) for value in found]) for found in outputs])


def graph_values(model: TrainedEncoder, outputs: list[Tensor]) -> Values:
    if not isinstance(model, TrainedClassifier):
        return values_of(model, outputs[0])
    logits, probabilities, features = outputs
    return values_of(model, features) | {"logits": logits, "scores": probabilities}


def exported(path: Path) -> Path:
    """asda-convert --to huggingface."""
    target = path.with_name(f"{path.stem}_exported")
    if not target.exists():
        assert convert([str(path), str(target), "--to", "huggingface"]) == 0
    return target


def by_auto_model(path: Path, clips: list[Tensor]) -> Values:
    """transformers: AutoFeatureExtractor and AutoModel."""
    from transformers import AutoFeatureExtractor, AutoModel

    folder = exported(path)
    hear = AutoFeatureExtractor.from_pretrained(folder, trust_remote_code=True)
    network = AutoModel.from_pretrained(folder, trust_remote_code=True).eval()
    model, each = load(path), []
    for clip in clips:
        inputs = hear(clip.numpy(), sampling_rate=RATE_HZ, return_tensors="pt")["input_values"]
        each.append(values_of(model, network.extract_features(inputs)))
        if isinstance(model, TrainedClassifier):
            each[-1]["logits"] = network(inputs)
    return stacked(each)


def by_pipeline(path: Path, clips: list[Tensor]) -> Values:
    """transformers: pipeline("audio-classification")."""
    from transformers import pipeline

    classify = pipeline("audio-classification", model=str(exported(path)), trust_remote_code=True, device="cpu")
    index_of = {label: int(index) for index, label in classify.model.config.id2label.items()}
    scores = torch.zeros(len(clips), len(index_of))
    for number, clip in enumerate(clips):
        for found in classify({"array": clip.numpy(), "sampling_rate": RATE_HZ}, top_k=len(index_of)):
            scores[number, index_of[found["label"]]] = found["score"]
    return {"scores": scores}


@dataclass(frozen=True)
class Way:
    """A way from clips to embeddings.

    Attributes:
        run: checkpoint, clips (W,) -> values.
        tolerance: largest difference from Python's values, which are of the size of 1.
        needs: packages.
        lacks: encoders that the way does not take.
        most: samples of the longest clip that it hears as the others do.
        fixture: that has to be there.
        is_long: whether it is left to `make test-long`.
    """

    run: Callable[[Path, list[Tensor]], Values]
    tolerance: float
    needs: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()
    most: float = math.inf
    fixture: str | None = None
    is_long: bool = False


WAYS = {
    "embed": Way(by_embed, 1e-5),
    "files": Way(by_files, 1e-5),
    "asda-extract": Way(by_extract, 1e-5),
    "Ray": Way(by_ray, 1e-5, needs=("ray",), fixture="_cluster", is_long=True),
    # HEAR's clips are heard to their end, window after window, where the others here take the first window.
    "HEAR": Way(by_hear, 1e-5, most=max(length for length in LENGTHS if num_frames(length, RATE_HZ) <= WINDOW_FRAMES)),
    "torch.export": Way(by_torch_export, 1e-4, is_long=True),
    # onnxruntime and torch have Fourier transforms of their own, which differ in faint bins.
    "ONNX": Way(by_onnx, 1e-4, needs=("onnx", "onnxscript", "onnxruntime"), is_long=True),
    # NumPy's filterbank of the feature extractors, in place of torch's; transformers' ASTFeatureExtractor takes
    # torchaudio's where it is installed, and rounds the mel filters otherwise: 8e-5 of its input.
    "AutoModel": Way(by_auto_model, 1e-4, needs=("transformers",), is_long=True),
    "pipeline": Way(by_pipeline, 1e-4, needs=("transformers",), lacks=WITHOUT_HEAD, is_long=True),
}


def written(clips: list[Tensor], folder: Path) -> list[Path]:
    """The clips as files, to the bit."""
    folder.mkdir(exist_ok=True)
    files = [folder / f"{number}.wav" for number in range(len(clips))]
    for file, clip in zip(files, clips, strict=True):
        soundfile.write(file, clip.numpy(), RATE_HZ, subtype="FLOAT")
    return files


@pytest.fixture(scope="module")
def clips() -> list[Tensor]:
    """Decaying tones on an offset, in noise that no bin is without."""
    found = []
    for number, length in enumerate(LENGTHS):
        time_s = torch.arange(length) / RATE_HZ
        noise = torch.randn(length, generator=torch.Generator().manual_seed(number))
        found.append(0.3 * torch.sin(2 * torch.pi * 330 * (number + 1) * time_s) * torch.exp(-time_s) + 0.05 * noise)
    return found


@pytest.fixture(scope="module")
def _code_of_exports(tmp_path_factory):
    """Where transformers copies the directories' code: not into the user's cache, nor out of what others have left."""
    if importlib.util.find_spec("transformers") is None:
        yield
        return
    from transformers import dynamic_module_utils

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", list(sys.path))
        for name in [name for name in sys.modules if name.partition(".")[0] == "transformers_modules"]:
            patch.delitem(sys.modules, name)
        patch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path_factory.mktemp("modules")))
        patch.setenv("HF_HUB_OFFLINE", "1")
        yield


@pytest.fixture(scope="module")
def _cluster():
    """A Ray cluster of this machine for the module; the program takes the connection that is there."""
    from ASDA.inference.ray_cluster import connected

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_worker_niceness", "0")  # on a busy machine its workers would get no core
        with connected("local", 2):
            yield


@pytest.fixture(scope="module", params=ENCODERS)
def encoder(request, tmp_path_factory, clips):
    """An encoder's name, a checkpoint of it whose window is recorded, and what Python makes of the clips."""
    folder = tmp_path_factory.mktemp("encoder")
    native, path = ENCODERS[request.param](folder), folder / f"{request.param}_directory"
    flags = ["--to", "directory", "--target_length", str(WINDOW_FRAMES)]
    assert convert([str(native), str(path), *flags]) == 0
    model = load(native, target_length_frames=WINDOW_FRAMES)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of clips that are cut
        found = [model.embed(clip[None]) for clip in clips]
        expected = stacked([{"cls": of_clip.cls, "mean": of_clip.mean} for of_clip in found])
        if isinstance(model, TrainedClassifier):
            logits = torch.cat([model.logits(model.spectrogram(clip)[None]) for clip in clips])
            expected |= {"logits": logits, "scores": model.scores_of(logits)}
    return request.param, path, expected


@pytest.mark.usefixtures("_code_of_exports")
@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.long] * way.is_long) for n, way in WAYS.items()])
def test_embeddings__are_the_same_by_every_way(request, encoder, clips, name):
    system, path, expected = encoder
    way = WAYS[name]
    if system in way.lacks:
        pytest.skip(f"{name} takes no {system}")
    for package in way.needs:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{name} needs {package}")
    if way.fixture:
        request.getfixturevalue(way.fixture)
    heard = [number for number, clip in enumerate(clips) if len(clip) <= way.most]
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = way.run(path, [clips[number] for number in heard])
    assert found
    for kind, values in found.items():
        wanted = expected[kind][heard]
        assert values.shape == wanted.shape, kind
        apart = (values - wanted).abs().max()
        assert apart <= way.tolerance, (kind, apart)


def test_embeddings__tell_clips_and_encoders_apart(encoder):
    """Without which agreement would say nothing: the values differ by far more than any tolerance."""
    _, _, expected = encoder
    coarsest = max(way.tolerance for way in WAYS.values())
    for kind in expected.keys() - {"scores"}:  # which are squeezed into [0, 1]
        values = expected[kind]
        apart = torch.cdist(values, values, p=float("inf")).fill_diagonal_(torch.inf)
        assert apart.min() > 10 * coarsest
