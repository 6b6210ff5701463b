"""The file of a journal: its tables, how it is made, and what may be wrong with it."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

__all__ = ["JournalError", "explained", "journal_error", "open_database"]

_APPLICATION = 0x736B6C6A  # "sklj", by which a file is known to be a journal
_VERSION = 1
_PATIENCE = 60.0  # seconds that another process may keep the file locked

_TABLES = (
    """
CREATE TABLE question (
    -- What was to be asked: one row, however often it is asked.
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,  -- hexadecimal SHA-256 of the request
    request TEXT NOT NULL,  -- JSON: all that is sent
    answered_by INTEGER REFERENCES attempt (id)  -- whose reply counts
) STRICT""",
    """
CREATE TABLE attempt (
    -- One call, in the order in which they ended. Never changed, never deleted.
    id INTEGER PRIMARY KEY,
    question INTEGER NOT NULL REFERENCES question (id),
    started REAL NOT NULL,  -- Unix time, seconds
    seconds REAL NOT NULL,
    reply TEXT,  -- JSON: text, model, tokens, ... as far as known; NULL: none came
    error TEXT,  -- JSON: a string
    answer TEXT  -- JSON: what was read from the reply
) STRICT""",
    "CREATE INDEX attempts_of_question ON attempt (question)",
    """
CREATE TABLE holder (
    -- A journal object in a process, while it has claims or reservations.
    id INTEGER PRIMARY KEY,  -- random
    machine TEXT NOT NULL,
    pid INTEGER NOT NULL,
    began TEXT  -- tells processes apart that have the same pid
) STRICT""",
    """
CREATE TABLE claim (
    -- Who is asking a question now.
    question INTEGER PRIMARY KEY REFERENCES question (id),
    holder INTEGER NOT NULL REFERENCES holder (id),
    until REAL NOT NULL  -- Unix time, seconds
) STRICT""",
    """
CREATE TABLE ledger (
    -- What asking has cost, and what it may yet cost.
    ledger TEXT NOT NULL,
    unit TEXT NOT NULL,
    holder INTEGER NOT NULL,  -- who has reserved it; 0: it is spent
    amount REAL NOT NULL,
    PRIMARY KEY (ledger, unit, holder)
) STRICT, WITHOUT ROWID""",
)

_ELSEWHERE = "Give the path of a file that can be written, in such a folder."
_SPACE = "Free some space and run again: what was recorded before is kept."
_ASIDE = "Put it aside, or put back a copy of it; a new one begins empty."
# What SQLite says, what that means, what to do.
_FAULTS = (
    ("not a database", "is no SQLite database", "Give another path."),
    ("malformed", "is damaged", _ASIDE),
    ("decode to UTF-8", "is damaged", _ASIDE),
    ("no such", "is damaged", _ASIDE),  # table or column
    ("readonly", "cannot be written", _ELSEWHERE),
    ("Read-only", "cannot be written", _ELSEWHERE),
    ("Permission denied", "cannot be written", _ELSEWHERE),
    ("unable to open", "cannot be opened", _ELSEWHERE),
    ("disk is full", "has no room left on its disk", _SPACE),
    ("No space", "has no room left on its disk", _SPACE),
    (
        "locked",
        "has been locked by another process for too long",
        "Wait until that process is done with it, or end it.",
    ),
    ("", "cannot be used", "Check its disk, or give another path."),
)

# One lock for each process: one that a forked child inherits may be held for ever.
_MAKING: dict[int, threading.Lock] = {}


class JournalError(RuntimeError):
    """The file of an answer journal cannot be used; the message says what to do.

    Whatever the fault is, nothing in the file was overwritten.

    Examples
    --------
    >>> import tempfile
    >>> from skllm_cluster.journal import AnswerJournal, JournalError
    >>> try:
    ...     AnswerJournal(tempfile.gettempdir()).check()
    ... except JournalError as error:
    ...     print(error)
    The answer journal '...' cannot be used: it is no regular file. Give ...
    """


def journal_error(path: str | None, what: str, do: str) -> JournalError:
    """Say which journal has which fault and what can be done."""
    name = "in memory" if path is None else repr(path)
    return JournalError(f"The answer journal {name} {what}. {do}")


@contextmanager
def explained(path: str | None) -> Iterator[None]:
    """Turn what SQLite and the system say about a journal into a JournalError."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        # Without the path, which may hold any word.
        said = (error.strerror if isinstance(error, OSError) else None) or str(error)
        what, do = next(fault[1:] for fault in _FAULTS if fault[0] in said)
        raise journal_error(path, f"{what} ({said})", do) from error


