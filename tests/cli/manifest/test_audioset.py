import numpy as np
import pytest

from ASDA.data.corpora.corpus import AUDIOSET
from ASDA.data.corpora.tables import official_table
from ASDA.data.labels import LabelTable, read_clip_labels
from ASDA.data.manifest import Manifest
from ASDA.data.sampling import class_balanced_weights, read_clip_weights
from tests.cli.manifest.reading import read_split

SEGMENTS = {
    "balanced.csv": """# Segments csv created Sun Mar  5 10:54:31 2017
# num_ytids=6, num_segs=6, num_unique_labels=3, num_positive_labels=8
# YTID, start_seconds, end_seconds, positive_labels
--PJHxphWEs, 30.000, 40.000, "/m/09x0r,/m/0bt9lr"
Y_bcdefghi0, 0.000, 10.000, "/m/09x0r"
abc_efg_i-k, 22.000, 32.000, "/m/0bt9lr"
missing0123, 5.000, 15.000, "/m/0bt9lr"
otherpart01, 5.000, 15.000, "/m/04rlf"
broken00000, 5.000, 15.000, "/m/04rlf"
""",
    "eval.csv": '# comment\nevalclip001, 0.000, 10.000, "/m/04rlf"\n--PJHxphWEs, 30.000, 40.000, "/m/09x0r"\n',
}


@pytest.fixture
def audioset(audio, tmp_path):
    for name, text in SEGMENTS.items():
        (tmp_path / name).write_text(text)
    for name in (
        "bal/Y--PJHxphWEs.wav", "bal/--PJHxphWEs_30.000_40.000.flac", "bal/Y_bcdefghi0.wav", "x/abc_efg_i-k_22000.flac",
        "bal/otherpart01_60.flac", "eval/evalclip001_0.flac",
    ):  # fmt: skip
        audio(name, 1.2)
    audio("bal/Y_bcdefghi0.wav", 0.5)
    (tmp_path / "data" / "bal" / "Ybroken00000.wav").write_bytes(b"RIFF nothing")
    return [
        "audioset",
        "{data}",
        "--out",
        "{out}",
        "--segments",
        f"train={tmp_path}/balanced.csv",
        f"eval={tmp_path}/eval.csv",
    ]


def test_audioset__joins_segment_lists_with_clips_of_any_naming(audioset, run, tmp_path):
    code, text = run(*audioset)
    assert code == 0, text
    assert read_split(tmp_path / "out") == {
        "bal/--PJHxphWEs_30.000_40.000.flac": ("Speech", "Dog"),
        "bal/Y_bcdefghi0.wav": ("Speech",),
        "x/abc_efg_i-k_22000.flac": ("Dog",),
    }
    assert read_split(tmp_path / "out", "eval") == {"eval/evalclip001_0.flac": ("Music",)}
    assert LabelTable.read(tmp_path / "out" / "label_descriptors.csv").mids == official_table(AUDIOSET).mids


def test_audioset__reports_missing_unreadable_short_and_duplicate_clips(audioset, run, tmp_path):
    _, text = run(*audioset)
    assert "2 duplicate" in text and "2 missing" in text and "1 unreadable" in text and "1 short" in text
    report = [line.split("\t") for line in (tmp_path / "out" / "report.txt").read_text().splitlines()]
    assert sorted((kind, clip) for kind, clip, _ in report) == [
        ("duplicate", "--PJHxphWEs"),
        ("duplicate", "--PJHxphWEs"),
        ("missing", "missing0123"),
        ("missing", "otherpart01"),
        ("short", "bal/Y_bcdefghi0.wav"),
        ("unreadable", "bal/Ybroken00000.wav"),
    ]
    details = {clip: detail for _, clip, detail in report}
    assert details["missing0123"] == "no clip of this id"
    assert details["otherpart01"] == "only other excerpts of the video are there: bal/otherpart01_60.flac"
    assert any("bal/Y--PJHxphWEs.wav is not used" in detail for _, _, detail in report)
    assert any("listed in split 'train' and again in eval.csv" in detail for _, _, detail in report)


def test_audioset__writes_the_weights_of_the_clips_it_kept(audioset, run, tmp_path):
    run(*audioset)
    manifest = Manifest.read(tmp_path / "out" / "train.tsv")
    labels = read_clip_labels(tmp_path / "out" / "train.lbl", manifest, official_table(AUDIOSET))
    weights = read_clip_weights(tmp_path / "out" / "weight_train_all.csv", manifest)
    np.testing.assert_allclose(weights, class_balanced_weights(labels), rtol=1e-8)
    np.testing.assert_allclose(weights, [2 * 1000 / 2.01, 1000 / 2.01, 1000 / 2.01], rtol=1e-8)
    assert not (tmp_path / "out" / "weight_eval_all.csv").exists()


