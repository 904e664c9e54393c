import random

import pytest

from ASDA.audio.formats import marks


class Bytes:
    def __init__(self, data):
        self.data, self.num_bytes = data, len(data)

    def read(self, start, size):
        return self.data[start : start + size]


@pytest.mark.parametrize("num_bytes", [0, 3, 50, 1 << 14, 70_001])
def test_find_marks__all_of_them_at_any_place_and_across_blocks(monkeypatch, num_bytes):
    monkeypatch.setattr(marks, "_BLOCK_BYTES", 20_000)
    draw = random.Random(num_bytes)
    data = bytearray(draw.choices(b"OggS\0", k=num_bytes))
    for place in (19_998, 39_999, 40_000, num_bytes - 4):
        if 0 <= place < num_bytes - 3:
            data[place : place + 4] = b"OggS"
    expected = [place for place in range(7, num_bytes) if data[place : place + 4] == b"OggS"]
    found = list(marks.find_marks(Bytes(bytes(data)), b"OggS", 7))
    assert [place for place, _ in found] == expected
    assert all(head == data[place : place + 16] for place, head in found)
