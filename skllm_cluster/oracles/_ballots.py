"""From questions to the prompts that are put, and back from replies to answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..protocols import Reply
from ._calling import Question
from ._kinds import Kind, Texts
from ._parsing import Reading
from ._preflight import NEITHER
from ._requests import as_question
from ._votes import combine, vote

__all__ = ["Ballot", "ballots_for", "count_votes", "questions_of", "with_neither"]

#: What is put for one question, each with whether its texts are in the other order.
Ballot = list[tuple[Question, bool]]


def ballots_for(
    oracle: Any,
    kind: Kind,
    questions: Sequence[Texts],
    orders: tuple[bool, ...] | None = None,
) -> list[Ballot]:
    """Make the prompts for each question.

    Parameters
    ----------
    oracle : LLMOracle
        For its model, order and votes.
    kind : Kind
    questions : sequence of tuple of str, of length Q
    orders : tuple of bool, optional
        Whether to show the texts in the other order; a prompt for each. None: as the
        oracle says.

    Returns
    -------
    ballots : list of Ballot, of length Q
    """
    usual = {"both": (False, True), "given": (False,), "random": None}[oracle.order]
    return [
        [
            (
                as_question(
                    oracle.complete, kind.prompt(texts, swapped), sample=sample
                ),
                swapped,
            )
            for swapped in orders or usual or (kind.is_swapped(texts),)
            for sample in range(oracle.n_votes)
        ]
        for texts in questions
    ]


def questions_of(ballots: Sequence[Ballot]) -> dict[str, Question]:
    """Gather the distinct prompts by key."""
    return {question.key: question for ballot in ballots for question, _ in ballot}


def count_votes(
    ballots: Sequence[Ballot], replies: Mapping[str, Reply], reading: Reading
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Make an answer of the replies to each ballot.

    Returns
    -------
    answers : ndarray of int, shape (Q,)
    confidence : ndarray of float, shape (Q,)
    """
    answers = np.full(len(ballots), -1, dtype=np.intp)
    confidence = np.full(len(ballots), np.nan)
    for i, ballot in enumerate(ballots):
        answers[i], confidence[i] = combine(
            [
                vote(replies.get(question.key), swapped=swapped, reading=reading)
                for question, swapped in ballot
            ],
            unanimous=len({swapped for _, swapped in ballot}) > 1,
        )
    return answers, confidence


def with_neither(
    answers: NDArray[np.intp],
    ballots: Sequence[Ballot],
    replies: Mapping[str, Reply],
    reading: Reading,
) -> NDArray[np.intp]:
    """Tell "neither or both" from no answer: NEITHER if all replies say so; (Q,)."""
    said = [
        all(
            q.key in replies and reading.says_neither(replies[q.key].text)
            for q, _ in ballot
        )
        for ballot in ballots
    ]
    return np.where(said, NEITHER, answers)
