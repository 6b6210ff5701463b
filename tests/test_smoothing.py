"""Averaging over neighbours against a slow loop, and a consensus of many runs."""

import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.metrics import adjusted_rand_score
from sklearn.utils.estimator_checks import check_estimator

from skllm_cluster import ClusterLLMClusterer
from skllm_cluster.smoothing import ConsensusKMeans, NeighborSmoother


def draw_points(n=40, d=3, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


def slow_smoothing(train, rows, n_neighbors):
    """The formula of the docstring, one row at a time."""

    def nearest(row):
        square = [((row - z) ** 2).sum() for z in train]
        return np.argsort(square, kind="stable")[:n_neighbors]

    once = [np.mean([train[j] for j in nearest(z)], axis=0) for z in train]
    return np.array([np.mean([once[j] for j in nearest(z)], axis=0) for z in rows])


@pytest.mark.parametrize("n_neighbors", [1, 2, 10])
def test_smoothing_equals_the_slow_loop_on_known_rows_and_new_ones(n_neighbors):
    train, new = draw_points(), draw_points(15, seed=1)
    smoother = NeighborSmoother(n_neighbors).fit(train)
    for rows in (train, new):
        np.testing.assert_allclose(
            smoother.transform(rows), slow_smoothing(train, rows, n_neighbors)
        )


def test_training_rows_are_smoothed_alike_by_fit_transform_and_transform():
    train = draw_points()
    smoother = NeighborSmoother(5)
    smoothed = smoother.fit_transform(train)
    np.testing.assert_array_equal(smoother.transform(train), smoothed)
    np.testing.assert_array_equal(smoother.transform(train[[7, 3]]), smoothed[[7, 3]])


def test_one_neighbor_changes_nothing():
    train = draw_points()
    np.testing.assert_array_equal(NeighborSmoother(1).fit_transform(train), train)


def test_as_many_neighbors_as_rows_or_more_give_the_mean():
    train = draw_points()
    for n_neighbors in (40, 1000):
        smoothed = NeighborSmoother(n_neighbors).fit_transform(train)
        expected = np.broadcast_to(train.mean(axis=0), train.shape)
        np.testing.assert_allclose(smoothed, expected)


def test_order_of_the_rows_does_not_matter():
    train = draw_points()
    order = np.random.default_rng(0).permutation(len(train))
    smoothed = NeighborSmoother(4).fit_transform(train)
    turned = NeighborSmoother(4).fit_transform(train[order])
    np.testing.assert_allclose(turned, smoothed[order])


def test_shifted_and_scaled_rows_are_smoothed_alike():
    train = draw_points()
    expected = 3 * NeighborSmoother(4).fit_transform(train) + 5
    np.testing.assert_allclose(
        NeighborSmoother(4).fit_transform(3 * train + 5), expected
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_precision_is_kept_and_the_rows_are_not_changed(dtype):
    train = draw_points().astype(dtype)
    kept = train.copy()
    assert NeighborSmoother().fit_transform(train).dtype == dtype
    np.testing.assert_array_equal(train, kept)


def test_groups_become_tighter():
    centers = np.repeat([[0.0, 0.0], [9.0, 9.0]], 30, axis=0)
    smoothed = NeighborSmoother(10).fit_transform(centers + draw_points(60, 2))
    spread = np.linalg.norm(smoothed - centers, axis=1)
    assert spread.mean() < 0.7 * np.linalg.norm(draw_points(60, 2), axis=1).mean()


@pytest.mark.parametrize("n_neighbors", [0, -3])
def test_fewer_than_one_neighbor_is_refused(n_neighbors):
    with pytest.raises(ValueError, match=f"at least 1, got {n_neighbors}"):
        NeighborSmoother(n_neighbors).fit(draw_points())


def test_rows_of_another_width_and_rows_before_fit_are_refused():
    smoother = NeighborSmoother().fit(draw_points())
    with pytest.raises(ValueError, match=r"2 features.*expecting 3"):
        smoother.transform(draw_points(d=2))
    with pytest.raises(NotFittedError):
        clone(smoother).transform(draw_points())


def passes_the_checks(estimator, at_least):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(estimator, on_fail=None, on_skip=None)
    failed = {
        r["check_name"]: r["exception"] for r in results if r["status"] == "failed"
    }
    assert failed == {}
    assert len(results) >= at_least


def test_smoother_is_a_transformer_of_scikit_learn():
    passes_the_checks(NeighborSmoother(), 40)


def draw_topics(n_topics=30, size=25, d=40, seed=0):
    """Vectors of length one around as many centres, and the topic of each."""
    rng = np.random.default_rng(seed)
    topics = np.repeat(np.arange(n_topics), size)
    z = rng.normal(size=(n_topics, d))[topics]
    z += 0.7 * rng.normal(size=(len(topics), d))
    return z / np.linalg.norm(z, axis=1, keepdims=True), topics


def means_of(rows, labels):
    return np.stack([rows[labels == c].mean(axis=0) for c in np.unique(labels)])


@pytest.mark.parametrize("seed", range(2))
def test_consensus_is_closer_to_the_topics_than_single_runs_are(seed):
    rows, topics = draw_topics(30, 12, seed=seed)
    model = ConsensusKMeans(30, random_state=seed).fit(rows)
    runs = [KMeans(30, n_init=1, random_state=s).fit(rows).labels_ for s in range(6)]
    single = np.mean([adjusted_rand_score(topics, run) for run in runs])
    assert adjusted_rand_score(topics, model.labels_) > single + 0.02


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_labels_are_the_nearest_of_the_centres(dtype):
    rows = draw_topics(12)[0].astype(dtype)
    model = ConsensusKMeans(12, random_state=0)
    labels = model.fit_predict(rows)
    far = ((rows[:, None] - model.cluster_centers_) ** 2).sum(axis=2)
    np.testing.assert_array_equal(labels, far.argmin(axis=1))
    np.testing.assert_array_equal(model.predict(rows[::3]), labels[::3])
    np.testing.assert_array_equal(model.predict(model.cluster_centers_), np.arange(12))
    assert model.cluster_centers_.dtype == dtype


def test_centres_are_means_where_the_topics_are_plain():
    rows, topics = draw_topics(12)
    model = ConsensusKMeans(12, random_state=0).fit(rows)
    assert adjusted_rand_score(topics, model.labels_) == 1
    np.testing.assert_allclose(
        model.cluster_centers_, means_of(rows, model.labels_), atol=1e-12
    )


@pytest.mark.parametrize("shift", [0.0, 5.0])
def test_shifted_and_scaled_rows_are_clustered_alike(shift):
    rows, _ = draw_topics(12)
    model = ConsensusKMeans(12, random_state=0)
    labels = model.fit_predict(rows)
    moved = model.fit_predict(3 * rows + shift)
    assert adjusted_rand_score(labels, moved) == pytest.approx(1)


def test_same_seed_gives_the_same_centres_and_rows_are_not_changed():
    rows = draw_points(80)
    kept = rows.copy()
    model = ConsensusKMeans(7, random_state=3)
    first = model.fit(rows).cluster_centers_
    np.testing.assert_array_equal(model.fit(rows).cluster_centers_, first)
    other = clone(model).set_params(random_state=4).fit(rows).cluster_centers_
    assert not np.array_equal(np.sort(other, axis=None), np.sort(first, axis=None))
    np.testing.assert_array_equal(rows, kept)


def test_runs_on_a_draw_of_the_rows_serve_all_of_them():
    rows, topics = draw_topics(12, size=100)
    model = ConsensusKMeans(12, max_rows=300, random_state=0).fit(rows)
    assert model.labels_.shape == (1200,)
    assert adjusted_rand_score(topics, model.labels_) == 1
    np.testing.assert_allclose(
        model.cluster_centers_, means_of(rows, model.labels_), atol=1e-12
    )


def test_fewer_distinct_rows_than_clusters_give_so_many_clusters_and_a_warning():
    rows = np.repeat(draw_points(3), 8, axis=0)
    with pytest.warns(ConvergenceWarning, match="distinct clusters") as caught:
        model = ConsensusKMeans(5, n_neighbors=3, random_state=0).fit(rows)
    assert len(caught) == 1
    assert model.cluster_centers_.shape == (3, 3)
    assert adjusted_rand_score(np.repeat(range(3), 8), model.labels_) == 1


def test_as_many_clusters_as_rows_leave_each_row_alone():
    """Ten neighbours of twelve make smoothed rows alike, which is nobody's concern."""
    rows = draw_points(12)
    model = ConsensusKMeans(12, random_state=0).fit(rows)
    assert sorted(model.labels_) == list(range(12))


def test_one_cluster_is_the_mean():
    rows = draw_points()
    model = ConsensusKMeans(1, random_state=0).fit(rows)
    np.testing.assert_allclose(model.cluster_centers_, [rows.mean(axis=0)])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_clusters": 0}, "n_clusters must be at least 1, got 0"),
        ({"n_runs": -1}, "n_runs must be at least 1, got -1"),
        ({"n_neighbors": 0}, "n_neighbors must be at least 1, got 0"),
        ({"max_rows": 0}, "max_rows must be at least 1, got 0"),
        ({"n_clusters": 41}, "n_clusters=41 needs at least as many rows, got 40"),
        (
            {"n_clusters": 9, "max_rows": 8},
            "n_clusters=9 needs at least as many max_rows, got 8",
        ),
    ],
)
def test_impossible_numbers_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        ConsensusKMeans(**settings).fit(draw_points())


def test_predict_before_fit_is_refused():
    with pytest.raises(NotFittedError):
        ConsensusKMeans().predict(draw_points())


def test_consensus_is_a_clusterer_of_scikit_learn():
    passes_the_checks(ConsensusKMeans(3), 40)


def test_estimator_takes_the_consensus_as_its_clusterer():
    rows, topics = draw_topics(12)
    model = ClusterLLMClusterer(
        n_clusters=12, clusterer=ConsensusKMeans(), random_state=0
    ).fit(rows)
    assert adjusted_rand_score(topics, model.labels_) == 1
    np.testing.assert_array_equal(model.predict(rows), model.labels_)
