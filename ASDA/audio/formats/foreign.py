"""What a file is that cannot be decoded, by its first bytes."""

import re
from typing import Optional

HEAD_BYTES = 512

AUDIO = (  # marks at the beginning of what libsndfile decodes
    (re.compile(rb"(?:RIFF|RIFX|RF64|BW64)....WAVE", re.DOTALL), "wav"),
    (re.compile(rb"riff\x2e\x91\xcf\x11"), "w64"),
    (re.compile(rb"FORM....(?:AIF[FC]|8SVX|16SV)", re.DOTALL), "aiff"),
    (re.compile(rb"caff\0\x01"), "caf"),
    (re.compile(rb"\.snd|dns\."), "au"),
    (re.compile(rb"fLaC"), "flac"),
    (re.compile(rb"OggS\0"), "ogg"),
    (re.compile(rb"NIST_1A\n"), "NIST"),
    (re.compile(rb"Creative Voice File\x1a"), "voc"),
    (re.compile(rb"ID3[\2-\4]|\xff[\xe2\xe3\xf2\xf3\xfa\xfb]"), "mp3"),
)

_CONVERT = "which is not decoded here; convert it, e.g. ffmpeg -i in out.flac"
_OTHER_AUDIO = (
    (re.compile(rb"....ftyp", re.DOTALL), "MP4 or M4A"),
    (re.compile(rb"\x1aE\xdf\xa3"), "Matroska or WebM"),
    (re.compile(rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11"), "Windows Media (WMA)"),
    (re.compile(rb"ADIF|\xff[\xf0\xf1\xf8\xf9]"), "AAC"),
    (re.compile(rb"#!AMR"), "AMR"),
    (re.compile(rb"MAC "), "Monkey's Audio (APE)"),
    (re.compile(rb"wvpk"), "WavPack"),
    (re.compile(rb"TTA[12]"), "True Audio"),
    (re.compile(rb"MPCK|MP\+"), "Musepack"),
    (re.compile(rb"ajkg"), "Shorten"),
    (re.compile(rb"DSD |FRM8"), "DSD"),
    (re.compile(rb"\.RMF|\.ra\xfd"), "RealAudio"),
    (re.compile(rb"FLV\x01"), "Flash video"),
    (re.compile(rb"RIFF....AVI ", re.DOTALL), "AVI"),
    (re.compile(rb"\0\0\x01[\xba\xb3]"), "MPEG video"),
    (re.compile(rb"\x0bw"), "AC-3"),
    (re.compile(rb"OggS.{24,90}(?:Speex|theora)", re.DOTALL), "Ogg with Speex or Theora"),
)
_OTHER_FILES = (
    (re.compile(rb"version https://git-lfs"), "a Git LFS pointer; fetch the file with git lfs pull"),
    (re.compile(rb"/annex/objects/|\.\./\.git/annex"), "a git-annex pointer; fetch the file with git annex get"),
    (re.compile(rb"\s*<(?:!doctype html|html)", re.IGNORECASE), "a web page, as a failed download leaves"),
    (re.compile(rb"\x1f\x8b|BZh|\xfd7zXZ|7z\xbc\xaf|Rar!|PK\x03\x04"), "a compressed archive; unpack it first"),
    (re.compile(rb"\x89HDF\r\n"), "an HDF5 file; its data sets are named as file.h5/key"),
    (re.compile(rb"PAR1"), "a Parquet file; its clips are named as file.parquet/audio[0]"),
    (re.compile(rb"\x93NUMPY"), "a NumPy array"),
    (re.compile(rb"\x89PNG|\xff\xd8\xff|GIF8|%PDF"), "a picture or document"),
    (re.compile(rb"MThd"), "MIDI, which holds notes and no sound"),
)


def audio_kind(head: bytes) -> Optional[str]:
    """Name of the audio format that begins with these bytes, or None."""
    return next((name for mark, name in AUDIO if mark.match(head)), None)


def foreign_kind(head: bytes) -> Optional[str]:
    """What a file is that begins with these bytes and is no audio that can be decoded; None if that is unknown."""
    for mark, name in _OTHER_AUDIO:
        if mark.match(head):
            return f"{name}, {_CONVERT}"
    for mark, name in _OTHER_FILES:
        if mark.match(head):
            return name
    if head and not head.strip(b"\0"):
        return f"its first {len(head)} bytes are zeros, as a broken download or a full disk leaves"
    return _text(head)


def _text(head: bytes) -> Optional[str]:
    """Says so if the bytes are text."""
    try:
        text = head[: max(1, len(head) - 3)].decode("utf-8")  # the last character may be cut
    except UnicodeDecodeError:
        return None
    if not text or any(ord(c) < 32 and c not in "\t\n\r\f" for c in text):
        return None
    words = " ".join(text.split())
    return f"text, beginning with {words[:40]!r}"
