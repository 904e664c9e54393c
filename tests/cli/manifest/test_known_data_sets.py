import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ASDA.data.corpora.corpus import ESC50, URBANSOUND8K
from ASDA.data.corpora.tables import official_table
from ASDA.data.labels import LabelTable
from tests.cli.manifest.reading import RATE_HZ, read_split


@pytest.fixture
def esc50(audio, tmp_path):
    names = official_table(ESC50).mids
    rows = [(f"{fold}-{target}-A.wav", fold, target, names[target]) for fold in range(1, 6) for target in (0, 7, 49)]
    for name, *_ in rows:
        audio(f"audio/{name}", 0.2, 44_100)
    write_csv(tmp_path / "data" / "meta" / "esc50.csv", ("filename", "fold", "target", "category"), rows)
    return rows


def write_csv(file: Path, heading: tuple[str, ...], rows) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="") as handle:
        csv.writer(handle).writerows([heading, *rows])


def test_esc50__five_folds(esc50, run, tmp_path):
    code, text = run("esc50", "{data}", "--out", "{out}")
    assert code == 0 and "fold5/eval: 3 clips" in text
    for k in range(1, 6):
        held_out = read_split(tmp_path / "out" / f"fold{k}", "eval")
        assert held_out == {f"audio/{n}": (c.replace("_", " "),) for n, fold, _, c in esc50 if fold == k}
        assert len(read_split(tmp_path / "out" / f"fold{k}")) == 12


@pytest.mark.usefixtures("esc50")
def test_esc50__class_numbers_must_be_the_official_ones(run, tmp_path):
    file = tmp_path / "data" / "meta" / "esc50.csv"
    file.write_text(file.read_text().replace(",7,insects", ",8,insects", 1))
    code, text = run("esc50", "{data}", "--out", "{out}")
    assert code == 1 and "esc50.csv:3: 'insects' is class 7 of esc50, got '8'" in text


def test_esc50__another_folder_is_refused(run, tmp_path):
    (tmp_path / "data").mkdir()
    code, text = run("esc50", "{data}", "--out", "{out}")
    assert code == 1 and "not the esc50 folder, it lacks audio, meta/esc50.csv" in text


def test_urbansound8k__ten_folds(audio, run, tmp_path):
    names = official_table(URBANSOUND8K).mids
    rows = [(f"{k}-3-0-0.wav", 1, 0.0, 4.0, 1, k, 3, names[3]) for k in range(1, 11)]
    for name, *_, fold, _, _ in rows:
        audio(f"audio/fold{fold}/{name}", 0.1, 48_000, channels=2)
    heading = ("slice_file_name", "fsID", "start", "end", "salience", "fold", "classID", "class")
    write_csv(tmp_path / "data" / "metadata" / "UrbanSound8K.csv", heading, rows)
    assert run("urbansound8k", "{data}", "--out", "{out}")[0] == 0
    assert read_split(tmp_path / "out" / "fold10", "eval") == {"audio/fold10/10-3-0-0.wav": ("dog bark",)}
    assert len(read_split(tmp_path / "out" / "fold10")) == 9


def test_fsd50k__published_splits_and_vocabulary(audio, run, tmp_path):
    truth = tmp_path / "data" / "FSD50K.ground_truth"
    for name in ("FSD50K.dev_audio/1.wav", "FSD50K.dev_audio/2.wav", "FSD50K.eval_audio/3.wav"):
        audio(name, 0.3, 44_100)
    rows = [("1", "Bark,Dog", "/m/05tny_,/m/0bt9lr", "train"), ("2", "Dog", "/m/0bt9lr", "val")]
    write_csv(truth / "dev.csv", ("fname", "labels", "mids", "split"), rows)
    write_csv(truth / "eval.csv", ("fname", "labels", "mids"), [("3", "Bark_and_howl", "/m/x")])
    (truth / "vocabulary.csv").write_text("0,Bark,/m/05tny_\n1,Bark_and_howl,/m/x\n2,Dog,/m/0bt9lr\n")
    code, text = run("fsd50k", "{data}", "--out", "{out}")
    assert code == 0, text
    assert read_split(tmp_path / "out") == {"FSD50K.dev_audio/1.wav": ("Bark", "Dog")}
    assert read_split(tmp_path / "out", "valid") == {"FSD50K.dev_audio/2.wav": ("Dog",)}
    assert read_split(tmp_path / "out", "eval") == {"FSD50K.eval_audio/3.wav": ("Bark and howl",)}
    (truth / "vocabulary.csv").write_text("0,Bark,/m/05tny_\n2,Dog,/m/0bt9lr\n")
    code, text = run("fsd50k", "{data}", "--out", "{out}", "--overwrite")
    assert code == 1 and "vocabulary.csv:2: expected `1,label,mid`" in text