def test_audioset__clips_in_h5_and_tar(audioset, run, tmp_path):
    import h5py

    from tests.data.generated_corpora import write_tar

    data = tmp_path / "data"
    write_tar(data / "shard.tar", [data / "x" / "abc_efg_i-k_22000.flac"])
    (data / "x" / "abc_efg_i-k_22000.flac").unlink()
    with h5py.File(data / "set.h5", "w") as file:
        file["Y_bcdefghi0.wav"] = np.zeros(40_000, dtype=np.int16)
    (data / "bal" / "Y_bcdefghi0.wav").unlink()
    code, text = run(*audioset)
    assert code == 0, text
    manifest = Manifest.read(tmp_path / "out" / "train.tsv")
    rows = {manifest.relative_path(i): manifest.num_samples(i) for i in range(len(manifest))}
    assert rows["shard.tar/abc_efg_i-k_22000.flac"] == 19_200 and rows["set.h5/Y_bcdefghi0.wav"] == 40_000


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('abc_efg_i-k, 1.0, 11.0, "/m/none"', 'label "/m/none" ({0}/bad.csv:2) is not in'),
        ("abc_efg_i-k, 1.0, 11.0", "{0}/bad.csv:2: expected `YTID, start_seconds, end_seconds"),
        ('abc_efg_i-k, soon, 11.0, "/m/09x0r"', "{0}/bad.csv:2: expected `YTID, start_seconds, end_seconds"),
    ],
)
def test_audioset__segment_errors_name_the_line(audioset, run, tmp_path, line, message):
    (tmp_path / "bad.csv").write_text(f"# comment\n{line}\n")
    code, text = run(*audioset[:4], "--segments", f"train={tmp_path}/bad.csv")
    assert code == 1 and message.format(tmp_path) in text
    assert not (tmp_path / "out").exists()


def test_audioset__no_clip_of_a_split_is_an_error(audioset, run, tmp_path):
    (tmp_path / "none.csv").write_text('zzzzzzzzzzz, 0, 10, "/m/09x0r"\n')
    code, text = run(*audioset[:4], "--segments", f"train={tmp_path}/none.csv")
    assert code == 1 and "none of the clips of split 'train' is there" in text


def test_audioset__holds_out_clips_to_choose_a_checkpoint_by(audioset, run, tmp_path):
    code, text = run(*audioset)
    assert code == 0, text
    whole = read_split(tmp_path / "out")
    code, text = run(*audioset, "--overwrite", "--hold-out", "valid=0.4")
    assert code == 0, text
    train, valid = read_split(tmp_path / "out"), read_split(tmp_path / "out", "valid")
    assert valid and train and {**train, **valid} == whole


@pytest.mark.parametrize(
    ("start_s", "stated", "fits"),
    [
        (0, "_240.000_250.000", False),
        (0, "_240_250", False),
        (0, "_240", False),  # 0.24 s in milliseconds, but then it would say 0
        (0, "_0_10000", True),
        (0, "_0", True),
        (30, "_30000_40000", True),
        (30, "_30.000_40.000", True),
        (30, "_30_40", True),
        (30, "_30000", True),
        (30, "_30", True),
        (30, "_30000.000_30010.000", False),
        (30, "_31_41", False),
        (30000, "_30000_40000", False),
        (30000, "_30000_30010", True),
        (0.24, "_240_10240", True),
        (5, "", True),
    ],
)
def test_audioset__times_in_a_name_have_one_unit(audio, run, tmp_path, start_s, stated, fits):
    (tmp_path / "list.csv").write_text(f'abcdefghijk, {start_s:.3f}, {start_s + 10:.3f}, "/m/09x0r"\n')
    audio(f"Yabcdefghijk{stated}.wav")
    code, text = run("audioset", "{data}", "--out", "{out}", "--segments", f"train={tmp_path}/list.csv")
    assert code == (0 if fits else 1), text


def test_audioset__a_mid_that_is_listed_twice_counts_once(audio, run, tmp_path):
    (tmp_path / "list.csv").write_text(
        'abcdefghijk, 0, 10, "/m/09x0r,/m/09x0r, /m/0bt9lr"\nabcdefghij2, 0, 10, "/m/09x0r"\n'
    )
    audio("abcdefghijk.wav")
    audio("abcdefghij2.wav")
    assert run("audioset", "{data}", "--out", "{out}", "--segments", f"train={tmp_path}/list.csv")[0] == 0
    assert "abcdefghijk\t/m/09x0r,/m/0bt9lr\n" in (tmp_path / "out" / "train.lbl").read_text()
    manifest = Manifest.read(tmp_path / "out" / "train.tsv")
    weights = read_clip_weights(tmp_path / "out" / "weight_train_all.csv", manifest)
    assert sorted(weights) == pytest.approx([1000 / 2.01, 1000 / 2.01 + 1000 / 1.01])
