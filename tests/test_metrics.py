"""Agreement of clusters with labels, against all ways to match them; calibration."""

import json
from itertools import permutations

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from skllm_cluster.metrics import (
    calibration_table,
    clustering_accuracy,
    clustering_scores,
)


def slow_accuracy(y_true, y_pred):
    """The best of all one-to-one matches, tried one after the other."""
    labels, clusters = sorted(set(y_true)), sorted(set(y_pred))
    few, many = sorted((labels, clusters), key=len)
    best = 0
    for chosen in permutations(many, len(few)):
        match = dict(zip(few, chosen, strict=True))
        if few is labels:
            hits = sum(match[t] == p for t, p in zip(y_true, y_pred, strict=True))
        else:
            hits = sum(match[p] == t for t, p in zip(y_true, y_pred, strict=True))
        best = max(best, hits)
    return best / len(y_true)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("n_labels", "n_clusters"), [(1, 1), (4, 4), (3, 6), (6, 3), (1, 5), (5, 1)]
)
def test_accuracy_is_that_of_the_best_match(n_labels, n_clusters, seed):
    rng = np.random.default_rng(seed)
    y_true = rng.integers(n_labels, size=30)
    y_pred = rng.integers(n_clusters, size=30)
    accuracy = clustering_accuracy(y_true, y_pred)
    assert accuracy == pytest.approx(slow_accuracy(y_true.tolist(), y_pred.tolist()))
    assert isinstance(accuracy, float)


def test_names_of_labels_and_clusters_do_not_matter():
    rng = np.random.default_rng(0)
    y_true, y_pred = rng.integers(5, size=(2, 60))
    expected = clustering_scores(y_true, y_pred)
    words = np.array(["e", "a", "zebra", "", "10"])
    assert clustering_scores(words[y_true], y_pred * 7 - 100) == pytest.approx(expected)
    assert clustering_scores(words[y_true].tolist(), words[y_pred].tolist()) == (
        pytest.approx(expected)
    )


def test_order_of_the_rows_does_not_matter():
    rng = np.random.default_rng(0)
    y_true, y_pred = rng.integers(5, size=(2, 60))
    order = rng.permutation(60)
    assert clustering_scores(y_true[order], y_pred[order]) == pytest.approx(
        clustering_scores(y_true, y_pred)
    )


def test_accuracy_is_symmetric():
    y_true, y_pred = np.random.default_rng(0).integers(4, size=(2, 50))
    assert clustering_accuracy(y_true, y_pred) == clustering_accuracy(y_pred, y_true)


def test_equal_partitions_have_full_scores():
    scores = clustering_scores(["b", "b", "a", "c"], [0, 0, 2, 1])
    assert scores == {"accuracy": 1.0, "nmi": 1.0, "ari": 1.0}


def test_scores_are_those_of_scikit_learn_and_the_accuracy():
    y_true, y_pred = np.random.default_rng(0).integers(4, size=(2, 50))
    assert clustering_scores(y_true, y_pred) == {
        "accuracy": clustering_accuracy(y_true, y_pred),
        "nmi": normalized_mutual_info_score(y_true, y_pred),
        "ari": adjusted_rand_score(y_true, y_pred),
    }


@pytest.mark.parametrize("measure", [clustering_accuracy, clustering_scores])
@pytest.mark.parametrize(
    ("y_true", "y_pred"),
    [([], []), ([0, 1], [0]), ([0], [0, 1]), ([[0, 1]], [[0, 1]]), (3, 3)],
    ids=["empty", "shorter", "longer", "two dimensions", "no dimension"],
)
def test_labels_that_cannot_be_compared_are_refused(measure, y_true, y_pred):
    with pytest.raises(ValueError, match=r"of one length and not empty.*got shapes"):
        measure(y_true, y_pred)


