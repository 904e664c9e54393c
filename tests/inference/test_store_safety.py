"""What a store may replace or remove, who may write to it, and what it resumes."""

import json
import os
import shutil
import threading
import time

import h5py
import numpy as np
import pytest
import torch

from ASDA.atomic import LockedOutputError
from ASDA.inference import h5_store
from ASDA.inference.clips import Clip
from ASDA.inference.features import ClipFeatures
from ASDA.inference.h5_store import H5File
from ASDA.inference.npy_store import NpyFile, NpyTree, times_path
from ASDA.inference.store import OutputError, UnwritableClipError

SETTINGS = {"granularity": "frame", "encoder": {"depth": 2, "diff_lambda": 0.1}, "layers": (1, 2)}


def features(number):
    return ClipFeatures(torch.full((3, 4), float(number)), torch.tensor([[number, number + 1.0]] * 3))


@pytest.fixture
def clips(tmp_path):
    """Four clips whose files exist."""
    (tmp_path / "audio").mkdir()
    for number in range(4):
        (tmp_path / "audio" / f"{number}.wav").write_bytes(bytes(10 + number))
    return [Clip(str(tmp_path / "audio" / f"{number}.wav"), f"{number}.wav") for number in range(4)]


@pytest.fixture(params=["tree", "h5"])
def open_store(request, tmp_path, clips):
    def open_store(resume=False, settings=SETTINGS, clips=clips, **options):
        if request.param == "tree":
            return NpyTree(tmp_path / "out", clips, settings, timestamps=True, resume=resume, **options)
        return H5File(tmp_path / "out.h5", clips, settings, resume)

    return open_store


def write(store, clips, first=0):
    with store:
        for number, clip in enumerate(clips):
            store.write(clip, features(first + number))


def values(tmp_path):
    """Name -> first value, of the tree or the h5."""
    if (tmp_path / "out.h5").exists():
        with h5py.File(tmp_path / "out.h5") as file:
            return {name.removesuffix(".wav"): float(item[0, 0]) for name, item in file["features"].items()}
    files = [path for path in (tmp_path / "out").rglob("*.npy") if ".times" not in path.name]
    assert all(times_path(path).exists() for path in files)
    return {path.stem: float(np.load(path)[0, 0]) for path in files}


def test_store__one_writer_at_a_time_and_nothing_changes_for_the_second(tmp_path, clips, open_store):
    first = open_store()
    with first:
        for resume in (True, False):
            with pytest.raises(LockedOutputError, match=rf"out.*: process {os.getpid()} on "):
                write(open_store(resume), clips, 10)
        first.write(clips[0], features(0))
    assert values(tmp_path) == {"0": 0.0}
    write(open_store(resume=True), clips[1:], 1)
    assert values(tmp_path) == {str(number): float(number) for number in range(4)}
    assert not list(tmp_path.rglob("*.lock")) and not list(tmp_path.rglob("*.part*"))


def test_store__a_rerun_leaves_nothing_of_clips_that_are_gone(tmp_path, clips, open_store):
    write(open_store(), clips)
    write(open_store(clips=clips[:2]), clips[:2], 10)
    assert values(tmp_path) == {"0": 10.0, "1": 11.0}


@pytest.mark.parametrize("change", [{"diff_lambda": 0.3}, {"depth": 3}])
def test_store__resuming_names_each_setting_that_differs(clips, open_store, change):
    write(open_store(), clips[:1])
    other = {**SETTINGS, "encoder": SETTINGS["encoder"] | change}
    name, value = next(iter(change.items()))
    with pytest.raises(OutputError, match=rf"encoder.{name} was {SETTINGS['encoder'][name]}, now {value}"):
        open_store(resume=True, settings=other)
    with pytest.raises(OutputError, match="rate is not recorded, now 5"):
        open_store(resume=True, settings={**SETTINGS, "rate": 5})


