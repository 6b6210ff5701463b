"""Scores of many sets at once, against scikit-learn set by set."""

import json
from fractions import Fraction
from itertools import product
from math import comb

import numpy as np
import pytest
from sklearn import metrics as sk

from skllm_cluster.metrics import (
    _expected,
    _sets,
    cluster_f1,
    mean_interval,
    set_scores,
)

NAMES = ["nmi", "ami", "ri", "ari", "f1"]


def slow_f1(y_true, y_pred):
    """Precision and recall by counting, label by label and cluster by cluster."""
    shared = {
        (i, j): sum(t == i and p == j for t, p in zip(y_true, y_pred, strict=True))
        for i, j in product(set(y_true), set(y_pred))
    }
    n = len(y_true)
    precision = sum(max(shared[i, j] for i in set(y_true)) for j in set(y_pred)) / n
    recall = sum(max(shared[i, j] for j in set(y_pred)) for i in set(y_true)) / n
    return 2 * precision * recall / (precision + recall)


def slow_scores(y_true, y_pred):
    # 0/0: by rounding, old releases of scikit-learn find 0 where new ones find 1.
    apart = len(set(y_true)) == len(set(y_pred)) == len(y_true)
    return [
        sk.normalized_mutual_info_score(y_true, y_pred),
        1 if apart else sk.adjusted_mutual_info_score(y_true, y_pred),
        sk.rand_score(y_true, y_pred),
        sk.adjusted_rand_score(y_true, y_pred),
        slow_f1(list(y_true), list(y_pred)),
    ]


def assert_scores_of_scikit_learn(y_true, y_pred):
    found = set_scores(y_true, y_pred, average=None)
    assert list(found) == NAMES
    expected = [slow_scores(t, p) for t, p in zip(y_true, y_pred, strict=True)]
    np.testing.assert_allclose(
        np.transpose([found[name] for name in NAMES]), expected, rtol=0, atol=1e-12
    )


def draw(sizes, seed=0):
    """Labels and clusters of sets, from one cluster to many."""
    rng = np.random.default_rng(seed)
    return [
        [rng.integers(rng.integers(1, n + 1), size=n) for n in sizes] for _ in range(2)
    ]


@pytest.mark.parametrize("seed", range(3))
def test_scores_of_sets_of_all_sizes_are_those_of_scikit_learn(seed):
    sizes = np.random.default_rng(seed).integers(1, 60, size=40)
    assert_scores_of_scikit_learn(*draw(sizes, seed))


def all_partitions(n):
    """Labels by first appearance: no label is more than 1 above those before."""
    found = [[0]]
    for _ in range(n - 1):
        found = [[*p, label] for p in found for label in range(max(p) + 2)]
    return found


@pytest.mark.parametrize(("n", "number"), [(1, 1), (2, 2), (3, 5), (4, 15)])
def test_scores_of_all_pairs_of_partitions_are_those_of_scikit_learn(n, number):
    """Every limit case there is."""
    pairs = list(product(all_partitions(n), repeat=2))
    assert len(pairs) == number**2
    y_true, y_pred = zip(*pairs, strict=True)
    assert_scores_of_scikit_learn(y_true, y_pred)


@pytest.mark.parametrize(
    ("y_true", "y_pred", "expected"),
    [
        ([4, 4, 4], [0, 0, 0], [1, 1, 1, 1, 1]),
        ([0, 1, 2], [2, 0, 1], [1, 1, 1, 1, 1]),
        ([0, 0, 1, 1], [5, 5, 3, 3], [1, 1, 1, 1, 1]),
        ([0], [8], [1, 1, 1, 1, 1]),
        ([0, 0], [0, 1], [0, 0, 0, 0, 2 / 3]),
        ([0, 0, 0, 0], [0, 1, 2, 3], [0, 0, 0, 0, 0.4]),
        ([0, 1, 2, 3], [0, 0, 0, 0], [0, 0, 0, 0, 0.4]),
        ([0, 0, 1, 1], [0, 0, 0, 0], [0, 0, 1 / 3, 0, 2 / 3]),
    ],
)
def test_limit_cases_are_exact(y_true, y_pred, expected):
    scores = set_scores([y_true], [y_pred])
    assert scores == pytest.approx(dict(zip(NAMES, expected, strict=True)), abs=0)


