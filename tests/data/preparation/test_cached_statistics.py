"""Statistics that are taken once: valid as long as what they were made from, and never in the way."""

import json
import logging
import os
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from ASDA.audio.front_end import FrontEnd
from ASDA.data.bad_clips import TooManyBadClipsError
from ASDA.data.manifest import Manifest, ManifestError, write_manifest
from ASDA.data.preparation import cached_statistics as module
from ASDA.data.preparation.cached_statistics import cached_lengths, cached_statistics
from ASDA.data.preparation.statistics import FeatureStatistics, feature_statistics
from tests.data.generated_corpora import sound

FRONT_END = FrontEnd(target_length_frames=32)


@pytest.fixture
def data(tmp_path, write_audio):
    """A folder with `train.tsv` of 8 clips of different length and loudness."""
    for number in range(8):
        write_audio(f"{number}.wav", sound(0.2 + 0.1 * number, seed=number) * 0.5**number)
    return list_clips(tmp_path, range(8))


def list_clips(folder, numbers):
    write_manifest(folder / "train.tsv", folder, [(f"{number}.wav", 16_000) for number in numbers])
    return folder


@pytest.fixture
def passes(monkeypatch):
    """Counts how often the clips are read."""
    calls = []

    def counted(*args, **options):
        calls.append(args)
        return feature_statistics(*args, **options)

    monkeypatch.setattr(module, "feature_statistics", counted)
    return calls


def test_cached__are_those_of_a_pass_and_taken_once(data, passes):
    expected, _ = feature_statistics(Manifest.read(data / "train.tsv"), target_length_frames=32)
    first, again = cached_statistics(data, FRONT_END), cached_statistics(data, FRONT_END)
    assert first.statistics == again.statistics == expected and len(passes) == 1
    assert (first.was_kept, again.was_kept) == (False, True)
    assert first.describe() == f"{expected.overrides}: of 8 clips; taken now and kept in {data / 'train.stats.json'}"
    assert FeatureStatistics.read(data / "train.stats.json") == expected  # asda-manifest stats --merge takes it
    assert sorted(path.name for path in data.iterdir() if "stats" in path.name) == ["train.stats.json"]


def test_cached__normalisation_of_the_front_end_does_not_matter(data, passes):
    cached_statistics(data, FRONT_END)
    assert cached_statistics(data, replace(FRONT_END, norm_mean=1.0, norm_std=9.0)).was_kept and len(passes) == 1


def edit_manifest(data):
    list_clips(data, range(7))


def replace_clip(data):
    os.utime(data / "3.wav", (1, 1))


def lose_clip(data):
    (data / "3.wav").unlink()


def edit_cache(data):
    values = json.loads((data / "train.stats.json").read_text())
    (data / "train.stats.json").write_text(json.dumps({**values, "mean": None}))


@pytest.mark.parametrize("change", [edit_manifest, replace_clip, lose_clip, edit_cache])
def test_cached__are_taken_anew_when_what_they_were_made_from_changes(data, passes, change):
    before = cached_statistics(data, FRONT_END)
    change(data)
    after = cached_statistics(data, FRONT_END, max_bad_fraction=0.5)
    assert not after.was_kept and len(passes) == 2
    assert (after.statistics == before.statistics) == (change in (replace_clip, edit_cache))
    assert cached_statistics(data, FRONT_END).was_kept


@pytest.mark.parametrize("other", [{"target_length_frames": 16}, {"sample_rate_hz": 8_000}, {"num_mel_bins": 64}])
def test_cached__follow_the_front_end(data, other):
    first = cached_statistics(data, FRONT_END)
    front_end = replace(FRONT_END, **other)
    found = cached_statistics(data, front_end)
    assert not found.was_kept and found.statistics.mean != first.statistics.mean
    assert cached_statistics(data, front_end).was_kept


def test_cached__features_are_those_of_the_front_end(data):
    front_end = FrontEnd(target_length_frames=None, sample_rate_hz=8_000, num_mel_bins=64)
    found = cached_statistics(data, front_end).statistics
    values = [(front_end.from_file(data / f"{n}.wav") * 2 * front_end.norm_std + front_end.norm_mean) for n in range(8)]
    assert found.num_values == sum(frames.numel() for frames in values)
    assert found.mean == pytest.approx(sum(float(f.double().sum()) for f in values) / found.num_values, abs=1e-5)


