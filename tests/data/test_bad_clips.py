"""Counting bad clips while others find more of them."""

import threading

from ASDA.audio.errors import AudioError
from ASDA.data.bad_clips import BadClips
from ASDA.data.manifest import Manifest

NUM_CLIPS = 100_000


def test_bad_clips__are_counted_while_others_find_more(tmp_path):
    """torch's nonzero fails where what it counts changes meanwhile, as by another worker of a data loader."""
    manifest = tmp_path / "train.tsv"
    manifest.write_text(f"{tmp_path}\n" + "".join(f"{number}.wav\t16000\n" for number in range(NUM_CLIPS)))
    bad_clips = BadClips(Manifest.read(manifest), max_fraction=1.0)
    is_over = threading.Event()

    def find_more():
        found = 0
        while not is_over.is_set():
            found = (found + 1) % 2
            bad_clips._is_bad.fill_(found)  # many at a time, so that some of them come in between

    worker = threading.Thread(target=find_more)
    worker.start()
    try:
        for number in range(300):
            indices = bad_clips.indices()
            assert indices == sorted(set(indices)) and len(indices) <= NUM_CLIPS
            bad_clips.merge([[number]])
            bad_clips.add(number, AudioError("clip.wav", "no audio"))
    finally:
        is_over.set()
        worker.join()
