"""What is read from the tables of a journal, and written into them.

Whoever calls has begun a transaction if something is to be written.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Mapping, Sequence
from typing import Any

from ._content import Row
from ._process import Process, is_dead

__all__ = [
    "PAGE",
    "add",
    "attempts_after",
    "claim",
    "counts",
    "enter",
    "extend",
    "failures",
    "import_one",
    "latest_seconds",
    "leave",
    "release",
    "replies",
    "requests",
    "reserve",
    "settle",
    "spent",
]

PAGE = 200  # rows, or keys, at a time: each may hold a megabyte of text
_SPENT = 0  # the holder of what is no longer reserved


# Questions and attempts


def replies(database: sqlite3.Connection, keys: Sequence[str]) -> list[tuple[str, str]]:
    """Find the keys that are answered, up to PAGE of them, and the replies."""
    marks = ",".join("?" * len(keys))
    return database.execute(
        "SELECT key, reply FROM question JOIN attempt ON attempt.id = answered_by"
        f" WHERE key IN ({marks})",
        keys,
    ).fetchall()


def requests(
    database: sqlite3.Connection, keys: Sequence[str]
) -> list[tuple[str, str]]:
    """Find the keys that are known, up to PAGE of them, and what they ask."""
    marks = ",".join("?" * len(keys))
    return database.execute(
        f"SELECT key, request FROM question WHERE key IN ({marks})", keys
    ).fetchall()


def failures(
    database: sqlite3.Connection, keys: Sequence[str]
) -> list[tuple[str, str]]:
    """Find the keys that were asked in vain, up to PAGE of them, and why."""
    marks = ",".join("?" * len(keys))
    return database.execute(
        "SELECT key, error FROM question JOIN attempt ON attempt.question = question.id"
        f" WHERE answered_by IS NULL AND error IS NOT NULL AND key IN ({marks})"
        " ORDER BY attempt.id",
        keys,
    ).fetchall()


def latest_seconds(database: sqlite3.Connection, n: int) -> list[float]:
    """Give how long the latest replies took, those that were waited for."""
    rows = database.execute(
        "SELECT seconds FROM attempt WHERE reply IS NOT NULL AND seconds > 0"
        " ORDER BY id DESC LIMIT ?",
        (n,),
    )
    return [seconds for (seconds,) in rows]


def add(database: sqlite3.Connection, key: str, row: Row) -> bool:
    """Add an attempt at a question; False if there is no such question."""
    found = database.execute("SELECT id FROM question WHERE key = ?", (key,)).fetchone()
    if found is None:
        return False
    attempt = _insert(database, found[0], row)
    if row[2] is not None:
        _answer(database, found[0], attempt, replace=False)
    return True


def import_one(
    database: sqlite3.Connection, key: str, request: str, row: Row, *, replace: bool
) -> bool:
    """Add an attempt and its question if they are new; True if its reply now counts."""
    question = _question(database, key, request)
    found = database.execute(
        "SELECT id FROM attempt WHERE question = ? AND"
        " (started, seconds, reply, error, answer) IS (?, ?, ?, ?, ?)",
        (question, *row),
    ).fetchone()
    attempt = found[0] if found else _insert(database, question, row)
    return row[2] is not None and _answer(database, question, attempt, replace=replace)


def _question(database: sqlite3.Connection, key: str, request: str) -> int:
    database.execute(
        "INSERT INTO question (key, request) VALUES (?, ?) ON CONFLICT DO NOTHING",
        (key, request),
    )
    found = database.execute("SELECT id FROM question WHERE key = ?", (key,)).fetchone()
    return int(found[0])


def _insert(database: sqlite3.Connection, question: int, row: Row) -> int | None:
    return database.execute(
        "INSERT INTO attempt (question, started, seconds, reply, error, answer)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (question, *row),
    ).lastrowid


def _answer(
    database: sqlite3.Connection, question: int, attempt: int | None, *, replace: bool
) -> bool:
    """Let the reply of an attempt count; True if it did not and now does."""
    database.execute("DELETE FROM claim WHERE question = ?", (question,))
    changed = database.execute(
        "UPDATE question SET answered_by = :attempt WHERE id = :question AND"
        " (answered_by IS NULL OR :replace AND answered_by != :attempt)",
        {"attempt": attempt, "question": question, "replace": replace},
    )
    return changed.rowcount == 1


def counts(database: sqlite3.Connection) -> tuple[int, int]:
    """Count the questions, and those that are answered."""
    found = database.execute("SELECT count(*), count(answered_by) FROM question")
    n_questions, n_answered = found.fetchone()
    return n_questions, n_answered


def attempts_after(database: sqlite3.Connection, last: int) -> list[tuple[Any, ...]]:
    """Read the next PAGE attempts: the id of each, and what ``entry`` is told."""
    return database.execute(
        "SELECT attempt.id, key, request, started, seconds, reply, error, answer,"
        " attempt.id IS answered_by"
        " FROM attempt JOIN question ON question.id = attempt.question"
        " WHERE attempt.id > ? ORDER BY attempt.id LIMIT ?",
        (last, PAGE),
    ).fetchall()


# Holders and claims


def enter(database: sqlite3.Connection, holder: int, process: Process) -> None:
    """Make a holder known, and look after those that have died."""
    new = database.execute(
        "INSERT INTO holder VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (holder, *process),
    )
    if new.rowcount:
        for (other,) in database.execute("SELECT id FROM holder").fetchall():
            _is_gone(database, other)


def _dismiss(database: sqlite3.Connection, holder: int) -> None:
    """End the claims of a holder, and book its reservations as spent.

    Whether its calls were made cannot be known, and a limit is to hold in any case.
    """
    database.execute("DELETE FROM claim WHERE holder = ?", (holder,))
    database.execute(
        "INSERT INTO ledger SELECT ledger, unit, ?, amount FROM ledger"
        " WHERE holder = ? AND amount > 0"
        " ON CONFLICT DO UPDATE SET amount = amount + excluded.amount",
        (_SPENT, holder),
    )
    database.execute("DELETE FROM ledger WHERE holder = ?", (holder,))
    database.execute("DELETE FROM holder WHERE id = ?", (holder,))


def leave(database: sqlite3.Connection, holder: int) -> None:
    """Dismiss a holder that ends by itself, in a transaction of its own."""
    if database.execute("SELECT 1 FROM holder WHERE id = ?", (holder,)).fetchone():
        database.execute("BEGIN IMMEDIATE")
        _dismiss(database, holder)
        database.execute("COMMIT")


def _is_gone(database: sqlite3.Connection, holder: int) -> bool:
    process = database.execute(
        "SELECT machine, pid, began FROM holder WHERE id = ?", (holder,)
    ).fetchone()
    if not is_dead(*process):
        return False
    _dismiss(database, holder)
    return True


def claim(
    database: sqlite3.Connection, key: str, request: str, holder: int, seconds: float
) -> bool:
    """Claim a question for a holder, unless it is answered or somebody else's."""
    now = time.time()
    question = _question(database, key, request)
    answered_by, owner, until = database.execute(
        "SELECT answered_by, holder, until FROM question"
        " LEFT JOIN claim ON claim.question = question.id WHERE question.id = ?",
        (question,),
    ).fetchone()
    if answered_by is not None:
        return False
    is_held = owner is not None and now < until
    if is_held and (owner == holder or not _is_gone(database, owner)):
        return False
    database.execute(
        "INSERT OR REPLACE INTO claim VALUES (?, ?, ?)",
        (question, holder, now + seconds),
    )
    return True


