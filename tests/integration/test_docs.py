"""The documentation site is built, and a link that leads nowhere fails it."""

import shutil
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
pytest.importorskip("mkdocs", reason="the site needs the extra [docs]")
pytestmark = pytest.mark.long


@pytest.fixture
def build(tmp_path, monkeypatch):
    """Builds the site of a copy of the pages; returns the exit code."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import build_docs

    for name in ("ASDA", "docs", "benchmarks", "data_manifest", "README.md", "CITATION.cff", "config"):
        source = ROOT / name
        shutil.copytree(source, tmp_path / name) if source.is_dir() else shutil.copy(source, tmp_path / name)
    monkeypatch.setattr(build_docs, "ROOT", tmp_path)
    monkeypatch.setattr(build_docs, "STAGE", tmp_path / "build" / "docs")
    monkeypatch.setattr(build_docs, "CONFIG", tmp_path / "docs" / "mkdocs.yml")
    return build_docs.main


def test_site__has_every_page_of_docs_and_what_the_docstrings_say(build, tmp_path):
    assert build() == 0
    site = tmp_path / "build" / "site"
    listed = yaml.safe_dump(yaml.safe_load((ROOT / "docs" / "mkdocs.yml").read_text())["nav"])
    for page in ROOT.glob("docs/*.md"):
        assert (site / "docs" / page.stem / "index.html").is_file()
        assert f"docs/{page.name}" in listed, "the page is not in the navigation of docs/mkdocs.yml"
    page = (site / "api" / "trained_models" / "index.html").read_text()
    assert "load_encoder" in page and "Features of one clip" in page


@pytest.mark.parametrize("link", ["nothing.md", "programs.md#no-such-heading"])
def test_site__a_link_that_leads_nowhere_fails_it(build, tmp_path, link, capsys):
    with open(tmp_path / "docs" / "attention.md", "a") as page:
        page.write(f"\nSee [there]({link}).\n")
    assert build() != 0
    said = capsys.readouterr().err
    assert "attention.md" in said and link.partition(".md")[2] in said and link.partition("#")[0] in said
