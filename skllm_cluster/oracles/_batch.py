"""Open questions as a provider's batch file, and its results as replies."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from .._validation import shorten
from ..journal import AnswerJournal, Attempt
from ..protocols import Reply
from ._calling import Question
from ._chat_api import as_reply

__all__ = ["read_results", "write_questions"]

_URL = "/v1/chat/completions"
_NOTING = 1.0  # seconds that a claim lasts which only makes a question known


def write_questions(
    path: str | PathLike[str], questions: Sequence[Question], journal: AnswerJournal
) -> None:
    """Write a line of JSON for each question, and note the questions in the journal.

    Raises
    ------
    TypeError
        If what asks does not say what it would send to a chat server.
    """
    bodies = [question.request["sent"].get("body") for question in questions]
    if not all(isinstance(body, dict) for body in bodies):
        raise TypeError(
            "batch= needs an oracle whose 'complete' sends to a chat server, such as "
            "OpenAIChat."
        )
    lines = [
        {"custom_id": q.key, "method": "POST", "url": _URL, "body": body}
        for q, body in zip(questions, bodies, strict=True)
    ]
    for question in questions:  # so that results find what they belong to
        if journal.claim(question.key, question.request, seconds=_NOTING):
            journal.release(question.key)
    target = Path(path)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:  # mode 0600
            file.writelines(json.dumps(line) + "\n" for line in lines)
        Path(name).replace(target)  # whole or not at all
    except BaseException:
        Path(name).unlink()
        raise


def read_results(
    path: str | PathLike[str],
    journal: AnswerJournal,
    parse: Callable[[Reply], object],
) -> dict[str, int]:
    """Take the results of a batch into a journal.

    Parameters
    ----------
    path : path
        A provider's output file, or its error file.
    journal : AnswerJournal
    parse : callable
        From a reply to the answer that is kept beside it.

    Returns
    -------
    counts : dict
        ``n_answered``, ``n_failed``.

    Raises
    ------
    ValueError
        If a line is no result; nothing is taken in then.
    """
    results = list(_results(Path(path)))
    known = journal.requests([key for key, _ in results])
    strange = [key for key, _ in results if key not in known]
    if strange:
        raise ValueError(
            f"{str(path)!r} has results for {len(strange):,} questions that "
            f"{journal!r} does not know, the first being {shorten(strange[0])}. Read "
            "them with the journal that the questions were written with."
        )
    # The same file read again makes the same attempts, which the journal knows.
    now = Path(path).stat().st_mtime
    attempts = [
        (
            key,
            known[key],
            Attempt(
                started=now,
                seconds=0.0,  # not known, and of no use for a plan
                reply=said if isinstance(said, Reply) else None,
                error=None if isinstance(said, Reply) else said,
                answer=parse(said) if isinstance(said, Reply) else None,
            ),
        )
        for key, said in results
    ]
    journal.record_all(attempts)
    n_failed = sum(isinstance(said, str) for _, said in results)
    return {"n_answered": len(results) - n_failed, "n_failed": n_failed}


def _results(path: Path) -> Iterator[tuple[str, Reply | str]]:
    """Give the key of each line, and its reply or the words of its error."""
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                result = json.loads(line)
                yield str(result["custom_id"]), _said(result)
            except (KeyError, IndexError, TypeError, ValueError, AttributeError):
                raise ValueError(
                    f"Line {number} of {str(path)!r} is no result of a batch: "
                    f"{shorten(line.strip())}."
                ) from None


def _said(result: dict[str, Any]) -> Reply | str:
    response = result.get("response") or {}
    body = response.get("body") or {}
    if result.get("error") or response.get("status_code") != 200:
        error = result.get("error") or body.get("error") or {}
        said = error.get("message") if isinstance(error, dict) else error
        return f"{response.get('status_code')}: {said or 'no answer'}"
    reply = as_reply(body)
    if reply is None:
        raise ValueError("no chat completion")
    return reply
