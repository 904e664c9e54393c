"""A table is not a clip: data sets are told apart by names and shapes, or refused."""

import h5py
import numpy as np
import pytest
import torch

from ASDA.audio.io import AudioError
from ASDA.data.containers import ClipReader
from ASDA.data.manifest import ManifestError
from ASDA.data.preparation.finding import find_clips
from ASDA.data.preparation.folder import plan_folder

RATE_HZ = 32_000
N, W = 12, 3_200
WAVES = (3_000 * np.sin(np.arange(N)[:, None] + np.arange(W) / 9)).astype(np.int16)
TARGETS = np.eye(N, 527, dtype=bool)
NAMES = np.array([f"Y{'abcdefghij'}{clip:01x}.wav" for clip in range(N)], dtype="S20")


def h5(path, **data):
    with h5py.File(path, "w") as file:
        for name, values in data.items():
            file[name.replace("__", "/")] = values
    return path


def reason(path, key: str) -> str:
    reader = ClipReader()
    for function in (reader.load, reader.probe):
        with pytest.raises(AudioError) as caught:
            function(f"{path}/{key}")
    return caught.value.reason


def rows(folder, problems=None) -> dict[str, str]:
    return {clip.row: clip.name for clip in find_clips(folder, problems)}


def test_table__one_clip_for_each_row(tmp_path):
    path = h5(tmp_path / "s.h5", audio_name=NAMES, target=TARGETS, waveform=WAVES)
    problems = []
    found = rows(tmp_path, problems)
    assert found == {f"s.h5/waveform[{row}]": f"s.h5/{NAMES[row].decode()}" for row in range(N)}
    assert {problem.clip for problem in problems} == {"s.h5/target", "s.h5/audio_name"}
    reader = ClipReader(RATE_HZ)
    for row in range(N):
        info = reader.probe(f"{path}/waveform[{row}]")
        assert (info.num_samples, info.num_channels, info.sample_rate_hz) == (W, 1, RATE_HZ)
        assert torch.equal(reader.load(f"{path}/waveform[{row}]") * 32768, torch.from_numpy(WAVES[row]).float())
    excerpt = reader.load(f"{path}/waveform[3]", start_s=0.05, duration_s=0.02)
    assert torch.equal(excerpt * 32768, torch.from_numpy(WAVES[3, 1600:2240]).float())
    assert "a table of 12 clips, one in each row: name a row, as in waveform[0]" in reason(path, "waveform")
    assert "has no row 12" in reason(path, "waveform[12]")


def test_table__labels_are_found_by_the_names_in_it(tmp_path):
    h5(tmp_path / "s.h5", audio_name=NAMES, target=TARGETS, waveform=WAVES)
    lines = [f"{name.decode()},{'odd' if row % 2 else 'even'}" for row, name in enumerate(NAMES)]
    (tmp_path / "labels.csv").write_text("\n".join(["file,label", *lines]) + "\n")
    plan = plan_folder(tmp_path, labels=str(tmp_path / "labels.csv"))
    labels = {clip.row: clip.labels for clip in plan.splits["train"]}
    assert labels == {f"s.h5/waveform[{row}]": ("odd" if row % 2 else "even",) for row in range(N)}


def test_table__padding_behind_the_stated_length_is_no_sound(tmp_path):
    lengths = np.arange(N) * 200
    path = h5(tmp_path / "s.h5", x=WAVES, lengths=lengths, names=NAMES)
    reader = ClipReader(RATE_HZ)
    assert [reader.probe(f"{path}/x[{row}]").num_samples for row in range(1, N)] == lengths[1:].tolist()
    assert len(reader.load(f"{path}/x[5]")) == 1000
    assert "stated length is 0" in reason(path, "x[0]")
    assert "lengths or places of clips" in reason(path, "lengths")


def test_table__two_clips_with_names_are_no_stereo(tmp_path):
    path = h5(tmp_path / "s.h5", waveform=WAVES[:2], audio_name=NAMES[:2])
    assert len(rows(tmp_path)) == 2 and "a table of 2 clips" in reason(path, "waveform")


def test_channels__of_one_recording_are_averaged(tmp_path):
    path = h5(tmp_path / "s.h5", g__first=WAVES[:2], g__last=WAVES[:2].T, g__mono=WAVES[:1])
    reader = ClipReader(RATE_HZ)
    expected = torch.from_numpy(WAVES[:2].astype(np.float32).mean(axis=0))
    for key in ("g/first", "g/last"):
        assert torch.equal(reader.load(f"{path}/{key}") * 32768, expected)
        assert reader.probe(f"{path}/{key}").num_channels == 2
    assert len(rows(tmp_path)) == 3


