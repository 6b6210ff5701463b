"""Whether two texts belong to one group, asked of a language model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..protocols import Pair
from ._judging import judge, pilot
from ._kinds import Request, Texts
from ._parsing import YES_NO
from ._preflight import judge_pair_pilot
from ._prompts import (
    check_demonstrations,
    fit_text,
    keyed_uniform,
    pair_needs_fence,
    pair_prompt,
)
from ._scoring import no_score, yes_no_requests

__all__ = ["AnswersPairs", "Pairs"]


class Pairs:
    """The :class:`~._kinds.Kind` of pairs."""

    form: Texts = ("text", "text")
    scorings: tuple[str, ...] = ("reply", "options")
    reading = YES_NO
    judge_pilot = staticmethod(judge_pair_pilot)
    noted = "preflight_pairs"

    def __init__(self, oracle: Any):
        self.oracle = oracle
        given = check_demonstrations(oracle.demonstrations)
        self.beside: Texts = tuple(text for one in given for text in one[:2])
        limit = int(oracle.max_characters)
        self.demonstrations = [
            one._replace(
                first=fit_text(one.first, limit)[0],
                second=fit_text(one.second, limit)[0],
            )
            for one in given
        ]

    def prompt(self, texts: Texts, swapped: bool) -> str:
        """Put a question, with the second text first if it is swapped."""
        first, second = texts[::-1] if swapped else texts
        # The whole prompt or nothing of it: a text that stood out would be a hint.
        shown = [text for one in self.demonstrations for text in one[:2]]
        fence = self.oracle.fence == "auto" and pair_needs_fence(*texts, *shown)
        return pair_prompt(
            first, second, perspective=self.oracle.perspective,
            texts=self.oracle.texts, demonstrations=self.demonstrations,
            template=self.oracle.pair_template,
            fence=fence or self.oracle.fence == "always",
        )  # fmt: skip

    def is_swapped(self, texts: Texts) -> bool:
        """Toss the coin of this question."""
        first, second = texts
        coin = keyed_uniform(int(self.oracle.random_state), "pair", "", first, second)
        # The coin names the text shown first, so both orders give one prompt.
        return (coin < 0.5) != (first <= second)

    def requests(self, questions: Sequence[Texts]) -> list[Request]:
        """Gather what has to be computed to answer by likelihoods."""
        found = [r for texts in questions for r in yes_no_requests(self._both(texts))]
        return list(dict.fromkeys(found))

    def probabilities(
        self, questions: Sequence[Texts], values: Mapping[Request, float]
    ) -> NDArray[np.float64]:
        """Make of it the probability of No; (P,)."""
        found = [no_score(self._both(texts), values) for texts in questions]
        return np.array(found, dtype=np.float64)

    def _both(self, texts: Texts) -> list[str]:
        return [self.prompt(texts, swapped) for swapped in (False, True)]


class AnswersPairs:
    """What an oracle that asks a model has to answer pairs."""

    check: Any

    def answer_pairs(self, pairs: Sequence[Pair]) -> NDArray[np.intp]:
        """Ask whether two texts belong to the same group.

        Parameters
        ----------
        pairs : sequence of (text, text), both str, of length P

        Returns
        -------
        answers : ndarray of int, shape (P,)
            1 for the same group, 0 for different ones, -1 for no usable answer.

        See Also
        --------
        judge_pairs : Answers, how sure they are, and which errors there are.
        """
        return self.judge_pairs(pairs)[0]

    def judge_pairs(
        self, pairs: Sequence[Pair]
    ) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """Ask whether two texts belong to the same group, and how sure that is.

        Parameters
        ----------
        pairs : sequence of (text, text), both str, of length P

        Returns
        -------
        answers : ndarray of int, shape (P,)
            1 for the same group, 0 for different ones, -1 for no usable answer.
        confidence : ndarray of float, shape (P,)
            Probability in [0.5, 1] that the answer is right, as far as is known: from
            log-probabilities, or from the agreement of several votes; otherwise NaN.

        Raises
        ------
        OracleError
            If ``replay`` is set and the journal lacks an answer.
        JournalError
            If the journal cannot be read or written.
        ValueError
            If ``scoring`` is "pmi".
        Exception
            What ``complete`` raises, if trying again is of no use.

        Notes
        -----
        The wording is the paper's, with ``demonstrations`` before the question. By
        "random" order a fair coin of the pair decides which text is Sentence 1, so
        that (a, b) and (b, a) are one question.

        Examples
        --------
        >>> from skllm_cluster.oracles import LLMOracle
        >>> def complete(prompt):
        ...     one, two = [
        ...         line.partition(": ")[2]
        ...         for line in prompt.splitlines()
        ...         if line.startswith("Sentence ")
        ...     ][-2:]
        ...     return "Yes" if one[0] == two[0] else "No"
        >>> oracle = LLMOracle(
        ...     complete, demonstrations=[("ape", "ant", True, "both begin with a")]
        ... )
        >>> oracle.answer_pairs([("bee", "bug"), ("bee", "cat")])
        array([1, 0])
        """
        self.check()
        return judge(self, Pairs(self), pairs)

    def preflight_pairs(
        self, pairs: Sequence[Pair], expected: ArrayLike | None = None
    ) -> dict[str, Any]:
        """Put a few pairs in both orders, to see whether the model is of any use.

        Parameters
        ----------
        pairs : sequence of (text, text), both str
            ``preflight`` of them are asked, up to four times as many in doubt.
        expected : array-like of int, optional
            What the embedder would answer to each: 1 or 0.

        Returns
        -------
        report : dict
            ``n_questions``; replies ``n_unusable``; ``flip_rate``, of those that the
            other order changes; ``yes_rate``; ``embedder_agreement``; ``verdict``:
            "sound", "chance", "open" or "none".

        Raises
        ------
        OracleError
            If it is "chance" or "none", unless ``on_chance`` is "warn".

        Notes
        -----
        Who says Yes at random to one pair in ten contradicts himself only now and
        then, so "chance" is what the rate of Yes makes it. A model that gives the same
        answer to all is consistent and passes: what its answers are worth shows in
        the number of clusters that they speak for.
        """
        self.check()
        return pilot(self, Pairs(self), pairs, expected)
