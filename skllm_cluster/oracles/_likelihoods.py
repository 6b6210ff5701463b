"""Likelihoods that a local model gives, kept like any other reply."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..journal import Attempt, question_key
from ..protocols import Reply
from ._calling import Question
from ._kinds import Kind, Texts
from ._requests import sent_by
from ._session import OracleError, Session

__all__ = ["look_up_likelihoods", "requests_for", "score"]

_log = logging.getLogger(__name__)
BATCH = 64  # pairs between two writes to the journal: seconds of work


def score(
    oracle: Any, session: Session, kind: Kind, questions: Sequence[Texts]
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Answer questions by what the model finds likelier.

    Returns
    -------
    answers : ndarray of int, shape (Q,)
    confidence : ndarray of float, shape (Q,)
    """
    pairs = kind.requests(questions)
    values = look_up_likelihoods(pairs, oracle.complete, session, replay=oracle.replay)
    of_0 = kind.probabilities(questions, values)  # (Q,)
    answers = np.where(of_0 > 0.5, 0, np.where(of_0 < 0.5, 1, -1))
    confidence = np.where(answers < 0, np.nan, np.maximum(of_0, 1 - of_0))
    n_usable = int((answers >= 0).sum())
    session.add(n_usable=n_usable, n_unusable=len(answers) - n_usable)
    if not kind.reading.names_places:  # of places, both were shown
        counted, name = kind.reading.counted
        session.add(**{name: int((answers == counted).sum())})
    return answers, confidence


def requests_for(
    oracle: Any, kind: Kind, questions: Sequence[Texts]
) -> dict[str, Question]:
    """Gather what :func:`score` would compute, by key."""
    pairs = kind.requests(questions)
    requests = [(_request(oracle.complete, *pair), "".join(pair)) for pair in pairs]
    found = [Question(question_key(r), r, prompt) for r, prompt in requests]
    return {question.key: question for question in found}


def look_up_likelihoods(
    pairs: Sequence[tuple[str, str]],
    complete: Any,
    session: Session,
    *,
    replay: bool = False,
) -> dict[tuple[str, str], float]:
    """Give log p(continuation | context), from the journal where it has it.

    Parameters
    ----------
    pairs : sequence of (context, continuation)
    complete : object
        With ``log_likelihoods(contexts, continuations)``.
    session : Session
    replay : bool, default=False
        Whether the journal has to have them all.

    Returns
    -------
    values : dict
        From pair to log-likelihood.
    """
    requests = {pair: _request(complete, *pair) for pair in dict.fromkeys(pairs)}
    keys = {pair: question_key(request) for pair, request in requests.items()}
    found = session.journal.replies(list(keys.values()))
    left = [pair for pair, key in keys.items() if key not in found]
    if left and replay:
        raise OracleError(
            f"{session.journal!r} lacks {len(left):,} of {len(keys):,} likelihoods, "
            "and with replay=True no model is run."
        )
    session.add(n_cached=len(keys) - len(left))
    values = {
        pair: float(found[key].text) for pair, key in keys.items() if key in found
    }
    left.sort(key=lambda pair: len(pair[0]) + len(pair[1]))  # like lengths together
    for begin in range(0, len(left), BATCH):
        _log.debug("%d of %d likelihoods", begin, len(left))
        batch = left[begin : begin + BATCH]
        started, start = time.time(), time.perf_counter()
        computed = complete.log_likelihoods(*zip(*batch, strict=True))
        seconds = (time.perf_counter() - start) / len(batch)
        session.journal.record_all(
            (
                keys[pair],
                requests[pair],
                Attempt(started, seconds, Reply(repr(float(value))), None, None),
            )
            for pair, value in zip(batch, computed, strict=True)
        )
        session.add(n_asked=len(batch))
        values |= {pair: float(v) for pair, v in zip(batch, computed, strict=True)}
    return values


def _request(complete: Any, context: str, continuation: str) -> dict[str, Any]:
    return {
        "log_likelihood_of": continuation,
        "sample": 0,
        "sent": sent_by(complete, context),
    }