NO_SOUND = {
    "many rows without a word": ({"x": WAVES}, "x", "(12, 3200) values look like features"),
    "features": ({"x": np.zeros((500, 768), np.float32)}, "x", "look like features"),
    "features beside labels": (
        {"embedding": np.zeros((50, 2048), np.float32), "target": TARGETS[:1].repeat(50, 0)},
        "embedding",
        "look like features",
    ),
    "labels of integers": ({"y_true": np.eye(50, 5, dtype=np.int32)}, "y_true", "nothing but 0 and 1"),
    "labels by name": ({"targets": np.ones((50, 3), np.float32)}, "targets", "labels, no sound"),
    "64 bits": ({"x": np.arange(50)}, "x", "integers of 64 bits"),
    "lengths": ({"lengths": np.arange(50, dtype=np.int32)}, "lengths", "lengths or places"),
    "text": ({"x": np.array([b"a", b"b"])}, "x", "expected integer or float samples"),
    "three axes": ({"x": np.zeros((2, 3, 4))}, "x", "expected samples of shape"),
    "laid end to end": (
        {"wave": np.zeros(600, np.int16), "lengths": np.array([100, 200, 300], np.int32)},
        "wave",
        "many clips laid end to end, with their 'lengths'",
    ),
    "encoded": ({"x": np.frombuffer(b"fLaC\0\0\0\x22" + bytes(999), np.uint8)}, "x", "bytes of an encoded file (flac)"),
}


@pytest.mark.parametrize("name", NO_SOUND)
def test_not_sound__is_refused_with_what_it_looks_like(tmp_path, name):
    data, key, said = NO_SOUND[name]
    path = h5(tmp_path / "s.h5", **data)
    assert said in reason(path, key)
    problems = []
    assert rows(tmp_path, problems) == {} and problems
    with pytest.raises(ManifestError, match="no audio file below this folder; s.h5: none of its data sets is a clip"):
        plan_folder(tmp_path)


def test_not_sound__own_features(tmp_path):
    with h5py.File(tmp_path / "features.h5", "w") as file:
        file.attrs["settings"] = "{}"
        file["features/a.wav"] = np.zeros((8, 768), np.float32)
        file["times_s/a.wav"] = np.zeros((8, 2))
        file["features/b.wav"] = np.zeros(768, np.float32)
    for key in ("features/a.wav", "features/b.wav", "times_s/a.wav"):
        assert "features that asda-extract has written" in reason(tmp_path / "features.h5", key)
    assert rows(tmp_path) == {}


def test_not_sound__data_that_was_never_written(tmp_path):
    """A shape of a terabyte takes no place in the file, and reading it would fill any memory."""
    path = tmp_path / "s.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("huge", (1 << 40,), "i2", chunks=(1 << 20,), fillvalue=1)
        file.create_dataset("hollow", (1 << 40,), "i2")
        file.create_dataset("part", (4000,), "i2", chunks=(1000,))[:1500] = 1
        file.create_dataset("whole", (4000,), "i2", chunks=(1000,), compression="gzip")[:] = 1
        layout = h5py.VirtualLayout((4000,), "i2")
        layout[:] = h5py.VirtualSource("not_there.h5", "x", (4000,))
        file.create_virtual_dataset("view", layout)
    assert "only 0 of its 1048576 chunks were ever written" in reason(path, "huge")
    assert "nothing was ever written" in reason(path, "hollow")
    assert "only 2 of its 4 chunks" in reason(path, "part")
    assert "a view of not_there.h5, which is not there" in reason(path, "view")
    assert ClipReader(RATE_HZ).load(f"{path}/whole").numel() == 4000
    assert list(rows(tmp_path)) == ["s.h5/whole"]


@pytest.mark.parametrize("rate_hz", [0, -1, 1e12, float("nan"), float("inf"), 22_050.5, "fast", [1, 2]])
def test_rate__that_is_none_is_refused(tmp_path, rate_hz):
    path = h5(tmp_path / "s.h5", a=WAVES[0])
    with h5py.File(path, "a") as file:
        file["a"].attrs["sample_rate"] = rate_hz
    assert "its attribute 'sample_rate' is" in reason(path, "a")


@pytest.mark.parametrize("rate_hz", [16_000, 16_000.0, np.array([16_000]), "16000", b"16000"])
def test_rate__in_any_form_of_a_number(tmp_path, rate_hz):
    path = h5(tmp_path / "s.h5", a=WAVES[0])
    with h5py.File(path, "a") as file:
        file.attrs["sr"] = rate_hz
    assert ClipReader().probe(f"{path}/a").sample_rate_hz == 16_000


def test_load__excerpt_that_starts_behind_the_end(tmp_path):
    path = h5(tmp_path / "s.h5", a=WAVES[0])
    with pytest.raises(AudioError, match="the excerpt starts at 1 s, the clip ends at 0.100 s"):
        ClipReader().load(f"{path}/a", start_s=1)


def test_load__scale_of_the_samples(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("ASDA.audio.samples._quiet", set())
    path = h5(tmp_path / "s.h5", floats=WAVES[0].astype(np.float32), wide=WAVES[0].astype(np.int32))
    with pytest.raises(AudioError, match=r"samples up to \d+, expected \[-1, 1\]; divide 16-bit values by 32768"):
        ClipReader().load(f"{path}/floats")
    ClipReader().load(f"{path}/wide")
    assert f"{path}/wide: no sample is above 1/32768 of full scale" in caplog.text
