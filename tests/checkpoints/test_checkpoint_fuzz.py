"""Whatever is called a checkpoint: it is read, or refused in one line; nothing else comes out, and nothing hangs.

Every value of config.json and of a .pt's config is edited in turn, bytes are changed and files cut at random places,
always the same ones.
"""

import copy
import json
import random
import shutil
import time
import warnings

import pytest
import torch

from ASDA.cli.convert import main as convert
from ASDA.inference import CheckpointError, load_classifier, load_encoder
from tests.eat_files import write_eat
from tests.mae_ast_files import released
from tests.published_files import published_finetuned, published_pretraining
from tests.vit_files import ssast_tensors, write_ast

pytestmark = pytest.mark.slow

SEED = 20_260_114
LONGEST_READ_S = 20.0
"""Far above what reading takes: an edited size must not be built, or allocated, before it is compared."""

SELDOM_READ = ("modalities", "task", "common", "pretrained_model_args")
"""Large tables of a .pt's config of which reading needs little."""

MISSING = object()
EDITS = [
    MISSING, None, True, "", "word", -1, 0, 0.5, 3, 10**9, 10**30, float("nan"), float("inf"), [], [1, "a", None], {},
    {"unknown": 1},
]  # fmt: skip


def refusal(path, load):
    """Why a checkpoint cannot be read; None if it can."""
    start = time.monotonic()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's, about odd pickles
            load(path)
    except CheckpointError as error:
        assert str(path) in str(error) and len(str(error)) < 2_000 and "\n" not in str(error), str(error)
        return str(error)
    finally:
        assert time.monotonic() - start < LONGEST_READ_S
    return None


def places(value, path=()):
    """Paths to all values inside tables and lists of plain values, the tables themselves included."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in entries:
        yield (*path, key)
        yield from places(inner, (*path, key))


def edited(value, path, new):
    """A copy of nested plain values with one of them replaced or removed; tensors are shared."""
    result = copy.copy(value)
    if len(path) > 1:
        result[path[0]] = edited(value[path[0]], path[1:], new)
    elif new is MISSING:
        del result[path[0]]
    else:
        result[path[0]] = new
    return result


def describe(path, new):
    return f"{'.'.join(map(str, path))} = {'missing' if new is MISSING else repr(new)}"


class Tally:
    """Runs cases and lists those that end in anything but a value or a CheckpointError."""

    def __init__(self, load):
        self.load = load
        self.cases, self.refused, self.wrong = 0, 0, []

    def case(self, name, path):
        self.cases += 1
        try:
            self.refused += refusal(path, self.load) is not None
        except Exception as error:  # noqa: BLE001 - this is what the test looks for
            self.wrong.append(f"{name}: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")

    def check(self, at_least, refused):
        assert not self.wrong, f"{len(self.wrong)} of {self.cases}:\n" + "\n".join(self.wrong[:60])
        assert self.cases >= at_least and self.refused >= refused


SMALL = {"embed_dim": 16, "depth": 1}
STATES = {
    "pretrained": lambda: published_pretraining(**SMALL),
    "finetuned": lambda: published_finetuned(num_classes=3, **SMALL),
    "mae": lambda: released(embed_dim=16, layers=1),
    "ssast": lambda: ssast_tensors(depth=1, hidden=16),
}
LOAD = {"pretrained": load_encoder, "finetuned": load_classifier, "mae": load_encoder, "ssast": load_encoder}
FILES = ["pretrained.pt", "finetuned.pt", "pretrained_project.pt", "finetuned_project.pt", "mae.pt", "mae_project.pt"]
FILES += ["ssast_project.pt"]


def loader(file):
    return LOAD[file.partition(".")[0].partition("_")[0]]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Published files, files of this project and directories, of a pre-trained and of a fine-tuned model."""
    folder = tmp_path_factory.mktemp("checkpoints")
    for name, make in STATES.items():
        state = make()
        if name == "finetuned":
            state["task_state"] = {"label_names": ["cat", "dog", "rain"]}
        torch.save(state, folder / f"{name}.pt")
        for layout, target in (("project", f"{name}_project.pt"), ("directory", f"{name}_directory")):
            assert convert([str(folder / f"{name}.pt"), str(folder / target), "--to", layout]) == 0
    return folder


