"""The connection of one journal object in one process, and who may use it when."""

from __future__ import annotations

import os
import secrets
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from . import _tables as tables
from ._content import Row
from ._file import JournalError, explained, journal_error, open_database
from ._process import this_process

__all__ = ["Connection"]

# All that are open. A forked child inherits them, must not use them, and must not even
# close them; as long as they are in here, nobody does.
_OPEN: set[sqlite3.Connection] = set()


class Connection:
    """The one connection of a journal object in a process. Opened on first use.

    One connection with a lock of its own serves threads better than a connection for
    each: SQLite has one writer at a time, and those who wait for it sleep and try
    again, for longer each time.
    """

    def __init__(self, path: str | None):
        self.path = path
        self.pid = os.getpid()
        self.holder = secrets.randbits(62) + 1
        self._process = this_process()
        self._database: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        self._using = threading.Lock()
        self._waiting: list[_Record] = []
        self._committing = False
        self._turn = threading.Condition()  # guards the two before

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Lend the database to one thread; what goes wrong is a JournalError."""
        with self._using, explained(self.path):
            yield self._opened()

    @contextmanager
    def writing(self, *, durable: bool = False) -> Iterator[sqlite3.Connection]:
        """Lend the database for one transaction: all of it is written, or nothing.

        With ``durable`` it survives a power failure once this ends; without, only the
        end of this process.
        """
        with self.reading() as database:
            self._check_in_place()
            level = "FULL" if durable else "NORMAL"
            database.execute(f"PRAGMA synchronous = {level}")
            try:
                database.execute("BEGIN IMMEDIATE")
                yield database
                database.execute("COMMIT")
            except BaseException:
                if database.in_transaction:  # SQLite may have ended it by itself
                    database.execute("ROLLBACK")
                raise

    @contextmanager
    def holding(self) -> Iterator[sqlite3.Connection]:
        """Lend the database for one transaction of a holder of claims and reserves."""
        with self.writing() as database:
            tables.enter(database, self.holder, self._process)
            yield database

    def record(self, key: str, row: Row) -> bool:
        """Write an attempt, durably; False if there is no such question.

        To wait for the disk is what takes time, and it takes as long for one attempt
        as for many. So one thread writes what it finds waiting, while others come and
        wait; then one of these writes all that has come, and so on.
        """
        mine, batch = _Record(key, row), list[_Record]()
        try:
            with self._turn:
                self._waiting.append(mine)
                while self._committing and not mine.done:
                    self._turn.wait()
                if not mine.done:
                    self._committing = True
                    batch, self._waiting = self._waiting, []
            if batch:
                self._commit(batch)
        finally:
            if batch:
                with self._turn:
                    self._committing = False
                    for each in batch:
                        each.done = True
                    self._turn.notify_all()
        if mine.error is not None:  # of the thread that wrote for this one
            said = str(mine.error) or "The answer journal was interrupted."
            raise JournalError(said) from mine.error
        return mine.found

    def _commit(self, batch: list[_Record]) -> None:
        try:
            with self.writing(durable=True) as database:
                found = [tables.add(database, each.key, each.row) for each in batch]
        except BaseException as error:
            for each in batch:
                each.error = error
            raise
        for each, is_found in zip(batch, found, strict=True):
            each.error, each.found = None, is_found

    def close(self) -> None:
        """Give up claims and reservations, and close the file. May be opened again."""
        if self.pid != os.getpid():
            return  # inherited
        with self._using:
            database, self._database = self._database, None
            if database is None:
                return
            # A file that cannot be written keeps the claims, which lapse.
            with suppress(sqlite3.Error):
                tables.leave(database, self.holder)
            _OPEN.discard(database)
            database.close()

    def _opened(self) -> sqlite3.Connection:
        if self._database is None:
            self._database = open_database(self.path)
            _OPEN.add(self._database)
            self._file = _file_at(self.path)
        return self._database

    def _check_in_place(self) -> None:
        # What is written into a file that has no name any more is lost with it.
        if _file_at(self.path) != self._file:
            raise journal_error(
                self.path,
                "was removed or replaced while it was in use",
                "Put it back, or close the journal to begin a new one.",
            )


class _Record:
    """An attempt that waits to be written."""

    def __init__(self, key: str, row: Row):
        self.key, self.row = key, row
        self.done = self.found = False
        # What is so if whoever writes this is interrupted.
        self.error: BaseException | None = KeyboardInterrupt()


def _file_at(path: str | None) -> tuple[int, int] | None:
    if path is None:
        return None
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
