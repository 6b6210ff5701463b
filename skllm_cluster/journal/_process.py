"""Which process this is, and whether another one has ended."""

from __future__ import annotations

import os
import platform
from pathlib import Path

__all__ = ["is_dead", "this_process"]

#: machine, process id, and when it began (None where the system does not tell)
Process = tuple[str, int, "str | None"]

_PROC = Path("/proc")


def this_process() -> Process:
    """Name this process as no other is named, not even one with the same id later."""
    return _machine(), os.getpid(), _began(os.getpid())


def is_dead(machine: str, pid: int, began: str | None) -> bool:
    """Tell whether a process has ended. False where that cannot be known."""
    # On Windows os.kill ends a process, whatever the signal.
    if os.name != "posix" or machine != _machine():
        return False
    try:
        os.kill(pid, 0)  # sends nothing
    except ProcessLookupError:
        return True
    except PermissionError:
        pass  # there is one, and it belongs to somebody else
    now = _began(pid)
    return None not in (now, began) and now != began


def _machine() -> str:
    """Name what has process ids of its own: a running system, or a container in it."""
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink(_PROC / 'self/ns/pid')}"
    except OSError:
        return platform.node()


def _began(pid: int) -> str | None:
    try:
        status = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    # The second field, the name, may itself hold spaces and brackets.
    state, *rest = status.rpartition(")")[2].split()
    # Ended, but not yet looked after by its parent.
    return "never" if state in "ZX" else rest[18]  # field 22: ticks since the boot
