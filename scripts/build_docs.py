"""Builds the documentation site: stages the repository's pages, adds API pages from the docstrings, runs mkdocs.

Pages keep their places (docs/training.md, README.md), so that a link means the same here and in the repository. A page,
heading or file that a link names and that is not there fails the build.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
STAGE = ROOT / "build" / "docs"
CONFIG = ROOT / "docs" / "mkdocs.yml"
PAGES = ("README.md", "docs/*.md", "benchmarks/README.md", "benchmarks/results/**/*.md", "data_manifest/README.md")
LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)")
API = {
    "Trained models": ("ASDA.inference.model", "ASDA.inference.embedding", "ASDA.inference.attention"),
    "Checkpoints": ("ASDA.checkpoints.checkpoint", "ASDA.checkpoints.reading"),
    "Networks": ("ASDA.core.config", "ASDA.core.encoder", "ASDA.core.classifier", "ASDA.core.attention"),
    "Objectives": (
        "ASDA.objectives.objective",
        "ASDA.objectives.self_distillation",
        "ASDA.objectives.masked_autoencoder",
        "ASDA.objectives.masked_prediction",
        "ASDA.objectives.classification",
    ),
    "Masks": ("ASDA.masks.mask", "ASDA.masks.kinds"),
    "Adaptation": ("ASDA.adaptation.method", "ASDA.adaptation.adapting", "ASDA.adaptation.lora"),
    "Audio and data": ("ASDA.audio.front_end", "ASDA.audio.io", "ASDA.data.manifest", "ASDA.data.labels"),
}
"""Page, as the navigation of docs/mkdocs.yml has it -> modules, each with what its docstrings say."""


def main() -> int:
    """Returns mkdocs' exit code."""
    stage()
    command = [sys.executable, "-m", "mkdocs", "build", "-f", str(CONFIG)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}  # an advertisement
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        # With --quiet mkdocs would not count its warnings, so that strict would mean nothing.
        said = (line for line in done.stderr.splitlines() if line.startswith(("WARNING", "ERROR")))
        print(*said, sep="\n", file=sys.stderr)
    else:
        print(STAGE.parent / "site" / "index.html")
    return done.returncode


def stage() -> None:
    """Copies the pages and what they link to below `build/docs`, and writes a page for each part of the API."""
    shutil.rmtree(STAGE, ignore_errors=True)
    for page in (page for pattern in PAGES for page in sorted(ROOT.glob(pattern))):
        _copy(page)
        for target in LINK.findall(page.read_text()):
            file = (page.parent / target).resolve()
            if file.is_file() and file.is_relative_to(ROOT):
                _copy(file)
    for title, modules in API.items():
        body = "\n\n".join(f"::: {module}" for module in modules)
        page = STAGE / "api" / f"{_slug(title)}.md"
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(f"# {title}\n\n{body}\n")


def _copy(file: Path) -> None:
    place = STAGE / file.relative_to(ROOT)
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(file, place)


def _slug(title: str) -> str:
    return title.lower().replace(" ", "_")


if __name__ == "__main__":
    sys.exit(main())
