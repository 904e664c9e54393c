"""Tables and pictures of probes."""

import csv
import io

import numpy as np
import pytest

from ASDA.reports import probe_figures
from ASDA.reports.probing import COLUMNS, percent, spread, write_table


def row(layer=1, weights="random", checkpoint="c", **more):
    return {
        "checkpoint": checkpoint, "weights": weights, "layer": layer, "seeds": 1, "folds": 1,
        "accuracy": 0.5, "accuracy_chance": 0.125, **more,
    }  # fmt: skip


def test_percent__has_interval_or_deviation_and_chance():
    assert percent(row(), "accuracy") == "accuracy 50.0 %, chance 12.5"
    assert (
        percent(row(accuracy_low=0.4, accuracy_high=0.625), "accuracy") == "accuracy 50.0 % (40.0 to 62.5), chance 12.5"
    )
    deviating = row(accuracy_deviation=0.031, accuracy_deviation_over="folds")
    assert percent(deviating, "accuracy") == "accuracy 50.0 % ± 3.1 over folds, chance 12.5"


def test_spread__is_the_interval_or_the_deviation():
    assert spread(row(accuracy_low=0.4, accuracy_high=0.75), "accuracy") == pytest.approx((0.1, 0.25))
    assert spread(row(accuracy_deviation=0.1), "accuracy") == (0.1, 0.1)
    assert spread(row(), "accuracy") == (0.0, 0.0)


def test_write_table__has_a_line_for_each_row_and_metric():
    handle = io.StringIO()
    write_table(
        [row(accuracy_low=0.4, accuracy_high=0.6), row(2, mAP=0.75, mAP_chance=0.1)], ("accuracy", "mAP"), handle
    )
    lines = list(csv.DictReader(io.StringIO(handle.getvalue())))
    assert [(line["layer"], line["metric"], line["value"]) for line in lines] == [
        ("1", "accuracy", "0.5"),
        ("2", "accuracy", "0.5"),
        ("2", "mAP", "0.75"),
    ]
    assert tuple(lines[0]) == COLUMNS and (lines[0]["low"], lines[0]["chance"], lines[1]["low"]) == ("0.4", "0.125", "")


@pytest.fixture
def drawn(monkeypatch):
    """The axes of the pictures, as they are saved."""
    axes = []
    save = probe_figures._save
    monkeypatch.setattr(
        probe_figures, "_save", lambda figure, axis, *args: (axes.append(axis), save(figure, axis, *args))
    )
    return axes


def test_draw_layers__has_a_curve_for_each_network_over_the_layers(drawn, tmp_path):
    rows = [
        row(layer, weights, checkpoint, accuracy=layer / 20, accuracy_low=0.0, accuracy_high=1.0)
        for checkpoint in ("c", "d")
        for weights in ("pre-trained", "random")
        for layer in (12, 6)
    ]
    probe_figures.draw_layers(rows, "accuracy", "a title", tmp_path / "layers.png")
    (axis,) = drawn
    curves = {container.get_label(): container.lines[0] for container in axis.containers}
    assert list(curves) == ["pre-trained, 1", "random, 1", "pre-trained, 2", "random, 2"]
    for line in curves.values():
        np.testing.assert_array_equal(line.get_data(), [[6, 12], [0.3, 0.6]])
    assert axis.get_xticks().tolist() == [6, 12] and axis.get_title() == "a title"
    assert b"asda-probe" in (tmp_path / "layers.png").read_bytes()[:1000]


def test_draw_layers__scores_of_anomalies_are_told_apart(drawn, tmp_path):
    rows = [row(1, weights, score=score) for weights in ("pre-trained", "random") for score in ("knn", "mahalanobis")]
    probe_figures.draw_layers(rows, "accuracy", "", tmp_path / "layers.png")
    lines = {container.get_label(): container.lines[0] for container in drawn[0].containers}
    assert set(lines) == {"pre-trained, knn", "pre-trained, mahalanobis", "random, knn", "random, mahalanobis"}
    assert lines["random, knn"].get_linestyle() != lines["random, mahalanobis"].get_linestyle()


def test_draw_layer_weights__has_a_bar_for_each_layer_and_network(drawn, tmp_path):
    rows = [
        row("all", "pre-trained", layers=[1, 2, 3], layer_weights=[0.2, 0.5, 0.3]),
        row("all", "random", layers=[1, 2], layer_weights=[0.6, 0.4]),
    ]
    probe_figures.draw_layer_weights(rows, "", tmp_path / "layers.png")
    heights = [[bar.get_height() for bar in bars] for bars in drawn[0].containers]
    assert heights == [[0.2, 0.5, 0.3], [0.6, 0.4]]
    assert [label.get_text() for label in drawn[0].get_xticklabels()] == ["1", "2", "3"]
