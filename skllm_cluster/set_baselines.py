"""Cluster sets by embeddings that know nothing of their sets, to compare with."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.cluster.hierarchy import linkage
from scipy.linalg import eigh
from scipy.sparse.csgraph import laplacian
from scipy.spatial.distance import squareform
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import silhouette_score

from .metrics import set_scores

__all__ = ["choose_n_clusters", "cluster_sets", "mean_n_clusters"]

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
NClusters = str | float

# Entities closer than this, in cosine distance, differ by rounding alone.
_SAME = 1e-12


def cluster_sets(
    embeddings: ArrayLike,
    groups: ArrayLike,
    *,
    method: str = "kmeans",
    n_clusters: NClusters = "silhouette",
    affinity: str = "rbf",
) -> Ints:
    r"""Cluster each set by itself, the number of clusters being found for each.

    Parameters
    ----------
    embeddings : array-like of shape (T, d)
        Of the entities of all sets. They need not be normalised. A zero vector is
        similar to other zero vectors alone.
    groups : array-like of int, shape (T,)
        Equal ints form one set, wherever they stand.
    method : {"kmeans", "spectral", "average"}, default="kmeans"
        k-means of the normalised vectors, normalised spectral clustering, or average
        linkage of cosine similarities.
    n_clusters : {"silhouette", "gap"} or float, default="silhouette"
        "silhouette": of 2 to N - 1 clusters, as many as have the largest mean
        silhouette in cosine distance. "gap", with "average" alone: the tree is cut
        where the heights of two successive merges are furthest apart, again into 2 to
        N - 1. A number, rounded (a half up): as many in each set, see
        :func:`mean_n_clusters`. Of equals, the fewest.
    affinity : {"rbf", "cosine"}, default="rbf"
        What "spectral" cuts: :math:`\exp(-\lVert z_i - z_j \rVert^2)` of normalised
        vectors, or their cosine, negative ones as 0.

    Returns
    -------
    labels : ndarray of int, shape (T,)
        In each set 0, 1, ... as they first appear.

    Raises
    ------
    ValueError
        If the two differ in length or are empty, an embedding is not finite, or one
        of the others is none of the above.

    See Also
    --------
    choose_n_clusters : Choose ``n_clusters`` by sets with known clusters.
    skllm_cluster.hierarchy.average_link : Cuts all sets at one similarity.

    Notes
    -----
    No set has more clusters than distinct vectors. So equal vectors are one cluster,
    and two that differ are two where the number is not given: neither silhouette nor
    gap says more of a pair. Spectral clustering may find fewer than it was asked for
    where a set is so regular that its eigenvectors do not tell entities apart.

    The released code of CACTUS scores k-means and spectral clusters by silhouette, as
    the paper says, but then returns those of N - 1 clusters whatever the scores were.
    It starts k-means once, by k-means++. Here the means of Ward's clusters are the
    start, so that nothing is random. On sets of utterances the sum of squares was on
    average 0.1 % above the least known, against 4 % after one start of k-means++ and
    1 % after the best of ten. A set's labels depend on no other set.

    "silhouette" scores a set of N entities N - 2 times, and "kmeans" and "spectral"
    also cluster it as often. Time grows with :math:`N^3` or faster: fit for sets of
    tens or hundreds.

    References
    ----------
    .. [1] P. J. Rousseeuw, "Silhouettes: a graphical aid to the interpretation and
       validation of cluster analysis", 1987.
    .. [2] U. von Luxburg, "A tutorial on spectral clustering", 2007.

    Examples
    --------
    >>> from skllm_cluster.set_baselines import cluster_sets
    >>> z = [[9, 1], [9, 0], [0, 9], [1, 9], [-5, -4], [1, 0], [0, 1]]
    >>> groups = [0, 0, 0, 0, 0, 1, 1]
    >>> cluster_sets(z, groups)
    array([0, 0, 1, 1, 2, 0, 1])
    >>> cluster_sets(z, groups, method="average", n_clusters=2)
    array([0, 0, 0, 0, 1, 0, 1])
    """
    _check_choices(method, n_clusters, affinity)
    sets = np.asarray(groups)
    z = _unit(embeddings, sets)
    labels = np.empty(len(z), dtype=np.intp)
    with warnings.catch_warnings():
        # Of fewer clusters than were asked for; the docstring says when.
        warnings.simplefilter("ignore", ConvergenceWarning)
        for rows in _rows(sets):
            labels[rows] = _cluster(z[rows], method, n_clusters, affinity)
    return labels


def mean_n_clusters(labels: ArrayLike, groups: ArrayLike) -> float:
    """Count the known clusters of each set, on average.

    Parameters
    ----------
    labels : array-like of shape (T,)
        Known labels, ints or strings. They need not differ between sets.
    groups : array-like of int, shape (T,)
        Equal ints form one set.

    Returns
    -------
    mean : float

    Raises
    ------
    ValueError
        If the two are not one-dimensional, differ in length or are empty.

    See Also
    --------
    cluster_sets : Takes it as ``n_clusters``.

    Examples
    --------
    >>> from skllm_cluster.set_baselines import mean_n_clusters
    >>> mean_n_clusters(["a", "b", "b", "a", "b", "c"], groups=[0, 0, 0, 1, 1, 1])
    2.5
    """
    known, sets = _check_labels(labels, groups)
    group, label = (np.unique(x, return_inverse=True)[1] for x in (sets, known))
    n_clusters = len(np.unique(np.stack([group, label]), axis=1).T)
    return n_clusters / (int(group.max()) + 1)


def choose_n_clusters(
    embeddings: ArrayLike,
    groups: ArrayLike,
    y_true: ArrayLike,
    *,
    candidates: Sequence[NClusters] | None = None,
    method: str = "kmeans",
    affinity: str = "rbf",
) -> tuple[NClusters, dict[NClusters, dict[str, float]]]:
    """Choose how numbers of clusters are found, by sets with known clusters.

    Parameters
    ----------
    embeddings : array-like of shape (T, d)
        Of the entities of all sets.
    groups : array-like of int, shape (T,)
        Equal ints form one set.
    y_true : array-like of shape (T,)
        Known labels, ints or strings.
    candidates : sequence of {"silhouette", "gap"} or float, default=None
        What to choose from. None: "silhouette", and the mean number of known clusters.
    method, affinity : str
        As for :func:`cluster_sets`.

    Returns
    -------
    n_clusters : str or float
        The candidate with the largest sum of NMI, AMI, RI and ARI, each a mean over the
        sets; the first of equals.
    scores : dict
        Of each candidate what :func:`~skllm_cluster.metrics.set_scores` gives, and
        ``"sum"``.

    Raises
    ------
    ValueError
        If the three differ in length, there is no candidate, or
        :func:`cluster_sets` takes no such.

    See Also
    --------
    skllm_cluster.hierarchy.best_threshold : The same choice of one threshold.

    Notes
    -----
    In the paper, "silhouette" competes with the mean number of clusters of training
    sets by its scores on validation sets. Give that number as a candidate, since a
    mean of the very sets that decide is favoured, if only slightly.

    Examples
    --------
    >>> from skllm_cluster.set_baselines import choose_n_clusters
    >>> z = [[9, 1], [9, 0], [0, 9], [1, 9], [-5, -4]]
    >>> n_clusters, scores = choose_n_clusters(
    ...     z, [0] * 5, [0, 0, 1, 1, 2], candidates=["silhouette", 2.4]
    ... )
    >>> n_clusters, round(scores[2.4]["ari"], 2)
    ('silhouette', 0.29)
    """
    known, sets = _check_labels(y_true, groups)
    options: list[NClusters] = ["silhouette", mean_n_clusters(known, sets)]
    if candidates is not None:
        options = list(candidates)
    if not options:
        raise ValueError("candidates must hold at least one, got none.")
    rows = _rows(sets)
    truth = [known[r] for r in rows]
    table = {}
    for option in options:
        labels = cluster_sets(
            embeddings, sets, method=method, n_clusters=option, affinity=affinity
        )
        scores = set_scores(truth, [labels[r] for r in rows])
        scores["sum"] = sum(scores[name] for name in ("nmi", "ami", "ri", "ari"))
        table[option] = scores
    return max(options, key=lambda option: table[option]["sum"]), table


def _cluster(z: Floats, method: str, n_clusters: NClusters, affinity: str) -> Ints:
    """Label the entities of one set, of unit vectors z (N, d)."""
    n = len(z)
    cosine = (z @ z.T).clip(-1, 1)  # (N, N)
    np.fill_diagonal(cosine, 1)
    zero = ~z.any(axis=1)
    cosine[np.ix_(zero, zero)] = 1
    distance = 1 - cosine
    first = (distance < _SAME).argmax(axis=1)  # of those equal to each
    most = len(np.unique(first))
    if isinstance(n_clusters, str):
        wanted = np.arange(2, min(most, n - 1) + 1)
        wanted = wanted if len(wanted) else np.array([most])
    else:
        wanted = np.array([min(int(n_clusters + 0.5), most)])
    if wanted[0] in (1, n):
        return np.arange(n) * int(wanted[0] > 1)
    if method == "average":
        tree = linkage(squareform(distance, checks=False), "average")
        cuts = _cut(tree, wanted)
    elif method == "kmeans":
        starts = _cut(linkage(z, "ward"), wanted)
        cuts = np.stack([_kmeans(z, start) for start in starts])
    else:
        cuts = _spectral(cosine, wanted, affinity)
    cuts = cuts[:, first]
    if n_clusters == "gap":
        # There are k clusters from the height of merge N - k to that of the next.
        scores = tree[n - wanted, 2] - tree[n - wanted - 1, 2]
    elif len(wanted) > 1:
        scores = [_silhouette(distance, cut) for cut in cuts]
    else:
        scores = [0]
    return _renumbered(cuts[np.argmax(scores)])


def _cut(tree: Floats, wanted: Ints) -> Ints:
    """Cut a tree of SciPy into each number of clusters; shape (K, N)."""
    n = len(tree) + 1
    node = np.arange(n)  # that each leaf is in
    cuts = np.empty((len(wanted), n), dtype=np.intp)
    for s, pair in enumerate(tree[:, :2]):
        node = np.where((node == pair[0]) | (node == pair[1]), n + s, node)
        cuts[wanted == n - 1 - s] = node
    return cuts


def _kmeans(points: Floats, start: Ints) -> Ints:
    """Run k-means from the means of given clusters."""
    member = start == np.unique(start)[:, None]  # (k, N)
    means = member @ points / member.sum(axis=1, keepdims=True)
    model = KMeans(len(means), init=means, n_init=1)
    return np.asarray(model.fit_predict(points), dtype=np.intp)


def _spectral(cosine: Floats, wanted: Ints, affinity: str) -> Ints:
    """Run k-means in the first k eigenvectors, as scikit-learn does; shape (K, N).

    One decomposition serves every k. It is dense, for sets are small, and so takes
    graphs that fall apart, too.
    """
    # The square of a distance of unit vectors is 2 - 2 cos.
    graph = np.exp(2 * cosine - 2) if affinity == "rbf" else cosine.clip(0)
    matrix: Any
    matrix, root = laplacian(graph, normed=True, return_diag=True)
    space: Floats = eigh(matrix)[1] / root[:, None]
    cuts = []
    for k in wanted:
        points = space[:, :k]
        start = _cut(linkage(points, "ward"), np.array([k]))[0]
        cuts.append(_kmeans(points, start))
    return np.stack(cuts)


def _silhouette(distance: Floats, labels: Ints) -> float:
    if not 1 < len(np.unique(labels)) < len(labels):
        return -1.0
    return float(silhouette_score(distance, labels, metric="precomputed"))


def _renumbered(labels: Ints) -> Ints:
    """Give clusters numbers as they first appear."""
    _, first, code = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[code]


def _rows(groups: NDArray[Any]) -> list[Ints]:
    """Where the entities of each set are."""
    _, group, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    return np.split(np.argsort(group, kind="stable"), np.cumsum(sizes)[:-1])


def _unit(embeddings: ArrayLike, groups: NDArray[Any]) -> Floats:
    """Check and normalise vectors."""
    z = np.asarray(embeddings, dtype=np.float64)
    if z.ndim != 2 or groups.shape != (len(z),) or not len(z):
        raise ValueError(
            "embeddings must be (T, d) and groups (T,), T at least 1, got shapes "
            f"{z.shape} and {groups.shape}."
        )
    finite = np.isfinite(z).all(axis=1)
    if not finite.all():
        raise ValueError(
            f"embeddings must be finite, got NaN or infinity for {(~finite).sum()} of "
            f"{len(z)} entities, the first at index {int(np.argmin(finite))}."
        )
    length = np.linalg.norm(z, axis=1, keepdims=True)
    return z / np.where(length > 0, length, 1)


def _check_labels(
    labels: ArrayLike, groups: ArrayLike
) -> tuple[NDArray[Any], NDArray[Any]]:
    known, sets = np.asarray(labels), np.asarray(groups)
    if known.ndim != 1 or known.shape != sets.shape or not len(known):
        raise ValueError(
            "labels and groups must be one-dimensional, of one length and not empty, "
            f"got shapes {known.shape} and {sets.shape}."
        )
    return known, sets


def _check_choices(method: str, n_clusters: NClusters, affinity: str) -> None:
    """Check what does not depend on the sets."""
    for name, value, allowed in (
        ("method", method, ("kmeans", "spectral", "average")),
        ("affinity", affinity, ("rbf", "cosine")),
    ):
        if value not in allowed:
            raise ValueError(f"{name} must be one of {allowed}, got {value!r}.")
    if n_clusters == "gap" and method != "average":
        raise ValueError(
            f"n_clusters='gap' needs the tree of method='average', got {method!r}."
        )
    if not _is_right(n_clusters):
        raise ValueError(
            "n_clusters must be 'silhouette', 'gap' or a number of at least 1, got "
            f"{n_clusters!r}."
        )


def _is_right(n_clusters: Any) -> bool:
    if isinstance(n_clusters, (str, bool)):
        return n_clusters in ("silhouette", "gap")
    return isinstance(n_clusters, Real) and 1 <= float(n_clusters) < np.inf
