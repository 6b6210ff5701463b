"""Sets clustered without regard to context: against scikit-learn, and at the limits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import AgglomerativeClustering, KMeans, SpectralClustering
from sklearn.metrics import adjusted_rand_score, silhouette_score

from skllm_cluster import set_baselines
from skllm_cluster.metrics import set_scores
from skllm_cluster.set_baselines import (
    choose_n_clusters,
    cluster_sets,
    mean_n_clusters,
)

METHODS = [
    {"method": "kmeans"},
    {"method": "spectral"},
    {"method": "spectral", "affinity": "cosine"},
    {"method": "average"},
]
EVERY = [
    *(dict(m, n_clusters=k) for m in METHODS for k in ("silhouette", 1, 2.5, 4, 50)),
    {"method": "average", "n_clusters": "gap"},
]


def blobs(sizes, d=8, spread=0.1, seed=0):
    """Unit vectors about orthogonal directions, and which of them."""
    rng = np.random.default_rng(seed)
    truth = np.repeat(np.arange(len(sizes)), sizes)
    z = np.eye(d)[truth] + spread * rng.normal(size=(len(truth), d))
    order = rng.permutation(len(z))
    return (z / np.linalg.norm(z, axis=1, keepdims=True))[order], truth[order]


def one_set(z, **options):
    return cluster_sets(z, np.zeros(len(z), dtype=int), **options)


def same(one, other):
    return adjusted_rand_score(one, other) == 1


@pytest.mark.parametrize("options", METHODS, ids=str)
@pytest.mark.parametrize("n_clusters", ["silhouette", 4])
def test_clusters_that_are_plain_to_see_are_found(options, n_clusters):
    z, truth = blobs([5, 3, 4, 6])
    assert same(one_set(z, n_clusters=n_clusters, **options), truth)


def test_the_largest_gap_finds_clusters_that_are_plain_to_see():
    z, truth = blobs([5, 3, 4, 6])
    assert same(one_set(z, method="average", n_clusters="gap"), truth)


@pytest.mark.parametrize("options", EVERY, ids=str)
def test_sets_know_nothing_of_one_another(options):
    rng = np.random.default_rng(0)
    groups = rng.permutation(np.repeat([7, 3, 11, 4], [6, 9, 1, 2]))
    z = rng.normal(size=(len(groups), 5))
    labels = cluster_sets(z, groups, **options)
    for group in np.unique(groups):
        here = groups == group
        assert np.array_equal(labels[here], one_set(z[here], **options))


@pytest.mark.parametrize("options", EVERY, ids=str)
def test_nothing_is_random_and_nothing_is_drawn_from_the_global_generator(options):
    z = np.random.default_rng(0).normal(size=(12, 5))
    state = np.random.get_state()[1].copy()
    first = one_set(z, **options)
    assert np.array_equal(np.random.get_state()[1], state)
    np.random.rand()
    assert np.array_equal(one_set(z, **options), first)


@pytest.mark.parametrize("options", EVERY, ids=str)
def test_lengths_of_vectors_do_not_matter(options):
    rng = np.random.default_rng(1)
    z = rng.normal(size=(11, 4))
    longer = z * rng.uniform(0.1, 10, size=(11, 1))
    assert np.array_equal(one_set(z, **options), one_set(longer, **options))


@settings(max_examples=80, deadline=None)
@given(
    st.integers(1, 9).flatmap(
        lambda n: st.lists(
            st.lists(st.integers(-1, 1), min_size=3, max_size=3),
            min_size=n,
            max_size=n,
        )
    ),
    st.sampled_from(EVERY),
)
def test_whatever_the_set_labels_are_in_order_and_equal_vectors_share_one(z, options):
    labels = one_set(z, **options)
    seen = [label for i, label in enumerate(labels) if label not in labels[:i]]
    assert seen == list(range(len(seen)))
    unit = [tuple(np.round(np.divide(v, max(np.linalg.norm(v), 1)), 9)) for v in z]
    of = {}
    for vector, label in zip(unit, labels, strict=True):
        assert of.setdefault(vector, label) == label


@pytest.mark.parametrize("options", EVERY, ids=str)
def test_an_entity_alone_and_equal_entities_are_one_cluster(options):
    assert one_set([[3.0, 4.0]], **options).tolist() == [0]
    assert one_set([[1.0, 2.0]] * 5, **options).tolist() == [0] * 5
    assert one_set([[0.0, 0.0]] * 3, **options).tolist() == [0] * 3


@pytest.mark.parametrize("options", EVERY, ids=str)
def test_a_pair_that_differs_is_two_clusters_unless_one_is_asked_for(options):
    expected = [0, 0] if options["n_clusters"] == 1 else [0, 1]
    assert one_set([[1.0, 0.1], [1.0, 0.2]], **options).tolist() == expected


@pytest.mark.parametrize("options", METHODS, ids=str)
def test_a_number_of_clusters_is_rounded_and_kept_to_the_distinct_vectors(options):
    z, _ = blobs([5, 5, 5], spread=0.4)
    for wanted, found in ((1, 1), (2.49, 2), (2.5, 3), (3.5, 4), (15, 15), (1e9, 15)):
        assert len(set(one_set(z, n_clusters=wanted, **options))) == found
    twice = np.repeat(z[:4], 2, axis=0)
    assert one_set(twice, n_clusters=6, **options).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


@pytest.mark.parametrize("options", METHODS, ids=str)
def test_duplicates_that_differ_by_rounding_are_one_cluster(options):
    rng = np.random.default_rng(0)
    z = np.repeat(rng.normal(size=(2, 6)), 4, axis=0)
    z += 1e-15 * rng.normal(size=z.shape)
    assert one_set(z, **options).tolist() == [0, 0, 0, 0, 1, 1, 1, 1]


def test_a_set_whose_eigenvectors_coincide_gives_no_warning():
    z = [[-1, 1, 0], [0, 0, -1], [1, 1, 1], [0, 1, -1], [-1] * 3, [0, 0, -1]]
    labels = one_set([*z, [-1, 0, -1]], method="spectral", affinity="cosine")
    assert 1 < len(set(labels)) < 7 and labels[1] == labels[5]


@pytest.mark.parametrize("options", METHODS, ids=str)
def test_the_silhouette_may_choose_as_many_as_there_are_distinct_vectors(options):
    three_pairs = np.eye(4)[[0, 0, 1, 1, 2, 2]]
    assert one_set(three_pairs, **options).tolist() == [0, 0, 1, 1, 2, 2]
    # Three about one that is there twice, further from each other than from it.
    star = np.array([[1, 0, 0, 0], [1, 1, 0, 0], [1, 0, 1, 0], [1, 0, 0, 1]])
    assert one_set(star[[0, 1, 2, 3, 0]], **options).tolist() == [0, 1, 2, 3, 0]


def test_a_cut_that_comes_out_as_one_cluster_is_never_preferred(monkeypatch):
    def lumped(points, start):
        return np.zeros_like(start) if len(np.unique(start)) < 4 else start

    monkeypatch.setattr(set_baselines, "_kmeans", lumped)
    z, _ = blobs([5, 5])
    assert len(set(one_set(z))) >= 4


@pytest.mark.parametrize("seed", range(3))
def test_the_silhouette_decides_between_all_numbers_of_clusters(seed):
    """scikit-learn's average linkage and silhouette, one number after the other."""
    z, _ = blobs([4, 3, 5], spread=0.35, seed=seed)
    distance = np.clip(1 - z @ z.T, 0, None)
    np.fill_diagonal(distance, 0)
    cuts = {
        k: AgglomerativeClustering(
            k, metric="precomputed", linkage="average"
        ).fit_predict(distance)
        for k in range(2, len(z))
    }
    scores = {
        k: silhouette_score(distance, labels, metric="precomputed")
        for k, labels in cuts.items()
    }
    best = max(scores, key=scores.get)
    assert same(one_set(z, method="average"), cuts[best])
    for k, labels in cuts.items():
        assert same(one_set(z, method="average", n_clusters=k), labels)


