"""What a chat server can answer besides a plain reply, for :class:`ChatServer`.

An ``answer`` function returns one of

* str or None: the content of a usual completion;
* (status, body) or (status, body, headers): body a str, or what JSON can hold;
* :class:`Raw`: an answer given byte by byte; the functions below make such;
* :class:`Reset` or :class:`Hang`: no answer at all.
"""

from __future__ import annotations

import json
import threading
import zlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Answer = Any  # see above


def completion(
    content: Any,
    usage: tuple[int, int] | None = (7, 3),
    *,
    finish_reason: str = "stop",
    logprobs: Any = None,
    **message: Any,
) -> dict[str, Any]:
    """The body of a usual answer; ``message`` takes more fields of the message."""
    choice: dict[str, Any] = {
        "index": 0,
        "finish_reason": finish_reason,
        "message": {"role": "assistant", "content": content, **message},
    }
    if logprobs is not None:
        choice["logprobs"] = logprobs
    body: dict[str, Any] = {
        "id": "chat-1",
        "object": "chat.completion",
        "created": 0,
        "model": "served",
        "choices": [choice],
    }
    if usage is not None:
        names = ("prompt_tokens", "completion_tokens", "total_tokens")
        body["usage"] = dict(zip(names, (*usage, sum(usage)), strict=True))
    return body


def error(message: str, code: Any = None, **more: Any) -> dict[str, Any]:
    """The body of an error, in OpenAI's form."""
    return {"error": {"message": message, "code": code, **more}}


@dataclass(frozen=True)
class Reset:
    """Read the request, then reset the connection (RST)."""


@dataclass(frozen=True)
class Hang:
    """Say nothing for so long, or until the server is closed; then hang up."""

    seconds: float


