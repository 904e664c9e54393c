"""mteb: its audio mock tasks, what it is told of a model, and what it may hand over."""

import io
from importlib import import_module

import numpy as np
import pytest
import soundfile
import torch

from ASDA.inference.model import load_encoder
from tests.bridges.conftest import noise

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def maeb():
    """The bridge; importing mteb takes many seconds, which those who run other tests should not wait for."""
    pytest.importorskip("mteb", reason="mteb is not installed (extra [bridges], Python 3.11 or newer)")
    from ASDA.bridges import maeb

    return maeb


class Rows:
    """As much of a DataLoader as the encoder uses."""

    def __init__(self, rows, batch_size=2):
        self.dataset, self.rows, self.batch_size, self.collate_fn = self, rows, batch_size, None
        self.features = {"audio": None, "label": None}

    def __len__(self):
        return -(-len(self.rows) // self.batch_size)

    def __iter__(self):
        for first in range(0, len(self.rows), self.batch_size):
            yield self.collate_fn(self.rows[first : first + self.batch_size])


def row(array, rate_hz=16_000):
    return {"audio": {"array": np.asarray(array), "sampling_rate": rate_hz}, "label": 0}


def test_maeb__vectors_are_those_of_embed_whatever_a_clip_is_batched_with(maeb, checkpoints):
    clips = [noise(9_600), noise(16_000), noise(700), noise(31_000), noise(2_000)]
    model, encoder = maeb.model_meta(checkpoints["asda"]).load_model(), load_encoder(checkpoints["asda"])
    with torch.no_grad():
        expected = torch.cat([encoder.embed(clip[None], padding="mask").mean for clip in clips])
    for batch_size in (1, 2, 5):
        found = model.encode(
            Rows([row(clip) for clip in clips], batch_size), task_metadata=None, hf_split="test", hf_subset=""
        )
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)


def test_maeb__takes_stereo_integers_and_other_rates(maeb, checkpoints):
    clip = noise(16_000).numpy()
    model = maeb.model_meta(checkpoints["asda"]).load_model()
    stereo, integers = np.stack([clip, clip]), np.round(clip * 32768).astype(np.int16)
    rows = [
        row(clip),
        row(stereo),
        row(stereo.T),
        row(integers),
        row(clip[None].astype(np.float64)),
        row(noise(32_000), 32_000),
    ]
    found = model.encode(Rows(rows))
    np.testing.assert_allclose(found[[1, 2, 4]], found[[0, 0, 0]], atol=1e-5)
    np.testing.assert_allclose(found[3], found[0], atol=0.05)
    with torch.no_grad():
        resampled = model.model.trained.embed(noise(32_000)[None], sample_rate_hz=32_000, padding="mask").mean[0]
    np.testing.assert_allclose(found[5], resampled.numpy(), atol=1e-3)
    with pytest.warns(UserWarning, match="shorter than the analysis window"):
        short = model.encode(Rows([row(np.zeros(100)), row(np.zeros(0)), row(clip)]))
    np.testing.assert_allclose(short[[0, 2]], [short[1], found[0]], atol=1e-5)
    with pytest.raises(ValueError, match="precision=int8"):
        model.encode(Rows([row(clip)]), precision="int8")
    with pytest.raises(ValueError, match="hears audio alone; this task has text"):
        texts = Rows([])
        texts.features = {"text": None}
        model.encode(texts)


def test_maeb__model_meta_tells_models_and_settings_apart(maeb, checkpoints):
    metas = [maeb.model_meta(checkpoints[name]) for name in ("asda", "eat", "ast")]
    metas.append(maeb.model_meta(checkpoints["asda"], layer=1, pooling="cls"))
    assert len({meta.revision for meta in metas}) == 4
    assert metas[0].name == "local/asda" and metas[0].embed_dim == 32 and metas[0].modalities == ["audio"]
    assert metas[0].n_parameters == sum(p.numel() for p in load_encoder(checkpoints["asda"]).encoder.parameters())
    assert dict(metas[3].experiment_kwargs) == {"layer": 1, "pooling": "cls"}
    stated = maeb.model_meta(
        checkpoints["asda"], "me/asda", facts={"license": "mit", "training_datasets": {"AudioSet"}}
    )
    assert (stated.name, stated.license, stated.training_datasets) == ("me/asda", "mit", {"AudioSet"})
    model = metas[3].load_model(device="cpu")
    assert (
        model.model.layer == 1 and model.model.pooling == "cls" and model.mteb_model_meta.revision == metas[3].revision
    )
    other = metas[0].model_copy(update={"loader_kwargs": {"checkpoint": str(checkpoints["eat"])}})
    with pytest.raises(ValueError, match="was described as"):
        other.load_model()


@pytest.fixture
def audio_of_datasets(monkeypatch):
    """The mock tasks write and decode sound with torchcodec; soundfile does where FFmpeg's libraries are missing."""
    wav = io.BytesIO()
    soundfile.write(wav, np.zeros(16), 16_000, format="WAV")
    try:
        from torchcodec.decoders import AudioDecoder

        AudioDecoder(wav.getvalue())
    except (ImportError, OSError, RuntimeError):
        from datasets import Audio

        def encode(_, value):
            wav = io.BytesIO()
            soundfile.write(wav, np.asarray(value["array"], np.float32), value["sampling_rate"], "FLOAT", format="WAV")
            return {"bytes": wav.getvalue(), "path": None}

        def decode(_, value, **__):
            samples, rate_hz = soundfile.read(io.BytesIO(value["bytes"]), dtype="float32")
            return {"array": samples, "sampling_rate": rate_hz}

        monkeypatch.setattr(Audio, "encode_example", encode)
        monkeypatch.setattr(Audio, "decode_example", decode)


@pytest.mark.parametrize(
    "task",
    [
        "classification.MockAudioClassification",
        "classification.MockAudioClassificationCrossVal",
        "classification.MockAudioMultilabelClassificationTask",
        "clustering.MockAudioClusteringTask",
        "pair_classification.MockAudioPairClassification",
        "reranking.MockAudioReranking",
        "retrieval.MockAny2AnyRetrievalA2ATask",
    ],
)
@pytest.mark.usefixtures("audio_of_datasets")
def test_maeb__mock_tasks(maeb, checkpoints, task, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import mteb

    module, _, name = task.partition(".")
    mock = getattr(import_module(f"mteb.mocks.mock_tasks.{module}"), name)()
    result = mteb.evaluate(maeb.model_meta(checkpoints["asda"]), mock, cache=None)
    assert result.model_name == "local/asda" and np.isfinite(result.task_results[0].get_score())
