"""Draw distinct triplets around anchors, in bounded time."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_array, check_random_state

from ._validation import is_unlabelled

__all__ = ["Members", "draw_triplets", "random_sides", "triplets_from_classes"]

# Other classes of which negatives are drawn: were it the nearest one alone, the two
# would be pushed apart and onto third ones.
_NEAR_CLASSES = 3


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


def triplets_from_classes(
    labels: ArrayLike,
    embeddings: ArrayLike,
    rows: ArrayLike | None = None,
    *,
    n_triplets: int = 1024,
    random_state: Any = None,
) -> NDArray[np.intp]:
    """Turn known classes into answered triplets, for an adapter to learn from.

    Parameters
    ----------
    labels : array-like of shape (n,)
        Class of each row: answers of an oracle, or a refined partition. -1, None and
        NaN: unknown; such rows are left out.
    embeddings : array-like of shape (N, d)
        Vectors, by which near classes are found.
    rows : array-like of int, shape (n,), default=None
        Of which rows of ``embeddings`` the labels are. None: of all, so that n = N.
    n_triplets : int, default=1024
        Q, how many triplets are wanted.
    random_state : int, RandomState instance or None, default=None
        Determines the draws.

    Returns
    -------
    triplets : ndarray of int, shape (Q, 3)
        Rows of ``embeddings``, no two alike: (anchor, a row of the same class, one of
        another). What :class:`~skllm_cluster.adaptation.FineTuner` and
        :class:`~skllm_cluster.adaptation.MetricHead` take.

    Raises
    ------
    ValueError
        If labels are not one for each row, or there are not two classes, one of them
        of two rows.

    Warns
    -----
    UserWarning
        If fewer distinct triplets were found than were asked for.

    Notes
    -----
    The anchors are all rows whose class has another row, in turn. The negative is any
    row of one of the three other classes whose mean direction is nearest to the anchor:
    hard, but not the nearest row of all, which is the likeliest to be labelled wrongly.

    Examples
    --------
    >>> import numpy as np
    >>> from skllm_cluster.sampling import triplets_from_classes
    >>> z = np.random.default_rng(0).normal(size=(6, 2))
    >>> labels = np.array([0, 0, 0, 1, 1, -1])
    >>> triplets = triplets_from_classes(labels, z, n_triplets=5, random_state=0)
    >>> bool((labels[triplets[:, 0]] == labels[triplets[:, 1]]).all())
    True
    """
    Z = check_array(embeddings, dtype=[np.float64, np.float32])
    if n_triplets < 1:
        raise ValueError(f"n_triplets must be at least 1, got {n_triplets}.")
    rng = check_random_state(random_state)
    rows, codes = _labelled(labels, rows, len(Z))
    members = Members(codes)
    anchors = np.flatnonzero(members.sizes[codes] > 1)
    if len(members.sizes) < 2 or not len(anchors):
        raise ValueError(
            "Triplets need two classes, one of them of two rows or more, got "
            f"{len(members.sizes)} classes of {len(codes)} labelled rows."
        )
    near = _near_classes(Z[rows], codes, members)
    found = np.empty((0, 3), dtype=np.intp)
    for _ in range(16):
        missing = n_triplets - len(found)
        if missing <= 0:
            break
        passes = -(-missing // len(anchors))
        visited = np.concatenate([rng.permutation(anchors) for _ in range(passes)])
        drawn = _draw_answered(visited[:missing], codes, near, members, rng)
        found = _distinct(np.concatenate([found, drawn]))
    if len(found) < n_triplets:
        warnings.warn(
            f"Only {len(found):,} distinct triplets were found in these classes, fewer "
            f"than the {n_triplets:,} asked for.",
            UserWarning,
            stacklevel=2,
        )
    return np.asarray(rows[found])


def _labelled(
    labels: ArrayLike, rows: ArrayLike | None, n: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Leave out what has no label; number the classes from 0 without a gap."""
    given = list(labels) if isinstance(labels, (list, tuple)) else np.asarray(labels)
    where = np.arange(n) if rows is None else np.asarray(rows, dtype=np.intp)
    if where.ndim != 1 or len(given) != len(where):
        raise ValueError(
            f"labels must be one for each of {len(where)} rows, got {len(given)}."
        )
    known = np.array([not is_unlabelled(label) for label in given], dtype=bool)
    number: dict[Any, int] = {}
    codes = [
        number.setdefault(label, len(number))
        for label, sure in zip(given, known, strict=True)
        if sure
    ]
    return where[known], np.array(codes, dtype=np.intp)


def _near_classes(
    Z: NDArray[Any], codes: NDArray[np.intp], members: Members
) -> NDArray[np.intp]:
    """Give for each row the other classes of the nearest mean directions, (n, <= 3)."""
    X = Z / np.maximum(np.linalg.norm(Z, axis=1, keepdims=True), 1e-12)
    means = np.add.reduceat(X[members.rows], members.starts, axis=0)  # (K, d)
    means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
    closeness = X @ means.T  # (n, K)
    closeness[np.arange(len(X)), codes] = -np.inf
    n_near = min(_NEAR_CLASSES, len(means) - 1)
    return np.argpartition(-closeness, n_near - 1, axis=1)[:, :n_near]


def _draw_answered(
    visited: NDArray[np.intp],
    codes: NDArray[np.intp],
    near: NDArray[np.intp],
    members: Members,
    rng: np.random.RandomState,
) -> NDArray[np.intp]:
    """Draw for each visit a row of the same class, and one of a near class."""
    place = np.empty(len(codes), dtype=np.intp)  # of each row within its class
    place[members.rows] = np.arange(len(codes)) - members.starts[codes[members.rows]]
    own, size = codes[visited], members.sizes[codes[visited]]
    step = 1 + (rng.random_sample(len(visited)) * (size - 1)).astype(int)
    same = members.rows[members.starts[own] + (place[visited] + step) % size]
    column = rng.randint(near.shape[1], size=len(visited))
    other = members.draw(near[visited, column], rng)
    return np.stack([visited, same, other], axis=1)
