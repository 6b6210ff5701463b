"""From pairs of rows to answers: known labels first, then the oracle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._common import judged, warn_if_useless

__all__ = ["ask_pairs", "check_pairs", "plan_pairs"]


def check_pairs(pairs: Any, n: int, name: str) -> NDArray[np.intp]:
    """Check pairs of rows.

    Parameters
    ----------
    pairs : array-like of int, shape (P, 2)
    n : int
        Number of rows.
    name : str
        Where they come from, for the message.

    Raises
    ------
    ValueError
        If it is no array of row numbers of that shape, or a row is paired with itself.
    """
    found = np.asarray(pairs)
    if not found.size:
        return np.empty((0, 2), dtype=np.intp)
    well_formed = found.ndim == 2 and found.shape[1] == 2 and found.dtype.kind in "iu"
    if not (well_formed and found.min() >= 0 and found.max() < n):
        raise ValueError(
            f"{name} must be pairs of row numbers, shape (P, 2), each from 0 to "
            f"{n - 1}, got an array of {found.dtype} of shape {found.shape}."
        )
    alone = np.flatnonzero(found[:, 0] == found[:, 1])
    if len(alone):
        raise ValueError(
            f"{name} must be pairs of different rows, got {found[alone[0]].tolist()} "
            f"at index {alone[0]}."
        )
    return found.astype(np.intp)


def ask_pairs(
    oracle: Any,
    texts: Sequence[str],
    pairs: NDArray[np.intp],
    labels: NDArray[np.intp] | None = None,
) -> tuple[NDArray[np.intp], NDArray[np.float64], dict[str, Any]]:
    """Answer pairs from known labels where they decide, and ask the oracle the rest.

    Parameters
    ----------
    oracle : Oracle
        Asked for its confidence, too, if it has ``judge_pairs``, and put to a pilot
        before, if it has ``preflight_pairs``.
    texts : sequence of str, of length n
    pairs : ndarray of int, shape (P, 2)
        Rows.
    labels : ndarray of int, shape (n,), default=None
        Known groups, -1 for unlabelled.

    Returns
    -------
    answers : ndarray of int, shape (P,)
        1 same, 0 different, -1 for no usable answer.
    confidence : ndarray of float, shape (P,)
        Probability in [0.5, 1] that an answer is right; NaN where it is not known.
    report : dict
        Counts: ``"questions"``, ``"known"`` (both labelled, or the same text twice),
        ``"asked"``, ``"usable"``, ``"yes"``; and ``"oracle"``, the oracle's own report
        if it has one.

    Raises
    ------
    ValueError
        If the oracle returns anything but one of -1, 0 and 1 for each question.
    OracleError
        If a pilot shows that the oracle is no better than chance.

    Warns
    -----
    UserWarning
        If over 95 % of what the oracle was asked has no usable answer.
    """
    answers = _known_answers(texts, pairs, labels)
    known = answers >= 0
    confidence = np.where(known, 1.0, np.nan)
    asked = pairs[~known]
    if len(asked):
        questions = _in_words(texts, asked)
        needed = getattr(oracle, "needs_preflight", None)
        pilot = getattr(oracle, "preflight_pairs", None)
        if callable(needed) and callable(pilot) and needed(questions):
            pilot(questions)
        answers[~known], confidence[~known] = judged(oracle, "pairs", questions)
        warn_if_useless(oracle, "pairs", answers[~known])
    report: dict[str, Any] = {
        "questions": len(pairs),
        "known": int(known.sum()),
        "asked": len(asked),
        "usable": int((answers >= 0).sum()),
        "yes": int((answers == 1).sum()),
    }
    if callable(getattr(oracle, "report", None)):
        report["oracle"] = oracle.report()
    return answers, confidence, report


def plan_pairs(
    oracle: Any,
    texts: Sequence[str],
    pairs: NDArray[np.intp],
    labels: NDArray[np.intp] | None = None,
    **how: Any,
) -> dict[str, Any]:
    """Say what :func:`ask_pairs` would ask.

    Returns
    -------
    plan : dict
        ``"questions"``, ``"known"``, and the oracle's own ``"oracle"`` if it can plan.
    """
    known = _known_answers(texts, pairs, labels) >= 0
    plan: dict[str, Any] = {"questions": len(pairs), "known": int(known.sum())}
    if callable(getattr(oracle, "plan", None)):
        plan["oracle"] = oracle.plan(_in_words(texts, pairs[~known]), **how)
    return plan


def _known_answers(
    texts: Sequence[str], pairs: NDArray[np.intp], labels: NDArray[np.intp] | None
) -> NDArray[np.intp]:
    """Answer what labels decide, and that a text belongs with itself; else -1; (P,)."""
    twice = [texts[a] == texts[b] for a, b in pairs]
    answers = np.where(twice, 1, -1).astype(np.intp)
    if labels is not None:
        one, two = labels[pairs.T]
        known = (one >= 0) & (two >= 0)
        answers[known] = (one == two)[known]
    return answers


def _in_words(texts: Sequence[str], pairs: NDArray[np.intp]) -> list[tuple[str, str]]:
    return [(texts[a], texts[b]) for a, b in pairs]
