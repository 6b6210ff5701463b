"""What a person was asked, and what they said."""

from __future__ import annotations

import time
from collections.abc import Collection, Hashable, Iterable, Sequence
from typing import Any

from ..journal import AnswerJournal, Attempt
from ..protocols import Reply
from ._human_question import KINDS, Question

__all__ = ["Record"]

_ANSWERS = {
    choice.reply: choice.answer for kind in KINDS for choice in kind.choices.values()
}


class Record:
    """The answers of a person, in a journal, and the questions that came up.

    Answers refer to the sorted texts of a question.

    Parameters
    ----------
    given : path-like, AnswerJournal or None
        The journal. None: in memory.

    Attributes
    ----------
    skipped : set of str
        Keys of the questions that the person saw and passed over.
    """

    def __init__(self, given: Any):
        self.given = given
        known = isinstance(given, AnswerJournal)
        self.journal = given if known else AnswerJournal(given)
        self.skipped: set[str] = set()
        self._asked: set[str] = set()
        self._on_page: dict[Hashable, dict[str, list[Question]]] = {}

    def said(self, keys: Collection[str]) -> dict[str, int]:
        """Look up the answers that there are, by key."""
        replies = self.journal.replies(list(keys))
        said = {key: _ANSWERS.get(reply.text) for key, reply in replies.items()}
        return {key: answer for key, answer in said.items() if answer is not None}

    def open(self, questions: Iterable[Question]) -> list[Question]:
        """Return the distinct questions that have no answer yet."""
        distinct = {question.key: question for question in questions}
        self._asked.update(distinct)
        said = self.said(distinct)
        return [question for key, question in distinct.items() if key not in said]

    def keep(self, answers: Sequence[tuple[Question, int]], since: float) -> None:
        """Put answers to questions that came up at a time into the journal."""
        seconds = time.time() - since
        entries = []
        for question, answer in answers:
            choices = question.kind.choices.values()
            (text,) = (choice.reply for choice in choices if choice.answer == answer)
            reply = Reply(text, model="human")
            attempt = Attempt(since, seconds, reply, None, answer)
            entries.append((question.key, question.request, attempt))
        # The last word counts: an answer may be a correction.
        self.journal.record_all(entries, replace=True)

    def for_page(self, page: Hashable, questions: list[Question]) -> list[Question]:
        """Add what other kinds of question have left open on a page.

        A fit that asks about triplets goes on to pairs before anybody has answered:
        then one page holds both.
        """
        latest = self._on_page.setdefault(page, {})
        latest[questions[0].kind.name] = questions
        together = [question for kind in latest.values() for question in kind]
        said = self.said([question.key for question in together])
        return [question for question in together if question.key not in said]

    def report(self) -> dict[str, Any]:
        """Count the questions, and what became of them."""
        said = self.said(self._asked)
        n_neither = sum(answer < 0 for answer in said.values())
        return {
            "n_asked": len(self._asked),
            "n_usable": len(said) - n_neither,
            "n_neither": n_neither,
            "n_open": len(self._asked) - len(said),
            "n_skipped": len(self.skipped - said.keys()),
        }
