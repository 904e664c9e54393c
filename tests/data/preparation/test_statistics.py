import json
import math

import pytest
import torch

from ASDA.audio.fbank import log_mel
from ASDA.audio.io import load_waveform
from ASDA.data.bad_clips import TooManyBadClipsError
from ASDA.data.manifest import Manifest, ManifestError, write_manifest
from ASDA.data.preparation.statistics import FeatureStatistics, feature_statistics
from tests.data.generated_corpora import sound


@pytest.fixture
def manifest(tmp_path, write_audio):
    """Clips of different length and loudness."""
    rows = []
    for i in range(6):
        samples = sound(0.2 + 0.1 * i, seed=i) * 0.3**i
        write_audio(f"{i}.wav", samples)
        rows.append((f"{i}.wav", len(samples)))
    write_manifest(tmp_path / "train.tsv", tmp_path, rows)
    return Manifest.read(tmp_path / "train.tsv")


def all_values(manifest, num_frames=None) -> torch.Tensor:
    """The definition: every log-mel value of every clip, in float64."""
    clips = [log_mel(load_waveform(manifest.path(i)))[:num_frames] for i in range(len(manifest))]
    return torch.cat(clips).double().flatten()


@pytest.mark.parametrize("num_frames", [None, 20])
def test_statistics__are_those_of_all_values(manifest, num_frames):
    statistics, bad_clips = feature_statistics(manifest, target_length_frames=num_frames, workers=2)
    values = all_values(manifest, num_frames)
    assert statistics.num_values == values.numel() and statistics.num_clips == 6 and len(bad_clips) == 0
    assert statistics.mean == pytest.approx(float(values.mean()), abs=1e-6)
    assert statistics.std == pytest.approx(float(values.std(correction=0)), abs=1e-6)


def test_statistics__shards_merge_to_the_whole(manifest):
    whole, _ = feature_statistics(manifest)
    merged = FeatureStatistics()
    for k in (1, 2, 3):
        part, _ = feature_statistics(manifest, shard=(k, 3))
        assert part.num_clips == 2
        merged = merged.merge(part)
    assert merged.num_values == whole.num_values and merged.num_clips == whole.num_clips
    assert merged.mean == pytest.approx(whole.mean, rel=1e-12)
    assert merged.std == pytest.approx(whole.std, rel=1e-12)


def test_statistics__normalised_features_have_half_a_standard_deviation(manifest):
    from ASDA.audio.front_end import normalise

    statistics, _ = feature_statistics(manifest)
    values = normalise(all_values(manifest), statistics.mean, statistics.std)
    assert float(values.mean()) == pytest.approx(0, abs=1e-6)
    assert float(values.std(correction=0)) == pytest.approx(0.5, abs=1e-6)


def test_statistics__round_trip_through_a_file(manifest, tmp_path):
    statistics, _ = feature_statistics(manifest, target_length_frames=20)
    statistics.write(tmp_path / "stats.json")
    assert FeatureStatistics.read(tmp_path / "stats.json") == statistics
    shown = json.loads((tmp_path / "stats.json").read_text())
    assert shown["norm_mean"] == statistics.mean and shown["norm_std"] == statistics.std


def test_statistics__unreadable_clips_are_left_out_and_counted(manifest, tmp_path):
    (tmp_path / "3.wav").write_bytes(b"RIFF")
    statistics, bad_clips = feature_statistics(manifest, max_bad_fraction=0.5)
    assert statistics.num_clips == 5 and bad_clips.indices() == [3]
    with pytest.raises(TooManyBadClipsError, match=r"3\.wav"):
        feature_statistics(manifest, max_bad_fraction=0.01)


def test_statistics__clips_below_one_window_add_nothing():
    empty = FeatureStatistics.of_frames(torch.zeros(0, 128))
    assert (empty.num_values, empty.num_clips) == (0, 1) and math.isnan(empty.std)
    other = FeatureStatistics.of_frames(torch.ones(2, 128))
    assert empty.merge(other).mean == other.merge(empty).mean == 1.0


def test_statistics__refuse_what_does_not_fit(manifest, tmp_path):
    with pytest.raises(ManifestError, match="cannot merge statistics of 20 and None frames per clip"):
        FeatureStatistics(target_length_frames=20).merge(FeatureStatistics())
    with pytest.raises(ManifestError, match="expected a shard k/n with 1 <= k <= n, got 3/2"):
        feature_statistics(manifest, shard=(3, 2))
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(ManifestError, match=r"other\.json: not a file of feature statistics"):
        FeatureStatistics.read(tmp_path / "other.json")
