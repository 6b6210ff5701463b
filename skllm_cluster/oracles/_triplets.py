"""Which of two choices is closer to an anchor, asked of a language model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..protocols import Triplet
from ._judging import judge, pilot
from ._kinds import Request, Texts
from ._parsing import CHOICE
from ._preflight import judge_pilot
from ._prompts import keyed_uniform, needs_fence, triplet_prompt
from ._scoring import score_requests, score_triplets

__all__ = ["AnswersTriplets", "Triplets"]


class Triplets:
    """The :class:`~._kinds.Kind` of triplets."""

    form: Texts = ("anchor", "choice 1", "choice 2")
    scorings: tuple[str, ...] = ("reply", "options", "pmi")
    reading = CHOICE
    judge_pilot = staticmethod(judge_pilot)
    noted = "preflight"
    beside: Texts = ()

    def __init__(self, oracle: Any):
        self.oracle = oracle

    def prompt(self, texts: Texts, swapped: bool) -> str:
        """Put a question, with choice 2 first if it is swapped."""
        anchor, first, second = texts
        if swapped:
            first, second = second, first
        # All three or none: one that stood out would be a hint.
        fence = self.oracle.fence == "auto" and needs_fence(*texts)
        return triplet_prompt(
            anchor, first, second, perspective=self.oracle.perspective,
            texts=self.oracle.texts, allow_neither=self.oracle.allow_neither,
            template=self.oracle.template, fence=fence or self.oracle.fence == "always",
        )  # fmt: skip

    def is_swapped(self, texts: Texts) -> bool:
        """Toss the coin of this question."""
        anchor, first, second = texts
        seed = int(self.oracle.random_state)
        coin = keyed_uniform(seed, "order", anchor, first, second)
        # The coin names the text shown first, so both orders give one prompt.
        return (coin < 0.5) != (first <= second)

    def requests(self, questions: Sequence[Texts]) -> list[Request]:
        """Gather what has to be computed to answer by likelihoods."""
        return score_requests(self.oracle.scoring, questions, **self._wording())  # type: ignore[arg-type]

    def probabilities(
        self, questions: Sequence[Texts], values: Mapping[Request, float]
    ) -> NDArray[np.float64]:
        """Make of it the probability of choice 1; (Q,)."""
        form, wording = self.oracle.scoring, self._wording()
        return score_triplets(form, questions, values, **wording)  # type: ignore[arg-type]

    def _wording(self) -> dict[str, Any]:
        return {"perspective": self.oracle.perspective, "texts": self.oracle.texts}


class AnswersTriplets:
    """What an oracle that asks a model has to answer triplets."""

    check: Any

    def answer_triplets(self, triplets: Sequence[Triplet]) -> NDArray[np.intp]:
        """Ask which of two choices is closer to an anchor.

        Parameters
        ----------
        triplets : sequence of (anchor, choice 1, choice 2), all str, of length Q

        Returns
        -------
        answers : ndarray of int, shape (Q,)
            0 for the first choice, 1 for the second, -1 for no usable answer.

        See Also
        --------
        judge_triplets : Answers, how sure they are, and which errors there are.
        """
        return self.judge_triplets(triplets)[0]

    def judge_triplets(
        self, triplets: Sequence[Triplet]
    ) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """Ask which of two choices is closer to an anchor, and how sure that is.

        Parameters
        ----------
        triplets : sequence of (anchor, choice 1, choice 2), all str, of length Q

        Returns
        -------
        answers : ndarray of int, shape (Q,)
            0 for the first choice, 1 for the second, -1 for no usable answer.
        confidence : ndarray of float, shape (Q,)
            Probability in [0.5, 1] that the answer is right, as far as is known: from
            log-probabilities, or from the agreement of several votes; otherwise NaN.

        Raises
        ------
        OracleError
            If ``replay`` is set and the journal lacks an answer.
        JournalError
            If the journal cannot be read or written.
        Exception
            What ``complete`` raises, if trying again is of no use.
        """
        self.check()
        return judge(self, Triplets(self), triplets)

    def preflight_triplets(
        self, triplets: Sequence[Triplet], expected: ArrayLike | None = None
    ) -> dict[str, Any]:
        """Put a few questions in both orders, to see whether the model is of any use.

        Parameters
        ----------
        triplets : sequence of (anchor, choice 1, choice 2), all str
            ``preflight`` of them are asked, up to four times as many in doubt.
        expected : array-like of int, optional
            What the embedder would answer to each.

        Returns
        -------
        report : dict
            ``n_questions``; replies ``n_unusable`` and ``n_neither``; ``flip_rate``, of
            those that the other order changes; ``first_choice_rate``;
            ``embedder_agreement``; ``verdict``: "sound", "chance", "open" or "none".

        Raises
        ------
        OracleError
            If it is "chance" or "none", unless ``on_chance`` is "warn".
        """
        self.check()
        return pilot(self, Triplets(self), triplets, expected)
