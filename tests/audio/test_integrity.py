"""What is read is what is there: cut, joined and mislabelled files of every format, by their own headers."""

import io
import os
import random
import struct

import numpy as np
import pytest
import soundfile

from ASDA.audio import AudioError, load_waveform, probe

RATE = 16_000
_NOISE = np.random.default_rng(0).standard_normal(2 * RATE)
SAMPLES = (0.2 * np.sin(np.arange(2 * RATE) / 5) + 0.05 * _NOISE).astype("float32")
FORMATS = {
    "wav": {"format": "WAV", "subtype": "PCM_16"},
    "wav24": {"format": "WAV", "subtype": "PCM_24"},
    "adpcm": {"format": "WAV", "subtype": "IMA_ADPCM"},
    "wavex": {"format": "WAVEX", "subtype": "FLOAT"},
    "rf64": {"format": "RF64", "subtype": "PCM_16"},
    "w64": {"format": "W64", "subtype": "PCM_16"},
    "aiff": {"format": "AIFF", "subtype": "PCM_16"},
    "aifc": {"format": "AIFF", "subtype": "FLOAT"},
    "svx": {"format": "SVX", "subtype": "PCM_16"},
    "caf": {"format": "CAF", "subtype": "PCM_16"},
    "alac": {"format": "CAF", "subtype": "ALAC_16"},
    "au": {"format": "AU", "subtype": "PCM_16"},
    "sph": {"format": "NIST", "subtype": "PCM_16"},
    "voc": {"format": "VOC", "subtype": "PCM_16"},
    "flac": {"format": "FLAC"},
    "ogg": {"format": "OGG", "subtype": "VORBIS"},
    "opus": {"format": "OGG", "subtype": "OPUS"},
    "mp3": {"format": "MP3"},
}


def encoded(name: str, samples: np.ndarray = SAMPLES, rate_hz: int = RATE) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate_hz, **FORMATS[name])
    return file.getvalue()


def read(data: bytes, **options) -> np.ndarray:
    return load_waveform("clip", encoded=io.BytesIO(data), **options).numpy()


def reason(data: bytes, **options) -> str:
    with pytest.raises(AudioError) as caught:
        read(data, **options)
    assert "\n" not in caught.value.reason
    return caught.value.reason


def id3(size: int) -> bytes:
    return b"ID3\3\0\0" + bytes([0, 0, size >> 7, size & 0x7F]) + bytes(size)


def chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


@pytest.mark.parametrize("name", FORMATS)
def test_load_waveform__whole_file_is_read_with_and_without_tags(tmp_path, name):
    data = encoded(name)
    expected = read(data)
    assert len(SAMPLES) <= len(expected) <= len(SAMPLES) + 1024  # ADPCM fills up its last block
    (tmp_path / "clip").write_bytes(data)
    assert np.array_equal(load_waveform(tmp_path / "clip"), expected)
    assert np.array_equal(read(id3(300) + data), expected)
    assert np.array_equal(read(id3(300) + id3(2000) + data), expected)
    if name not in ("w64", "sph", "voc", "svx"):  # there libsndfile would take the tag for samples, which is refused
        assert np.array_equal(read(data + b"TAG" + b"x" * 125), expected)


