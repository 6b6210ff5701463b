"""Pairs that a tree's merges put together, to ask whether that was right."""

from __future__ import annotations

import warnings
from bisect import bisect_left
from collections.abc import Iterator
from itertools import islice
from math import log
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_random_state

from ._tree import Tree

__all__ = ["level_pairs", "merge_pairs", "pair_weights"]

# Levels are drawn up to this one.
_FINEST = 800
# Multiples of it spread evenly over [0, 1), however many there are.
_GOLDEN = (5**0.5 - 1) / 2


def level_pairs(
    tree: Tree,
    *,
    k_min: int = 2,
    k_max: int = 200,
    pairs_per_merge: int = 3,
    exclude: ArrayLike | None = None,
    random_state: Any = None,
) -> NDArray[np.intp]:
    r"""Draw pairs of rows whose levels are spread evenly on a log scale.

    Parameters
    ----------
    tree : Tree
        Of the rows.
    k_min, k_max : int, default=2 and 200
        The range of numbers of clusters that one wants to choose from. It only says
        how many pairs are drawn.
    pairs_per_merge : int, default=3
        λ of the paper. λ (k_max - k_min) pairs are drawn in all, as many as
        :func:`merge_pairs` draws.
    exclude : array-like of int, shape (E, 2), default=None
        Pairs that are not to be asked, in either order, such as demonstrations.
    random_state : int, RandomState instance or None, default=None
        Determines the draws.

    Returns
    -------
    pairs : ndarray of int, shape (P, 2)
        Distinct unordered pairs; which row comes first is random. Of the same tree
        and seed the first pairs are the same however many are drawn.

    Raises
    ------
    ValueError
        If not ``1 <= k_min < k_max <= tree.n_leaves``, or pairs_per_merge is below 1.

    Warns
    -----
    UserWarning
        If fewer pairs exist than are wanted.

    See Also
    --------
    merge_pairs : The paper's sampling, the same number from each merge.

    Notes
    -----
    Each doubling of the level, from 1 up to 800 or the number of leaves, gets about
    as many pairs, as does each part of the draw: the log levels are multiples of the
    golden ratio, modulo their range. A merge gives each of its pairs with the same
    chance; one that has no pair left is replaced by the nearest that has, by the ratio
    of their levels.

    The levels outside of the range from k_min to k_max tell what the others do not.
    The few pairs that the topmost merges unite wrongly or rightly stand for half of
    all pairs. The pairs of the finest levels belong together if any do, so that their
    answers tell how often answers are wrong.

    A grid over λ or ranges of k asks no more than its largest member does.

    Examples
    --------
    >>> import numpy as np
    >>> from skllm_cluster.hierarchy import ward_tree
    >>> from skllm_cluster.sampling import level_pairs
    >>> tree = ward_tree(np.random.default_rng(0).normal(size=(256, 2)))
    >>> pairs = level_pairs(tree, k_max=42, random_state=0)
    >>> pairs.shape
    (120, 2)
    >>> np.histogram(tree.level(pairs), [1, 4, 16, 64, 256])[0]
    array([31, 30, 30, 29])
    """
    _check(tree, k_min, k_max, pairs_per_merge)
    rng = check_random_state(random_state)
    seed, offset = int(rng.randint(2**31 - 1)), rng.random_sample()
    wanted = pairs_per_merge * (k_max - k_min)
    top = log(min(_FINEST, tree.n_leaves))
    targets = np.exp((offset + _GOLDEN * np.arange(wanted)) % 1 * top)
    banned = _by_level(tree, exclude)
    room = -np.diff(tree.n_same(np.arange(1, tree.n_leaves + 1)))
    room -= [len(banned.get(s, ())) for s in range(1, tree.n_leaves)]
    open_ = (1 + np.flatnonzero(room)).tolist()
    streams: dict[int, Iterator[tuple[int, int]]] = {}
    drawn: list[tuple[int, int]] = []
    for target in targets.astype(int).tolist():
        if not open_:
            warnings.warn(
                f"Only {len(drawn):,} distinct pairs exist that merges unite, fewer "
                f"than the {wanted:,} asked for; all are returned.",
                UserWarning,
                stacklevel=2,
            )
            break
        i = _nearest(open_, target)
        s = open_[i]
        if s not in streams:
            streams[s] = _stream(tree, s, banned, seed)
        drawn.append(next(streams[s]))
        room[s - 1] -= 1
        if not room[s - 1]:
            del open_[i]
    return np.array(drawn, dtype=np.intp).reshape(-1, 2)


