"""Would all of an audio file be read? What libsndfile does not say.

A file that lost its end (an interrupted download or copy) mostly opens without an error: libsndfile shortens it to what
is there. Of files that were joined to one it reads the first. Training on either would go unnoticed, so what the header
promises, what the file holds and what the decoder is about to read are held against each other.
"""

from typing import Optional

import soundfile

from .formats import chunks, headers
from .formats.extent import DamagedHeader, Extent
from .formats.flac import second_flac_stream
from .formats.foreign import HEAD_BYTES, audio_kind
from .formats.mpeg import length_header, mpeg_damage
from .formats.ogg import ogg_damage, second_ogg_stream
from .formats.source import Source
from .formats.tags import end_without_tags, skip_id3, skip_padding

_EXTENTS = {
    "WAV": chunks.riff,
    "WAVEX": chunks.riff,
    "RF64": chunks.riff,
    "W64": chunks.w64,
    "AIFF": chunks.form,
    "SVX": chunks.form,
    "CAF": chunks.caf,
    "AU": headers.au,
    "NIST": headers.nist,
    "VOC": headers.voc,
}
CHECKED_FORMATS = frozenset({*_EXTENTS, "FLAC", "OGG", "MP3"})
"""libsndfile's names of the formats whose headers are understood here; of others nobody could tell what is missing."""

_PARSERS = {"wav": chunks.riff, "w64": chunks.w64, "aiff": chunks.form, "caf": chunks.caf, "au": headers.au}
_PARSERS |= {"NIST": headers.nist, "voc": headers.voc}

_SAMPLE_BYTES = {"PCM_S8": 1, "PCM_U8": 1, "ULAW": 1, "ALAW": 1, "PCM_16": 2, "PCM_24": 3, "PCM_32": 4}
_SAMPLE_BYTES |= {"FLOAT": 4, "DOUBLE": 8}
_SECOND_STREAM = {"FLAC": second_flac_stream, "OGG": second_ogg_stream}
_READ_AHEAD_BYTES = 1 << 14  # decoders take half of that at a time
_MARK_BYTES = 4  # the mark of the first stream is none of a second
_LEFT_OUT_BYTES = 1  # the padding behind an odd number of bytes
_JUNK_BYTES = 4096  # some programs leave rubbish behind the samples


def find_damage(file: soundfile.SoundFile, source: Source) -> Optional[str]:
    """Why an opened file cannot be trusted to give all of its audio, or None, by its headers and its end.

    Args:
        file: the opened file.
        source: its bytes.
    """
    start = skip_id3(source)
    name = file.format  # soundfile searches a table for it
    if name == "OGG":
        return ogg_damage(source, start)
    if name == "FLAC":
        return None
    if name == "MP3":
        return mpeg_damage(source, file.frames)
    try:
        extent = _EXTENTS[name](source, start)
    except DamagedHeader as damage:
        return str(damage)
    return _size_damage(extent, source) or _decoder_damage(extent, file)


def find_unread(file: soundfile.SoundFile, source: Source) -> Optional[str]:
    """Why a file that was decoded from its beginning to its end holds more than that, or None.

    Decoders of FLAC and Ogg end with the first stream, and have then read a little beyond it.
    """
    find_second = _SECOND_STREAM.get(file.format)
    if find_second is None:
        return None
    position = source.decoded_to()
    reason = find_second(source, max(_MARK_BYTES, position - _READ_AHEAD_BYTES))
    num_left = source.num_bytes - position
    if reason is None and num_left > _JUNK_BYTES:
        num_left = end_without_tags(source, position) - skip_padding(source, position)
        if num_left > _JUNK_BYTES:
            reason = f"damaged: {num_left} bytes stand behind the last sample, and would not be read"
    return reason


def header_damage(source: Source) -> Optional[str]:
    """What is wrong with the sizes in the header of a file that libsndfile does not open; None if nothing is known."""
    start = skip_id3(source)
    kind = audio_kind(source.read(start, HEAD_BYTES))
    if kind is None or kind not in _PARSERS:
        return None
    try:
        return _size_damage(_PARSERS[kind](source, start), source)
    except DamagedHeader as damage:
        return str(damage)


def length_is_exact(file: soundfile.SoundFile, source: Source) -> bool:
    """Whether `file.frames` is a promise. For MP3 without a length header libsndfile guesses it from the file size."""
    if file.format != "MP3":
        return True
    header = length_header(source)
    return header is not None and header.num_frames is not None


def _size_damage(extent: Extent, source: Source) -> Optional[str]:
    """Whether the file holds less than its header promises, or more that may be audio too."""
    if extent.size is None:
        return None
    present = max(0, source.num_bytes - extent.start)
    if present + _LEFT_OUT_BYTES < extent.size or (present < extent.size and not extent.size_counts_padding):
        return f"truncated: the header promises {extent.size} bytes of samples, the file holds {present}"
    end = skip_padding(source, extent.end)
    num_left = end_without_tags(source, end) - end
    if num_left <= 0:
        return None
    kind = audio_kind(source.read(end, HEAD_BYTES))
    if kind is not None:
        return f"several files joined to one: a second ({kind}) begins at byte {end} and would not be read; split them"
    if num_left > _JUNK_BYTES:
        return f"damaged: {num_left} bytes stand behind what its header promises, and would not be read"
    return None


def _decoder_damage(extent: Extent, file: soundfile.SoundFile) -> Optional[str]:
    """Whether libsndfile would read less or more than the samples that the header promises."""
    frame_bytes = extent.frame_bytes or _SAMPLE_BYTES.get(file.subtype, 0) * file.channels
    num_read = file.frames * frame_bytes
    if extent.size is None or not frame_bytes or abs(num_read - extent.size) <= frame_bytes:
        return None
    if num_read < extent.size:
        return f"damaged: of the {extent.size} bytes of samples that the header promises {num_read} would be read"
    return f"damaged: bytes behind the {extent.size} that the header promises would be read as samples"
