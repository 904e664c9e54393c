"""asda-demo: what it refuses before the page is served, and what it serves."""

import numpy as np
import pytest
import soundfile

from ASDA.cli.demo import main
from tests.cli.conftest import CLASSES


@pytest.fixture
def served(monkeypatch):
    """The pages that would be served, with their addresses."""
    web = pytest.importorskip("ASDA.demo.web", reason="the page needs the extra [web]")
    pages, asked = [], []
    monkeypatch.setattr(web, "build_page", lambda *how: pages.append(how) or "page")
    monkeypatch.setattr(web, "serve", lambda page, host, port: asked.append((host, port)) or f"http://{host}:{port}")
    monkeypatch.setattr(web, "wait", lambda page: None)
    return pages, asked


def test_demo__serves_what_the_flags_say(run, models, corpus, served):
    labels = corpus / "label_descriptors.csv"
    flags = ["--label_file", labels, "--top_k", 2, "--threshold", 0.5, "--port", 8080, "--device", "cpu"]
    result = run(main, models.finetuned, models.pretrained, *flags)
    (((finetuned, pretrained), top_k, threshold),), (address,) = served
    assert (result.code, top_k, threshold, address) == (0, 2, 0.5, ("127.0.0.1", 8080))
    assert [finetuned.name, pretrained.name] == [str(models.finetuned), str(models.pretrained)]
    assert (finetuned.names, pretrained.names) == (CLASSES, []) and "http://127.0.0.1:8080" in result.out


def test_demo__names_classes_by_numbers_where_the_checkpoint_has_no_names(run, models, served):
    assert run(main, models.finetuned).code == 0
    assert served[0][0][0][0].names == ["class 0", "class 1", "class 2"]


def test_demo__a_label_file_of_other_classes_is_refused(run, models, corpus, served):
    labels = corpus / "label_descriptors.csv"
    labels.write_text(labels.read_text() + "3,/m/3,wind\n")
    result = run(main, models.finetuned, "--label_file", labels)
    assert result.code == 1 and "4 classes, but" in result.err and "has 3" in result.err and not served[1]


def test_demo__a_checkpoint_that_is_none_is_refused(run, tmp_path, served):
    soundfile.write(tmp_path / "clip.wav", np.zeros(800), 16_000)
    result = run(main, tmp_path / "clip.wav")
    assert result.code == 1 and "clip.wav" in result.err and not served[1]


@pytest.mark.parametrize(
    ("flags", "said"),
    [(["--threshold", "1.5"], "expected a score from 0 to 1"), (["--port", "70000"], "expected a number up to 65535")],
)
def test_demo__bad_flags_are_refused(flags, said, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["model.pt", *flags])
    assert stop.value.code == 2 and said in capsys.readouterr().err
