"""From triplets to the questions that are put, and back from replies to answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._validation import shorten
from ..protocols import Reply, Triplet
from ._calling import Question
from ._likelihoods import requests_for
from ._preflight import NEITHER
from ._prompts import (
    fit_text,
    keyed_uniform,
    needs_fence,
    says_neither,
    triplet_prompt,
)
from ._requests import as_question
from ._session import Session
from ._terms import terms_of
from ._votes import combine, vote

__all__ = [
    "ballots_for",
    "count_votes",
    "fit_texts",
    "questions_for",
    "questions_of",
    "replies_to",
    "with_neither",
]

#: The questions put for one triplet, each with whether it shows choice 2 first.
Ballot = list[tuple[Question, bool]]


def fit_texts(
    oracle: Any, session: Session, triplets: Sequence[Triplet]
) -> list[Triplet]:
    """Cut texts that are too long, or refuse them, as the oracle says.

    Raises
    ------
    ValueError
        If there are any and ``long_texts`` is "raise".
    """
    limit = int(oracle.max_characters)
    fitted = {text: fit_text(text, limit) for triple in triplets for text in triple}
    long = [text for text, (_, is_cut) in fitted.items() if is_cut]
    if long and oracle.long_texts == "raise":
        raise ValueError(
            f"{len(long):,} texts are longer than max_characters={limit:,}, the first, "
            f"of {len(long[0]):,} characters, being {shorten(long[0][:60])}. Shorten "
            "them, or set long_texts='cut'."
        )
    session.note_long(long)
    return [(fitted[a][0], fitted[b][0], fitted[c][0]) for a, b, c in triplets]


def ballots_for(
    oracle: Any, triplets: Sequence[Triplet], orders: tuple[bool, ...] | None = None
) -> list[Ballot]:
    """Make the questions for each triplet.

    Parameters
    ----------
    oracle : LLMOracle
        For its wording, order and votes.
    triplets : sequence of (anchor, choice 1, choice 2), of length Q
    orders : tuple of bool, optional
        Whether to show choice 2 first; a question for each. None: as the oracle says.

    Returns
    -------
    ballots : list of Ballot, of length Q
    """
    usual = {"both": (False, True), "given": (False,), "random": None}[oracle.order]
    return [
        [
            (_question(oracle, triplet, swapped, sample), swapped)
            for swapped in orders or usual or (_is_swapped(oracle, *triplet),)
            for sample in range(oracle.n_votes)
        ]
        for triplet in triplets
    ]


def questions_of(ballots: Sequence[Ballot]) -> dict[str, Question]:
    """Gather the distinct questions by key."""
    return {question.key: question for ballot in ballots for question, _ in ballot}


def questions_for(oracle: Any, triplets: Sequence[Triplet]) -> dict[str, Question]:
    """Gather what has to be asked, or computed, about triplets, by key."""
    if oracle.scoring == "reply":
        return questions_of(ballots_for(oracle, triplets))
    return requests_for(oracle, triplets)


def replies_to(
    ballots: Sequence[Ballot], oracle: Any, session: Session
) -> dict[str, Reply]:
    """Look up and ask, on the oracle's terms; replies by key."""
    return session.ask(
        questions_of(ballots), oracle.complete, terms_of(oracle, session.ledger),
        replay=oracle.replay, batch=oracle.batch, verbose=oracle.verbose,
    )  # fmt: skip


def count_votes(
    ballots: Sequence[Ballot], replies: Mapping[str, Reply]
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
            [vote(replies.get(q.key), swapped=swapped) for q, swapped in ballot],
            unanimous=len({swapped for _, swapped in ballot}) > 1,
        )
    return answers, confidence


def with_neither(
    answers: NDArray[np.intp], ballots: Sequence[Ballot], replies: Mapping[str, Reply]
) -> NDArray[np.intp]:
    """Tell "neither or both" from no answer: NEITHER if all replies say so; (Q,)."""
    said = [
        all(q.key in replies and says_neither(replies[q.key].text) for q, _ in ballot)
        for ballot in ballots
    ]
    return np.where(said, NEITHER, answers)


def _question(oracle: Any, triplet: Triplet, swapped: bool, sample: int) -> Question:
    anchor, first, second = triplet
    if swapped:
        first, second = second, first
    # All three or none: one that stood out would be a hint.
    fence = oracle.fence == "auto" and needs_fence(*triplet)
    prompt = triplet_prompt(
        anchor, first, second, perspective=oracle.perspective, texts=oracle.texts,
        allow_neither=oracle.allow_neither, template=oracle.template,
        fence=fence or oracle.fence == "always",
    )  # fmt: skip
    return as_question(oracle.complete, prompt, sample=sample)


def _is_swapped(oracle: Any, anchor: str, first: str, second: str) -> bool:
    coin = keyed_uniform(int(oracle.random_state), "order", anchor, first, second)
    # The coin names the text shown first, so both orders give one prompt.
    return (coin < 0.5) != (first <= second)