@pytest.mark.parametrize("name", STATES)
def test_read__edits_of_config_json(files, tmp_path, name):
    shutil.copytree(files / f"{name}_directory", tmp_path / "model")
    original = json.loads((tmp_path / "model" / "config.json").read_text())
    draw = random.Random(f"{SEED} {name}")
    tally = Tally(LOAD[name])
    for path in places(original):
        for new in EDITS if name == "finetuned" else draw.sample(EDITS, 5):
            (tmp_path / "model" / "config.json").write_text(json.dumps(edited(original, path, new)))
            tally.case(describe(path, new), tmp_path / "model")
    tally.check(at_least=100, refused=50)


@pytest.mark.parametrize(
    ("write", "file"),
    [
        (write_ast, "config.json"),
        (write_ast, "preprocessor_config.json"),
        (lambda folder: write_eat(folder, 3), "config.json"),
    ],
    ids=["AST config", "AST preprocessor", "EAT config"],
)
def test_read__edits_of_a_directory_of_transformers(tmp_path, write, file):
    write(tmp_path / "model")
    original = json.loads((tmp_path / "model" / file).read_text())
    tally = Tally(load_classifier)
    for path in places(original):
        for new in EDITS:
            (tmp_path / "model" / file).write_text(json.dumps(edited(original, path, new)))
            tally.case(describe(path, new), tmp_path / "model")
    draw = random.Random(f"{SEED} {file} of {original.get('model_type', 'AST')}")
    for number in range(100):
        kind, data = damaged(json.dumps(original).encode(), draw)
        (tmp_path / "model" / file).write_bytes(data)
        tally.case(f"{number}: {kind} {data[:40]!r}", tmp_path / "model")
    tally.check(at_least=200, refused=80)


def test_read__edits_of_a_file_of_tensors_alone(tmp_path):
    draw = random.Random(f"{SEED} tensors alone")
    values = [MISSING, None, 3, "word", {}, *(torch.ones(shape) for shape in ((), (7,), (2, 3, 4, 5), (0,), (1, 0, 3)))]
    tally = Tally(load_encoder)
    for state in (ssast_tensors(depth=1, hidden=16), ssast_tensors(classes=3, depth=1, hidden=16, num_patches=84)):
        extra = ("module.v.blocks.999999999.norm1.weight", "module.v.blocks", "module.p_input_fdim", "x", 5)
        for name in [*state, *extra]:
            for value in draw.sample(values, 4):
                if value is MISSING and name not in state:
                    continue
                torch.save(edited(state, (name,), value), tmp_path / "edited.pth")
                tally.case(describe((name,), value), tmp_path / "edited.pth")
    tally.check(at_least=150, refused=100)


@pytest.mark.long
@pytest.mark.parametrize("file", FILES)
def test_read__edits_of_a_pts_config(files, tmp_path, file):
    state = torch.load(files / file, weights_only=True)
    plain = {key: value for key, value in state.items() if key in ("cfg", "task_state")}
    draw = random.Random(f"{SEED} {file}")
    tally = Tally(loader(file))
    for path in [*((key,) for key in state), *places(plain)]:
        inside = path[0] == "cfg" and len(path) > 2 and any(part in SELDOM_READ for part in path[:-1])
        for new in draw.sample(EDITS, 1 if inside else 2):
            torch.save(edited(state, path, new), tmp_path / "edited.pt")
            tally.case(describe(path, new), tmp_path / "edited.pt")
    tally.check(at_least=90, refused=10)


@pytest.mark.parametrize("file", FILES)
def test_read__edits_of_a_pts_tensors(files, tmp_path, file):
    state = torch.load(files / file, weights_only=True)
    draw = random.Random(f"{SEED} {file} tensors")
    values = [MISSING, None, 3, "word", [1.0], {}, *(torch.ones(shape) for shape in ((), (7,), (2, 3, 4, 5), (0,)))]
    tally = Tally(loader(file))
    changes = [(name, draw.choice(values)) for name in state["model"]]
    extra = ("unknown", "blocks.999999999.norm1.weight", "blocks.x.y", "blocks", "head.more", "_ema_num_updates", 5)
    for name, value in [*changes, *((name, torch.ones(3)) for name in extra)]:
        torch.save(edited(state, ("model", name), value), tmp_path / "edited.pt")
        tally.case(describe((name,), value), tmp_path / "edited.pt")
    tally.check(at_least=20, refused=10)