def open_database(path: str | None) -> sqlite3.Connection:
    """Open the journal at a path, or a new one there or (None) in memory.

    Raises
    ------
    JournalError
        If what is there is no journal that this version can use, or nothing can be
        made there. What is there is left as it is.
    """
    if sqlite3.sqlite_version_info < (3, 37):
        raise journal_error(
            path,
            f"needs SQLite 3.37 or newer, but this Python has {sqlite3.sqlite_version}",
            "Use a newer build of Python.",
        )
    with explained(path):
        if path is None:
            return _prepared(_connect("file::memory:"), path)
        try:
            # SQLite follows links, and its other files lie beside their target.
            place = os.path.realpath(path)
            _make(place)
        except ValueError as error:  # a NUL
            raise journal_error(path, f"is no path ({error})", _ELSEWHERE) from error
        if not os.path.isfile(place):
            raise journal_error(
                path, "cannot be used: it is no regular file", _ELSEWHERE
            )
        uri, rest = Path(place).as_uri(), f"{place}-wal"
        is_there = os.path.exists(rest)  # never before a new journal has its tables
        # Without a lock, and without the repairs that opening begins with: it may not
        # be ours.
        with closing(_connect(f"{uri}?immutable=1")) as database:
            # Its log may hold pages that the first one already counts.
            database.execute("PRAGMA writable_schema = ON")
            if _is_new(database, path) and is_there:
                raise journal_error(
                    path,
                    f"is empty, but {rest!r} is the rest of another database",
                    "Move that away, or give another path.",
                )
        return _prepared(_connect(f"{uri}?mode=rw"), path)


def _connect(uri: str) -> sqlite3.Connection:
    return sqlite3.connect(
        uri,
        uri=True,
        timeout=_PATIENCE,
        isolation_level=None,  # transactions are begun and ended by hand
        check_same_thread=False,  # a lock sees to that
    )


def _make(place: str) -> None:
    """Make the file and the folders that it lacks, for this user only."""
    folder = Path(place).parent
    for missing in reversed([p for p in (folder, *folder.parents) if not p.exists()]):
        missing.mkdir(mode=0o700, exist_ok=True)
    # Closing a file takes away all locks that this process has on it, so nobody may
    # open it as a database while it is being made.
    making = _MAKING.setdefault(os.getpid(), threading.Lock())
    with making, suppress(FileExistsError):
        os.close(os.open(place, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def _is_new(database: sqlite3.Connection, path: str | None) -> bool:
    """Tell an empty database from a journal; refuse everything else."""
    application = database.execute("PRAGMA application_id").fetchone()[0]
    version = database.execute("PRAGMA user_version").fetchone()[0]
    if application == _APPLICATION:
        if version != _VERSION:
            raise journal_error(
                path,
                f"has format {version}, and this version of skllm_cluster reads and "
                f"writes format {_VERSION}",
                "Use the version of skllm_cluster that made it, or give another path.",
            )
        return False
    if application or version or _n_tables(database):
        raise journal_error(
            path, "is a SQLite database of another application", "Give another path."
        )
    return True


def _n_tables(database: sqlite3.Connection) -> int:
    found = database.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return int(found[0])


def _prepared(database: sqlite3.Connection, path: str | None) -> sqlite3.Connection:
    try:
        database.execute("PRAGMA trusted_schema = OFF")
        database.execute("PRAGMA fullfsync = ON")  # where fsync alone is not enough
        # First whose file it is: a single page, so that it is written or it is not.
        database.execute("BEGIN IMMEDIATE")
        if _is_new(database, path):
            database.execute(f"PRAGMA application_id = {_APPLICATION}")
            database.execute(f"PRAGMA user_version = {_VERSION}")
        database.execute("COMMIT")
        _use_wal(database)
        database.execute("BEGIN IMMEDIATE")
        if not _n_tables(database):
            for statement in _TABLES:
                database.execute(statement)
        # Writes nothing, but fails if nothing can be written. BEGIN does not.
        database.execute("DELETE FROM claim WHERE 0")
        database.execute("COMMIT")
    except BaseException:
        database.close()
        raise
    return database


def _use_wal(database: sqlite3.Connection) -> None:
    """Let readers and one writer work at the same time, from now on."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            database.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            # For this statement alone SQLite does not wait by itself.
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