@pytest.fixture
def speechcommands(audio, tmp_path):
    for word in ("yes", "no", "cat"):
        for i in range(10):
            audio(f"{word}/{i}_nohash_0.wav", 1.0)
    for i in range(2):
        audio(f"_background_noise_/{i}.wav", 20.0)
    lists = {
        "validation_list.txt": ("yes/0", "no/1", "cat/2"),
        "testing_list.txt": ("yes/3", "no/4", "cat/5", "gone/1"),
    }
    for file, names in lists.items():
        (tmp_path / "data" / file).write_text("".join(f"{name}_nohash_0.wav\n" for name in names))


@pytest.mark.usefixtures("speechcommands")
def test_speechcommands_v2__official_lists(run, tmp_path):
    (tmp_path / "data" / "testing_list.txt").write_text("yes/3_nohash_0.wav\nno/99_nohash_0.wav\n")
    code, text = run("speechcommands", "{data}", "--out", "{out}")
    assert code == 0 and "1 missing" in text
    assert read_split(tmp_path / "out", "eval") == {"yes/3_nohash_0.wav": ("yes",)}
    assert read_split(tmp_path / "out", "valid") == {
        f"{w}/{i}_nohash_0.wav": (w,) for w, i in (("yes", 0), ("no", 1), ("cat", 2))
    }
    train = read_split(tmp_path / "out")
    assert len(train) == 26 and all(labels == (path.split("/")[0],) for path, labels in train.items())


@pytest.mark.usefixtures("speechcommands")
def test_speechcommands_v2__unknown_words_are_refused(run):
    code, text = run("speechcommands", "{data}", "--out", "{out}")
    assert code == 1 and 'label "gone" (gone/1_nohash_0.wav) is not in' in text


@pytest.mark.usefixtures("speechcommands")
def test_speechcommands_v1__ten_commands_unknown_and_silence(run, tmp_path):
    code, text = run("speechcommands", "{data}", "--out", "{out}", "--version", "1")
    assert code == 0, text
    splits = {name: Counter(read_split(tmp_path / "out", name).values()) for name in ("train", "valid", "eval")}
    assert splits["train"] == {("yes",): 8, ("no",): 8, ("unknown",): 8, ("silence",): 2}
    assert splits["valid"] == {("yes",): 1, ("no",): 1, ("unknown",): 1, ("silence",): 1}
    assert splits["eval"] == {("yes",): 1, ("no",): 1, ("unknown",): 1, ("silence",): 1}
    assert len(LabelTable.read(tmp_path / "out" / "label_descriptors.csv")) == 12


@pytest.mark.usefixtures("speechcommands")
def test_speechcommands_v1__splits_share_no_silence(run, tmp_path):
    run("speechcommands", "{data}", "--out", "{out}", "--version", "1")
    recordings = [soundfile.read(tmp_path / "data" / "_background_noise_" / f"{i}.wav")[0] for i in range(2)]
    shares = {"train": (0.0, 0.8), "valid": (0.8, 0.9), "eval": (0.9, 1.0)}
    for path in (tmp_path / "out" / "silence").iterdir():
        samples, rate_hz = soundfile.read(path)
        assert len(samples) == rate_hz == RATE_HZ
        low, high = shares[path.stem.split("_")[1]]
        starts = [
            s
            for r in recordings
            for s in np.flatnonzero(r == samples[0])
            if np.array_equal(r[s : s + RATE_HZ], samples)
        ]
        assert len(starts) == 1 and low * 20 * RATE_HZ <= starts[0] <= high * 20 * RATE_HZ - RATE_HZ


