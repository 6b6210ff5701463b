"""Showing how far the asking has come."""

from __future__ import annotations

import importlib
import logging
import time
from types import TracebackType
from typing import Any

from ._calling import Outcome

__all__ = ["Progress"]

_log = logging.getLogger(__name__)
LOG_SECONDS = 10.0  # between two lines where there is no bar


class Progress:
    """A bar with answered, cached, failed, retries and cost, or lines in the log.

    The bar is tqdm's, which comes with the package ``openai``; without it, or with
    ``verbose=1``, a line is logged at level INFO every 10 seconds.

    Parameters
    ----------
    total : int
        Number of questions.
    verbose : int
        0 shows nothing, 1 logs, 2 draws a bar.
    """

    def __init__(self, total: int, verbose: int):
        self.total = total
        self.verbose = verbose
        self._bar: Any = None
        self._logged = time.monotonic()

    def __enter__(self) -> Progress:
        if self.verbose > 1:
            try:
                bar = importlib.import_module("tqdm.auto").tqdm
            except ImportError:
                self.verbose = 1
            else:
                self._bar = bar(total=self.total, desc="asking", unit="question")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def __call__(self, outcome: Outcome) -> None:
        """Show an outcome; called by one thread at a time."""
        if self._bar is not None:
            self._bar.set_postfix_str(_facts(outcome), refresh=False)
            self._bar.update(len(outcome.replies) + len(outcome.failed) - self._bar.n)
        elif self.verbose and time.monotonic() - self._logged > LOG_SECONDS:
            self._logged = time.monotonic()
            _log.info(
                "%d of %d questions: %s",
                len(outcome.replies) + len(outcome.failed),
                self.total,
                _facts(outcome),
            )


def _facts(outcome: Outcome) -> str:
    facts = {
        "answered": len(outcome.replies) - outcome.n_cached,
        "cached": outcome.n_cached,
        "failed": len(outcome.failed),
        "retries": outcome.n_retries,
    }
    shown = [f"{name} {n:,}" for name, n in facts.items()]
    return ", ".join(shown + ([f"cost {outcome.cost:.4g}"] if outcome.cost else []))
