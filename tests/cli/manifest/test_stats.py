import json
import re
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import soundfile

from ASDA.data import worker_processes
from ASDA.data.preparation import parallel


def test_stats__prints_overrides_and_merges_shards(audio, run, tmp_path):
    for i in range(5):
        audio(f"{i}.wav")
    run("folder", "{data}", "--out", "{out}")
    code, whole = run("stats", "{out}/train.tsv", "--target-length", "10", "--out", "{out}/all.json")
    assert code == 0 and "5 clips, 6400 values" in whole
    for k in (1, 2):
        run("stats", "{out}/train.tsv", "--target-length", "10", "--shard", f"{k}/2", "--out", f"{{out}}/{k}.json")
    code, merged = run("stats", "--merge", "{out}/1.json", "{out}/2.json")
    assert code == 0 and merged == whole
    values = json.loads((tmp_path / "out" / "all.json").read_text())
    assert f"task.norm_mean={values['norm_mean']:.4f} task.norm_std={values['norm_std']:.4f}" in whole


def test_stats__too_many_unreadable_clips_end_with_an_error(audio, run, tmp_path):
    audio("a.wav")
    audio("b.wav")
    run("folder", "{data}", "--out", "{out}")
    (tmp_path / "data" / "b.wav").unlink()
    code, text = run("stats", "{out}/train.tsv", "--out", "{out}/s.json")
    assert code == 1 and "1 of the 2 clips" in text and "b.wav" in text
    assert not (tmp_path / "out" / "s.json").exists()
    code, text = run("stats", "{out}/train.tsv", "--max-bad-fraction", "0.5")
    assert code == 0 and "1 clips could not be read and are left out" in text


@pytest.mark.parametrize(
    "args",
    [
        [],
        ["folder", "{data}"],
        ["folder", "{data}", "--out", "{out}", "--split", "train"],
        ["folder", "{data}", "--out", "{out}", "--split", "train=half"],
        ["stats", "a.tsv", "--shard", "1-2"],
        ["speechcommands", "{data}", "--out", "{out}", "--version", "3"],
    ],
)
def test_usage_errors__exit_with_2(run, args):
    with pytest.raises(SystemExit) as exit:
        run(*args)
    assert exit.value.code == 2


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (r'"mean": -?[0-9.]+', '"mean": NaN', "no finite moments"),
        (r'"num_values": \d+', '"num_values": "many"', "expected whole numbers"),
        (r'"lengths": \{[^}]*\}', '"lengths": {"20": -1}', "cannot be negative"),
        (r'"lengths": \{[^}]*\}', '"lengths": 3', "not a file of feature statistics"),
    ],
)
def test_stats__a_spoilt_file_is_not_merged(audio, run, tmp_path, old, new, message):
    audio("a.wav")
    run("folder", "{data}", "--out", "{out}")
    file = tmp_path / "out" / "s.json"
    run("stats", "{out}/train.tsv", "--out", file)
    text = re.sub(old, new, file.read_text())
    assert text != file.read_text()
    file.write_text(text)
    code, text = run("stats", "--merge", file, file)
    assert code == 1 and f"{file}: not a file of feature statistics" in text and message in text


def test_stats__a_file_without_lengths_is_merged_without_them(audio, run, tmp_path):
    audio("a.wav")
    run("folder", "{data}", "--out", "{out}")
    file = tmp_path / "out" / "s.json"
    run("stats", "{out}/train.tsv", "--out", file)
    file.write_text(re.sub(r',\s*"lengths": \{[^}]*\}', "", file.read_text()))
    code, text = run("stats", "--merge", file, file)
    assert code == 0 and "2 clips" in text and "length" not in text


def test_stats__silence_has_nothing_to_normalise_by(run, tmp_path):
    (tmp_path / "data").mkdir()
    soundfile.write(tmp_path / "data" / "a.wav", np.zeros(16_000), 16_000)
    run("folder", "{data}", "--out", "{out}")
    code, text = run("stats", "{out}/train.tsv")
    assert code == 1 and "all features have one value" in text


@pytest.fixture
def short_clips(audio, run, tmp_path):
    """A manifest of 70 clips, two of them unreadable."""
    for number in range(70):
        audio(f"{number:02}.wav", 0.05 + 0.01 * (number % 7))
    assert run("folder", "{data}", "--out", "{out}")[0] == 0
    (tmp_path / "data" / "03.wav").unlink()
    (tmp_path / "data" / "65.wav").write_bytes(b"no audio")
    return tmp_path / "out" / "train.tsv"


@pytest.mark.parametrize("command", [("stats", "--max-bad-fraction", "0.1"), ("check",)], ids=lambda words: words[0])
def test_worker_processes__find_what_threads_find(command, short_clips, run, caplog):
    name, *flags = command
    found = {}
    for kind, words in {"threads": [], "processes": ["--worker-processes"]}.items():
        caplog.clear()
        done = run(name, short_clips, *flags, "--workers", "2", *words)
        found[kind] = done, [record.getMessage() for record in caplog.records]
    assert found["threads"] == found["processes"]
    (code, text), warnings = found["threads"]
    if name == "stats":
        assert (
            code == 0 and "68 clips, " in text and [line.split()[2][-6:] for line in warnings] == ["03.wav", "65.wav"]
        )
    else:
        assert code == 1 and "03.wav" in text and "65.wav" in text and "2 problems" in text


@pytest.mark.parametrize(
    ("many", "flags", "expected"), [(70, [], True), (71, [], False), (70, ["--no-worker-processes"], False)]
)
@pytest.mark.parametrize("name", ["stats", "check"])
def test_worker_processes__are_taken_for_many_short_clips(name, many, flags, expected, short_clips, run, monkeypatch):
    started = []

    def pool(number, initializer, *initargs):
        started.append(number)
        return ThreadPoolExecutor(number, "", initializer, initargs)

    monkeypatch.setattr(parallel, "spawned_pool", pool)
    monkeypatch.setattr(worker_processes, "MANY_CLIPS", many)
    _, text = run(name, short_clips, "--workers", "3", *flags, *(["--max-bad-fraction=1"] if name == "stats" else []))
    assert started == [3] * expected and ("clips of about 0.1 s: 3 processes decode" in text) == expected


@pytest.mark.parametrize("shard", ["1/0", "0/2", "3/2"])
def test_stats__a_shard_that_is_none_is_named(shard, short_clips, run):
    code, text = run("stats", short_clips, "--shard", shard)
    assert code == 1 and f"expected a shard k/n with 1 <= k <= n, got {shard}" in text
