import json

import pytest


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
