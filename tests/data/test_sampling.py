import numpy as np
import pytest

from ASDA.data.labels import ClipLabels, LabelError
from ASDA.data.manifest import Manifest
from ASDA.data.sampling import class_balanced_weights, read_clip_weights, repetitions, shuffled_order, weighted_order


def clip_labels(*targets: list[int], num_classes: int = 4) -> ClipLabels:
    offsets = np.cumsum([0] + [len(classes) for classes in targets])
    return ClipLabels(offsets, np.concatenate(targets).astype(np.int32), num_classes)


@pytest.fixture
def manifest(tmp_path):
    def manifest(*paths: str) -> Manifest:
        (tmp_path / "train.tsv").write_text(f"{tmp_path}\n" + "".join(f"{path}\t16000\n" for path in paths))
        return Manifest.read(tmp_path / "train.tsv")

    return manifest


def test_weights__are_the_sum_of_inverse_class_counts():
    targets = [[0, 1], [0], [0, 2], [1]]
    expected = []
    for classes in targets:  # the definition, clip by clip
        weight = 0.0
        for c in classes:
            weight += 1000 / (sum(c in other for other in targets) + 0.01)
        expected.append(weight)
    np.testing.assert_allclose(class_balanced_weights(clip_labels(*targets)), expected, rtol=1e-12)


@pytest.mark.parametrize("targets", [[[], [0, 1], [], [1], []], [[0], []], [[], []]])
def test_weights__clips_without_a_label_count_as_a_class_of_their_own(targets):
    as_a_class = [classes or [3] for classes in targets]
    expected = class_balanced_weights(clip_labels(*as_a_class))
    np.testing.assert_allclose(class_balanced_weights(clip_labels(*targets)), expected, rtol=1e-12)


def test_shuffled_order__is_a_permutation_that_depends_on_seed_and_epoch_only():
    order = shuffled_order(100, seed=1, epoch=3)
    assert sorted(order) == list(range(100))
    np.random.seed(5)
    assert np.array_equal(order, shuffled_order(100, seed=1, epoch=3))
    assert not np.array_equal(order, shuffled_order(100, seed=1, epoch=4))
    assert not np.array_equal(order, shuffled_order(100, seed=2, epoch=3))


def test_orders__are_stable_across_versions():
    """Made with numpy 2.5 on 2026-11-21; a resumed run must find the same order after an upgrade."""
    assert shuffled_order(8, seed=1, epoch=2).tolist() == [4, 6, 7, 3, 5, 0, 2, 1]
    assert weighted_order(np.arange(1.0, 6.0), 8, seed=1, epoch=2).tolist() == [3, 4, 3, 1, 2, 4, 3, 0]


def test_weighted_order__draws_in_proportion():
    weights = np.array([1.0, 0.5, 3.0, 0.5])
    order = weighted_order(weights, 40_000, seed=1, epoch=1)
    shares = np.bincount(order, minlength=4) / len(order)
    np.testing.assert_allclose(shares, weights / weights.sum(), atol=0.01)


def test_weighted_order__balances_the_classes():
    """500 clips of a frequent class and 5 of a rare one are drawn equally often."""
    labels = clip_labels(*[[0]] * 500, *[[1]] * 5, num_classes=2)
    order = weighted_order(class_balanced_weights(labels), 20_000, seed=1, epoch=1)
    assert np.mean(order >= 500) == pytest.approx(0.5, abs=0.02)


def test_weighted_order__depends_on_seed_and_epoch_only():
    weights = np.random.default_rng(0).random(50)
    order = weighted_order(weights, 30, seed=1, epoch=3)
    assert np.array_equal(order, weighted_order(weights, 30, seed=1, epoch=3))
    assert not np.array_equal(order, weighted_order(weights, 30, seed=1, epoch=4))


def test_repetitions__count_earlier_draws_of_the_same_clip():
    assert repetitions(np.array([4, 7, 4, 4, 0, 7])).tolist() == [0, 0, 1, 2, 0, 1]
    draws = np.random.default_rng(0).integers(0, 9, 200)
    seen: dict[int, int] = {}
    expected = []
    for draw in draws.tolist():  # the definition
        expected.append(seen.get(draw, 0))
        seen[draw] = expected[-1] + 1
    assert repetitions(draws).tolist() == expected


def test_clip_weights__follow_a_filtered_manifest(manifest, tmp_path):
    (tmp_path / "weights.tsv").write_text("a\t0.5\nb\t2\nc\t3e-2\n")
    rows = manifest("c.wav", "x/a.wav")
    np.testing.assert_allclose(read_clip_weights(tmp_path / "weights.tsv", rows), [0.03, 0.5])


def test_clip_weights__bare_numbers_as_in_eats_file(manifest, tmp_path):
    (tmp_path / "weight_train_all.csv").write_text("1.5\n2.500000000000000000e+00\n")
    rows = manifest("c.wav", "x/a.wav")
    np.testing.assert_allclose(read_clip_weights(tmp_path / "weight_train_all.csv", rows), [1.5, 2.5])


def test_clip_weights__missing_file_is_named(manifest, tmp_path):
    with pytest.raises(LabelError, match=r"absent\.csv: no such file"):
        read_clip_weights(tmp_path / "absent.csv", manifest("a.wav"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\t1\nb\tx\n", r"weights\.tsv:2: expected a weight above 0, got 'x'"),
        ("a\t1\nb\t0\n", r"weights\.tsv:2: expected a weight above 0, got '0'"),
        ("a\t1\nb\tnan\n", r"weights\.tsv:2: expected a weight above 0, got 'nan'"),
        ("a\t1\nb\tinf\n", r"weights\.tsv:2: expected a weight above 0, got 'inf'"),
        ("a\t1e308\nb\t1e308\n", r"weights\.tsv: the sum of the weights is not finite"),
        ("b\t1\nb\t2\na\t1\n", r'id "b" stands twice in .*weights\.tsv, in lines 1 and 2'),
        ("a\t1\n", r'clip "b\.wav" \(train\.tsv:3\) has no line in .*weights\.tsv'),
        ("1.5\n2.5\n3.5\n", r"weights\.tsv: 3 weights without clip ids, but .*train\.tsv has 2 rows"),
        ("1.5\n-2.5\n", r"weights\.tsv:2: expected a weight above 0, got '-2\.5'"),
    ],
)
def test_clip_weights__errors_name_file_and_line(manifest, tmp_path, text, message):
    (tmp_path / "weights.tsv").write_text(text)
    with pytest.raises(LabelError, match=message):
        read_clip_weights(tmp_path / "weights.tsv", manifest("a.wav", "b.wav"))
