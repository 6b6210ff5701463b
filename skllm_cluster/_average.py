"""Average linkage of many sets of one size, all merged in step."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import linkage

__all__ = ["average_merges"]

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

# Above this many entities, SciPy's linkage of one set is faster than ours of many.
_LARGE = 60


def average_merges(similarity: NDArray[Any]) -> tuple[Ints, Floats]:
    r"""Merge the entities of each set, until one cluster is left.

    Parameters
    ----------
    similarity : ndarray of shape (B, N, N)
        Only what is above the diagonal is read.

    Returns
    -------
    merged : ndarray of int, shape (B, N - 1, 2)
        The two clusters of each merge, each named by its first entity, 0 to N - 1; the
        smaller name first. It is the name of the new cluster.
    heights : ndarray of shape (B, N - 1)
        Average distance, :math:`1 - S` kept in [0, 2], of the two; ascending.

    Examples
    --------
    >>> import numpy as np
    >>> from skllm_cluster._average import average_merges
    >>> similarity = np.array([[[1.0, 0.0, 0.5], [0.0, 1.0, 0.25], [0.5, 0.25, 1.0]]])
    >>> merged, heights = average_merges(similarity)
    >>> merged[0].tolist(), heights[0].tolist()
    ([[0, 2], [0, 1]], [0.5, 0.875])
    """
    n = similarity.shape[-1]
    upper = np.triu(np.ones((n, n), dtype=bool), 1)
    if n > _LARGE:
        trees = [_link_by_scipy(_distance(one[upper]), n) for one in similarity]
        merged, heights = (np.stack(part) for part in zip(*trees, strict=True))
        return merged, heights
    whole = np.where(upper, similarity, similarity.swapaxes(1, 2))
    return _link_in_step(_distance(whole))


def _distance(similarity: NDArray[Any]) -> Floats:
    distance: Floats = np.subtract(1, similarity, dtype=np.float64)
    return distance.clip(0, 2, out=distance)


def _link_by_scipy(distance: Floats, n: int) -> tuple[Ints, Floats]:
    """Link one set; distances as :func:`scipy.cluster.hierarchy.linkage` has them."""
    tree = linkage(distance, "average")
    merged = np.empty((n - 1, 2), dtype=np.intp)
    name = list(range(n))  # of each node, its first entity
    for s, (one, other) in enumerate(tree[:, :2].astype(int).tolist()):
        pair = sorted((name[one], name[other]))
        merged[s] = pair
        name.append(pair[0])
    return merged, tree[:, 2]


def _link_in_step(distance: Floats) -> tuple[Ints, Floats]:
    """Link all sets at once; distances (B, N, N), which are overwritten.

    A cluster lives in the row and column of its first entity.
    """
    n_sets, n = distance.shape[:2]
    every = np.arange(n_sets)
    distance[:, np.arange(n), np.arange(n)] = np.inf
    tables, rows = distance.reshape(n_sets, -1), distance.reshape(-1, n)  # views
    size = np.ones(len(rows))
    merged = np.empty((n - 1, 2, n_sets), dtype=np.intp)
    heights = np.empty((n - 1, n_sets))
    for s in range(n - 1):
        closest = tables.argmin(axis=1)  # (B,)
        heights[s] = tables[every, closest]
        merged[s] = one, other = np.divmod(closest, n)  # the first of equals: in order
        i, j = every * n + one, every * n + other
        row = _average(rows[i], rows[j], size[i], size[j])  # (B, N)
        size[i] += size[j]
        row[every, one] = np.inf
        rows[i] = distance[every, :, one] = row
        rows[j] = distance[every, :, other] = np.inf
    return merged.transpose(2, 0, 1), heights.T


def _average(one: Floats, other: Floats, a: Floats, b: Floats) -> Floats:
    """Weigh two rows of distances by the sizes of their clusters, (B, N) and (B,)."""
    least = np.minimum(one, other)
    one *= a[:, None]
    other *= b[:, None]
    one += other
    one /= (a + b)[:, None]
    # Rounding must not bring anything closer than both were: heights ascend.
    return np.maximum(one, least, out=one)
