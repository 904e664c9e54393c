"""Several folders as one list of clips: names, numbers, draws, limits."""

import pickle

import numpy as np
import pytest
import torch

from ASDA.data.bad_clips import TooManyBadClipsError
from ASDA.data.dataset import SpectrogramDataset
from ASDA.data.joined_manifest import JoinedManifest
from ASDA.data.manifest import Manifest, ManifestError, write_manifest
from ASDA.data.sampling import folder_balanced_weights
from tests.data.generated_corpora import FRONT_END, half_masks, sound


def folder(parent, name, clips, write_audio=None, missing=()):
    """A folder with `train.tsv` of so many clips; real sound if asked for, but for those that are missing."""
    (parent / name).mkdir()
    rows = []
    for clip in range(clips):
        if write_audio is not None and clip not in missing:
            write_audio(f"{name}/{name}{clip}.wav", sound(0.3, seed=clip + 100 * len(name)))
        rows.append((f"{name}{clip}.wav", 1000 * len(name) + clip))
    write_manifest(parent / name / "train.tsv", parent / name, rows)
    return parent / name


@pytest.fixture
def folders(tmp_path):
    return [folder(tmp_path, "a", 5), folder(tmp_path, "bb", 1), folder(tmp_path, "ccc", 3)]


@pytest.fixture
def joint(folders):
    return JoinedManifest.read_split(folders, "train")


def test_joined__is_the_rows_of_each_after_those_of_the_other(joint, folders):
    parts = [Manifest.read(each / "train.tsv") for each in folders]
    expected = [
        (part.path(row), part.relative_path(row), part.clip_id(row), part.num_samples(row), part.line(row))
        for part in parts
        for row in range(len(part))
    ]
    found = [
        (joint.path(i), joint.relative_path(i), joint.clip_id(i), joint.num_samples(i), joint.line(i)) for i in range(9)
    ]
    assert found == expected and len(joint) == 9
    assert joint.all_num_samples.tolist() == [samples for _, _, _, samples, _ in expected]
    assert [(part.manifest.file, part.rows) for part in joint.parts] == [
        (each / "train.tsv", rows) for each, rows in zip(folders, [range(5), range(5, 6), range(6, 9)], strict=True)
    ]
    assert joint.parts_of(np.arange(9)).tolist() == [0] * 5 + [1] + [2] * 3


def test_joined__names_the_folder_in_messages(joint, folders):
    assert joint.where(7) == f"{folders[2]}/train.tsv:3"
    for index in (9, -1):
        with pytest.raises(IndexError):
            joint.path(index)


def test_joined__of_one_folder_is_its_manifest(folders):
    alone = JoinedManifest.read_split(folders[:1], "train")
    assert type(alone) is Manifest and alone.where(0) == "train.tsv:2" and len(alone.parts) == 1


def test_joined__a_folder_without_the_split_is_named(folders):
    with pytest.raises(ManifestError, match=f"{folders[0]}/valid.tsv: no such manifest"):
        JoinedManifest.read_split(folders, "valid")


def test_joined__is_pickled_for_workers_that_are_spawned(joint):
    copy = pickle.loads(pickle.dumps(joint))
    assert [copy.path(i) for i in range(9)] == [joint.path(i) for i in range(9)]


# -- draws


def dataset(manifest, shares=None, **options):
    weights = None if shares is None else folder_balanced_weights(manifest, shares)
    return SpectrogramDataset(manifest, FRONT_END, sample_weights=weights, **options)


def test_draws__without_weights_are_every_clip_once(joint):
    data = dataset(joint)
    assert sorted(data.ordered_indices()) == list(range(9))
    assert data.shares() == [5 / 9, 1 / 9, 3 / 9] and data.drawn_of_parts() == [5, 1, 3]


def test_weights__are_alike_within_a_folder_and_add_up_to_its_share(joint):
    weights = folder_balanced_weights(joint, (0.5, 0.2, 0.3))
    np.testing.assert_allclose(weights, [0.1] * 5 + [0.2] + [0.1] * 3)
    assert dataset(joint, (0.5, 0.2, 0.3)).shares() == pytest.approx([0.5, 0.2, 0.3])