def damaged(data, draw):
    """The bytes with some changed, cut off, taken out, doubled or put in."""
    data = bytearray(data)
    place = draw.randrange(len(data)) if draw.random() < 0.5 else draw.randrange(min(len(data), 2_000))
    length = draw.choice([1, 1, 2, 8, 100])
    kind = draw.choice(["flip", "flip", "cut", "take out", "double", "zero", "ones", "random"])
    if kind == "flip":
        data[place] ^= 1 << draw.randrange(8)
    elif kind == "cut":
        del data[place:]
    elif kind == "take out":
        del data[place : place + length]
    elif kind == "double":
        data[place:place] = data[place : place + length]
    else:
        fill = {"zero": bytes(length), "ones": b"\xff" * length, "random": draw.randbytes(length)}[kind]
        data[place : place + length] = fill
    return kind, bytes(data)


@pytest.mark.parametrize("file", ["pretrained.pt", "finetuned_project.pt", "finetuned_old.pt"])
def test_read__damaged_pt_files(files, tmp_path, file):
    if file == "finetuned_old.pt":
        torch.save(STATES["finetuned"](), files / file, _use_new_zipfile_serialization=False)
    original = (files / file).read_bytes()
    draw = random.Random(f"{SEED} {file}")
    tally = Tally(loader(file))
    for number in range(120):
        kind, data = damaged(original, draw)
        (tmp_path / "damaged.pt").write_bytes(data)
        tally.case(f"{number}: {kind}", tmp_path / "damaged.pt")
    tally.check(at_least=100, refused=20)


@pytest.mark.parametrize("file", ["config.json", "model.safetensors", "training.json"])
def test_read__damaged_directories(files, tmp_path, file):
    shutil.copytree(files / "finetuned_directory", tmp_path / "model")
    original = (tmp_path / "model" / file).read_bytes()
    draw = random.Random(f"{SEED} {file}")
    tally = Tally(load_classifier)
    for number in range(150):
        kind, data = damaged(original, draw)
        (tmp_path / "model" / file).write_bytes(data)
        tally.case(f"{number}: {kind} {data[:40]!r}", tmp_path / "model")
    for content in (b"", b"{}", b"[]", b"null", b"3", b"NaN", b"\xff\xfe", b"{" * 5_000, b'{"encoder": ' * 3_000):
        (tmp_path / "model" / file).write_bytes(content)
        tally.case(repr(content[:20]), tmp_path / "model")
    tally.check(at_least=100, refused=20)


DIRECTORIES = ["pretrained_directory", "mae_directory", "ssast_directory"]


@pytest.mark.parametrize("source", [*FILES[:2], *FILES[3:5], *DIRECTORIES])
def test_convert__edits_of_what_training_recorded(files, tmp_path, source, capsys):
    """All of it is handed on, so more of it is looked into than for using a model."""
    if is_directory := source.endswith("directory"):
        shutil.copytree(files / source, tmp_path / "edited")
        original = json.loads((files / source / "training.json").read_text())
        inner = original
    else:
        original = torch.load(files / source, weights_only=True)
        inner = {name: value for name, value in original.items() if name not in ("model", "last_optimizer_state")}
    draw = random.Random(f"{SEED} {source}")
    found = list(places(inner))
    outer = [path for path in found if len(path) <= 2 or path[-1] == "_name"]
    codes = []
    for path in [*outer, *draw.sample(found, min(20, len(found)))]:
        edit = edited(original, path, draw.choice(EDITS))
        if is_directory:
            (tmp_path / "edited" / "training.json").write_text(json.dumps(edit))
        else:
            torch.save(edit, tmp_path / "edited")
        layout = draw.choice(["project", "published", "directory"])
        target = tmp_path / ("new" if layout == "directory" else "new.pt")
        codes.append(convert([str(tmp_path / "edited"), str(target), "--to", layout]))
        said = capsys.readouterr().err.splitlines()
        assert codes[-1] in (0, 1) and (codes[-1] == 0 or len(said) == 1), (path, said)
    assert {0, 1} <= set(codes) and len(codes) >= 25
