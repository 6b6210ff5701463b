"""Sending several batches at a time, each again after a fault that may pass."""

from __future__ import annotations

import logging
import math
import random
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from .._remote import Limiter, advise, describe, pauses

__all__ = ["Sender"]

logger = logging.getLogger(__name__)


class Sender:
    """Sends batches until all are answered or one cannot be.

    Parameters
    ----------
    send : callable
        Sends a batch, once, and keeps what comes.
    cost : callable
        From a batch to the tokens that it is taken for in a limit of tokens a minute.
    n_jobs : int
        Batches under way, at most.
    max_retries : int
        Further attempts for a batch, at most.
    max_retry_seconds : float
        How long a batch may fail before it is given up.
    requests_per_minute, tokens_per_minute : float, optional
        None: no such limit.

    Attributes
    ----------
    n_retries : int
        Attempts that were further ones.
    """

    def __init__(
        self,
        send: Callable[[Any], object],
        cost: Callable[[Any], float],
        *,
        n_jobs: int,
        max_retries: int,
        max_retry_seconds: float,
        requests_per_minute: float | None,
        tokens_per_minute: float | None,
    ):
        self.send, self.cost = send, cost
        self.n_jobs = n_jobs
        self.max_retries = max_retries
        self.max_retry_seconds = max_retry_seconds
        self.limiter = Limiter(
            n_jobs,
            requests_per_minute=requests_per_minute,
            tokens_per_minute=tokens_per_minute,
        )
        self.n_retries = 0
        self.lock = threading.Lock()
        self.over = threading.Event()  # nothing new is to begin
        self.error: Exception | None = None

    def send_all(self, batches: Sequence[Any]) -> None:
        """Send all batches.

        Raises
        ------
        Exception
            The first that cannot be helped. Batches under way are waited for.
        """
        n_threads = min(self.n_jobs, len(batches))
        pool = ThreadPoolExecutor(n_threads, thread_name_prefix="OpenAIEmbedder")
        wait = True
        try:
            for _ in pool.map(self._until_answered, batches):
                pass
        except KeyboardInterrupt:
            wait = False  # who interrupts does not want to sit out a slow server
            self._stop(None)
            raise
        finally:
            pool.shutdown(wait=wait, cancel_futures=True)
        if self.error is not None:
            raise self.error

    def _until_answered(self, batch: Any) -> None:
        failing_since, n_tries = math.inf, 0
        backoff = pauses(random.Random())
        while not self.over.is_set():
            error = self._attempt(batch)
            if error is None:
                return
            advice, n_tries = advise(error), n_tries + 1
            pause = max(advice.pause or 0.0, next(backoff))
            failing_since = min(failing_since, time.monotonic())
            spent = time.monotonic() - failing_since + pause
            too_often = n_tries > self.max_retries or spent > self.max_retry_seconds
            if advice.kind != "again" or too_often:
                self._stop(error)
                return
            logger.info("trying again in %.1f s: %s", pause, describe(error))
            self.over.wait(pause)
            with self.lock:
                self.n_retries += 1

    def _attempt(self, batch: Any) -> Exception | None:
        """Send once, when that is allowed; give the error, if there was one."""
        ticket = self.limiter.begin(self.cost(batch), self.over.is_set)
        if ticket is None:
            return None
        congested, pause = False, None
        try:
            self.send(batch)
        except Exception as error:
            advice = advise(error)
            congested = advice.congested
            # Nobody sits out a pause for which one batch would be given up.
            if congested and (advice.pause or 0.0) <= self.max_retry_seconds:
                pause = advice.pause
            return error
        finally:
            self.limiter.end(ticket, congested=congested, pause=pause)
        return None

    def _stop(self, error: Exception | None) -> None:
        """Let nothing new begin; the first error is the one that is raised."""
        with self.lock:
            if self.error is None:
                self.error = error
            self.over.set()
        self.limiter.wake()
