"""How sure an oracle was of its answers, against how often it was right."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import binomtest

__all__ = ["calibration_table"]


def calibration_table(
    confidence: ArrayLike, correct: ArrayLike, *, n_bins: int = 5
) -> dict[str, Any]:
    r"""Compare how sure an oracle was of its answers with how often it was right.

    Parameters
    ----------
    confidence : array-like of shape (Q,)
        Probability in [0.5, 1] that each answer is right; NaN: not known.
    correct : array-like of int or bool, shape (Q,)
        1 for a right answer, 0 for a wrong one, -1 where that is not known.
    n_bins : int, default=5
        Into how many bins of equal width [0.5, 1] is divided. A confidence on the edge
        of two belongs to the upper one.

    Returns
    -------
    table : dict
        Lists with an entry for each bin that is not empty: ``"low"``, ``"high"``, its
        edges; ``"n"``, how many answers are in it; ``"confidence"``, the mean of
        theirs; ``"correct"``, the share of them that is right; ``"correct_low"``,
        ``"correct_high"``, the 95 % Wilson interval [1]_ of that share.
        ``"left_out"``: number of answers of which one of the two is not known.
        ``"error"``: the expected calibration error; None if all are left out.

    Raises
    ------
    ValueError
        If the two differ in length, a value is out of range, or ``n_bins`` is no
        positive int.

    Notes
    -----
    A calibrated oracle is right as often as it thinks. The expected calibration error
    is the mean distance of the two over the bins, each counting as many times as it has
    answers:

    .. math::

        \frac1N \sum_b n_b \, |\text{confidence}_b - \text{correct}_b|

    With few answers in a bin it is above 0 by chance alone.

    References
    ----------
    .. [1] Wilson, "Probable inference, the law of succession, and statistical
       inference", 1927.

    Examples
    --------
    >>> from skllm_cluster.metrics import calibration_table
    >>> table = calibration_table(
    ...     [0.95, 0.95, 0.95, 0.55, 0.55, 0.8], [1, 1, 0, 1, 0, -1]
    ... )
    >>> table["low"], table["n"], table["left_out"]
    ([0.5, 0.9], [2, 3], 1)
    >>> round(table["error"], 2)  # (2 * |0.55 - 0.5| + 3 * |0.95 - 0.67|) / 5
    0.19
    """
    sure, right = np.asarray(confidence, dtype=np.float64), np.asarray(correct)
    if sure.ndim != 1 or sure.shape != right.shape:
        raise ValueError(
            "confidence and correct must be one-dimensional and of one length, got "
            f"shapes {sure.shape} and {right.shape}."
        )
    if not isinstance(n_bins, (int, np.integer)) or n_bins < 1:
        raise ValueError(f"n_bins must be a positive int, got {n_bins!r}.")
    wrong = (sure < 0.5) | (sure > 1)  # NaN is neither
    if wrong.any():
        raise ValueError(
            f"confidence must be in [0.5, 1] or NaN, got {sure[wrong][0]} at index "
            f"{np.argmax(wrong)}."
        )
    if not np.isin(right, (-1, 0, 1)).all():
        raise ValueError(
            f"correct must hold 1, 0 or -1, got {np.unique(right)[:5].tolist()}."
        )
    known = ~np.isnan(sure) & (right != -1)
    sure, right = sure[known], right[known].astype(bool)
    edges = np.linspace(0.5, 1, n_bins + 1)
    bins = np.minimum(np.searchsorted(edges, sure, side="right"), n_bins) - 1
    rows = [_bin(edges[b : b + 2], sure[bins == b], right[bins == b])
            for b in np.unique(bins)]  # fmt: skip
    names = ("low", "high", "n", "confidence", "correct", "correct_low", "correct_high")
    table: dict[str, Any] = {
        name: [row[place] for row in rows] for place, name in enumerate(names)
    }
    distances = [row[2] * abs(row[3] - row[4]) for row in rows]
    return table | {
        "left_out": int((~known).sum()),
        "error": sum(distances) / len(sure) if len(sure) else None,
    }


def _bin(edges: Any, sure: Any, right: Any) -> tuple[float, ...]:
    """Sum up one bin of a calibration table, in the order of its columns."""
    low, high = map(float, edges)
    n, hits = len(right), int(right.sum())
    interval = binomtest(hits, n).proportion_ci(0.95, method="wilson")
    bounds = (float(interval.low), float(interval.high))
    return low, high, n, float(sure.mean()), hits / n, *bounds
