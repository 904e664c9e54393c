"""Where features are written, and what survives an interruption."""

import json
import os

import h5py
import numpy as np
import pytest
import torch

from ASDA.inference import h5_store
from ASDA.inference.clips import Clip, InputError
from ASDA.inference.features import ClipFeatures
from ASDA.inference.h5_store import H5File
from ASDA.inference.npy_store import NpyTree
from ASDA.inference.store import OutputError

SETTINGS = {"granularity": "frame", "layers": (1, 2)}
NAMES = ["a.wav", "sub/b.flac", "sub/b.wav", "h5/shard.h5/key.1"]


@pytest.fixture
def clips():
    return [Clip(f"/data/{name}", name) for name in NAMES]


def features(number):
    return ClipFeatures(torch.full((3, 4), float(number)), torch.tensor([[number, number + 1.0]] * 3))


@pytest.fixture(params=["tree", "h5"])
def open_store(request, tmp_path, clips):
    def open_store(resume=False, settings=SETTINGS):
        if request.param == "tree":
            return NpyTree(tmp_path / "out", clips, settings, timestamps=True, resume=resume)
        return H5File(tmp_path / "out.h5", clips, settings, resume)

    return open_store


def test_npy_tree__mirrors_the_folders_and_keeps_clips_apart(tmp_path, clips):
    with NpyTree(tmp_path / "out", clips, SETTINGS, timestamps=True, resume=False) as store:
        for number, clip in enumerate(clips):
            store.write(clip, features(number))
    written = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.npy"))
    expected = ["a", "sub/b.flac", "sub/b.wav", "h5/shard.h5/key.1"]
    assert written == sorted([f"{name}.npy" for name in expected] + [f"{name}.times.npy" for name in expected])
    assert np.load(tmp_path / "out" / "sub" / "b.wav.npy").tolist() == [[2.0] * 4] * 3
    assert np.load(tmp_path / "out" / "a.times.npy").tolist() == [[0.0, 1.0]] * 3
    assert json.loads((tmp_path / "out" / "extraction.json").read_text()) == {"granularity": "frame", "layers": [1, 2]}
    assert not list((tmp_path / "out").rglob("*.part"))


def test_h5_file__holds_features_and_times_under_the_clips_names(tmp_path, clips):
    with H5File(tmp_path / "out.h5", clips, SETTINGS, resume=False) as store:
        for number, clip in enumerate(clips):
            store.write(clip, features(number))
        assert not (tmp_path / "out.h5").exists()
    with h5py.File(tmp_path / "out.h5") as file:
        for number, name in enumerate(NAMES):
            assert np.array_equal(file[f"features/{name}"][:], features(number).values)
            assert np.array_equal(file[f"times_s/{name}"][:], features(number).times_s)
        assert json.loads(file.attrs["settings"])["granularity"] == "frame"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.h5"]


def test_store__resumes_after_an_interruption(open_store, clips):
    with pytest.raises(KeyboardInterrupt):
        with open_store() as store:
            store.write(clips[0], features(0))
            store.write(clips[1], features(1))
            raise KeyboardInterrupt
    with open_store(resume=True) as store:
        assert [store.done(clip) for clip in clips] == [True, True, False, False]
        for number in (2, 3):
            store.write(clips[number], features(number))
    assert all(open_store(resume=True).done(clip) for clip in clips)


def test_store__without_resume_starts_anew(open_store, clips):
    with open_store() as store:
        store.write(clips[0], features(0))
    assert not open_store().done(clips[0])


def test_store__does_not_mix_different_features(open_store, clips):
    with open_store() as store:
        store.write(clips[0], features(0))
    with pytest.raises(OutputError, match="granularity was frame, now utterance"):
        open_store(resume=True, settings={**SETTINGS, "granularity": "utterance"})


def test_h5_file__killed_run_loses_one_part_at_most(tmp_path, clips, monkeypatch):
    monkeypatch.setattr(h5_store, "CLIPS_PER_PART", 2)
    store = H5File(tmp_path / "out.h5", clips, SETTINGS, resume=False)
    for number in range(3):  # and then the process is killed: neither flush nor close
        store.write(clips[number], features(number))
    again = H5File(tmp_path / "out.h5", clips, SETTINGS, resume=True)
    assert [again.done(clip) for clip in clips] == [True, True, False, False]
    with again:
        for number in (2, 3):
            again.write(clips[number], features(number))
    with h5py.File(tmp_path / "out.h5") as file:
        assert [file[f"features/{name}"][0, 0] for name in NAMES] == [0.0, 1.0, 2.0, 3.0]


