"""The mutual information that two partitions have by chance."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

__all__ = ["expected_information"]

# Terms that are held at a time: some tens of megabytes.
_TERMS = 2**20

Clusters = tuple[NDArray[np.intp], NDArray[np.intp]]


def expected_information(
    true: Clusters, pred: Clusters, n_sets: int, n: int
) -> NDArray[np.float64]:
    r"""Give the mutual information that random partitions are expected to have.

    Parameters
    ----------
    true, pred : tuple of two ndarrays of int
        Of each cluster, which of the E pairs of partitions it is in, and its size.
    n_sets : int
        E.
    n : int
        Entities in each partition.

    Returns
    -------
    information : ndarray of shape (E,)
        In nats.

    Notes
    -----
    With a and b the sizes of two clusters, the expectation is the sum over all pairs of
    clusters of

    .. math::

        T(a, b) = \sum_k \frac kn \log \frac{nk}{ab}
            \binom{a}{k} \binom{n - a}{b - k} \Big/ \binom nb,

    the number k that they share being hypergeometric.
    """
    a, n_a = _histograms(*true, n_sets)
    b, n_b = _histograms(*pred, n_sets)
    together = (n_a > 0).astype(float).T @ (n_b > 0) > 0  # sizes that meet in a pair
    row, column = np.nonzero(together)
    table = np.zeros(together.shape)
    table[row, column] = _terms(a[row], b[column], n)
    return np.asarray(np.einsum("eb,eb->e", n_a @ table, n_b))


def _histograms(
    owner: NDArray[np.intp], size: NDArray[np.intp], n_sets: int
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Sizes that occur, (U,), and how many clusters of each a partition has, (E, U)."""
    sizes, code = np.unique(size, return_inverse=True)
    counts = np.bincount(owner * len(sizes) + code, minlength=n_sets * len(sizes))
    return sizes, counts.reshape(n_sets, -1).astype(np.float64)


def _terms(a: NDArray[np.intp], b: NDArray[np.intp], n: int) -> NDArray[np.float64]:
    """T(a, b) of each pair of sizes, shape (P,)."""
    least = np.maximum(1, a + b - n)
    number = np.minimum(a, b) - least + 1
    found = np.empty(len(a))
    ends = np.cumsum(number)
    first = 0
    while first < len(a):
        done = ends[first - 1] if first else 0
        last = max(first + 1, int(np.searchsorted(ends, done + _TERMS, side="right")))
        here = slice(first, last)
        found[here] = _sums(a[here], b[here], least[here], number[here], n)
        first = last
    return found


def _sums(a: Any, b: Any, least: Any, number: Any, n: int) -> Any:
    """Sum the terms of each pair, for k from ``least``, as many as ``number``."""
    starts = np.cumsum(number) - number
    k = np.arange(number.sum()) - np.repeat(starts - least, number)
    f = gammaln(np.arange(n + 1) + 1.0)  # logarithms of factorials
    log = np.log(np.maximum(np.arange(n + 1), 1))
    fixed = f[a] + f[b] + f[n - a] + f[n - b] - f[n]
    a, b, fixed = (np.repeat(x, number) for x in (a, b, fixed))
    chance = np.exp(fixed - f[k] - f[a - k] - f[b - k] - f[n - a - b + k])
    gain = log[n] + log[k] - log[a] - log[b]
    return np.add.reduceat(k / n * gain * chance, starts)
