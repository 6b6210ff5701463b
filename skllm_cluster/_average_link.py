"""Average linkage of many small sets at once, cut at many thresholds at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._average import average_merges
from .metrics import set_scores

__all__ = ["AverageLinks", "average_link", "best_threshold", "link_similarities"]

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

# Similarities that are worked on at a time: a megabyte, to stay in cache.
_BLOCK = 3 * 2**16
# -1, -0.9, ..., 1, each the closest float to its decimal.
_THRESHOLDS = np.arange(-10, 11) / 10


@dataclass(frozen=True)
class _Batch:
    """Sets of N entities each.

    Attributes
    ----------
    sets : ndarray of int, shape (B,)
    rows : ndarray of int, shape (B, N)
        Where the entities of each are in the flat form.
    merged : ndarray of int, shape (B, N - 1, 2)
    heights : ndarray of shape (B, N - 1)
        As of :func:`average_merges`.
    """

    sets: Ints
    rows: Ints
    merged: Ints
    heights: Floats


class AverageLinks:
    """Average linkages of many sets.

    Parameters
    ----------
    batches : sequence
        Merges of sets of one size each, as :func:`average_link` and
        :func:`link_similarities` make them.

    Attributes
    ----------
    n_sets : int
    n_rows : int
        Entities of all sets together, T.

    See Also
    --------
    best_threshold : Find where to cut.

    Examples
    --------
    >>> from skllm_cluster.hierarchy import average_link
    >>> links = average_link([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]], groups=[0, 0, 0])
    >>> links
    AverageLinks(n_sets=1, n_rows=3)
    >>> links.cut(0.5)
    array([0, 0, 1])
    """

    def __init__(self, batches: Sequence[_Batch]):
        self._batches = batches
        self.n_sets = sum(len(batch.sets) for batch in batches)
        self.n_rows = sum(batch.rows.size for batch in batches)

    def __repr__(self) -> str:
        return f"AverageLinks(n_sets={self.n_sets}, n_rows={self.n_rows})"

    def cut(self, thresholds: ArrayLike) -> Ints:
        """Label all entities, at one threshold or several.

        Parameters
        ----------
        thresholds : float, or array-like of shape (K,)
            Clusters are merged while their average similarity is above this.

        Returns
        -------
        labels : ndarray of int, shape (T,) or (K, T)
            In each set 0, 1, ... as they first appear.

        Raises
        ------
        ValueError
            If a threshold is NaN, or they have more than one dimension.
        """
        values = np.asarray(thresholds, dtype=np.float64)
        if values.ndim > 1 or np.isnan(values).any():
            raise ValueError(
                f"thresholds must be numbers in one dimension, got {values.tolist()}."
            )
        labels = np.empty((values.size, self.n_rows), dtype=np.intp)
        for batch in self._batches:
            owner, level, which = _partitions(batch, values.ravel())
            found = _labels(batch, owner, level)  # (E, N)
            labels[:, batch.rows] = found[which].swapaxes(0, 1)
        return labels.reshape(*values.shape, self.n_rows)


def average_link(embeddings: ArrayLike, groups: ArrayLike) -> AverageLinks:
    r"""Merge the entities of each set by the average of their cosine similarities.

    Parameters
    ----------
    embeddings : array-like of shape (T, d)
        Of the entities of all sets. They need not be normalised. A zero vector is
        similar to nothing: 0.
    groups : array-like of int, shape (T,)
        Equal ints form one set, wherever they stand.

    Returns
    -------
    links : AverageLinks

    Raises
    ------
    ValueError
        If the two differ in length or are empty, or an embedding is not finite.

    See Also
    --------
    link_similarities : The same of given similarities.
    best_threshold : Find where to cut.

    Notes
    -----
    Distances are :math:`1 - \cos`, kept in [0, 2], and two clusters are merged while
    their average distance is *less* than 1 - threshold. So at a threshold of 1 nothing
    is merged, not even duplicates, and at -1 all that is not opposite.

    Heights of average linkage only grow, so that one linkage of a set holds its
    partition at every threshold. Where distances tie, the order of the entities
    decides, and other programs may arrive at other partitions.

    Sets of one size are linked at once; those above 60 entities one after the other, by
    SciPy. Memory grows with :math:`N^2` of the largest.

    Examples
    --------
    >>> from skllm_cluster.hierarchy import average_link
    >>> z = [[1, 0], [0, 1], [1, 0.1], [1, 1], [1, 0]]
    >>> links = average_link(z, groups=[3, 3, 3, 8, 8])
    >>> links.cut([0.0, 0.5, 0.9])
    array([[0, 0, 0, 0, 0],
           [0, 1, 0, 0, 0],
           [0, 1, 0, 0, 1]])
    """
    z = np.asarray(embeddings)
    sets = np.asarray(groups)
    if z.ndim != 2 or sets.shape != (len(z),) or not len(z):
        raise ValueError(
            "embeddings must be (T, d) and groups (T,), T at least 1, got shapes "
            f"{z.shape} and {sets.shape}."
        )
    if z.dtype not in (np.float32, np.float64):
        z = z.astype(np.float64)
    finite = np.isfinite(z).all(axis=1)
    if not finite.all():
        raise ValueError(
            f"embeddings must be finite, got NaN or infinity for {(~finite).sum()} of "
            f"{len(z)} entities, the first at index {int(np.argmin(finite))}."
        )
    length = np.linalg.norm(z, axis=1, keepdims=True)
    z = z / np.where(length > 0, length, 1)

    def similarity(_: Ints, rows: Ints) -> NDArray[Any]:
        entities = z[rows]  # (B, N, d)
        return np.asarray(entities @ entities.swapaxes(1, 2))

    return _link(np.unique(sets, return_inverse=True)[1], similarity)


def link_similarities(similarities: Sequence[ArrayLike]) -> AverageLinks:
    """Merge the entities of each set by the average of given similarities.

    Parameters
    ----------
    similarities : sequence of S array-likes of shape (N_i, N_i)
        In [-1, 1]. Only what is above the diagonal is read.

    Returns
    -------
    links : AverageLinks
        Its flat form has the entities of the first set, then those of the second, and
        so on.

    Raises
    ------
    ValueError
        If there is none, or one is not square, empty or not finite.

    See Also
    --------
    average_link : The same of embeddings; says how it is done.

    Examples
    --------
    >>> from skllm_cluster.hierarchy import link_similarities
    >>> link_similarities([[[1.0, 0.4], [0.4, 1.0]], [[1.0]]]).cut([0.3, 0.4])
    array([[0, 0, 0],
           [0, 1, 0]])
    """
    matrices = [np.asarray(matrix, dtype=np.float64) for matrix in similarities]
    if not matrices:
        raise ValueError("similarities must hold at least one set, got none.")
    for i, matrix in enumerate(matrices):
        if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not matrix.size:
            raise ValueError(
                f"similarities must be square and not empty, got shape {matrix.shape} "
                f"in set {i}."
            )

    def similarity(sets: Ints, _: Ints) -> NDArray[Any]:
        tables = np.stack([matrices[s] for s in sets])  # (B, N, N)
        finite = np.isfinite(tables).all(axis=(1, 2))
        if not finite.all():
            raise ValueError(
                "similarities must be finite, got NaN or infinity in set "
                f"{sets[np.argmin(finite)]}."
            )
        return tables

    sizes = [len(matrix) for matrix in matrices]
    return _link(np.repeat(np.arange(len(matrices)), sizes), similarity)


def best_threshold(
    links: AverageLinks, y_true: ArrayLike, thresholds: ArrayLike | None = None
) -> tuple[float, dict[str, Floats]]:
    """Find the threshold at which partitions agree best with known ones.

    Parameters
    ----------
    links : AverageLinks
    y_true : array-like of shape (T,)
        Known labels, in the order of the rows that were linked: ints or strings.
    thresholds : array-like of shape (K,), default=None
        Ascending. None: -1, -0.9, ..., 1.

    Returns
    -------
    threshold : float
        The one with the largest sum of NMI, AMI, RI and ARI, each a mean over the sets.
        If several have it, the middle of the longest run of neighbours that do (the
        lower of two in the middle, the first of runs that are as long).
    scores : dict
        ``"threshold"``; ``"nmi"``, ``"ami"``, ``"ri"``, ``"ari"``, ``"f1"``, means over
        sets; ``"sum"``, of the first four. Arrays of shape (K,).

    Raises
    ------
    ValueError
        If ``y_true`` has not T labels, or ``thresholds`` is empty, not one-dimensional
        or not ascending.

    See Also
    --------
    average_link : Makes the links.
    skllm_cluster.metrics.set_scores : What the scores are.

    Notes
    -----
    Each set has at most N partitions, and few among those at 21 thresholds differ. Each
    that does is scored once.

    Examples
    --------
    >>> from skllm_cluster.hierarchy import best_threshold, link_similarities
    >>> similarity = [[1.0, 0.8, 0.2], [0.8, 1.0, 0.0], [0.2, 0.0, 1.0]]
    >>> links = link_similarities([similarity])
    >>> threshold, scores = best_threshold(links, ["a", "a", "b"])
    >>> threshold  # right from 0.1 to 0.7
    0.4
    >>> scores["ari"][[0, 10, 11, 17, 18]]
    array([0., 0., 1., 1., 0.])
    """
    values = np.asarray(_THRESHOLDS if thresholds is None else thresholds, dtype=float)
    ascending = values.ndim == 1 and (np.diff(values, prepend=-np.inf) > 0).all()
    if not (ascending and len(values)):
        raise ValueError(
            "thresholds must be one-dimensional, ascending and not empty, got "
            f"{values.tolist()}."
        )
    truth = np.asarray(y_true)
    if truth.shape != (links.n_rows,):
        raise ValueError(
            f"y_true must hold a label for each of the {links.n_rows} rows that were "
            f"linked, got shape {truth.shape}."
        )
    table = {"threshold": values}
    for batch in links._batches:
        owner, level, which = _partitions(batch, values)
        known = truth[batch.rows[owner]]  # (E, N)
        found = set_scores(known, _labels(batch, owner, level), average=None)
        for name, scores in found.items():
            total = scores[which].sum(axis=0) / links.n_sets
            table[name] = table.get(name, 0) + total
    table["sum"] = table["nmi"] + table["ami"] + table["ri"] + table["ari"]
    return float(values[_middle(table["sum"])]), table


def _middle(values: Floats) -> int:
    """Find the middle of the longest run of the largest value."""
    # What is equal may come out of other sums.
    best = np.isclose(values, values.max(), rtol=0, atol=1e-12)
    edges = np.flatnonzero(np.diff(best, prepend=False, append=False))
    starts, stops = edges[::2], edges[1::2]
    longest = np.argmax(stops - starts)
    return int(starts[longest] + stops[longest] - 1) // 2


def _link(
    group: NDArray[Any], similarity: Callable[[Ints, Ints], NDArray[Any]]
) -> AverageLinks:
    """Link sets, those of one size together.

    Parameters
    ----------
    group : ndarray of int, shape (T,)
        The number of each row's set, 0 to S - 1.
    similarity : callable
        From numbers of sets (B,) and their rows (B, N) to similarities (B, N, N).
    """
    sizes = np.bincount(group)
    order = np.argsort(group, kind="stable")
    starts = np.cumsum(sizes) - sizes
    batches = []
    for n in np.unique(sizes):
        sets = np.flatnonzero(sizes == n)
        rows = order[starts[sets][:, None] + np.arange(n)]  # (B, N)
        n_parts = min(len(sets), -(-len(sets) * n**2 // _BLOCK))
        parts = (np.array_split(x, n_parts) for x in (sets, rows))
        merges = [
            average_merges(similarity(*part)) for part in zip(*parts, strict=True)
        ]
        merged, heights = (np.concatenate(x) for x in zip(*merges, strict=True))
        batches.append(_Batch(sets, rows, merged, heights))
    return AverageLinks(batches)


def _partitions(batch: _Batch, thresholds: Floats) -> tuple[Ints, Ints, Ints]:
    """Find the distinct partitions at some thresholds.

    Returns
    -------
    owner, level : ndarray of int, shape (E,)
        The set of each, 0 to B - 1, and after how many merges it is found.
    which : ndarray of int, shape (B, K)
        The partition of each set at each threshold.
    """
    n_merges = batch.heights.shape[1]
    below = batch.heights[:, :, None] < 1 - thresholds  # (B, N - 1, K)
    level = below.sum(axis=1)  # (B, K)
    key = np.arange(len(level))[:, None] * (n_merges + 1) + level
    distinct, which = np.unique(key, return_inverse=True)
    owner, after = np.divmod(distinct, n_merges + 1)
    return owner, after, which.reshape(level.shape)


def _labels(batch: _Batch, owner: Ints, level: Ints) -> Ints:
    """Label the entities of some sets after some merges, shape (E, N)."""
    n_sets, n = batch.rows.shape
    root = np.tile(np.arange(n), (n_sets, 1))  # first entity of each one's cluster
    roots = np.empty((len(owner), n), dtype=np.intp)
    order = np.argsort(level, kind="stable")
    starts = np.searchsorted(level[order], np.arange(n + 1))
    for s in range(n):
        if s:
            one, other = np.split(batch.merged[:, s - 1], 2, axis=1)  # (B, 1)
            root = np.where(root == other, one, root)
        here = order[starts[s] : starts[s + 1]]
        roots[here] = root[owner[here]]
    number = np.cumsum(roots == np.arange(n), axis=1) - 1
    return np.take_along_axis(number, roots, axis=1)
