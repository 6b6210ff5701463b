"""How many calls may be under way, and how fast new ones may begin."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

__all__ = ["Limiter"]


class Limiter:
    """Let calls begin: at most so many at a time, and so many in a minute.

    Calls under way are halved when a server says that there are too many, and grow
    again by one for every round of answers (additive increase, multiplicative
    decrease: what keeps many clients of one server fair).

    Parameters
    ----------
    most : int
        Calls under way, at most.
    requests_per_minute, tokens_per_minute : float, optional
        Begins are spread evenly, so that no minute holds more. None: no such limit.
    clock : callable, default=time.monotonic
        The time in seconds.

    Attributes
    ----------
    allowed : float
        Calls that may be under way now.
    under_way : int
        Calls that are.
    """

    def __init__(
        self,
        most: int,
        *,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.most = most
        self.allowed = float(most)
        self.under_way = 0
        self._rates = (requests_per_minute, tokens_per_minute)
        self._clock = clock
        self._next = 0.0  # when the next call may begin
        self._begun = 0
        self._cut_at = 0  # calls begun before this one have no say in a further cut
        self._changed = threading.Condition()

    def begin(self, tokens: float, stopped: Callable[[], bool]) -> int | None:
        """Wait until a call may begin.

        Parameters
        ----------
        tokens : float
            What the call is expected to use.
        stopped : callable
            Says whether there is nothing to wait for any more; see :meth:`wake`.

        Returns
        -------
        ticket : int or None
            To be given back to :meth:`end`. None if ``stopped``.
        """
        with self._changed:
            while not stopped():
                now = self._clock()
                full = self.under_way >= max(1, int(self.allowed))
                if not full and now >= self._next:
                    self._next = max(now, self._next) + self.spacing(tokens)
                    self.under_way += 1
                    self._begun += 1
                    return self._begun
                self._changed.wait(None if full else self._next - now)
        return None

    def end(
        self, ticket: int, *, congested: bool = False, pause: float | None = None
    ) -> None:
        """Say that a call is over.

        Parameters
        ----------
        ticket : int
            What :meth:`begin` gave.
        congested : bool, default=False
            Whether the server said that there are too many calls. Those that were
            under way together halve the number once, not once each.
        pause : float, optional
            Seconds in which no call may begin.
        """
        with self._changed:
            self.under_way -= 1
            if not congested:
                self.allowed = min(self.most, self.allowed + 1 / self.allowed)
            elif ticket > self._cut_at:
                self.allowed = max(1.0, self.allowed / 2)
                self._cut_at = self._begun
            if pause:
                self._next = max(self._next, self._clock() + pause)
            self._changed.notify_all()

    def wake(self) -> None:
        """Let all who wait look at ``stopped`` again."""
        with self._changed:
            self._changed.notify_all()

    def spacing(self, tokens: float) -> float:
        """Say how many seconds lie between the begin of a call and the next."""
        used = (1.0, tokens)
        return max(
            (
                60 * amount / rate
                for amount, rate in zip(used, self._rates, strict=True)
                if rate
            ),
            default=0.0,
        )
