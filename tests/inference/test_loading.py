"""Decoding ahead: order, errors in their place, a bounded memory, the threads of others."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from ASDA.audio.front_end import FrontEnd
from ASDA.data.containers import ClipReader, OpenClip
from ASDA.inference import loading
from ASDA.inference.clips import Clip, find_clips
from ASDA.inference.loading import load_clips
from ASDA.inference.windows import BadClip, Windowing, load_clip

RATE_HZ = 16_000


def write(path, num_samples, seed=0):
    samples = 0.1 * np.random.default_rng(seed).standard_normal(num_samples)
    soundfile.write(path, samples, RATE_HZ, subtype="FLOAT")
    return Clip(str(path), path.name)


both_kinds = pytest.mark.parametrize("processes", [False, True], ids=["threads", "processes"])


@both_kinds
def test_load_clips__keeps_the_order_and_reports_bad_clips_in_their_place(tmp_path, processes):
    clips = [write(tmp_path / f"{n}.wav", 8_000, n) for n in range(12)]
    (tmp_path / "4.wav").write_text("no audio")
    clips[7] = Clip(str(tmp_path / "missing.wav"), "missing.wav")
    write(tmp_path / "9.wav", 300)  # less than an analysis window
    results = list(load_clips(enumerate(clips), Windowing(FrontEnd(64)), num_workers=3, processes=processes))
    assert [result.index for result in results] == list(range(12))
    bad = {result.index: result.reason for result in results if isinstance(result, BadClip)}
    assert bad.keys() == {4, 7} and "no such file" in bad[7]
    assert (results[9].num_frames, results[9].duration_s) == (1, 300 / RATE_HZ)


@both_kinds
def test_load_clips__gives_what_decoding_one_by_one_gives(tmp_path, processes):
    """Of a long recording the parts that are decoded when it is cut, too."""
    clips = [write(tmp_path / f"{n}.wav", 4_000 + 900 * n, n) for n in range(8)]
    clips.append(write(tmp_path / "long.wav", 301 * RATE_HZ))
    windowing = Windowing(FrontEnd(64), hop_frames=32)
    for index, loaded in enumerate(load_clips(enumerate(clips), windowing, num_workers=3, processes=processes)):
        alone = load_clip(index, clips[index], ClipReader(RATE_HZ), windowing)
        assert (loaded.num_frames, loaded.duration_s) == (alone.num_frames, alone.duration_s)
        for window, expected in islice(zip(loaded.cut(), alone.cut(), strict=True), 3):
            assert torch.equal(window.frames, expected.frames)


def test_load_clips__a_chunk_that_is_too_large_comes_in_parts(tmp_path, monkeypatch):
    """So that a process that meets long clips holds few of them."""
    lengths = [*[8_000] * 10, *[32_000] * 10, *[8_000] * 10]
    clips = [write(tmp_path / f"{n}.wav", length, n) for n, length in enumerate(lengths)]
    windowing = Windowing(FrontEnd(256))
    sizes = []
    decode = loading._decode

    def counting(chunk):
        loaded = decode(chunk)
        sizes.append(sum(clip.num_bytes for clip in loaded))
        assert len(loaded) == len(chunk) or sizes[-1] >= loading.CHUNK_BYTES
        return loaded

    monkeypatch.setattr(loading, "_processes", loading._threads)  # constants of a process cannot be changed
    monkeypatch.setattr(loading, "_decode", counting)
    monkeypatch.setattr(loading, "CHUNK_CLIPS", 8)
    monkeypatch.setattr(loading, "CHUNK_BYTES", 3 * 198 * 128 * 4)  # of two seconds
    results = list(load_clips(enumerate(clips), windowing, processes=True))
    assert [result.index for result in results] == list(range(30))
    for index, result in enumerate(results):
        assert torch.equal(result.frames, load_clip(index, clips[index], ClipReader(RATE_HZ), windowing).frames)
    assert max(sizes) < 4 * 198 * 128 * 4


@pytest.mark.parametrize("noticed", [False, True], ids=["while waiting", "before the next is given"])
def test_load_clips__a_process_that_died_is_an_error_that_names_where(tmp_path, noticed):
    clip = write(tmp_path / "clip.wav", 8_000)
    results = load_clips(((n, clip) for n in range(3000)), Windowing(FrontEnd(64)), processes=True)
    next(results)
    for process in multiprocessing.active_children():
        os.kill(process.pid, signal.SIGKILL)
    if noticed:
        time.sleep(1)
    with pytest.raises(ChildProcessError, match=r"has died.* \d+ clips from .*clip\.wav on"):
        list(results)


def test_load_clips__processes_end_with_the_program_that_is_killed(tmp_path):
    clip = write(tmp_path / "clip.wav", 8_000)
    code = f"""
