"""Draw distinct triplets around anchors, in bounded time."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

__all__ = ["Members", "draw_triplets", "random_sides"]


class Members:
    """Rows of each cluster, as slices of one array."""

    def __init__(self, codes: NDArray[np.intp]):
        self.rows = np.argsort(codes, kind="stable")
        self.sizes = np.bincount(codes)
        self.starts = np.concatenate([[0], np.cumsum(self.sizes)[:-1]])

    def draw(
        self, clusters: NDArray[np.intp], rng: np.random.RandomState
    ) -> NDArray[np.intp]:
        """Draw one row of each cluster uniformly."""
        offset = (rng.random_sample(clusters.shape) * self.sizes[clusters]).astype(int)
        return np.asarray(self.rows[self.starts[clusters] + offset])

    def of(self, cluster: int) -> NDArray[np.intp]:
        start = self.starts[cluster]
        return np.asarray(self.rows[start : start + self.sizes[cluster]])


def draw_triplets(
    anchors: NDArray[np.intp],
    near: NDArray[np.intp],
    members: Members,
    n_triplets: int,
    rng: np.random.RandomState,
    anchors_at_random: bool = False,
) -> NDArray[np.intp]:
    """Visit the anchors in turn and draw two choices from two of their clusters.

    All anchors are drawn for at once, in passes. Draws that repeat a triplet or the
    anchor fall away. When passes bring little that is new, what is left is enumerated:
    the loop is bounded, and what exists is found.
    """
    found = np.empty((0, 3), dtype=np.intp)
    share: NDArray[np.float64] | None = None
    for attempt in range(64):
        missing = n_triplets - len(found)
        if missing <= 0:
            break
        if share is not None:
            visited = rng.choice(anchors, size=missing, p=share)
        elif anchors_at_random:
            visited = anchors[rng.randint(len(anchors), size=missing)]
        else:
            visited = np.tile(anchors, -(-missing // len(anchors)))[:missing]
        drawn = _draw_once(visited, near, members, rng)
        before = len(found)
        found = _distinct(np.concatenate([found, drawn]))
        if share is None and attempt and len(found) - before < missing / 2:
            possible = _count_possible(anchors, near, members)
            if possible.sum() <= max(4 * n_triplets, 4096):
                found = _fill_up(found, anchors, near, members, n_triplets, rng)
                break
            # Most anchors are exhausted: from now on go where triplets are left.
            share = possible / possible.sum()
    if len(found) < n_triplets:
        warnings.warn(
            f"Only {len(found):,} distinct triplets exist around the chosen anchors, "
            f"fewer than the {n_triplets:,} asked for; all of them are returned.",
            UserWarning,
            stacklevel=3,
        )
    return found[:n_triplets]


def _draw_once(
    visited: NDArray[np.intp],
    near: NDArray[np.intp],
    members: Members,
    rng: np.random.RandomState,
) -> NDArray[np.intp]:
    """One draw for each visit; a choice that is the anchor falls away."""
    n_near = near.shape[1]
    first = rng.randint(n_near, size=len(visited))
    second = (first + rng.randint(1, n_near, size=len(visited))) % n_near
    one = members.draw(near[visited, first], rng)
    two = members.draw(near[visited, second], rng)
    drawn = np.stack([visited, np.minimum(one, two), np.maximum(one, two)], axis=1)
    return np.asarray(drawn[(one != visited) & (two != visited)])


def _distinct(triplets: NDArray[np.intp]) -> NDArray[np.intp]:
    """Drop repeated rows, keeping the first of each and the order."""
    _, first = np.unique(triplets, axis=0, return_index=True)
    return triplets[np.sort(first)]


def _count_possible(
    anchors: NDArray[np.intp], near: NDArray[np.intp], members: Members
) -> NDArray[np.float64]:
    """Count the distinct triplets of each anchor.

    With sizes s_k of an anchor's close clusters, less one where the anchor is in it:
    the sum over pairs of clusters of s_k s_l = ((Σ s)² - Σ s²) / 2.
    """
    own = np.empty(members.sizes.sum(), dtype=np.intp)
    own[members.rows] = np.repeat(np.arange(len(members.sizes)), members.sizes)
    clusters = near[anchors]
    sizes = members.sizes[clusters] - (clusters == own[anchors][:, None])
    sizes = sizes.astype(np.float64)
    return np.asarray((sizes.sum(axis=1) ** 2 - (sizes**2).sum(axis=1)) / 2)


def _fill_up(
    found: NDArray[np.intp],
    anchors: NDArray[np.intp],
    near: NDArray[np.intp],
    members: Members,
    n_triplets: int,
    rng: np.random.RandomState,
) -> NDArray[np.intp]:
    """Add to the triplets found what else exists, in random order."""
    everything = []
    for anchor in anchors:
        groups = [members.of(cluster) for cluster in near[anchor]]
        groups = [group[group != anchor] for group in groups]
        for i, one in enumerate(groups):
            for two in groups[i + 1 :]:
                a, b = (side.ravel() for side in np.meshgrid(one, two))
                everything.append(
                    np.stack(
                        [np.full(len(a), anchor), np.minimum(a, b), np.maximum(a, b)],
                        axis=1,
                    )
                )
    rest = np.concatenate(everything)
    rng.shuffle(rest)
    return _distinct(np.concatenate([found, rest]))[:n_triplets]


def random_sides(
    triplets: NDArray[np.intp], rng: np.random.RandomState
) -> NDArray[np.intp]:
    """Let a fair coin decide which choice comes first."""
    swap = rng.random_sample(len(triplets)) < 0.5
    triplets[swap] = triplets[swap][:, [0, 2, 1]]
    return triplets
