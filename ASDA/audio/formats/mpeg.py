"""MPEG audio (mp3, mp2): frames, and what a length header promises about them."""

from typing import NamedTuple, Optional

from .foreign import HEAD_BYTES, audio_kind
from .source import Source
from .tags import end_without_tags, skip_id3

_KBIT_PER_S = {  # (MPEG version 1, layer); index 0 is "free format", 15 is forbidden
    (True, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES_HZ = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
_SEARCHED_BYTES = 1 << 16  # for the first frame
_TOLERANCE_FRAMES = 10  # a guess from the file's size may also be right but for tags and the encoder's delay


class _Frame(NamedTuple):
    num_bytes: int
    num_samples: int
    rate_hz: int


class LengthHeader(NamedTuple):
    """What a Xing or Info header promises; None where it does not say."""

    position: int
    first: _Frame
    num_frames: Optional[int]
    num_bytes: Optional[int]


def _frame(header: bytes) -> Optional[_Frame]:
    """The frame with these first four bytes; None if it is none or states no size."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return None
    version, layer = (header[1] >> 3) & 3, 4 - ((header[1] >> 1) & 3)
    rate_index, kbit_index = (header[2] >> 2) & 3, header[2] >> 4
    if layer == 4 or version == 1 or rate_index == 3 or kbit_index in (0, 15):
        return None
    rate_hz = _RATES_HZ[version][rate_index]
    bit_rate = 1000 * _KBIT_PER_S[version == 3, layer][kbit_index]
    padding = (header[2] >> 1) & 1
    if layer == 1:
        return _Frame(4 * (12 * bit_rate // rate_hz + padding), 384, rate_hz)
    samples = 576 if layer == 3 and version != 3 else 1152
    return _Frame(samples // 8 * bit_rate // rate_hz + padding, samples, rate_hz)


def _first_frame(source: Source) -> tuple[int, Optional[_Frame]]:
    """Position of the first frame that another one (or the end) follows; None if there is none."""
    start = skip_id3(source)
    end = end_without_tags(source, start)
    data = source.read(start, _SEARCHED_BYTES)
    at = data.find(b"\xff")
    while at >= 0:
        frame = _frame(data[at : at + 4])
        if frame is not None:
            behind = start + at + frame.num_bytes
            if behind >= end or _frame(source.read(behind, 4)) is not None:
                return start + at, frame
        at = data.find(b"\xff", at + 1)
    return start, None


def length_header(source: Source) -> Optional[LengthHeader]:
    """The Xing or Info header that stands in the first frame, or None."""
    position, frame = _first_frame(source)
    if frame is None:
        return None
    content = source.read(position, 64)
    at = max(content.find(b"Xing"), content.find(b"Info"))
    if at < 0:
        return None
    words = [int.from_bytes(source.read(position + at + 4 * i, 4), "big") for i in (1, 2, 3)]
    has_frames, has_bytes = words[0] & 1, words[0] & 2
    num_bytes = words[2 if has_frames else 1] if has_bytes else None
    return LengthHeader(position, frame, words[1] if has_frames else None, num_bytes)


def mpeg_damage(source: Source, samples_to_read: int) -> Optional[str]:
    """Why the decoder would not give all of an MPEG audio file, or None.

    Args:
        samples_to_read: of a channel, as libsndfile states it: the length header's word, or without one a guess from
            the file's size at which decoding stops.
    """
    header = length_header(source)
    if header is None or header.num_frames is None:
        return _guess_damage(source, samples_to_read)
    end = end_without_tags(source, header.position)
    if header.num_bytes is not None and abs(end - header.position - header.num_bytes) <= header.first.num_bytes:
        return None
    present, _ = _count_frames(source, header.position + header.first.num_bytes)
    if present > header.num_frames + 1:  # whether the frame of the header itself is counted depends on the writer
        return (
            f"its length header counts {header.num_frames} frames, the file holds {present}: several files joined to "
            "one? Only the first would be read; write it anew, e.g. ffmpeg -i in.mp3 out.flac"
        )
    if present < header.num_frames - 1:
        return f"truncated: its length header promises {header.num_frames} frames, the file holds {present}"
    behind = skip_id3(source, header.position + (header.num_bytes or 0))
    if header.num_bytes is not None and (kind := audio_kind(source.read(behind, HEAD_BYTES))) not in (None, "mp3"):
        return (
            f"several files joined to one: a second ({kind}) begins at byte {behind} and would not be read; split them"
        )
    return None


def _guess_damage(source: Source, guessed_samples: int) -> Optional[str]:
    """libsndfile stops at its guess, which falls short when the bit rate varies: count the frames instead."""
    position, first = _first_frame(source)
    if first is None:
        return "damaged: no MPEG frame with another behind it"
    present, rates_hz = _count_frames(source, position)
    if len(rates_hz) > 1:
        return f"its sample rate changes ({', '.join(map(str, sorted(rates_hz)))} Hz): several files joined to one?"
    if present * first.num_samples > guessed_samples + _TOLERANCE_FRAMES * first.num_samples:
        return (
            f"MP3 of varying bit rate without a length header: only about {guessed_samples} of "
            f"{present * first.num_samples} samples would be decoded; rewrite the file (e.g. ffmpeg -i in.mp3 -c copy "
            "out.mp3)"
        )
    return None


def _count_frames(source: Source, start: int) -> tuple[int, set[int]]:
    """How many frames stand behind a position, and their sample rates."""
    data = source.read(start, source.num_bytes - start)
    count, position, rates_hz = 0, 0, set()
    synchronised = True
    while 0 <= position < len(data) - 4:
        frame = _frame(data[position : position + 4])
        if frame is not None and not synchronised:  # any bytes may look like a frame: another one has to follow
            behind = position + frame.num_bytes
            frame = frame if behind >= len(data) - 4 or _frame(data[behind : behind + 4]) else None
        synchronised = frame is not None
        if frame is None:
            position = data.find(b"\xff", position + 1)
            continue
        position += frame.num_bytes
        if position <= len(data):  # a frame that is cut short does not count
            count += 1
            rates_hz.add(frame.rate_hz)
    return count, rates_hz
