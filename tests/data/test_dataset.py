import logging

import numpy as np
import pytest
import torch

from ASDA.audio.front_end import FrontEnd
from ASDA.audio.io import AudioError
from ASDA.data.bad_clips import TooManyBadClipsError
from ASDA.data.dataset import Augmentation, SpectrogramDataset
from ASDA.data.labels import ClipLabels
from ASDA.data.manifest import Manifest, write_manifest
from tests.data.generated_corpora import FRONT_END, NUM_PATCHES, RATE_HZ, break_clips, half_masks, labels_of, sound


def test_item__is_the_clip_through_the_front_end(corpus):
    manifest = corpus(3, duration_s=0.3)
    dataset = SpectrogramDataset(manifest, FRONT_END, shuffle=False)
    for i in range(3):
        sample = dataset[i]
        assert sample["id"] == i and sample["num_unreadable"] == 0
        assert sample["source"].dtype == torch.float32
        assert torch.equal(sample["source"], FRONT_END.from_file(manifest.path(i))[None])
        assert sample["seed"].dtype == torch.int64 and sample["seed"].shape == ()
        assert set(sample) == {"id", "source", "seed", "num_unreadable"}


def test_item__head_of_a_long_clip_has_the_features_of_the_whole(corpus):
    manifest = corpus(2, duration_s=1.0)  # three times the window
    dataset = SpectrogramDataset(manifest, FRONT_END)
    for i in range(2):
        difference = dataset[i]["source"][0] - FRONT_END.from_file(manifest.path(i))
        assert difference[:, :115].abs().max() < 1e-4  # above bin 115 the clips are silent but for rounding


def test_item__head_agrees_with_the_golden_features(shared_dir, tmp_path):
    wav = shared_dir / "golden" / "wav"
    golden = torch.load(shared_dir / "golden" / "fbank.expected.pt", weights_only=True)
    names = sorted(path.name for path in wav.iterdir())
    write_manifest(tmp_path / "eval.tsv", wav, [(name, 1) for name in names])
    dataset = SpectrogramDataset(Manifest.read(tmp_path / "eval.tsv"), FrontEnd(), shuffle=False)
    for i, name in enumerate(names):
        expected = golden[f"{name.removesuffix('.wav')}/1024"]
        assert (dataset[i]["source"][0] - expected).abs().max() < 1e-3, name


def test_item__decodes_no_more_than_the_window(corpus):
    dataset = SpectrogramDataset(corpus(1, duration_s=3.0), FRONT_END, random_crop=True)
    lengths = []
    load = dataset.reader.load
    dataset.reader.load = lambda *args: lengths.append(args[2]) or load(*args)
    assert dataset[0]["source"].shape == (1, 32, 128)
    assert lengths == [pytest.approx(0.335 + 0.010)]


def test_random_crop__takes_different_windows_in_each_epoch(write_audio, tmp_path):
    """A clip of rising loudness: the mean of the window tells where it lies."""
    samples = sound(5.0) * np.linspace(0.01, 1.0, 5 * RATE_HZ)
    write_audio("ramp.wav", samples)
    write_manifest(tmp_path / "train.tsv", tmp_path, [("ramp.wav", len(samples))])
    manifest = Manifest.read(tmp_path / "train.tsv")
    cropped, head = (SpectrogramDataset(manifest, FRONT_END, random_crop=crop) for crop in (True, False))
    loudness = []
    for epoch in range(1, 41):
        cropped.set_epoch(epoch)
        loudness.append(float(cropped[0]["source"].mean()))
        assert torch.equal(cropped[0]["source"], cropped[0]["source"])
    head.set_epoch(7)
    assert min(loudness) > float(head[0]["source"].mean())
    whole = FrontEnd(target_length_frames=496).from_file(manifest.path(0))
    thirds = [float(part.mean()) for part in whole.chunk(3)]
    assert sum(value < thirds[0] for value in loudness) >= 2 and sum(value > thirds[2] for value in loudness) >= 2


def test_random_crop__leaves_short_clips_whole(corpus):
    manifest = corpus(2, duration_s=0.2)
    cropped, head = (SpectrogramDataset(manifest, FRONT_END, random_crop=crop) for crop in (True, False))
    assert torch.equal(cropped[1]["source"], head[1]["source"])


