"""Where paid vectors are kept, and what was counted: what clones share."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..journal import AnswerJournal, Attempt, question_key
from ..protocols import Reply
from ._embeddings_api import as_text, from_text

__all__ = ["VectorStore", "stacked"]

_PAGE = 1000  # vectors that are read at a time, each of which may take 16 KB as text

Vector = NDArray[np.float32]
#: a text, and the request under which its vector is kept
Item = tuple[str, Mapping[str, Any]]


class VectorStore:
    """Keeps vectors in a journal.

    Parameters
    ----------
    journal : path, AnswerJournal or None
        None: in memory.
    """

    def __init__(self, journal: Any):
        self.given = journal
        known = isinstance(journal, AnswerJournal)
        self.journal = journal if known else AnswerJournal(journal)
        self.encoding = threading.Lock()  # held while texts are looked up and asked for
        self._counting = threading.Lock()
        self._cut: set[str] = set()
        self._counts = {
            "n_texts": 0,
            "n_cached": 0,
            "n_embedded": 0,
            "n_requests": 0,
            "n_retries": 0,
            "tokens": 0,
            "seconds": 0.0,
        }

    def look_up(self, items: Iterable[Item]) -> dict[str, Vector]:
        """Read the vectors that are there, by text."""
        found, rest = {}, iter(items)
        while page := {question_key(r): text for text, r in islice(rest, _PAGE)}:
            for key, reply in self.journal.replies(list(page)).items():
                found[page[key]] = from_text(reply.text)
        return found

    def keep(
        self, items: Iterable[Item], vectors: Sequence[Vector], started: float
    ) -> None:
        """Make the vectors of a request durable, all or none."""
        # Of no length: the pace of a journal is that of single questions.
        answers = [Attempt(started, 0.0, reply=Reply(as_text(v))) for v in vectors]
        self.journal.record_all(
            (question_key(request), request, answer)
            for (_, request), answer in zip(items, answers, strict=True)
        )

    def note_cut(self, texts: Iterable[str]) -> int:
        """Count texts that were cut; say how many of them are new."""
        with self._counting:
            before = len(self._cut)
            self._cut.update(texts)
            return len(self._cut) - before

    def add(self, **numbers: float) -> None:
        """Add to counts."""
        with self._counting:
            for name, number in numbers.items():
                self._counts[name] += number

    def report(self) -> dict[str, Any]:
        """Give all counts."""
        with self._counting:
            return {**self._counts, "n_cut": len(self._cut)}


def stacked(found: Mapping[str, Vector], texts: Sequence[str], model: str) -> Vector:
    """Make an array of the vectors of texts, shape (n, d).

    Raises
    ------
    ValueError
        If they are not of one length.
    """
    lengths = sorted({len(found[text]) for text in texts})
    if len(lengths) > 1:
        raise ValueError(
            f"The vectors of {model!r} have different lengths, {lengths}: another "
            "model has the same name, or had it when the journal was begun. Use "
            "another journal."
        )
    return np.stack([found[text] for text in texts])
