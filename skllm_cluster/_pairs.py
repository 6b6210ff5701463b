"""Pairs that a tree's merges put together, to ask whether that was right."""

from __future__ import annotations

import warnings
from math import isqrt
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_random_state

from ._tree import Tree

__all__ = ["merge_pairs", "pair_weights"]


def merge_pairs(
    tree: Tree,
    *,
    k_min: int = 2,
    k_max: int = 200,
    pairs_per_merge: int = 3,
    stratify: str = "merges",
    n_within: int = 0,
    exclude: ArrayLike | None = None,
    random_state: Any = None,
) -> NDArray[np.intp]:
    r"""Draw pairs of rows that merges between two numbers of clusters unite.

    Parameters
    ----------
    tree : Tree
        Of the rows.
    k_min, k_max : int, default=2 and 200
        The merge from s + 1 to s clusters is drawn from if ``k_min <= s < k_max``.
        ``k_min=1`` includes the last merge.
    pairs_per_merge : int, default=3
        λ of the paper. λ (k_max - k_min) pairs are wanted in all.
    stratify : {"merges", "uniform", "log"}, default="merges"
        How they are spread over the merges. "merges": λ each, or what there is, as in
        the paper. "uniform": the same, but where a merge has fewer than λ pairs, the
        others give more. "log": the merge to s clusters gives in proportion to 1/s,
        so that each doubling of s gets about as many.
    n_within : int, default=0
        How many pairs to add from within clusters of ``tree.cut(k_max)``, each such
        pair being as likely: only they tell whether these clusters are too coarse.
    exclude : array-like of int, shape (E, 2), default=None
        Pairs that are not to be asked, in either order, such as demonstrations.
    random_state : int, RandomState instance or None, default=None
        Determines the draws.

    Returns
    -------
    pairs : ndarray of int, shape (P, 2)
        Distinct unordered pairs in random order, and which row comes first is random
        too. ``tree.level(pairs)`` tells their merges.

    Raises
    ------
    ValueError
        If not ``1 <= k_min < k_max <= tree.n_leaves``, or a count is negative.

    Warns
    -----
    UserWarning
        If fewer pairs exist than are wanted, except with "merges", where a merge of
        small clusters has fewer than λ as a rule.

    See Also
    --------
    pair_weights : How many pairs each of them stands for.

    Notes
    -----
    Each merge has its own stream of random numbers, in which pairs follow one another
    without repetition. So with the same seed the pairs of a smaller λ or of a narrower
    range of k are among those of a larger one: a grid over these asks little that is
    new.

    The released code of ClusterLLM compares a pair with what is no pair and so drops
    no repetition, always shows the lower row first, and asks about the
    demonstrations.

    Examples
    --------
    >>> import numpy as np
    >>> from skllm_cluster.hierarchy import ward_tree
    >>> from skllm_cluster.sampling import merge_pairs
    >>> tree = ward_tree(np.random.default_rng(0).normal(size=(60, 2)))
    >>> pairs = merge_pairs(tree, k_max=10, random_state=0)
    >>> pairs.shape
    (24, 2)
    >>> np.bincount(tree.level(pairs))
    array([0, 0, 3, 3, 3, 3, 3, 3, 3, 3])
    """
    _check(tree, k_min, k_max, pairs_per_merge, stratify, n_within)
    rng = check_random_state(random_state)
    seed = int(rng.randint(2**31 - 1))
    levels = np.arange(k_min, k_max)
    banned = _by_stratum(tree, exclude, k_max)
    same = tree.n_same(np.arange(k_min, k_max + 1))
    room = np.append(same[:-1] - same[1:], same[-1])
    room -= [len(banned.get(s, ())) for s in range(k_min, k_max + 1)]
    wanted = pairs_per_merge * len(levels)
    if stratify == "merges":
        counts = np.minimum(pairs_per_merge, room[:-1])
    else:
        share = 1 / levels if stratify == "log" else np.ones(len(levels))
        counts = _allot(wanted, share, room[:-1], rng.random_sample())
    n_inner = min(n_within, int(room[-1]))
    drawn = [
        pair
        for s, count in zip(levels.tolist(), counts.tolist(), strict=True)
        for pair in _draw(_Merge(tree, s), count, banned.get(s, set()), seed)
    ]
    drawn += _draw(_Within(tree, k_max), n_inner, banned.get(k_max, set()), seed)
    if n_inner < n_within or (stratify != "merges" and counts.sum() < wanted):
        warnings.warn(
            f"Only {len(drawn):,} distinct pairs exist between {k_min} and {k_max} "
            "clusters and within those, fewer than asked for; all are returned.",
            UserWarning,
            stacklevel=2,
        )
    pairs = np.array(drawn, dtype=np.intp).reshape(-1, 2)
    return np.asarray(pairs[rng.permutation(len(pairs))])


