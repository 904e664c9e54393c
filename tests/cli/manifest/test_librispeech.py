"""LibriSpeech: splits by the names of its subsets."""

import pytest

from tests.cli.manifest.reading import read_split


@pytest.fixture
def librispeech(audio):
    for subset, speaker, chapter in (
        ("train-clean-100", 19, 198),
        ("train-clean-100", 26, 495),
        ("train-other-500", 20, 205),
        ("dev-clean", 84, 121123),
    ):
        for utterance in range(2):
            audio(f"{subset}/{speaker}/{chapter}/{speaker}-{chapter}-{utterance:04d}.flac")


def names(clips) -> set[str]:
    return {path.rsplit("/", 1)[-1].removesuffix(".flac") for path in clips}


@pytest.mark.usefixtures("librispeech")
def test_librispeech__train_is_all_training_subsets(run, tmp_path):
    code, text = run("librispeech", "{data}", "--out", "{out}")
    assert code == 0, text
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["dev-clean.tsv", "report.txt", "train.tsv"]
    expected = {f"{start}-000{i}" for start in ("19-198", "26-495", "20-205") for i in range(2)}
    assert names(read_split(tmp_path / "out")) == expected
    assert names(read_split(tmp_path / "out", "dev-clean")) == {"84-121123-0000", "84-121123-0001"}
    assert "train is not all 960 h: without train-clean-360" in text
    assert "train: 6 clips, but LibriSpeech is published with 177,227" in text
    assert "dev-clean: 2 clips, but LibriSpeech is published with 2,703" in text


@pytest.mark.usefixtures("librispeech")
def test_librispeech__subsets_and_separate_manifests(run, tmp_path):
    assert run("librispeech", "{data}", "--out", "{out}", "--subsets", "train-clean-100")[0] == 0
    assert len(read_split(tmp_path / "out")) == 4 and not (tmp_path / "out" / "dev-clean.tsv").exists()
    assert run("librispeech", "{data}", "--out", "{out}", "--separate", "--overwrite")[0] == 0
    written = sorted(path.stem for path in (tmp_path / "out").glob("*.tsv"))
    assert written == ["dev-clean", "train-clean-100", "train-other-500"]


@pytest.mark.usefixtures("librispeech")
def test_librispeech__speakers_are_held_out_whole(run, tmp_path):
    code, text = run(
        "librispeech", "{data}", "--out", "{out}", "--hold-out", "valid=0.3", "--group-by", "column:speaker"
    )
    assert code == 0, text
    speakers = [{name.split("-")[0] for name in names(read_split(tmp_path / "out", s))} for s in ("train", "valid")]
    assert len(speakers[0]) == 2 and len(speakers[1]) == 1 and not speakers[0] & speakers[1]
    assert "train: 6 clips, but" in text  # what was held out belongs to it


@pytest.mark.usefixtures("librispeech")
def test_librispeech__the_folder_around_it_will_do(run, tmp_path):
    (tmp_path / "data").rename(tmp_path / "LibriSpeech")
    assert run("librispeech", str(tmp_path), "--out", "{out}")[0] == 0
    assert len(read_split(tmp_path / "out")) == 6


@pytest.mark.usefixtures("librispeech")
def test_librispeech__what_is_not_there_is_refused(run, tmp_path):
    code, text = run("librispeech", "{data}", "--out", "{out}", "--subsets", "test-other")
    assert code == 1 and "there is no test-other, only train-clean-100, train-other-500, dev-clean" in text
    code, text = run("librispeech", "{data}/train-clean-100", "--out", "{out}")
    assert code == 1 and "not the LibriSpeech folder, it has none of train-clean-100" in text
    assert not (tmp_path / "out").exists()