def test_store__resuming_does_clips_again_whose_sound_has_changed(tmp_path, clips, open_store):
    write(open_store(), clips)
    (tmp_path / "audio" / "1.wav").write_bytes(bytes(99))
    os.utime(tmp_path / "audio" / "2.wav", (1, 1))
    os.unlink(tmp_path / "audio" / "3.wav")  # cannot be done again
    store = open_store(resume=True)
    assert [store.done(clip) for clip in clips] == [True, False, False, True]
    write(store, clips[1:3], 21)
    assert values(tmp_path) == {"0": 0.0, "1": 21.0, "2": 22.0, "3": 3.0}
    assert all(open_store(resume=True).done(clip) for clip in clips)


def test_store__moved_sound_is_the_same_sound(tmp_path, clips, open_store):
    write(open_store(), clips)
    shutil.move(tmp_path / "audio", tmp_path / "elsewhere")
    moved = [Clip(clip.path.replace("audio", "elsewhere"), clip.name) for clip in clips]
    assert all(open_store(resume=True, clips=moved).done(clip) for clip in moved)


# ---- trees ----------------------------------------------------------------------------------------------------------


def tree(tmp_path, clips, timestamps=False, resume=False, settings=SETTINGS, shard=(1, 1)):
    return NpyTree(tmp_path / "out", clips, settings, timestamps, resume, shard)


def test_npy_tree__leaves_no_times_of_an_earlier_run(tmp_path, clips):
    write(tree(tmp_path, clips, timestamps=True), clips)
    write(tree(tmp_path, clips), clips)
    assert not list((tmp_path / "out").glob("*.times.npy"))
    write(tree(tmp_path, clips, timestamps=True), clips)
    (tmp_path / "audio" / "0.wav").write_bytes(bytes(99))
    write(tree(tmp_path, clips, resume=True), clips[:1], 10)
    assert not (tmp_path / "out" / "0.times.npy").exists() and (tmp_path / "out" / "1.times.npy").exists()


def test_npy_tree__keeps_what_it_has_not_written(tmp_path, clips):
    out = tmp_path / "out"
    out.mkdir()
    mine = {"notes.npy": np.arange(3.0), "0.npy": np.arange(12).reshape(3, 4), "1.npy": np.ones((3, 5))}
    for name, array in mine.items():
        np.save(out / name, array)
    (out / "2.npy").write_text("no array")
    (out / "3.npy").symlink_to(tmp_path / "elsewhere.npy")
    np.save(out / "3.times.npy", np.arange(3))  # not written without timestamps
    for _ in range(2):
        with tree(tmp_path, clips) as store:
            for clip in clips[:3]:
                with pytest.raises(UnwritableClipError, match="is left as it is"):
                    store.write(clip, features(5))
            store.write(clips[3], features(3))
    assert all(np.array_equal(np.load(out / name), array) for name, array in mine.items())
    assert (out / "2.npy").read_text() == "no array" and (out / "3.npy").is_symlink()
    assert np.load(tmp_path / "elsewhere.npy")[0, 0] == 3 and np.load(out / "3.times.npy").tolist() == [0, 1, 2]
    write(tree(tmp_path, clips[:1], settings={**SETTINGS, "pool": "mean"}), [])
    assert (out / "3.npy").is_symlink() and (tmp_path / "elsewhere.npy").exists()


def test_npy_tree__incomplete_files_are_not_done(tmp_path, clips):
    """As a loss of power may leave them."""
    write(tree(tmp_path, clips, timestamps=True), clips)
    for name, length in {"0.npy": 0, "1.npy": 130, "2.times.npy": 0}.items():
        os.truncate(tmp_path / "out" / name, length)
    again = tree(tmp_path, clips, timestamps=True, resume=True)
    assert [again.done(clip) for clip in clips] == [False, False, False, True]
    write(again, clips[:3])
    assert all(tree(tmp_path, clips, timestamps=True, resume=True).done(clip) for clip in clips)


def test_npy_tree__a_torn_line_of_the_inventory_costs_nothing(tmp_path, clips):
    write(tree(tmp_path, clips), clips[:2])
    with open(tmp_path / "out" / "extraction.files.jsonl", "a") as file:
        file.write('["2.npy", "2.wa')
    write(tree(tmp_path, clips, resume=True), clips[2:], 2)
    again = tree(tmp_path, clips, resume=True)
    assert all(again.done(clip) for clip in clips)


