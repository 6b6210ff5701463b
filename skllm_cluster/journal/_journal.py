"""The answer journal, as others see it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .._validation import shorten
from ..protocols import Reply
from . import _tables as tables
from ._content import (
    Attempt,
    attempt_row,
    canonical,
    check_key,
    check_seconds,
    read_reply,
)
from ._file import explained
from ._history import History

__all__ = ["AnswerJournal"]


class AnswerJournal(History):
    """Keeps every answer of a model in one file: cache, resume and replay in one.

    Threads, processes and several users of one file ask each question once: whoever
    is to ask it claims it first. An answer is durable once it is recorded: it is not
    lost, and not paid for again, whatever then happens to the process.

    Parameters
    ----------
    path : str or path-like, optional
        The file. It is made on first use, readable by its owner alone, with the
        folders that it lacks. None: in memory, for as long as this object is used.

    Attributes
    ----------
    path : str or None
        The file, as an absolute path.

    See Also
    --------
    question_key : The name under which an answer is kept.

    Notes
    -----
    The file is a SQLite database in WAL mode; its tables say in comments what they
    hold, and any program that reads SQLite can look at it. While it is open two more
    files lie beside it; to copy it, close it first or copy all three. WAL mode needs
    a disk of this machine: a network drive will not do.

    It holds whatever it is given, the texts included: a request must hold no secret.

    This object may be used by many threads. A process that is forked from this one
    opens the file for itself; a journal in memory is empty there, and where it is
    unpickled. ``sklearn.base.clone`` and ``copy.deepcopy`` give the same object, so
    that all clones of an oracle share it.

    Examples
    --------
    >>> from skllm_cluster.journal import AnswerJournal, Attempt, question_key
    >>> from skllm_cluster.protocols import Reply
    >>> journal = AnswerJournal()
    >>> request = {"model": "m", "prompt": "Which is closer?", "sample": 0}
    >>> key = question_key(request)
    >>> journal.claim(key, request, seconds=60)
    True
    >>> journal.record(key, Attempt(1700000000.0, 0.4, reply=Reply("Choice 1")))
    >>> journal.replies([key])[key].text
    'Choice 1'
    >>> journal.claim(key, request, seconds=60)  # nobody has to ask it again
    False
    """

    # Answers

    def replies(self, keys: Sequence[str]) -> dict[str, Reply]:
        """Look up which questions are answered.

        Parameters
        ----------
        keys : sequence of str
            As :func:`question_key` gives them.

        Returns
        -------
        replies : dict of str to Reply
            Of the keys that are answered, in no particular order.

        Raises
        ------
        JournalError
            If the file cannot be read.
        """
        found = self._look_up(keys, tables.replies)
        with explained(self.path):
            return {key: read_reply(reply) for key, reply in found}

    def record(self, key: str, attempt: Attempt) -> None:
        """Keep an attempt at a question; it is durable when this returns.

        A reply answers the question and ends the claim on it. If two come, the first
        is the answer, and both attempts are kept. A failed attempt leaves the claim
        as it is.

        Parameters
        ----------
        key : str
            Of a question that was claimed or imported.
        attempt : Attempt
            What came of asking it.

        Raises
        ------
        JournalError
            If the file cannot be written. The attempt is then not kept.
        TypeError
            If something in the attempt is no JSON value.
        ValueError
            If there is no such question.
        """
        if not self._here().record(check_key(key), attempt_row(attempt)):
            raise ValueError(
                f"The journal has no question {shorten(key, 80)}. Claim it before it "
                "is asked, or import it with record_all."
            )

    def record_all(
        self,
        items: Iterable[tuple[str, Mapping[str, Any], Attempt]],
        *,
        replace: bool = False,
    ) -> int:
        """Import many answers at once: all of them, or none if something fails.

        Parameters
        ----------
        items : iterable of (key, request, Attempt)
            Questions, which need not be known, and attempts at them. An attempt that
            is already kept is not kept again.
        replace : bool, default=False
            Whether a reply takes the place of an earlier one. The attempt that it came
            from is kept in any case.

        Returns
        -------
        n_new : int
            How many of the replies became the answer to their question.

        Raises
        ------
        JournalError
            If the file cannot be written.
        TypeError
            If something in a request or an attempt is no JSON value.
        """
        rows = [
            (check_key(key), canonical(request, "request"), attempt_row(attempt))
            for key, request, attempt in items
        ]
        with self._here().writing(durable=True) as database:
            return sum(
                tables.import_one(database, *row, replace=replace) for row in rows
            )

    def __len__(self) -> int:
        """Return how many questions are answered."""
        with self._here().reading() as database:
            return tables.counts(database)[1]

    def __bool__(self) -> bool:
        """Return True: an empty journal is a journal."""
        return True

    # Claims

    def claim(self, key: str, request: Mapping[str, Any], *, seconds: float) -> bool:
        """Claim a question, so that nobody else asks it.

        Parameters
        ----------
        key : str
            As :func:`question_key` gives it.
        request : mapping of str to JSON values
            What will be asked; kept with the answer.
        seconds : float
            How long the claim lasts at most. It also ends when the question is
            answered, when it is released, when this journal is closed, and when this
            process dies, as far as that can be seen: on the same machine, and not on
            Windows.

        Returns
        -------
        is_mine : bool
            Whether the caller is to ask it now. False if it is answered, or claimed,
            be it by another thread with this object.

        Raises
        ------
        JournalError
            If the file cannot be written.
        TypeError
            If something in the request is no JSON value.
        ValueError
            If ``seconds`` is not positive and finite.
        """
        text, seconds = canonical(request, "request"), check_seconds(seconds)
        here = self._here()
        with here.holding() as database:
            return tables.claim(database, check_key(key), text, here.holder, seconds)

    def extend(self, key: str, *, seconds: float) -> None:
        """Let a claim of this journal last longer, such as before a retry.

        Nothing happens if it has lapsed and somebody else has claimed the question.

        Parameters
        ----------
        key : str
            Of a question that was claimed.
        seconds : float
            How long it lasts from now.

        Raises
        ------
        JournalError
            If the file cannot be written.
        ValueError
            If ``seconds`` is not positive and finite.
        """
        here, seconds = self._here(), check_seconds(seconds)
        with here.writing() as database:
            tables.extend(database, check_key(key), here.holder, seconds)

    def release(self, key: str) -> None:
        """End a claim of this journal, so that others may ask the question.

        Parameters
        ----------
        key : str
            Of a question that was claimed. Nothing happens if it no longer is.

        Raises
        ------
        JournalError
            If the file cannot be written.
        """
        here = self._here()
        with here.writing() as database:
            tables.release(database, check_key(key), here.holder)

    # Ledgers

    def reserve(
        self,
        ledger: str,
        amounts: Mapping[str, float],
        limits: Mapping[str, float],
    ) -> bool:
        """Set apart what a call may cost, if that stays within all limits.

        Parameters
        ----------
        ledger : str
            Name of what is counted together, over threads and processes.
        amounts : mapping of str to float
            At most what the call costs, in units of any name: "questions", "tokens".
        limits : mapping of str to float
            What may be spent in all. A unit without a limit is only counted.

        Returns
        -------
        is_granted : bool
            If not, nothing is reserved: what is spent, what is reserved and these
            amounts together exceed a limit.

        Raises
        ------
        JournalError
            If the file cannot be written.
        ValueError
            If an amount is negative or not finite, or a limit is NaN.
        """
        for unit, limit in limits.items():
            if math.isnan(limit):
                raise ValueError(f"limits[{unit!r}] must be a number, got {limit!r}.")
        here, amounts = self._here(), _amounts(amounts, "amounts")
        with here.holding() as database:
            return tables.reserve(database, ledger, here.holder, amounts, limits)

    def settle(
        self, ledger: str, reserved: Mapping[str, float], spent: Mapping[str, float]
    ) -> None:
        """Give back what was reserved, and book what was spent.

        Where nobody comes to settle, because the process died or the journal was
        closed, what was reserved is booked as spent: the calls may have been made,
        and a limit is to hold in any case.

        Parameters
        ----------
        ledger : str
            As it was given to :meth:`reserve`.
        reserved : mapping of str to float
            The amounts that this journal object has reserved.
        spent : mapping of str to float
            What the call did cost; nothing, an empty mapping, if it was not made.

        Raises
        ------
        JournalError
            If the file cannot be written.
        ValueError
            If an amount is negative or not finite.
        """
        given, booked = _amounts(reserved, "reserved"), _amounts(spent, "spent")
        here = self._here()
        with here.writing() as database:
            tables.settle(database, ledger, here.holder, given, booked)

    def spent(self, ledger: str) -> dict[str, float]:
        """Tell what is spent, without what is only reserved.

        Parameters
        ----------
        ledger : str
            As it was given to :meth:`settle`.

        Returns
        -------
        amounts : dict of str to float
            By unit. Empty if nothing was settled yet.

        Raises
        ------
        JournalError
            If the file cannot be read.
        """
        with self._here().reading() as database:
            return tables.spent(database, ledger)


def _amounts(amounts: Mapping[str, float], name: str) -> dict[str, float]:
    for unit, amount in amounts.items():
        if not 0 <= amount < math.inf:  # NaN is neither
            raise ValueError(
                f"{name}[{unit!r}] must be at least 0 and finite, got {amount!r}."
            )
    return {unit: float(amount) for unit, amount in amounts.items()}
