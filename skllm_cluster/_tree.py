"""Merges of rows, laid out so that any number of clusters can be looked at."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Tree"]


class Tree:
    """Merges of rows into ever fewer clusters.

    Parameters
    ----------
    merges : array-like of shape (m - 1, 4)
        In the format of :func:`scipy.cluster.hierarchy.linkage`: m leaves are nodes
        0 to m - 1, and row s makes node m + s of two nodes.
    leaf_of : array-like of int, shape (n,)
        The leaf of each row of X. Rows that share a leaf are never apart.

    Attributes
    ----------
    merges : ndarray of shape (m - 1, 4)
    leaf_of : ndarray of int, shape (n,)
    n_leaves : int
        m, the largest number of clusters.
    order : ndarray of int, shape (n,)
        Rows as a dendrogram lists them: those of any node are a slice of it.
    start : ndarray of int, shape (2m - 1,)
        Where the slice of each node begins.
    size : ndarray of int, shape (2m - 1,)
        How many rows each node has.

    See Also
    --------
    ward_tree : Makes the tree of an array.

    Notes
    -----
    The k clusters are what is left after the first m - k merges. No partition is kept:
    whether a row pair is together at k follows from its :meth:`level`.

    Examples
    --------
    >>> from skllm_cluster.hierarchy import Tree
    >>> tree = Tree([[0, 1, 1.0, 2], [2, 3, 4.0, 3]], leaf_of=[0, 1, 2, 1])
    >>> tree
    Tree(n_rows=4, n_leaves=3)
    >>> tree.cut(2), tree.sizes(2)
    (array([0, 0, 1, 0]), array([3, 1]))
    >>> tree.n_same([1, 2, 3])
    array([6, 3, 1])
    """

    def __init__(self, merges: ArrayLike, leaf_of: ArrayLike):
        self.merges = np.asarray(merges, dtype=np.float64).reshape(-1, 4)
        self.leaf_of = np.asarray(leaf_of, dtype=np.intp)
        self.n_leaves = m = len(self.merges) + 1
        sizes = np.bincount(self.leaf_of, minlength=m)
        if len(sizes) != m or not sizes.all():
            raise ValueError(
                f"leaf_of must name each of the {m} leaves of the merges, 0 to "
                f"{m - 1}, at least once; got {len(self.leaf_of)} rows in "
                f"{np.count_nonzero(sizes)} leaves, the largest {len(sizes) - 1}."
            )
        self._pairs = self.merges[:, :2].astype(np.intp)
        self.size, self.start = _lay_out(self._pairs, sizes)
        self.order = np.argsort(self.start[self.leaf_of], kind="stable")
        # The merge that ends each node; the root outlives all.
        self._end = np.full(2 * m - 1, m - 1)
        self._end[self._pairs] = np.arange(m - 1)[:, None]

    def __repr__(self) -> str:
        return f"Tree(n_rows={len(self.leaf_of)}, n_leaves={self.n_leaves})"

    def nodes(self, k: int) -> NDArray[np.intp]:
        """Which nodes are the clusters when there are k.

        Parameters
        ----------
        k : int
            From 1 to ``n_leaves``.

        Returns
        -------
        nodes : ndarray of int, shape (k,)
            In the order of their labels: by the first row of X that each contains.
        """
        done = self.n_leaves - int(self._check(k))  # merges that have happened
        there = np.flatnonzero(self._end[: self.n_leaves + done] >= done)
        there = there[np.argsort(self.start[there])]
        first = np.minimum.reduceat(self.order, self.start[there])
        return there[np.argsort(first)]

    def members(self, node: int) -> NDArray[np.intp]:
        """Return the rows of X below a node, a view of ``order``.

        Parameters
        ----------
        node : int
            A leaf, 0 to m - 1, or the result of merge s, m + s.

        Returns
        -------
        rows : ndarray of int
        """
        start = self.start[node]
        return self.order[start : start + self.size[node]]

    def cut(self, k: int) -> NDArray[np.intp]:
        """Label the rows when there are k clusters.

        Parameters
        ----------
        k : int
            From 1 to ``n_leaves``.

        Returns
        -------
        labels : ndarray of int, shape (n,)
            0 to k - 1, numbered as they first appear: row 0 is in cluster 0, the
            first row outside of it in cluster 1, and so on.
        """
        nodes = self.nodes(k)
        by_place = np.argsort(self.start[nodes])
        labels = np.empty(len(self.order), dtype=np.intp)
        labels[self.order] = np.repeat(by_place, self.size[nodes[by_place]])
        return labels

    def sizes(self, k: int) -> NDArray[np.intp]:
        """Count the rows in each cluster when there are k.

        Parameters
        ----------
        k : int
            From 1 to ``n_leaves``.

        Returns
        -------
        sizes : ndarray of int, shape (k,)
            In the order of the labels.
        """
        return self.size[self.nodes(k)]

    def sides(self, k: int) -> tuple[int, int]:
        """Return the two nodes that are one cluster at k and two at k + 1.

        Parameters
        ----------
        k : int
            From 1 to ``n_leaves - 1``.

        Returns
        -------
        nodes : (int, int)
        """
        if not 1 <= k < self.n_leaves:
            raise ValueError(
                f"k must be from 1 to n_leaves - 1 = {self.n_leaves - 1}, got {k}."
            )
        one, two = self._pairs[self.n_leaves - 1 - k]
        return int(one), int(two)

    def level(self, pairs: ArrayLike) -> NDArray[np.intp]:
        """Largest number of clusters at which two rows are still together.

        Parameters
        ----------
        pairs : array-like of int, shape (P, 2)
            Any rows of X, sampled from this tree or not.

        Returns
        -------
        level : ndarray of int, shape (P,)
            1 for rows that only the last merge unites; ``n_leaves`` for rows of one
            leaf, which are never apart. Two rows are together at k clusters if and
            only if k is at most their level.

        Raises
        ------
        ValueError
            If ``pairs`` is not of that shape or names a row that is not there.

        Notes
        -----
        Between two neighbours in ``order`` that are not of one leaf lies one merge. Of
        those between two rows the last one unites them: a range maximum.
        """
        pairs = self._check_pairs(pairs)
        m = self.n_leaves
        place = np.empty(m, dtype=np.intp)
        place[np.argsort(self.start[:m])] = np.arange(m)
        join = np.empty(m - 1, dtype=np.intp)
        right = self.start[self._pairs[:, 1]]
        # Neighbours in the order of places: the gap before each but the first.
        join[np.searchsorted(np.sort(self.start[:m]), right) - 1] = np.arange(m - 1)
        ends = np.sort(place[self.leaf_of[pairs]], axis=1)
        return m - 1 - _range_maximum(join, ends[:, 0], ends[:, 1])

    def n_same(self, k_values: ArrayLike) -> NDArray[np.int64]:
        """Count the unordered pairs of distinct rows that are together at each k.

        Parameters
        ----------
        k_values : array-like of int, shape (K,)
            Numbers of clusters, each from 1 to ``n_leaves``.

        Returns
        -------
        n_same : ndarray of int64, shape (K,)
            Exact. A merge adds the product of its two sizes.
        """
        k = self._check(k_values)
        size = self.size.astype(np.int64)
        leaves = size[: self.n_leaves]
        added = np.concatenate(
            [[(leaves * (leaves - 1) // 2).sum()], size[self._pairs].prod(axis=1)]
        )
        return np.asarray(np.cumsum(added)[self.n_leaves - k])

    def _check(self, k: ArrayLike) -> NDArray[np.intp]:
        values = np.asarray(k)
        if values.size and not np.issubdtype(values.dtype, np.integer):
            raise TypeError(f"k must be an integer, got {k!r}.")
        wrong = (values < 1) | (values > self.n_leaves)
        if wrong.any():
            raise ValueError(
                f"k must be from 1 to n_leaves = {self.n_leaves}, got "
                f"{values[wrong].flat[0]}."
            )
        return values.astype(np.intp)

    def _check_pairs(self, pairs: ArrayLike) -> NDArray[np.intp]:
        found = np.asarray(pairs)
        if not found.size:
            found = np.empty((0, 2), dtype=np.intp)
        if found.ndim != 2 or found.shape[1] != 2:
            raise ValueError(f"pairs must have shape (P, 2), got {found.shape}.")
        if not np.issubdtype(found.dtype, np.integer):
            raise TypeError(f"pairs must be integers, got {found.dtype}.")
        n = len(self.leaf_of)
        wrong = (found < 0) | (found >= n)
        if wrong.any():
            at = int(np.flatnonzero(wrong.any(axis=1))[0])
            raise ValueError(
                f"pairs must name rows 0 to {n - 1}, got {found[at].tolist()} at "
                f"index {at}."
            )
        return found.astype(np.intp)


def _lay_out(
    pairs: NDArray[np.intp], sizes: NDArray[np.intp]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Size of each node, and where it starts when each is a slice of one order."""
    m = len(sizes)
    merges = pairs.tolist()
    size = sizes.tolist()
    for one, two in merges:
        size.append(size[one] + size[two])
    start = [0] * (2 * m - 1)
    for s in range(m - 2, -1, -1):
        one, two = merges[s]
        start[one] = start[m + s]
        start[two] = start[m + s] + size[one]
    return np.array(size, dtype=np.intp), np.array(start, dtype=np.intp)


def _range_maximum(
    values: NDArray[np.intp], start: NDArray[np.intp], stop: NDArray[np.intp]
) -> NDArray[np.intp]:
    """Largest of ``values[start:stop]`` for each range, -1 where it is empty.

    Maxima of 1, 2, 4, ... neighbours are made in turn; two of them that overlap cover
    a range.
    """
    found = np.full(len(start), -1)
    length, table = 1, values
    while length <= len(values):
        here = np.flatnonzero((stop - start >= length) & (stop - start < 2 * length))
        found[here] = np.maximum(table[start[here]], table[stop[here] - length])
        table = np.maximum(table[:-length], table[length:])
        length *= 2
    return found