def test_cached__of_a_large_split_a_sample_is_read_always_the_same(data):
    first = cached_statistics(data, FRONT_END, max_clips=3)
    (data / "train.stats.json").unlink()
    again = cached_statistics(data, FRONT_END, max_clips=3)
    assert first.statistics == again.statistics and first.statistics.num_clips == 3
    assert "of 3 clips, drawn from 8" in first.describe()
    assert not cached_statistics(data, FRONT_END, max_clips=4).was_kept  # another sample


def test_cached_lengths__need_no_pass_and_are_those_of_the_same_clips(data, passes):
    lengths = cached_lengths(data, max_clips=3)
    assert len(lengths) == 3 and not passes and not (data / "train.stats.json").exists()
    assert cached_statistics(data, FRONT_END, max_clips=3).lengths == lengths
    for number in range(8):  # only what is kept can tell, once the clips cannot
        state = os.stat(data / f"{number}.wav")
        (data / f"{number}.wav").write_bytes(bytes(state.st_size))
        os.utime(data / f"{number}.wav", ns=(state.st_atime_ns, state.st_mtime_ns))
    assert cached_lengths(data, max_clips=3) == lengths


def test_cached_lengths__stay_the_same_where_only_a_header_can_be_read(data):
    soundfile.write(data / "3.wav", np.full(8_000, np.nan), 16_000, subtype="FLOAT")
    before = cached_lengths(data, max_bad_fraction=0.5)
    found = cached_statistics(data, FRONT_END, max_bad_fraction=0.5)
    assert found.statistics.num_clips == 7 and len(before) == 8
    assert cached_statistics(data, FRONT_END, max_bad_fraction=0.5).was_kept
    assert cached_lengths(data) == before == found.lengths


def test_cached__a_folder_that_cannot_be_written_to_is_only_warned_of(data, monkeypatch, caplog):
    def refuse(*_):
        raise PermissionError(13, "Permission denied", str(data / "train.stats.json"))

    monkeypatch.setattr(FeatureStatistics, "write", refuse)
    with caplog.at_level(logging.WARNING):
        found = cached_statistics(data, FRONT_END)
    assert found.statistics.num_clips == 8 and not (data / "train.stats.json").exists()
    assert found.file is None and found.describe().endswith(": of 8 clips; taken now")
    assert f"{data / 'train.stats.json'}: cannot be written (Permission denied)" in caplog.text


def test_cached__statistics_of_ones_own_under_that_name_stay(data, caplog):
    own = FeatureStatistics(10, 1.0, 5.0, 2, 32)
    own.write(data / "train.stats.json")
    before = (data / "train.stats.json").read_bytes()
    assert not cached_statistics(data, FRONT_END).was_kept
    assert (data / "train.stats.json").read_bytes() == before and "not written by a run" in caplog.text


def test_cached__unreadable_clips_are_counted_among_those_that_are_read(data):
    (data / "3.wav").write_bytes(b"RIFF")
    found = cached_statistics(data, FRONT_END, max_bad_fraction=0.5)
    assert found.statistics.num_clips == 7 and "of 7 clips (1 more could not be read)" in found.describe()
    with pytest.raises(TooManyBadClipsError, match="1 of the 8 clips"):
        cached_statistics(data, replace(FRONT_END, target_length_frames=16), max_bad_fraction=0.1)
    for number in range(8):
        (data / f"{number}.wav").write_bytes(b"RIFF")
    with pytest.raises(TooManyBadClipsError):
        cached_lengths(data)
    with pytest.raises(ManifestError, match="none of its clips can be read"):
        cached_lengths(data, max_bad_fraction=1.0)
    with pytest.raises(ManifestError, match=r"train\.tsv: no clip is as long as one window"):
        cached_statistics(data, FRONT_END, max_bad_fraction=1.0)


def test_cached__a_split_that_is_not_there_is_named(data):
    with pytest.raises(ManifestError, match=r"valid\.tsv: no such manifest"):
        cached_statistics(data, FRONT_END, "valid")
