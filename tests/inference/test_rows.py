"""Rows of features in memory and in a file, and what is written of them."""

import h5py
import numpy as np
import pytest
import torch

from ASDA.audio.front_end import FrontEnd
from ASDA.inference import rows as rows_module
from ASDA.inference.clips import Clip, Clips
from ASDA.inference.features import Assembly, FeatureSpec
from ASDA.inference.h5_store import H5File
from ASDA.inference.npy_store import NpyFile
from ASDA.inference.rows import Rows
from ASDA.inference.windows import LoadedClip, Windowing

D = 8


@pytest.fixture
def in_a_file(monkeypatch):
    monkeypatch.setattr(rows_module, "IN_MEMORY_BYTES", 0)
    monkeypatch.setattr(rows_module, "_BLOCK_BYTES", 500)


@pytest.mark.usefixtures("in_a_file")
@pytest.mark.parametrize("shape", [(1, 50, D), (3, 50, D), (2, 20, 8, D)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_rows__in_a_file_are_those_that_were_put(shape, dtype):
    rows, expected = Rows(shape, dtype), torch.randn(shape)
    assert not rows.in_memory
    for first in (13, 0, 40, 5):
        rows.put(first, expected[:, first : first + 15])
    rows.put(19, expected[:, 19:50])
    assert torch.equal(rows.values(), expected.to(dtype))
    for layer, first, block in rows.blocks():
        assert torch.equal(torch.from_numpy(block.copy()), expected[layer, first : first + len(block)].to(dtype))
    assert sum(len(block) for _, _, block in rows.blocks()) == shape[0] * shape[1]


def features_of(spec, half, num_frames=64 + 64 + 20):
    """Random hidden states of three windows, the last given first."""
    windowing = Windowing(FrontEnd(64), hop_frames=64)
    clip = LoadedClip(0, Clip("x", "x"), num_frames, num_frames / 100, torch.zeros(num_frames, 128), windowing)
    layers = len(spec.layers) if spec.layers else 1
    generator = torch.Generator().manual_seed(0)
    states = [torch.randn(layers, 1 + 32, D, generator=generator) for _ in clip.windows]
    assembly = Assembly(clip, spec, half)
    for window in reversed(clip.windows):
        assembly.add(window, states[window.number])
    return assembly.features()


SPECS = [
    FeatureSpec(granularity, layers, pool)
    for granularity, pool in [
        ("all", None),
        ("frame", None),
        ("patch-grid", None),
        ("utterance", None),
        ("frame", "mean"),
        ("patch-grid", "frequency"),
        ("frame", "time"),
    ]
    for layers in (None, (1, 3))
]


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("spec", SPECS)
def test_stores__write_the_same_from_a_file_as_from_memory(tmp_path, monkeypatch, spec, half):
    held = features_of(spec, half)
    assert held.in_memory and held.values.dtype == (torch.float16 if half else torch.float32)
    monkeypatch.setattr(rows_module, "IN_MEMORY_BYTES", 0)
    monkeypatch.setattr(rows_module, "_BLOCK_BYTES", 200)
    spooled = features_of(spec, half)
    assert spooled.in_memory == (spec.granularity == "utterance" or spec.pool in ("mean", "time"))
    assert torch.equal(spooled.values, held.values) and torch.equal(spooled.times_s, held.times_s)
    for name, features in (("held", held), ("spooled", spooled)):
        NpyFile(tmp_path / f"{name}.npy", timestamps=True).write(Clip("x", "x"), features)
        store = H5File(tmp_path / f"{name}.h5", Clips([]), {}, resume=False)
        with store:
            store.write(Clip("x", "x"), features)
    assert (tmp_path / "held.npy").read_bytes() == (tmp_path / "spooled.npy").read_bytes()
    np.testing.assert_array_equal(np.load(tmp_path / "spooled.npy"), held.values.numpy())
    for name in ("held", "spooled"):
        with h5py.File(tmp_path / f"{name}.h5") as file:
            assert file["features/x"].dtype == held.values.numpy().dtype
            np.testing.assert_array_equal(file["features/x"][()], held.values.numpy())
