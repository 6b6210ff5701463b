"""Every number of clusters at once: Ward's tree of few rows or many, and its cuts."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.cluster import MiniBatchKMeans
from sklearn.utils import check_array, check_random_state

from ._average_link import (
    AverageLinks,
    average_link,
    best_threshold,
    link_similarities,
)
from ._tree import Tree
from ._ward import ward_merges

__all__ = [
    "AverageLinks",
    "Tree",
    "average_link",
    "best_threshold",
    "link_similarities",
    "ward_tree",
]

# Up to here Ward takes all rows. Its time grows with n²; at this size it is still less
# than that of mini-batch k-means to as many centres as below.
_EXACT = 15_000
# Clusters that more rows are brought down to: several for each that is ever cut.
_CENTRES = 1_000


def ward_tree(
    X: ArrayLike, *, linkage_size: int | None = None, random_state: Any = None
) -> Tree:
    r"""Merge rows by Ward's criterion, from single texts up to one cluster.

    Parameters
    ----------
    X : array-like of shape (n, d)
        Vectors of the texts.
    linkage_size : int, default=None
        Up to how many distinct rows Ward merges the rows themselves. Where there are
        more, mini-batch k-means first brings them down to this many clusters, which
        are never split. None: the rows themselves up to 15,000, and 1,000 clusters
        where there are more.
    random_state : int, RandomState instance or None, default=None
        Seed of mini-batch k-means. Ward itself draws nothing.

    Returns
    -------
    tree : Tree

    Raises
    ------
    ValueError
        If ``linkage_size`` is below 1 or X is not a finite array with two dimensions.

    Notes
    -----
    Equal rows are one leaf that weighs as many rows: at height 0 there is nothing to
    tell them apart. So identical texts are never in different clusters, and there
    are no more clusters than distinct rows.

    Time grows with :math:`n^2 d`, memory with :math:`n d`: distances are computed from
    means and sizes when they are needed.

    In the two-step form a leaf is the mean of its members, not the running average of
    k-means, and weighs as many rows as it has; empty clusters are left out. The
    released code of ClusterLLM feeds the running averages and squares distances
    twice, which is not Ward's criterion.

    References
    ----------
    .. [1] F. Murtagh and P. Contreras, "Algorithms for hierarchical clustering: an
       overview", WIREs Data Mining and Knowledge Discovery, 2012.

    Examples
    --------
    >>> import numpy as np
    >>> from skllm_cluster.hierarchy import ward_tree
    >>> tree = ward_tree(np.array([[0.0], [0.1], [5.0], [5.2], [9.0]]))
    >>> tree.cut(3)
    array([0, 0, 1, 1, 2])
    >>> tree.level([[0, 1], [2, 4], [0, 4]])
    array([4, 2, 1])
    """
    if linkage_size is not None and linkage_size < 1:
        raise ValueError(f"linkage_size must be at least 1, got {linkage_size}.")
    rows: NDArray[Any] = check_array(X, dtype=[np.float64, np.float32])
    leaf_of, first = _distinct(rows)
    if len(first) <= (linkage_size or _EXACT):
        points: NDArray[Any] = rows[first]
    else:
        leaf_of = _micro_clusters(rows, linkage_size or _CENTRES, random_state)
        points = _means(rows, leaf_of)
    return Tree(ward_merges(points, np.bincount(leaf_of)), leaf_of)


def _distinct(X: NDArray[Any]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Find the number of each row among the distinct ones, and where each is first.

    They are numbered as they appear. Rows are told apart by their bytes, so that -0.0
    must become 0.0 first.
    """
    number: dict[bytes, int] = {}
    codes = np.empty(len(X), dtype=np.intp)
    first: list[int] = []
    for i, row in enumerate(X):
        codes[i] = number.setdefault((row + 0.0).tobytes(), len(number))
        if len(number) > len(first):
            first.append(i)
    return codes, np.array(first, dtype=np.intp)


def _micro_clusters(X: NDArray[Any], size: int, random_state: Any) -> NDArray[np.intp]:
    """Cluster the rows by mini-batch k-means, numbered without a gap."""
    rng = check_random_state(random_state)
    model = MiniBatchKMeans(size, n_init=1, batch_size=4096, random_state=rng)
    # Centres that no row is closest to leave gaps.
    codes = np.unique(model.fit_predict(X), return_inverse=True)[1]
    return np.asarray(codes, dtype=np.intp)


def _means(X: NDArray[Any], codes: NDArray[np.intp]) -> NDArray[np.float64]:
    """Mean of each cluster's rows, shape (K, d), added up in float64."""
    order = np.argsort(codes, kind="stable")
    sizes = np.bincount(codes)
    stops = np.cumsum(sizes)
    rows = np.split(order, stops[:-1])
    return np.stack([X[group].mean(axis=0, dtype=np.float64) for group in rows])
