"""One round of questions of any kind: checked, cut, asked, and answered."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._validation import shorten
from ..protocols import Reply
from ._ballots import ballots_for, count_votes, questions_of, with_neither
from ._calling import Question
from ._kinds import Asked, Kind, Texts
from ._likelihoods import requests_for, score
from ._preflight import complaint, run_pilot
from ._prompts import fit_text
from ._session import OracleError
from ._terms import terms_of

__all__ = ["fitted", "judge", "pilot", "questions_for", "replies_to"]


def judge(
    oracle: Any, kind: Kind, questions: Sequence[Texts]
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Answer questions, and say how sure each answer is.

    Returns
    -------
    answers : ndarray of int, shape (Q,)
    confidence : ndarray of float, shape (Q,)
    """
    questions = fitted(oracle, kind, questions)
    if oracle.scoring == "reply":
        ballots = ballots_for(oracle, kind, questions)
        replies = replies_to(questions_of(ballots), oracle, reading=kind.reading)
        answers, confidence = count_votes(ballots, replies, kind.reading)
    else:
        answers, confidence = score(oracle, oracle._session(), kind, questions)
    unsure = confidence < oracle.min_confidence  # NaN is not
    return np.where(unsure, -1, answers), np.where(unsure, np.nan, confidence)


def pilot(
    oracle: Any, kind: Kind, questions: Sequence[Texts], expected: ArrayLike | None
) -> dict[str, Any]:
    """Put a few questions in both orders, note the outcome, and complain of chance.

    Raises
    ------
    OracleError
        If the verdict is "chance" or "none", unless ``on_chance`` is "warn".
    """

    def ask(some: list[Texts], swapped: bool) -> NDArray[np.intp]:
        ballots = ballots_for(oracle, kind, some, (swapped,))
        replies = replies_to(questions_of(ballots), oracle, reading=kind.reading)
        answers, _ = count_votes(ballots, replies, kind.reading)
        return with_neither(answers, ballots, replies, kind.reading)

    report = run_pilot(
        fitted(oracle, kind, questions),
        None if expected is None else np.asarray(expected),
        size=oracle.preflight or 30,
        ask=ask,
        judge=kind.judge_pilot,
    )
    oracle._session().note(**{kind.noted: report})
    wrong = complaint(report, oracle.report()["first_unusable_reply"])
    if wrong and oracle.on_chance == "raise":
        raise OracleError(f"{wrong} on_chance='warn' goes on all the same.")
    if wrong:
        warnings.warn(wrong, UserWarning, stacklevel=3)
    return report


def questions_for(
    oracle: Any, kind: Kind, questions: Sequence[Sequence[str]]
) -> dict[str, Question]:
    """Gather what has to be asked, or computed, about questions, by key."""
    questions = fitted(oracle, kind, questions)
    if oracle.scoring == "reply":
        return questions_of(ballots_for(oracle, kind, questions))
    return requests_for(oracle, kind, questions)


def fitted(oracle: Any, kind: Asked, questions: Sequence[Sequence[str]]) -> list[Texts]:
    """Check questions, and cut texts that are too long, or refuse them.

    Raises
    ------
    TypeError
        If one of them is not of this kind.
    ValueError
        If this kind cannot be scored as the oracle says, or texts are too long and
        ``long_texts`` is "raise".
    """
    if oracle.scoring not in kind.scorings:
        raise ValueError(
            f"scoring={oracle.scoring!r} compares two choices, and a question of the "
            f"form ({', '.join(kind.form)}) has none. Set scoring to one of "
            f"{kind.scorings}."
        )
    for i, texts in enumerate(questions):
        if not _have_form(texts, kind.form):
            raise TypeError(
                f"Each question must be ({', '.join(kind.form)}), all str, got "
                f"{shorten(texts)} at index {i}."
            )
    limit = int(oracle.max_characters)
    shown = [text for texts in (*questions, kind.beside) for text in texts]
    cuts = {text: fit_text(text, limit) for text in shown}
    long = [text for text, (_, is_cut) in cuts.items() if is_cut]
    if long and oracle.long_texts == "raise":
        raise ValueError(
            f"{len(long):,} texts are longer than max_characters={limit:,}, the first, "
            f"of {len(long[0]):,} characters, being {shorten(long[0][:60])}. Shorten "
            "them, or set long_texts='cut'."
        )
    oracle._session().note_long(long)
    return [tuple(cuts[text][0] for text in texts) for texts in questions]


def replies_to(
    questions: Mapping[str, Question], oracle: Any, **reading: Any
) -> dict[str, Reply]:
    """Look up and ask, on the oracle's terms; replies by key."""
    session = oracle._session()
    replies: dict[str, Reply] = session.ask(
        questions, oracle.complete, terms_of(oracle, session.ledger),
        replay=oracle.replay, batch=oracle.batch, verbose=oracle.verbose, **reading,
    )  # fmt: skip
    return replies


def _have_form(texts: Any, form: Texts) -> bool:
    if isinstance(texts, str) or not hasattr(texts, "__len__"):
        return False
    if form[-1] != "..." and len(texts) != len(form):
        return False
    return all(isinstance(text, str) for text in texts)
