"""Agreement of clusters with labels, against all ways to match them."""

from itertools import permutations

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from skllm_cluster.metrics import clustering_accuracy, clustering_scores


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
