"""How well partitions of many sets agree with known ones, all at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._expected import expected_information

__all__ = ["mean_interval", "set_scores"]

Floats = NDArray[Any]
Ints = NDArray[np.intp]

# Entities that are scored at a time: some tens of megabytes.
_ENTITIES = 2**19


def set_scores(
    y_true: Sequence[ArrayLike] | NDArray[Any],
    y_pred: Sequence[ArrayLike] | NDArray[Any],
    *,
    average: str | None = "mean",
) -> dict[str, Any]:
    r"""Compare a partition of each set with the known one.

    Parameters
    ----------
    y_true : sequence of S array-likes of shape (N_i,)
        Known labels of the entities of each set: ints, bools or strings. -1 is a label
        like any other: leave out entities of which nothing is known.
    y_pred : sequence of S array-likes of shape (N_i,)
        Cluster of each entity. An array (S, N) is S sets of one size.
    average : {"mean", None}, default="mean"
        Whether to average over the sets.

    Returns
    -------
    scores : dict
        ``"nmi"``, normalised mutual information (arithmetic mean); ``"ami"``, adjusted
        for chance; ``"ri"``, Rand index; ``"ari"``, adjusted for chance; ``"f1"``, see
        :func:`cluster_f1`. Floats, or arrays of shape (S,) if ``average`` is None.

    Raises
    ------
    ValueError
        If there is no set, the numbers of sets differ, or ``average`` is unknown; if
        in a set the numbers of entities differ, or are 0, or labels are of another
        kind.

    See Also
    --------
    mean_interval : How sure a mean over sets is.
    cluster_f1 : The last one, of a single partition.

    Notes
    -----
    The values are scikit-learn's. Equal partitions score exactly 1 in everything. If
    they differ and one of them has a single cluster, NMI and AMI are 0; AMI is also 0
    if one has single entities only. Adjusted scores may be negative, down to -0.5 for
    {0, 0, 1} against {0, 1, 1}. An entity alone in its set always scores 1.

    Nothing is computed set by set. The expected mutual information in AMI is a sum over
    pairs of a true and a predicted cluster that depends on their two sizes only [1]_,
    so that each pair of sizes is computed once for all sets of N entities.

    References
    ----------
    .. [1] N. X. Vinh, J. Epps and J. Bailey, "Information theoretic measures for
       clusterings comparison: is a correction for chance necessary?", ICML 2009.

    Examples
    --------
    >>> from skllm_cluster.metrics import set_scores
    >>> y_true = [["a", "a", "b"], [0, 0]]
    >>> y_pred = [[0, 1, 1], [4, 4]]
    >>> scores = set_scores(y_true, y_pred)
    >>> {name: round(float(value), 3) for name, value in scores.items()}
    {'nmi': 0.637, 'ami': 0.25, 'ri': 0.667, 'ari': 0.25, 'f1': 0.833}
    >>> set_scores(y_true, y_pred, average=None)["ari"]
    array([-0.5,  1. ])
    """
    if average not in ("mean", None):
        raise ValueError(f"average must be 'mean' or None, got {average!r}.")
    if len(y_true) != len(y_pred) or not len(y_true):
        raise ValueError(
            "y_true and y_pred must hold as many sets, at least one, got "
            f"{len(y_true)} and {len(y_pred)}."
        )
    found: dict[str, Floats] = {}
    for sets, true, pred in _by_size(y_true, y_pred):
        for name, values in _scores(true, pred).items():
            found.setdefault(name, np.empty(len(y_true)))[sets] = values
    if average is None:
        return found
    return {name: float(values.mean()) for name, values in found.items()}


def mean_interval(values: ArrayLike) -> tuple[float, float]:
    r"""Give the mean of scores, and half the width of its 95 % interval.

    Parameters
    ----------
    values : array-like of shape (S,)
        One score for each set.

    Returns
    -------
    mean : float
    half_width : float
        :math:`1.96\, s / \sqrt S`, with s the standard deviation (ddof 1). NaN for a
        single value.

    Raises
    ------
    ValueError
        If ``values`` is not one-dimensional, or empty.

    See Also
    --------
    set_scores : With ``average=None``, scores of each set.

    Examples
    --------
    >>> from skllm_cluster.metrics import mean_interval
    >>> mean_interval([0.0, 1.0, 0.5, 0.5])
    (0.5, 0.400...)
    """
    scores = np.asarray(values, dtype=np.float64)
    if scores.ndim != 1 or not len(scores):
        raise ValueError(
            f"values must be one-dimensional and not empty, got shape {scores.shape}."
        )
    n = len(scores)
    half = 1.96 * scores.std(ddof=1) / np.sqrt(n) if n > 1 else np.nan
    return float(scores.mean()), float(half)


def _by_size(y_true: Any, y_pred: Any) -> Iterator[tuple[Ints, Ints, Ints]]:
    """Lay the labels of sets of one size into tables: sets (B,), codes (B, N) twice."""
    true, pred = _label_arrays(y_true, "y_true"), _label_arrays(y_pred, "y_pred")
    sizes = np.array([len(labels) for labels in true])
    others = np.array([len(labels) for labels in pred])
    if (sizes != others).any():
        at = int(np.argmax(sizes != others))
        raise ValueError(
            "y_true and y_pred must have as many labels in each set, got "
            f"{sizes[at]} and {others[at]} in set {at}."
        )
    codes = np.stack([_codes(true), _codes(pred)])  # (2, T)
    starts = np.cumsum(sizes) - sizes
    for size in np.unique(sizes):
        every = np.flatnonzero(sizes == size)
        for sets in np.array_split(every, -(-len(every) * size // _ENTITIES)):
            table = codes[:, starts[sets][:, None] + np.arange(size)]  # (2, B, N)
            yield sets, table[0], table[1]


def _label_arrays(sets: Any, name: str) -> list[NDArray[Any]]:
    arrays = []
    for i, labels in enumerate(map(np.asarray, sets)):
        if labels.ndim != 1 or not len(labels):
            raise ValueError(
                f"The labels of a set must be one-dimensional and not empty, got shape "
                f"{labels.shape} in set {i} of {name}."
            )
        texts = labels.dtype == object and all(isinstance(x, str) for x in labels)
        if not texts and labels.dtype.kind not in "biuU":
            raise ValueError(
                f"Labels must be ints, bools or strings, got {labels.dtype} in set {i} "
                f"of {name}: {labels[:3].tolist()}."
            )
        arrays.append(labels.astype(str) if texts else labels)
    return arrays


def _codes(arrays: list[NDArray[Any]]) -> Ints:
    """Turn the labels of all sets into numbers, shape (T,)."""
    return np.unique(np.concatenate(arrays), return_inverse=True)[1].astype(np.intp)


def _scores(true: Ints, pred: Ints) -> dict[str, Floats]:
    """Score each of E partitions of n entities; codes (E, n), scores (E,)."""
    n_sets, n = true.shape
    width = max(int(true.max()), int(pred.max())) + 1
    recalled, cells, a = _by_cluster(true * width + pred, width)
    precise, _, b = _by_cluster(pred * width + true, width)
    counts = np.arange(n + 1, dtype=np.float64)
    informative = counts * np.log(np.maximum(counts, 1))  # m log m

    def over(runs: tuple[Ints, Ints], values: NDArray[Any]) -> Floats:
        return np.bincount(runs[0], values[runs[1]], minlength=n_sets)

    q_cells, q_a, q_b = (over(x, counts**2) for x in (cells, a, b))
    # Entropies of the labels, of the clusters, and of both together.
    h_cells, h_a, h_b = (np.log(n) - over(x, informative) / n for x in (cells, a, b))
    k_cells, k_a, k_b = (np.bincount(x[0], minlength=n_sets) for x in (cells, a, b))
    equal = (k_cells == k_a) & (k_cells == k_b)
    mutual = np.maximum(h_a + h_b - h_cells, 0)
    mean = (h_a + h_b) / 2
    chance = expected_information(a, b, n_sets, n)
    lump = (k_a == 1) | (k_b == 1)
    apart = (k_a == n) | (k_b == n)
    nmi = _divide(mutual, mean, equal, lump)
    ami = _divide(mutual - chance, mean - chance, equal, lump | apart)
    # Ordered pairs: together in both, only in the labels, only in the clusters, never.
    both, only_a, only_b = q_cells - n, q_a - q_cells, q_b - q_cells
    never = n * (n - 1) - both - only_a - only_b
    ri = _divide(both + never, np.full(n_sets, n * (n - 1)), equal)
    ari = _divide(
        2 * (both * never - only_a * only_b),
        (both + only_a) * (only_a + never) + (both + only_b) * (only_b + never),
        equal,
    )
    f1 = 2 * precise * recalled / (precise + recalled) / n
    return {"nmi": nmi, "ami": ami, "ri": ri, "ari": ari, "f1": f1}


def _by_cluster(
    keys: Ints, width: int
) -> tuple[Floats, tuple[Ints, Ints], tuple[Ints, Ints]]:
    """Count clusters, and what they share with those of another partition.

    Parameters
    ----------
    keys : ndarray of shape (E, n)
        Cluster of each entity in the first partition * width + that in the second.
    width : int

    Returns
    -------
    largest : ndarray of float, shape (E,)
        Sum over the first clusters of the most that each shares with one of the second.
    cells, clusters : tuple of two ndarrays
        Of each cell of the contingency table that is not empty, and of each first
        cluster: which of the E pairs of partitions it is in, and its size.
    """
    n_sets, n = keys.shape
    keys = np.sort(keys, axis=1)
    starts, shared = _runs(keys)
    tops, sizes = _runs(keys // width)
    largest = np.maximum.reduceat(shared, np.searchsorted(starts, tops))
    total = np.bincount(tops // n, largest, minlength=n_sets)
    return total, (starts // n, shared), (tops // n, sizes)


def _runs(keys: Ints) -> tuple[Ints, Ints]:
    """Where runs of equal keys start in each row, counted through all, and how long."""
    new = np.ones(keys.shape, dtype=bool)
    new[:, 1:] = keys[:, 1:] != keys[:, :-1]
    starts = np.flatnonzero(new)
    return starts, np.diff(starts, append=keys.size)


def _divide(
    numerator: NDArray[Any],
    denominator: NDArray[Any],
    one: NDArray[np.bool_],
    zero: NDArray[np.bool_] | None = None,
) -> Floats:
    """Divide, but for the cases in which the result is known to be 1 or else 0."""
    known = one if zero is None else one | zero
    return np.where(known, one, numerator / np.where(known, 1, denominator))
