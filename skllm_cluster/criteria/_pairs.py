"""Criteria that estimate how the answers change along the levels of the tree."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit

from ._rise import Rise, fit_rise
from ._score import Floats, Ints, Score, check_answers, check_k_values, undecided

__all__ = ["effective_number", "pair_match"]

# How much the log of an estimate is off beyond what the answers leave open: the tree's
# clusters differ from the classes. benchmarks/granularity.py says where it was chosen.
_SPREAD = 0.2


def pair_match(
    k_values: ArrayLike,
    levels: ArrayLike,
    answers: ArrayLike,
    *,
    n_same: ArrayLike,
    n_rows: int,
    weights: ArrayLike | None = None,
    flip_rate: float | None = None,
    evenness: float = 0.25,
) -> Score:
    r"""Choose the cut that joins as many pairs as belong together by the answers.

    Parameters
    ----------
    k_values : array-like of int, shape (K,)
        Numbers of clusters to choose from, rising.
    levels : array-like of int, shape (P,)
        Of each pair, the largest number of clusters at which its rows are together,
        also where this is beyond ``k_values``.
    answers : array-like of int, shape (P,)
        1 same, 0 different, -1 unusable and left out.
    n_same : array-like of shape (K,)
        Unordered pairs of rows that are together at each of ``k_values``.
    n_rows : int
        Rows in the tree.
    weights : array-like of shape (P,), optional
        How many pairs of rows each one stands for. Needed if pairs of one level had
        unequal chances; weights that differ between levels only change next to
        nothing.
    flip_rate : float, optional
        Share of answers that are wrong, of either kind, in [0, 0.5): 0 for an oracle
        that makes no mistakes. Fitted if None.
    evenness : float, default=0.25
        How equal in size the classes are taken to be, in [0, 1]: for 0 as little as
        the clusters of the cut, for 1 all of one size.

    Returns
    -------
    score : Score
        ``scores`` are the log density of the posterior of log pairs, up to a constant.
        ``report`` has

        * ``"n_pairs"``: pairs of rows that belong together, estimated (mean of log);
        * ``"share"``: the same, of all pairs;
        * ``"effective_number"``: how many equal classes have as many;
        * ``"beyond"``: ``"low"`` or ``"high"`` if k is more likely below or above all
          of ``k_values`` than not, by the answers alone, else None;
        * ``"false_yes"``, ``"false_no"``: posterior means of the rates of wrong
          answers;
        * ``"purity"``: of the share of pairs of the finest levels that belong together;
        * ``"slope"``: of how fast the share rises with log level;
        * ``"n_usable"``, ``"n_yes"``.

    Raises
    ------
    ValueError
        If an argument has a wrong shape or values.

    See Also
    --------
    effective_number : The same estimate, read as a number of equal classes.
    f_beta : The paper's criterion.
    skllm_cluster.sampling.level_pairs : The sampling that it was made for.

    Notes
    -----
    A pair of level s belongs together with probability

    .. math:: p(s) = u\, \sigma(b (\log (s + \tfrac12) - c)),

    and is answered "same" with probability :math:`l + (1 - l - e)\, p(s)`, where l and
    e are the rates of false "same" and of false "different". A grid of models is
    weighed by the likelihood of the answers and by a prior: slopes b near 1.5 (Cauchy
    in log b, scale 0.2), purities u near 0.85 (scale 0.2); l is 0, or one of five
    values from 0.06 to 0.27 of which each is a third as likely; e is 0, l or 3 l. A
    model predicts how many pairs belong together, :math:`S = \sum_s W_s\, p(s)` with
    :math:`W_s` the pairs of rows of level s, which the tree knows. (Within the smallest
    cut's clusters and between the largest cut's, levels are not known one by one: the
    former count as twice the largest k.) Models whose S is that of no cut in
    ``k_values`` are held for impossible; of the others, the mean of log S decides. The
    clusters of that cut are more unequal in size than the classes of most corpora. So
    its number and the :func:`effective_number` are averaged, geometrically, with the
    weights 1 - w and w, w being the evenness. The interval is that of a normal
    distribution with the variance of log S and, for what the answers cannot tell, a
    scale of 0.2.

    No cut of the tree need be right: S does not suffer from a tree that splits classes.
    Mistakes are told from a wrong tree by the answers at the coarsest levels, where
    next to no pair belongs together.

    Where it fails: half of all pairs are in the topmost merge. If answers are wrong and
    the embedding hardly sees the classes, the few percent of those pairs that belong
    together cannot be told from mistakes, and the prior decides about them. If "same"
    is said wrongly far more often than "different", too few clusters come out, and too
    many in the reverse case. Too few clusters come out as well if classes are more
    unequal in size than the tree's clusters (S is ruled by the large ones).

    Examples
    --------
    >>> import numpy as np
    >>> from skllm_cluster.criteria import pair_match
    >>> k = np.arange(2, 41)
    >>> n_same = 5000 / k
    >>> levels = np.tile(np.arange(2, 41), 5)
    >>> score = pair_match(k, levels, levels >= 10, n_same=n_same, n_rows=100)
    >>> score.best, score.interval, round(score.report["false_yes"], 2)
    (9, (6, 13), 0.0)
    """
    case = _Case.of(k_values, levels, answers, weights, flip_rate)
    same = _check_n_same(n_same, len(case.k), n_rows)
    if not 0 <= evenness <= 1:
        raise ValueError(f"evenness must be in [0, 1], got {evenness}.")
    return case.match(_evened(case.k, same, n_rows, evenness), same, n_rows)


def effective_number(
    k_values: ArrayLike,
    levels: ArrayLike,
    answers: ArrayLike,
    *,
    n_same: ArrayLike,
    n_rows: int,
    weights: ArrayLike | None = None,
    flip_rate: float | None = None,
) -> Score:
    r"""Choose the number of equal classes that have as many pairs as the answers say.

    Parameters
    ----------
    k_values : array-like of int, shape (K,)
        Numbers of clusters to choose from, rising.
    levels : array-like of int, shape (P,)
        Of each pair, the largest number of clusters at which its rows are together,
        also where this is beyond ``k_values``.
    answers : array-like of int, shape (P,)
        1 same, 0 different, -1 unusable and left out.
    n_same : array-like of shape (K,)
        Unordered pairs of rows that are together at each of ``k_values``.
    n_rows : int
        Rows in the tree.
    weights : array-like of shape (P,), optional
        As for :func:`pair_match`.
    flip_rate : float, optional
        As for :func:`pair_match`.

    Returns
    -------
    score : Score
        As for :func:`pair_match`.

    Raises
    ------
    ValueError
        If an argument has a wrong shape or values.

    See Also
    --------
    pair_match : Better for classes of unequal sizes.

    Notes
    -----
    With S pairs of n rows that belong together,

    .. math:: k = \frac{n^2}{2 S + n} = \frac{n^2}{\sum_c n_c^2},

    the number of classes if all are equally large, and fewer than there are if they
    are not: 0.71 of them for sizes spread evenly in log from 1 to 10. Balanced corpora
    flatter it.

    Examples
    --------
    >>> import numpy as np
    >>> from skllm_cluster.criteria import effective_number
    >>> k = np.arange(2, 41)
    >>> levels = np.tile(np.arange(2, 41), 5)
    >>> score = effective_number(k, levels, levels >= 10, n_same=5000 / k, n_rows=100)
    >>> score.best
    9
    """
    case = _Case.of(k_values, levels, answers, weights, flip_rate)
    same = _check_n_same(n_same, len(case.k), n_rows)
    return case.match(n_rows * (n_rows / case.k - 1) / 2, same, n_rows)


class _Case(NamedTuple):
    """Checked arguments of one call, and what the answers say."""

    k: Ints
    n_usable: int
    n_yes: int
    nothing: Score | None
    rise: Rise

    @classmethod
    def of(
        cls,
        k_values: ArrayLike,
        levels: ArrayLike,
        answers: ArrayLike,
        weights: ArrayLike | None,
        flip_rate: float | None,
    ) -> _Case:
        k = check_k_values(k_values)
        level, answer, weight = check_answers(levels, answers, weights)
        if flip_rate is not None and not 0 <= flip_rate < 0.5:
            raise ValueError(f"flip_rate must be in [0, 0.5) or None, got {flip_rate}.")
        nothing = undecided(answer, len(k), np.size(answers))
        rise = Rise(*(np.empty(0),) * 6)
        if nothing is None:
            rise = fit_rise(level, answer, weight, int(k[-1]), flip_rate)
        return cls(k, len(answer), int(answer.sum()), nothing, rise)

    def match(self, wanted: Floats, n_same: Floats, n_rows: int) -> Score:
        """Choose the k whose ``wanted`` (K,) pairs are as many as belong together."""
        if self.nothing is not None:
            return self.nothing
        axis = -np.log(np.maximum(wanted, 0.5))
        log_same = _log_same(self.rise, self.k, n_same, n_rows)
        score, mean = self.choose(axis, -log_same)
        n_pairs = float(np.exp(-mean))
        score.report["n_pairs"] = n_pairs
        score.report["share"] = n_pairs / (n_rows * (n_rows - 1) / 2)
        score.report["effective_number"] = n_rows**2 / (2 * n_pairs + n_rows)
        return score

    def choose(self, axis: Floats, shape: Floats) -> tuple[Score, float]:
        """Find the k nearest to the mean of ``shape`` (B, C) minus log u.

        The mean is on an axis (K,) that rises as log k does, and returned as well.
        """
        rise, below, above = self.rise.between(shape, axis[0], axis[-1])
        mean, variance = rise.moments(shape)
        scale = np.sqrt(variance + _SPREAD**2)
        ends = mean + 1.645 * scale * np.array([-1, 1])
        best, low, high = (
            int(self.k[np.argmin(np.abs(axis - place))]) for place in (mean, *ends)
        )
        zero = np.zeros(shape.shape)
        report = {
            "beyond": "low" if below > 0.5 else "high" if above > 0.5 else None,
            "false_yes": rise.mean(rise.false_yes, zero),
            "false_no": rise.mean(rise.false_no, zero),
            "purity": float(np.exp(rise.mean(rise.log_top[:, 0], zero))),
            "slope": rise.mean(0.0, zero + rise.slope[:, None]),
            "n_usable": self.n_usable,
            "n_yes": self.n_yes,
        }
        scores = -(((axis - mean) / scale) ** 2) / 2
        return Score(scores, best, (low, high), report), mean


def _evened(k: Ints, n_same: Floats, n_rows: int, evenness: float) -> Floats:
    """How many pairs k classes have whose sizes are so much more equal, (K,)."""
    log_same = np.log(np.maximum(n_same, 0.5))
    equal = np.log(n_rows**2 / (2 * n_same + n_rows))
    # What the cuts' pairs are taken to mean, and beyond the last as for equal classes.
    meant = (1 - evenness) * np.log(k) + evenness * equal
    meant = np.append(meant, meant[-1] + 9)
    log_same = np.append(log_same, log_same[-1] - 9)
    return np.asarray(np.exp(np.interp(np.log(k), meant, log_same)))


def _log_same(rise: Rise, k: Ints, n_same: Floats, n_rows: int) -> Floats:
    """Log of the pairs that belong together, of such trees, (B, C)."""
    n_pairs = np.concatenate([[n_rows * (n_rows - 1) / 2], n_same, [0]])
    # Levels k[i] ... k[i + 1] - 1 separate between cut i and the next.
    low, high = np.append(1, k), np.append(np.maximum(k - 1, 1), 4 * k[-1])
    share = _share(rise, np.log(np.sqrt(low * high) + 0.5))
    return np.asarray(np.log(np.maximum(share @ -np.diff(n_pairs), 0.5)))


def _share(rise: Rise, x: Floats) -> Floats:
    """Share of pairs at a log level (X,) that belong together, (B, C, X)."""
    apart = x - rise.center[:, None]
    return np.asarray(expit(rise.slope[:, None, None] * apart))


def _check_n_same(n_same: ArrayLike, n_k: int, n_rows: int) -> Floats:
    same = np.asarray(n_same, float)
    if same.shape != (n_k,):
        raise ValueError(
            f"n_same must have one value for each of {n_k} k_values, got shape "
            f"{same.shape}."
        )
    if (np.diff(same) > 0).any() or same[-1] < 0 or same[0] > n_rows * (n_rows - 1) / 2:
        raise ValueError(
            "n_same must fall from at most all pairs of n_rows "
            f"({n_rows * (n_rows - 1) // 2:,}) to at least 0, got {same[0]:,.0f} first "
            f"and {same[-1]:,.0f} last."
        )
    return same
