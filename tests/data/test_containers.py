import os
import pickle
import random
import tarfile
import unicodedata

import h5py
import numpy as np
import pytest
import torch

from ASDA.audio.front_end import FrontEnd
from ASDA.audio.io import AudioError
from ASDA.data import containers
from ASDA.data.containers import ClipReader, split_container
from ASDA.data.preparation.finding import find_clips
from tests.data.generated_corpora import CONTAINERS, RATE_HZ, put_into, sound, write_h5, write_tar, write_zip

PCM = np.round(sound() * 32767).astype(np.int16)


def test_reader__every_container_gives_the_same_samples(tmp_path, write_audio):
    files = [write_audio(f"clip.{suffix}", PCM) for suffix in ("wav", "flac", "aiff")]
    files.append(write_audio("float.wav", PCM / 32768, subtype="FLOAT"))
    tar = write_tar(tmp_path / "shard.tar", files)
    h5 = write_h5(
        tmp_path / "shard.h5", {"int": PCM, "float": (PCM / 32768).astype(np.float32), "g/double": PCM / 32768}
    )
    with h5py.File(h5, "a") as file:
        file.attrs["sr"] = RATE_HZ
        file.create_dataset("int32", data=PCM.astype(np.int32) << 16)
    paths = [str(file) for file in files]
    paths += [f"{tar}/{file.name}" for file in files] + write_zip(tmp_path / "shard.zip", files)
    paths += [f"{h5}/{key}" for key in ("int", "float", "g/double", "int32")]
    reader = ClipReader()
    expected = torch.from_numpy(PCM / 32768).float()
    for path in paths:
        assert torch.equal(reader.load(path), expected), path
        info = reader.probe(path)
        assert (info.sample_rate_hz, info.num_channels, info.num_samples) == (RATE_HZ, 1, len(PCM)), path
        excerpt = reader.load(path, start_s=0.25, duration_s=0.5)
        assert torch.equal(excerpt, expected[4000:12000]), path


@pytest.mark.parametrize(
    ("suffix", "options"), [("ogg", {}), ("opus", {"format": "OGG", "subtype": "OPUS"}), ("mp3", {})]
)
def test_reader__lossy_formats_are_read(write_audio, suffix, options):
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(RATE_HZ) / RATE_HZ)
    path = write_audio(f"clip.{suffix}", tone, **options)
    waveform = ClipReader().load(str(path))
    expected = torch.from_numpy(tone).float()
    length = min(len(waveform), len(expected))
    # An encoder may delay the sound by some samples: take the best alignment.
    spectrum = torch.fft.rfft(waveform[:length]) * torch.fft.rfft(expected[:length]).conj()
    correlation = torch.fft.irfft(spectrum, n=length).max() / (waveform.norm() * expected.norm())
    assert correlation > 0.95


def test_reader__stereo_at_44100_gives_the_features_of_mono_at_16000(tmp_path, write_audio):
    """The same band-limited sound; the channels hold it in unequal parts that average to the mono signal."""
    mono = write_audio("mono.wav", sound(2.0), subtype="FLOAT")
    wide = sound(2.0, rate_hz=44_100)
    difference = 0.3 * np.sin(np.arange(len(wide)) / 7.0)
    stereo = np.stack([wide + difference, wide - difference], axis=1)
    paths = [str(write_audio("stereo.wav", stereo, 44_100, subtype="FLOAT"))]
    paths.append(f"{write_tar(tmp_path / 's.tar', [tmp_path / 'stereo.wav'])}/stereo.wav")
    paths += write_zip(tmp_path / "s.zip", [tmp_path / "stereo.wav"])
    h5 = write_h5(tmp_path / "s.h5", {"last": stereo, "first": stereo.T.copy()}, 44_100)
    paths += [f"{h5}/last", f"{h5}/first"]
    front_end, reader = FrontEnd(target_length_frames=180), ClipReader()
    expected = front_end(reader.load(str(mono)))
    for path in paths:
        got = front_end(reader.load(path))
        # Above mel bin 105 (4.9 kHz) the low-pass filter of the resampler begins to show.
        assert (got[:, :105] - expected[:, :105]).abs().max() < 1e-3, path
        assert reader.probe(path).num_channels == 2


