"""Triplets worth asking about, against slow loops and full enumeration."""

import math
import warnings
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import AgglomerativeClustering
from sklearn.preprocessing import StandardScaler

from skllm_cluster import sampling
from skllm_cluster.sampling import (
    ambiguity,
    entropy_triplets,
    precluster,
    random_triplets,
)


def draw_points(n=150, d=4, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


def standardised(points):
    return StandardScaler().fit_transform(points)


def slow_ambiguity(z, labels, closest=0.02):
    """Eq. 2-4 for one row at a time, with squared distances to every centroid."""
    clusters = sorted(set(labels))
    centroids = [np.mean(z[labels == k], axis=0) for k in clusters]
    n_near = min(max(2, round(closest * len(clusters))), len(clusters))
    entropy, near = [], []
    for row in z:
        square = [float(((row - c) ** 2).sum()) for c in centroids]
        order = sorted(range(len(clusters)), key=square.__getitem__)[:n_near]
        p = [1 / (1 + square[k]) for k in order]
        entropy.append(-sum(q / sum(p) * math.log(q / sum(p)) for q in p))
        near.append(order)
    return np.array(entropy), np.array(near)


def top(z, labels, share=0.2):
    """The most ambiguous rows, by falling entropy, and the close clusters of all."""
    entropy, near = slow_ambiguity(z, labels)
    return np.argsort(-entropy, kind="stable")[: int(len(z) * share)], near


def every_triplet(points, labels):
    """All questions that there are, as ``questions`` has them."""
    anchors, near = top(standardised(points), labels)
    return {
        (int(a), *sorted((int(b), int(c))))
        for a in anchors
        for one, two in combinations(near[a], 2)
        for b in np.flatnonzero(labels == one)
        for c in np.flatnonzero(labels == two)
        if a not in (b, c)
    }


def questions(triplets):
    """Triplets as (anchor, choice, choice), the choices in ascending order."""
    return [(a, *sorted((b, c))) for a, b, c in triplets.tolist()]


@pytest.mark.parametrize("n_clusters", [2, 3, 40, 125, 130])
def test_ambiguity_equals_the_slow_loop(n_clusters):
    z = draw_points(300, 5, seed=n_clusters)
    labels = np.random.default_rng(1).permutation(np.arange(300) % n_clusters)
    entropy, near = ambiguity(z, labels)
    expected, order = slow_ambiguity(z, labels)
    np.testing.assert_allclose(entropy, expected, rtol=1e-9)
    np.testing.assert_array_equal(near, order)


def test_ambiguity_does_not_depend_on_the_size_of_its_blocks(monkeypatch):
    z, labels = draw_points(100), np.arange(100) % 7
    entropy, near = ambiguity(z, labels)
    monkeypatch.setattr(sampling, "_BLOCK", 33)
    again, same = ambiguity(z, labels)
    np.testing.assert_allclose(again, entropy, rtol=1e-12)
    np.testing.assert_array_equal(same, near)


@pytest.mark.parametrize(
    ("n_clusters", "expected"), [(99, 2), (125, 2), (126, 3), (174, 3), (175, 4)]
)
def test_two_per_cent_of_the_clusters_are_rounded_half_to_even(n_clusters, expected):
    _, near = ambiguity(draw_points(200), np.arange(200) % n_clusters)
    assert near.shape == (200, expected)


@pytest.mark.parametrize("closest", [0.02, 0.3, 1.0])
def test_entropy_lies_between_0_and_the_logarithm_of_the_close_clusters(closest):
    entropy, near = ambiguity(draw_points(), np.arange(150) % 10, closest=closest)
    assert near.shape[1] == max(2, 10 * closest)
    assert (entropy > 0).all()
    assert (entropy <= math.log(near.shape[1]) + 1e-12).all()


def test_a_row_halfway_between_two_clusters_has_full_entropy():
    entropy, _ = ambiguity(np.array([[-1.0], [1.0], [0.0]]), [0, 1, 0])
    # The centroid of {-1, 0} is -0.5.
    assert entropy.argmax() == 2
    entropy, _ = ambiguity(np.array([[-1.0], [1.0], [0.0], [0.0]]), [0, 1, 2, 2])
    assert entropy[0] == pytest.approx(entropy[1])


def test_ambiguity_of_one_cluster_is_refused():
    with pytest.raises(ValueError, match="at least 2 clusters to choose from, got 1"):
        ambiguity(draw_points(5), np.zeros(5, dtype=int))


@pytest.mark.parametrize("seed", range(3))
def test_choices_come_from_two_clusters_close_to_an_ambiguous_anchor(seed):
    points = draw_points(seed=seed)
    labels = precluster(points)
    anchors, near = top(standardised(points), labels)
    triplets = entropy_triplets(points, 200, random_state=seed)
    assert triplets.shape == (200, 3)
    assert set(triplets[:, 0]) <= set(anchors)
    for anchor, one, two in triplets:
        assert len({anchor, one, two}) == 3
        assert labels[one] != labels[two]
        assert {labels[one], labels[two]} <= set(near[anchor])


def test_every_ambiguous_row_is_asked_about_in_its_turn():
    points = draw_points()
    anchors, _ = top(standardised(points), precluster(points))
    triplets = entropy_triplets(points, 300, random_state=0)
    counts = np.bincount(triplets[:, 0], minlength=len(points))[anchors]
    assert (counts > 0).all()
    assert counts.max() <= 3 * 300 / len(anchors)


def test_no_question_is_asked_twice_even_with_its_choices_exchanged():
    asked = questions(entropy_triplets(draw_points(), 1024, random_state=0))
    assert len(set(asked)) == 1024


@pytest.mark.parametrize("interval", [(0.0, 0.1), (0.5, 0.6), (0.9, 1.0)])
def test_anchors_come_from_the_interval_of_the_ranking(interval):
    points = draw_points()
    ranked, _ = top(standardised(points), precluster(points), share=1)
    triplets = entropy_triplets(points, 60, interval=interval, random_state=0)
    high, low = (round(150 * share) for share in interval)
    assert set(triplets[:, 0]) <= set(ranked[high:low])


def between_two_groups():
    """Rows between groups 0 and 1 that belong to a third, far from all of them."""
    rng = np.random.default_rng(0)
    x = np.concatenate(
        [
            rng.normal(-1, 0.05, 75),
            rng.normal(1, 0.05, 75),
            rng.uniform(-0.2, 0.2, 10),
            rng.uniform(-0.2, 0.2, 40),
        ]
    )
    far = np.repeat([0.0, 100.0], [160, 40])
    return np.stack([x, far], axis=1), np.repeat([0, 1, 2], [75, 75, 50])


@pytest.mark.parametrize("n_triplets", [1, 4, 9])
def test_order_by_entropy_asks_few_questions_about_the_most_ambiguous(n_triplets):
    # None of these anchors is in a close cluster, so no draw is ever rejected.
    points, labels = between_two_groups()
    anchors, _ = top(standardised(points), labels)
    triplets = entropy_triplets(
        points, n_triplets, labels=labels, order="entropy", random_state=0
    )
    assert triplets[:, 0].tolist() == anchors[:n_triplets].tolist()


def test_shuffled_order_asks_few_questions_about_any_ambiguous_row():
    points, labels = between_two_groups()
    anchors, _ = top(standardised(points), labels)
    asked = {
        row
        for seed in range(20)
        for row in entropy_triplets(points, 4, labels=labels, random_state=seed)[:, 0]
    }
    assert asked <= set(anchors)
    assert len(asked) > 20


@pytest.mark.parametrize("sampler", [entropy_triplets, random_triplets])
def test_equal_seeds_draw_equal_triplets_and_others_draw_others(sampler):
    points = draw_points()
    first = sampler(points, 50, random_state=0)
    np.testing.assert_array_equal(sampler(points, 50, random_state=0), first)
    same = sampler(points, 50, random_state=np.random.RandomState(0))
    np.testing.assert_array_equal(same, first)
    assert (sampler(points, 50, random_state=1) != first).any()


@pytest.mark.parametrize("sampler", [entropy_triplets, random_triplets])
@pytest.mark.parametrize("n_triplets", [1, 7, 500])
def test_exactly_as_many_triplets_as_asked_for_are_returned(sampler, n_triplets):
    triplets = sampler(draw_points(), n_triplets, random_state=0)
    assert triplets.shape == (n_triplets, 3)
    assert triplets.dtype.kind == "i"


@pytest.mark.parametrize("seed", range(4))
def test_all_triplets_are_returned_where_too_few_exist(seed):
    points = draw_points(25, 2, seed)
    labels = np.random.default_rng(seed).permutation(np.arange(25) % 5)
    everything = every_triplet(points, labels)
    with pytest.warns(UserWarning, match=f"Only {len(everything)} distinct triplets"):
        found = entropy_triplets(points, 1024, labels=labels, random_state=seed)
    assert sorted(questions(found)) == sorted(everything)


def test_all_triplets_can_be_asked_for_without_a_warning():
    points, labels = draw_points(25, 2), np.arange(25) % 5
    everything = every_triplet(points, labels)
    found = entropy_triplets(points, len(everything), labels=labels, random_state=0)
    assert set(questions(found)) == everything


def test_triplets_are_found_where_one_anchor_has_almost_all_of_them():
    # Nine anchors have one question each, the tenth has 90 x 90 of them.
    rich, poor = np.zeros((1, 2)), np.array([[100.0 * i, 1e4] for i in range(1, 10)])
    sides = np.concatenate(
        [rich + [side, 0] + 0.01 * draw_points(90, 2) for side in (-1, 1)]
    )
    pairs = np.concatenate([poor - np.array([1, 0]), poor + np.array([1, 0])])
    points = np.concatenate([rich, poor, sides, pairs])
    labels = np.concatenate([np.full(10, 20), np.repeat([0, 1], 90), np.arange(2, 20)])
    share = (0.0, 10 / len(points))
    entropy, _ = slow_ambiguity(standardised(points), labels)
    anchors = np.argsort(-entropy, kind="stable")[:10]
    assert 0 in anchors  # else this test is about nothing
    found = entropy_triplets(
        points, 2000, labels=labels, interval=share, random_state=0
    )
    assert len(set(questions(found))) == 2000


def test_numbers_that_no_row_has_do_not_matter():
    points = draw_points()
    labels = precluster(points)
    expected = entropy_triplets(points, 100, labels=labels, random_state=0)
    gaps = entropy_triplets(points, 100, labels=labels * 7 + 3, random_state=0)
    np.testing.assert_array_equal(gaps, expected)


def test_repeated_rows_are_rows_of_their_own():
    points = np.repeat(draw_points(30), 5, axis=0)
    triplets = entropy_triplets(points, 200, random_state=0)
    assert len(set(questions(triplets))) == 200
    assert all(len(set(row)) == 3 for row in triplets.tolist())


def test_triplets_do_not_depend_on_the_scale_of_the_embeddings():
    points = draw_points(200, 6)
    expected = entropy_triplets(points, 100, random_state=0)
    moved = points * np.array([1000, 1, 0.001, 50, 7, 3]) + 12.0
    np.testing.assert_array_equal(
        entropy_triplets(moved, 100, random_state=0), expected
    )


@pytest.mark.parametrize(("value", "jitter"), [(0.0, 0), (0.1, 0), (1e6, 1)])
def test_a_column_that_is_constant_up_to_rounding_does_not_matter(value, jitter):
    points = draw_points()
    expected = entropy_triplets(points, 100, random_state=0)
    rounding = np.random.default_rng(0).integers(2, size=150) * np.finfo(float).eps
    wider = np.column_stack([points, value * (1 + jitter * rounding)])
    np.testing.assert_array_equal(
        entropy_triplets(wider, 100, random_state=0), expected
    )


@pytest.mark.parametrize("sampler", [entropy_triplets, random_triplets])
def test_a_fair_coin_decides_which_choice_comes_first(sampler):
    triplets = sampler(draw_points(200), 1000, random_state=0)
    share = np.mean(triplets[:, 1] < triplets[:, 2])
    assert share == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(1000))