def test_the_released_choice_of_one_cluster_less_than_entities_is_not_made():
    z, truth = blobs([6, 6])
    found = one_set(z, method="kmeans")
    assert len(set(found)) == 2 and same(found, truth)


def test_the_gap_is_between_the_heights_of_two_merges():
    # On a circle: 0, 10, 20 degrees, then 60, 70, then 180. Merges at small angles,
    # then two groups meet, and by far the highest is the last.
    angles = np.deg2rad([0, 10, 20, 60, 70, 180])
    z = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    found = one_set(z, method="average", n_clusters="gap")
    assert found.tolist() == [0, 0, 0, 0, 0, 1]
    near = one_set(z[:5], method="average", n_clusters="gap")
    assert near.tolist() == [0, 0, 0, 1, 1]


def test_kmeans_is_a_fixed_point_that_scikit_learn_does_not_leave():
    z = np.random.default_rng(0).normal(size=(40, 6))
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    labels = one_set(z, n_clusters=5)
    means = np.stack([z[labels == k].mean(axis=0) for k in range(5)])
    again = KMeans(5, init=means, n_init=1).fit(z)
    assert np.array_equal(again.labels_, labels)


def test_kmeans_from_wards_means_is_better_than_one_random_start():
    ours = theirs = 0.0
    for seed in range(8):
        z, _ = blobs([5, 5, 5, 5, 5], spread=0.35, seed=seed)
        labels = one_set(z, n_clusters=5)
        ours += sum(
            ((z[labels == k] - z[labels == k].mean(axis=0)) ** 2).sum()
            for k in range(5)
        )
        theirs += KMeans(5, n_init=1, random_state=0).fit(z).inertia_
    assert ours < theirs