def test_reader__h5_rate_comes_from_the_attribute_or_the_default(tmp_path):
    stated = write_h5(tmp_path / "stated.h5", {"a": PCM}, RATE_HZ)
    silent = write_h5(tmp_path / "silent.h5", {"a": PCM})
    reader = ClipReader(h5_sample_rate_hz=32_000)
    assert len(reader.load(f"{stated}/a")) == len(PCM)
    assert len(reader.load(f"{silent}/a")) == len(PCM) // 2
    assert reader.probe(f"{silent}/a").sample_rate_hz == 32_000


def test_reader__h5_rate_that_is_no_number_is_named(tmp_path):
    h5 = write_h5(tmp_path / "s.h5", {"a": PCM}, RATE_HZ)
    with h5py.File(h5, "a") as file:
        file["a"].attrs["sample_rate"] = "fast"
    for read in (ClipReader().load, ClipReader().probe):
        with pytest.raises(AudioError, match="its attribute 'sample_rate' is 'fast', expected a rate in Hz"):
            read(f"{h5}/a")


def test_reader__failures_name_the_clip_and_the_reason(tmp_path, write_audio):
    wav = write_audio("a.wav")
    flac = write_audio("cut.flac", sound(3.0))
    flac.write_bytes(flac.read_bytes()[: flac.stat().st_size // 2])
    tar = write_tar(tmp_path / "s.tar", [wav, flac])
    (tmp_path / "gz.tar").write_bytes(b"\x1f\x8b not a tar")
    h5 = write_h5(
        tmp_path / "s.h5", {"g/a": PCM, "cube": np.zeros((2, 2, 2)), "text": np.array([b"x"]), "none": PCM[:0]}
    )
    (tmp_path / "bad.h5").write_bytes(b"not h5")
    whole_zip = write_zip(tmp_path / "s.zip", [wav])[0]
    offset, length = whole_zip.split(":")[1:]
    cases = {
        f"{tmp_path}/absent.wav": "no such file",
        f"{tmp_path}/cut.flac": "truncated|damaged",
        f"{tar}/cut.flac": "truncated|damaged",
        f"{tar}/absent.wav": "the tar holds no member 'absent.wav'",
        f"{tmp_path}/absent.tar/a.wav": "the container cannot be opened",
        f"{tmp_path}/gz.tar/a.wav": "the container cannot be opened",
        f"{h5}/absent": "the h5 file holds no data set 'absent'",
        f"{h5}/g": "expected a data set, 'g' is a group",
        f"{h5}/cube": r"expected samples of shape .* got \(2, 2, 2\)",
        f"{h5}/none": r"expected samples of shape .* got \(0,\)",
        f"{h5}/text": "expected integer or float samples",
        f"{tmp_path}/bad.h5/a": "the container cannot be opened",
        f"{tmp_path}/absent.zip:0:10": "the container cannot be opened",
        f"{whole_zip.rsplit(':', 1)[0]}:{10**9}": "expected 1000000000 bytes at offset",
        f"{tmp_path}/s.zip:{int(offset) + 50}:{length}": "not readable as audio|expected .* bytes",
    }
    reader = ClipReader()
    for path, reason in cases.items():
        with pytest.raises(AudioError, match=reason) as caught:
            reader.load(path)
        assert caught.value.path == path
    assert reader.load(f"{tar}/a.wav").numel() == RATE_HZ  # the reader still works


def test_reader__folder_named_like_a_container_is_a_folder(write_audio):
    path = write_audio("takes.tar/a.wav", PCM)
    assert split_container(str(path)) == (str(path), None, "")
    assert ClipReader().load(str(path)).numel() == len(PCM)
    inner = write_tar(path.parent / "inner.tar", [path])
    assert ClipReader().load(f"{inner}/a.wav").numel() == len(PCM)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/d/a.wav", ("/d/a.wav", None, "")),
        ("/d/s.h5/key", ("/d/s.h5", "h5", "key")),
        ("/d/s.hdf5/group/key.wav", ("/d/s.hdf5", "h5", "group/key.wav")),
        ("/d/s.tar/folder/clip.flac", ("/d/s.tar", "tar", "folder/clip.flac")),
        ("/d/s.parquet/audio[17]", ("/d/s.parquet", "parquet", "audio[17]")),
        ("/d/s.zip:12:345", ("/d/s.zip", "zip", "12:345")),
        ("/d/s.zip/clip.wav", ("/d/s.zip/clip.wav", None, "")),
    ],
)
def test_split_container__reads_the_form_of_a_path(path, expected):
    assert split_container(path) == expected


