"""The cache of features: found again by what they were computed from, never what another run would compute."""

import os

import numpy as np
import pytest

from ASDA.probes import cache as module
from ASDA.probes.cache import ClipChecksums, FeatureCache, missing


def test_cache__is_found_again_for_the_same_settings_only(tmp_path):
    cache = FeatureCache(tmp_path, {"weights": "a"})
    rows = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
    cache.put("x", rows, 50)
    cache.put("y", rows[:1], 60)
    np.testing.assert_array_equal(cache["x"], rows)
    cache.flush()
    again = FeatureCache(tmp_path, {"weights": "a"})
    np.testing.assert_array_equal(again["x"], rows)
    np.testing.assert_array_equal(again["y"], rows[:1])
    assert again.num_frames == {"x": 50, "y": 60} and "z" not in again
    assert "x" not in FeatureCache(tmp_path, {"weights": "b"})


def test_cache__many_parts_are_one(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PART_BYTES", 100)
    cache = FeatureCache(tmp_path, {})
    for number in range(9):
        cache.put(str(number), np.full((1, 2, 5), number, np.float32), number)
    cache.flush()
    assert len(list(cache.folder.glob("part-*.npy"))) == 3
    again = FeatureCache(tmp_path, {})
    assert all(again[str(number)][0, 0, 0] == number for number in range(9))


@pytest.mark.parametrize(
    ("ending", "content"), [("npy", b""), ("json", b"{"), ("json", b"{}"), ("json", b"[1]"), ("npy", None)]
)
def test_cache__a_damaged_part_is_named(tmp_path, ending, content):
    cache = FeatureCache(tmp_path, {})
    cache.put("x", np.ones((2, 3, 4), np.float32), 50)
    cache.flush()
    (part,) = cache.folder.glob(f"part-*.{ending}")
    part.unlink() if content is None else part.write_bytes(content)
    with pytest.raises(ValueError, match=r"part-\w+\.npy: damaged .*; remove it and part-\w+\.json"):
        FeatureCache(tmp_path, {})


def test_checksums__are_of_the_bytes(tmp_path):
    for name, content in (("a.wav", b"1"), ("b.wav", b"1"), ("c.wav", b"2")):
        (tmp_path / name).write_bytes(content)
    a, b, c, absent, other = (ClipChecksums().of(str(tmp_path / f"{n}.wav")) for n in ("a", "b", "c", "d", "e"))
    assert a == b and len({a, c, absent, other}) == 4


def test_checksums__of_clips_in_a_container_differ_by_their_place_and_by_its_content(tmp_path):
    (tmp_path / "a.tar").write_bytes(b"1")
    checksums = ClipChecksums()
    first, second = (checksums.of(str(tmp_path / "a.tar" / name)) for name in ("x.wav", "y.wav"))
    (tmp_path / "a.tar").write_bytes(b"2")
    changed = ClipChecksums().of(str(tmp_path / "a.tar" / "x.wav"))
    assert len({first, second, changed}) == 3


def test_checksums__of_a_name_in_another_spelling_are_of_its_file(tmp_path):
    """A manifest may spell é with one character where the file's name has two."""
    (tmp_path / "e\u0301.wav").write_bytes(b"1")
    if os.path.exists(tmp_path / "\u00e9.wav"):
        pytest.skip("this file system takes both spellings for one")
    assert ClipChecksums().of(str(tmp_path / "\u00e9.wav")) == ClipChecksums().of(str(tmp_path / "e\u0301.wav"))


def test_missing__each_sound_is_computed_once(tmp_path):
    cache = FeatureCache(tmp_path, {})
    cache.put("there", np.ones((1, 1, 1), np.float32), 1)
    assert missing(cache, ["x", "there", "y", "x"]) == [0, 2]