def merge_pairs(
    tree: Tree,
    *,
    k_min: int = 2,
    k_max: int = 200,
    pairs_per_merge: int = 3,
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
        λ of the paper: how many pairs each merge gives. One of small clusters may
        have fewer; it gives all.
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
        If not ``1 <= k_min < k_max <= tree.n_leaves``, or pairs_per_merge is below 1.

    See Also
    --------
    level_pairs : Spreads as many evenly on a log scale.
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
    _check(tree, k_min, k_max, pairs_per_merge)
    rng = check_random_state(random_state)
    seed = int(rng.randint(2**31 - 1))
    banned = _by_level(tree, exclude)
    drawn = [
        pair
        for s in range(k_min, k_max)
        for pair in islice(_stream(tree, s, banned, seed), pairs_per_merge)
    ]
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
        Distinct pairs, such as those of :func:`merge_pairs` or :func:`level_pairs`
        that got an answer, and any whose answer was known before.
    k_min, k_max : int
        Each merge between these numbers of clusters is a stratum: the range that
        ``merge_pairs`` drew for, or 1 and ``tree.n_leaves`` for ``level_pairs``.

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


def _by_level(tree: Tree, pairs: ArrayLike | None) -> dict[int, set[tuple[int, int]]]:
    """Sort unordered pairs by level."""
    found: dict[int, set[tuple[int, int]]] = {}
    if pairs is not None:
        levels = tree.level(pairs).tolist()
        ordered = np.sort(np.asarray(pairs).reshape(-1, 2), axis=1).tolist()
        for level, (a, b) in zip(levels, ordered, strict=True):
            found.setdefault(level, set()).add((a, b))
    return found


def _nearest(levels: list[int], target: int) -> int:
    """Where in a rising list the level is whose ratio to the target is nearest to 1."""
    i = bisect_left(levels, target)
    if i == len(levels):
        return i - 1
    return i - (i > 0 and target**2 < levels[i - 1] * levels[i])


def _stream(
    tree: Tree, level: int, banned: dict[int, set[tuple[int, int]]], seed: int
) -> Iterator[tuple[int, int]]:
    """Yield the pairs that one merge unites, but those that are banned, in any order.

    A shuffle of their numbers that keeps note only of those that have moved. What
    comes first does not depend on how much is drawn.
    """
    one, two = (tree.members(node) for node in tree.sides(level))
    shown = banned.get(level, set())
    n_pairs = len(one) * len(two)
    rng = np.random.default_rng([seed, level])
    moved: dict[int, int] = {}
    for i in range(n_pairs):
        j = int(rng.integers(i, n_pairs))
        row, column = divmod(moved.get(j, j), len(two))
        moved[j] = moved.get(i, i)
        a, b = sorted((int(one[row]), int(two[column])))
        swap = rng.random() < 0.5
        if (a, b) not in shown:
            yield (b, a) if swap else (a, b)


def _check(tree: Tree, k_min: int, k_max: int, pairs_per_merge: int = 1) -> None:
    if not 1 <= k_min < k_max <= tree.n_leaves:
        raise ValueError(
            f"k_min and k_max must be 1 <= k_min < k_max <= {tree.n_leaves}, the "
            f"number of leaves of the tree, got {k_min} and {k_max}."
        )
    if pairs_per_merge < 1:
        raise ValueError(f"pairs_per_merge must be at least 1, got {pairs_per_merge}.")
