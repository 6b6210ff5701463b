"""How the share of pairs that belong together rises with the level, as answers say."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.special import expit

from ._score import Floats, Ints

__all__ = ["LEVEL_ONE", "STEP", "Rise", "fit_rise"]

# Log levels are counted in steps from level 1, both those of answers and the models'
# centres, so that one table of log probabilities by their difference serves all.
# The merge of level s lies between s and s + 1 clusters.
STEP, LEVEL_ONE = 0.2, np.log(1.5)
# Centres reach from below level 1 to beyond the finest level that was asked about.
_BELOW, _BEYOND = 6, 8
# Grids, the same for every corpus, and priors. benchmarks/granularity.py says where
# these were chosen.
_SLOPES = np.geomspace(0.12, 12, 15)
# Answers are held for right unless some one in twenty is wrong: where the embedding
# hardly sees the classes, a few true "same" at coarse levels look like mistakes.
_BOTTOMS = np.array([0, 0.06, 0.1, 0.15, 0.2, 0.27])
_HEIGHTS = np.linspace(0.2, 1, 13)
# False "different" for each false "same", and how likely that is.
_RATIOS, _CHANCES = np.array([0.0, 1, 3]), np.array([0.25, 0.5, 0.25])


class Rise(NamedTuple):
    """A grid of models and their posterior.

    V kinds of mistakes and purity, B slopes, C centres.
    """

    weight: Floats  # (V, B, C), sums to 1
    false_yes: Floats  # (V,)
    false_no: Floats  # (V,), mean
    log_top: Floats  # (V, 2), mean and variance of log u
    slope: Floats  # (B,)
    center: Floats  # (C,), log level

    def mean(self, kind: Floats | float, shape: Floats) -> float:
        """Mean of the sum of two numbers, by kind (V,) and by shape (B, C)."""
        by_kind, by_shape = self.weight.sum((1, 2)), self.weight.sum(0)
        return float((by_kind * kind).sum() + (by_shape * shape).sum())

    def moments(self, shape: Floats) -> tuple[float, float]:
        """Mean and variance of ``shape`` (B, C) minus log u."""
        log_top, spread = self.log_top.T
        mean = self.mean(-log_top, shape)
        both = -(self.weight * (shape - mean)).sum((1, 2)) @ log_top
        return mean, self.mean(log_top**2 + spread, (shape - mean) ** 2) + 2 * both

    def between(
        self, shape: Floats, low: float, high: float
    ) -> tuple[Rise, float, float]:
        """Keep the models of which ``shape`` (B, C) minus log u is in a range.

        Returns these, or all if none is, and the weight of those below and above.
        """
        value = shape - self.log_top[:, 0, None, None]
        below, above = value < low - STEP, value > high + STEP
        # What is as good as nothing decides only where there is nothing else.
        weight = self.weight * np.where(below | above, 1e-30, 1)
        kept = self._replace(weight=weight / weight.sum())
        return kept, float(self.weight[below].sum()), float(self.weight[above].sum())


def fit_rise(
    level: Ints, answer: Ints, weight: Floats, finest: int, told: float | None
) -> Rise:
    r"""Weigh the models by the answers.

    Pairs of level s belong together with probability :math:`u \sigma(b (x - c))`, x
    being log (s + 1/2). Answers are "same" with probability :math:`l + h \sigma(...)`,
    where l is the rate of false "same" and :math:`h = u (1 - l - e)`, with e that of
    false "different". Answers do not tell u from e.
    """
    step = (np.log(np.maximum(level, 1) + 0.5) - LEVEL_ONE) / STEP
    step = np.rint(step).astype(int)
    n_steps = max(int(step.max()), round((np.log(finest) - LEVEL_ONE) / STEP)) + 1
    places = np.arange(-_BELOW, n_steps + _BEYOND)
    if told is None:
        bottom, height = (m.ravel() for m in np.meshgrid(_BOTTOMS, _HEIGHTS))
        possible = bottom + height < 1 + 1e-9
        bottom, height = bottom[possible], height[possible]  # (V,)
        ratio, chance = _RATIOS, _CHANCES
    else:
        bottom, height = np.full(len(_HEIGHTS), told), (1 - 2 * told) * _HEIGHTS
        ratio, chance = np.ones(1), np.ones(1)
    false_no = ratio[:, None] * bottom  # (A, V)
    top = height / np.maximum(1 - bottom - false_no, 1e-9)
    # Trees are right about most pairs of their finest levels, and never about more
    # than all of them; a step of the grid is let pass.
    odds = chance[:, None] * np.exp(-(((top - 0.85) / 0.2) ** 2) / 2) * (top < 1.05)
    prior = odds.sum(axis=0)
    odds /= np.maximum(prior, 1e-300)
    log_top = np.log(np.minimum(top, 1))
    mean = (odds * log_top).sum(axis=0)
    fit = _log_likelihood(
        *_counted(step, answer, weight, n_steps), bottom, height, len(places)
    )
    # No mistakes at all are as likely as any rate of three on the grid.
    fit += (bottom == 0)[:, None, None]
    # Cauchy: the trees of texts are much alike; those of clear clusters are steep, and
    # those of an embedding that does not see the classes flat.
    fit -= np.log1p((np.log(_SLOPES / 1.5) / 0.2) ** 2)[:, None]
    fit += np.log(np.maximum(prior, 1e-300))[:, None, None]
    posterior = np.exp(fit - fit.max())
    return Rise(
        posterior / posterior.sum(),
        bottom,
        (odds * false_no).sum(axis=0),
        np.stack([mean, (odds * (log_top - mean) ** 2).sum(axis=0)], axis=1),
        _SLOPES,
        LEVEL_ONE + STEP * places,
    )


def _counted(
    step: Ints, answer: Ints, weight: Floats, n_steps: int
) -> tuple[Floats, Floats]:
    """Count answers of each kind by step; weights count within a step."""
    count = np.bincount(step, minlength=n_steps).astype(float)
    total = np.bincount(step, weight, n_steps)
    share = np.bincount(step, weight * answer, n_steps) / np.where(count, total, 1)
    return count * share, count * (1 - share)


def _log_likelihood(
    yes: Floats, no: Floats, bottom: Floats, height: Floats, n_centers: int
) -> Floats:
    """Log-likelihood of every model, (V, B, C)."""
    # From the largest centre before the first step to the smallest before the last.
    apart = STEP * np.arange(_BELOW + 1 - n_centers, len(yes) + _BELOW)  # (T,)
    share = expit(_SLOPES[:, None] * apart)  # (B, T)
    same = bottom[:, None, None] + height[:, None, None] * share  # (V, B, T)
    same = np.clip(same, 1e-4, 1 - 1e-4)
    fit = np.log(same) @ _windows(yes, n_centers)
    fit += np.log1p(-same) @ _windows(no, n_centers)
    return np.asarray(fit)


def _windows(count: Floats, n_centers: int) -> Floats:
    """Count answers by how far they are from each centre, (T, C)."""
    padded = np.pad(count, n_centers - 1)
    return np.ascontiguousarray(sliding_window_view(padded, n_centers))
