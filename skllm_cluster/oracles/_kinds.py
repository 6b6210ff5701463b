"""What a kind of question has to say for itself, so that it can be asked like any."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ._parsing import Reading

__all__ = ["Asked", "Kind", "Request", "Texts"]

#: The texts of one question.
Texts = tuple[str, ...]
#: (context, continuation), whose likelihood is computed.
Request = tuple[str, str]


class Asked(Protocol):
    """What the texts of a question have to be, whatever is asked about them.

    Attributes
    ----------
    form : tuple of str
        What they are; "..." at the end: and any number more of the last.
    scorings : tuple of str
        How answers can be found, see ``LLMOracle(scoring=)``.
    beside : tuple of str
        Texts that are shown with every question, at full length.
    """

    form: Texts
    scorings: tuple[str, ...]
    beside: Texts


class Kind(Asked, Protocol):
    """One kind of question with two answers, in the words of one oracle.

    A question is a tuple of texts, and its answer is 0, 1, or -1 for none. It can be
    shown in two orders.

    Attributes
    ----------
    reading : Reading
        How replies are read.
    judge_pilot : callable
        Sums up questions that were put in both orders, see :func:`run_pilot`.
    noted : str
        Under which name a report has that.
    """

    reading: Reading
    judge_pilot: Callable[..., dict[str, Any]]
    noted: str

    def prompt(self, texts: Texts, swapped: bool) -> str:
        """Put a question, in the order given or the other one."""
        ...

    def is_swapped(self, texts: Texts) -> bool:
        """Say by the coin of this question in which order it is put."""
        ...

    def requests(self, questions: Sequence[Texts]) -> list[Request]:
        """Gather what has to be computed to answer by likelihoods."""
        ...

    def probabilities(
        self, questions: Sequence[Texts], values: Mapping[Request, float]
    ) -> NDArray[np.float64]:
        """Make of it the probability of the answer 0; (Q,)."""
        ...
