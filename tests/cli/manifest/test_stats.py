import json
import re

import numpy as np
import pytest
import soundfile


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
