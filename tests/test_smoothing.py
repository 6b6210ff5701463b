"""Averaging over neighbours, against a slow loop."""

import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.estimator_checks import check_estimator

from skllm_cluster.smoothing import NeighborSmoother


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


def test_smoother_is_a_transformer_of_scikit_learn():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(NeighborSmoother(), on_fail=None, on_skip=None)
    failed = {
        r["check_name"]: r["exception"] for r in results if r["status"] == "failed"
    }
    assert failed == {}
    assert len(results) >= 40
