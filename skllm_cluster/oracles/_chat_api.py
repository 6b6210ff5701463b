"""What crosses the wire of the OpenAI chat API: replies and refusals."""

from __future__ import annotations

import json
import math
import re
import threading
import warnings
from typing import Any

from .._remote import Advice, body_of, mark, no_api, words
from .._validation import shorten
from ..protocols import Reply

__all__ = ["adapt", "as_reply", "learn", "read_reply"]

# ---------------------------------------------------------------- replies


def read_reply(text: str, server: str) -> Reply:
    """Read a chat completion.

    Parameters
    ----------
    text : str
        Body of an answer with status 200.
    server : str
        Where it came from, for the message.

    Returns
    -------
    reply : Reply
        ``text`` is the content of the first choice, the parts of it that are text,
        or else the refusal; "" if there is none of them.

    Raises
    ------
    RuntimeError
        If it is no completion: a web page (which no second attempt will change), or
        something broken (which it may).
    """
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        answer = None
    fault = _fault(answer)
    reply = None if fault else as_reply(answer)
    if reply is None:
        # Raised here, where no JSONDecodeError with the server's words is at hand.
        raise no_api("chat", server, text, fault)
    return reply


def as_reply(answer: object) -> Reply | None:
    """Return what a chat completion, parsed from JSON, says; None if it is none."""
    choice = _first(_field(answer, "choices"))
    if choice is None:
        return None
    message, usage = _field(choice, "message"), _field(answer, "usage")
    return Reply(
        text=_text(_field(message, "content")) or _text(_field(message, "refusal")),
        finish_reason=_text(_field(choice, "finish_reason")) or None,
        model=_text(_field(answer, "model")) or None,
        prompt_tokens=_count(_field(usage, "prompt_tokens")),
        completion_tokens=_count(_field(usage, "completion_tokens")),
        top_logprobs=_top_logprobs(_field(_field(choice, "logprobs"), "content")),
    )


def _fault(answer: object) -> Any:
    """Return the error that some proxies send with status 200."""
    choice = _first(_field(answer, "choices"))
    return _field(answer, "error") or _field(choice, "error")


def _field(owner: object, name: str) -> Any:
    return owner.get(name) if isinstance(owner, dict) else None


def _first(choices: object) -> dict[str, Any] | None:
    found = choices[0] if isinstance(choices, list) and choices else None
    return found if isinstance(found, dict) else None


def _text(content: object) -> str:
    if isinstance(content, list):
        content = "".join(
            part["text"]
            for part in content
            if isinstance(part, dict) and isinstance(part.get("text"), str)
        )
    if not isinstance(content, str):
        return ""
    return content.encode(errors="replace").decode()  # no half of a surrogate pair


def _count(value: object) -> int | None:
    is_count = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    return int(value) if is_count else None  # type: ignore[call-overload]


def _top_logprobs(entries: object) -> tuple[dict[str, float], ...]:
    entries = entries if isinstance(entries, list) else []
    found = tuple(_likeliest(entry) for entry in entries)
    return found if any(found) else ()


def _likeliest(entry: object) -> dict[str, float]:
    """Return the log-probabilities at one token, its own among them."""
    top = _field(entry, "top_logprobs")
    likeliest: dict[str, float] = {}
    for one in [*(top if isinstance(top, list) else []), entry]:
        token, logprob = _field(one, "token"), _field(one, "logprob")
        if isinstance(token, str) and _is_number(logprob):
            likeliest.setdefault(_text(token), float(logprob))
    return likeliest


def _is_number(value: object) -> bool:
    is_real = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_real and math.isfinite(value)  # type: ignore[arg-type]


# ------------------------------------------------- parameters that are refused

_LOCK = threading.Lock()
#: (server, model) -> names of parameters that it refused in this process
_refused: dict[tuple[str, str], set[str]] = {}

_DROPPABLE = ("logprobs", "max_tokens", "temperature", "top_logprobs")
_REFUSAL_STATUS = (400, 403, 422, 500, 501)
_REFUSAL_CODES = ("unsupported_parameter", "unsupported_value")
_REFUSAL_WORDS = re.compile(
    r"unsupported|not support|n't support|not (permitted|allowed|available|enabled)"
    r"|unrecogni[sz]ed|unknown (name|parameter|field|argument)|unexpected|forbidden"
    r"|deprecated|extra inputs",
    re.IGNORECASE,
)


def adapt(
    body: dict[str, Any], own: set[str], target: tuple[str, str]
) -> dict[str, Any]:
    """Leave out, or rename, what this model on this server is known to refuse.

    Parameters
    ----------
    body : dict
        The request as it was asked for; it is not changed.
    own : set of str
        Names in it that may be touched; the others are the user's own.
    target : (str, str)
        Server and model.
    """
    with _LOCK:
        refused = own & _refused.get(target, set())
    kept = {name: value for name, value in body.items() if name not in refused}
    if "max_tokens" in refused:
        kept.setdefault("max_completion_tokens", body["max_tokens"])
    return kept


def learn(error: Exception, sent: set[str], target: tuple[str, str]) -> None:
    """Remember which parameter an error refuses, tell it once, and mark the error.

    Parameters
    ----------
    error : Exception
    sent : set of str
        Names of the parameters in the request that may be left out.
    target : (str, str)
        Server and model.
    """
    names = sent & _names_refused(error)
    if not names:
        return
    with _LOCK:
        known = _refused.setdefault(target, set())
        new = names - known
        known |= names
    mark(error, Advice("again", free=True))
    if new:
        server, model = target
        renamed = " (max_tokens: sent as max_completion_tokens)"
        warnings.warn(
            f"The model {model!r} at {server} does not take {', '.join(sorted(new))}: "
            "left out from now on, in this process"
            f"{renamed if 'max_tokens' in new else ''}. "
            f"The server said: {shorten(words(error), 200)}.",
            UserWarning,
            stacklevel=3,
        )


def _names_refused(error: Exception) -> set[str]:
    status = getattr(error, "status_code", None)
    if status not in _REFUSAL_STATUS:
        return set()
    said, body = words(error), body_of(error)
    named = {str(_field(body, "param"))} & {*_DROPPABLE} or {
        name for name in _DROPPABLE if re.search(rf"\b{name}\b", said, re.IGNORECASE)
    }
    refused = _field(body, "code") in _REFUSAL_CODES or _REFUSAL_WORDS.search(said)
    if not refused:
        # Nobody needs log-probabilities so much as an answer, so that whatever is
        # wrong with them is a reason to do without.
        named &= {"logprobs", "top_logprobs"} if status < 500 else set()
    return named | ({"top_logprobs"} if "logprobs" in named else set())
