"""X-ARES: its checker, a task of its own kind run offline, and what its batches do to a clip."""

import io
import json
import tarfile

import numpy as np
import pytest
import soundfile
import torch

from ASDA.bridges import xares_encoder
from ASDA.inference.model import load_encoder
from tests.bridges.conftest import NAMES, noise, padded


def test_xares__a_clip_is_what_embed_gives_whatever_it_is_filled_up_to(checkpoints):
    clips = [noise(16_000), noise(6_000), noise(700)]
    trained = load_encoder(checkpoints["asda"])
    encoder = xares_encoder.from_checkpoint(checkpoints["asda"])()
    together = encoder(padded(clips))
    assert together.shape == (3, 6, encoder.output_dim) and together.dtype == torch.float32
    for clip, values in zip(clips, together, strict=True):
        with torch.no_grad():
            expected = trained.embed(clip[None], padding="mask").frames[0]
        count = encoder.num_frames(len(clip))
        torch.testing.assert_close(values[:count], expected[:count], atol=1e-5, rtol=0)
        assert not values[count:].any()
        # What its MLP sees: the mean over all frames, normalised.
        alone, filled = (
            torch.nn.functional.layer_norm(v.mean(dim=0), v.shape[-1:]) for v in (encoder(clip[None])[0], values)
        )
        torch.testing.assert_close(filled, alone, atol=1e-3, rtol=0)


def test_xares__has_as_many_frames_as_the_batch_is_long(checkpoints):
    encoder = xares_encoder.from_checkpoint(checkpoints["asda"], hop_ms=40)()
    audio = torch.zeros(2, 32_000)
    audio[:, :8_000] = noise(8_000)
    assert encoder(audio).shape[1] == encoder.num_frames(32_000) == 51
    assert encoder.hop_size_in_ms == 40 and encoder.sampling_rate == 16_000


def test_xares__classes_of_other_weights_and_settings_have_other_names(checkpoints, monkeypatch):
    made = [xares_encoder.from_checkpoint(checkpoints[name]) for name in NAMES if name != "finetuned"]
    made += [xares_encoder.from_checkpoint(checkpoints["asda"], layer=1)]
    names = [encoder.__name__ for encoder in made]
    assert len(set(names)) == len(names) and all(
        name.endswith("_Encoder") and name.isidentifier() for name in names if not name[0].isdigit()
    )
    monkeypatch.chdir(checkpoints["asda"].parent)
    relative = xares_encoder.from_checkpoint("asda.pt")
    monkeypatch.chdir("/")
    assert relative().__class__.__name__ == names[0]


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
def test_xares__checker_passes(checkpoints, name):
    pytest.importorskip("xares", reason="X-ARES is not installed (extra [bridges])")
    from xares.audio_encoder_checker import check_audio_encoder

    assert check_audio_encoder(xares_encoder.from_checkpoint(checkpoints[name])())


def write_task(folder, num_clips=16):
    """Tones and noise of several lengths, in the tars that X-ARES reads."""
    folder.mkdir(parents=True)
    for split in ("train", "valid", "test"):
        with tarfile.open(folder / f"{split}-000000.tar", "w") as tar:
            for number in range(num_clips):
                time_s = np.arange(4_000 + 1_500 * (number % 5)) / 16_000
                tone = 0.5 * np.sin(2 * np.pi * 300 * time_s + number)
                sound = tone.astype(np.float32) if number % 2 else noise(len(time_s), seed=number).numpy()
                wav = io.BytesIO()
                soundfile.write(wav, sound, 16_000, format="WAV")
                label = json.dumps({"label": number % 2}).encode()
                for member, contents in ((f"{number:03d}.wav", wav.getvalue()), (f"{number:03d}.json", label)):
                    info = tarfile.TarInfo(member)
                    info.size = len(contents)
                    tar.addfile(info, io.BytesIO(contents))
    (folder / ".audio_tar_ready").touch()


@pytest.mark.long
def test_xares__a_task_runs_offline(checkpoints, tmp_path, monkeypatch):
    pytest.importorskip("xares", reason="X-ARES is not installed (extra [bridges])")
    from xares.task import TaskConfig, XaresTask

    monkeypatch.chdir(tmp_path)
    write_task(tmp_path / "env" / "tones")
    encoder = xares_encoder.from_checkpoint(checkpoints["asda"])()
    config = TaskConfig(
        name="tones",
        env_root=str(tmp_path / "env"),
        encoder=encoder,
        label_processor=lambda label: label["label"],
        output_dim=2,
        epochs=20,
        learning_rate=0.05,
        batch_size_encode=4,
        eval_weight=16,
        num_encoder_workers=0,
    )
    task = XaresTask(config)
    task.make_encoded_tar()
    encoded = list((tmp_path / "env" / "tones" / "embeddings" / type(encoder).__name__).glob("*.tar"))
    assert len(encoded) == 3
    assert task.run_mlp()[0] >= 0.75 and task.run_knn()[0] >= 0.75  # of random weights; chance is 0.5
