"""The distribution of lengths and the window that is proposed, through the program."""

import re

import pytest


@pytest.fixture
def spoken(audio, tmp_path):
    """18 short clips and 2 long ones."""
    for number in range(20):
        audio(f"{'ab'[number % 2]}/{number:02d}.wav", 3.0 if number >= 18 else 0.5 + 0.02 * number)
    return tmp_path / "out"


SUGGESTED = (
    "task.target_length=96 task.padding=mask  # 0.97 s; 29.1 % of the frames would be padding; 10.0 % of the clips "
    "would be cut and lose 4.0 s of sound (22.9 %); task.padding=mask keeps that out of attention"
)


@pytest.mark.usefixtures("spoken")
def test_folder__prints_how_long_the_clips_are_and_proposes_a_window(run):
    code, text = run("folder", "{data}", "--out", "{out}", "--labels", "folders", "--folds", "2")
    assert code == 0 and "length: min 0.50 s, 25 % 0.58 s, median 0.68 s" in text and "task." not in text
    code, text = run("folder", "{data}", "--out", "{out}", "--overwrite", "--suggest")
    assert code == 0 and f"\n{SUGGESTED}\n" in text
    lengths_s = [3.0 if number >= 18 else 0.5 + 0.02 * number for number in range(20)]
    frames = [round(100 * length_s) - 2 for length_s in lengths_s]
    assert sum(n <= 96 for n in frames) >= 18 > sum(n <= 80 for n in frames)
    assert f"{100 * sum(max(0, 96 - n) for n in frames) / (20 * 96):.1f} % of the frames would be padding" in text
    assert f"lose {sum(max(0, n - 96) for n in frames) / 100:.1f} s of sound" in text


@pytest.mark.usefixtures("spoken")
@pytest.mark.parametrize("program", ["check", "stats"])
def test_check_and_stats__propose_the_same(run, program):
    run("folder", "{data}", "--out", "{out}")
    code, text = run(program, "{out}/train.tsv", "--suggest")
    assert code == 0 and SUGGESTED in text
    code, text = run(program, "{out}/train.tsv", "--suggest", "--patch-frames", "10")
    assert code == 0 and "task.target_length=90 " in text
    code, text = run(program, "{out}/train.tsv")
    assert code == 0 and "target_length" not in text


def test_stats__of_merged_shards_proposes_what_the_whole_does(spoken, run):
    run("folder", "{data}", "--out", "{out}")
    for k in (1, 2):
        run("stats", "{out}/train.tsv", "--shard", f"{k}/2", "--out", f"{{out}}/{k}.json")
    assert SUGGESTED in run("stats", "--merge", "{out}/1.json", "{out}/2.json", "--suggest")[1]
    for k in (1, 2):
        file = spoken / f"{k}.json"
        file.write_text(re.sub(r',\s*"lengths": \{[^}]*\}', "", file.read_text()))
    code, text = run("stats", "--merge", "{out}/1.json", "{out}/2.json", "--suggest")
    assert code == 1 and "hold no lengths" in text


@pytest.mark.parametrize(
    "command", [["folder", "{data}", "--out", "{out}"], ["check", "{out}/train.tsv"], ["stats", "{out}/train.tsv"]]
)
def test_patch_frames__without_suggest_is_refused(spoken, run, command):
    code, text = run(*command, "--patch-frames", "10")
    assert code == 1 and "add --suggest" in text and not spoken.exists()


def test_overwriting__removes_statistics_that_a_run_has_kept(spoken, run):
    from ASDA.audio.front_end import FrontEnd
    from ASDA.data.preparation.cached_statistics import cached_statistics

    run("folder", "{data}", "--out", "{out}")
    file = cached_statistics(spoken, FrontEnd(target_length_frames=96)).file
    assert file == spoken / "train.stats.json" and file.exists()
    own = spoken / "eval.stats.json"
    own.write_text("{}")
    assert run("folder", "{data}", "--out", "{out}", "--overwrite", "--split", "eval=1")[0] == 0
    assert not file.exists() and own.read_text() == "{}"
