"""From answers about a few texts to the classes of all of them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from ._features import Features

__all__ = ["Distilled", "distil"]

Ints = NDArray[np.intp]
Floats = NDArray[np.float64]

N_FOLDS = 5
#: Inverse strengths of the penalty; answers that are held out choose among them.
STRENGTHS = (1.0, 3.0, 10.0)
# What answers to neighbours count beside the classifier, how far they reach, and after
# how many steps nothing changes any more.
NEIGHBOR_SHARE, REACH, N_STEPS = 0.15, 0.7, 13


class Distilled(NamedTuple):
    """What answers about some texts say of all.

    Attributes
    ----------
    posterior : ndarray of shape (n, G)
        Probability that each text is of each class.
    held_out : ndarray of shape (m, G)
        That of the texts asked about, by classifiers that did not see their answers.
    accuracy : float
        Estimated share of answers that are right, as far as the classifier can tell.
    model : LogisticRegression
    spread : ndarray of shape (n, G)
        What answers say of their neighbours, and those of theirs.
    """

    posterior: Floats
    held_out: Floats
    accuracy: float
    model: Any
    spread: NDArray[np.float32]

    def of(self, matrix: NDArray[Any], near: Ints) -> Floats:
        """Give the posterior of other texts, by their features and neighbours."""
        mine = _predict(self.model, matrix, self.posterior.shape[1])
        around = self.spread[near].mean(axis=1)  # (m, k, G) -> (m, G)
        return np.asarray((1 - NEIGHBOR_SHARE) * mine + NEIGHBOR_SHARE * around)


def distil(
    features: Features,
    rows: Ints,
    answers: Ints,
    n_classes: int,
    *,
    weights: Floats,
    seed: int,
    strengths: Sequence[float] = STRENGTHS,
    weigh: bool = True,
    hold_out: bool = True,
) -> Distilled:
    r"""Learn classes from answers of which some are wrong.

    Parameters
    ----------
    features : Features
    rows : ndarray of int, shape (m,)
    answers : ndarray of int, shape (m,)
        The class that each was said to be of.
    n_classes : int
        G.
    weights : ndarray of shape (m,)
        What each answer counts.
    seed : int
        Draws the folds.
    strengths : sequence of float
        Inverse strengths of the penalty, of which the one is taken that predicts
        answers best that were held out.
    weigh : bool, default=True
        Whether an answer counts as much as it is probably right. That takes twice as
        long.

    hold_out : bool, default=True
        Whether ``held_out`` and ``accuracy`` are wanted, which takes five times as
        long. If not, there must be one strength, and ``weigh`` must be False.

    Returns
    -------
    distilled : Distilled

    Notes
    -----
    An answer y about a text x is right with probability a, and otherwise any other
    class alike, so that the posterior that it is right is

    .. math:: w = \frac{a\, p(y | x)}
        {a\, p(y | x) + (1 - a) (1 - p(y | x)) / (G - 1)}

    with p by a classifier that did not see it, and a the mean of all w: the EM of
    Dawid and Skene [1]_ for one annotator. Answers are weighed by w, not dropped:
    dropping them, as confident learning does [2]_, lost 2 to 4 points in our tests.

    References
    ----------
    .. [1] Dawid, Skene, "Maximum Likelihood Estimation of Observer Error-Rates Using
       the EM Algorithm", Applied Statistics 1979.
    .. [2] Northcutt, Jiang, Chuang, "Confident Learning", JAIR 2021.
    """
    X = features.matrix[rows]
    # Two answers about one text fall into one fold.
    texts = np.unique(rows, return_inverse=True)[1]
    fold = np.random.RandomState(seed).randint(N_FOLDS, size=texts.max() + 1)[texts]
    fold *= hold_out  # one fold of all is never left out
    tried = [_held_out(X, answers, n_classes, fold, C, weights) for C in strengths]
    fits = [float(np.mean(np.log(_at(P, answers) + 1e-6))) for P in tried]
    best = int(np.argmax(fits))
    strength, held_out = strengths[best], tried[best]
    accuracy, trust = _noise(held_out, answers)
    if weigh:
        weights = weights * trust
        strength = 2 * strength  # what is left is cleaner
        held_out = _held_out(X, answers, n_classes, fold, strength, weights)
        accuracy, _ = _noise(held_out, answers)
    model = _fit(X, answers, strength, weights)
    spread = _spread(features, rows, answers, weights, n_classes)
    mine = _predict(model, features.matrix, n_classes)
    posterior = (1 - NEIGHBOR_SHARE) * mine + NEIGHBOR_SHARE * spread
    posterior = posterior[features.first]
    return Distilled(posterior, held_out, accuracy, model, spread)


class _Constant:
    """A classifier that has seen one class."""

    def __init__(self, label: int):
        self.classes_ = np.array([label])

    def predict_proba(self, X: NDArray[Any]) -> Floats:
        return np.ones((len(X), 1))


def _fit(X: NDArray[Any], y: Ints, strength: float, weights: Floats) -> Any:
    if (y == y[0]).all():
        return _Constant(int(y[0]))
    model = LogisticRegression(C=strength, max_iter=150, tol=1e-3)
    with warnings.catch_warnings():
        # A posterior that is nearly right will do, and so will a class of one text.
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)
        return model.fit(X, y, sample_weight=weights)


def _predict(model: Any, X: NDArray[Any], n_classes: int) -> Floats:
    P = np.zeros((len(X), n_classes))
    P[:, model.classes_] = model.predict_proba(X)
    return P


def _held_out(
    X: NDArray[Any], y: Ints, n_classes: int, fold: Ints, strength: float, w: Floats
) -> Floats:
    P = np.full((len(y), n_classes), 1 / n_classes)
    for k in range(N_FOLDS):
        out = fold == k
        if out.any() and not out.all():
            model = _fit(X[~out], y[~out], strength, w[~out])
            P[out] = _predict(model, X[out], n_classes)
    return P


def _at(P: Floats, y: Ints) -> Floats:
    return np.asarray(P[np.arange(len(y)), y])


def _noise(P: Floats, y: Ints, n_steps: int = 30) -> tuple[float, Floats]:
    """Estimate how many answers are right, and how likely each is; (m,)."""
    right = _at(P, y) + 1e-9
    wrong = (1 - right) / max(P.shape[1] - 1, 1) + 1e-12
    accuracy = 0.9
    for _ in range(n_steps):
        trust = accuracy * right / (accuracy * right + (1 - accuracy) * wrong)
        accuracy = float(trust.sum() + 9) / (len(y) + 10)  # ten answers before all
    return accuracy, trust


def _spread(
    features: Features, rows: Ints, y: Ints, weights: Floats, n_classes: int
) -> NDArray[np.float32]:
    """Let answers diffuse over the graph of neighbours [Zhou et al. 2004]; (n, G)."""
    graph = features.graph()
    start = np.zeros((len(features.unit), n_classes), dtype=np.float32)
    np.add.at(start, (rows, y), weights.astype(np.float32))
    found = start
    for _ in range(N_STEPS):
        found = REACH * (graph @ found) + (1 - REACH) * start
    return np.asarray(found / (found.sum(axis=1, keepdims=True) + 1e-9))