@pytest.mark.parametrize("seed", range(3))
def test_spectral_clusters_are_those_of_scikit_learn(seed):
    z, _ = blobs([6, 5, 7], spread=0.15, seed=seed)
    theirs = SpectralClustering(3, gamma=1, random_state=0).fit_predict(z)
    assert same(one_set(z, method="spectral", n_clusters=3), theirs)
    cosine = (z @ z.T).clip(0)
    theirs = SpectralClustering(3, affinity="precomputed", random_state=0)
    ours = one_set(z, method="spectral", affinity="cosine", n_clusters=3)
    assert same(ours, theirs.fit_predict(cosine))


def test_a_graph_that_falls_apart_falls_into_its_parts():
    z = [[1, 0, 0], [0, 1, 0], [1, 0.1, 0], [0, 0, 1], [0.1, 1, 0], [0, 0.0, -1]]
    found = one_set(z, method="spectral", affinity="cosine", n_clusters=3)
    assert found[3] not in found[[0, 1, 2, 4]] and found[0] == found[2]


def test_the_affinity_is_what_spectral_cuts_and_nothing_else():
    z = np.random.default_rng(0).normal(size=(30, 8))
    spectral = [
        one_set(z, method="spectral", n_clusters=6, affinity=a)
        for a in ("rbf", "cosine")
    ]
    assert not np.array_equal(*spectral)
    kmeans = [one_set(z, n_clusters=6, affinity=a) for a in ("rbf", "cosine")]
    assert np.array_equal(*kmeans)


def test_single_precision_gives_the_same_clusters():
    z, _ = blobs([5, 3, 4, 6], spread=0.2)
    for options in EVERY:
        assert np.array_equal(
            one_set(z, **options), one_set(z.astype(np.float32), **options)
        )


def test_the_mean_number_of_clusters_counts_labels_within_sets():
    labels = ["a", "a", "b", "a", "c", "d", "e"]
    assert mean_n_clusters(labels, [0, 0, 0, 5, 5, 5, 5]) == 3.0
    assert mean_n_clusters(labels, [0, 0, 5, 5, 5, 5, 5]) == 3.0
    assert mean_n_clusters([4], [9]) == 1.0
    assert mean_n_clusters([-1, -1, 2], [0, 0, 0]) == 2.0


