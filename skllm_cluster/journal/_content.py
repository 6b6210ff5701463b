"""What a journal holds, and how it is written: as JSON, which holds any text.

SQLite takes no lone surrogate, and escaped JSON has none.
"""

from __future__ import annotations

import hashlib
import json
import math
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from .._validation import shorten
from ..protocols import Reply

__all__ = [
    "FIELDS",
    "Attempt",
    "Row",
    "attempt_row",
    "canonical",
    "check_key",
    "check_seconds",
    "entry",
    "question_key",
    "read_reply",
    "read_request",
]

#: started, seconds, reply, error, answer: one attempt as it is written
Row = tuple[float, float, "str | None", "str | None", "str | None"]

_REPLY = {field.name: field.default for field in fields(Reply)}

#: What is told of each attempt, in this order.
FIELDS = (
    "key",
    "request",
    "started",
    "seconds",
    *_REPLY,
    "error",
    "answer",
    "used",
)


@dataclass(frozen=True)
class Attempt:
    """One call to a model, or one answer that came some other way.

    Parameters
    ----------
    started : float
        When the call began: Unix time, in seconds.
    seconds : float
        How long it took.
    reply : Reply, optional
        What the model said; None if the call failed.
    error : str, optional
        Why the call failed, or why the reply is of no use.
    answer : JSON value, optional
        What was read from the reply, such as 0, 1 or -1.

    Examples
    --------
    >>> from skllm_cluster.journal import Attempt
    >>> from skllm_cluster.protocols import Reply
    >>> good = Attempt(1700000000.0, 0.4, reply=Reply("Choice 1"), answer=0)
    >>> failed = Attempt(1700000000.0, 60.0, error="timed out")
    >>> failed.reply is None
    True
    """

    started: float
    seconds: float
    reply: Reply | None = None
    error: str | None = None
    answer: Any = None


def question_key(request: Mapping[str, Any]) -> str:
    """Give the name under which the answer to a request is kept.

    Parameters
    ----------
    request : mapping of str to JSON values
        Everything that would be sent, and whatever else tells two questions apart,
        such as the number of a repetition. No key or password. The order of names
        does not matter; everything else does: 1 and 1.0 are two questions.

    Returns
    -------
    key : str
        64 hexadecimal digits: the SHA-256 of the request as canonical JSON.

    Raises
    ------
    TypeError
        If something in the request is no JSON value; the message says where.

    Examples
    --------
    >>> from skllm_cluster.journal import question_key
    >>> question_key({"model": "m", "messages": ["hi"], "sample": 0})
    '8285726579c49bc085b45bc4cd788ae03342766bd50b0ecc941a3b0dcec0ad0e'
    >>> question_key({"model": "m", "when": object()})
    Traceback (most recent call last):
    ...
    TypeError: request['when'] must be a JSON value, got object: <object object at ...
    """
    return hashlib.sha256(canonical(request, "request").encode("ascii")).hexdigest()


def canonical(value: Any, name: str) -> str:
    """Write a value as JSON that is the same for equal values.

    Raises
    ------
    TypeError
        If it is no JSON value; the message names the field that is not.
    """
    if isinstance(value, Mapping):
        value = dict(value)
    _check_json(value, name)
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _check_json(value: Any, where: str, *, finite: bool = True) -> None:
    if isinstance(value, dict):
        for name, item in value.items():
            if not isinstance(name, str):  # json would make it one, unasked
                raise TypeError(
                    f"{where} must have names of type str, got {shorten(name)}."
                )
            _check_json(item, f"{where}[{shorten(name)}]", finite=finite)
    elif isinstance(value, (list, tuple)):
        for i, item in enumerate(value):
            _check_json(item, f"{where}[{i}]", finite=finite)
    elif isinstance(value, float):
        if finite and not math.isfinite(value):
            raise TypeError(f"{where} must be finite to be a JSON value, got {value}.")
    elif value is not None and not isinstance(value, (str, int)):
        raise TypeError(
            f"{where} must be a JSON value, got {type(value).__name__}: "
            f"{shorten(value)}."
        )


def check_key(key: str) -> str:
    """Check what names a question, before others wait for the same transaction."""
    if not (isinstance(key, str) and key.isascii()):
        raise TypeError(
            "key must be what question_key returns, a str of 64 hexadecimal digits, "
            f"got {shorten(key)}."
        )
    return key


def check_seconds(seconds: float) -> float:
    """Check how long a claim is to last."""
    if not 0 < seconds < math.inf:  # NaN is neither
        raise ValueError(f"seconds must be positive and finite, got {seconds!r}.")
    return float(seconds)


def attempt_row(attempt: Attempt) -> Row:
    """Turn an attempt into what is written.

    Raises
    ------
    TypeError
        If something in it cannot be written.
    """
    if not isinstance(attempt, Attempt):
        raise TypeError(f"attempt must be an Attempt, got {shorten(attempt)}.")
    reply = attempt.reply
    if reply is not None and not isinstance(reply, Reply):
        raise TypeError(f"attempt.reply must be a Reply or None, got {shorten(reply)}.")
    return (
        _finite(attempt.started, "attempt.started"),
        _finite(attempt.seconds, "attempt.seconds"),
        None if reply is None else _write_reply(reply),
        _write(attempt.error, "attempt.error"),
        _write(attempt.answer, "attempt.answer"),
    )


def _finite(value: float, name: str) -> float:
    if not math.isfinite(value):
        raise TypeError(f"{name} must be finite, got {value!r}.")
    return float(value)


def _write(value: Any, name: str) -> str | None:
    if value is None:
        return None
    _check_json(value, name)
    return json.dumps(value)


def _write_reply(reply: Reply) -> str:
    said = {name: getattr(reply, name) for name in _REPLY}
    told = {name: value for name, value in said.items() if value != _REPLY[name]}
    # The logarithm of a probability may be minus infinity.
    _check_json(told, "attempt.reply", finite=False)
    return json.dumps(told)


def read_reply(text: str) -> Reply:
    """Read a reply that was written.

    Raises
    ------
    sqlite3.DatabaseError
        If it is not what was written.
    """
    told = _read(text)
    try:
        told["top_logprobs"] = tuple(told.get("top_logprobs", ()))
        return Reply(**told)
    except (AttributeError, TypeError) as error:
        raise sqlite3.DatabaseError(f"malformed reply: {error}") from error


def read_request(text: str) -> dict[str, Any]:
    """Read a request that was written.

    Raises
    ------
    sqlite3.DatabaseError
        If it is not what was written.
    """
    request: dict[str, Any] = _read(text)
    return request


def _read(text: Any) -> Any:
    try:
        return json.loads(text)
    except (TypeError, ValueError) as error:
        raise sqlite3.DatabaseError(f"malformed JSON: {error}") from error


def entry(
    key: str,
    request: str,
    started: float,
    seconds: float,
    reply: str | None,
    error: str | None,
    answer: str | None,
    used: int,
) -> dict[str, Any]:
    """Tell of one attempt, with the names in ``FIELDS``.

    Raises
    ------
    sqlite3.DatabaseError
        If something in it is not what was written.
    """
    said = None if reply is None else read_reply(reply)
    return {
        "key": key,
        "request": _read(request),
        "started": started,
        "seconds": seconds,
        **{name: getattr(said, name, None) for name in _REPLY},
        "error": None if error is None else _read(error),
        "answer": None if answer is None else _read(answer),
        "used": bool(used),
    }