def test_speechcommands_v1__all_thirty_words(audio, run, tmp_path):
    for word in ("yes", "sheila"):
        for i in range(3):
            audio(f"{word}/{i}_nohash_0.wav", 0.1)
    for file, i in (("validation_list.txt", 1), ("testing_list.txt", 2)):
        (tmp_path / "data" / file).write_text(f"yes/{i}_nohash_0.wav\nsheila/{i}_nohash_0.wav\n")
    code, text = run("speechcommands", "{data}", "--out", "{out}", "--version", "1", "--classes", "30")
    assert code == 0, text
    assert read_split(tmp_path / "out", "eval") == {f"{w}/2_nohash_0.wav": (w,) for w in ("yes", "sheila")}
    assert len(LabelTable.read(tmp_path / "out" / "label_descriptors.csv")) == 30
    assert "eval: 2 clips, but Speech Commands v1 (30 words) is published with 6,835" in text


@pytest.mark.usefixtures("speechcommands")
def test_speechcommands_v1__its_own_test_set(audio, run, tmp_path):
    folder_of = {"unknown": "_unknown_", "silence": "_silence_"}
    words = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go", "unknown", "silence")
    for word in words:
        audio(f"../test/{folder_of.get(word, word)}/a.wav", 0.2)
    test = tmp_path / "test"
    code, text = run("speechcommands", "{data}", "--out", "{out}", "--version", "1", "--test-set", test)
    assert code == 0, text
    expected = {str(test / folder_of.get(word, word) / "a.wav"): (word,) for word in words}
    assert read_split(tmp_path / "out", "eval") == expected
    assert Counter(read_split(tmp_path / "out").values())["yes",] == 8  # the test words are in no other split
    assert "eval: 12 clips, but Speech Commands v1 is published with 3,081" in text
    (test / "_silence_" / "a.wav").unlink()
    (test / "_silence_").rmdir()
    code, text = run("speechcommands", "{data}", "--out", "{out}", "--version", "1", "--test-set", test, "--overwrite")
    assert code == 1 and "not the Speech Commands test set folder, it lacks _silence_" in text


@pytest.mark.usefixtures("speechcommands")
@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--classes", "12"), "--classes 12: version 2 of Speech Commands has 35"),
        (("--version", "1", "--classes", "35"), "--classes 35: version 1 of Speech Commands has 12 or 30"),
        (("--test-set", "t"), "--test-set is that of the twelve classes"),
    ],
)
def test_speechcommands__classes_that_a_version_does_not_have_are_refused(run, flags, message):
    code, text = run("speechcommands", "{data}", "--out", "{out}", *flags)
    assert code == 1 and message in text


@pytest.mark.usefixtures("speechcommands")
def test_speechcommands_v1__the_same_seed_cuts_the_same_silence(run, tmp_path):
    def silence(out: str, *flags: str) -> dict[str, bytes]:
        assert run("speechcommands", "{data}", "--out", tmp_path / out, "--version", "1", *flags)[0] == 0
        return {path.name: path.read_bytes() for path in (tmp_path / out / "silence").iterdir()}

    first = silence("a")
    assert first == silence("b") and first.keys() == silence("c", "--seed", "2").keys() != first


@pytest.mark.usefixtures("esc50")
def test_known_data_set__another_number_of_clips_than_the_published_is_warned_of(run):
    text = run("esc50", "{data}", "--out", "{out}", "--hold-out", "valid=0.25")[1]
    assert "warning: fold2/train: 12 clips, but ESC-50 is published with 1,600" in text
    assert "warning: fold2/eval: 3 clips, but ESC-50 is published with 400" in text
