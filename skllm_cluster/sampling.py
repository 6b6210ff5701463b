"""Which questions are worth asking: triplets for the perspective, pairs for k."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.cluster import AgglomerativeClustering, MiniBatchKMeans
from sklearn.utils import check_array, check_random_state

from ._drawing import (
    Members,
    draw_triplets,
    random_sides,
    triplets_from_classes,
)
from ._pairs import level_pairs, merge_pairs, pair_weights

__all__ = [
    "ambiguity",
    "entropy_triplets",
    "level_pairs",
    "merge_pairs",
    "pair_weights",
    "precluster",
    "random_triplets",
    "triplets_from_classes",
]

# Ward's linkage holds n^2 / 2 distances of 8 bytes: 400 MB at this size.
WARD_LIMIT = 10_000
# Rows for which distances to all centres are held at once.
_BLOCK = 4096


def entropy_triplets(
    embeddings: ArrayLike,
    n_triplets: int = 1024,
    *,
    labels: ArrayLike | None = None,
    n_clusters: int = 100,
    distance_threshold: float | None = None,
    closest: float = 0.02,
    interval: tuple[float, float] = (0.0, 0.2),
    order: str = "shuffled",
    random_state: Any = None,
) -> NDArray[np.intp]:
    """Ask about the texts that lie between clusters (ClusterLLM, Algorithm 1).

    Parameters
    ----------
    embeddings : array-like of shape (n, d)
        Vectors of the texts.
    n_triplets : int, default=1024
        Q, how many triplets are wanted.
    labels : array-like of int, shape (n,), default=None
        A clustering of the rows. None: :func:`precluster` makes one.
    n_clusters : int, default=100
        Passed to :func:`precluster`.
    distance_threshold : float, default=None
        Passed to :func:`precluster`.
    closest : float, default=0.02
        ε of Eq. 3: the share of the clusters that counts as close to a text, never
        fewer than two.
    interval : (float, float), default=(0.0, 0.2)
        γ_high and γ_low: which part of the texts, ordered by falling entropy, may be
        anchors.
    order : {"shuffled", "entropy"}, default="shuffled"
        In which order anchors are visited. It matters only where fewer triplets than
        anchors are wanted. The paper goes by entropy, its released code shuffles;
        the most ambiguous texts alone are often outliers.
    random_state : int, RandomState instance or None, default=None
        Determines the draws.

    Returns
    -------
    triplets : ndarray of int, shape (Q, 3)
        Rows (anchor, choice 1, choice 2), no two alike. The two choices come from
        two different clusters close to the anchor, in random order.

    Raises
    ------
    ValueError
        If there are fewer than three rows or fewer than two clusters, as when all
        vectors are equal.

    Warns
    -----
    UserWarning
        If fewer distinct triplets exist than were asked for. All are then returned.

    See Also
    --------
    random_triplets : The control of the paper.

    Notes
    -----
    Rows are standardised first, a column at a time, and only here. (a, b, c) and
    (a, c, b) are one question; the released code asks both, and never ends if too few
    triplets exist.

    Examples
    --------
    >>> import numpy as np
    >>> from skllm_cluster.sampling import entropy_triplets
    >>> points = np.random.default_rng(0).normal(size=(60, 2))
    >>> entropy_triplets(points, 5, n_clusters=6, random_state=0).shape
    (5, 3)
    """
    X, rng = _check_rows(embeddings, n_triplets, random_state)
    if order not in ("shuffled", "entropy"):
        raise ValueError(f"order must be 'shuffled' or 'entropy', got {order!r}.")
    high, low = interval
    if not 0 <= high < low <= 1:
        raise ValueError(
            f"interval must be (high, low) with 0 <= high < low <= 1, got {interval}."
        )
    X = _standardise(X)
    if not X.any():
        raise ValueError("No text lies between others. Are all vectors equal?")
    if labels is None:
        labels = _cluster(X, n_clusters, distance_threshold, rng)
    # Labels may leave out numbers (an empty k-means cluster): renumber them.
    _, codes = np.unique(np.asarray(labels), return_inverse=True)
    entropy, near = ambiguity(X, codes, closest=closest)
    ranked = np.argsort(-entropy, kind="stable")
    n = len(X)
    anchors = ranked[int(n * high) : max(int(n * low), int(n * high) + 1)]
    if order == "shuffled":
        rng.shuffle(anchors)
    members = Members(codes)
    triplets = draw_triplets(anchors, near, members, n_triplets, rng)
    return random_sides(triplets, rng)


def random_triplets(
    embeddings: ArrayLike, n_triplets: int = 1024, *, random_state: Any = None
) -> NDArray[np.intp]:
    """Draw three distinct rows uniformly, the control of the paper.

    Parameters
    ----------
    embeddings : array-like of shape (n, d)
        Only their number matters.
    n_triplets : int, default=1024
        Q, how many triplets are wanted.
    random_state : int, RandomState instance or None, default=None
        Determines the draws.

    Returns
    -------
    triplets : ndarray of int, shape (Q, 3)
        Rows (anchor, choice 1, choice 2), no two alike.

    Raises
    ------
    ValueError
        If there are fewer than three rows.

    Warns
    -----
    UserWarning
        If fewer distinct triplets exist than were asked for. All are then returned.

    Examples
    --------
    >>> import numpy as np
    >>> from skllm_cluster.sampling import random_triplets
    >>> random_triplets(np.zeros((10, 2)), 4, random_state=0).shape
    (4, 3)
    """
    X, rng = _check_rows(embeddings, n_triplets, random_state)
    n = len(X)
    anchors = np.arange(n)
    # One cluster a row makes every pair of other rows a pair of close clusters.
    near = np.broadcast_to(np.arange(n), (n, n))
    triplets = draw_triplets(
        anchors, near, Members(np.arange(n)), n_triplets, rng, anchors_at_random=True
    )
    return random_sides(triplets, rng)


def precluster(
    embeddings: ArrayLike,
    *,
    n_clusters: int = 100,
    distance_threshold: float | None = None,
    random_state: Any = None,
) -> NDArray[np.intp]:
    """Cluster standardised rows, to find out which texts are ambiguous.

    Parameters
    ----------
    embeddings : array-like of shape (n, d)
        Vectors of the texts.
    n_clusters : int, default=100
        Clusters to make, but at most one for ten rows (and at least two).
    distance_threshold : float, default=None
        Ward height at which merging stops, in place of ``n_clusters``: 67 and 77 are
        the paper's values for Instructor-large and E5-large at about 3,000 texts.
    random_state : int, RandomState instance or None, default=None
        Seed of mini-batch k-means.

    Returns
    -------
    labels : ndarray of int, shape (n,)

    Notes
    -----
    Ward's linkage up to 10,000 rows, mini-batch k-means above, since Ward's memory
    grows with n².

    The paper stops Ward at a height that it set for each model. Such a height is tied
    to the model and to the corpus: the norm of a standardised vector grows with √d,
    the height of a merge with the root of the cluster sizes, so that the same 67 gives
    73 clusters of 3,080 Banking77 texts and 198 of 10,003. The number of clusters
    itself has no scale. 100 is what the paper asks of mini-batch k-means.

    Examples
    --------
    >>> import numpy as np
    >>> from skllm_cluster.sampling import precluster
    >>> points = np.random.default_rng(0).normal(size=(60, 2))
    >>> len(np.unique(precluster(points)))
    6
    """
    X = _standardise(check_array(embeddings, dtype=[np.float32, np.float64]))
    return _cluster(X, n_clusters, distance_threshold, check_random_state(random_state))


def _cluster(
    X: NDArray[Any],
    n_clusters: int,
    distance_threshold: float | None,
    rng: np.random.RandomState,
) -> NDArray[np.intp]:
    if n_clusters < 2:
        raise ValueError(f"n_clusters must be at least 2, got {n_clusters}.")
    wanted = min(n_clusters, max(2, len(X) // 10))
    if len(X) > WARD_LIMIT:
        model = MiniBatchKMeans(wanted, n_init=1, batch_size=4096, random_state=rng)
    elif distance_threshold is not None:
        model = AgglomerativeClustering(None, distance_threshold=distance_threshold)
    else:
        model = AgglomerativeClustering(wanted)
    labels: NDArray[np.intp] = model.fit_predict(X)
    return labels


def ambiguity(
    embeddings: NDArray[Any], labels: ArrayLike, *, closest: float = 0.02
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    r"""Measure how undecided each row is between its closest clusters (Eq. 2-4).

    Parameters
    ----------
    embeddings : ndarray of shape (n, d)
        Standardised vectors.
    labels : array-like of int, shape (n,)
        Cluster of each row, numbered 0 to K - 1 without a gap.
    closest : float, default=0.02
        ε of Eq. 3.

    Returns
    -------
    entropy : ndarray of shape (n,)
        In nats, between 0 and the logarithm of the number of close clusters.
    near : ndarray of int, shape (n, max(εK, 2))
        The clusters closest to each row, the closest first.

    Raises
    ------
    ValueError
        If there are fewer than two clusters.

    Notes
    -----
    Soft assignments are those of Student's t with one degree of freedom (Eq. 2),

    .. math:: p_{ik} \propto 1 / (1 + \lVert z_i - \mu_k \rVert^2),

    and :math:`h_i = -\sum p'_{ik} \log p'_{ik}` runs over the closest clusters alone,
    to which :math:`p'` is renormalised (Eq. 4). εK is rounded, half to even, as the
    released code does; the paper leaves it fractional.

    Examples
    --------
    >>> import numpy as np
    >>> from skllm_cluster.sampling import ambiguity
    >>> z = np.array([[0.0], [1.0], [2.0], [8.0], [9.0]])
    >>> entropy, near = ambiguity(z, [0, 0, 0, 1, 1])
    >>> int(entropy.argmax()), near[0].tolist()
    (2, [0, 1])
    """
    X, codes = np.asarray(embeddings), np.asarray(labels)
    n_clusters = int(codes.max()) + 1
    if n_clusters < 2:
        raise ValueError(
            "Triplets need at least 2 clusters to choose from, got 1. Are all vectors "
            "equal, or is distance_threshold too high?"
        )
    centroids = _centroids(X, codes, n_clusters)  # (K, d)
    n_near = min(max(2, round(closest * n_clusters)), n_clusters)
    entropy = np.empty(len(X))
    near = np.empty((len(X), n_near), dtype=np.intp)
    own = np.einsum("kd,kd->k", centroids, centroids)
    for start in range(0, len(X), _BLOCK):
        block = X[start : start + _BLOCK]
        square = own - 2 * (block @ centroids.T)  # (block, K), less |z|²
        chosen = np.argpartition(square, n_near - 1, axis=1)[:, :n_near]
        kept = np.take_along_axis(square, chosen, axis=1)
        inner = np.argsort(kept, axis=1, kind="stable")
        chosen = np.take_along_axis(chosen, inner, axis=1)
        # |z|² is added in float64, for the few that are kept.
        length = np.einsum("nd,nd->n", block, block, dtype=np.float64)
        kept = np.take_along_axis(kept, inner, axis=1) + length[:, None]
        p = 1 / (1 + np.maximum(kept, 0))
        p /= p.sum(axis=1, keepdims=True)
        entropy[start : start + _BLOCK] = -(p * np.log(p)).sum(axis=1)
        near[start : start + _BLOCK] = chosen
    return entropy, near


def _standardise(X: NDArray[Any]) -> NDArray[Any]:
    """Give each column zero mean and unit variance; a constant one becomes zero."""
    mean = X.mean(axis=0, dtype=np.float64)
    spread = X.std(axis=0, dtype=np.float64)
    # Below this a column's spread is rounding error about its mean.
    constant = spread <= 10 * np.finfo(X.dtype).eps * np.sqrt(len(X)) * np.abs(mean)
    factor = np.where(constant, 0.0, 1 / np.where(constant, 1.0, spread))
    centred: NDArray[Any] = X - mean.astype(X.dtype)
    centred *= factor.astype(X.dtype)
    return centred


def _centroids(
    X: NDArray[Any], codes: NDArray[np.intp], n_clusters: int
) -> NDArray[Any]:
    """Mean of each cluster's rows, shape (K, d)."""
    from scipy.sparse import csr_array

    n = len(X)
    member = csr_array((np.ones(n, X.dtype), (codes, np.arange(n))), (n_clusters, n))
    sizes = np.bincount(codes, minlength=n_clusters)
    sums: NDArray[Any] = member @ X
    return np.asarray(sums / sizes[:, None].astype(X.dtype))


def _check_rows(
    embeddings: ArrayLike, n_triplets: int, random_state: Any
) -> tuple[NDArray[Any], np.random.RandomState]:
    X = check_array(embeddings, dtype=[np.float32, np.float64])
    if len(X) < 3:
        raise ValueError(f"Triplets need at least 3 texts, got {len(X)}.")
    if n_triplets < 1:
        raise ValueError(f"n_triplets must be at least 1, got {n_triplets}.")
    return X, check_random_state(random_state)
