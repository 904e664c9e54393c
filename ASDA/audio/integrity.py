"""Is an audio file whole? What libsndfile does not say, or says only in its log.

A file that lost its end (an interrupted download or copy) mostly opens without an error: libsndfile shortens it to what
is there. Training on it would go unnoticed, so each family of formats gets the check that tells.
"""

import os
import re
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Iterator, Optional, Union

import soundfile

# Chunk sizes in libsndfile's log, e.g. `data : 64000 (should be 31978)`: promised by the header, present in the file.
_SHORT_CHUNK = re.compile(r"^\s*(data|SSND|Data Size|riff|Riff size)\s*: (\d+) \(should be (\d+)\)", re.MULTILINE)
_PADDED_CHUNKS = {"SSND", "riff", "Riff size"}  # counted with the final padding byte, which some writers leave out
_STREAMED_SIZE = 0x7FFF0000  # programs that write to a pipe do not know the size and put about 2**31 or 2**32 there

_OGG_PAGE_MAX_BYTES = 27 + 255 + 255 * 255
_OGG_LAST_PAGE = 0x04

_MP3_KBIT_PER_S = {  # layer III, by MPEG version 1 or not; index 0 is "free format", 15 is forbidden
    True: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    False: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_MP3_RATES_HZ = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
_MP3_TOLERANCE_SAMPLES = 10 * 1152  # a guess may also be right but for tags and the encoder's delay


Source = Union[str, Path, BinaryIO]


def find_damage(file: soundfile.SoundFile, source: Source) -> Optional[str]:
    """Why an opened file cannot be trusted to give all of its audio, or None.

    FLAC needs no check here, its decoder fails; nor does MP3 with a length header, where decoding ends early.

    Args:
        file: the opened file.
        source: the path or the stream that it was opened from; a stream's position is left as it was.
    """
    if file.format == "OGG":
        with _reading(source) as stream:
            return _ogg_damage(stream)
    if not length_is_exact(file, source):
        with _reading(source) as stream:
            return _mp3_damage(stream, file.frames)
    for chunk, promised, present in _SHORT_CHUNK.findall(file.extra_info):
        missing = int(promised) - int(present)
        if missing > (1 if chunk in _PADDED_CHUNKS else 0) and int(promised) < _STREAMED_SIZE:
            return f"truncated: the header promises {promised} bytes ({chunk}), the file holds {present}"
    return None


def length_is_exact(file: soundfile.SoundFile, source: Source) -> bool:
    """Whether `file.frames` is a promise. For MP3 without a length header libsndfile guesses it from the file size."""
    if file.subtype != "MPEG_LAYER_III":
        return True
    with _reading(source) as stream:
        _skip_id3(stream)
        start = stream.read(4096).lstrip(b"\0")[:64]
    return b"Xing" in start or b"Info" in start


@contextmanager
def _reading(source: Source) -> Iterator[BinaryIO]:
    """A stream at the source's beginning."""
    if isinstance(source, (str, Path)):
        with open(source, "rb") as stream:
            yield stream
        return
    position = source.tell()
    source.seek(0)
    try:
        yield source
    finally:
        source.seek(position)


def _ogg_damage(stream: BinaryIO) -> Optional[str]:
    """The last page must be complete and carry the end-of-stream mark."""
    num_bytes = stream.seek(0, os.SEEK_END)
    stream.seek(max(0, num_bytes - 2 * _OGG_PAGE_MAX_BYTES))
    tail = stream.read()
    page = tail[max(0, tail.rfind(b"OggS")) :]
    num_segments = page[26] if page.startswith(b"OggS") and len(page) > 26 else None
    if num_segments is None or len(page) < 27 + num_segments + sum(page[27 : 27 + num_segments]):
        return "truncated: the last Ogg page is incomplete"
    if not page[5] & _OGG_LAST_PAGE:
        return "truncated: the Ogg stream stops without its end mark"
    return None


def _skip_id3(stream: BinaryIO) -> None:
    """Move behind the ID3v2 tag at the start of a file, if there is one."""
    head = stream.read(10)
    tagged = len(head) == 10 and head.startswith(b"ID3")
    stream.seek(10 + sum((head[6 + i] & 0x7F) << (7 * (3 - i)) for i in range(4)) if tagged else 0)


def _mp3_damage(stream: BinaryIO, guessed_samples: int) -> Optional[str]:
    """libsndfile stops at its guess, which falls short when the bit rate varies: count the frames instead."""
    _skip_id3(stream)
    data = stream.read()
    samples = position = 0
    while 0 <= position < len(data) - 4:
        num_bytes, num_samples = _mp3_frame(data[position : position + 4])
        samples += num_samples
        position = position + num_bytes if num_bytes else data.find(b"\xff", position + 1)
    if samples > guessed_samples + _MP3_TOLERANCE_SAMPLES:
        return (
            f"MP3 of varying bit rate without a length header: only about {guessed_samples} of {samples} samples "
            "would be decoded; rewrite the file (e.g. ffmpeg -i in.mp3 -c copy out.mp3)"
        )
    return None


def _mp3_frame(header: bytes) -> tuple[int, int]:
    """Size in bytes and number of samples of the layer III frame with these first four bytes; zeros if it is none."""
    version, layer = (header[1] >> 3) & 3, (header[1] >> 1) & 3
    rate_index, kbit_index = (header[2] >> 2) & 3, header[2] >> 4
    synchronised = header[0] == 0xFF and header[1] & 0xE0 == 0xE0
    if not synchronised or layer != 1 or version == 1 or rate_index == 3 or kbit_index in (0, 15):
        return 0, 0
    samples = 1152 if version == 3 else 576
    bit_rate = 1000 * _MP3_KBIT_PER_S[version == 3][kbit_index]
    padding = (header[2] >> 1) & 1
    return samples // 8 * bit_rate // _MP3_RATES_HZ[version][rate_index] + padding, samples
