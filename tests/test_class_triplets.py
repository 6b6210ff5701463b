"""Answered triplets out of known classes."""

import numpy as np
import pytest

from skllm_cluster.adaptation import MetricHead
from skllm_cluster.sampling import triplets_from_classes


def blobs(n_classes=6, size=20, d=16, seed=0):
    """Classes along a line of directions: class k is nearest to k - 1 and k + 1."""
    rng = np.random.default_rng(seed)
    angle = np.repeat(np.arange(n_classes) * 0.4, size)
    z = np.zeros((len(angle), d))
    z[:, 0], z[:, 1] = np.cos(angle), np.sin(angle)
    z += 0.05 * rng.normal(size=z.shape)
    return z, np.repeat(np.arange(n_classes), size)


@pytest.mark.parametrize("names", [int, str, float])
def test_the_first_choice_shares_the_class_of_the_anchor_and_the_second_does_not(names):
    z, labels = blobs()
    given = np.array([names(c) for c in labels])
    triplets = triplets_from_classes(given, z, n_triplets=500, random_state=0)
    assert triplets.shape == (500, 3)
    anchor, same, other = labels[triplets.T]
    assert (anchor == same).all()
    assert (anchor != other).all()
    assert (triplets[:, 0] != triplets[:, 1]).all()
    assert len(np.unique(triplets, axis=0)) == 500


def test_negatives_are_of_the_three_nearest_classes():
    z, labels = blobs(n_classes=8)
    triplets = triplets_from_classes(labels, z, n_triplets=800, random_state=0)
    anchor, _, other = labels[triplets.T]
    assert {0: {1, 2, 3}, 7: {4, 5, 6}} == {
        c: set(other[anchor == c].tolist()) for c in (0, 7)
    }
    middle = set(other[anchor == 4].tolist())
    assert {3, 5} < middle <= {2, 3, 5, 6}


def test_every_row_serves_as_anchor_about_equally_often():
    z, labels = blobs()
    triplets = triplets_from_classes(labels, z, n_triplets=360, random_state=0)
    counts = np.bincount(triplets[:, 0], minlength=120)
    assert counts.min() >= 2
    assert counts.max() <= 5


def test_unlabelled_rows_and_rows_alone_in_their_class():
    z, labels = blobs()
    given = labels.astype(object)
    given[:5], given[5:8], given[8:10] = -1, None, float("nan")
    given[20:40] = "alone"
    given[20:39] = -1
    triplets = triplets_from_classes(given, z, n_triplets=400, random_state=0)
    assert not np.isin(triplets, np.r_[:10, 20:39]).any()
    # A class of one row has no pair, but others may be told from it.
    assert not (triplets[:, :2] == 39).any()
    assert (triplets[:, 2] == 39).any()


def test_labels_may_be_of_some_rows():
    z, labels = blobs()
    rows = np.random.default_rng(0).permutation(120)[:60]
    some = triplets_from_classes(
        labels[rows].tolist(), z, rows, n_triplets=100, random_state=0
    )
    assert set(some.ravel().tolist()) <= set(rows.tolist())
    anchor, same, other = labels[some.T]
    assert ((anchor == same) & (anchor != other)).all()


def test_equal_seeds_draw_alike_and_others_otherwise():
    z, labels = blobs()

    def draw(seed):
        return triplets_from_classes(labels, z, n_triplets=50, random_state=seed)

    np.testing.assert_array_equal(draw(0), draw(0))
    assert (draw(0) != draw(1)).any()


def test_fewer_triplets_than_wanted_are_told():
    z = np.random.default_rng(0).normal(size=(4, 3))
    with pytest.warns(UserWarning, match="Only 8 distinct triplets were found"):
        triplets = triplets_from_classes(
            [0, 0, 1, 1], z, n_triplets=1000, random_state=0
        )
    assert len(triplets) == 8


@pytest.mark.parametrize(
    ("labels", "settings", "message"),
    [
        ([0, 0, 0, 0], {}, "got 1 classes of 4 labelled rows"),
        ([0, 1, 2, 3], {}, "got 4 classes of 4 labelled rows"),
        ([-1, -1, -1, -1], {}, "got 0 classes of 0 labelled rows"),
        ([0, 1, 0], {}, "one for each of 4 rows, got 3"),
        ([0, 1, 0], {"rows": [0, 1]}, "one for each of 2 rows, got 3"),
        ([0], {"rows": [[0]]}, "one for each of"),
        ([0, 0, 1, 1], {"n_triplets": 0}, "n_triplets must be at least 1, got 0"),
    ],
)
def test_what_gives_no_triplet_is_refused(labels, settings, message):
    z = np.random.default_rng(0).normal(size=(4, 3))
    with pytest.raises(ValueError, match=message):
        triplets_from_classes(labels, z, **settings)


def test_zero_vectors_do_no_harm():
    z, labels = blobs()
    z[:20] = 0
    triplets = triplets_from_classes(labels, z, n_triplets=50, random_state=0)
    assert len(triplets) == 50


def test_a_head_learns_classes_from_them():
    z, labels = blobs(seed=1)
    rng = np.random.default_rng(1)
    noisy = np.concatenate([z, rng.normal(size=z.shape)], axis=1)  # most says nothing
    triplets = triplets_from_classes(labels, noisy, n_triplets=600, random_state=0)
    learnt = MetricHead().fit_map(noisy, triplets, random_state=0)
    after = learnt.transform(noisy)

    def share(vectors):
        vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        closeness = vectors @ vectors.T
        np.fill_diagonal(closeness, -1)
        return np.mean(labels[closeness.argmax(axis=1)] == labels)

    assert share(after) > share(noisy) + 0.1