def test_npy_tree__clip_without_its_time_stamps_is_not_done(tmp_path, clips):
    with NpyTree(tmp_path / "out", clips, SETTINGS, timestamps=False, resume=False) as store:
        store.write(clips[0], features(0))
    assert NpyTree(tmp_path / "out", clips, SETTINGS, timestamps=False, resume=True).done(clips[0])
    assert not NpyTree(tmp_path / "out", clips, SETTINGS, timestamps=True, resume=True).done(clips[0])


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a.wav", "a.wav"], "two clips are called"),
        (["../a.wav"], "outside the output"),
        (["x/../../a.wav"], "outside"),
    ],
)
def test_store__refuses_names_that_would_overwrite(tmp_path, names, message):
    clips = [Clip(f"/{number}/{name}", name) for number, name in enumerate(names)]
    with pytest.raises(InputError, match=message):
        NpyTree(tmp_path / "out", clips, SETTINGS, timestamps=False, resume=False)
    with pytest.raises(InputError, match=message):
        H5File(tmp_path / "out.h5", clips, SETTINGS, resume=False)


def test_npy_tree__what_another_run_left_is_not_done(tmp_path, clips):
    """A run with other settings that was killed before it came to a clip has not made that clip's file."""
    other = {**SETTINGS, "granularity": "utterance"}
    with NpyTree(tmp_path / "out", clips, SETTINGS, timestamps=True, resume=False) as store:
        for number, clip in enumerate(clips):
            store.write(clip, features(number))
    with NpyTree(tmp_path / "out", clips, other, timestamps=True, resume=False) as store:
        store.write(clips[0], features(0))
    again = NpyTree(tmp_path / "out", clips, other, timestamps=True, resume=True)
    assert [again.done(clip) for clip in clips] == [True, False, False, False]


def test_npy_tree__a_shard_that_starts_later_keeps_what_is_done(tmp_path, clips):
    with NpyTree(tmp_path / "out", clips, SETTINGS, timestamps=False, resume=False) as store:
        store.write(clips[0], features(0))
    NpyTree(tmp_path / "out", clips, SETTINGS, timestamps=False, resume=False)
    assert NpyTree(tmp_path / "out", clips, SETTINGS, timestamps=False, resume=True).done(clips[0])


@pytest.mark.parametrize("timestamps", [False, True])
def test_npy_tree__no_two_clips_share_a_file(tmp_path, timestamps):
    names = ["dog.wav", "dog.flac", "dog.wav.mp3", "cat.wav", "cat.times.wav", "dog.wav.mp3.ogg"]
    clips = [Clip(f"/data/{name}", name) for name in names]
    with NpyTree(tmp_path / "out", clips, SETTINGS, timestamps, resume=False) as store:
        for number, clip in enumerate(clips):
            store.write(clip, features(number))
    assert len(list((tmp_path / "out").rglob("*.npy"))) == len(names) * (1 + timestamps)
    for number, clip in enumerate(clips):
        assert np.load(store.path(clip))[0, 0] == number


def test_h5_file__resuming_a_finished_run_leaves_the_file_as_it_is(tmp_path, clips):
    """It may be many gigabytes, and is copied only where clips are added."""

    def run(*numbers, resume=True):
        with H5File(tmp_path / "out.h5", clips, SETTINGS, resume) as store:
            done = [number for number, clip in enumerate(clips) if store.done(clip)]
            for number in numbers:
                store.write(clips[number], features(number))
        status = os.stat(tmp_path / "out.h5")
        return done, (status.st_ino, status.st_mtime_ns)

    _, before = run(0, resume=False)
    assert run() == ([0], before)
    assert run(2)[1] != before
    with h5py.File(tmp_path / "out.h5") as file:
        assert sorted(file["features"]) == ["a.wav", "sub"] and "b.wav" in file["features/sub"]
