"""The table "Imports point one way" of docs/architecture.md, read from there and held against the code."""

import ast
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
DOCUMENT = REPOSITORY / "docs" / "architecture.md"
TRAINING_STACK = {"fairseq", "hydra", "omegaconf"}
# What an environment without these packages does: the first of all finders says that they do not exist.
WITHOUT_TRAINING_STACK = """
import importlib, sys

class Absent:
    def find_spec(name, path=None, target=None):
        if name.split(".")[0] in sys.argv[1].split(","):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent)
for module in sys.argv[2:]:
    importlib.import_module(module)
"""
WITHOUT_FAIRSEQ = (
    *("core", "masks", "objectives", "adaptation", "audio", "data", "checkpoints", "inference", "probes", "reports"),
    *("training", "metrics", "atomic", "randomness", "host_memory"),
)
RUN_ELSEWHERE = ("ASDA.checkpoints.layouts.huggingface.exported",)  # copied into a directory for transformers


@dataclass(frozen=True)
class Rule:
    """A row of the table. ``allowed`` are prefixes below ASDA; None: everything."""

    allowed: frozenset | None
    fairseq: str  # "yes", "no", or what it may be used for: then only inside functions


@dataclass(frozen=True)
class Import:
    """``target`` is the full dotted name, a module's where one is meant; ``lazy``: inside a function."""

    target: str
    line: int
    lazy: bool


def read_rules(text):
    rules = {}
    table = text.partition("## Imports point one way")[2].partition("\n## ")[0]
    for row in re.findall(r"^\|(.*)\|$", table, re.MULTILINE)[2:]:  # after the header and its ruler
        plain = (re.sub(r"\(.*?\)|;.*|`", "", cell) for cell in row.split("|"))  # without asides
        folder, allowed, fairseq = (cell.strip() for cell in plain)
        names = None if allowed == "everything" else frozenset(re.split(r"\s*,\s*", allowed)) - {"nothing"}
        rules[folder] = Rule(names, fairseq)
    return rules


class Package:
    """The imports of every module of a package on disk, by dotted name."""

    def __init__(self, root):
        self.files = {}
        for path in sorted(root.rglob("*.py")):
            parts = path.relative_to(root.parent).with_suffix("").parts
            self.files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
        self.imports = {module: list(self._read(module)) for module in self.files}

    def _read(self, module):
        path = self.files[module]
        package = module if path.name == "__init__.py" else module.rpartition(".")[0]
        tree = ast.parse(path.read_text(encoding="utf-8"))
        functions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
        lazy = {id(n) for f in ast.walk(tree) if isinstance(f, functions) for n in ast.walk(f)}
        for node in ast.walk(tree):
            targets = []
            if isinstance(node, ast.Import):
                targets = [name.name for name in node.names]
            elif isinstance(node, ast.ImportFrom):
                base = node.module or ""
                if node.level:
                    parents = package.split(".")
                    base = ".".join(parents[: len(parents) - node.level + 1] + ([base] if base else []))
                # `from ..core import masking` means the module, `from ..core.masking import f` a name in it
                targets = [f"{base}.{n.name}" if f"{base}.{n.name}" in self.files else base for n in node.names]
            for target in targets:
                yield Import(target, node.lineno, id(node) in lazy)

    def loads(self, module):
        """Modules of ours that are executed when ``module`` is imported, its packages' included, and itself."""
        seen, todo = set(), [module]
        while todo:
            current = todo.pop()
            parents = [".".join(current.split(".")[:n]) for n in range(2, current.count(".") + 2)]
            for name in parents:  # the top package registers the plugin only where fairseq is installed
                if name in self.files and name not in seen:
                    seen.add(name)
                    todo += [i.target for i in self.imports[name] if not i.lazy]
        return seen


def within(name, prefixes):
    return any(name == prefix or name.startswith(prefix + ".") for prefix in prefixes)


def violations(package, rules):
    found = []
    for module, imports in package.imports.items():
        top, _, inside = module.partition(".")
        if not inside or inside.startswith("_"):  # the package itself: it registers the plugin
            found += [f"{module}:{i.line} imports cli" for i in imports if within(i.target, [f"{top}.cli"])]
            continue
        folder = inside.split(".")[0]
        if folder not in rules:
            found.append(f"{module}: {folder} has no row in the table of docs/architecture.md")
            continue
        rule = rules[folder]
        for i in imports:
            where = f"{module}:{i.line}"
            root, _, ours = i.target.partition(".")
            if root == top and ours and rule.allowed is not None and not within(ours, rule.allowed | {folder}):
                found.append(f"{where}: {folder} may not import {ours}")
            if root in TRAINING_STACK and (rule.fairseq == "no" or (rule.fairseq != "yes" and not i.lazy)):
                found.append(f"{where}: {folder} imports {root}; the table says: {rule.fairseq}")
        if rule.fairseq != "yes":
            for other in sorted(package.loads(module) - {module}):
                reached = {i.target.split(".")[0] for i in package.imports[other] if not i.lazy} & TRAINING_STACK
                found += [f"{module}: needs {name} by importing {other}" for name in sorted(reached)]
    return found