import multiprocessing, os, signal
from ASDA.audio.front_end import FrontEnd
from ASDA.inference.clips import Clip
from ASDA.inference.loading import load_clips
from ASDA.inference.windows import Windowing

if __name__ == "__main__":
    clip = Clip({clip.path!r}, "clip")
    results = load_clips(((n, clip) for n in range(3000)), Windowing(FrontEnd(64)), processes=True)
    next(results)
    print(*(process.pid for process in multiprocessing.active_children()), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    program = tmp_path / "program.py"
    program.write_text(code)
    env = {**os.environ, "PYTHONPATH": os.getcwd()}
    result = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=60, env=env)
    pids = [int(pid) for pid in result.stdout.split()]
    assert len(pids) == 2, result.stderr
    give_up = time.monotonic() + 30
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        assert time.monotonic() < give_up
        time.sleep(0.1)


def test_load_clips__opens_each_clip_once(tmp_path, monkeypatch):
    """Opening a short clip takes as long as decoding it."""
    clips = [write(tmp_path / f"{n}.wav", 8_000, n) for n in range(5)]
    names = []
    start = soundfile.SoundFile.__init__

    def counting(self, file, *arguments, **options):
        names.append(file)
        start(self, file, *arguments, **options)

    monkeypatch.setattr(soundfile.SoundFile, "__init__", counting)
    assert len(list(load_clips(enumerate(clips), Windowing(FrontEnd(64))))) == len(names) == 5


def decoded_ahead(clips, windowing, taken):
    """How many clips have been asked for once ``taken`` were used and all that may be decoded are."""
    asked = []

    def numbered():
        for number in range(3000):
            asked.append(number)
            yield number, clips[number % len(clips)]

    results = load_clips(numbered(), windowing, num_workers=2)
    for _ in range(taken):
        next(results)
    time.sleep(0.2)  # for what is under way
    next(results)
    ahead = len(asked) - taken - 1
    results.close()
    return ahead


@pytest.mark.parametrize("held", [8, 20])
def test_load_clips__holds_as_many_as_the_memory_takes(tmp_path, monkeypatch, held):
    clips = [write(tmp_path / "clip.wav", 32_000)]
    windowing = Windowing(FrontEnd(64))
    size = load_clip(0, clips[0], ClipReader(RATE_HZ), windowing).num_bytes
    assert size == 64 * 128 * 4
    monkeypatch.setattr(loading, "AHEAD_BYTES", held * size)
    assert decoded_ahead(clips, windowing, taken=40) == held - 1  # the first that waits is in use


def test_load_clips__large_clips_are_decoded_a_few_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(loading, "AHEAD_BYTES", 1)
    assert decoded_ahead([write(tmp_path / "clip.wav", 32_000)], Windowing(FrontEnd(64)), taken=10) == 3


def test_load_clips__what_takes_no_memory_is_bounded_too(tmp_path, monkeypatch):
    monkeypatch.setattr(loading, "MOST_AHEAD", 50)
    bad = Clip(str(tmp_path / "missing.wav"), "missing.wav")
    assert decoded_ahead([bad], Windowing(FrontEnd(64)), taken=60) == 49


def test_load_clips__an_error_of_the_program_is_raised_and_ends_it(tmp_path, monkeypatch):
    clips = [write(tmp_path / "clip.wav", 8_000)] * 50

    def broken(*_):
        raise KeyError("a fault of the program")

    monkeypatch.setattr(loading, "load_clip", broken)
    with pytest.raises(KeyError, match="a fault of the program"):
        list(load_clips(enumerate(clips), Windowing(FrontEnd(64))))


def test_load_clips__each_decoder_computes_on_one_core_and_its_caller_on_as_many_as_before(tmp_path, monkeypatch):
    for number in range(6):
        soundfile.write(tmp_path / f"{number}.wav", np.full(16_000, 0.1), 16_000)
    seen = []
    load = OpenClip.load

    def counting(self, *arguments, **options):
        seen.append(torch.get_num_threads())
        return load(self, *arguments, **options)

    monkeypatch.setattr(OpenClip, "load", counting)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        for _ in load_clips(enumerate(find_clips([str(tmp_path)])), Windowing(FrontEnd(96))):
            assert torch.get_num_threads() == 3
        assert torch.get_num_threads() == 3 and seen == [1] * 6
        late = []
        thread = threading.Thread(target=lambda: late.append(torch.get_num_threads()))
        thread.start()
        thread.join()
        assert late == [3]
    finally:
        torch.set_num_threads(before)
