"""What a journal tells about what was asked, and the file that it is told from."""

from __future__ import annotations

import json
import os
import sqlite3
import statistics
import tempfile
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

from . import _tables as tables
from ._connection import Connection
from ._content import FIELDS, entry, read_request
from ._file import JournalError, explained

__all__ = ["History"]


class History:
    """A journal that can be opened and read."""

    def __init__(self, path: str | os.PathLike[str] | None = None):
        self.path: str | None = None
        if path is not None:
            self.path = os.path.abspath(os.path.expanduser(os.fsdecode(path)))
        self._connections: dict[int, Connection] = {}  # by process

    def check(self) -> None:
        """Open the file, or make it.

        Raises
        ------
        JournalError
            If it cannot be used, or not be written.
        """
        with self._here().reading():
            pass

    def close(self) -> None:
        """Close the file, and end what this object has claimed and not yet answered.

        What it has reserved and not settled is booked as spent. The file opens again
        when it is next used; a journal in memory is then empty.
        """
        self._here().close()

    def _here(self) -> Connection:
        """Return the connection of this process."""
        pid = os.getpid()
        if pid not in self._connections:
            mine = self._connections.setdefault(pid, Connection(self.path))
            weakref.finalize(self, mine.close)
        return self._connections[pid]

    def requests(self, keys: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Look up what questions ask, be they answered or not.

        Parameters
        ----------
        keys : sequence of str
            As :func:`question_key` gives them.

        Returns
        -------
        requests : dict of str to dict
            Of the keys that were claimed or imported, in no particular order.

        Raises
        ------
        JournalError
            If the file cannot be read.
        """
        found = self._look_up(keys, tables.requests)
        with explained(self.path):
            return {key: read_request(request) for key, request in found}

    def failures(self, keys: Sequence[str]) -> dict[str, str]:
        """Look up which questions were asked in vain.

        Parameters
        ----------
        keys : sequence of str
            As :func:`question_key` gives them.

        Returns
        -------
        failures : dict of str to str
            Of the keys that have attempts but no answer, what went wrong at last.

        Raises
        ------
        JournalError
            If the file cannot be read.
        """
        found = self._look_up(keys, tables.failures)
        with explained(self.path):
            return {key: str(json.loads(error)) for key, error in found}

    def _look_up(
        self,
        keys: Sequence[str],
        find: Callable[[sqlite3.Connection, Sequence[str]], list[tuple[str, str]]],
    ) -> list[tuple[str, str]]:
        wanted, found = list(dict.fromkeys(keys)), list[tuple[str, str]]()
        for start in range(0, len(wanted), tables.PAGE):
            with self._here().reading() as database:
                found += find(database, wanted[start : start + tables.PAGE])
        return found

    def attempts(self) -> Iterator[dict[str, Any]]:
        """Tell of every attempt, in the order in which they ended.

        Yields
        ------
        attempt : dict
            ``key``, ``request``, ``started`` (Unix time, s), ``seconds``; of the
            reply ``text``, ``finish_reason``, ``model``, ``prompt_tokens``,
            ``completion_tokens``, ``top_logprobs``, all None if there was none;
            ``error``, ``answer``, and ``used``: whether this reply is the answer to
            its question.

        Raises
        ------
        JournalError
            If the file cannot be read.
        """
        last = 0
        while True:
            with self._here().reading() as database:
                rows = tables.attempts_after(database, last)
            if not rows:
                return
            with explained(self.path):
                told = [entry(*row[1:]) for row in rows]
            yield from told
            last = rows[-1][0]

    def summary(self) -> dict[str, Any]:
        """Sum up what was asked and what it took.

        Returns
        -------
        summary : dict
            ``n_questions``, ``n_answered``, ``n_attempts``, ``n_failed`` (attempts
            without a reply), ``prompt_tokens`` and ``completion_tokens`` (of all
            attempts, as far as they were told), ``median_seconds`` (of the attempts
            with a reply; None if there are none) and ``models`` (a dict: how many
            replies came from each, by the names that the servers gave).

        Raises
        ------
        JournalError
            If the file cannot be read.
        """
        with self._here().reading() as database:
            n_questions, n_answered = tables.counts(database)
        seconds, models, tokens = list[float](), Counter[str](), Counter[str]()
        n_attempts = 0
        for attempt in self.attempts():
            n_attempts += 1
            if attempt["text"] is None:
                continue
            seconds.append(attempt["seconds"])
            if attempt["model"] is not None:
                models[attempt["model"]] += 1
            for name in ("prompt_tokens", "completion_tokens"):
                tokens[name] += attempt[name] or 0
        return {
            "n_questions": n_questions,
            "n_answered": n_answered,
            "n_attempts": n_attempts,
            "n_failed": n_attempts - len(seconds),
            "prompt_tokens": tokens["prompt_tokens"],
            "completion_tokens": tokens["completion_tokens"],
            "median_seconds": statistics.median(seconds) if seconds else None,
            "models": dict(models.most_common()),
        }

    def pace(self) -> float | None:
        """Say how long an answer has taken of late.

        Returns
        -------
        seconds : float or None
            Median of the latest thousand replies; None if there are none.

        Raises
        ------
        JournalError
            If the file cannot be read.
        """
        with self._here().reading() as database:
            seconds = tables.latest_seconds(database, 1000)
        return statistics.median(seconds) if seconds else None

    def to_jsonl(self, path: str | os.PathLike[str]) -> int:
        """Write every attempt as a line of JSON, with the names of :meth:`attempts`.

        A log-probability of minus infinity is written as ``-Infinity``, which Python
        reads and some other programs do not.

        Parameters
        ----------
        path : str or path-like
            The file, readable by its owner alone. It is replaced if it exists, once
            the new one is complete.

        Returns
        -------
        n_lines : int

        Raises
        ------
        JournalError
            If the journal cannot be read, or the file not be written.
        """
        target = os.path.realpath(os.fsdecode(path))
        try:
            self._refuse_own(target)
            folder, name = os.path.split(target)
            # Made readable by its owner alone.
            file, draft = tempfile.mkstemp(prefix=f".{name}-", dir=folder)
            try:
                n_lines = 0
                with open(file, "w", encoding="ascii", newline="\n") as lines:
                    for attempt in self.attempts():
                        lines.write(json.dumps(attempt) + "\n")
                        n_lines += 1
                    lines.flush()
                    os.fsync(lines.fileno())
                os.replace(draft, target)
            except BaseException:
                with suppress(OSError):
                    os.unlink(draft)
                raise
        except OSError as error:
            raise JournalError(
                f"The journal could not be exported to {target!r} ({error}). Give the "
                "path of a file that can be written, in a folder that exists."
            ) from error
        return n_lines

    def _refuse_own(self, target: str) -> None:
        if self.path is None:
            return
        own = os.path.realpath(self.path)
        if target in (own, f"{own}-wal", f"{own}-shm"):
            raise JournalError(
                f"The journal cannot be exported to {target!r}: that is the journal "
                "itself. Give another path."
            )

    def to_frame(self) -> Any:
        """Give every attempt as a row of a table, with the names of :meth:`attempts`.

        Returns
        -------
        frame : pandas.DataFrame

        Raises
        ------
        ImportError
            If pandas is not installed.
        JournalError
            If the file cannot be read.
        """
        try:
            import pandas
        except ImportError as error:
            raise ImportError(
                "AnswerJournal.to_frame needs the package 'pandas', which is not "
                "installed. Run: pip install pandas"
            ) from error
        return pandas.DataFrame(list(self.attempts()), columns=list(FIELDS))

    def __sklearn_clone__(self) -> Any:
        return self

    def __copy__(self) -> Any:
        return self

    def __deepcopy__(self, memo: object) -> Any:
        return self

    def __reduce__(self) -> tuple[type, tuple[str | None]]:
        return type(self), (self.path,)

    def __repr__(self) -> str:
        shown = "" if self.path is None else repr(self.path)
        return f"{type(self).__name__}({shown})"