def test_item__short_clips_are_padded_not_dropped(write_audio, tmp_path):
    write_audio("short.wav", sound(0.1))
    write_audio("tiny.wav", sound(0.02))  # less than one window of 25 ms
    write_manifest(tmp_path / "eval.tsv", tmp_path, [("short.wav", 1600), ("tiny.wav", 320)])
    dataset = SpectrogramDataset(Manifest.read(tmp_path / "eval.tsv"), FRONT_END, shuffle=False, replace_bad=False)
    padding = -FRONT_END.norm_mean / (2 * FRONT_END.norm_std)
    short, tiny = dataset[0]["source"][0], dataset[1]["source"][0]
    torch.testing.assert_close(short[8:], torch.full((24, 128), padding))
    assert (short[:8] - padding).abs().mean() > 0.1
    torch.testing.assert_close(tiny, torch.full((32, 128), padding))
    assert dataset.collater([dataset[0], dataset[1]])["net_input"]["source"].shape == (2, 1, 32, 128)


def test_item__depends_on_seed_epoch_and_index_only(corpus):
    manifest = corpus(4)
    options = {"mask_sampler": half_masks, "augmentation": Augmentation(roll=True, noise=True), "random_crop": True}
    first, again, other_seed = (SpectrogramDataset(manifest, FRONT_END, seed=s, **options) for s in (1, 1, 2))
    torch.manual_seed(3)
    state = torch.get_rng_state()
    forwards = [first[i] for i in range(4)]
    torch.rand(7)
    backwards = [again[i] for i in reversed(range(4))][::-1]
    for a, b in zip(forwards, backwards, strict=True):
        assert torch.equal(a["source"], b["source"]) and torch.equal(a["mask"], b["mask"]) and a["seed"] == b["seed"]
    torch.set_rng_state(state)
    for name in ("source", "mask", "seed"):
        assert not torch.equal(other_seed[0][name], forwards[0][name])
    assert not torch.equal(forwards[0]["mask"], forwards[1]["mask"])
    first.set_epoch(2)
    for name in ("source", "mask", "seed"):
        assert not torch.equal(first[0][name], forwards[0][name])


def test_augmentation__changes_what_it_says(corpus):
    manifest = corpus(1)
    plain, rolled, noisy = (
        SpectrogramDataset(manifest, FRONT_END, augmentation=augmentation)[0]["source"]
        for augmentation in (None, Augmentation(roll=True), Augmentation(noise=True))
    )
    assert not torch.equal(plain, rolled) and not torch.equal(plain, noisy)
    added = min((noisy[0].roll(shift, 0) - plain[0]).abs().max() for shift in range(-10, 11))
    assert 0 < added <= 0.1


def test_collater__pretraining_batch(corpus):
    dataset = SpectrogramDataset(corpus(3), FRONT_END, mask_sampler=half_masks)
    samples = [dataset[i] for i in (2, 0)]
    batch = dataset.collater(samples)
    assert batch["id"].tolist() == [2, 0] and batch["num_unreadable"] == 0
    assert set(batch["net_input"]) == {"source", "precomputed_mask"}
    assert batch["net_input"]["source"].shape == (2, 1, 32, 128)
    assert batch["net_input"]["precomputed_mask"].shape == (2 * 3, NUM_PATCHES)
    assert torch.equal(batch["net_input"]["precomputed_mask"][3:], samples[1]["mask"])


def test_collater__labelled_batch(corpus):
    manifest = corpus(5)
    dataset = SpectrogramDataset(manifest, FRONT_END, labels=labels_of(manifest))
    batch = dataset.collater([dataset[i] for i in (0, 3)])
    assert set(batch["net_input"]) == {"source", "seeds", "target", "num_labels"}
    assert batch["net_input"]["num_labels"] == float(batch["net_input"]["target"].sum())
    assert batch["net_input"]["target"].tolist() == [[1, 1, 0, 0], [1, 0, 0, 1]]
    assert batch["net_input"]["seeds"].dtype == np.int64 and len(set(batch["net_input"]["seeds"].tolist())) == 2


def test_target__of_a_clip_without_a_label_is_all_zero(corpus):
    labels = ClipLabels(np.array([0, 1, 1]), np.array([2], dtype=np.int32), num_classes=4)
    dataset = SpectrogramDataset(corpus(2), FRONT_END, labels=labels)
    assert [dataset[row]["target"].tolist() for row in (0, 1)] == [[0, 0, 1, 0], [0, 0, 0, 0]]