def extend(database: sqlite3.Connection, key: str, holder: int, seconds: float) -> None:
    """Let a claim of this holder last longer."""
    database.execute(
        "UPDATE claim SET until = ? WHERE holder = ? AND"
        " question = (SELECT id FROM question WHERE key = ?)",
        (time.time() + seconds, holder, key),
    )


def release(database: sqlite3.Connection, key: str, holder: int) -> None:
    """End a claim of this holder."""
    database.execute(
        "DELETE FROM claim WHERE holder = ? AND"
        " question = (SELECT id FROM question WHERE key = ?)",
        (holder, key),
    )


# Ledgers


def reserve(
    database: sqlite3.Connection,
    ledger: str,
    holder: int,
    amounts: Mapping[str, float],
    limits: Mapping[str, float],
) -> bool:
    """Reserve amounts for a holder if all stay within their limits."""
    so_far = dict(
        database.execute(
            "SELECT unit, sum(amount) FROM ledger WHERE ledger = ? GROUP BY unit",
            (ledger,),
        ).fetchall()
    )
    for unit, limit in limits.items():
        total = so_far.get(unit, 0.0) + amounts.get(unit, 0.0)
        # Sums of money are not exact: ten times 0.1 must fit into 1.
        if total > limit + 1e-9 + 1e-12 * abs(limit):
            return False
    _book(database, ledger, holder, amounts)
    return True


def settle(
    database: sqlite3.Connection,
    ledger: str,
    holder: int,
    reserved: Mapping[str, float],
    spent: Mapping[str, float],
) -> None:
    """Give back what a holder has reserved, and book what was spent."""
    database.executemany(
        "UPDATE ledger SET amount = max(0.0, amount - ?)"
        " WHERE ledger = ? AND unit = ? AND holder = ?",
        [(amount, ledger, unit, holder) for unit, amount in reserved.items()],
    )
    _book(database, ledger, _SPENT, spent)


def _book(
    database: sqlite3.Connection,
    ledger: str,
    holder: int,
    amounts: Mapping[str, float],
) -> None:
    database.executemany(
        "INSERT INTO ledger VALUES (?, ?, ?, ?)"
        " ON CONFLICT DO UPDATE SET amount = amount + excluded.amount",
        [(ledger, unit, holder, amount) for unit, amount in amounts.items()],
    )


def spent(database: sqlite3.Connection, ledger: str) -> dict[str, float]:
    """Sum up what is spent."""
    return dict(
        database.execute(
            "SELECT unit, amount FROM ledger WHERE ledger = ? AND holder = ?",
            (ledger, _SPENT),
        ).fetchall()
    )
