"""Which classes there are: named by the oracle, or grown from texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import MiniBatchKMeans
from sklearn.metrics import pairwise_distances_argmin

from ._interview import NONE, Classes, Interview

__all__ = ["coverage", "grow_classes", "name_classes"]

Ints = NDArray[np.intp]

# Texts shown at once to be named, and how many lots in a row may need no new name.
SHOWN, PATIENCE = 40, 3
# Texts that are asked about at once while classes grow, and how alike two of them may
# be for both to found a class in one go.
BLOCK, ALIKE = 16, 0.5


def coverage(vectors: NDArray[Any], n_rows: int, seed: int) -> Ints:
    """Choose texts that stand for all: the middle of each of many small groups.

    Parameters
    ----------
    vectors : ndarray of shape (n, d)
    n_rows : int
        How many groups to make.
    seed : int

    Returns
    -------
    rows : ndarray of int
        At most ``n_rows``, those of large groups first.
    """
    n_rows = min(n_rows, len(vectors))
    if n_rows < 1:
        return np.empty(0, dtype=np.intp)
    groups = MiniBatchKMeans(
        n_rows, n_init=1, max_iter=30, batch_size=2048, random_state=seed
    ).fit(vectors)
    rows = pairwise_distances_argmin(groups.cluster_centers_, vectors)
    size = np.bincount(groups.labels_, minlength=n_rows)
    rows = rows[np.argsort(-size, kind="stable")]
    first = np.unique(rows, return_index=True)[1]
    return np.asarray(rows[np.sort(first)], dtype=np.intp)


def name_classes(interview: Interview, order: Ints, *, limit: int) -> None:
    """Show texts, some at a time, until they need no further name.

    Parameters
    ----------
    interview : Interview
        Is given the classes.
    order : ndarray of int
        The texts to show, in this order.
    limit : int
        How many times to ask at most.
    """
    quiet = 0
    for start in range(0, min(len(order), limit * SHOWN), SHOWN):
        found = interview.propose(order[start : start + SHOWN].tolist())
        quiet = 0 if found else quiet + 1
        # Who has named nothing yet may have missed some lots.
        if quiet == (PATIENCE if interview.classes.named else 2 * PATIENCE):
            break


def grow_classes(
    interview: Interview,
    vectors: NDArray[Any],
    rows: Sequence[int],
    *,
    n_options: int,
    limit: int,
) -> None:
    """Take texts to the classes found so far; who belongs to none founds another.

    A text has to be told so twice, and of all classes if they are too many to be shown
    at once: classes that are there twice are what costs most.

    Parameters
    ----------
    interview : Interview
    vectors : ndarray of shape (n, d)
        Of length 1. The classes nearest to a text are shown.
    rows : sequence of int
    n_options : int
        Classes shown at once.
    limit : int
        Ends when so many questions have been asked in all.
    """
    classes = interview.classes
    queue = [int(i) for i in rows]
    if queue and not len(classes):
        first = queue.pop(0)
        interview.learn(first, classes.add(exemplars=[first]))
    seen: dict[int, set[int]] = {}
    while queue and interview.spent < limit:
        batch, queue = queue[:BLOCK], queue[BLOCK:]
        shown = [_nearest(classes, vectors, i, n_options, seen.get(i)) for i in batch]
        said = interview.choose(batch, shown)
        unplaced = [
            (i, options)
            for i, options, answer in zip(batch, shown, said, strict=False)
            if answer == NONE
        ]
        again: list[int] = []
        founders: list[int] = []
        for i, options in unplaced:
            doubted = i in seen
            seen.setdefault(i, set()).update(options)
            if not doubted or any(vectors[i] @ vectors[j] > ALIKE for j in founders):
                again.append(i)
            else:
                founders.append(i)
        for i in founders:
            interview.learn(i, classes.add(exemplars=[i]))
        queue = again + queue


def _nearest(
    classes: Classes, vectors: NDArray[Any], row: int, n: int, seen: set[int] | None
) -> list[int]:
    """Rank classes by their exemplars; those that were not shown yet first."""
    alike = [
        max((vectors[i] @ vectors[row] for i in own), default=1.0)  # only named
        for own in classes.exemplars
    ]
    order = np.argsort(-np.array(alike), kind="stable").tolist()
    fresh = [c for c in order if not seen or c not in seen]
    return (fresh or order)[:n]
