"""The page of asda-demo, played to through gradio's own client."""

import base64
import io

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from ASDA.checkpoints.reading import read_checkpoint
from ASDA.demo.listening import Listener
from tests.published_files import published_finetuned, published_pretraining

gradio_client = pytest.importorskip("gradio_client", reason="the page needs the extra [web]")
pytest.importorskip("gradio", reason="the page needs the extra [web]")
NUM_PARTS = 3


@pytest.fixture(scope="module")
def listeners(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoints")
    torch.save(published_finetuned(num_classes=3, task={"target_length": 96}), folder / "finetuned.pt")
    torch.save(published_pretraining(), folder / "pretrained.pt")
    names = {"finetuned.pt": ["bark", "meow", "rain"], "pretrained.pt": None}
    return [Listener(name, read_checkpoint(folder / name), classes) for name, classes in names.items()]


@pytest.fixture(scope="module")
def client(listeners):
    from ASDA.demo import web

    page = web.build_page(listeners, top_k=2)
    address = web.serve(page, "127.0.0.1", None)
    yield gradio_client.Client(address, verbose=False)
    page.close(verbose=False)


def picture(plot):
    """The picture of a figure as it reaches a browser, (height, width, 3)."""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(plot["plot"].partition(",")[2]))).convert("RGB"))


def test_page__a_file_gives_labels_a_time_line_and_attention_of_each_checkpoint(client, listeners, tmp_path):
    samples = 0.1 * np.random.default_rng(0).standard_normal((40_000, 2))
    soundfile.write(tmp_path / "clip.flac", samples, 44_100)  # stereo, at another rate than the encoder hears
    file = gradio_client.handle_file(str(tmp_path / "clip.flac"))
    parts = client.predict(file, 0.3, 2, api_name="/listen")
    assert len(parts) == len(listeners) * NUM_PARTS
    expected = listeners[0].listen(tmp_path / "clip.flac", 2, 0.3)
    found = [(each["label"], each["confidence"]) for each in parts[0]["confidences"]]
    assert [label for label, _ in found] == [each.label for each in expected.predictions]
    assert [score for _, score in found] == pytest.approx([each.score for each in expected.predictions], abs=1e-6)
    for plot in (parts[1], parts[2], parts[5]):
        drawn = picture(plot)
        assert min(drawn.shape[:2]) > 100 and len(np.unique(drawn.reshape(-1, 3), axis=0)) > 50
    assert not parts[3] and not parts[4]  # of the encoder without classes


@pytest.mark.parametrize("content", [None, b"RIFF0000"])
def test_page__says_what_is_wrong_with_a_clip(client, tmp_path, content):
    file = None
    if content is not None:
        (tmp_path / "broken.wav").write_bytes(content)
        file = gradio_client.handle_file(str(tmp_path / "broken.wav"))
    with pytest.raises(gradio_client.exceptions.AppError, match="no clip" if file is None else "broken.wav: "):
        client.predict(file, 0.3, 1, api_name="/listen")
