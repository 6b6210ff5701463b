"""From triplets of rows to answers: known labels first, then the oracle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..metrics import calibration_table
from ..protocols import Triplet
from ._common import judged, warn_if_useless

__all__ = [
    "ask_triplets",
    "check_triplets",
    "chosen_first",
    "plan_triplets",
]


def check_triplets(triplets: Any, n: int) -> NDArray[np.intp]:
    """Check what a sampler returned.

    Raises
    ------
    ValueError
        If it is no array of row numbers, shape (Q, 3), Q being at least 1.
    """
    found = np.asarray(triplets)
    well_formed = found.ndim == 2 and found.shape[1] == 3 and found.dtype.kind in "iu"
    if not (well_formed and len(found) and found.min() >= 0 and found.max() < n):
        raise ValueError(
            "sampler must return triplets of row numbers, shape (Q, 3), each from 0 to "
            f"{n - 1}, got an array of {found.dtype} of shape {found.shape}."
        )
    return found.astype(np.intp)


def ask_triplets(
    oracle: Any,
    texts: Sequence[str],
    triplets: NDArray[np.intp],
    labels: NDArray[np.intp] | None = None,
    *,
    embeddings: NDArray[Any] | None = None,
) -> tuple[NDArray[np.intp], NDArray[np.float64], dict[str, Any]]:
    """Answer triplets from known labels where they decide, and ask the oracle the rest.

    Parameters
    ----------
    oracle : Oracle
        Asked for its confidence, too, if it has ``judge_triplets``, and put to a pilot
        before, if it has ``preflight_triplets``.
    texts : sequence of str, of length n
    triplets : ndarray of int, shape (Q, 3)
        Rows (anchor, choice 1, choice 2).
    labels : ndarray of int, shape (n,), default=None
        Known groups, -1 for unlabelled.
    embeddings : ndarray of shape (n, d), default=None
        What the answers are compared with in the report.

    Returns
    -------
    answers : ndarray of int, shape (Q,)
        0 for the first choice, 1 for the second, -1 for no usable answer.
    confidence : ndarray of float, shape (Q,)
        Probability in [0.5, 1] that an answer is right; NaN where it is not known.
    report : dict
        Counts: ``"questions"``, ``"known"`` (all three texts labelled), ``"asked"``,
        ``"usable"``; ``"first_choice_rate"`` among the usable ones; ``"calibration"``,
        how often the embedding agrees with answers, by confidence; ``"oracle"``, the
        oracle's own report if it has one.

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
    answers, known = _known_answers(triplets, labels)
    confidence = np.where(known & (answers >= 0), 1.0, np.nan)
    nearer = None if embeddings is None else _nearer(embeddings, triplets)
    asked = triplets[~known]
    report: dict[str, Any] = {}
    if len(asked):
        questions = _in_words(texts, asked)
        _preflight(oracle, questions, None if nearer is None else nearer[~known])
        answers[~known], confidence[~known] = judged(oracle, "triplets", questions)
        warn_if_useless(oracle, "triplets", answers[~known])
        if nearer is not None and not np.isnan(confidence[~known]).all():
            agrees = np.where(answers < 0, -1, answers == nearer)[~known]
            report["calibration"] = calibration_table(confidence[~known], agrees)
    usable = answers >= 0
    report |= {
        "questions": len(triplets),
        "known": int(known.sum()),
        "asked": len(asked),
        "usable": int(usable.sum()),
        "first_choice_rate": float(np.mean(answers[usable] == 0))
        if usable.any()
        else None,
    }
    if callable(getattr(oracle, "report", None)):
        report["oracle"] = oracle.report()
    return answers, confidence, report


def plan_triplets(
    oracle: Any,
    texts: Sequence[str],
    triplets: NDArray[np.intp],
    labels: NDArray[np.intp] | None = None,
    **how: Any,
) -> dict[str, Any]:
    """Say what :func:`ask_triplets` would ask.

    Returns
    -------
    plan : dict
        ``"known"``, and the oracle's own ``"oracle"`` if it can plan.
    """
    _, known = _known_answers(triplets, labels)
    plan: dict[str, Any] = {"known": int(known.sum())}
    if callable(getattr(oracle, "plan", None)):
        plan["oracle"] = oracle.plan(_in_words(texts, triplets[~known]), **how)
    return plan


def chosen_first(
    triplets: NDArray[np.intp], answers: NDArray[np.intp]
) -> NDArray[np.intp]:
    """Order answered triplets as (anchor, the choice taken, the choice left)."""
    usable = answers >= 0
    turned = np.where(answers[:, None] == 1, triplets[:, [0, 2, 1]], triplets)
    return np.asarray(turned[usable])


def _known_answers(
    triplets: NDArray[np.intp], labels: NDArray[np.intp] | None
) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Answer what labels decide; the second array says which they know all about."""
    answers = np.full(len(triplets), -1, dtype=np.intp)
    known = np.zeros(len(triplets), dtype=bool)
    if labels is not None:
        anchor, one, two = labels[triplets.T]
        known = (anchor >= 0) & (one >= 0) & (two >= 0)
        decided = known & ((anchor == one) != (anchor == two))
        answers[decided] = np.where(anchor == one, 0, 1)[decided]
    return answers, known


def _in_words(texts: Sequence[str], triplets: NDArray[np.intp]) -> list[Triplet]:
    return [(texts[a], texts[b], texts[c]) for a, b, c in triplets]


def _nearer(z: NDArray[Any], triplets: NDArray[np.intp]) -> NDArray[np.intp]:
    """Answer by cosine similarity; (Q,)."""
    used, place = np.unique(triplets, return_inverse=True)
    unit = np.asarray(z, dtype=np.float64)[used]
    unit /= np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-12)
    anchor, one, two = unit[place.reshape(-1, 3).T]
    return np.asarray(np.einsum("qd,qd->q", anchor, two - one) > 0).astype(np.intp)


def _preflight(
    oracle: Any, questions: list[Triplet], nearer: NDArray[np.intp] | None
) -> None:
    needed = getattr(oracle, "needs_preflight", None)
    if callable(needed) and needed(questions):
        oracle.preflight_triplets(questions, nearer)
