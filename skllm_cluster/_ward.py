"""Ward's linkage of weighted points, in memory that grows with n d, not with n²."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["ward_merges"]

# Clusters whose nearest neighbour is looked for in one matrix product.
_BLOCK = 128
# Searches that blocks may spend for each merge. Ordinary data take 4 to 5. Where one
# cluster is the nearest of all, a block would spend itself on a single merge.
_CREDIT = 8
# Merged-away slots are swept out once they are more than this share.
_SLACK = 0.2


def ward_merges(
    points: NDArray[Any], sizes: NDArray[np.integer[Any]]
) -> NDArray[np.float64]:
    r"""Merge weighted points by Ward's criterion, until one cluster is left.

    Parameters
    ----------
    points : ndarray of shape (m, d)
        Where each leaf lies: a row, or the mean of several rows.
    sizes : ndarray of int, shape (m,)
        How many rows each leaf stands for.

    Returns
    -------
    merges : ndarray of shape (m - 1, 4)
        In the format of :func:`scipy.cluster.hierarchy.linkage`: two nodes (leaves
        are 0 to m - 1, merge s makes node m + s), the height, and the number of
        leaves below.

    Notes
    -----
    The height of a merge is

    .. math:: d_{ij} = \sqrt{2 n_i n_j / (n_i + n_j)}\; \lVert c_i - c_j \rVert,

    a function of means and sizes alone, so that no distance need be kept. Two
    clusters that are each other's nearest may be merged at any time: whatever else
    is merged comes no closer to them than its nearer part was (Ward's criterion is
    *reducible*). For the same reason a nearest neighbour stays one until it is itself
    merged, and its distance stays a lower bound afterwards. So nearest neighbours are
    looked for in blocks, by matrix products, where the lower bounds are smallest,
    and all pairs that are mutually nearest are merged at once. Where that would take
    too many searches, the nearest-neighbour chain finds the next pair instead.

    Examples
    --------
    >>> import numpy as np
    >>> from skllm_cluster._ward import ward_merges
    >>> ward_merges(np.array([[0.0], [1.0], [5.0]]), np.array([1, 1, 1])).round(2)
    array([[0. , 1. , 1. , 2. ],
           [2. , 3. , 5.2, 3. ]])
    """
    m = len(points)
    # In random order of the leaves, those that tie for the nearest pair up at random
    # and not along a chain, where only one pair at a time would be mutual.
    leaves = np.random.RandomState(0).permutation(m)
    state = _State(points[leaves], sizes[leaves], leaves)
    while len(state.height) < m - 1:
        state.merge(*state.mutual())
        state.sweep()
    return _in_order(
        np.array(state.joined, dtype=np.intp).reshape(-1, 2),
        np.array(state.height) * state.unit,
        m,
    )


class _State:
    """Clusters that are left, one a slot, and what is known of their neighbours."""

    def __init__(
        self,
        points: NDArray[Any],
        sizes: NDArray[np.integer[Any]],
        node: NDArray[np.intp],
    ):
        m = len(points)
        # Centred, since |a - b|² below is a difference of squares.
        self.mean = points - np.average(points, axis=0, weights=sizes)  # (m, d)
        self.unit = float(np.abs(self.mean).max(initial=0)) or 1.0
        self.mean /= self.unit
        self.square = np.einsum("md,md->m", self.mean, self.mean)  # inf: merged away
        self.size = sizes.astype(np.float64)
        self.node = node
        self.near = np.arange(m)
        self.bound = np.zeros(m)  # half the squared height to `near`, or less if stale
        self.fresh = np.zeros(m, dtype=bool)
        self.joined: list[tuple[int, int]] = []
        self.height: list[float] = []
        self.n_leaves = m
        self.n_searches = 0
        self.last = 0  # the slot of the last merge

    def mutual(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Find pairs of slots that are each other's nearest, or at least one pair."""
        slots = np.arange(len(self.near))
        first = slots[:0]
        while not len(first):
            stale = np.flatnonzero(~self.fresh)
            credit = self.n_leaves + _CREDIT * len(self.height) - self.n_searches
            if credit <= 0 or not len(stale):
                return self.chain()
            if len(stale) > _BLOCK:
                few = np.argpartition(self.bound[stale], _BLOCK)[:_BLOCK]
                stale = stale[few]
            self.search(stale)
            sure = self.fresh & self.fresh[self.near]
            sure &= self.near[self.near] == slots
            first = slots[sure & (slots < self.near)]
        return first, self.near[first]

    def chain(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Go from the last merge to its nearest, and on, until it comes no closer."""
        tip = self.last
        while True:
            if not self.fresh[tip]:
                self.search(np.array([tip]))
            after = int(self.near[tip])
            if not self.fresh[after]:
                self.search(np.array([after]))
            # Not "<": where distances tie, nearest neighbours may run in a circle.
            if self.bound[after] >= self.bound[tip]:
                first, second = sorted((tip, after))
                return np.array([first]), np.array([second])
            tip = after

    def search(self, slots: NDArray[np.intp]) -> None:
        """Find the nearest neighbours of some slots."""
        half = self.mean[slots] @ self.mean.T  # (b, m)
        half *= -2
        half += self.square[slots][:, None]
        half += self.square
        np.maximum(half, 0, out=half)
        # times n_i n_j / (n_i + n_j)
        half /= 1 / self.size + (1 / self.size[slots])[:, None]
        rows = np.arange(len(slots))
        half[rows, slots] = np.inf
        nearest = half.argmin(axis=1)
        self.near[slots] = nearest
        self.bound[slots] = half[rows, nearest]
        self.fresh[slots] = True
        self.n_searches += len(slots)

    def merge(self, first: NDArray[np.intp], second: NDArray[np.intp]) -> None:
        """Put the merged clusters into the first slots, and empty the second."""
        a, b = self.size[first], self.size[second]
        total = a + b
        # From the means themselves: no difference of squares spoils the height.
        gap = self.mean[first] - self.mean[second]  # (q, d)
        half = a * b / total * np.einsum("qd,qd->q", gap, gap)
        self.mean[first] -= (b / total)[:, None] * gap
        self.mean[second] = 0
        self.square[first] = np.einsum("qd,qd->q", self.mean[first], self.mean[first])
        self.square[second] = np.inf
        self.size[first] = total
        self.joined += zip(
            self.node[first].tolist(), self.node[second].tolist(), strict=True
        )
        self.node[first] = self.n_leaves + len(self.height) + np.arange(len(first))
        self.height += np.sqrt(2 * half).tolist()
        gone = np.zeros(len(self.near), dtype=bool)
        gone[first] = gone[second] = True
        self.fresh &= ~gone[self.near]
        self.fresh[first] = False
        self.bound[first] = half
        self.fresh[second] = True
        self.bound[second] = np.inf
        self.near[second] = second
        self.last = int(first[0])

    def sweep(self) -> None:
        """Drop empty slots, once they cost more than moving the others."""
        kept = np.flatnonzero(np.isfinite(self.square))
        if len(kept) >= (1 - _SLACK) * len(self.square):
            return
        moved = np.zeros(len(self.near), dtype=np.intp)
        moved[kept] = np.arange(len(kept))
        # A stale pointer may lead to a slot that is gone; it is not read.
        self.near = moved[self.near[kept]]
        self.last = int(moved[self.last])
        for name in ("mean", "square", "size", "node", "bound", "fresh"):
            setattr(self, name, getattr(self, name)[kept])


def _in_order(
    joined: NDArray[np.intp], height: NDArray[np.float64], m: int
) -> NDArray[np.float64]:
    """Sort merges by height and renumber the nodes accordingly."""
    below = np.ones(2 * m - 1)
    for s, (i, j) in enumerate(joined.tolist()):
        below[m + s] = below[i] + below[j]
        # Equal heights may come out in either order by rounding: no merge may lie
        # below its parts.
        parts = [height[child - m] for child in (i, j) if child >= m]
        height[s] = max([height[s], *parts])
    order = np.argsort(height, kind="stable")
    name = np.arange(2 * m - 1)
    name[m + order] = m + np.arange(m - 1)
    merges = np.empty((m - 1, 4))
    merges[:, :2] = np.sort(name[joined[order]], axis=1)
    merges[:, 2] = height[order]
    merges[:, 3] = below[m + order]
    return merges