@dataclass(frozen=True)
class Raw:
    """An answer byte by byte.

    Parameters
    ----------
    body : bytes
    status : int
    content_type : str
    headers : mapping
    missing : int
        So many bytes more are promised by Content-Length than are sent.
    pieces : int
        Above 0: chunked encoding, in so many pieces.
    pause : float
        Seconds before each piece.
    unfinished : bool
        Leave out the piece that ends a chunked answer, and hang up.
    """

    body: bytes
    status: int = 200
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    missing: int = 0
    pieces: int = 0
    pause: float = 0.0
    unfinished: bool = False

    @property
    def hangs_up(self) -> bool:
        return bool(self.missing) or self.unfinished

    def chunks(self) -> list[bytes]:
        size = -(-len(self.body) // self.pieces)
        return [self.body[i : i + size] for i in range(0, len(self.body), size)]


def raw(answer: Answer) -> Raw:
    """Turn a plain answer into bytes."""
    if isinstance(answer, Raw):
        return answer
    if not isinstance(answer, tuple):
        answer = (200, completion(answer))
    status, body, headers = (*answer, {})[:3]
    text = body if isinstance(body, str) else json.dumps(body)
    kind = "text/html" if text.startswith("<") else "application/json"
    return Raw(text.encode(), status, kind, headers)


def html(status: int = 200) -> Raw:
    """A web page where the API should be."""
    return raw((status, "<html><body>Welcome to nginx!</body></html>"))


def truncated(content: Any = "Choice 1") -> Raw:
    """The connection ends in the middle of what Content-Length promised."""
    body = raw(content).body
    return Raw(body[: len(body) // 2], missing=len(body) - len(body) // 2)


def cut(content: Any = "Choice 1") -> Raw:
    """JSON that ends in the middle, with a Content-Length that agrees with it."""
    body = raw(content).body
    return Raw(body[: len(body) // 2])


def chunked(content: Any = "Choice 1", *, unfinished: bool = False) -> Raw:
    """Chunked encoding, whole or broken off."""
    return Raw(raw(content).body, pieces=5, unfinished=unfinished)


def dripping(
    content: Any = "Choice 1", *, pieces: int = 40, pause: float = 0.05
) -> Raw:
    """A body that comes slowly, after white space that keeps the connection alive."""
    return Raw(b" " * 400 + raw(content).body, pieces=pieces, pause=pause)


def encoded(content: str, encoding: str, *, charset: str | None = None) -> Raw:
    """A body in another encoding, with or without the header that says so."""
    body = json.dumps(completion(content), ensure_ascii=False).encode(encoding)
    declared = f"; charset={charset}" if charset else ""
    return Raw(body, content_type=f"application/json{declared}")


def mislabelled(content: Any = "Choice 1", content_type: str = "text/plain") -> Raw:
    """A good body under another Content-Type."""
    return Raw(raw(content).body, content_type=content_type)


def token(text: Any, logprob: Any, **top: Any) -> dict[str, Any]:
    """One entry of ``logprobs.content``; ``top`` holds the likeliest tokens."""
    likeliest = [{"token": t, "logprob": p} for t, p in top.items()]
    return {"token": text, "logprob": logprob, "top_logprobs": likeliest}


def no_choices() -> Answer:
    """A completion without any choice."""
    return (200, {"id": "chat-1", "object": "chat.completion", "choices": []})


def refusal(text: str = "I cannot help with that.") -> Answer:
    """A reply in which the model declines."""
    return (200, completion(None, refusal=text))


def thoughts_only() -> Answer:
    """A reasoning model that spent all its tokens before it said anything."""
    return (200, completion("", (70, 10), finish_reason="length"))


def unsupported(name: str, hint: str = "") -> Answer:
    """How OpenAI refuses a parameter."""
    message = f"Unsupported parameter: '{name}' is not supported with this model.{hint}"
    kind = "invalid_request_error"
    return (400, error(message, "unsupported_parameter", param=name, type=kind))


#: A later attempt may succeed.
PASSING: dict[str, Answer] = {
    "408": (408, error("timed out")),
    "409": (409, error("locked")),
    "429": (429, error("rate limit reached", "rate_limit_exceeded")),
    "429 with Retry-After": (429, error("slow down"), {"Retry-After": "0"}),
    "500": (500, error("internal error")),
    "502 page": html(502),
    "503": (503, error("overloaded")),
    "503 with Retry-After": (503, error("overloaded"), {"Retry-After": "0"}),
    "529": (529, error("overloaded")),
    "reset": Reset(),
    "hung up": Hang(0.0),
    "truncated": truncated(),
    "unfinished": chunked(unfinished=True),
    "cut JSON": cut(),
    "no JSON": (200, "Service unavailable"),
    "empty": (200, ""),
    "no choices": no_choices(),
    "error with 200": (200, error("upstream is busy", 503)),
}

#: Nothing will succeed until somebody changes something.
LASTING: dict[str, Answer] = {
    "400": (400, error("messages: wrong")),
    "401": (401, error("Incorrect API key", "invalid_api_key")),
    "402": (402, error("Payment required")),
    "403": (403, error("Country not supported", "unsupported_country")),
    "404": (404, error("The model `m` does not exist", "model_not_found")),
    "quota": (429, error("You exceeded your current quota", "insufficient_quota")),
    "page": html(),
}

#: This one question cannot be answered, others may be.
ONE_QUESTION: dict[str, Answer] = {
    "content filter": (400, error("The response was filtered", "content_filter")),
    "context length": (400, error("too many tokens", "context_length_exceeded")),
    "too large": (413, error("Request too large")),
}

#: A reply that names no choice, or not just one.
UNUSABLE: dict[str, Answer] = {
    "no text": "",
    "null": None,
    "both": "Choice 1 or Choice 2",
    "prose": "That depends on what you mean by similar.",
    "refusal": refusal(),
    "thoughts only": thoughts_only(),
}


def odd_forms(content: str) -> dict[str, Answer]:
    """The same good reply in forms that a client must understand."""
    parts = [
        {"type": "text", "text": content[:3]},
        {"type": "text", "text": content[3:]},
    ]
    return {
        "chunked": chunked(content),
        "no Content-Type": mislabelled(content, ""),
        "text/plain": mislabelled(content),
        "UTF-16": encoded(content, "utf-16"),
        "Latin-1 declared": encoded(content, "latin-1", charset="iso-8859-1"),
        "parts": (200, completion(parts)),
        "no usage": (200, completion(content, None)),
    }


def in_turn(*answers: Answer) -> Callable[[str], Answer]:
    """For each prompt by itself: first attempt, second, ...; the last for good.

    An answer may be a function from the prompt to an answer.
    """
    seen: Counter[str] = Counter()
    lock = threading.Lock()

    def answer(prompt: str) -> Answer:
        with lock:
            turn = min(seen[prompt], len(answers) - 1)
            seen[prompt] += 1
        chosen = answers[turn]
        return chosen(prompt) if callable(chosen) else chosen

    return answer


def troubled(
    answer: Callable[[str], Answer], faults: Sequence[Answer], attempts: int = 1
) -> Callable[[str], Answer]:
    """Meet each prompt with one of the faults, or none, in its first attempts.

    Which one depends on the prompt alone, not on the order of requests.
    """
    turns = [in_turn(*[fault] * attempts, answer) for fault in faults]
    turns.append(answer)
    return lambda prompt: turns[zlib.crc32(prompt.encode()) % len(turns)](prompt)
