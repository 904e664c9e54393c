"""The demo's smallest corpus, a small encoder, and data folders whose clips are only named."""

import pytest
import torch

from ASDA.audio.front_end import FrontEnd
from ASDA.inference import TrainedEncoder
from ASDA.probes import training
from tests.architectures import make_encoder
from tests.demo.conftest import small_corpus  # noqa: F401


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    network = make_encoder(embed_dim=32, depth=2, num_heads=4, max_rows=16)
    return TrainedEncoder(network, FrontEnd(target_length_frames=128, norm_mean=-7.0, norm_std=4.0)).eval()


@pytest.fixture
def few_updates(monkeypatch):
    """Heads are trained for a moment only."""
    monkeypatch.setattr(training, "MIN_UPDATES", 60)


@pytest.fixture
def make_folder(tmp_path):
    """Writes manifests and labels (behind each clip's tab) of splits; the clips are not there."""

    def make(name="data", classes="ab", **labels):
        folder = tmp_path / name
        folder.mkdir()
        table = "".join(f"{index},{label},{label}\n" for index, label in enumerate(classes))
        (folder / "label_descriptors.csv").write_text(table)
        for split, of_clips in labels.items():
            rows = "".join(f"{split}{number}.wav\t16000\n" for number in range(len(of_clips)))
            (folder / f"{split}.tsv").write_text(f"{folder}\n{rows}")
            lines = "".join(f"{split}{number}\t{label}\n" for number, label in enumerate(of_clips))
            (folder / f"{split}.lbl").write_text(lines)
        return folder

    return make
