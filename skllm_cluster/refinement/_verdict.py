"""Whether answers are good enough to be believed."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta, binomtest

from ._distil import Distilled
from ._interview import Interview

__all__ = ["Verdict", "check_answers", "out_of_question", "verdict"]

Ints = NDArray[np.intp]

# How often a right answer is needed for classes to be better than none. A name means
# the same in every question. A group is shown by texts that answers put there, so that
# mistakes breed mistakes.
NEEDED = {"categories": 0.4, "groups": 0.5}
# Refined clusters are kept if it is so probable that the oracle is good enough.
LEVEL = 0.8
# How significant the gain in answers foretold has to be, as for triplets; any gain will
# do if the oracle is right more often than not in two answers out of two.
GAIN_LEVEL, ANY_GAIN, TRUSTED = 0.1, 0.5, 0.5
# Folds of answers, each foretold from the others.
N_FOLDS = 5
# Below this probability nothing more is asked.
HOPELESS = 0.03


class Verdict(NamedTuple):
    """Whether refined clusters are kept, and why.

    Attributes
    ----------
    kept : bool
    confidence : float
        Probability that the oracle is right often enough.
    consistency : float
        Estimated share of right answers: the square root of how many of those checked
        were given again.
    checked : int
    again : int
    agreement : float
        Share of answers that classifiers foretold which did not see them.
    base_agreement : float
        The same by the clusters that nothing was asked for.
    p_value : float
        Of as large a gain in agreement where there is none.
    """

    kept: bool
    confidence: float
    consistency: float
    checked: int
    again: int
    agreement: float
    base_agreement: float
    p_value: float


def check_answers(
    interview: Interview, places: Ints, *, n_options: int
) -> tuple[int, int]:
    """Ask some questions once more, among other options.

    Parameters
    ----------
    interview : Interview
    places : ndarray of int
        Which of its answers to ask for again, as far as that tells anything.
    n_options : int
        Classes shown at most: the one named before, and others at random.

    Returns
    -------
    again : int
        How many were answered as before.
    checked : int
        How many were answered at all.

    Notes
    -----
    Who is right with probability a and errs at random says the same twice with
    probability a², since half of the other options are left out. One that always errs
    in the same way is consistent, and his own classes are found.
    """
    rows, answers, _ = interview.answered()
    places = interview.checkable(places)
    rows, answers = rows[places], answers[places]
    shown = []
    for answer in answers:
        others = interview.rng.permutation(len(interview.classes))
        others = others[others != answer]
        half = others[: min(n_options - 1, max(1, len(others) // 2))]
        shown.append([int(answer), *half.tolist()])
    said = interview.choose_aside([[i] for i in rows], shown, "checks")
    return int((said == answers[: len(said)]).sum()), int((said != -1).sum())


def verdict(
    interview: Interview,
    found: Distilled,
    base: Ints,
    checks: tuple[int, int],
    *,
    kind: str,
    seed: int,
) -> Verdict:
    """Judge what was found.

    Parameters
    ----------
    interview : Interview
    found : Distilled
    base : ndarray of int, shape (n,)
        Clusters that nothing was asked for.
    checks : (int, int)
        How many answers were given again, of how many.
    kind : {"categories", "groups"}
    seed : int
        Draws the folds.

    Returns
    -------
    verdict : Verdict

    Notes
    -----
    With a uniform prior of the share of answers given again, the probability that it is
    above what it would be with as many right ones as needed is a tail of a beta
    distribution; without checks it is not asked for. On top of that the classes have to
    foretell more answers than the base clusters do, each of which is taken for the
    class that most of its other answers name: by McNemar's exact test at 0.1, or at all
    if the oracle is right seven times in ten; unless there is no answer that only the
    base clusters foretell.
    """
    again, checked = checks
    confidence = _confidence(checks, kind, len(interview.classes))
    rows, answers, _ = interview.answered()
    right = found.held_out.argmax(axis=1) == answers
    foretold = _foretold(base[rows], answers, len(interview.classes), seed)
    # A cluster without other answers foretells nothing: that is not held against it.
    right, base_right = (right[foretold >= 0], (foretold == answers)[foretold >= 0])
    p_value = _p_value(right, base_right)
    believed = not checked or confidence >= LEVEL
    trusted = beta.sf(TRUSTED, 1 + again, 1 + checked - again) >= LEVEL
    level = ANY_GAIN if trusted else GAIN_LEVEL
    return Verdict(
        kept=believed and (p_value < level or not (base_right & ~right).any()),
        confidence=confidence,
        consistency=float(np.sqrt(again / checked)) if checked else float("nan"),
        checked=checked,
        again=again,
        agreement=float(right.mean()) if len(right) else float("nan"),
        base_agreement=float(base_right.mean()) if len(right) else float("nan"),
        p_value=p_value,
    )


def out_of_question(checks: tuple[int, int], kind: str, n_classes: int) -> bool:
    """Say whether it is all but certain that answers are not worth their price."""
    return _confidence(checks, kind, n_classes) < HOPELESS


def _confidence(checks: tuple[int, int], kind: str, n_classes: int) -> float:
    again, checked = checks
    a = NEEDED[kind]
    # Half of the other classes are shown, and none: a mistake can come again by chance.
    by_chance = (1 - a) ** 2 / (max(1, (n_classes - 1) // 2) + 1)
    return float(beta.sf(a**2 + by_chance, 1 + again, 1 + checked - again))


def _p_value(right: NDArray[np.bool_], base_right: NDArray[np.bool_]) -> float:
    """Test whether more are right than of the base, on those where they differ."""
    gained, lost = int((right & ~base_right).sum()), int((base_right & ~right).sum())
    if gained + lost == 0:
        return 1.0
    return float(binomtest(gained, gained + lost, alternative="greater").pvalue)


def _foretold(clusters: Ints, answers: Ints, n_classes: int, seed: int) -> Ints:
    """Foretell answers from other folds of their cluster; -1 if there are none there.

    Not each from all others: where answers are random, those that are left speak for
    any class but its own.
    """
    fold = np.random.RandomState(seed).randint(N_FOLDS, size=len(answers))
    found = np.full(len(answers), -1, dtype=np.intp)
    for k in range(N_FOLDS):
        out = fold == k
        counts = np.zeros((clusters.max() + 1, n_classes))
        np.add.at(counts, (clusters[~out], answers[~out]), 1)
        told = np.where(counts.any(axis=1), counts.argmax(axis=1), -1)
        found[out] = told[clusters[out]]
    return found
