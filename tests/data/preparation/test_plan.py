"""Label tables that are made of names."""

from ASDA.data.labels import LabelTable
from ASDA.data.preparation.plan import PlannedClip, table_of
from ASDA.data.preparation.writing import write_table


def test_table_of__is_read_back_as_it_was_written(tmp_path):
    labels = ["dog ", "a,b", "class_0", 'say "hi"', '"hi" said', "tab\there"]
    table, mid_of = table_of(labels)
    assert table.names == sorted({label.strip() for label in labels})
    assert mid_of["dog "] == "dog" and mid_of.keys() == set(labels)
    write_table(tmp_path / "t.csv", table)
    found = LabelTable.read(tmp_path / "t.csv")
    assert (found.mids, found.names) == (table.mids, table.names)
    assert all(found.names[found.index(mid)] == label.strip() for label, mid in mid_of.items())
    assert not any(c in mid for mid in found.mids for c in ",\t\n")


def test_planned_clip__a_label_given_twice_counts_once():
    assert PlannedClip("a.wav", ("x", "y", "x")).labels == ("x", "y")
