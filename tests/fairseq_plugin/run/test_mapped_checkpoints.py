"""Checkpoints are mapped: the same values as read, without a copy of the file in the process."""

import sys

import pytest
import torch

pytest.importorskip("fairseq", reason="it is fairseq's loading")

from ASDA.fairseq_plugin.run.mapped_checkpoints import load_checkpoint_to_cpu, load_mapped


@pytest.fixture
def checkpoint(tmp_path):
    """A megabyte of weights, with what fairseq asks of a checkpoint."""
    state = {
        "cfg": {"common": {"seed": 1}, "model": {"_name": "asda"}, "task": {"_name": "t"}},
        "model": {"weight": torch.arange(2**18, dtype=torch.float32)},
        "optimizer_history": [
            {"num_updates": 3, "criterion_name": "C", "optimizer_name": "O", "lr_scheduler_state": {}}
        ],
        "extra_state": {"epoch": 1, "train_iterator": {"epoch": 1, "iterations_in_epoch": 0}, "val_loss": None},
    }
    torch.save(state, tmp_path / "checkpoint.pt")
    return tmp_path / "checkpoint.pt"


def file_behind(tensor: torch.Tensor) -> str:
    """The file whose pages a tensor lies in; empty: memory of this process."""
    for line in open("/proc/self/maps"):
        addresses, *_, path = line.rstrip("\n").split(maxsplit=5) + [""] * (len(line.split()) < 6)
        start, end = (int(address, 16) for address in addresses.split("-"))
        if start <= tensor.data_ptr() < end:
            return path
    raise AssertionError


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="what a process takes is read from /proc")
def test_load_mapped__gives_what_fairseq_gives_without_a_copy(checkpoint):
    load = torch.load
    mapped = load_mapped(str(checkpoint), load_on_all_ranks=True)
    read = load_checkpoint_to_cpu(str(checkpoint))
    assert torch.equal(mapped["model"]["weight"], read["model"]["weight"])
    assert file_behind(mapped["model"]["weight"]) == str(checkpoint)
    assert file_behind(read["model"]["weight"]) != str(checkpoint)
    assert mapped.keys() == read.keys() and mapped["cfg"] == read["cfg"]
    assert mapped["optimizer_history"] == read["optimizer_history"]
    assert torch.load is load


def test_load_mapped__what_is_written_to_it_does_not_reach_the_file(checkpoint):
    load_mapped(str(checkpoint))["model"]["weight"].zero_()
    assert load_mapped(str(checkpoint))["model"]["weight"][-1] == 2**18 - 1


def test_load_mapped__reads_files_from_before_the_zip_format(checkpoint, tmp_path):
    state = torch.load(checkpoint, weights_only=True)
    torch.save(state, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    assert torch.equal(load_mapped(str(tmp_path / "old.pt"))["model"]["weight"], state["model"]["weight"])


def test_load_mapped__a_failure_leaves_torch_as_it_was(tmp_path):
    load = torch.load
    (tmp_path / "no.pt").write_bytes(b"PK\x05\x06" + 18 * b"\0")  # an archive of nothing
    with pytest.raises(RuntimeError):
        load_mapped(str(tmp_path / "no.pt"))
    assert torch.load is load
