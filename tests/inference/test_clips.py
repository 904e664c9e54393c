"""Which clips an input stands for."""

import io
import os

import pytest

from ASDA.data.manifest import ManifestError
from ASDA.inference.clips import Clip, InputError, find_clips


@pytest.fixture
def folder(tmp_path):
    for name in ("b.wav", "a.FLAC", "sub/c.mp3", "sub/deep/d.ogg", "notes.txt", "sub/e.opus"):
        path = tmp_path / "audio" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "audio"


def names(clips):
    return [clip.name for clip in clips]


def test_find_clips__folder_is_searched_recursively_for_audio(folder):
    clips = find_clips([str(folder)])
    assert names(clips) == ["a.FLAC", "b.wav", "sub/c.mp3", "sub/deep/d.ogg", "sub/e.opus"]
    assert all(os.path.exists(clip.path) for clip in clips)
    assert names(find_clips([str(folder)], "sub/*.mp3")) == ["sub/c.mp3"]


def test_find_clips__one_file_keeps_its_name(folder):
    clips = find_clips([str(folder / "sub" / "c.mp3")])
    assert list(clips) == [Clip(str(folder / "sub" / "c.mp3"), "c.mp3")]


def test_find_clips__several_files_are_named_below_their_common_folder(folder):
    clips = find_clips([str(folder / "b.wav"), str(folder / "sub" / "deep" / "d.ogg")])
    assert names(clips) == ["b.wav", "sub/deep/d.ogg"]
    assert [clip.path for clip in clips] == [str(folder / "b.wav"), str(folder / "sub" / "deep" / "d.ogg")]


def test_find_clips__missing_files_stay_in_the_list(folder):
    clips = find_clips([str(folder / "b.wav"), str(folder / "gone.wav")])
    assert names(clips) == ["b.wav", "gone.wav"]


def test_find_clips__list_on_stdin(folder):
    text = f"{folder}/b.wav\n\n{folder}/sub/name with spaces and ünïcode.wav\r\n"
    clips = find_clips(["-"], stdin=io.StringIO(text))
    assert names(clips) == ["b.wav", "sub/name with spaces and ünïcode.wav"]
    with pytest.raises(InputError, match="one path per line"):
        find_clips(["-"], stdin=io.StringIO("\n"))


def test_find_clips__manifest_rows(tmp_path, folder):
    (tmp_path / "eval.tsv").write_text(f"{folder}\nsub/c.mp3\t100\nb.wav\t200\n")
    clips = find_clips([str(tmp_path / "eval.tsv")])
    assert list(clips) == [Clip(f"{folder}/sub/c.mp3", "sub/c.mp3"), Clip(f"{folder}/b.wav", "b.wav")]
    (tmp_path / "broken.tsv").write_text(f"{folder}\nno number\n")
    with pytest.raises(ManifestError, match="broken.tsv:2"):
        find_clips([str(tmp_path / "broken.tsv")])


def test_find_clips__inputs_are_joined_in_order(tmp_path, folder):
    (tmp_path / "eval.tsv").write_text(f"{folder}\nb.wav\t200\n")
    clips = find_clips([str(folder / "b.wav"), str(folder / "sub"), str(tmp_path / "eval.tsv")])
    assert names(clips) == ["b.wav", "c.mp3", "deep/d.ogg", "e.opus", "b.wav"]
    assert len(clips) == 5 and clips[4] == Clip(f"{folder}/b.wav", "b.wav")
    with pytest.raises(IndexError):
        clips[5]


def test_find_clips__folder_without_audio_is_an_error(tmp_path):
    with pytest.raises(InputError, match="no audio files match"):
        find_clips([str(tmp_path)])


def test_find_clips__a_folder_has_the_order_and_names_of_its_paths(tmp_path):
    """Folder by folder, as paths sort: not by the characters of the whole name."""
    for name in ("a/1.wav", "a-b/1.wav", "a.wav", "a/b/1.WAV", "B.wav", "ä ö/x.y.flac", "a/1.txt", "a/.1.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    expected = sorted(path for path in tmp_path.rglob("*") if path.suffix.lower() in (".wav", ".flac"))
    expected = [path.relative_to(tmp_path).as_posix() for path in expected if not path.name.startswith(".")]
    assert len(expected) == 6
    for root in (str(tmp_path), f"{tmp_path}/", f"{tmp_path}/a/.."):
        clips = find_clips([root])
        assert names(clips) == expected
        assert all(os.path.exists(clip.path) for clip in clips)


def test_find_clips__relative_and_odd_paths_are_named_as_before(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert names(find_clips(["."])) == ["a.FLAC", "b.wav", "sub/c.mp3", "sub/deep/d.ogg", "sub/e.opus"]
    given = ["./b.wav", "sub/../sub//deep/d.ogg"]
    clips = find_clips(given)
    assert names(clips) == ["b.wav", "sub/deep/d.ogg"] and [clip.path for clip in clips] == given


def test_find_clips__rows_of_parquet_files_by_their_place(tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    for name in ("a/x.parquet", "b/x.parquet"):
        (tmp_path / name).parent.mkdir()
        pq.write_table(pa.table({"audio": [{"bytes": b"1", "path": "1.wav"}] * 2, "label": [0, 1]}), tmp_path / name)
    files = [str(tmp_path / name) for name in ("a/x.parquet", "b/x.parquet")]
    clips = list(find_clips(files))
    assert [clip.name for clip in clips] == [f"{f}/x.parquet/audio[{row}]" for f in "ab" for row in (0, 1)]
    assert clips[3].path == f"{tmp_path}/b/x.parquet/audio[1]"
    assert [clip.name for clip in find_clips(files[:1])] == ["audio[0]", "audio[1]"]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"label": [1]}, "no column of audio"),
        ({"audio": []}, "column 'audio' has no rows"),
        (None, "not a Parquet|too"),
    ],
)
def test_find_clips__a_parquet_file_without_clips_is_refused(tmp_path, columns, message):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    file = tmp_path / "x.parquet"
    if columns is None:
        file.write_text("no such thing")
    else:
        schema = pa.schema({"audio": pa.struct({"bytes": pa.binary(), "path": pa.string()})})
        pq.write_table(pa.table(columns, None if "label" in columns else schema), file)
    with pytest.raises(InputError, match=message) as caught:
        find_clips([str(file)])
    assert str(file) in str(caught.value)