def test_embeddings_are_not_changed():
    points = draw_points()
    kept = points.copy()
    entropy_triplets(points, 10, random_state=0)
    precluster(points)
    np.testing.assert_array_equal(points, kept)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("value", [0.0, 0.1])
def test_equal_vectors_are_refused_since_nothing_lies_between_them(dtype, value):
    with pytest.raises(ValueError, match="Are all vectors equal"):
        entropy_triplets(np.full((60, 4), value, dtype), 10, random_state=0)


def test_one_cluster_is_refused():
    with pytest.raises(ValueError, match="or is distance_threshold too high"):
        entropy_triplets(draw_points(), 10, distance_threshold=1e9)


@pytest.mark.parametrize("sampler", [entropy_triplets, random_triplets])
def test_fewer_than_three_rows_are_refused(sampler):
    with pytest.raises(ValueError, match="at least 3 texts, got 2"):
        sampler(draw_points(2), 1)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("sampler", [entropy_triplets, random_triplets, precluster])
def test_embeddings_that_are_not_finite_are_refused(sampler, bad):
    points = draw_points()
    points[7, 1] = bad
    with pytest.raises(ValueError, match=r"NaN|infinity"):
        sampler(points)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_triplets": 0}, "n_triplets must be at least 1, got 0"),
        ({"order": "random"}, "order must be 'shuffled' or 'entropy', got 'random'"),
        ({"interval": (0.2, 0.0)}, r"0 <= high < low <= 1, got \(0.2, 0.0\)"),
        ({"interval": (0.0, 20)}, "0 <= high < low <= 1, got"),
        ({"n_clusters": 1}, "n_clusters must be at least 2, got 1"),
    ],
)
def test_wrong_parameters_are_refused_with_the_value(parameters, message):
    with pytest.raises(ValueError, match=message):
        entropy_triplets(draw_points(), **parameters)


