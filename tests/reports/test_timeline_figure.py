"""What the picture of a clip's time line holds."""

import numpy as np

from ASDA.reports.figures import plt
from ASDA.reports.timeline_figure import draw_timeline

HZ = np.linspace(20, 8_000, 128)


def test_draw_timeline__a_row_for_each_class_and_a_bar_where_it_was_heard():
    stretches = [("bark", 0.5, 1.5, 0.9), ("rain", 1.0, 3.0, 0.4), ("bark", 2.0, 2.5, 0.5)]
    figure = draw_timeline(stretches, 3.0, np.zeros((300, 128)), HZ)
    heard, rows = figure.axes
    assert heard.images[0].get_extent() == [0, 3.0, 0, 128] and rows.get_xlim() == (0, 3.0)
    names = [label.get_text() for label in rows.get_yticklabels()]
    assert names == ["rain", "bark"]  # the first on top
    bars = [(bar.get_x(), bar.get_width(), names[round(bar.get_y() + bar.get_height() / 2)]) for bar in rows.patches]
    assert bars == [(start, end - start, name) for name, start, end, _ in stretches]
    assert rows.patches[0].get_alpha() > rows.patches[2].get_alpha() > rows.patches[1].get_alpha()
    plt.close(figure)


def test_draw_timeline__without_anything_says_so_and_without_a_spectrogram_has_rows_alone():
    figure = draw_timeline([], 400.0, None, HZ)
    (rows,) = figure.axes
    assert [text.get_text() for text in rows.texts] == ["nothing reaches the threshold"] and rows.get_xlim()[1] == 400
    plt.close(figure)