def test_draws__have_the_shares_whatever_the_sizes(tmp_path):
    joint = JoinedManifest.read_split([folder(tmp_path, "large", 9000), folder(tmp_path, "small", 1000)], "train")
    data = dataset(joint, (0.25, 0.75))
    for epoch in (1, 2, 3):
        data.set_epoch(epoch)
        drawn = np.array(data.drawn_of_parts())
        assert drawn.sum() == 10_000
        # Five standard deviations of a binomial: a right one fails once in two million.
        assert abs(drawn[0] - 2500) < 5 * np.sqrt(10_000 * 0.25 * 0.75)
    order = data.ordered_indices()
    clips = order % 10_000
    counts = np.bincount(clips[clips >= 9000] - 9000, minlength=1000)
    assert counts.mean() == pytest.approx(7.5, abs=0.3) and counts.var() == pytest.approx(7.5, rel=0.25)  # all alike
    assert len(set(order.tolist())) == 10_000, "each draw of a clip in an epoch is another one"


def test_draws__depend_on_seed_and_epoch_only(joint):
    def order(seed, epoch):
        data = dataset(joint, (0.5, 0.2, 0.3), seed=seed)
        data.set_epoch(epoch)
        return data.ordered_indices().tolist()

    assert order(1, 3) == order(1, 3)
    assert order(1, 3) != order(1, 4) and order(1, 3) != order(2, 3)


def test_clips__are_the_same_when_a_folder_is_added_behind(tmp_path, write_audio):
    first, second = (folder(tmp_path, name, 2, write_audio) for name in ("one", "two"))
    options = {"mask_sampler": half_masks, "random_crop": True}
    alone = dataset(JoinedManifest.read_split([first], "train"), **options)
    both = dataset(JoinedManifest.read_split([first, second], "train"), **options)
    for index in range(2):
        mine, theirs = alone[index], both[index]
        assert mine["id"] == theirs["id"] and torch.equal(mine["source"], theirs["source"])
        assert torch.equal(mine["mask"], theirs["mask"])


def test_batches__count_the_clips_of_each_folder(tmp_path, write_audio):
    names = [folder(tmp_path, name, 2, write_audio) for name in ("one", "two", "six")]
    data = dataset(JoinedManifest.read_split(names, "train"))
    assert data.collater([data[i] for i in (0, 4, 5)])["num_of_parts"] == [1, 0, 2]
    assert "num_of_parts" not in dataset(JoinedManifest.read_split(names[:1], "train")).collater([data[0]])


# -- clips that cannot be read


def test_unreadable__clip_is_replaced_by_one_of_its_own_folder(tmp_path, write_audio):
    large, small = folder(tmp_path, "large", 20, write_audio), folder(tmp_path, "small", 4, write_audio, missing={1})
    data = dataset(JoinedManifest.read_split([large, small], "train"), max_bad_fraction=0.5)
    found = set()
    for epoch in range(1, 30):
        data.set_epoch(epoch)
        found.add(data[21]["id"])
    assert found == {20, 22, 23}
    batch = data.collater([data[21]])
    assert batch["num_unreadable"] == 1 and batch["num_of_parts"] == [0, 1]


def test_unreadable__clips_are_too_many_by_folder_however_few_they_are_of_all(tmp_path, write_audio):
    """Two in five of the small folder are a fiftieth of all: without this the run would hear the other folder alone."""
    large, small = folder(tmp_path, "large", 95), folder(tmp_path, "small", 5, write_audio, missing={0, 1})
    data = dataset(JoinedManifest.read_split([large, small], "train"), max_bad_fraction=0.2)
    data[95]
    with pytest.raises(TooManyBadClipsError, match=f"2 of the 5 clips of {small}/train.tsv could not be read") as error:
        data[96]
    assert f"{small}/train.tsv:3 {small}/small1.wav" in str(error.value)


def test_unreadable__evaluation_leaves_them_out_of_the_counts(tmp_path, write_audio):
    names = [folder(tmp_path, "one", 2, write_audio), folder(tmp_path, "two", 2, write_audio, missing={0})]
    data = dataset(JoinedManifest.read_split(names, "train"), replace_bad=False, max_bad_fraction=1.0)
    batch = data.collater([data[i] for i in range(4)])
    assert batch["num_of_parts"] == [2, 1] and batch["id"].tolist() == [0, 1, 3]
    assert data.collater([data[2]])["num_of_parts"] == [0, 0]
