"""Boxes of sounds in generated clips: around the sound, read as written, refused with the line where damaged."""

import numpy as np
import pytest

from ASDA.demo import corpus
from ASDA.demo.places import QUIET, Place, place_of, read_places, write_places

RATE_HZ = 16_000


def test_place_of__a_tone_between_silence():
    event = np.zeros(RATE_HZ)
    event[4_000:8_000] = np.sin(2 * np.pi * 1_000 * np.arange(4_000) / RATE_HZ)
    place = place_of("/demo/tone", event, start=8_000, sample_rate_hz=RATE_HZ)
    assert (place.start_s, place.end_s) == (pytest.approx(0.75, abs=1e-3), pytest.approx(1.0, abs=1e-3))
    assert 950 < place.low_hz <= 1_000 <= place.high_hz < 1_050


def test_place_of__noise_fills_its_band():
    noise = np.random.default_rng(0).standard_normal(RATE_HZ)
    place = place_of("/demo/noise", noise, start=0, sample_rate_hz=RATE_HZ)
    assert place.low_hz == pytest.approx(400, abs=60) and place.high_hz == pytest.approx(7_600, abs=60)


def test_places__are_read_as_written(tmp_path):
    places = [("a/b.wav", [Place("/demo/beep", 0.25, 1.5, 100.0, 200.0), Place(QUIET, 0.0, 1.0, 0.0, 8_000.0)])]
    write_places(tmp_path / "places.csv", places)
    assert read_places(tmp_path / "places.csv") == dict(places)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,what\n", "line 1: expected file,what,start_s,end_s,low_hz,high_hz, found file,what"),
        ("file,what,start_s,end_s,low_hz,high_hz\na.wav,/m/a,0,1,2\n", "line 2: expected file,what,start_s"),
        ("file,what,start_s,end_s,low_hz,high_hz\na.wav,/m/a,0,one,2,3\n", "line 2: expected file,what,start_s"),
    ],
)
def test_places__damaged_files_are_refused_with_the_line(tmp_path, text, message):
    (tmp_path / "places.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_places(tmp_path / "places.csv")


def test_render_clip__places_hold_the_events():
    plan = corpus.ClipPlan(0, "clip.wav", (0, 3), RATE_HZ, 1)
    empty = corpus.ClipPlan(0, "clip.wav", (), RATE_HZ, 1)
    mixture, places = corpus.render_clip(np.random.default_rng(7), plan)
    noise, none = corpus.render_clip(np.random.default_rng(7), empty)
    assert none == [] and [place.what for place in places] == ["/demo/beep", "/demo/noise_burst"]
    events = np.abs(mixture - noise)[:, 0]
    time_s = np.arange(len(events)) / RATE_HZ
    outside = np.ones(len(events), dtype=bool)
    for place in places:
        outside &= (time_s < place.start_s) | (time_s >= place.end_s)
    assert events[outside].max() < 0.011 * events.max() and 0 < outside.sum() < len(events)


def test_render_clip__the_background_is_turned_down_in_the_quiet_stretch():
    plan = corpus.ClipPlan(3, "clip.wav", (), RATE_HZ, 2)
    quiet = corpus.quiet_stretch(1, plan)
    loud, _ = corpus.render_clip(np.random.default_rng(7), plan)
    mixture, places = corpus.render_clip(np.random.default_rng(7), plan, quiet)
    first, last = int(quiet.start_s * RATE_HZ), int(quiet.end_s * RATE_HZ)
    assert places == [quiet] and 0.25 < (last - first) / len(loud) < 0.41
    np.testing.assert_allclose(mixture[first:last], 0.01 * loud[first:last])
    np.testing.assert_array_equal(np.delete(mixture, np.s_[first:last], 0), np.delete(loud, np.s_[first:last], 0))


def test_write_corpus__says_where_the_events_of_every_clip_are(small_corpus):
    places = read_places(small_corpus / "places.csv")
    plans = [plan for clips in corpus.plan_clips(150, seed=1).values() for plan in clips]
    assert list(places) == [plan.path for plan in plans]
    assert all(len(places[plan.path]) == len(plan.classes) for plan in plans)
    boxes = [place for of_clip in places.values() for place in of_clip]
    assert all(0 <= box.start_s < box.end_s <= corpus.CLIP_DURATION_S + 1e-3 for box in boxes)
    assert all(0 <= box.low_hz <= box.high_hz <= 22_050 for box in boxes)
