"""From answers about pairs to a number of clusters, by whatever criterion."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._asking import check_pairs
from ._tree import Tree
from .criteria import Score, elbow, pair_match

__all__ = [
    "agreement",
    "check_answered",
    "choose",
    "criterion_for",
    "needs_answers",
    "score_cuts",
]


def needs_answers(criterion: Callable[..., Score]) -> bool:
    """Tell whether a criterion looks at answers: whether it has a parameter for them.

    Raises
    ------
    TypeError
        If it is not callable.
    """
    if not callable(criterion):
        raise TypeError(
            "criterion must be a function such as skllm_cluster.criteria.f_beta, or "
            f"None, got {criterion!r}."
        )
    return "answers" in inspect.signature(criterion).parameters


def criterion_for(given: Any, *, answered: bool) -> Callable[..., Score]:
    """Return the given criterion, or the one to begin with.

    Raises
    ------
    ValueError
        If it looks at answers and there are none.
    """
    if given is None:
        return pair_match if answered else elbow
    if needs_answers(given) and not answered:
        raise ValueError(
            "criterion looks at answers, and there are none: give an oracle, or pairs= "
            "and answers= to fit."
        )
    criterion: Callable[..., Score] = given
    return criterion


def check_answered(
    pairs: ArrayLike | None, answers: ArrayLike | None, n: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Check pairs of n rows that come with answers.

    Raises
    ------
    ValueError
        If they are no pairs of different rows, or there is not one of -1, 0 and 1 for
        each.
    """
    asked = check_pairs([] if pairs is None else pairs, n, "pairs")
    found = np.asarray([] if answers is None else answers)
    if found.shape != (len(asked),) or not np.isin(found, (-1, 0, 1)).all():
        raise ValueError(
            "answers must hold 1 (same), 0 (different) or -1 (none) for each of "
            f"{len(asked)} pairs, got shape {found.shape} and values such as "
            f"{found.ravel()[:5].tolist()}."
        )
    return asked, found.astype(np.intp)


def score_cuts(
    criterion: Callable[..., Score],
    tree: Tree,
    Z: NDArray[Any],
    k_values: NDArray[np.intp],
    pairs: NDArray[np.intp],
    answers: NDArray[np.intp],
) -> Score:
    """Score every number of clusters.

    Parameters
    ----------
    criterion : callable
        ``criterion(k_values, levels, answers, n_same=, n_rows=)``, or without a
        parameter ``answers`` ``criterion(embeddings, cut, k_values)``.
    tree : Tree
    Z : ndarray of shape (n, d)
    k_values : ndarray of int, shape (K,)
    pairs : ndarray of int, shape (P, 2)
    answers : ndarray of int, shape (P,)

    Returns
    -------
    score : Score

    Raises
    ------
    ValueError
        If the criterion returns no Score with one of ``k_values``, or None, as best.
    """
    if len(k_values) == 1:
        return Score(np.zeros(1), int(k_values[0]), None, {"reason": "one candidate"})
    if needs_answers(criterion):
        score = criterion(
            k_values, tree.level(pairs), answers,
            n_same=tree.n_same(k_values), n_rows=len(Z),
        )  # fmt: skip
    else:
        score = criterion(Z, tree.cut, k_values)
    best = getattr(score, "best", np.nan)
    if best is not None and best not in k_values:
        raise ValueError(
            f"criterion must return a Score whose best is one of {k_values[0]} to "
            f"{k_values[-1]}, or None, got {score!r}."
        )
    return score


def choose(
    score: Score,
    tree: Tree,
    Z: NDArray[Any],
    k_values: NDArray[np.intp],
    answers: NDArray[np.intp],
) -> int:
    """Take the best number, and where there is none, what the answers leave.

    Warns
    -----
    UserWarning
        If there is none: all "same" gives the smallest number, all "different" the
        largest, anything else that of :func:`elbow`.
    """
    if score.best is not None:
        return int(score.best)
    said = set(answers[answers >= 0].tolist())
    if said == {1}:
        k, what = int(k_values[0]), "the smallest allowed"
    elif said == {0}:
        k, what = int(k_values[-1]), "the largest allowed"
    else:
        found = elbow(Z, tree.cut, k_values).best
        k = int(k_values[0]) if found is None else int(found)
        what = "what the embeddings suggest without answers"
    reason = score.report.get("reason", "the criterion gave no number")
    warnings.warn(
        f"The answers do not tell the number of clusters: {reason}. n_clusters_={k} is "
        f"{what}.",
        UserWarning,
        stacklevel=3,
    )
    return k


def agreement(
    labels: NDArray[np.intp], pairs: NDArray[np.intp], answers: NDArray[np.intp]
) -> float:
    """Mean share of "same" pairs that labels unite and "different" ones they part.

    Raises
    ------
    ValueError
        If there are not answers of both kinds.
    """
    same = labels[pairs[:, 0]] == labels[pairs[:, 1]]
    united, parted = same[answers == 1], ~same[answers == 0]
    if not (len(united) and len(parted)):
        raise ValueError(
            f"score without y needs answers of both kinds, got {len(united)} 'same' "
            f"and {len(parted)} 'different'."
        )
    return float(united.mean() + parted.mean()) / 2
