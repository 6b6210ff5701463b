"""Average linkage of many sets, against scikit-learn set by set and threshold by it."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import AgglomerativeClustering

from skllm_cluster import _average, _average_link
from skllm_cluster.hierarchy import average_link, best_threshold, link_similarities
from skllm_cluster.metrics import set_scores

THRESHOLDS = np.arange(-10, 11) / 10


def draw(sizes, seed=0, d=6):
    """Embeddings and groups of sets with some structure, their entities mixed up."""
    rng = np.random.default_rng(seed)
    groups = rng.permutation(np.repeat(np.arange(len(sizes)) * 3 - 4, sizes))
    centers = rng.normal(size=(4, d))
    z = centers[rng.integers(4, size=len(groups))] + rng.normal(size=(len(groups), d))
    return z * rng.uniform(0.1, 9, size=(len(groups), 1)), groups


def cosines(z):
    z = z / np.linalg.norm(z, axis=1, keepdims=True)
    return z @ z.T


def by_appearance(labels):
    number = {}
    return [number.setdefault(label, len(number)) for label in labels]


def refit(similarity, threshold):
    """One fit of scikit-learn for one set and threshold."""
    if len(similarity) == 1:
        return [0]
    model = AgglomerativeClustering(
        n_clusters=None,
        metric="precomputed",
        linkage="average",
        distance_threshold=1 - threshold,
    )
    return by_appearance(model.fit_predict(1 - similarity))


@pytest.mark.parametrize("large", [1, 60], ids=["SciPy", "in step"])
@pytest.mark.parametrize("seed", range(2))
def test_every_cut_of_every_set_is_that_of_scikit_learn(seed, large, monkeypatch):
    monkeypatch.setattr(_average, "_LARGE", large)
    z, groups = draw([1, 2, 2, 3, 5, 5, 5, 12, 30], seed)
    labels = average_link(z, groups).cut(THRESHOLDS)
    assert labels.shape == (21, len(z))
    for group in set(groups.tolist()):
        similarity = cosines(z[groups == group])
        for threshold, found in zip(THRESHOLDS, labels, strict=True):
            expected = refit(similarity, threshold)
            assert found[groups == group].tolist() == expected


@pytest.mark.parametrize("n", [2, 61, 130])
def test_a_set_of_any_size_is_cut_as_scikit_learn_does(n):
    z, groups = draw([n])
    labels = average_link(z, groups).cut(THRESHOLDS)
    for threshold, found in zip(THRESHOLDS, labels, strict=True):
        assert found.tolist() == refit(cosines(z), threshold)


@pytest.mark.parametrize("n", [5, 40])
def test_both_ways_make_the_same_merges(n, monkeypatch):
    similarity = np.stack([cosines(draw([n], seed)[0]) for seed in range(4)])
    merged, heights = _average.average_merges(similarity)
    monkeypatch.setattr(_average, "_LARGE", 0)
    theirs, their_heights = _average.average_merges(similarity)
    np.testing.assert_array_equal(merged, theirs)
    np.testing.assert_allclose(heights, their_heights, rtol=1e-12)


grids = st.integers(1, 9).flatmap(
    lambda n: st.lists(
        st.lists(st.integers(-4, 4), min_size=n * n, max_size=n * n),
        min_size=1,
        max_size=3,
    ).map(lambda sets: np.array(sets).reshape(-1, n, n) / 4)
)


@settings(max_examples=60, deadline=None)
@given(grids)
def test_with_ties_heights_ascend_and_merges_are_of_what_is_there(similarity):
    merged, heights = _average.average_merges(similarity)
    n = similarity.shape[-1]
    assert (np.diff(heights, axis=1) >= 0).all()
    assert ((heights >= 0) & (heights <= 2)).all()
    assert (merged[..., 0] < merged[..., 1]).all()
    for pairs, height, matrix in zip(merged, heights, similarity, strict=True):
        upper = np.triu(matrix, 1)
        distance = 1 - upper - upper.T
        clusters = {e: [e] for e in range(n)}
        for (one, other), level in zip(pairs.tolist(), height, strict=True):
            averages = {
                (i, j): distance[np.ix_(clusters[i], clusters[j])].mean()
                for i in clusters
                for j in clusters
                if i < j
            }
            assert averages[one, other] == pytest.approx(level)
            assert averages[one, other] <= min(averages.values()) + 1e-12
            clusters[one] += clusters.pop(other)


def test_only_what_is_above_the_diagonal_is_read():
    similarity = cosines(draw([8])[0])
    expected = link_similarities([similarity]).cut(THRESHOLDS)
    spoilt = np.triu(similarity, 1) + np.tril(np.full((8, 8), 7.0))
    np.testing.assert_array_equal(link_similarities([spoilt]).cut(THRESHOLDS), expected)


@pytest.mark.parametrize("large", [0, 60])
def test_what_is_just_as_similar_as_the_threshold_stays_apart(large, monkeypatch):
    monkeypatch.setattr(_average, "_LARGE", large)
    similarity = [[1.0, 0.75, 0.25], [0.75, 1.0, 0.25], [0.25, 0.25, 1.0]]
    labels = link_similarities([similarity]).cut([0.75, 0.7499, 0.25, 0.2499])
    assert labels.tolist() == [[0, 1, 2], [0, 0, 1], [0, 0, 1], [0, 0, 0]]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("copies", [2, 5, 70])
def test_duplicates_are_together_but_for_a_threshold_of_1(copies, dtype):
    rng = np.random.default_rng(copies)
    z = np.repeat(rng.normal(size=(3, 50)), copies, axis=0).astype(dtype)
    z *= rng.uniform(0.5, 2, size=(len(z), 1)).astype(dtype)
    links = average_link(z, np.zeros(len(z), dtype=int))
    assert links.cut(0.999).tolist() == np.repeat(range(3), copies).tolist()
    similarity = np.ones((4, 4))
    assert link_similarities([similarity]).cut([0.999, 1]).tolist() == [
        [0, 0, 0, 0],
        [0, 1, 2, 3],
    ]
    # Rounding may have taken a product above 1.
    assert link_similarities([similarity + 1e-7]).cut(1).tolist() == [0, 1, 2, 3]


def test_opposites_stay_apart_at_minus_1():
    links = average_link([[1.0, 0.0], [-1.0, 0.0]], [0, 0])
    assert links.cut([-1, -1.5]).tolist() == [[0, 1], [0, 0]]


def test_a_zero_vector_is_similar_to_nothing():
    links = average_link([[0.0, 0.0], [0.0, 0.0], [1.0, 0.0]], [0, 0, 0])
    assert links.cut([0, -0.01]).tolist() == [[0, 1, 2], [0, 0, 0]]


def test_length_of_vectors_and_kind_of_numbers_do_not_matter():
    z, groups = draw([4, 9, 9])
    z = np.round(z * 3)
    expected = average_link(z, groups).cut(THRESHOLDS + 0.0123)
    for same in (z.astype(int), z.astype(np.float16), z * 7.3, z.tolist()):
        found = average_link(same, groups).cut(THRESHOLDS + 0.0123)
        np.testing.assert_array_equal(found, expected)


def test_a_set_does_not_depend_on_the_others(monkeypatch):
    z, groups = draw([1, 3, 3, 3, 3, 7, 20])
    together = average_link(z, groups).cut(THRESHOLDS)
    monkeypatch.setattr(_average_link, "_BLOCK", 10)  # one or few at a time
    np.testing.assert_array_equal(average_link(z, groups).cut(THRESHOLDS), together)
    for group in set(groups.tolist()):
        here = groups == group
        alone = average_link(z[here], np.full(here.sum(), 5)).cut(THRESHOLDS)
        np.testing.assert_array_equal(alone, together[:, here])


def test_order_of_entities_does_not_change_who_is_together():
    z, groups = draw([15, 4])
    order = np.random.default_rng(1).permutation(len(z))
    expected = average_link(z, groups).cut(THRESHOLDS)[:, order]
    found = average_link(z[order], groups[order]).cut(THRESHOLDS)
    for group in set(groups.tolist()):
        here = groups[order] == group
        for one, other in zip(found[:, here], expected[:, here], strict=True):
            assert one.tolist() == by_appearance(other)


def test_clusters_only_split_as_the_threshold_rises():
    z, groups = draw([25, 6])
    labels = average_link(z, groups).cut(np.linspace(-1, 1, 57))
    for coarse, fine in pairwise(labels):
        for group in set(groups.tolist()):
            here = groups == group
            pairs = set(zip(fine[here], coarse[here], strict=True))
            assert len(pairs) == len({cluster for cluster, _ in pairs})


def test_one_threshold_gives_one_labelling():
    z, groups = draw([5, 3])
    links = average_link(z, groups)
    assert repr(links) == "AverageLinks(n_sets=2, n_rows=8)"
    assert links.cut(0.3).shape == (8,)
    np.testing.assert_array_equal(links.cut([0.3, 0.3]), [links.cut(0.3)] * 2)
    assert links.cut([]).shape == (0, 8)


def test_similarities_of_sets_of_different_size_are_linked_in_their_order():
    z, groups = draw([6, 1, 3, 6])
    groups = np.sort(groups)
    matrices = [cosines(z[groups == group]) for group in np.unique(groups)]
    np.testing.assert_array_equal(
        link_similarities(matrices).cut(THRESHOLDS),
        average_link(z, groups).cut(THRESHOLDS),
    )


@pytest.mark.parametrize(
    ("z", "groups", "message"),
    [
        (np.zeros((0, 2)), [], r"got shapes \(0, 2\) and \(0,\)"),
        (np.zeros((2, 2)), [0], r"got shapes \(2, 2\) and \(1,\)"),
        (np.zeros(2), [0, 0], r"got shapes \(2,\) and \(2,\)"),
        (np.full((3, 1), np.nan), [0] * 3, "NaN or infinity for 3 of 3.*at index 0"),
        ([[0.0], [np.inf]], [0, 0], "for 1 of 2 entities, the first at index 1"),
    ],
)
def test_embeddings_that_cannot_be_linked_are_refused(z, groups, message):
    with pytest.raises(ValueError, match=message):
        average_link(z, groups)


@pytest.mark.parametrize(
    ("similarities", "message"),
    [
        ([], "at least one set, got none"),
        ([np.eye(2), np.zeros((2, 3))], r"square.*got shape \(2, 3\) in set 1"),
        ([np.zeros((0, 0))], r"not empty, got shape \(0, 0\) in set 0"),
        (np.eye(2), r"got shape \(2,\) in set 0"),
        ([np.eye(2), [[1, np.nan], [0, 1]]], "finite, got NaN or infinity in set 1"),
    ],
)
def test_similarities_that_cannot_be_linked_are_refused(similarities, message):
    with pytest.raises(ValueError, match=message):
        link_similarities(similarities)


@pytest.mark.parametrize("thresholds", [np.nan, [0.1, np.nan], [[0.1]]])
def test_thresholds_that_are_no_numbers_are_refused(thresholds):
    with pytest.raises(ValueError, match="thresholds must be numbers in one dimension"):
        average_link(np.eye(2), [0, 0]).cut(thresholds)


# The best threshold


@pytest.mark.parametrize("labels", ["ints", "words"])
def test_scores_at_each_threshold_are_those_of_its_cut(labels):
    z, groups = draw([1, 2, 5, 5, 5, 9, 30])
    y_true = np.random.default_rng(0).integers(3, size=len(z))
    y_true = np.array(["a", "b", "c"])[y_true] if labels == "words" else y_true
    links = average_link(z, groups)
    threshold, table = best_threshold(links, y_true)
    np.testing.assert_array_equal(table["threshold"], THRESHOLDS)
    sets = [groups == group for group in np.unique(groups)]
    for k, cut in enumerate(links.cut(THRESHOLDS)):
        expected = set_scores([y_true[s] for s in sets], [cut[s] for s in sets])
        assert {name: table[name][k] for name in expected} == pytest.approx(expected)
    total = table["nmi"] + table["ami"] + table["ri"] + table["ari"]
    np.testing.assert_allclose(table["sum"], total)
    assert set(table) == {*expected, "threshold", "sum"}
    assert table["sum"][threshold == THRESHOLDS] == pytest.approx(table["sum"].max())
    assert isinstance(threshold, float)


def test_the_best_threshold_parts_what_should_be_apart():
    similarity = np.array([[1.0, 0.62, 0.1], [0.62, 1.0, 0.33], [0.1, 0.33, 1.0]])
    links = link_similarities([similarity] * 3)
    # Apart while 0.62 > threshold >= (0.1 + 0.33) / 2: at 0.3, 0.4, 0.5, 0.6.
    assert best_threshold(links, [4, 4, 2] * 3)[0] == 0.4
    assert best_threshold(links, [4, 4, 2] * 3, [0.25, 0.45, 0.6])[0] == 0.45
    assert best_threshold(links, [0, 1, 2] * 3)[0] == 0.8  # from 0.7 to 1
    assert best_threshold(links, [0, 0, 0] * 3)[0] == -0.4  # from -1 to 0.2


@pytest.mark.parametrize(
    ("values", "middle"),
    [
        ([1], 0),
        ([1, 2, 2, 2, 0], 2),
        ([2, 2, 1, 2, 2], 0),
        ([2, 1, 2, 2, 2, 2], 3),
        ([0, 0, 3 + 1e-15, 3, 3 - 1e-15], 3),
        ([0, 1, 5], 2),
    ],
)
def test_of_equals_the_middle_of_the_longest_run_is_taken(values, middle):
    assert _average_link._middle(np.array(values, dtype=float)) == middle


def test_default_thresholds_are_the_floats_nearest_to_their_decimals():
    z, groups = draw([3])
    _, table = best_threshold(average_link(z, groups), [0, 0, 1])
    assert table["threshold"].tolist() == [
        float(f"{i / 10:.1f}") for i in range(-10, 11)
    ]


@pytest.mark.parametrize(
    "thresholds", [[], 0.5, [0.5, 0.5], [0.5, 0.4], [[0.1]], [np.nan]]
)
def test_thresholds_must_ascend(thresholds):
    with pytest.raises(ValueError, match="ascending and not empty, got"):
        best_threshold(average_link(np.eye(2), [0, 0]), [0, 1], thresholds)


@pytest.mark.parametrize("y_true", [[0], [0, 1, 1], [[0, 1]]])
def test_there_must_be_a_label_for_each_row(y_true):
    with pytest.raises(ValueError, match=r"each of the 2 rows.*got shape"):
        best_threshold(average_link(np.eye(2), [0, 0]), y_true)