def test_collater__empty_batch_of_a_sharded_epoch(corpus):
    assert SpectrogramDataset(corpus(1), FRONT_END).collater([]) == {}


def test_bad_clip__is_replaced_with_its_own_label_logged_once_and_counted(corpus, caplog):
    manifest = corpus(6)
    break_clips(manifest, 2)
    dataset = SpectrogramDataset(manifest, FRONT_END, labels=labels_of(manifest), max_bad_fraction=0.5)
    with caplog.at_level(logging.WARNING):
        first, again = dataset[2], dataset[2]
    assert first["id"] == again["id"] != 2
    assert torch.equal(first["source"], dataset[first["id"]]["source"])
    assert first["target"].nonzero().flatten().tolist() == sorted(labels_of(manifest).targets(first["id"]))
    assert first["num_unreadable"] == 1
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 1 and manifest.path(2) in messages[0] and "train.tsv:4" in messages[0]
    assert dataset.collater([dataset[i] for i in range(6)])["num_unreadable"] == 1
    assert len(dataset.bad_clips) == 1 and dataset.bad_clips.indices() == [2]


def test_bad_clip__replacement_changes_with_the_epoch(corpus):
    manifest = corpus(12)
    break_clips(manifest, 0)
    dataset = SpectrogramDataset(manifest, FRONT_END, max_bad_fraction=0.5)
    replacements = []
    for epoch in range(1, 13):
        dataset.set_epoch(epoch)
        replacements.append(dataset[0]["id"])
    assert len(set(replacements)) > 3


def test_bad_clip__keeps_masks_and_seed_of_its_place(corpus):
    manifest = corpus(6)
    whole = SpectrogramDataset(manifest, FRONT_END, mask_sampler=half_masks)[2]
    break_clips(manifest, 2)
    replaced = SpectrogramDataset(manifest, FRONT_END, mask_sampler=half_masks, max_bad_fraction=0.5)[2]
    assert torch.equal(whole["mask"], replaced["mask"]) and whole["seed"] == replaced["seed"]


def test_bad_clips__too_many_stop_with_the_list(corpus):
    manifest = corpus(6)
    break_clips(manifest, 1, 4)
    dataset = SpectrogramDataset(manifest, FRONT_END, max_bad_fraction=0.2)
    dataset[1]
    message = (
        r"(?s)2 of the 6 clips of .*train\.tsv .* max_bad_fraction = 0\.2 .*train\.tsv:3 .*clip_1\.wav.*:6 .*clip_4"
    )
    with pytest.raises(TooManyBadClipsError, match=message):
        dataset[4]


def test_bad_clips__of_several_processes_count_together_and_once(corpus):
    manifest = corpus(10)
    break_clips(manifest, 1, 4, 7)
    ours, theirs = (SpectrogramDataset(manifest, FRONT_END, max_bad_fraction=0.2, replace_bad=False) for _ in range(2))
    assert not ours.bad_clips.news
    ours[1], ours[4], theirs[4]
    assert ours.bad_clips.news and theirs.bad_clips.news
    rows = [ours.bad_clips.indices(), theirs.bad_clips.indices()]
    for dataset in (ours, theirs):
        dataset.bad_clips.merge(rows)
        assert dataset.bad_clips.indices() == [1, 4] and not dataset.bad_clips.news
    with pytest.raises(TooManyBadClipsError, match="3 of the 10 clips"):
        theirs[7]
    with pytest.raises(TooManyBadClipsError, match=r"(?s)3 of the 10 clips .*clip_1\.wav.*clip_4\.wav.*clip_7\.wav"):
        ours.bad_clips.merge([ours.bad_clips.indices(), theirs.bad_clips.indices()])


def test_bad_clips__all_of_them_do_not_loop_for_ever(corpus):
    manifest = corpus(3)
    break_clips(manifest, 0, 1, 2)
    dataset = SpectrogramDataset(manifest, FRONT_END, max_bad_fraction=1.0)
    with pytest.raises(AudioError, match="clip_0.wav: unreadable, and so were 99 clips drawn to replace it"):
        dataset[0]


