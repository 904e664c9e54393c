import math

import pytest

from ASDA.data.folders import FoldersError, data_folders, data_shares, folder_names, joined


@pytest.mark.parametrize(
    ("data", "folders"),
    [
        ("", ()),
        ("/a", ("/a",)),
        ("/a:/b", ("/a", "/b")),
        ("a:../b c", ("a", "../b c")),
        (["/a", "/b"], ("/a", "/b")),
        (["/a:b"], ("/a:b",)),
        ("[/a,/b]", ("/a", "/b")),
        ("[/a, '/b']", ("/a", "/b")),
        ([], ()),
    ],
)
def test_folders__are_one_or_several_in_each_spelling(data, folders):
    assert data_folders(data) == folders
    if folders != ("/a:b",):
        assert data_folders(joined(folders)) == folders


def test_folders__that_exists_with_a_colon_in_its_name_is_one(tmp_path):
    folder = tmp_path / "10:30"
    folder.mkdir()
    assert data_folders(str(folder)) == (str(folder),)
    assert data_folders(folder) == (str(folder),)
    with pytest.raises(FoldersError, match='10:30 holds ":", which stands between several folders'):
        data_folders([str(folder), "/b"])


@pytest.mark.parametrize("data", ["/a:/a", ["/a", "/b", "/a"], "[/a,/a]"])
def test_folders__twice_are_refused(data):
    with pytest.raises(FoldersError, match="task.data names /a twice; name each once"):
        data_folders(data)


def test_folders__that_are_one_by_a_link_are_refused(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(FoldersError, match=r"names .*/b and .*/a, which is the same folder"):
        data_folders(f"{tmp_path}/a:{tmp_path}/b")
    with pytest.raises(FoldersError, match="which is the same folder"):
        data_folders([f"{tmp_path}/a", f"{tmp_path}/a/"])


@pytest.mark.parametrize("data", ["/a:", ":/a", "/a::/b", "[/a,]", ["/a", ""]])
def test_folders__without_a_name_are_refused(data):
    with pytest.raises(FoldersError, match="has no name"):
        data_folders(data)


def test_shares__are_the_weights_over_their_sum():
    assert data_shares(None, ("/a", "/b")) is None
    assert data_shares([1, 3], ("/a", "/b")) == (0.25, 0.75)
    assert data_shares([0.5, 0.25, 0.25], ("/a", "/b", "/c")) == (0.5, 0.25, 0.25)
    assert sum(data_shares([0.1] * 7, tuple("abcdefg"))) == pytest.approx(1)


@pytest.mark.parametrize("weight", [0, -1, math.nan, math.inf, None, "two", True])
def test_shares__a_weight_that_is_no_number_above_0_is_refused_by_its_folder(weight):
    with pytest.raises(FoldersError, match=r"the weight of /b is .*; expected a number above 0") as error:
        data_shares([1, weight], ("/a", "/b"))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("weights", "folders", "message"),
    [
        ([1], ("/a", "/b"), r"task.data_weights=\[1\] has 1 weights, but task.data names 2 folders \(/a, /b\)"),
        ([1, 2, 3], ("/a", "/b"), "has 3 weights, but task.data names 2"),
        ([1], ("/a",), "weights are for several folders, and task.data names 1"),
        (2, ("/a", "/b"), r"task.data_weights=2: expected a list, as in task.data_weights=\[1,2\]"),
        ("1,2", ("/a", "/b"), "task.data_weights=1,2: expected a list"),
        ([1e308, 1e308], ("/a", "/b"), "only their ratios count"),
    ],
)
def test_shares__weights_that_do_not_go_with_the_folders_are_refused(weights, folders, message):
    with pytest.raises(FoldersError, match=message):
        data_shares(weights, folders)


@pytest.mark.parametrize(
    ("folders", "names"),
    [
        (["/data/audioset", "/data/speech"], ("audioset", "speech")),
        (["/audioset/manifests", "/speech/manifests/"], ("audioset/manifests", "speech/manifests")),
        (["/x/a", "/x/a/b", "/y/a"], ("x/a", "a/b", "y/a")),
        (["/data"], ("data",)),
    ],
)
def test_names__are_as_short_as_tells_them_apart(folders, names):
    assert folder_names(folders) == names
