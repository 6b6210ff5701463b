"""From what was said to an answer, and how sure it is."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..protocols import Reply
from ._parsing import CHOICE, Reading

__all__ = ["combine", "vote"]


def vote(
    reply: Reply | None, *, swapped: bool, reading: Reading = CHOICE
) -> tuple[int, float]:
    """Read one reply.

    Parameters
    ----------
    reply : Reply or None
    swapped : bool
        Whether the texts were shown in the other order than given.
    reading : Reading, default=CHOICE
        How.

    Returns
    -------
    answer : int
        0 or 1, as of the order given, -1 for no usable answer.
    probability : float
        Of the answer 0 as of the order given, from the model's own log-probabilities;
        NaN where there are none.
    """
    shown = -1 if reply is None else reading.parse(reply.text)
    if reply is None or shown < 0:
        return -1, math.nan
    turned = swapped and reading.names_places
    of_0 = reading.probability(reply)
    if of_0 is None:
        return shown ^ int(turned), math.nan
    return shown ^ int(turned), 1 - of_0 if turned else of_0


def combine(
    votes: Sequence[tuple[int, float]], *, unanimous: bool = False
) -> tuple[int, float]:
    """Make one answer of several votes on a question.

    Parameters
    ----------
    votes : sequence of (answer, probability)
        From :func:`vote`.
    unanimous : bool, default=False
        Whether all have to agree, and all to be usable.

    Returns
    -------
    answer : int
        What most votes say; -1 if there is no majority.
    confidence : float in [0.5, 1]
        Mean probability of the answer if all usable votes have one. Otherwise, of
        several votes, the rule of succession for those that agree, (k + 1) / (n + 2).
        NaN for a single vote without a probability, and for no answer.
    """
    usable = [(answer, p) for answer, p in votes if answer >= 0]
    n, n_second = len(usable), sum(answer for answer, _ in usable)
    divided = 0 < n_second < n or n < len(votes)
    if 2 * n_second == n or (unanimous and divided):
        return -1, math.nan
    answer = int(2 * n_second > n)
    sure = [p if answer == 0 else 1 - p for _, p in usable]
    if not any(math.isnan(p) for p in sure):
        # A model that says the one and finds the other likelier is not sure at all.
        return answer, max(0.5, math.fsum(sure) / n)
    if len(votes) == 1:
        return answer, math.nan
    k = n_second if answer == 1 else n - n_second
    return answer, max(0.5, (k + 1) / (n + 2))