def test_random_triplets_are_three_distinct_rows_and_no_two_alike():
    triplets = random_triplets(np.zeros((40, 1)), 1000, random_state=0)
    assert all(len(set(row)) == 3 for row in triplets.tolist())
    assert len(set(questions(triplets))) == 1000
    assert set(triplets.ravel()) == set(range(40))


def test_random_anchors_are_uniform():
    triplets = random_triplets(np.zeros((20, 1)), 1000, random_state=0)
    counts = np.bincount(triplets[:, 0], minlength=20)
    assert ((counts - 50) ** 2 / 50).sum() < 43.8  # chi squared, 19 degrees, p = .001


def test_random_triplets_are_all_that_exist_where_rows_are_few():
    everything = {
        (a, *pair)
        for a in range(5)
        for pair in combinations(sorted(set(range(5)) - {a}), 2)
    }
    exactly = random_triplets(np.zeros((5, 1)), len(everything), random_state=0)
    assert set(questions(exactly)) == everything
    with pytest.warns(UserWarning, match="Only 30 distinct triplets exist"):
        found = random_triplets(np.zeros((5, 1)), 100, random_state=0)
    assert sorted(questions(found)) == sorted(everything)


@pytest.mark.parametrize(("n", "expected"), [(5, 2), (60, 6), (300, 30), (1100, 100)])
def test_precluster_makes_a_cluster_for_ten_rows_and_at_most_100(n, expected):
    labels = precluster(draw_points(n, 2))
    assert labels.shape == (n,)
    assert set(labels) == set(range(expected))