@pytest.mark.parametrize("name", FORMATS)
def test_load_waveform__file_cut_anywhere_is_refused(name):
    data, places = encoded(name), random.Random(0)
    for _ in range(25):
        kept = places.randrange(1, len(data))
        if name == "voc" and kept == len(data) - 1:  # without its end mark, but with all samples
            continue
        assert reason(data[:kept]), kept
    assert "truncated" in reason(data[: len(data) * 9 // 10]) or name == "flac"


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("between", [b"", id3(100), bytes(512)], ids=["at once", "tag", "zeros"])
def test_load_waveform__files_joined_to_one_are_refused(name, between):
    data = encoded(name)
    other = encoded(name, SAMPLES[: RATE // 2])
    for joined in (data + between + data, data + between + other, other + between + data):
        assert any(word in reason(joined) for word in ("joined", "one after the other"))


def test_load_waveform__files_of_two_formats_joined_to_one_are_refused():
    for first in ("wav", "au", "caf", "mp3", "ogg", "sph"):
        assert any(word in reason(encoded(first) + encoded("flac")) for word in ("joined", "stand behind"))


@pytest.mark.parametrize("name", ["ogg", "flac"])
def test_load_waveform__excerpt_of_joined_files_needs_no_look_at_all_of_it(name):
    data = encoded(name)
    joined = data + data if name == "flac" else data
    assert np.array_equal(read(joined, start_s=0.5, duration_s=0.5), read(data, start_s=0.5, duration_s=0.5))


@pytest.mark.parametrize("rate_hz", [8_000, 48_000])
def test_load_waveform__ogg_streams_of_one_serial_number(rate_hz):
    """Some encoders number every stream alike: the first page of the second one tells all the same."""
    data = encoded("opus", SAMPLES, rate_hz)
    assert "one after the other" in reason(data + data)


def test_load_waveform__metadata_before_the_samples_of_any_length():
    """libsndfile's log ends after 2 kB, where the size of the samples stood behind so much metadata."""
    body = encoded("wav")[12:]
    notes = chunk(b"LIST", b"INFO" + b"".join(chunk(b"ICMT", b"c" * 200) for _ in range(500)))
    for extra in (notes, chunk(b"bext", bytes(603)), chunk(b"junk", b"x" * 70_001)):
        data = b"RIFF" + struct.pack("<I", 4 + len(extra) + len(body)) + b"WAVE" + extra + body
        assert np.array_equal(read(data), read(encoded("wav")))
        assert "truncated: the header promises 64000 bytes of samples" in reason(data[: -len(body) // 2])
        assert reason(data[: len(extra) // 2])


def test_load_waveform__unknown_length_of_streams_is_not_a_promise():
    """A size near 2**31 or 2**32 stands for "unknown"; one between is a promise like any other."""
    data = bytearray(encoded("wav"))
    at = data.index(b"data") + 4
    for size, known in ((0xFFFFFFFF, False), (0x7FFFFFFF, False), (0x80000000 - 36, False), (0xC0000000, True)):
        data[at : at + 4] = struct.pack("<I", size)
        if known:
            assert "truncated: the header promises 3221225472 bytes" in reason(bytes(data))
        else:
            assert len(read(bytes(data))) == len(SAMPLES)


def test_load_waveform__samples_behind_what_the_header_promises():
    data = bytearray(encoded("wav"))
    at = data.index(b"data") + 4
    data[at : at + 4] = struct.pack("<I", 20_000)  # as of a file of more than 4 GB, whose size went around
    assert "44000 bytes stand behind" in reason(bytes(data))
    two = data[:at] + struct.pack("<I", 32_000) + data[at + 4 : at + 4 + 32_000] + chunk(b"data", bytes(data[-32_000:]))
    assert "a second chunk of samples" in reason(bytes(two))
    data[at : at + 4] = struct.pack("<I", 64_000)
    assert len(read(bytes(data) + chunk(b"LIST", b"INFO" + b"x" * 99) + b"left over")) == len(SAMPLES)


def test_load_waveform__odd_chunk_without_its_padding():
    body = encoded("wav")[12:]
    unpadded = b"note" + struct.pack("<I", 7) + b"1234567"
    data = (
        b"RIFF" + struct.pack("<I", 4 + len(unpadded) + len(body)) + b"WAVE" + body + unpadded + chunk(b"more", b"12")
    )
    assert len(read(data)) == len(SAMPLES)


@pytest.mark.parametrize("name", ["page.au", "page.snd", "page.vox", "page.gsm", "page.wav", "page.raw"])
def test_probe__text_is_no_audio_by_whichever_name(tmp_path, name):
    for text, said in (
        ("<!DOCTYPE html><html>404 Not Found</html>" * 99, "a web page"),
        ("These are words. " * 500, "text, beginning with 'These are words."),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
    ):
        (tmp_path / name).write_text(text)
        for function in (probe, load_waveform):
            with pytest.raises(AudioError, match=f"not readable as audio: .*{said}"):
                function(tmp_path / name)


@pytest.mark.parametrize(
    ("head", "said"),
    [
        (b"\0\0\0\x20ftypM4A ", "MP4 or M4A, which is not decoded here; convert it"),
        (b"\x1aE\xdf\xa3\x01", "Matroska or WebM"),
        (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "Windows Media"),
        (b"\xff\xf1\x50\x80", "AAC"),
        (b"#!AMR\n", "AMR"),
        (b"MAC \x96\x0f", "Monkey's Audio"),
        (b"\x1f\x8b\x08\0", "a compressed archive; unpack it"),
        (b"\x89HDF\r\n\x1a\n", "an HDF5 file; its data sets are named as file.h5/key"),
        (b"PAR1\x15\x04", "a Parquet file; its clips are named as file.parquet/audio[0]"),
        (bytes(512), "zeros"),
    ],
)
def test_load_waveform__names_what_cannot_be_decoded(head, said):
    assert said in reason(head + bytes(range(256)) * 20)


def test_load_waveform__formats_whose_length_nobody_could_check_are_refused():
    file = io.BytesIO()
    soundfile.write(file, SAMPLES, RATE, format="PAF", subtype="PCM_16")
    assert "PAF (Ensoniq PARIS) is not read here" in reason(file.getvalue())


def test_load_waveform__nist_header_is_believed():
    data = encoded("sph")
    assert "truncated: the header promises 64000 bytes" in reason(data[: 1024 + 30_000])
    coded = data.replace(b"sample_coding -s3 pcm", b"sample_coding -s26 pcm,embedded-shorten-v2.00")
    short = coded[:1024] + data[1024:]
    assert "compressed (pcm,embedded-shorten-v2.00)" in reason(short) or "not readable" in reason(short)


def test_load_waveform__voc_of_several_blocks_is_refused():
    data = encoded("voc")
    first = data[:-1]  # without the mark of the end
    assert "several blocks" in reason(first + data[26:])


def mp2(num_frames: int) -> bytes:
    """Silence as MPEG-1 layer II at 48 kHz and 192 kbit/s: 1152 samples in 576 bytes, no sub-band has any bits."""
    return (b"\xff\xfd\xa4\xc0" + bytes(572)) * num_frames


def test_load_waveform__layer_two_is_counted_in_frames():
    assert len(read(mp2(50))) == pytest.approx(50 * 1152 / 3, abs=1152)
    assert probe("clip", io.BytesIO(mp2(50))).sample_rate_hz == 48_000


def test_load_waveform__mp3_with_any_tags_and_its_length():
    data = encoded("mp3")
    ape = b"APETAGEX" + struct.pack("<IIII", 2000, 32 + 40, 1, 0) + bytes(8)
    for behind in (b"TAG" + bytes(125), bytes(40) + ape, b"LYRICSBEGIN" + b"x" * 100 + b"000111LYRICS200", bytes(9999)):
        assert np.array_equal(read(id3(7) + data + behind), read(data))
    assert "its length header promises" in reason(id3(300) + id3(2000) + data[: len(data) // 2])


def test_load_waveform__mp3_whose_rate_changes_is_refused():
    def without_length_header(data):
        return data[data.index(data[:2], 4) :]

    low, high = (without_length_header(encoded("mp3", SAMPLES, rate)) for rate in (16_000, 24_000))
    assert "its sample rate changes (16000, 24000 Hz)" in reason(low + high)


@pytest.mark.parametrize("sound", [3e4 * SAMPLES, 1e5 * SAMPLES])
def test_load_waveform__floats_on_the_scale_of_16_bits_are_refused(sound):
    file = io.BytesIO()
    soundfile.write(file, sound, RATE, format="WAV", subtype="FLOAT")
    assert "divide 16-bit values by 32768" in reason(file.getvalue())


def test_load_waveform__whole_numbers_of_16_bits_in_32_are_warned_of(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("ASDA.audio.samples._quiet", set())
    paths = [tmp_path / f"{number}.wav" for number in range(9)]
    for path in paths:
        soundfile.write(path, (32767 * SAMPLES).astype(np.int32), RATE, subtype="PCM_32")
        assert load_waveform(path).abs().max() < 2**-15
    named = [path for path in paths if str(path) in caplog.text]
    assert 0 < len(named) < len(paths) and "in 32-bit integers" in caplog.text
    assert "asda-manifest check" in caplog.text


@pytest.mark.skipif(os.name != "posix", reason="named pipes")
def test_load_waveform__does_not_wait_for_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    with pytest.raises(AudioError, match="not a regular file"):
        load_waveform(tmp_path / "pipe.wav")