@pytest.mark.parametrize("line", ['["../victim.npy", "x"]', '["/victim.npy", "x"]', '["victim.txt", "x"]', "[]", "3"])
def test_npy_tree__an_inventory_reaches_nothing_outside(tmp_path, clips, line):
    for name in ("victim.npy", "out/victim.txt"):
        (tmp_path / "out").mkdir(exist_ok=True)
        (tmp_path / name).write_text("mine")
    (tmp_path / "out" / "extraction.files.jsonl").write_text(f"{line}\n")
    write(tree(tmp_path, clips), clips)
    assert (tmp_path / "victim.npy").exists() and (tmp_path / "out" / "victim.txt").exists()


def test_npy_tree__shards_work_at_the_same_time(tmp_path, clips):
    stores = [tree(tmp_path, clips, shard=(number, 4)) for number in (1, 2, 3, 4)]
    ready = threading.Barrier(4)

    def work(number):
        ready.wait()
        with stores[number] as store:
            ready.wait()
            store.write(clips[number], features(number))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert values_of_tree(tmp_path) == {str(number): float(number) for number in range(4)}
    assert all(tree(tmp_path, clips, resume=True).done(clip) for clip in clips)


def values_of_tree(tmp_path):
    return {path.stem: float(np.load(path)[0, 0]) for path in (tmp_path / "out").glob("*.npy")}


def test_npy_tree__shards_exclude_each_other_where_they_must(tmp_path, clips, monkeypatch):
    monkeypatch.setattr("ASDA.inference.npy_store._LONGEST_START_S", 0.3)
    with tree(tmp_path, clips, shard=(1, 2)):
        for other in ({"shard": (1, 2)}, {}, {"shard": (2, 2), "settings": {**SETTINGS, "half": True}}):
            with pytest.raises(LockedOutputError), tree(tmp_path, clips, **other):
                pass
        with tree(tmp_path, clips, shard=(2, 2)):
            pass
    assert json.loads((tmp_path / "out" / "extraction.json").read_text())["encoder"] == SETTINGS["encoder"]


def test_npy_tree__a_rerun_in_shards_leaves_nothing_old(tmp_path, clips):
    write(tree(tmp_path, clips), clips)
    fewer = clips[:3]
    write(tree(tmp_path, fewer, shard=(1, 2)), fewer[::2], 10)
    assert values_of_tree(tmp_path) == {"0": 10.0, "1": 1.0, "2": 11.0}  # 1 is the other shard's
    with tree(tmp_path, fewer, shard=(2, 2)):
        pass  # cannot read its clip this time
    assert values_of_tree(tmp_path) == {"0": 10.0, "2": 11.0}


@pytest.mark.parametrize("timestamps", [False, True])
def test_npy_tree__names_as_long_as_the_file_system_takes_and_longer(tmp_path, timestamps):
    names = ["日" * 82 + ".wav", "n" * 251 + ".wav", f"{'k' * 300}/{'m' * 400}", f"{'k' * 300}/{'m' * 399}x"]
    names += [os.fsdecode(b"\xff" * 250 + b".wav"), "short.wav"]
    clips = [Clip(f"/data/{name}", name) for name in names]
    write(tree(tmp_path, clips, timestamps), clips)
    again = tree(tmp_path, clips, timestamps, resume=True)
    assert all(again.done(clip) for clip in clips)
    assert [np.load(again.path(clip))[0, 0] for clip in clips] == list(range(len(names)))
    assert len(list((tmp_path / "out").rglob("*.npy"))) == len(names) * (1 + timestamps)
    listed = [json.loads(line) for line in (tmp_path / "out" / "extraction.files.jsonl").read_text().splitlines()]
    assert {clip for _, clip, *_ in listed} == set(names)  # which tells what a shortened name stands for


def test_npy_tree__what_stands_in_the_way_costs_one_clip(tmp_path, clips):
    (tmp_path / "out" / "0.npy").mkdir(parents=True)
    (tmp_path / "out" / "folder").write_text("a file")
    inside = Clip(clips[1].path, "folder/x.wav")
    with tree(tmp_path, [*clips, inside]) as store:
        for clip in (clips[0], inside):
            with pytest.raises(UnwritableClipError):
                store.write(clip, features(0))
        store.write(clips[1], features(1))
    assert (tmp_path / "out" / "1.npy").exists()


