"""What crosses the wire of the OpenAI embeddings API: batches of texts, and vectors."""

from __future__ import annotations

import base64
import binascii
import bisect
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._remote import Advice, mark, no_api
from .._validation import shorten

__all__ = ["as_text", "cut", "from_text", "in_batches", "most_tokens", "read_answer"]

Vector = NDArray[np.float32]


def most_tokens(text: str) -> int:
    """Estimate how many tokens a text has at most.

    One for two characters of ASCII, of which a token of English has four, and one for
    each byte of all others. Codes and random letters may have more.
    """
    n_ascii = sum(map(str.isascii, text)) if not text.isascii() else len(text)
    return (n_ascii + 1) // 2 + len(text.encode()) - n_ascii


def cut(text: str, limit: int) -> str:
    """Return the longest beginning of a text that is within so many tokens."""
    if most_tokens(text) <= limit:
        return text
    lengths = range(len(text) + 1)
    fits = bisect.bisect_right(lengths, limit, key=lambda n: most_tokens(text[:n]))
    return text[: fits - 1]


def in_batches(texts: Sequence[str], size: int, tokens: int) -> list[list[str]]:
    """Divide texts, in their order, into batches.

    Parameters
    ----------
    texts : sequence of str
    size : int
        Texts in a batch, at most.
    tokens : int
        Tokens in a batch, at most; a text that has more is alone in its batch.
    """
    batches: list[list[str]] = []
    room = 0
    for text in texts:
        needed = most_tokens(text)
        if not batches or len(batches[-1]) == size or needed > room:
            batches.append([])
            room = tokens
        batches[-1].append(text)
        room -= needed
    return batches


def as_text(vector: Vector) -> str:
    """Write a vector as base64 of its little-endian float32."""
    return base64.b64encode(vector.astype("<f4").tobytes()).decode("ascii")


def from_text(text: str) -> Vector:
    """Read a vector.

    Raises
    ------
    ValueError
        If the text is none.
    """
    return np.frombuffer(base64.b64decode(text, validate=True), "<f4").astype("f4")


def read_answer(
    text: str, server: str, texts: Sequence[str], dimensions: int | None = None
) -> tuple[list[Vector], int | None]:
    """Read the vectors of a batch.

    Parameters
    ----------
    text : str
        Body of an answer with status 200.
    server : str
        Where it came from, for the message.
    texts : sequence of str
        The batch.
    dimensions : int, optional
        Length of vector that was asked for.

    Returns
    -------
    vectors : list of ndarray of float32
        In the order of the texts, whatever that of the answer.
    tokens : int or None
        As the server counts them.

    Raises
    ------
    RuntimeError
        If it is no such answer, holds another number of vectors, vectors of different
        or another length, or what is no finite number.
    """
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        answer = None
    vectors = _vectors(answer, len(texts))
    if vectors is None:
        # Raised here, where no JSONDecodeError with the server's words is at hand.
        fault = answer.get("error") if isinstance(answer, dict) else None
        raise no_api("embeddings", server, text, fault)
    _check(vectors, server, texts, dimensions)
    usage = answer.get("usage")
    tokens = usage.get("prompt_tokens") if isinstance(usage, dict) else None
    counts = isinstance(tokens, int) and not isinstance(tokens, bool) and tokens >= 0
    return vectors, tokens if counts else None


def _vectors(answer: Any, n: int) -> list[Vector] | None:
    """Put the vectors in order; None if they are not n of one length."""
    rows = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(rows, list) or len(rows) != n:
        return None
    if not all(isinstance(row, dict) for row in rows):
        return None
    places = [row.get("index", i) for i, row in enumerate(rows)]
    if any(type(place) is not int for place in places):
        return None
    if sorted(places) != list(range(n)):
        return None
    found = [_vector(rows[i].get("embedding")) for i in np.argsort(places)]
    vectors = [vector for vector in found if vector is not None]
    is_whole = len(vectors) == n and len({len(vector) for vector in vectors}) == 1
    return vectors if is_whole and len(vectors[0]) else None


def _vector(given: Any) -> Vector | None:
    try:
        if isinstance(given, str):
            return from_text(given)
        if not isinstance(given, list) or any(isinstance(x, str) for x in given):
            return None
        with np.errstate(over="ignore"):  # what is infinite is told of
            vector = np.array(given, dtype=np.float64).astype(np.float32)
    except (ValueError, TypeError, OverflowError, binascii.Error):
        return None
    return vector if vector.ndim == 1 else None


def _check(
    vectors: list[Vector], server: str, texts: Sequence[str], dimensions: int | None
) -> None:
    length = len(vectors[0])
    if dimensions is not None and length != dimensions:
        raise mark(
            RuntimeError(
                f"The server at {server} returned vectors of length {length}, where "
                f"dimensions={dimensions} was asked for. Leave dimensions out."
            ),
            Advice("stop"),
        )
    for vector, text in zip(vectors, texts, strict=True):
        if not np.isfinite(vector).all():
            raise mark(
                RuntimeError(
                    f"The server at {server} returned NaN or infinity for the text "
                    f"{shorten(text)}. Leave that text out, or try another model."
                ),
                Advice("stop"),
            )
