"""Writing on a thread of its own: what is given is written, in order, and what goes wrong is known."""

import threading
import time

import pytest
import torch

from ASDA.audio.front_end import FrontEnd
from ASDA.inference import writing
from ASDA.inference.clips import Clip
from ASDA.inference.features import Assembly, FeatureSpec
from ASDA.inference.store import FeatureStore, UnwritableClipError
from ASDA.inference.windows import LoadedClip, Windowing
from ASDA.inference.writing import FeatureWriter

WINDOWING = Windowing(FrontEnd(64))
TOKENS, WIDTH = 1 + 4 * 8, 16
CLIP_BYTES = 4 * TOKENS * WIDTH + 4 * WIDTH  # the rows, and the mean of CLS


def result(index, value=None, half=False):
    clip = LoadedClip(index, Clip(f"/{index}.wav", f"{index}.wav"), 64, 0.64, torch.zeros(64, 128), WINDOWING)
    assembly = Assembly(clip, FeatureSpec(), half)
    assembly.add(clip.windows[0], torch.full((1, TOKENS, WIDTH), float(index if value is None else value)))
    return assembly


class Store(FeatureStore):
    """Keeps what it gets, and by which thread."""

    def __init__(self, fails=None):
        self.written, self.threads, self.fails, self.may_write = [], set(), fails or {}, threading.Event()
        self.may_write.set()

    def done(self, clip):
        return False

    def write(self, clip, features):
        assert self.may_write.wait(10)
        self.threads.add(threading.get_ident())
        if clip.name in self.fails:
            raise self.fails[clip.name]
        self.written.append((clip.name, features.values.clone()))


def test_feature_writer__writes_everything_in_order_on_another_thread():
    store = Store()
    with FeatureWriter(store) as writer:
        for index in range(20):
            writer.write(result(index))
    assert [name for name, _ in store.written] == [f"{index}.wav" for index in range(20)]
    assert all(torch.equal(values, result(index).features().values) for index, (_, values) in enumerate(store.written))
    assert len(store.threads) == 1 and threading.get_ident() not in store.threads and writer.bad == []


def test_feature_writer__clips_that_cannot_be_written_are_named_and_the_rest_is_done():
    store = Store({"1.wav": UnwritableClipError("its name is too long")})
    with FeatureWriter(store) as writer:
        for index in range(4):
            writer.write(result(index, 1e6 if index == 2 else None, half=True))
    assert [name for name, _ in store.written] == ["0.wav", "3.wav"]
    assert [(bad.index, bad.not_finite) for bad in writer.bad] == [(1, False), (2, True)]
    assert writer.bad[0].reason == "its name is too long" and "beyond what float16 holds" in writer.bad[1].reason


def test_feature_writer__a_failure_ends_the_run_at_the_next_clip():
    store = Store({"1.wav": OSError("the disk is full")})
    with pytest.raises(OSError, match="the disk is full"), FeatureWriter(store) as writer:
        for index in range(1_000):
            writer.write(result(index))
            time.sleep(0.001)
    assert [name for name, _ in store.written] == ["0.wav"]


def test_feature_writer__a_failure_on_the_last_clip_is_raised_at_the_end():
    with (
        pytest.raises(OSError, match="the disk is full"),
        FeatureWriter(Store({"0.wav": OSError("the disk is full")})) as w,
    ):
        w.write(result(0))


def test_feature_writer__when_the_run_is_interrupted_what_was_given_is_written():
    store = Store()
    with pytest.raises(KeyboardInterrupt), FeatureWriter(store) as writer:
        for index in range(5):
            writer.write(result(index))
        raise KeyboardInterrupt
    assert len(store.written) == 5


@pytest.mark.parametrize("fits", [0, 3])
def test_feature_writer__waits_when_too_much_is_to_be_written(monkeypatch, fits):
    monkeypatch.setattr(writing, "WAITING_BYTES", fits * CLIP_BYTES)
    store, given = Store(), []
    store.may_write.clear()

    def give(writer):
        for index in range(8):
            writer.write(result(index))
            given.append(index)

    with FeatureWriter(store) as writer:
        thread = threading.Thread(target=give, args=(writer,))
        thread.start()
        time.sleep(0.2)
        assert len(given) == max(1, fits)
        store.may_write.set()
        thread.join(10)
        assert len(given) == 8
    assert len(store.written) == 8