# ---- single files and h5 --------------------------------------------------------------------------------------------


def test_npy_file__replaces_features_and_nothing_else(tmp_path, clips):
    for existing in (features(1).values, torch.ones(7, 4)):
        np.save(tmp_path / "x.npy", existing)
        write(NpyFile(tmp_path / "x.npy", timestamps=True), clips[:1])
    np.save(tmp_path / "x.times.npy", np.arange(3))
    for timestamps in (True, False):
        store = NpyFile(tmp_path / "x", timestamps)
        if timestamps:
            with pytest.raises(OutputError, match="x.times.npy: exists"):
                write(store, clips[:1], 5)
            assert np.load(tmp_path / "x.npy")[0, 0] == 0  # neither of both
        else:
            write(store, clips[:1], 5)
            assert np.load(tmp_path / "x.npy")[0, 0] == 5
    with pytest.raises(OutputError, match="--timestamps"):
        NpyFile(tmp_path.__class__("/dev/null"), timestamps=True)


@pytest.mark.parametrize("kind", ["data", "text", "folder", "attribute"])
@pytest.mark.parametrize("resume", [True, False])
def test_h5_file__another_file_stays(tmp_path, clips, kind, resume):
    path = tmp_path / "out.h5"
    if kind == "folder":
        path.mkdir()
    elif kind == "text":
        path.write_text("not an h5")
    else:
        with h5py.File(path, "w") as file:
            file["features" if kind == "attribute" else "waveform"] = np.ones(5)
            file.attrs["settings"] = "[1]" if kind == "attribute" else '{"mine": 1}'
    before = path.read_bytes() if kind != "folder" else None
    with pytest.raises(OutputError, match=r"out\.h5: .*(remove it|name another)"):
        H5File(path, clips, SETTINGS, resume)
    assert before is None or path.read_bytes() == before


def test_h5_file__removes_its_own_parts_only(tmp_path, clips, monkeypatch):
    monkeypatch.setattr(h5_store, "CLIPS_PER_PART", 1)
    store = H5File(tmp_path / "out.h5", clips, SETTINGS, resume=False)
    store.write(clips[0], features(0))  # and is killed
    parts = tmp_path / "out.h5.parts"
    (parts / "mine.h5").write_text("the user's")
    write(H5File(tmp_path / "out.h5", clips, SETTINGS, resume=False), clips[1:2], 1)
    assert os.listdir(parts) == ["mine.h5"] and values(tmp_path) == {"1": 1.0}


def test_h5_file__a_damaged_part_is_named(tmp_path, clips, monkeypatch):
    monkeypatch.setattr(h5_store, "CLIPS_PER_PART", 1)
    store = H5File(tmp_path / "out.h5", clips, SETTINGS, resume=False)
    store.write(clips[0], features(0))
    part = tmp_path / "out.h5.parts" / "000001.h5"
    os.truncate(part, 100)
    with pytest.raises(OutputError, match=r"000001\.h5: cannot be read .*; remove it"):
        H5File(tmp_path / "out.h5", clips, SETTINGS, resume=True)


def test_h5_file__an_interruption_at_the_end_keeps_the_parts(tmp_path, clips, monkeypatch):
    import signal

    original = h5_store._copy_datasets

    def interrupted(*arguments):
        signal.raise_signal(signal.SIGINT)
        original(*arguments)

    monkeypatch.setattr(h5_store, "_copy_datasets", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write(H5File(tmp_path / "out.h5", clips, SETTINGS, resume=False), clips)
    assert not (tmp_path / "out.h5").exists()
    monkeypatch.setattr(h5_store, "_copy_datasets", original)
    again = H5File(tmp_path / "out.h5", clips, SETTINGS, resume=True)
    assert all(again.done(clip) for clip in clips)
    start = time.monotonic()
    write(again, [])
    assert values(tmp_path) == {str(number): float(number) for number in range(4)} and time.monotonic() - start < 30