def test_adjusted_scores_may_be_below_what_chance_gives():
    scores = set_scores([[0, 0, 1]], [[0, 1, 1]])
    assert scores["ami"] == pytest.approx(-0.5, abs=1e-14)
    assert scores["ari"] == -0.5


@pytest.mark.parametrize("n", [6, 30])
def test_single_entities_agree_with_others_as_much_as_chance_has_it(n):
    some = np.arange(n) // 2
    for pair in ((np.arange(n), some), (some, np.arange(n))):
        assert set_scores(*([labels] for labels in pair))["ami"] == 0


def test_the_expected_information_is_the_mean_over_all_partitions():
    """Exact, by hypergeometric chances as fractions."""
    n, a, b = 9, [4, 3, 2], [5, 4]
    expected = 0.0
    for i, j in product(a, b):
        for k in range(max(1, i + j - n), min(i, j) + 1):
            chance = Fraction(comb(i, k) * comb(n - i, j - k), comb(n, j))
            expected += float(chance * k / n) * np.log(n * k / i / j)
    owners = np.zeros(3, dtype=int), np.zeros(2, dtype=int)
    found = _expected.expected_information(
        (owners[0], np.array(a)), (owners[1], np.array(b)), 1, n
    )
    assert found[0] == pytest.approx(expected, rel=1e-13)


def test_the_mean_is_over_sets_not_over_entities():
    y_true, y_pred = [[0, 0], [0, 0, 0, 1, 1, 1]], [[0, 1], [0, 0, 0, 1, 1, 1]]
    each = set_scores(y_true, y_pred, average=None)
    assert each["ari"].tolist() == [0, 1]
    means = set_scores(y_true, y_pred)
    assert means == {name: float(each[name].mean()) for name in NAMES}
    assert json.loads(json.dumps(means)) == means


def test_neither_names_of_labels_nor_which_side_is_known_matter():
    y_true, y_pred = draw([5, 9, 5, 30])
    expected = set_scores(y_true, y_pred)
    words = np.array([f"word {i}" for i in range(30)])
    as_words = [words[labels] for labels in y_true]
    for same in (
        as_words,
        [labels.tolist() for labels in as_words],
        [labels.astype(object) for labels in as_words],
        [as_words[0], *y_true[1:]],
        [as_words[0].astype(object), *y_true[1:]],
        [labels - 1 for labels in y_true],
        [labels.astype(np.uint8) * 3 for labels in y_true],
    ):
        assert set_scores(same, y_pred) == pytest.approx(expected, abs=1e-14)
        assert set_scores(y_pred, same) == pytest.approx(expected, abs=1e-14)


def test_minus_1_is_a_label_like_any_other():
    assert set_scores([[-1, -1, 0]], [[1, 1, 0]])["ari"] == 1
    assert set_scores([[-1, 1, 0]], [[1, 1, 0]])["ari"] == 0


def test_a_table_is_sets_of_one_size():
    y_true, y_pred = (np.array(labels) for labels in draw([7] * 6))
    assert set_scores(y_true, y_pred) == set_scores(list(y_true), list(y_pred))


def test_working_in_parts_changes_nothing(monkeypatch):
    y_true, y_pred = draw([6] * 20 + [11] * 4)
    expected = set_scores(y_true, y_pred, average=None)
    monkeypatch.setattr(_sets, "_ENTITIES", 13)
    for terms in (1, 25, 100):
        monkeypatch.setattr(_expected, "_TERMS", terms)
        found = set_scores(y_true, y_pred, average=None)
        for name in NAMES:
            np.testing.assert_allclose(found[name], expected[name], rtol=1e-13)