def pair_weights(
    tree: Tree, pairs: ArrayLike, *, k_min: int, k_max: int
) -> NDArray[np.float64]:
    r"""Count for each sampled pair how many pairs of rows it stands for.

    Parameters
    ----------
    tree : Tree
        Of the rows.
    pairs : array-like of int, shape (P, 2)
        Distinct pairs, such as those of :func:`merge_pairs` that got an answer, and
        any whose answer was known before.
    k_min, k_max : int
        The range of k that they were drawn for.

    Returns
    -------
    weights : ndarray of float, shape (P,)
        The mean of answers 0 and 1 with these weights estimates the share of pairs of
        one kind, and their sum times the answers the number of these.

    Raises
    ------
    ValueError
        If not ``1 <= k_min < k_max <= tree.n_leaves``.

    Notes
    -----
    Pairs that the same merge unites share out evenly all :math:`n_a n_b` pairs that it
    unites (the Horvitz-Thompson estimator of a stratified sample). A merge without a
    sampled pair goes to the nearest one with, by the ratio of their k. Pairs within the
    clusters of ``k_max`` are one stratum, and so are those between the clusters of
    ``k_min``; where none of these was sampled, nothing stands for them. So the
    weights add up to all pairs of rows if both were, and to those that are united
    between ``k_max`` and ``k_min`` if neither was.

    Examples
    --------
    >>> import numpy as np
    >>> from skllm_cluster.hierarchy import ward_tree
    >>> from skllm_cluster.sampling import pair_weights
    >>> tree = ward_tree(np.array([[0.0], [1.0], [5.0], [7.0]]))
    >>> tree.level([[0, 1], [1, 2], [3, 1]])
    array([3, 1, 1])
    >>> pair_weights(tree, [[0, 1], [1, 2], [3, 1]], k_min=1, k_max=4)
    array([2., 2., 2.])
    """
    _check(tree, k_min, k_max)
    strata = np.clip(tree.level(pairs), k_min - 1, k_max) - (k_min - 1)
    sampled = np.bincount(strata, minlength=k_max - k_min + 2)
    same = tree.n_same(np.arange(k_min, k_max + 1))
    n = len(tree.leaf_of)
    # Between, each merge, within.
    mass = np.concatenate([[n * (n - 1) // 2], same]) - np.append(same, 0)
    mass = mass.astype(np.float64)
    here = np.flatnonzero(sampled[1:-1])
    if len(here):
        place = np.log(np.arange(k_min, k_max))
        middle = (place[here[1:]] + place[here[:-1]]) / 2
        nearest = here[np.searchsorted(middle, place)]
        mass[1:-1] = np.bincount(nearest, mass[1:-1], minlength=len(place))
    return np.asarray(mass[strata] / sampled[strata])


def _by_stratum(
    tree: Tree, pairs: ArrayLike | None, k_max: int
) -> dict[int, set[tuple[int, int]]]:
    """Sort unordered pairs by level; within clusters of ``k_max`` all are one."""
    found: dict[int, set[tuple[int, int]]] = {}
    if pairs is not None:
        strata = np.minimum(tree.level(pairs), k_max).tolist()
        ordered = np.sort(np.asarray(pairs).reshape(-1, 2), axis=1).tolist()
        for stratum, (a, b) in zip(strata, ordered, strict=True):
            if a != b:
                found.setdefault(stratum, set()).add((a, b))
    return found


class _Merge:
    """All pairs that one merge unites, by number."""

    def __init__(self, tree: Tree, level: int):
        self.stream = level
        self.one, self.two = (tree.members(node) for node in tree.sides(level))
        self.n_pairs = len(self.one) * len(self.two)

    def pair(self, number: int) -> tuple[int, int]:
        row, column = divmod(number, len(self.two))
        return int(self.one[row]), int(self.two[column])


class _Within:
    """All pairs within the clusters of one cut, by number."""

    def __init__(self, tree: Tree, k: int):
        self.stream = 0
        self.rows = [tree.members(node) for node in tree.nodes(k)]
        size = tree.sizes(k).astype(np.int64)
        self.stops = np.cumsum(size * (size - 1) // 2)
        self.n_pairs = int(self.stops[-1])

    def pair(self, number: int) -> tuple[int, int]:
        cluster = int(np.searchsorted(self.stops, number, side="right"))
        rows = self.rows[cluster]
        # Counted from the cluster's end: j (j - 1) / 2 pairs come before row j's.
        t = int(self.stops[cluster]) - 1 - number
        j = (1 + isqrt(1 + 8 * t)) // 2
        return int(rows[t - j * (j - 1) // 2]), int(rows[j])


def _draw(
    source: _Merge | _Within, count: int, banned: set[tuple[int, int]], seed: int
) -> list[tuple[int, int]]:
    """Draw distinct pairs that are not banned, of which there are enough.

    A shuffle of all numbers that keeps note only of those that have moved. What is
    drawn first does not depend on how much is drawn.
    """
    rng = np.random.default_rng([seed, source.stream])
    moved: dict[int, int] = {}
    found: list[tuple[int, int]] = []
    i = 0
    while len(found) < count:
        j = int(rng.integers(i, source.n_pairs))
        a, b = source.pair(moved.get(j, j))
        moved[j] = moved.get(i, i)
        i += 1
        swap = rng.random() < 0.5
        if (min(a, b), max(a, b)) not in banned:
            found.append((b, a) if swap else (a, b))
    return found


def _allot(
    wanted: int, share: NDArray[np.float64], room: NDArray[np.int64], offset: float
) -> NDArray[np.int64]:
    """Spread a number over merges in proportion to their shares, where there is room.

    What a full merge cannot take goes to the others, in further passes.
    """
    counts = np.zeros(len(room), dtype=np.int64)
    while (left := min(wanted, int(room.sum())) - int(counts.sum())) > 0:
        total = np.cumsum(np.where(counts < room, share, 0))
        edges = np.minimum(np.floor(total / total[-1] * left + offset), left)
        more = np.diff(edges, prepend=0).astype(np.int64)
        counts = np.minimum(counts + more, room)
    return counts


def _check(
    tree: Tree,
    k_min: int,
    k_max: int,
    pairs_per_merge: int = 1,
    stratify: str = "merges",
    n_within: int = 0,
) -> None:
    if not 1 <= k_min < k_max <= tree.n_leaves:
        raise ValueError(
            f"k_min and k_max must be 1 <= k_min < k_max <= {tree.n_leaves}, the "
            f"number of leaves of the tree, got {k_min} and {k_max}."
        )
    if stratify not in ("merges", "uniform", "log"):
        raise ValueError(
            f"stratify must be 'merges', 'uniform' or 'log', got {stratify!r}."
        )
    if pairs_per_merge < 1:
        raise ValueError(f"pairs_per_merge must be at least 1, got {pairs_per_merge}.")
    if n_within < 0:
        raise ValueError(f"n_within must not be negative, got {n_within}.")