def test_precluster_stops_at_the_height_of_the_paper():
    # Twelve groups of 20: standardised, groups are 28 apart, and Ward's height of two
    # of them is 28 * sqrt(20), while inside of a group it stays small.
    points = np.repeat(draw_points(12, 384), 20, axis=0) + 0.3 * draw_points(240, 384)
    labels = precluster(points, distance_threshold=67)
    ward = AgglomerativeClustering(None, distance_threshold=67)
    np.testing.assert_array_equal(labels, ward.fit_predict(standardised(points)))
    assert len(set(labels)) == 12
    triplets = entropy_triplets(points, 30, distance_threshold=67, random_state=0)
    expected = entropy_triplets(points, 30, labels=labels, random_state=0)
    np.testing.assert_array_equal(triplets, expected)


def test_large_data_are_clustered_by_mini_batch_k_means(monkeypatch):
    points = draw_points(300, 2)
    monkeypatch.setattr(
        sampling, "AgglomerativeClustering", lambda *_, **__: pytest.fail("Ward")
    )
    monkeypatch.setattr(sampling, "WARD_LIMIT", 299)
    labels = precluster(points, random_state=0)
    assert len(set(labels)) <= 30
    np.testing.assert_array_equal(precluster(points, random_state=0), labels)
    triplets = entropy_triplets(points, 100, random_state=0)
    assert len(set(questions(triplets))) == 100


def test_empty_clusters_of_mini_batch_k_means_do_not_matter(monkeypatch):
    # 60 distinct rows and 100 clusters: the released code asked one question only.
    monkeypatch.setattr(sampling, "WARD_LIMIT", 100)
    points = np.repeat(draw_points(60), 20, axis=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of k-means, about the empty clusters
        triplets = entropy_triplets(points, 200, random_state=0)
    choices = np.unique(np.sort(triplets[:, 1:] // 20, axis=1), axis=0)
    assert len(choices) > 3


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    n=st.integers(3, 24),
    d=st.integers(1, 3),
    n_clusters=st.integers(2, 6),
    n_triplets=st.integers(1, 60),
    order=st.sampled_from(["shuffled", "entropy"]),
    seed=st.integers(0, 1000),
)
def test_whatever_the_rows_triplets_are_distinct_and_all_if_fewer_than_asked(
    n, d, n_clusters, n_triplets, order, seed
):
    rng = np.random.default_rng(seed)
    points, labels = rng.normal(size=(n, d)), rng.integers(n_clusters, size=n)
    labels[:2] = 0, 1
    _, labels = np.unique(labels, return_inverse=True)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        triplets = entropy_triplets(
            points, n_triplets, labels=labels, order=order, random_state=seed
        )
    anchors, _ = top(standardised(points), labels)
    if not len(anchors):
        return  # fewer than five rows: one anchor is made of none
    everything = every_triplet(points, labels)
    asked = questions(triplets)
    assert len(asked) == len(set(asked)) == min(n_triplets, len(everything))
    assert set(asked) <= everything
    assert bool(caught) == (len(everything) < n_triplets)