def test_the_better_of_silhouette_and_mean_number_is_chosen():
    sets = [blobs([4] * k, seed=k) for k in (2, 5)]
    z, truth = (np.concatenate(parts) for parts in zip(*sets, strict=True))
    groups = np.repeat([0, 1], [8, 20])
    chosen, scores = choose_n_clusters(z, groups, truth)
    assert chosen == "silhouette" and list(scores) == ["silhouette", 3.5]
    assert scores["silhouette"]["sum"] == pytest.approx(4)
    # Two clusters, each of two that lie close: the silhouette sees the two.
    rng = np.random.default_rng(0)
    truth, groups = np.tile(np.arange(4), 12), np.repeat([0, 1], 24)
    z = np.eye(8)[truth // 2] + 0.4 * np.eye(8)[4 + truth % 2]
    z += 0.1 * rng.normal(size=z.shape)
    for method in ("kmeans", "average"):
        chosen, scores = choose_n_clusters(
            z, groups, truth, candidates=[2, "silhouette", 4.0], method=method
        )
        assert chosen == 4.0
        assert scores[4.0]["sum"] > scores[2]["sum"] == scores["silhouette"]["sum"]


def test_candidates_are_scored_as_set_scores_does():
    rng = np.random.default_rng(0)
    z, groups = rng.normal(size=(30, 4)), np.repeat([5, 2, 9], 10)
    truth = rng.integers(3, size=30)
    _, scores = choose_n_clusters(
        z, groups, truth, candidates=["gap"], method="average"
    )
    labels = cluster_sets(z, groups, method="average", n_clusters="gap")
    expected = set_scores(truth.reshape(3, 10), labels.reshape(3, 10))
    assert expected == pytest.approx({name: scores["gap"][name] for name in expected})
    total = sum(expected[name] for name in ("nmi", "ami", "ri", "ari"))
    assert scores["gap"]["sum"] == pytest.approx(total)


def test_of_equal_candidates_the_first_is_chosen():
    z, truth = blobs([3, 3])
    for candidates in ([2, 2.2], [2.2, 2], ["silhouette", 2], [2, "silhouette"]):
        chosen, _ = choose_n_clusters(z, [0] * 6, truth, candidates=candidates)
        assert chosen == candidates[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "ward"}, "method must be one of .* got 'ward'"),
        ({"affinity": "dot"}, "affinity must be one of .* got 'dot'"),
        ({"n_clusters": "elbow"}, "n_clusters must be 'silhouette', .* got 'elbow'"),
        ({"n_clusters": 0}, "at least 1, got 0"),
        ({"n_clusters": float("nan")}, "got nan"),
        ({"n_clusters": float("inf")}, "got inf"),
        ({"n_clusters": True}, "got True"),
        ({"n_clusters": None}, "got None"),
        ({"n_clusters": "gap"}, "'gap' needs the tree of method='average'"),
    ],
    ids=str,
)
def test_unknown_choices_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        cluster_sets([[1.0, 0.0]], [0], **options)


@pytest.mark.parametrize(
    ("z", "groups", "message"),
    [
        ([1.0, 2.0], [0, 0], r"embeddings must be \(T, d\)"),
        (np.ones((2, 3)), [0], r"got shapes \(2, 3\) and \(1,\)"),
        (np.ones((0, 3)), [], "T at least 1"),
        ([[1.0, 2.0], [np.nan, 1.0]], [0, 1], "1 of 2 entities, the first at index 1"),
    ],
)
def test_what_is_no_embedding_of_sets_is_refused(z, groups, message):
    with pytest.raises(ValueError, match=message):
        cluster_sets(z, groups)


@pytest.mark.parametrize(
    ("labels", "groups"), [([0, 1], [0]), ([], []), ([[0]], [[0]])]
)
def test_labels_that_do_not_fit_the_sets_are_refused(labels, groups):
    with pytest.raises(ValueError, match="labels and groups must be one-dimensional"):
        mean_n_clusters(labels, groups)


def test_at_least_one_candidate_is_needed():
    with pytest.raises(ValueError, match="candidates must hold at least one"):
        choose_n_clusters([[1.0], [2.0]], [0, 0], [0, 1], candidates=[])


def test_of_equal_gaps_and_of_equal_silhouettes_the_one_with_fewest_clusters_counts():
    for n_clusters in ("gap", "silhouette"):
        labels = one_set(np.eye(4), method="average", n_clusters=n_clusters)
        assert len(set(labels)) == 2
