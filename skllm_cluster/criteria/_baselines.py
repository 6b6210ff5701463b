"""Criteria that ask nothing: what the paper compares with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.cluster import KMeans
from sklearn.metrics import pairwise_distances, silhouette_score
from sklearn.utils import check_array, check_random_state

from ._score import Floats, Ints, Score, check_k_values

__all__ = ["bic", "cluster_size", "elbow", "silhouette", "x_means"]

Cut = Callable[[int], NDArray[Any]]


def silhouette(
    X: ArrayLike,
    cut: Cut,
    k_values: ArrayLike,
    *,
    sample_size: int = 5000,
    random_state: Any = None,
) -> Score:
    """Score each cut by its mean silhouette coefficient.

    Parameters
    ----------
    X : array-like of shape (n, d)
        Embeddings.
    cut : callable
        ``cut(k)`` gives the labels (n,) of k clusters.
    k_values : array-like of int, shape (K,)
        Numbers of clusters to choose from, rising.
    sample_size : int, default=5000
        Rows that are compared with one another, drawn if there are more: time and
        memory grow with its square.
    random_state : int, RandomState instance or None, default=None
        Draws the rows.

    Returns
    -------
    score : Score
        A cut whose drawn rows fall into one cluster, or into one each, scores -1.

    References
    ----------
    .. [1] Rousseeuw, "Silhouettes: a graphical aid to the interpretation and
       validation of cluster analysis", 1987.

    Examples
    --------
    >>> import numpy as np
    >>> from skllm_cluster.criteria import silhouette
    >>> X = np.repeat([[0.0], [5.0], [9.0]], 4, axis=0) + 0.1 * np.eye(12)[:, :1]
    >>> silhouette(X, lambda k: (X[:, 0] * k // 10).astype(int), [2, 3, 4]).best
    3
    """
    Z, k = _checked(X, k_values)
    rows = np.arange(len(Z))
    if len(Z) > sample_size:
        rows = check_random_state(random_state).permutation(len(Z))[:sample_size]
    distances = pairwise_distances(Z[rows])
    scores = np.empty(len(k))
    for i, n_clusters in enumerate(k):
        labels = cut(int(n_clusters))[rows]
        fair = 1 < len(np.unique(labels)) < len(rows)
        scores[i] = (
            silhouette_score(distances, labels, metric="precomputed") if fair else -1
        )
    return _best(k, scores)


def elbow(X: ArrayLike, cut: Cut, k_values: ArrayLike) -> Score:
    r"""Score each cut by how far its clustering error lies below the straight line.

    Parameters
    ----------
    X : array-like of shape (n, d)
        Embeddings.
    cut : callable
        ``cut(k)`` gives the labels (n,) of k clusters.
    k_values : array-like of int, shape (K,)
        Numbers of clusters to choose from, rising.

    Returns
    -------
    score : Score
        ``report["inertia"]`` is the sum of squares within clusters at each k.

    Notes
    -----
    Both axes are scaled to [0, 1] between the ends of the range, and the line joins
    the ends of the curve. The result therefore depends on the range.

    References
    ----------
    .. [1] Thorndike, "Who belongs in the family?", 1953.

    Examples
    --------
    >>> import numpy as np
    >>> from skllm_cluster.criteria import elbow
    >>> X = np.repeat([[0.0], [5.0], [9.0]], 4, axis=0)
    >>> elbow(X, lambda k: (X[:, 0] * k // 10).astype(int), [1, 2, 3, 4]).best
    2
    """
    Z, k = _checked(X, k_values)
    inertia = np.array([_inertia(Z, cut(int(n)))[0] for n in k])
    along = (k - k[0]) / max(k[-1] - k[0], 1)
    drop = inertia[0] - inertia[-1]
    below = (inertia[0] - inertia) / drop if drop > 0 else along
    return _best(k, below - along, inertia=inertia.tolist())


def bic(X: ArrayLike, cut: Cut, k_values: ArrayLike) -> Score:
    r"""Score each cut by the Bayesian information criterion of round clusters.

    Parameters
    ----------
    X : array-like of shape (n, d)
        Embeddings.
    cut : callable
        ``cut(k)`` gives the labels (n,) of k clusters.
    k_values : array-like of int, shape (K,)
        Numbers of clusters to choose from, rising.

    Returns
    -------
    score : Score
        Log-likelihood minus half the parameters times log n.

    Notes
    -----
    Clusters are Gaussians with one variance for all clusters and directions, as in
    X-means,

    .. math:: \ell = \sum_c n_c \log \frac{n_c}{n} - \frac{n d}{2} \log (2 \pi
        \hat\sigma^2) - \frac{d (n - k)}{2}, \qquad
        \hat\sigma^2 = \frac{\text{sum of squares within}}{d (n - k)},

    with k - 1 weights, k d coordinates and a variance to pay for. No k of n or more
    can be scored; it gets minus infinity.

    References
    ----------
    .. [1] Pelleg and Moore, "X-means: Extending K-means with Efficient Estimation of
       the Number of Clusters", ICML 2000.

    Examples
    --------
    >>> import numpy as np
    >>> from skllm_cluster.criteria import bic
    >>> rng = np.random.default_rng(0)
    >>> X = np.repeat([[0.0], [5.0], [9.0]], 20, axis=0) + rng.normal(0, 0.1, (60, 1))
    >>> bic(X, lambda k: (X[:, 0].clip(0, 9.9) * k // 10).astype(int), [2, 3, 4]).best
    3
    """
    Z, k = _checked(X, k_values)
    return _best(k, np.array([_bic(Z, cut(int(n))) for n in k]))


def cluster_size(X: ArrayLike, cut: Cut, k_values: ArrayLike) -> Score:
    r"""Count the clusters of the finest cut that are not small.

    Parameters
    ----------
    X : array-like of shape (n, d)
        Embeddings; only their number is used.
    cut : callable
        ``cut(k)`` gives the labels (n,) of k clusters.
    k_values : array-like of int, shape (K,)
        Numbers of clusters to choose from, rising.

    Returns
    -------
    score : Score
        Minus the distance of k to the count, ``report["count"]``.

    Notes
    -----
    Of the largest k, :math:`\sum_c [n_c \ge n / k]`: clusters below the mean size are
    held for fragments. The count grows with the largest k.

    References
    ----------
    .. [1] Zhang, Xu, Lin and Lyu, "Discovering New Intents with Deep Aligned
       Clustering", AAAI 2021.

    Examples
    --------
    >>> import numpy as np
    >>> from skllm_cluster.criteria import cluster_size
    >>> labels = np.array([0] * 5 + [1] * 5 + [2, 3])
    >>> cluster_size(np.zeros((12, 1)), lambda k: labels, [2, 3, 4]).best
    2
    """
    Z, k = _checked(X, k_values)
    sizes = np.bincount(np.unique(cut(int(k[-1])), return_inverse=True)[1])
    count = int((sizes >= len(Z) / k[-1]).sum())
    return _best(k, -np.abs(k - count).astype(float), count=count)


def x_means(
    X: ArrayLike,
    cut: Cut,
    k_values: ArrayLike,
    *,
    random_state: Any = None,
) -> Score:
    """Split clusters in two as long as the Bayesian information criterion gains.

    Parameters
    ----------
    X : array-like of shape (n, d)
        Embeddings.
    cut : callable
        ``cut(k)`` gives the labels (n,) of k clusters. Only the smallest k is cut:
        it is where the splitting starts.
    k_values : array-like of int, shape (K,)
        Numbers of clusters to choose from, rising.
    random_state : int, RandomState instance or None, default=None
        Starts the 2-means of every split.

    Returns
    -------
    score : Score
        Minus the distance of k to the number found, ``report["count"]``.

    Notes
    -----
    Each cluster is split by 2-means (scikit-learn's) if :func:`bic` of the two parts
    is above that of the whole, the largest cluster first, until none gains or there
    are as many clusters as the largest k. Centres are not improved across clusters
    between splits, as the original does.

    References
    ----------
    .. [1] Pelleg and Moore, "X-means: Extending K-means with Efficient Estimation of
       the Number of Clusters", ICML 2000.

    Examples
    --------
    >>> import numpy as np
    >>> from skllm_cluster.criteria import x_means
    >>> rng = np.random.default_rng(0)
    >>> X = np.repeat([[0.0], [5.0], [9.0]], 20, axis=0) + rng.normal(0, 0.1, (60, 1))
    >>> cut = lambda k: (X[:, 0] > 7).astype(int)
    >>> x_means(X, cut, [2, 3, 4, 5], random_state=0).best
    3
    """
    Z, k = _checked(X, k_values)
    rng = check_random_state(random_state)
    start = cut(int(k[0]))
    open_, n_done = [np.flatnonzero(start == label) for label in np.unique(start)], 0
    while open_ and len(open_) + n_done < k[-1]:
        rows = open_.pop(int(np.argmax([len(part) for part in open_])))
        halves = _halves(Z[rows], rng)
        if halves is None:
            n_done += 1
        else:
            open_ += [rows[halves], rows[~halves]]
    count = len(open_) + n_done
    return _best(k, -np.abs(k - count).astype(float), count=count)


def _checked(X: ArrayLike, k_values: ArrayLike) -> tuple[Floats, Ints]:
    Z: Floats = np.asarray(check_array(X))
    return Z, check_k_values(k_values)


def _halves(X: Floats, rng: np.random.RandomState) -> NDArray[np.bool_] | None:
    """Split rows in two, or return None if one cluster describes them as well."""
    if len(X) < 4 or not np.ptp(X, axis=0).any():
        return None
    labels = KMeans(2, n_init=1, random_state=rng).fit(X).labels_
    whole = np.zeros(len(X), int)
    return labels == 1 if _bic(X, labels) > _bic(X, whole) else None


def _inertia(X: Floats, labels: NDArray[Any]) -> tuple[float, Ints]:
    """Sum of squares within clusters, and their sizes."""
    inverse = np.unique(labels, return_inverse=True)[1]
    order = np.argsort(inverse, kind="stable")
    sizes = np.bincount(inverse)
    starts = np.append(0, sizes.cumsum()[:-1])
    centered = X - X.mean(axis=0, dtype=float)  # no loss of digits far from the origin
    sums = np.add.reduceat(centered[order], starts)  # (k, d)
    within = (centered**2).sum() - ((sums**2).sum(axis=1) / sizes).sum()
    return max(float(within), 0.0), sizes


def _bic(X: Floats, labels: NDArray[Any]) -> float:
    """Bayesian information criterion of round Gaussians, higher is better."""
    inertia, sizes = _inertia(X, labels)
    (n, d), k = X.shape, len(sizes)
    if k >= n:
        return -np.inf
    # Rows that are all at their centres would be infinitely likely.
    variance = max(inertia / (d * (n - k)), float(np.finfo(float).tiny))
    fit = (sizes * np.log(sizes / n)).sum() - d * (n - k) / 2
    fit -= n * d / 2 * np.log(2 * np.pi * variance)
    return float(fit - k * (d + 1) / 2 * np.log(n))


def _best(k: Ints, scores: Floats, **report: Any) -> Score:
    """Choose the highest score, of equal ones the fewest clusters."""
    return Score(scores, int(k[np.argmax(scores)]), None, report)
