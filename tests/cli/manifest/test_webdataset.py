"""`asda-manifest webdataset`: tars whose members say what the clip beside them is."""

import io
import json
import tarfile

import numpy as np
import pytest
import soundfile

from ASDA.data.containers import ClipReader
from ASDA.data.labels import LabelTable, read_clip_labels
from ASDA.data.manifest import Manifest
from tests.cli.manifest.reading import RATE_HZ, files_below


def wav(seed=0):
    file = io.BytesIO()
    soundfile.write(file, 0.1 * np.random.default_rng(seed).standard_normal(900 + seed), RATE_HZ, format="WAV")
    return file.getvalue()


@pytest.fixture
def write(tmp_path):
    """Writes a tar of (name, content) members in their order."""

    def write(name, *members):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(path, "w") as archive:
            for member, content in members:
                data = content if isinstance(content, bytes) else str(content).encode()
                info = tarfile.TarInfo(member)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
        return path

    return write


def labels_of(out, split="train"):
    manifest = Manifest.read(out / f"{split}.tsv")
    table = LabelTable.read(out / "label_descriptors.csv")
    labels = read_clip_labels(out / f"{split}.lbl", manifest, table)
    return {manifest.relative_path(i): [table.names[c] for c in labels.targets(i)] for i in range(len(manifest))}


def test_webdataset__members_in_any_order_are_one_clip(tmp_path, write, run):
    write(
        "train-000000.tar",
        *(("b.cls", 1), ("a/x.json", "{}"), ("a/x.wav", wav(0)), ("c.v1.flac", b"fLaC no"), ("b.wav", wav(1))),
        *(("a/x.cls", 0), ("c.cls", 1), ("notes.txt", "no clip"), (".hidden.wav", wav(2))),
    )
    write("test-000000.tar", ("k.wav", wav(3)), ("k.cls", 0))
    code, text = run("webdataset", "{data}", "--out", "{out}")
    assert code == 0, text
    assert "2 classes, from cls:" in text and "left out: train-000000.tar/c.v1.flac: unreadable" in text
    assert labels_of(tmp_path / "out") == {"train-000000.tar/a/x.wav": ["0"], "train-000000.tar/b.wav": ["1"]}
    assert labels_of(tmp_path / "out", "eval") == {"test-000000.tar/k.wav": ["0"]}
    assert (tmp_path / "data" / "train-000000.tar.index.npy").exists()
    assert ClipReader(RATE_HZ).load(str(tmp_path / "data" / "train-000000.tar" / "b.wav")).numel() == 901
    assert run("check", "{out}")[0] == 0


@pytest.mark.parametrize(
    ("ending", "contents", "flags", "expected"),
    [
        ("cls", ("3", "10\n"), [], (["3"], ["10"])),
        ("cls", ("dog", "cat"), [], (["dog"], ["cat"])),
        ("txt", ("dog", "cat"), ["--labels", "txt"], (["dog"], ["cat"])),
        ("json", ('{"label": "dog"}', '{"label": "cat"}'), [], (["dog"], ["cat"])),
        ("json", ('{"labels": ["dog", "cat"]}', '{"labels": []}'), [], (["dog", "cat"], [])),
        ("json", ('{"label": 1, "x": "p"}', '{"label": 1, "x": "q"}'), ["--labels", "json:x"], (["p"], ["q"])),
        ("json", ('{"label": "a|b"}', '{"label": "b"}'), ["--label-separator", "|"], (["a", "b"], ["b"])),
    ],
)
def test_webdataset__labels_of_every_kind(tmp_path, write, run, ending, contents, flags, expected):
    members = [(f"{i}.wav", wav(i)) for i in range(2)] + [(f"{i}.{ending}", text) for i, text in enumerate(contents)]
    write("shard.tar", *members)
    code, text = run("webdataset", "{data}", "--out", "{out}", *flags)
    assert code == 0, text
    assert tuple(labels_of(tmp_path / "out").values()) == expected


def test_webdataset__numbers_count_the_rows_of_a_table(tmp_path, write, run):
    (tmp_path / "table.csv").write_text('0,/m/a,"bark"\n1,/m/b,"meow"\n')
    write("a.tar", ("x.wav", wav(0)), ("x.cls", 1), ("y.wav", wav(1)), ("y.cls", 0))
    flags = ("--label-table", str(tmp_path / "table.csv"))
    assert run("webdataset", "{data}", "--out", "{out}", *flags)[0] == 0
    assert list(labels_of(tmp_path / "out").values()) == [["meow"], ["bark"]]
    write("a.tar", ("x.wav", wav(0)), ("x.cls", 2), ("y.wav", wav(1)), ("y.cls", 0))
    code, text = run("webdataset", "{data}", "--out", "{out}", "--overwrite", *flags)
    assert code == 1 and "a.tar, 'x', cls: expected the number of one of the 2 classes, 0 to 1, got 2" in text


def test_webdataset__repeated_and_damaged_members_are_left_out_and_named(tmp_path, write, run):
    write(
        "a.tar",
        *(("x.wav", wav(0)), ("x.json", '{"label": "p"}'), ("x.wav", wav(1)), ("y.wav", wav(2))),
        *(("y.json", '{"label": "q"}'), ("z.wav", wav(3)), ("z.json", "{"), ("w.wav", wav(4))),
        *(("v.wav", wav(5)), ("v.json", '{"label": "p"}')),
    )
    code, text = run("webdataset", "{data}", "--out", "{out}")
    assert code == 0, text
    assert "1 clips are left out, the first: a.tar/x.wav: expected each member once, 'x.wav' stands there more" in text
    assert "2 of 4 clips have no label and are left out" in text
    assert labels_of(tmp_path / "out") == {"a.tar/y.wav": ["q"], "a.tar/v.wav": ["p"]}
    assert "its member 'z.json' is no json" in (tmp_path / "out" / "report.txt").read_text()