def test_bad_clips__evaluation_leaves_them_out_and_reports(corpus, caplog):
    manifest = corpus(4)
    break_clips(manifest, 1)
    dataset = SpectrogramDataset(
        manifest, FRONT_END, labels=labels_of(manifest), shuffle=False, replace_bad=False, max_bad_fraction=0.5
    )
    batch = dataset.collater([dataset[i] for i in range(4)])
    assert batch["id"].tolist() == [0, 2, 3]
    assert batch["num_unreadable"] == 1
    assert len(batch["net_input"]["source"]) == len(batch["net_input"]["target"]) == 3
    assert manifest.path(1) in caplog.text


@pytest.mark.parametrize("waveforms", [False, True])
def test_bad_clip__batch_of_nothing_else_keeps_its_count_and_shapes(corpus, waveforms):
    manifest = corpus(2)
    break_clips(manifest, 1)
    dataset = SpectrogramDataset(
        manifest, FRONT_END, labels=labels_of(manifest), replace_bad=False, max_bad_fraction=1.0, waveforms=waveforms
    )
    good, bad = (dataset.collater([dataset[i]]) for i in (0, 1))
    assert bad["num_unreadable"] == 1
    assert set(bad) == set(good) and set(bad["net_input"]) == set(good["net_input"])
    assert bad["net_input"].pop("num_labels") == 0.0 < good["net_input"].pop("num_labels")
    for full, empty in [(good[k], bad[k]) for k in set(good) - {"net_input", "num_unreadable"}] + [
        (good["net_input"][k], bad["net_input"][k]) for k in good["net_input"]
    ]:
        assert len(empty) == 0 and empty.dtype == full.dtype and empty.ndim == full.ndim


def test_dataset__set_epoch_reaches_workers_that_are_running(corpus):
    dataset = SpectrogramDataset(corpus(2, duration_s=0.1), FRONT_END, mask_sampler=half_masks, shuffle=False)
    loader = torch.utils.data.DataLoader(
        dataset, batch_size=1, num_workers=1, persistent_workers=True, collate_fn=dataset.collater
    )
    masks = []
    for epoch in (1, 2):
        dataset.set_epoch(epoch)
        masks.append([batch["net_input"]["precomputed_mask"] for batch in loader])
        assert torch.equal(masks[-1][1], dataset[1]["mask"])
    assert not torch.equal(masks[0][1], masks[1][1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"front_end": FrontEnd(target_length_frames=None)}, "target_length_frames"),
        ({"labels": 2}, "2 clips have labels, but .*train.tsv lists 3"),
        ({"labels": 3, "num_classes": 7}, "num_classes is 7, but the label table has 4 classes"),
        ({"sample_weights": np.ones(2)}, "2 clips have weights, but .*train.tsv lists 3"),
        ({"max_bad_fraction": 1.5}, "max_bad_fraction must lie between 0 and 1, got 1.5"),
    ],
)
def test_dataset__refuses_parts_that_do_not_fit(corpus, change, message):
    manifest = corpus(3, duration_s=0.1)
    options = {"front_end": FRONT_END, **change}
    if "labels" in options:
        options["labels"] = labels_of(range(options["labels"]))
    with pytest.raises(ValueError, match=message):
        SpectrogramDataset(manifest, options.pop("front_end"), **options)


def test_item__drawn_again_in_an_epoch_is_the_clip_with_other_random_changes(corpus):
    manifest = corpus(3)
    options = {"mask_sampler": half_masks, "augmentation": Augmentation(roll=True), "labels": labels_of(manifest)}
    dataset = SpectrogramDataset(manifest, FRONT_END, **options)
    plain = SpectrogramDataset(manifest, FRONT_END, labels=labels_of(manifest))
    first, again = dataset[1], dataset[1 + 3 * 2]
    assert first["id"] == again["id"] == 1 and again["num_unreadable"] == 0
    assert torch.equal(first["target"], again["target"])
    assert torch.equal(plain[1]["source"], plain[1 + 3 * 2]["source"])
    for name in ("source", "mask", "seed"):
        assert not torch.equal(first[name], again[name])


def test_ordered_indices__weighted_draws_of_a_clip_differ_within_an_epoch(corpus):
    dataset = SpectrogramDataset(corpus(3), FRONT_END, sample_weights=np.array([1.0, 1.0, 98.0]), num_draws=50)
    order = dataset.ordered_indices()
    assert len(set(order.tolist())) == len(order) == 50
    assert np.mean(order % 3 == 2) > 0.8