def slow_calibration(confidence, correct, n_bins):
    """Each bin by a loop; Wilson's interval by its formula."""
    rows, error, z = [], 0.0, 1.959963984540054
    judged = [
        (c, r) for c, r in zip(confidence, correct, strict=True) if c == c and r >= 0
    ]
    for b in range(n_bins):
        low, high = 0.5 + b / n_bins / 2, 0.5 + (b + 1) / n_bins / 2
        inside = [(c, r) for c, r in judged if low <= c < high or c == high == 1]
        if not inside:
            continue
        n = len(inside)
        mean, share = (sum(column) / n for column in zip(*inside, strict=True))
        middle = (share + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n)
        half *= np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
        rows.append((low, high, n, mean, share, middle - half, middle + half))
        error += n / len(judged) * abs(mean - share)
    return rows, error


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("n_bins", [1, 2, 5, 8])
def test_calibration_table_is_that_of_a_loop(n_bins, seed):
    rng = np.random.default_rng(seed)
    confidence = rng.beta(2, 1, size=60) / 2 + 0.5
    confidence[rng.random(60) < 0.1] = np.nan
    correct = rng.choice([-1, 0, 1, 1], size=60)
    table = calibration_table(confidence, correct, n_bins=n_bins)
    rows, error = slow_calibration(confidence.tolist(), correct.tolist(), n_bins)
    columns = (
        "low", "high", "n", "confidence", "correct", "correct_low", "correct_high"
    )  # fmt: skip
    for name, expected in zip(columns, zip(*rows, strict=True), strict=True):
        assert table[name] == pytest.approx(list(expected))
    assert table["error"] == pytest.approx(error)
    assert sum(table["n"]) + table["left_out"] == 60
    assert set(table) == {*columns, "left_out", "error"}


def test_a_calibrated_oracle_has_a_small_error_and_a_boaster_a_large_one():
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.5, 1, size=5000)
    honest = calibration_table(confidence, rng.random(5000) < confidence)
    assert honest["error"] < 0.03
    low, high = honest["correct_low"], honest["correct_high"]
    for mean, below, above in zip(honest["confidence"], low, high, strict=True):
        assert below - 0.02 < mean < above + 0.02
    boaster = calibration_table(np.full(5000, 0.99), rng.random(5000) < 0.6)
    assert boaster["error"] == pytest.approx(0.39, abs=0.03)
    assert boaster["n"] == [5000]
    assert boaster["correct_high"][0] < boaster["confidence"][0]


def test_a_confidence_on_an_edge_belongs_to_the_upper_bin_and_1_to_the_last():
    table = calibration_table([0.5, 0.75, 1.0], [1, 1, 1], n_bins=2)
    assert (table["low"], table["high"]) == ([0.5, 0.75], [0.75, 1.0])
    assert table["n"] == [1, 2]


def test_sure_and_right_is_no_error_and_sure_and_wrong_all_of_it():
    assert calibration_table([1.0, 1.0], [True, True])["error"] == 0
    table = calibration_table([1.0], [False])
    assert table["error"] == 1
    assert table["correct_low"] == [0]
    assert 0 < table["correct_high"][0] < 1


@pytest.mark.parametrize(
    ("confidence", "correct"),
    [([], []), ([np.nan, 0.9], [1, -1]), ([np.nan], [True])],
)
def test_where_nothing_is_known_the_table_is_empty(confidence, correct):
    table = calibration_table(confidence, correct)
    assert table["left_out"] == len(confidence)
    assert table["error"] is None
    assert table["n"] == table["low"] == table["correct_high"] == []


def test_calibration_table_is_plain_data():
    table = calibration_table(np.array([0.6, 0.9, np.nan]), np.array([1, 0, 1]))
    assert json.loads(json.dumps(table, allow_nan=False)) == table


@pytest.mark.parametrize(
    ("confidence", "correct", "n_bins", "message"),
    [
        ([0.9], [1, 0], 5, r"of one length, got shapes \(1,\) and \(2,\)"),
        ([[0.9]], [[1]], 5, r"one-dimensional.*\(1, 1\)"),
        ([0.9, 0.4], [1, 1], 5, r"in \[0\.5, 1\] or NaN, got 0\.4 at index 1"),
        ([0.9, 1.2], [1, 1], 5, r"got 1\.2 at index 1"),
        ([0.9], [2], 5, r"correct must hold 1, 0 or -1, got \[2\]"),
        ([0.9], [1], 0, "n_bins must be a positive int, got 0"),
        ([0.9], [1], 2.0, r"n_bins must be a positive int, got 2\.0"),
    ],
)
def test_what_is_no_confidence_or_verdict_is_refused(
    confidence, correct, n_bins, message
):
    with pytest.raises(ValueError, match=message):
        calibration_table(confidence, correct, n_bins=n_bins)
