"""Room for checkpoints, half-written and damaged ones."""

import resource

import pytest
import torch

from ASDA.training import save_folder
from ASDA.training.save_folder import SaveFolderError, damage, remove_partial_checkpoints, require_room, require_whole


def save(file, num_updates):
    state = {"model": {"weight": torch.randn(1000)}, "optimizer_history": [{"num_updates": num_updates}]}
    torch.save(state, file)
    return file


def test_require_room__leaves_nothing_behind(tmp_path):
    require_room(tmp_path / "new", 10_000_000)
    assert list((tmp_path / "new").iterdir()) == []


def test_require_room__refuses_what_the_file_system_does_not_give(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, before[1]))
    try:
        require_room(tmp_path, 900_000)
        with pytest.raises(SaveFolderError, match=f"cannot be written to {tmp_path}: File too large .* 0.01 GB"):
            require_room(tmp_path, 10_000_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


def test_require_room__refuses_more_than_is_free(tmp_path):
    with pytest.raises(SaveFolderError, match="checkpoints cannot be written"):
        require_room(tmp_path, 10**18)


def test_require_room__without_reserving_asks_for_the_free_space(tmp_path, monkeypatch):
    monkeypatch.delattr(save_folder.os, "posix_fallocate")  # as on macOS
    require_room(tmp_path, 1000)
    with pytest.raises(SaveFolderError, match="No space left"):
        require_room(tmp_path, 10**18)


def test_require_room__names_a_folder_that_cannot_be(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(SaveFolderError, match="file/run"):
        require_room(tmp_path / "file" / "run", 1)


def test_remove_partial_checkpoints__removes_nothing_else(tmp_path):
    whole = save(tmp_path / "checkpoint_last.pt", 1)
    (tmp_path / "notes.tmp").touch()
    partial = tmp_path / "checkpoint_1_3.pt.tmp"
    partial.touch()
    assert remove_partial_checkpoints(tmp_path) == [partial]
    assert sorted(tmp_path.iterdir()) == [whole, tmp_path / "notes.tmp"]


def test_damage__is_none_in_a_whole_file_of_either_format(tmp_path):
    assert damage(save(tmp_path / "new.pt", 1)) == ""
    torch.save({"model": {}}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    assert damage(tmp_path / "old.pt") == ""


@pytest.mark.parametrize("part", [0.0, 0.1, 0.9])
def test_damage__is_found_in_a_truncated_file(tmp_path, part):
    file = save(tmp_path / "a.pt", 1)
    file.write_bytes(file.read_bytes()[: int(part * file.stat().st_size)])
    assert damage(file)


def test_damage__is_found_where_one_bit_of_a_tensor_is_wrong(tmp_path):
    file = save(tmp_path / "a.pt", 1)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    torch.load(file, weights_only=True)  # torch itself does not notice
    assert "checksum" in damage(file)


def test_require_whole__names_the_newest_of_the_others_that_is_whole(tmp_path):
    save(tmp_path / "checkpoint_1_3.pt", 3)
    save(tmp_path / "checkpoint_1_6.pt", 6)
    torch.save({"weight": torch.zeros(3)}, tmp_path / "something_else.pt")
    save(tmp_path / "checkpoint_1_9.pt", 9).write_bytes(b"short")
    last = save(tmp_path / "checkpoint_last.pt", 12)
    require_whole(last)
    last.write_bytes(last.read_bytes()[:-100])
    with pytest.raises(SaveFolderError) as error:
        require_whole(last)
    assert f"cp {tmp_path / 'checkpoint_1_6.pt'} {last}" in str(error.value)
    assert "(update 6)" in str(error.value)


def test_require_whole__says_so_when_there_is_no_other(tmp_path):
    last = tmp_path / "checkpoint_last.pt"
    last.touch()
    with pytest.raises(SaveFolderError, match="no other checkpoint .* remove it"):
        require_whole(last)


@pytest.mark.parametrize("half_precision", [False, True])
def test_checkpoint_bytes__is_about_the_size_of_the_file(tmp_path, half_precision):
    model = torch.nn.Linear(1000, 1000)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.zeros(1, 1000)).sum().backward()
    optimizer.step()
    masters = [p.detach() for p in model.parameters()] if half_precision else []
    torch.save([model.state_dict(), optimizer.state_dict(), [m.clone() for m in masters]], tmp_path / "a.pt")
    size = (tmp_path / "a.pt").stat().st_size
    assert save_folder.checkpoint_bytes(model, half_precision) == pytest.approx(size, rel=0.01)
