"""Small checkpoints of every kind of encoder, and clips of every length."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torchaudio

from ASDA.adaptation.adapting import adapt
from ASDA.adaptation.bottlenecks import MlpAdapters
from ASDA.checkpoints.adapters import Adapter, base_of
from ASDA.checkpoints.layouts import adapter_directory, directory
from ASDA.checkpoints.reading import read_checkpoint
from ASDA.inference.model import build_encoder
from tests.mae_ast_files import released
from tests.published_files import published_finetuned, published_pretraining
from tests.vit_files import ssast_tensors, write_ast

NAMES = ("asda", "eat", "mae_ast", "mae_ast_frame", "ast", "ssast", "finetuned", "adapted", "32_khz")


@pytest.fixture(autouse=True)
def torchaudio_stays_as_it_was(monkeypatch):
    """A bridge may give its host's process another `torchaudio.load`."""
    monkeypatch.setattr(torchaudio, "load", torchaudio.load)


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory):
    """Encoders with one, two and no prefix tokens, of one or overlapping patches, adapted, of another rate."""
    folder = tmp_path_factory.mktemp("bridges")
    for name, contents in {
        "asda": published_pretraining("differential"),
        "eat": published_pretraining("plain"),
        "mae_ast": released(max_tokens=1024),
        "mae_ast_frame": released("frame", max_tokens=1024),
        "ssast": ssast_tensors(num_patches=8 * 64),
        "finetuned": published_finetuned("differential"),
    }.items():
        torch.save(contents, folder / f"{name}.pt")
    paths: dict[str, Path] = {path.stem: path for path in folder.glob("*.pt")}
    paths["ast"] = write_ast(folder / "ast")
    base = read_checkpoint(paths["asda"])
    paths["adapted"] = _adapter(base, folder / "adapted")
    paths["32_khz"] = folder / "32_khz"
    directory.write(paths["32_khz"], replace(base, front_end=replace(base.front_end, sample_rate_hz=32_000)), None)
    return paths


def _adapter(base, folder):
    network = build_encoder(base).encoder
    own, methods = set(network.state_dict()), (MlpAdapters(4),)
    torch.manual_seed(2)
    for module in adapt(network, methods):
        for parameter in module.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    tensors = {name: tensor for name, tensor in network.state_dict().items() if name not in own}
    adapter = Adapter(folder, "adapter", methods, tensors, base_of(base), base.encoder_config, base.front_end)
    adapter_directory.write(folder, adapter)
    return folder


def noise(num_samples, seed=0):
    """A clip (W,) of noise whose loudness varies."""
    generator = torch.Generator().manual_seed(seed + num_samples)
    loudness = torch.linspace(0.02, 0.3, num_samples)
    return loudness * torch.randn(num_samples, generator=generator)


def padded(clips):
    """Clips (W,) -> (B, W), zeros behind the shorter ones."""
    return torch.nn.utils.rnn.pad_sequence(list(clips), batch_first=True)