def test_a_set_of_thousands_is_scored():
    rng = np.random.default_rng(0)
    y_true, y_pred = rng.integers(40, size=3000), rng.integers(300, size=3000)
    scores = set_scores([y_true], [y_pred])
    assert scores["ami"] == pytest.approx(
        sk.adjusted_mutual_info_score(y_true, y_pred), abs=1e-9
    )
    assert abs(scores["ari"]) < 0.01


@pytest.mark.parametrize(
    ("y_true", "y_pred", "message"),
    [
        ([], [], "at least one, got 0 and 0"),
        ([[0]], [[0], [0]], "as many sets, at least one, got 1 and 2"),
        ([[0], [0, 1]], [[0], [0]], "as many labels in each set, got 2 and 1 in set 1"),
        ([[0], []], [[0], []], r"not empty, got shape \(0,\) in set 1 of y_true"),
        ([[0]], [[[0]]], r"one-dimensional.*got shape \(1, 1\) in set 0 of y_pred"),
        ([[0.5, 1.0]], [[0, 0]], r"got float64 in set 0 of y_true: \[0\.5, 1\.0\]"),
        ([[0], [0, 1]], [[0], ["a", None]], r"got object in set 1 of y_pred: \['a', N"),
    ],
)
def test_labels_that_cannot_be_compared_are_refused_with_their_set(
    y_true, y_pred, message
):
    with pytest.raises(ValueError, match=message):
        set_scores(y_true, y_pred)


def test_an_unknown_average_is_refused():
    with pytest.raises(ValueError, match="'mean' or None, got 'median'"):
        set_scores([[0]], [[0]], average="median")


# One partition


@pytest.mark.parametrize("seed", range(5))
def test_f1_is_that_of_counting(seed):
    rng = np.random.default_rng(seed)
    y_true, y_pred = rng.integers(5, size=30), rng.integers(4, size=30)
    f1 = cluster_f1(y_true, y_pred)
    assert f1 == pytest.approx(slow_f1(y_true.tolist(), y_pred.tolist()))
    assert f1 == pytest.approx(set_scores([y_true], [y_pred])["f1"], abs=1e-15)
    assert isinstance(f1, float)


def test_f1_is_1_for_equal_partitions_only():
    assert cluster_f1(["b", "a", "b"], [0, 3, 0]) == 1
    assert cluster_f1(["b", "a", "b"], [0, 3, 3]) < 1


@pytest.mark.parametrize(
    ("y_true", "y_pred"), [([], []), ([0, 1], [0]), ([[0, 1]], [[0, 1]]), (3, 3)]
)
def test_f1_of_what_cannot_be_compared_is_refused(y_true, y_pred):
    with pytest.raises(ValueError, match=r"of one length and not empty.*got shapes"):
        cluster_f1(y_true, y_pred)


# Intervals


def test_the_interval_is_that_of_the_normal_approximation():
    values = np.random.default_rng(0).random(50)
    mean, half = mean_interval(values)
    assert mean == pytest.approx(values.mean())
    spread = np.sqrt(((values - values.mean()) ** 2).sum() / 49)
    assert half == pytest.approx(1.96 * spread / np.sqrt(50))
    assert isinstance(mean, float) and isinstance(half, float)


def test_an_interval_of_equal_values_has_no_width_and_of_one_value_none_that_is_known():
    assert mean_interval([0.5, 0.5, 0.5]) == (0.5, 0.0)
    mean, half = mean_interval([0.25])
    assert mean == 0.25
    assert np.isnan(half)


@pytest.mark.parametrize("values", [[], [[0.5]], 0.5])
def test_an_interval_needs_a_value_for_each_set(values):
    with pytest.raises(ValueError, match="one-dimensional and not empty, got shape"):
        mean_interval(values)
