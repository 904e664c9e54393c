"""Damaged and suspicious files end in one clear line."""

import argparse
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch

from ASDA.checkpoints.files import CheckpointError, load_safetensors, load_torch_file, save_safetensors, save_torch_file

OLD_FORMAT = {"_use_new_zipfile_serialization": False}


@pytest.fixture
def good_file(tmp_path):
    path = tmp_path / "good.pt"
    save_torch_file({"cfg": {"a": 1}, "model": {"w": torch.arange(1000.0)}}, path)
    return path


def test_load_torch_file__reads_both_formats_of_torch(tmp_path, good_file):
    assert torch.equal(load_torch_file(good_file)["model"]["w"], torch.arange(1000.0))
    torch.save({"w": torch.ones(3)}, tmp_path / "old.pt", **OLD_FORMAT)
    assert torch.equal(load_torch_file(tmp_path / "old.pt")["w"], torch.ones(3))


@pytest.mark.parametrize("share", [0.02, 0.5, 0.95, 0.999])
def test_load_torch_file__notices_truncation(tmp_path, good_file, share):
    data = good_file.read_bytes()
    path = tmp_path / "cut.pt"
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(CheckpointError, match="truncated") as caught:
        load_torch_file(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_load_torch_file__notices_a_single_changed_weight(tmp_path, good_file):
    data = bytearray(good_file.read_bytes())
    place = data.index(np.arange(500.0, 520.0, dtype=np.float32).tobytes())
    data[place] ^= 0x01
    (tmp_path / "flipped.pt").write_bytes(data)
    with pytest.raises(CheckpointError, match="checksum"):
        load_torch_file(tmp_path / "flipped.pt")


@pytest.mark.parametrize(
    "content",
    [b"", b"not a checkpoint\n", b"<html></html>", b"RIFF\x00\x00\x00\x00WAVEfmt ", b"\x80\x02", b"PK\x03\x04"],
)
def test_load_torch_file__one_line_for_other_files(tmp_path, content):
    path = tmp_path / "other.pt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        load_torch_file(path)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


def test_load_torch_file__names_a_missing_file(tmp_path):
    with pytest.raises(CheckpointError, match="no such checkpoint file"):
        load_torch_file(tmp_path / "absent.pt")


class RunsCode:
    ran = False

    def __reduce__(self):
        return setattr, (RunsCode, "ran", True)


@pytest.mark.parametrize(
    "extra", [argparse.Namespace(lr=1), RunsCode(), np.zeros(3)], ids=["namespace", "code", "numpy array"]
)
def test_load_torch_file__refuses_more_than_plain_values_unless_trusted(tmp_path, extra):
    path = tmp_path / "more.pt"
    torch.save({"cfg": {}, "model": {}, "extra": extra}, path)
    RunsCode.ran = False
    with pytest.raises(CheckpointError, match="--trust-checkpoint") as caught:
        load_torch_file(path)
    assert not RunsCode.ran and "\n" not in str(caught.value)
    assert "extra" in load_torch_file(path, trust=True)


def test_load_torch_file__takes_numpy_numbers_but_no_other_numpy_scalars(tmp_path):
    numbers = {"a": np.float64(0.1), "b": np.float32(0.5), "c": np.int64(-3), "d": np.bool_(True)}
    torch.save(numbers, tmp_path / "numbers.pt")
    loaded = load_torch_file(tmp_path / "numbers.pt")
    assert loaded == {"a": 0.1, "b": 0.5, "c": -3, "d": True}
    assert [type(value) for value in loaded.values()] == [float, float, int, bool]
    torch.save({"text": np.str_("x")}, tmp_path / "text.pt")
    with pytest.raises(CheckpointError):
        load_torch_file(tmp_path / "text.pt")


def test_load_torch_file__plain_pickle_is_not_run(tmp_path):
    (tmp_path / "plain.pt").write_bytes(pickle.dumps({"x": RunsCode()}, protocol=2))
    RunsCode.ran = False
    with pytest.raises(CheckpointError):
        load_torch_file(tmp_path / "plain.pt")
    assert not RunsCode.ran


def test_load_safetensors__round_trip_and_truncation(tmp_path):
    tensors = {"a": torch.randn(3, 4), "b": torch.ones(2, dtype=torch.float16)}
    save_safetensors(tensors, tmp_path / "t.safetensors")
    loaded = load_safetensors(tmp_path / "t.safetensors")
    assert all(torch.equal(loaded[n], t) and loaded[n].dtype == t.dtype for n, t in tensors.items())
    data = (tmp_path / "t.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(data[:-5])
    for name, message in {"cut": "truncated", "absent": "no such file"}.items():
        with pytest.raises(CheckpointError, match=message):
            load_safetensors(tmp_path / f"{name}.safetensors")


def test_load_torch_file__the_format_before_zip_fails_in_one_line(tmp_path):
    torch.save({"model": {"w": torch.arange(50.0)}, "cfg": {"x": "y" * 40}}, tmp_path / "old.pt", **OLD_FORMAT)
    data = (tmp_path / "old.pt").read_bytes()
    damaged = [data[:length] for length in range(1, len(data), 7)]
    damaged += [data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :] for place in range(0, len(data), 11)]
    noticed = 0
    for content in damaged:
        (tmp_path / "bad.pt").write_bytes(content)
        try:
            load_torch_file(tmp_path / "bad.pt")
        except CheckpointError as error:
            noticed += 1
            assert str(tmp_path / "bad.pt") in str(error) and "\n" not in str(error)
    assert noticed > len(data) // 7  # every truncation, and some of the changed bytes


def test_save_safetensors__a_full_disk_is_an_error_with_the_files_name(tmp_path):
    """In a process of its own, as the limit cannot be taken back."""
    code = "import resource, sys, torch\nfrom ASDA.checkpoints.files import save_safetensors, save_torch_file\n"
    code += "resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, 5_000))\n"
    code += "for save, name in ((save_safetensors, 'a.safetensors'), (save_torch_file, 'a.pt')):\n"
    code += "    try:\n        save({'w': torch.ones(9_999)}, sys.argv[1] + '/' + name)\n"
    code += "    except OSError as error:\n        print(error.filename, error.strerror, sep=': ')\n"
    result = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=100)
    expected = [f"{tmp_path}/{name}: File too large" for name in ("a.safetensors", "a.pt")]
    assert result.returncode == 0 and result.stdout.splitlines() == expected
    assert list(tmp_path.iterdir()) == []