@pytest.mark.parametrize("kind", CONTAINERS)
def test_reader__every_container_gives_the_samples_of_its_files(tmp_path, write_audio, kind):
    rng = np.random.default_rng(0)
    files = [write_audio(f"{i}.flac", np.roll(PCM, 100 * i)[: 8000 + 100 * i]) for i in range(7)]
    paths, reader, from_files = put_into(kind, tmp_path, files), ClipReader(), ClipReader()
    for place in rng.permutation(np.repeat(np.arange(len(files)), 3)):
        assert torch.equal(reader.load(paths[place]), from_files.load(str(files[place])))
        assert reader.probe(paths[place]) == from_files.probe(str(files[place]))
        excerpt = from_files.load(str(files[place]), 0.1, 0.2)
        assert torch.equal(reader.load(paths[place], 0.1, 0.2), excerpt)


@pytest.mark.parametrize("kind", CONTAINERS)
def test_reader__container_that_is_damaged_or_absent_costs_its_clip_only(tmp_path, write_audio, kind):
    wav = write_audio("a.wav", PCM)
    paths, reader = put_into(kind, tmp_path, [wav]), ClipReader()
    whole = (tmp_path / f"shard.{kind}").read_bytes()
    absent = paths[0].replace("shard", "absent")
    with pytest.raises(AudioError, match="the container cannot be opened") as caught:
        reader.load(absent)
    assert caught.value.path == absent
    for content in (whole[: len(whole) // 2], b"", b"something else"):
        (tmp_path / f"shard.{kind}").write_bytes(content)
        with pytest.raises(AudioError) as caught:
            ClipReader().load(paths[0])
        assert caught.value.path == paths[0] and "\n" not in caught.value.reason
    assert reader.load(str(wav)).numel() == len(PCM)


def test_reader__opens_a_container_once_and_keeps_few_open(tmp_path, write_audio, monkeypatch):
    opened, closed = [], []

    class Counting(containers.TarContainer):
        def __init__(self, file, index):
            opened.append(file)
            super().__init__(file, index)

        def close(self):
            closed.append(self._descriptor)
            super().close()

    monkeypatch.setattr(containers, "TarContainer", Counting)
    monkeypatch.setattr(containers, "MAX_OPEN_CONTAINERS", 2)
    wav = write_audio("a.wav", PCM)
    tars = [str(write_tar(tmp_path / f"{i}.tar", [wav])) for i in range(3)]
    reader = ClipReader()
    for _ in range(5):
        reader.load(f"{tars[0]}/a.wav")
    assert opened == tars[:1]
    for tar in tars[1:]:
        reader.load(f"{tar}/a.wav")
    assert opened == tars and len(closed) == 1
    reader.close()
    assert len(closed) == 3


def test_reader__tar_members_are_read_in_random_order(tmp_path, write_audio):
    clips = {f"{i}.flac": np.full(500 + i, i, dtype=np.int16) for i in range(30)}
    tar = write_tar(tmp_path / "s.tar", [write_audio(name, samples) for name, samples in clips.items()])
    reader = ClipReader()
    for name in random.Random(0).sample(sorted(clips), len(clips)):
        assert torch.equal(reader.load(f"{tar}/{name}") * 32768, torch.from_numpy(clips[name]).float())


def test_reader__long_member_names_and_folders_in_a_tar(tmp_path, write_audio):
    wav = write_audio("a.wav", PCM)
    name = "folder/" + "x" * 150 + ".wav"
    with tarfile.open(tmp_path / "s.tar", "w") as archive:
        archive.add(wav, arcname=name)
    assert ClipReader().load(f"{tmp_path}/s.tar/{name}").numel() == len(PCM)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("kind", CONTAINERS)
def test_reader__forked_process_opens_its_own_handles(tmp_path, write_audio, kind):
    wavs = [write_audio(f"{name}.wav", PCM[: 9000 + 1000 * name]) for name in range(3)]
    paths = put_into(kind, tmp_path, wavs)
    reader = ClipReader()
    expected = [reader.load(path) for path in paths]
    inherited = dict(reader._open)
    child = os.fork()
    if child == 0:
        same = all(torch.equal(reader.load(path), want) for path, want in zip(paths, expected, strict=True))
        fresh = all(reader._open[file] is not container for file, container in inherited.items())
        os._exit(0 if same and fresh else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert all(torch.equal(reader.load(path), want) for path, want in zip(paths, expected, strict=True))


@pytest.mark.parametrize("kind", CONTAINERS)
def test_reader__pickles_without_its_handles(tmp_path, write_audio, kind):
    path = put_into(kind, tmp_path, [write_audio("a.wav", PCM)])[0]
    reader = ClipReader()
    waveform = reader.load(path)
    assert torch.equal(pickle.loads(pickle.dumps(reader)).load(path), waveform)


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_reader__names_that_are_not_ascii_in_a_tar(tmp_path, write_audio, form):
    wav = write_audio("a.wav", PCM)
    with tarfile.open(tmp_path / "s.tar", "w", format=form) as archive:
        archive.add(wav, "lärm/鳥 a.wav")
    assert ClipReader().load(f"{tmp_path}/s.tar/lärm/鳥 a.wav").numel() == len(PCM)


def test_reader__containers_with_endings_in_capitals(tmp_path, write_audio):
    wav = write_audio("a.wav", PCM)
    write_tar(tmp_path / "s.tar", [wav]).rename(tmp_path / "S.TAR")
    write_h5(tmp_path / "s.h5", {"a": PCM}, RATE_HZ)
    (tmp_path / "s.h5").rename(tmp_path / "S.H5")
    write_zip(tmp_path / "s.zip", [wav])
    (tmp_path / "s.zip").rename(tmp_path / "S.ZIP")
    rows = [clip.row for clip in find_clips(tmp_path)]
    assert len(rows) == 4
    for row in rows:
        assert ClipReader(RATE_HZ).load(f"{tmp_path}/{row}").numel() == len(PCM)


def test_find_clips__leaves_out_what_is_no_sound_in_an_h5(tmp_path):
    write_h5(tmp_path / "s.h5", {"a": PCM}, RATE_HZ)
    with h5py.File(tmp_path / "s.h5", "a") as file:
        file["labels"] = ["dog", "cat"]
        file["scalar"] = 3
    assert [clip.row for clip in find_clips(tmp_path)] == ["s.h5/a"]


@pytest.mark.parametrize(
    "place", [f"0:{10**14}", f"0:{10**23}", f"{10**18}:1", f"{10**30}:10", "50:51", f"0:{'9' * 5000}"]
)
def test_reader__impossible_places_in_a_zip_cost_their_clip_only(tmp_path, place):
    """Memory is taken for all that is asked for, before anything is read."""
    (tmp_path / "x.zip").write_bytes(bytes(100))
    with pytest.raises(AudioError, match="expected .* bytes at offset|beyond any file"):
        ClipReader().load(f"{tmp_path}/x.zip:{place}")


def test_reader__empty_places_and_files_of_zeros(tmp_path):
    (tmp_path / "x.zip").write_bytes(bytes(100))
    for place, said in (("5:0", "0 bytes"), ("0:100", "not readable as audio: its first 100 bytes are zeros")):
        with pytest.raises(AudioError, match=said):
            ClipReader().load(f"{tmp_path}/x.zip:{place}")


def test_reader__other_unicode_spellings_in_containers(tmp_path, write_audio):
    composed, decomposed = (unicodedata.normalize(form, "Käuzchen") for form in ("NFC", "NFD"))
    wav = write_audio("a.wav", PCM)
    with tarfile.open(tmp_path / f"{decomposed}.tar", "w") as archive:
        archive.add(wav, f"{decomposed}.wav")
    write_h5(tmp_path / f"{decomposed}.h5", {decomposed: PCM}, RATE_HZ)
    for name in (composed, decomposed):
        assert ClipReader().load(f"{tmp_path}/{name}.tar/{name}.wav").numel() == len(PCM)
        assert ClipReader().load(f"{tmp_path}/{name}.h5/{name}").numel() == len(PCM)
