"""Criteria that estimate how many pairs of rows belong together."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit

from ._score import Floats, Ints, Score, check_answers, check_k_values, undecided

__all__ = ["effective_number", "pair_match"]

# Grid of models, the same for every corpus: the rise of P(same) with log level, the
# rate of wrong answers. benchmarks/granularity.py says where the priors were chosen.
_SLOPES = np.geomspace(0.33, 8, 14)
_FLIPS = np.array([0, 0.02, 0.04, 0.06, 0.08, 0.1, 0.125, 0.15, 0.175, 0.2, 0.25, 0.3])
_N_CENTERS, _N_BINS = 40, 24


class _Posterior(NamedTuple):
    """Weights of a grid of models, and what each of them says."""

    weight: Floats  # (G,), sums to 1
    log_same: Floats  # (G,) log of the number of same pairs
    flip: Floats  # (G,)
    slope: Floats  # (G,)


def pair_match(
    k_values: ArrayLike,
    levels: ArrayLike,
    answers: ArrayLike,
    *,
    n_same: ArrayLike,
    n_rows: int,
    weights: ArrayLike | None = None,
    flip_rate: float | None = None,
) -> Score:
    r"""Choose the cut that joins as many pairs as belong together by the answers.

    Parameters
    ----------
    k_values : array-like of int, shape (K,)
        Numbers of clusters to choose from, rising.
    levels : array-like of int, shape (P,)
        Of each pair, the largest number of clusters at which its rows are together.
    answers : array-like of int, shape (P,)
        1 same, 0 different, -1 unusable and left out.
    n_same : array-like of shape (K,)
        Unordered pairs of rows that are together at each of ``k_values``.
    n_rows : int
        Rows in the tree.
    weights : array-like of shape (P,), optional
        How many pairs of rows each one stands for. Needed if pairs of one level had
        unequal chances; weights that differ between levels only change nothing.
    flip_rate : float, optional
        Share of answers that are wrong, in [0, 0.5): 0 for an oracle that makes no
        mistakes. Fitted if None.

    Returns
    -------
    score : Score
        ``scores`` are minus the distance in log pairs. ``report`` has

        * ``"n_pairs"``: pairs of rows that belong together, estimated (mean of log);
        * ``"share"``: the same, of all pairs;
        * ``"flip_rate"`` and ``"slope"``: posterior means;
        * ``"effective_number"``: the estimate of :func:`effective_number`;
        * ``"beyond"``: ``"low"`` or ``"high"`` if the estimate lies outside the range
          of ``k_values``, else None;
        * ``"n_usable"``, ``"n_yes"``.

    Raises
    ------
    ValueError
        If an argument has a wrong shape or values.

    See Also
    --------
    effective_number : The same estimate, read as a number of equal classes.
    f_beta : The paper's criterion.

    Notes
    -----
    A pair that is together up to s clusters belongs together with probability
    :math:`p(s) = \sigma(b (\log s - c))`, and is answered "same" with probability
    :math:`e + (1 - 2e)\, p(s)`, e being the rate of wrong answers. Over a grid of b, c
    and e, each model predicts how many pairs belong together,
    :math:`S = \sum_s W_s\, p(s)` with :math:`W_s` the pairs of rows of level s, which
    the tree knows. The mean of log S over the posterior decides; its 5 % and 95 %
    quantiles give the interval. Within the smallest cut's clusters and between the
    largest cut's, levels are not known one by one: the former count as twice the
    largest k. The prior favours slopes b near 0.8
    (Student's t of log b, scale 0.35) and no wrong answers at all; rates from 0.02
    to 0.3 are equally likely.

    No cut need be right: an estimate of S does not suffer from a tree that splits
    classes, as long as p rises with the level. Draw pairs evenly in log s, with some
    from inside the smallest clusters: half of all pairs are in the topmost merge, and
    a few "same" among them are many pairs.

    Where it fails: with 10 % wrong answers, rare pairs of far apart branches cannot be
    told from mistakes, and the prior decides about them. Too few clusters come out
    if classes have very unequal sizes (S is ruled by the large ones). The interval
    holds the uncertainty about S, to the tenth that the grid resolves, and not that
    cluster sizes of the tree differ from class sizes: with exact answers it is too
    narrow.

    Examples
    --------
    >>> import numpy as np
    >>> from skllm_cluster.criteria import pair_match
    >>> k = np.arange(2, 41)
    >>> n_same = 5000 / k
    >>> levels = np.tile(np.arange(2, 41), 5)
    >>> score = pair_match(k, levels, levels >= 10, n_same=n_same, n_rows=100)
    >>> score.best, score.interval, round(score.report["flip_rate"], 2)
    (9, (9, 9), 0.0)
    """
    case = _Case.of(k_values, levels, answers, n_same, n_rows, weights, flip_rate)
    if case.nothing is not None:
        return case.nothing
    return case.choose(case.log_n_same, case.posterior.log_same)


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
        Of each pair, the largest number of clusters at which its rows are together.
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
        As for :func:`pair_match`; ``scores`` are minus the distance in log k.

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
    8
    """
    case = _Case.of(k_values, levels, answers, n_same, n_rows, weights, flip_rate)
    if case.nothing is not None:
        return case.nothing
    return case.choose(-np.log(case.k), -np.log(case.effective(case.posterior)))


class _Case(NamedTuple):
    """Checked arguments of one call, and the posterior they lead to."""

    k: Ints
    log_n_same: Floats
    n_rows: int
    n_yes: int
    n_usable: int
    nothing: Score | None
    posterior: _Posterior

    @classmethod
    def of(
        cls,
        k_values: ArrayLike,
        levels: ArrayLike,
        answers: ArrayLike,
        n_same: ArrayLike,
        n_rows: int,
        weights: ArrayLike | None,
        flip_rate: float | None,
    ) -> _Case:
        k = check_k_values(k_values)
        level, answer, weight = check_answers(levels, answers, weights)
        same = _check_n_same(n_same, len(k), n_rows)
        if flip_rate is not None and not 0 <= flip_rate < 0.5:
            raise ValueError(f"flip_rate must be in [0, 0.5) or None, got {flip_rate}.")
        nothing = undecided(answer, len(k), np.size(answers))
        empty = _Posterior(*(np.empty(0),) * 4)
        model = empty
        if nothing is None:
            model = _fit(k, level, answer, weight, same, n_rows, flip_rate)
        log_same = np.log(np.maximum(same, 0.5))
        n_yes = int(answer.sum())
        return cls(k, log_same, n_rows, n_yes, len(answer), nothing, model)

    def effective(self, posterior: _Posterior) -> Floats:
        """Turn the same pairs of every model into a number of equal classes."""
        return self.n_rows**2 / (2 * np.exp(posterior.log_same) + self.n_rows)

    def choose(self, falling: Floats, estimates: Floats) -> Score:
        """Find the k whose value is nearest to the posterior mean of the estimates.

        ``falling`` (K,) decreases with k and is on the scale of ``estimates`` (G,).
        """
        weight = self.posterior.weight
        mean = float(weight @ estimates)
        scores = -np.abs(falling - mean)
        order = np.argsort(estimates, kind="stable")
        total = weight[order].cumsum()
        ends = estimates[order[np.searchsorted(total, [0.05, 0.95])]]
        high, low = (int(self.k[np.argmin(np.abs(falling - end))]) for end in ends)
        beyond = "low" if mean > falling[0] else "high" if mean < falling[-1] else None
        best = int(self.k[np.argmax(scores)])
        return Score(scores, best, (low, high), self.report() | {"beyond": beyond})

    def report(self) -> dict[str, Any]:
        """Say what the posterior holds."""
        weight = self.posterior.weight
        n_pairs = float(np.exp(weight @ self.posterior.log_same))
        effective = np.exp(weight @ np.log(self.effective(self.posterior)))
        return {
            "n_pairs": n_pairs,
            "share": n_pairs / (self.n_rows * (self.n_rows - 1) / 2),
            "flip_rate": float(weight @ self.posterior.flip),
            "slope": float(weight @ self.posterior.slope),
            "effective_number": float(effective),
            "n_usable": self.n_usable,
            "n_yes": self.n_yes,
        }


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


def _strata(k: Ints, n_same: Floats, n_rows: int) -> tuple[Floats, Floats]:
    """Log level and number of pairs of rows between neighbouring cuts."""
    n_pairs = np.concatenate([[n_rows * (n_rows - 1) / 2], n_same])
    # Levels k[i] ... k[i + 1] - 1 separate between cut i and the next.
    low, high = np.append(1, k), np.append(np.maximum(k - 1, 1), 4 * k[-1])
    return np.log(low * high) / 2, np.append(-np.diff(n_pairs), n_same[-1])


def _fit(
    k: Ints,
    level: Ints,
    answer: Ints,
    weight: Floats,
    n_same: Floats,
    n_rows: int,
    flip_rate: float | None,
) -> _Posterior:
    """Weigh a grid of models by their likelihood and prior."""
    top = np.log(2 * k[-1])
    edges = np.linspace(0, top, _N_BINS + 1)[1:-1]
    # As for their stratum: what the tree knows of them is one number.
    x = np.log(np.where(level >= k[-1], 2 * k[-1], np.maximum(level, 1)))
    counts, hits, centers = _binned(x, answer, weight, edges)
    flips = _FLIPS if flip_rate is None else np.array([flip_rate])
    middle = np.linspace(0, np.log(30 * k[-1]), _N_CENTERS)
    b, c = (grid.ravel() for grid in np.meshgrid(_SLOPES, middle))  # (M,)
    p = expit(b[:, None] * (centers - c[:, None]))  # (M, bins)
    q = flips[:, None, None] + (1 - 2 * flips[:, None, None]) * p  # (E, M, bins)
    q = np.clip(q, 1e-9, 1 - 1e-9)
    fit = np.log(q) @ hits + np.log1p(-q) @ (counts - hits)  # (E, M)
    # No wrong answer at all is as likely as any rate of seven on the grid.
    fit += 2.0 * (flips == 0)[:, None]
    # Student's t with 3 degrees of freedom: a tree that is right has a steep slope.
    fit -= 2 * np.log1p((np.log(b / 0.8) / 0.35) ** 2 / 3)
    posterior = np.exp(fit - fit.max())
    posterior /= posterior.sum()
    by_model = posterior.sum(axis=0)  # (M,): S does not depend on the flip rate
    where, n_pairs = _strata(k, n_same, n_rows)
    same = expit(b[:, None] * (where - c[:, None])) @ n_pairs
    flip = (flips @ posterior) / np.maximum(by_model, 1e-300)
    return _Posterior(by_model, np.log(np.maximum(same, 0.5)), flip, b)


def _binned(
    x: Floats, answer: Ints, weight: Floats, edges: Floats
) -> tuple[Floats, Floats, Floats]:
    """Sum up the answers in bins of log level: counts, hits, mean log level."""
    bins = np.searchsorted(edges, x, side="right")
    counts = np.bincount(bins).astype(float)
    total = np.bincount(bins, weight)
    used = counts > 0
    counts, total = counts[used], total[used]
    hits = np.bincount(bins, weight * answer)[used] * counts / total
    return counts, hits, np.bincount(bins, weight * x)[used] / total
