"""From as many classes as were found to as many as are wanted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.metrics import silhouette_score

from ._interview import N_EXEMPLARS, Interview

__all__ = ["ask_which_are_one", "grouped", "join", "merge_to", "overlaps", "split_to"]

Ints = NDArray[np.intp]
Floats = NDArray[np.float64]
PairOfClasses = tuple[int, int]

# Classes that a class is compared with at once.
N_RIVALS = 12
# A large class is looked at through so many of its texts.
SAMPLE = 500


def overlaps(posterior: Floats) -> Floats:
    """Say how hard classes are to tell apart, from 0 to 1 (Bhattacharyya); (G, G).

    Parameters
    ----------
    posterior : ndarray of shape (n, G)

    Returns
    -------
    overlaps : ndarray of shape (G, G)
        The diagonal is -1.
    """
    root = np.sqrt(posterior)
    mass = np.sqrt(np.maximum(posterior.sum(axis=0), 1e-12))
    found = (root.T @ root) / np.outer(mass, mass)
    np.fill_diagonal(found, -1.0)
    return np.asarray(found)


def ask_which_are_one(
    interview: Interview, posterior: Floats, *, limit: int, n_options: int
) -> list[PairOfClasses]:
    """Ask of the classes that are hardest to tell apart whether they are one.

    Texts of a class are shown, and its rivals as options. Two classes are one if
    both answers say so, from either side.

    Parameters
    ----------
    interview : Interview
    posterior : ndarray of shape (n, G)
    limit : int
        Classes to ask about. Each that is said to be another is asked about again.
    n_options : int
        Classes shown at once, at most.

    Returns
    -------
    pairs : list of (int, int)
        Those that are hardest to tell apart first.
    """
    alike = overlaps(posterior)
    exemplars = interview.classes.exemplars
    order = [int(c) for c in np.argsort(-alike.max(axis=1), kind="stable")]
    order = [c for c in order if exemplars[c]][:limit]
    said = interview.choose_aside(
        [exemplars[c][:N_EXEMPLARS] for c in order],
        [_rivals(alike, c, n_options) for c in order],
        "merges",
    )
    claims = [(c, int(a)) for c, a in zip(order, said, strict=False) if a >= 0]
    agreed = {(min(p), max(p)) for p in claims if p[::-1] in claims}
    open_ = [p for p in claims if (min(p), max(p)) not in agreed and exemplars[p[1]]]
    said = interview.choose_aside(
        [exemplars[b][:N_EXEMPLARS] for _, b in open_],
        [
            list(dict.fromkeys([a, *_rivals(alike, b, n_options)]))[:n_options]
            for a, b in open_
        ],
        "merges",
    )
    back = zip(open_, said, strict=False)
    agreed |= {(min(p), max(p)) for p, answer in back if answer == p[0]}
    return sorted(agreed, key=lambda pair: (-alike[pair], pair))


def join(n_classes: int, pairs: Sequence[PairOfClasses]) -> Ints:
    """Give each class a number, and one number to those of a pair; (G,)."""
    root = np.arange(n_classes)
    for a, b in pairs:
        root[root == root[b]] = root[a]
    return np.asarray(np.unique(root, return_inverse=True)[1], dtype=np.intp)


def grouped(posterior: Floats, numbers: Ints) -> Floats:
    """Add up the classes that have one number; (n, G) -> (n, new number of them)."""
    found = np.zeros((len(posterior), numbers.max() + 1))
    np.add.at(found.T, numbers, posterior.T)
    return found


def merge_to(posterior: Floats, k: int) -> Ints:
    """Merge the classes whose merging mixes up least until k are left.

    What a merger costs is the mass of the smaller class, as far as it can be told from
    the larger one.

    Parameters
    ----------
    posterior : ndarray of shape (n, G)
    k : int

    Returns
    -------
    numbers : ndarray of int, shape (G,)
        The new number of each class, from 0 to k - 1.
    """
    P = posterior.copy()
    numbers = np.arange(P.shape[1])
    while P.shape[1] > k:
        mass = P.sum(axis=0)
        cost = (1 - overlaps(P)) * np.minimum.outer(mass, mass)
        np.fill_diagonal(cost, np.inf)
        a, b = sorted(int(i) for i in np.unravel_index(np.argmin(cost), cost.shape))
        P[:, a] += P[:, b]
        P = np.delete(P, b, axis=1)
        numbers[numbers == b] = a
        numbers[numbers > b] -= 1
    return numbers.astype(np.intp)


def split_to(labels: Ints, *vectors: NDArray[Any], k: int, seed: int) -> Ints:
    """Cut in two the class that falls apart most clearly, until there are k.

    Parameters
    ----------
    labels : ndarray of int, shape (n,)
    *vectors : ndarray of shape (n, d)
        Where the first of them coincide (smoothed ones can), the next are cut.
    k : int
    seed : int

    Returns
    -------
    labels : ndarray of int, shape (n,)
        The part cut off has a new number. Fewer than k classes if no class holds two
        different vectors any more.

    Notes
    -----
    By the silhouette of the two halves. Cutting the largest or the most scattered
    class in two would cost most where it is pure.
    """
    labels = labels.copy()
    for space in vectors:
        if len(np.unique(labels)) >= k:
            break
        cuts = {int(c): _cut(space, labels == c, seed) for c in np.unique(labels)}
        while len(cuts) < k:
            best = max(cuts, key=lambda c: cuts[c][0])
            clear, part = cuts[best]
            if clear == -np.inf:
                break
            new = max(cuts) + 1
            labels[part] = new
            for c in (best, new):
                cuts[c] = _cut(space, labels == c, seed)
    return labels


def _rivals(alike: Floats, c: int, n_options: int) -> list[int]:
    order = np.argsort(-alike[c], kind="stable")[: min(N_RIVALS, n_options)]
    return [int(i) for i in order if i != c]


def _cut(vectors: NDArray[Any], member: NDArray[np.bool_], seed: int) -> Any:
    """Cut off the smaller half; gives how clear the cut is, and the rows."""
    rows = np.flatnonzero(member)
    own = vectors[rows]
    if len(rows) < 2 or np.ptp(own, axis=0).max() < 1e-6:
        return -np.inf, rows
    halves = KMeans(2, n_init=3, random_state=seed).fit_predict(own)
    part = rows[halves == np.bincount(halves, minlength=2).argmin()]
    if len(rows) == 2:
        return -1.0, part
    sample = np.random.RandomState(seed).permutation(len(rows))[:SAMPLE]
    if len(np.unique(halves[sample])) < 2 or len(sample) < 3:
        return -1.0, part
    return float(silhouette_score(own[sample], halves[sample])), part
