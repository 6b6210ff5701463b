"""What a criterion returns, and what all of them check."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Score", "check_answers", "check_k_values", "undecided"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Score:
    """How well each number of clusters fits, and which fits best.

    Parameters
    ----------
    scores : ndarray of shape (K,)
        One for each of ``k_values``, higher is better; NaN where there is none.
    best : int or None
        The number of clusters chosen, one of ``k_values``. None if the answers do not
        tell one number from another; ``report["reason"]`` says why.
    interval : tuple of (int, int) or None, default=None
        Where the number lies with 90 % of the posterior, both ends among ``k_values``.
        None if the criterion has no idea of its own uncertainty.
    report : dict
        What was estimated on the way, as plain values.

    Examples
    --------
    >>> import numpy as np
    >>> from skllm_cluster.criteria import Score
    >>> Score(np.array([0.1, 0.7]), best=3).best
    3
    """

    scores: Floats
    best: int | None
    interval: tuple[int, int] | None = None
    report: dict[str, Any] = field(default_factory=dict)


def check_k_values(k_values: ArrayLike) -> Ints:
    """Return the candidate numbers of clusters as an array of rising ints."""
    k = np.asarray(k_values)
    if k.ndim != 1 or not len(k) or k.dtype.kind not in "iu":
        raise ValueError(
            "k_values must be a one-dimensional array of ints and not empty, got "
            f"shape {k.shape} and dtype {k.dtype}."
        )
    if k[0] < 1 or (np.diff(k) <= 0).any():
        raise ValueError(
            f"k_values must rise from 1 or more, got {k[:5].tolist()} first."
        )
    return k.astype(np.int64)


def check_answers(
    levels: ArrayLike, answers: ArrayLike, weights: ArrayLike | None
) -> tuple[Ints, Ints, Floats]:
    """Return levels, answers and weights of the pairs whose answer is usable."""
    level, answer = np.asarray(levels), np.asarray(answers)
    weight = np.ones(level.shape) if weights is None else np.asarray(weights, float)
    if level.ndim != 1 or not level.shape == answer.shape == weight.shape:
        raise ValueError(
            "levels, answers and weights must be one-dimensional and of one length, "
            f"got shapes {level.shape}, {answer.shape} and {weight.shape}."
        )
    if not np.isin(answer, (-1, 0, 1)).all():
        raise ValueError(
            "answers must hold 1 (same), 0 (different) or -1 (unusable), got "
            f"{np.unique(answer)[:5].tolist()}."
        )
    if not ((weight > 0) & np.isfinite(weight)).all():
        raise ValueError(
            f"weights must be positive and finite, got {weight.min()} at least."
        )
    usable = answer != -1
    return level[usable].astype(int), answer[usable].astype(int), weight[usable]


def undecided(answers: Ints, n_k: int, n_asked: int) -> Score | None:
    """Return the outcome of answers that are all alike, or None if they are not."""
    n, n_yes = len(answers), int(answers.sum())
    if 0 < n_yes < n:
        return None
    if not n:
        reason = f"none of {n_asked:,} pairs has a usable answer"
    elif n_yes:
        reason = f"all of {n:,} usable answers are 'same': nothing sets clusters apart"
    else:
        reason = (
            f"all of {n:,} usable answers are 'different': nothing limits the number "
            "of clusters"
        )
    report = {"reason": reason, "n_usable": n, "n_yes": n_yes}
    return Score(np.full(n_k, np.nan), None, None, report)