def test_webdataset__what_does_not_fit_is_one_line(tmp_path, write, run):
    def refused(message, *flags):
        code, text = run("webdataset", "{data}", "--out", "{out}", *flags)
        assert code == 1 and message in text and text.strip().count("\n") == 0, text
        assert not (tmp_path / "out").exists()

    tar = write("a.tar", ("x.mix.wav", wav(0)), ("x.voice.wav", wav(1)), ("x.json", "{}"))
    refused("a.tar: expected one recording of 'x', got mix.wav, voice.wav; choose one by its ending (--audio)")
    refused(
        "no clip has the label that --labels cls names; the endings of their members are mix.wav",
        "--labels",
        "cls",
        "--audio",
        "mix.wav",
    )
    refused("the 1 tars hold no clip; the endings of their members are", "--audio", "flac")
    tar.write_bytes(tar.read_bytes()[:2000])
    refused("a.tar: the tar cannot be read (damaged behind 0 members: truncated: 'x.mix.wav' should reach to byte")
    tar.write_bytes(b"\x1f\x8b compressed")
    refused("a.tar: the tar cannot be read (not a tar: a compressed archive; unpack it first)")
    tar.rename(tar.with_name("a.tar.gz"))
    refused("expected *.tar files below this folder, found none; *.tar.gz: 1 files of this kind are left out")


def test_webdataset__the_chosen_recording_and_no_labels(tmp_path, write, run):
    write("a.tar", ("x.mix.wav", wav(0)), ("x.voice.wav", wav(1)), ("x.cls", 1))
    assert run("webdataset", "{data}", "--out", "{out}", "--audio", "voice.wav", "--no-labels")[0] == 0
    manifest = Manifest.read(tmp_path / "out" / "train.tsv")
    assert [manifest.relative_path(i) for i in range(len(manifest))] == ["a.tar/x.voice.wav"]
    assert "train.lbl" not in files_below(tmp_path / "out")


def test_webdataset__groups_and_folds_by_fields_of_json(tmp_path, write, run):
    members = []
    for i in range(6):
        members += [(f"{i}.wav", wav(i)), (f"{i}.json", json.dumps({"label": "ab"[i % 2], "speaker": i // 2}))]
    write("a.tar", *members)
    code, text = run("webdataset", "{data}", "--out", "{out}", "--fold-column", "speaker")
    assert code == 0 and files_below(tmp_path / "out").count("fold0/train.tsv") == 1
    flags = ("--group-by", "column:speaker", "--hold-out", "valid=0.34", "--overwrite")
    code, text = run("webdataset", "{data}", "--out", "{out}", *flags)
    assert code == 0 and "valid: 2 clips" in text and "1 groups" in text


def test_webdataset__reads_what_webdataset_writes(tmp_path, run):
    webdataset = pytest.importorskip("webdataset", reason="needs webdataset")
    (tmp_path / "data").mkdir()
    with webdataset.ShardWriter(str(tmp_path / "data" / "train-%06d.tar"), maxcount=3, verbose=0) as shards:
        for i in range(5):
            shards.write({"__key__": f"clips/{i:04d}", "wav": wav(i), "json": {"label": "ab"[i % 2]}, "cls": i % 2})
    code, text = run("webdataset", "{data}", "--out", "{out}", "--labels", "json:label")
    assert code == 0, text
    found = labels_of(tmp_path / "out")
    assert found["train-000001.tar/clips/0003.wav"] == ["b"] and len(found) == 5


def test_webdataset__a_copy_of_esc50_comes_in_its_folds(tmp_path, write, run):
    members = []
    for number in range(10):
        said = {"fold": 1 + number // 2, "category": ("dog", "rooster")[number % 2]}
        members += [(f"{number}.wav", wav(number)), (f"{number}.json", json.dumps(said))]
    write("train-000000.tar", *members)
    code, text = run("webdataset", "{data}", "--out", "{out}", "--dataset", "esc50")
    assert code == 0 and "ESC-50 is published with" in text
    assert list(labels_of(tmp_path / "out" / "fold2", "eval").values()) == [["dog"], ["rooster"]]
    assert len(labels_of(tmp_path / "out" / "fold2", "train")) == 8


@pytest.mark.parametrize("flag", ["--fold-column", "--group-by"])
def test_webdataset__null_is_no_name_of_a_fold_or_group(tmp_path, write, run, flag):
    said = [{"who": "a", "label": "x"}, {"who": "b", "label": "y"}, {"who": None, "label": "x"}]
    members = [(f"{i}.wav", wav(i)) for i in range(3)] + [(f"{i}.json", json.dumps(of)) for i, of in enumerate(said)]
    write("train.tar", *members)
    wanted = ["--group-by", "column:who", "--hold-out", "eval=0.5"] if flag == "--group-by" else [flag, "who"]
    code, text = run("webdataset", "{data}", "--out", "{out}", *wanted)
    assert code == 1 and "train.tar/2.wav" in text and not (tmp_path / "out").exists()
