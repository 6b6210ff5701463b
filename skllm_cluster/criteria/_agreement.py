"""Criteria that compare the answers with each cut of the tree."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import xlogy

from ._score import Floats, Ints, Score, check_answers, check_k_values, undecided

__all__ = ["f_beta", "tree_likelihood"]


def f_beta(
    k_values: ArrayLike,
    levels: ArrayLike,
    answers: ArrayLike,
    *,
    n_same: ArrayLike | None = None,
    n_rows: int | None = None,
    weights: ArrayLike | None = None,
    beta: float = 0.92,
) -> Score:
    r"""Score each cut by the F-measure of its pairs against the answers: the paper's.

    Parameters
    ----------
    k_values : array-like of int, shape (K,)
        Numbers of clusters to choose from, rising.
    levels : array-like of int, shape (P,)
        Of each pair, the largest number of clusters at which its rows are together.
    answers : array-like of int, shape (P,)
        1 same, 0 different, -1 unusable and left out.
    n_same : array-like of shape (K,), optional
        Not used.
    n_rows : int, optional
        Not used.
    weights : array-like of shape (P,), optional
        Checked and not used: the paper counts each answer once.
    beta : float, default=0.92
        Weight of recall against precision. The paper chose 0.92 on Bank77.

    Returns
    -------
    score : Score
        ``report`` has ``"n_usable"``, ``"n_yes"`` and ``"tied"``, the ends of the run
        of numbers from which ``best`` was taken. There is no interval.

    Raises
    ------
    ValueError
        If an argument has a wrong shape or values, or beta is not positive.

    See Also
    --------
    pair_match : Estimates how many pairs belong together; better where the answers
        are coarser than the embedding.

    Notes
    -----
    A cut at k calls a pair the same if and only if k is at most its level s, so that
    for all k at once

    .. math:: F(k) = \frac{(1 + \beta^2)\, T(k)}{\beta^2 Y + P(k)}, \qquad
        P(k) = |\{i: s_i \ge k\}|, \quad T(k) = \sum_{i: s_i \ge k} y_i, \quad
        Y = \sum_i y_i .

    Between two levels of which no pair was drawn all k score alike. Of equal scores
    the run with the fewest clusters counts, and its middle is chosen.

    The measure takes for granted that one cut of the tree is the wanted partition.
    Where no cut is (ten domains in the tree of 150 intents), it prefers two to three
    times too many clusters, with exact answers as well. Its values depend on how pairs
    were sampled; it was made for a fixed number of pairs at each merge.

    References
    ----------
    .. [1] Zhang, Wang and Shang, "ClusterLLM: Large Language Models as a Guide for
       Text Clustering", EMNLP 2023, section 3.2.

    Examples
    --------
    >>> from skllm_cluster.criteria import f_beta
    >>> score = f_beta([2, 3, 4, 5], levels=[2, 3, 4, 5], answers=[0, 0, 1, 1])
    >>> score.best, score.scores.round(2).tolist()
    (4, [0.65, 0.79, 1.0, 0.69])
    """
    k = check_k_values(k_values)
    level, answer, _ = check_answers(levels, answers, weights)
    if not (math.isfinite(beta) and beta > 0):
        raise ValueError(f"beta must be positive, got {beta!r}.")
    nothing = undecided(answer, len(k), np.size(answers))
    if nothing is not None:
        return nothing
    predicted, hits = _together(k, level, answer)
    square = beta**2
    scores = (1 + square) * hits / (square * answer.sum() + predicted)
    best, tied = _first_run(k, scores)
    report = {"n_usable": len(answer), "n_yes": int(answer.sum()), "tied": tied}
    return Score(scores, best, None, report)


def tree_likelihood(
    k_values: ArrayLike,
    levels: ArrayLike,
    answers: ArrayLike,
    *,
    n_same: ArrayLike | None = None,
    n_rows: int | None = None,
    weights: ArrayLike | None = None,
) -> Score:
    r"""Score each cut by the likelihood of the answers, wrong on either side at a rate.

    Parameters
    ----------
    k_values : array-like of int, shape (K,)
        Numbers of clusters to choose from, rising.
    levels : array-like of int, shape (P,)
        Of each pair, the largest number of clusters at which its rows are together.
    answers : array-like of int, shape (P,)
        1 same, 0 different, -1 unusable and left out.
    n_same : array-like of shape (K,), optional
        Not used.
    n_rows : int, optional
        Not used.
    weights : array-like of shape (P,), optional
        Checked and not used: each answer is one observation.

    Returns
    -------
    score : Score
        ``scores`` are log-likelihoods. ``interval`` is the span of all k whose
        log-likelihood is less than 1.353 below the best, half the 90 % point of
        chi-square. ``report`` has the rates at the best k: ``"false_yes"`` of pairs
        apart, ``"false_no"`` of pairs together.

    Raises
    ------
    ValueError
        If an argument has a wrong shape or values.

    See Also
    --------
    pair_match : Does not take for granted that a cut of the tree is right.

    Notes
    -----
    With :math:`n_{ab}` pairs that the cut calls a and the answers b, and the rates of
    wrong answers at their best values, each side on its own,

    .. math:: \ell(k) = \max_{q_0 \le q_1} \sum_a n_{a1} \log q_a +
        n_{a0} \log (1 - q_a) .

    A cut that turns the answers upside down (:math:`q_0 > q_1`) is given one rate for
    both sides. The rates also absorb what the tree gets wrong, so that they are upper
    bounds of the oracle's. Like :func:`f_beta` this looks for a cut, and finds far too
    many clusters where the embedding is finer than the answers.

    Examples
    --------
    >>> from skllm_cluster.criteria import tree_likelihood
    >>> levels = [2, 3, 4, 5, 6, 7, 8, 9]
    >>> score = tree_likelihood(range(2, 10), levels, [0, 0, 0, 0, 1, 0, 1, 1])
    >>> score.best, score.report["false_no"]
    (6, 0.25)
    """
    k = check_k_values(k_values)
    level, answer, _ = check_answers(levels, answers, weights)
    nothing = undecided(answer, len(k), np.size(answers))
    if nothing is not None:
        return nothing
    n, n_yes = len(answer), answer.sum()
    together, yes = _together(k, level, answer)
    apart, yes_apart = n - together, n_yes - yes
    scores = _binomial(yes, together) + _binomial(yes_apart, apart)
    # One rate where the cut says the opposite of the answers.
    upside_down = yes * apart < yes_apart * together
    scores = np.where(upside_down, _binomial(n_yes, n), scores)
    best, tied = _first_run(k, scores)
    near = k[scores >= scores.max() - 1.353]
    i = int(np.searchsorted(k, best))
    report = {
        "n_usable": n,
        "n_yes": int(n_yes),
        "tied": tied,
        "false_yes": float(yes_apart[i] / max(apart[i], 1)),
        "false_no": float(1 - yes[i] / max(together[i], 1)),
    }
    return Score(scores, best, (int(near[0]), int(near[-1])), report)


def _together(k: Ints, level: Ints, answer: Ints) -> tuple[Ints, Ints]:
    """Count the pairs that are together at each k, and those that should be."""
    order = np.argsort(level, kind="stable")
    first = np.searchsorted(level[order], k)  # pairs before it are apart
    hits = np.append(answer[order][::-1].cumsum()[::-1], 0)
    return len(level) - first, hits[first]


def _binomial(successes: Ints, n: Ints | int) -> Floats:
    """Log-likelihood of counts at their own rate, 0 for none."""
    rate = successes / np.maximum(n, 1)
    value = xlogy(successes, rate) + xlogy(n - successes, 1 - rate)
    return np.asarray(value, float)


def _first_run(k: Ints, scores: Floats) -> tuple[int, tuple[int, int]]:
    """Choose the middle of the first run of highest scores."""
    top = scores >= scores.max()
    first = int(np.argmax(top))
    n = int(np.argmin(np.append(top[first:], False)))
    return int(k[first + (n - 1) // 2]), (int(k[first]), int(k[first + n - 1]))
