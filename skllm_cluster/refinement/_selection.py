"""Which texts to ask about next."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

__all__ = ["least_certain", "margins"]

Ints = NDArray[np.intp]
Floats = NDArray[np.float64]


def margins(posterior: Floats) -> Floats:
    """Say by how much the likeliest class of each text is ahead of the next; (n,)."""
    if posterior.shape[1] < 2:
        return np.ones(len(posterior))
    top = np.partition(posterior, -2, axis=1)[:, -2:]
    return np.asarray(top[:, 1] - top[:, 0])


def least_certain(posterior: Floats, n: int, *, without: Iterable[int] = ()) -> Ints:
    """Choose the texts whose class is least certain.

    Parameters
    ----------
    posterior : ndarray of shape (n, G)
    n : int
        How many.
    without : iterable of int
        Rows that are not to be chosen.

    Returns
    -------
    rows : ndarray of int, at most n of them
        The least certain first.

    Notes
    -----
    Sampling by the smallest margin [1]_. Texts are many and answers few, so that those
    of one place are seldom asked about together: choosing diverse ones among the
    uncertain, or drawing them at random, did worse in our tests, also with wrong
    answers.

    References
    ----------
    .. [1] Scheffer, Decomain, Wrobel, "Active Hidden Markov Models for Information
       Extraction", IDA 2001.
    """
    margin = margins(posterior)
    done = np.fromiter(set(without), dtype=np.intp)
    margin[done] = np.inf
    order = np.argsort(margin, kind="stable")[:n]
    return np.asarray(order[np.isfinite(margin[order])], dtype=np.intp)
