"""What an error means for the next attempt, whichever client raised it."""

from __future__ import annotations

import email.utils
import errno
import http.client
import json
import re
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timezone
from typing import Any, Literal, Protocol, TypeVar

__all__ = [
    "Advice",
    "advise",
    "body_of",
    "chain",
    "describe",
    "mark",
    "pauses",
    "peek",
    "words",
]

_E = TypeVar("_E", bound=BaseException)

_LONGEST_PAUSE = 3600.0  # nobody sleeps longer on a server's word
_WIDTH = 300
_AGAIN = (408, 409, 425, 429)  # and 5xx

_EXHAUSTED = {"billing_hard_limit_reached", "billing_not_active", "insufficient_quota"}
_EXHAUSTED_WORDS = re.compile(
    r"exceeded your (current )?quota|insufficient (quota|funds|balance|credit)"
    r"|credit balance|billing (hard )?limit|out of credits|quota exhausted",
    re.IGNORECASE,
)
_ONE_QUESTION = {
    "content_filter",
    "content_policy_violation",
    "context_length_exceeded",
    "exceed_context_size_error",
    "invalid_prompt",
    "responsibleaipolicyviolation",
    "string_above_max_length",
}
_ONE_QUESTION_WORDS = re.compile(
    r"maximum context length|context (size|window)|prompt is too long"
    r"|content (filter|management policy)"
    r"|(input|prompt|content|request|message)s? (was|were|has been|have been) flagged",
    re.IGNORECASE,
)
# Connections that no second attempt will open.
_HOPELESS = {"InvalidSchema", "InvalidURL", "MissingSchema", "UnsupportedProtocol"}
_HOPELESS |= {"LocalProtocolError"}
_CONNECTION = re.compile(
    r"(Connection|Network|RemoteProtocol|ChunkedEncoding|ClientPayload)Error$|Timeout"
)
_CONNECTION_TYPES = (
    ConnectionError,
    TimeoutError,
    http.client.BadStatusLine,
    http.client.IncompleteRead,
    socket.gaierror,
    ssl.SSLError,  # a certificate that is not valid has been told apart before
)
_UNREACHABLE = {
    errno.ENETDOWN,
    errno.ENETUNREACH,
    errno.EHOSTDOWN,
    errno.EHOSTUNREACH,
    errno.ETIMEDOUT,
}
_TRY_AGAIN = re.compile(
    r"try (?:again )?(?:in|after) ((?:\d+(?:\.\d+)? ?[a-z]+[ ,]*)+)", re.IGNORECASE
)
_SPAN = re.compile(r"(\d+(?:\.\d+)?) ?(ms|milli|s|m|h|d)", re.IGNORECASE)
_SECONDS = {"ms": 1e-3, "milli": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass(frozen=True)
class Advice:
    """What to do after an error.

    Parameters
    ----------
    kind : {"again", "skip", "stop"}
        "again": another attempt may succeed. "skip": this one question cannot be
        answered, others may be. "stop": no question will be answered until somebody
        changes something.
    pause : float, optional
        Seconds that the server asked to wait, at most 3,600.
    congested : bool, default=False
        Whether the server says that it is asked too much at a time.
    free : bool, default=False
        Whether to try again at once, and not count it as a failure: the next attempt
        will be another request.

    Examples
    --------
    >>> from skllm_cluster._remote import Advice
    >>> Advice("again", pause=2.0, congested=True)
    Advice(kind='again', pause=2.0, congested=True, free=False)
    """

    kind: Literal["again", "skip", "stop"]
    pause: float | None = None
    congested: bool = False
    free: bool = False


def mark(error: _E, advice: Advice) -> _E:
    """Fix what :func:`advise` will say of an error, which is returned."""
    vars(error)["_advice"] = advice
    return error


def advise(error: BaseException) -> Advice:
    """Say what an error means for the next attempt.

    Errors are known by their looks, not by their class, so that those of openai,
    anthropic, httpx, requests, aiohttp, urllib and of the built-in modules are
    understood alike, also where one of them is the cause (``raise ... from``) of
    another error.

    Parameters
    ----------
    error : BaseException
        What a call raised. KeyboardInterrupt and SystemExit are not for this
        function: let them pass.

    Returns
    -------
    advice : Advice

    Notes
    -----
    Again: no connection, a lost one, a timeout, and the statuses 408, 409, 425, 429
    and 5xx. Skip: 413, and 400, 403 or 422 that speak of a content filter or of the
    longest prompt. Stop: a used-up quota (also with status 429), every other status,
    a certificate or URL that is not valid, and all that is no answer of a server,
    such as a TypeError. The header ``x-should-retry`` is obeyed but for the quota
    and for what concerns one question.

    Examples
    --------
    >>> from skllm_cluster._remote import advise
    >>> advise(ConnectionResetError()).kind, advise(TypeError()).kind
    ('again', 'stop')
    """
    errors = list(chain(error))
    for one in errors:
        marked = getattr(one, "_advice", None)
        if isinstance(marked, Advice):
            return marked
    if any(_is_hopeless(one) for one in errors):
        return Advice("stop")
    for one in errors:
        status = _status(one)
        if status is not None:
            return _by_status(one, status)
        if _is_connection(one):
            return Advice("again")
    return Advice("stop")


def describe(error: BaseException) -> str:
    """Say what happened: status, code, and the server's own words.

    Parameters
    ----------
    error : BaseException

    Returns
    -------
    line : str
        One line of printable characters, at most 300.

    Examples
    --------
    >>> from skllm_cluster._remote import describe
    >>> describe(ConnectionRefusedError(111, "Connection refused"))
    'ConnectionRefusedError: [Errno 111] Connection refused'
    """
    status = next(filter(None, map(_status, chain(error))), None)
    if status is None:
        each = (f"{type(one).__name__}: {one}".rstrip(": ") for one in chain(error))
        line = " <- ".join(dict.fromkeys(each))
    else:
        code = next((c for c in _codes(error) if not c.isdigit()), "")
        facts = ", ".join(filter(None, [str(status), code]))
        line = f"{type(error).__name__} ({facts}): {words(error)}"
    shown = "".join(c if c.isprintable() else " " for c in line)
    shown = " ".join(shown.split())
    return shown if len(shown) <= _WIDTH else shown[: _WIDTH - 3] + "..."


def words(error: BaseException) -> str:
    """Return what the server said, or the error's own message if it said nothing."""
    for one in chain(error):
        said = _message(body_of(one))
        if said:
            return said
    return str(error)


class _Uniform(Protocol):
    def uniform(self, a: float, b: float, /) -> float: ...


def pauses(rng: _Uniform) -> Iterator[float]:
    """Iterate over the seconds to wait before each further attempt, without end.

    Parameters
    ----------
    rng : random.Random or numpy.random.Generator

    Yields
    ------
    seconds : float
        Uniform between 0 and 0.5, 1, 2, 4, 8, 16, then always 20: many clients that
        failed together do not come back together.

    Examples
    --------
    >>> import random
    >>> from skllm_cluster._remote import pauses
    >>> waits = pauses(random.Random(0))
    >>> [round(next(waits), 2) for _ in range(3)]
    [0.42, 0.76, 0.84]
    """
    longest = 0.5
    while True:
        yield float(rng.uniform(0.0, longest))
        longest = min(2 * longest, 20.0)


def body_of(error: BaseException) -> Any:
    """Return the body of the server's answer, parsed if it is JSON; None if unknown.

    Nothing is read from the network: urllib's errors keep their body to themselves.
    """
    body = peek(error, "body")
    if body is not None:
        return body
    text = peek(peek(error, "response"), "text")
    if not isinstance(text, str):
        return None
    try:
        return json.loads(text)
    except ValueError:
        return text


def peek(owner: object, name: str) -> Any:
    """Return an attribute, or None where it is missing or cannot be read."""
    try:
        return getattr(owner, name, None)
    except Exception:  # a property that warns, or needs what is not there
        return None


def chain(error: BaseException) -> Iterator[BaseException]:
    """Iterate over an error and what caused it, outermost first, each once."""
    seen: set[int] = set()
    current: object = error
    while isinstance(current, BaseException) and id(current) not in seen:
        seen.add(id(current))
        yield current
        cause = current.__cause__
        # urllib.error.URLError keeps its cause elsewhere.
        current = getattr(current, "reason", None) if cause is None else cause


def _by_status(error: BaseException, status: int) -> Advice:
    said, codes = words(error), set(_codes(error))
    headers = _headers(error)
    asked = _asked_pause(headers)
    pause = _pause_in_words(said) if asked is None else asked
    if status == 429 and _is_exhausted(codes, said, pause):
        return Advice("stop")
    if status == 413 or (status in (400, 403, 422) and _is_one_question(codes, said)):
        return Advice("skip")
    wish = headers.get("x-should-retry", "").lower()
    again = status in _AGAIN or status >= 500
    if wish in ("true", "false"):
        again = wish == "true"
    if not again:
        return Advice("stop")
    congested = status in (429, 529) or (status == 503 and asked is not None)
    return Advice("again", pause, congested)


def _is_exhausted(codes: set[str], said: str, pause: float | None) -> bool:
    # Some servers speak of the quota where the limit is one per minute, but then
    # they say when to try again.
    in_words = pause is None and _EXHAUSTED_WORDS.search(said) is not None
    return in_words or bool(codes & _EXHAUSTED)


def _is_one_question(codes: set[str], said: str) -> bool:
    return bool(codes & _ONE_QUESTION) or _ONE_QUESTION_WORDS.search(said) is not None


def _is_hopeless(error: BaseException) -> bool:
    names = {kind.__name__ for kind in type(error).__mro__}
    return bool(names & _HOPELESS) or "CERTIFICATE_VERIFY_FAILED" in str(error)


def _is_connection(error: BaseException) -> bool:
    return (
        isinstance(error, _CONNECTION_TYPES)
        or any(_CONNECTION.search(kind.__name__) for kind in type(error).__mro__)
        or (isinstance(error, OSError) and error.errno in _UNREACHABLE)
    )


def _status(error: BaseException) -> int | None:
    response = peek(error, "response")
    for owner, name in (
        (error, "status_code"),
        (response, "status_code"),
        (error, "status"),
        (error, "code"),
    ):
        value = peek(owner, name)
        if isinstance(value, int) and 100 <= value <= 599:
            return int(value)
    return None


def _headers(error: BaseException) -> dict[str, str]:
    """Return the headers of the server's answer, names in lower case."""
    for owner in (peek(error, "response"), error):
        headers = peek(owner, "headers")
        if hasattr(headers, "items"):
            return {str(k).lower(): str(v).strip() for k, v in headers.items()}
    return {}


def _asked_pause(headers: Mapping[str, str]) -> float | None:
    for name, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        try:
            seconds = float(headers[name]) * unit
        except (KeyError, ValueError):
            continue
        if seconds >= 0:  # which NaN is not
            return min(seconds, _LONGEST_PAUSE)
    try:
        date = email.utils.parsedate_to_datetime(headers["retry-after"])
        if date.tzinfo is None:
            date = date.replace(tzinfo=timezone.utc)  # as RFC 9110 wants dates
        return min(max(date.timestamp() - time.time(), 0.0), _LONGEST_PAUSE)
    except (KeyError, ValueError, TypeError, IndexError, OverflowError):
        return None


def _pause_in_words(said: str) -> float | None:
    """Find "try again in 7m12.5s", which some servers say instead of a header."""
    found = _TRY_AGAIN.search(said)
    spans = _SPAN.findall(found.group(1)) if found else []
    if not spans:
        return None
    seconds = sum(float(number) * _SECONDS[unit.lower()] for number, unit in spans)
    return min(seconds, _LONGEST_PAUSE)


def _codes(error: BaseException) -> list[str]:
    """Return the codes and types that an error goes by, in lower case."""
    found = [peek(error, "code"), peek(error, "type")]
    body = body_of(error)
    while isinstance(body, dict):
        found += [body.get("code"), body.get("type")]
        body = body.get("error") or body.get("innererror")
    return [str(one).lower() for one in found if isinstance(one, (str, int))]


def _message(body: Any) -> str:
    """Find the sentence in a body of OpenAI's form, or of another's."""
    inner = body
    while isinstance(inner, (dict, list)):
        body = inner
        if isinstance(body, list):
            inner = body[0] if len(body) == 1 else None
        else:
            named = (body.get(name) for name in ("message", "error", "detail"))
            inner = next(filter(None, named), None)
    if isinstance(inner, str):
        return inner.strip()
    return json.dumps(body, default=str) if body else ""