def test_imports__point_the_way_the_table_says():
    assert violations(Package(REPOSITORY / "ASDA"), read_rules(DOCUMENT.read_text(encoding="utf-8"))) == []


def test_imports__nothing_imports_cli():
    package = Package(REPOSITORY / "ASDA")
    for module, imports in package.imports.items():
        if not within(module, ["ASDA.cli"]):
            assert not [i for i in imports if within(i.target, ["ASDA.cli"])], module


@pytest.mark.slow
def test_imports__plain_folders_work_without_fairseq():
    plain = [f"ASDA.{folder}" for folder in WITHOUT_FAIRSEQ]
    modules = [m for m in Package(REPOSITORY / "ASDA").files if within(m, plain) and not within(m, RUN_ELSEWHERE)]
    command = [sys.executable, "-c", WITHOUT_TRAINING_STACK, ",".join(TRAINING_STACK), *modules]
    run = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_read_rules__understands_the_table():
    rules = read_rules(DOCUMENT.read_text(encoding="utf-8"))
    assert rules["core"] == Rule(frozenset({"core"}), "no")
    assert rules["metrics"] == Rule(frozenset(), "no")
    assert rules["fairseq_plugin"].allowed >= {"objectives", "core", "checkpoints"}
    assert rules["fairseq_plugin"].fairseq == "yes"
    assert rules["inference"].allowed >= {"checkpoints", "core", "audio"}
    assert rules["launch"].fairseq == "only hydra and omegaconf, to compose the yaml"
    assert rules["cli"].allowed is None


@pytest.mark.parametrize(
    ("file", "code", "message"),
    [
        ("core/net.py", "from ..audio import io", "X.core.net:1: core may not import audio.io"),
        ("core/net.py", "from X import audio", "X.core.net:1: core may not import audio"),
        ("core/net.py", "import X.audio.io", "X.core.net:1: core may not import audio.io"),
        ("core/net.py", "def f():\n    from .. import audio", "X.core.net:2: core may not import audio"),
        ("core/net.py", "import fairseq.data", "X.core.net:1: core imports fairseq; the table says: no"),
        ("core/net.py", "def f():\n    import hydra", "X.core.net:2: core imports hydra; the table says: no"),
        ("core/__init__.py", "from ..data.set import f", "X.core:1: core may not import data.set"),
        ("data/set.py", "from ..core import net", "X.data.set:1: data may not import core.net"),
        ("use/load.py", "import fairseq", "X.use.load:1: use imports fairseq; the table says: only to read"),
        ("use/load.py", "from ..data import set", "X.use.load: needs fairseq by importing X.data.set"),
        ("new/part.py", "", "X.new.part: new has no row in the table of docs/architecture.md"),
        ("__init__.py", "from .cli import run", "X:1 imports cli"),
    ],
)
def test_violations__are_found(tmp_path, file, code, message):
    rules = read_rules(
        "## Imports point one way\n\n| folder | may import | fairseq |\n|---|---|---|\n| core | core | no |\n"
        "| audio | nothing | no |\n| data | audio, core.masking | yes |\n| use | everything; really | only to read |\n"
        "| cli | everything | no |\n\n## Next\n| x | y | z |\n"
    )
    allowed = {
        "__init__.py": "from .core import masking",
        "core/__init__.py": "from .masking import f",
        "core/masking.py": "import torch",
        "core/net.py": "from . import masking",
        "audio/__init__.py": "",
        "audio/io.py": "",
        "data/__init__.py": "",
        "data/set.py": "import fairseq.data\nfrom ..core.masking import f\nfrom ..audio import io",
        "use/load.py": "def f():\n    import fairseq",
        "cli/run.py": "from ..use.load import f",
    }
    for name, content in allowed.items():
        (tmp_path / "X" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "X" / name).write_text(content)
    assert violations(Package(tmp_path / "X"), rules) == []
    (tmp_path / "X" / file).parent.mkdir(exist_ok=True)
    (tmp_path / "X" / file).write_text(code)
    assert message in violations(Package(tmp_path / "X"), rules)
