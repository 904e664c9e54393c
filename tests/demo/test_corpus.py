"""The generated corpus: what a plan promises, what the files hold, and that the data layer reads it."""

from collections import Counter

import numpy as np
import pytest
import soundfile

from ASDA.data.labels import LabelTable, read_clip_labels
from ASDA.data.manifest import Manifest
from ASDA.demo import corpus
from ASDA.demo.sounds import SOUND_EVENTS


def labels_of(folder, split):
    table = LabelTable.read(folder / "label_descriptors.csv")
    manifest = Manifest.read(folder / f"{split}.tsv")
    labels = read_clip_labels(folder / f"{split}.lbl", manifest, table)
    return manifest, [labels.targets(row) for row in range(len(manifest))]


def test_plan_clips__every_class_leads_equally_often_in_every_split():
    plans = corpus.plan_clips(800, seed=1)
    assert {split: len(clips) for split, clips in plans.items()} == {"train": 560, "valid": 80, "eval": 160}
    for clips in plans.values():
        counts = Counter(index for clip in clips for index in clip.classes)
        assert min(counts[index] for index in range(len(SOUND_EVENTS))) >= len(clips) // len(SOUND_EVENTS)
    sizes = Counter(len(clip.classes) for clips in plans.values() for clip in clips)
    assert set(sizes) == {1, 2, 3} and min(sizes.values()) > 100


def test_plan_clips__file_kind_tells_nothing_about_the_classes():
    clips = [clip for clips in corpus.plan_clips(2400, seed=1).values() for clip in clips]
    kinds = Counter((clip.path[-4:], clip.sample_rate_hz, clip.num_channels) for clip in clips)
    assert len(kinds) == 8 and set(kinds.values()) == {300}
    for index in range(len(SOUND_EVENTS)):
        holding = Counter(clip.sample_rate_hz for clip in clips if index in clip.classes)
        assert holding[16_000] / holding.total() == pytest.approx(0.5, abs=0.1)


def test_plan_clips__too_few_clips_are_refused():
    with pytest.raises(ValueError, match="100 clips are too few to show 15 classes in every split; ask for 150"):
        corpus.plan_clips(100, seed=1)


def test_write_corpus__manifests_state_what_the_files_hold(small_corpus):
    kinds = set()
    for split in corpus.SPLIT_SHARES:
        manifest, targets = labels_of(small_corpus, split)
        for row in range(len(manifest)):
            info = soundfile.info(manifest.path(row))
            kinds.add((info.format, info.samplerate, info.channels))
            assert info.frames == manifest.num_samples(row)
            assert info.duration == pytest.approx(corpus.CLIP_DURATION_S, abs=1e-3)
        assert {index for classes in targets for index in classes} == set(range(len(SOUND_EVENTS)))
    assert kinds == {(kind, rate_hz, n) for kind in ("WAV", "FLAC") for rate_hz in (16_000, 44_100) for n in (1, 2)}


def test_write_corpus__a_clip_is_a_function_of_seed_and_number(small_corpus):
    for plan in corpus.plan_clips(150, seed=1)["eval"][:4]:
        written, _ = soundfile.read(small_corpus / plan.path, always_2d=True)
        same, other = (corpus.render_clip(corpus.clip_generator(seed, plan), plan)[0] for seed in (1, 2))
        np.testing.assert_allclose(written, same, atol=1 / 32_768)
        assert np.abs(written - other).max() > 0.01


def test_render_clip__holds_its_events_over_the_noise():
    empty, full = (corpus.ClipPlan(0, "clip.wav", classes, 16_000, 1) for classes in ((), (0,)))
    noise, mixture = (corpus.render_clip(np.random.default_rng(7), plan)[0] for plan in (empty, full))
    assert mixture.shape == noise.shape == (40_960, 1)
    event = np.abs(mixture - noise)  # the noise is drawn first, so it is the same in both
    assert corpus.decibels(corpus.EVENT_PEAK_DB[0]) <= event.max() <= corpus.decibels(corpus.EVENT_PEAK_DB[1])
    assert np.mean(event < 1e-9) > 0.05, "some moments hold noise alone"


def test_render_clip__stays_within_full_scale():
    plan = corpus.ClipPlan(0, "clip.wav", (0, 3, 8), 16_000, 2)
    peaks = [np.abs(corpus.render_clip(np.random.default_rng(seed), plan)[0]).max() for seed in range(20)]
    assert max(peaks) == pytest.approx(0.99)


def test_main__too_few_clips_end_with_a_message(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        corpus.main([str(tmp_path), "--num-clips", "20"])
    assert stop.value.code == 2 and "20 clips are too few" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
