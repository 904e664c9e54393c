"""Opening audio files: a decoder whose format, rate and length can be trusted, or the reason why there is none."""

import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, Optional, Union

import soundfile

from .errors import AudioError, PathLike
from .formats.foreign import HEAD_BYTES, audio_kind, foreign_kind
from .formats.source import FileBytes, MemoryBytes, Source
from .formats.tags import skip_id3
from .integrity import CHECKED_FORMATS, header_damage
from .samples import PLAUSIBLE_RATES_HZ, implausible_rate
from .spelling import existing_spelling

_UNKNOWN_LENGTH = 1 << 62  # libsndfile's way to say so is the largest integer


@contextmanager
def open_audio(path: PathLike, encoded: Optional[BinaryIO]) -> Iterator[tuple[soundfile.SoundFile, Source]]:
    """The decoder of a file and the file's bytes, or AudioError."""
    source: Source
    decodable: Union[int, str, BinaryIO]
    if encoded is not None:
        source, decodable, descriptor = MemoryBytes(encoded), encoded, None
    else:
        descriptor = _open_file(path)
        source = FileBytes(descriptor)
        # By descriptor: a path would make libsndfile take any file called .au, .snd, .vox or .gsm for samples without
        # a header. (Under Windows descriptors mean nothing to it.)
        decodable = descriptor if os.name == "posix" else os.fspath(path)
    try:
        tags = skip_id3(source)
        if tags and audio_kind(source.read(tags, HEAD_BYTES)) not in (None, "mp3"):
            # Before other formats libsndfile passes over one such tag, and then miscounts in some of them.
            untagged = io.BytesIO(source.read(tags, source.num_bytes - tags))
            source, decodable = MemoryBytes(untagged), untagged
        with _decoder(path, decodable, source) as file:
            yield file, source
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _decoder(path: PathLike, encoded: Union[int, str, BinaryIO], source: Source) -> soundfile.SoundFile:
    if source.num_bytes == 0:
        raise AudioError(path, "the file has 0 bytes")
    try:
        file = soundfile.SoundFile(encoded, closefd=False)
    except (soundfile.SoundFileError, OSError, TypeError, ValueError) as error:  # TypeError: soundfile's answer to .raw
        raise AudioError(path, f"not readable as audio: {_what_it_is(source, error)}") from error
    reason = None
    if file.format not in CHECKED_FORMATS:
        reason = f"{file.format_info} is not read here, as nothing would tell what is missing of it; convert it to flac"
    elif file.frames >= _UNKNOWN_LENGTH:
        reason = "its header states no length, as when written to a pipe; rewrite the file"
    elif not PLAUSIBLE_RATES_HZ[0] <= file.samplerate <= PLAUSIBLE_RATES_HZ[1]:
        reason = implausible_rate(file.samplerate)
    if reason is not None:
        file.close()
        raise AudioError(path, reason)
    return file


def _what_it_is(source: Source, error: Exception) -> str:
    """What a file is that libsndfile does not open: by its content where that tells, else by libsndfile's words."""
    words = one_line(error)
    head = source.read(skip_id3(source), HEAD_BYTES)
    foreign = foreign_kind(head)
    if foreign is not None:
        return foreign
    kind = audio_kind(head)
    if kind is None:
        return f"no known format ({words})"
    return header_damage(source) or f"{kind} with a damaged or truncated header ({words})"


def _open_file(path: PathLike) -> int:
    """A descriptor of a regular file."""
    try:
        try:
            status = os.stat(path)
        except FileNotFoundError:
            path = existing_spelling(path)
            status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for its other end
            raise AudioError(path, "not a regular file")
        return os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    except FileNotFoundError as error:
        raise AudioError(path, "no such file") from error
    except (OSError, ValueError) as error:  # no permission, endless links, a name that no file can have
        raise AudioError(path, f"cannot be opened ({getattr(error, 'strerror', None) or error})") from error


def one_line(error: Exception) -> str:
    """An error without its line breaks, and in libsndfile's own words where it is libsndfile's."""
    text = getattr(error, "error_string", str(error))  # libsndfile's own words; str() would name the file once more
    return " ".join(text.split()) or type(error).__name__
