"""Which of several categories or groups texts belong to, asked of a language model."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..protocols import ChoiceQuestion, Reply
from ._calling import Question
from ._choice_question import Choice, check_choices
from ._judging import fitted, replies_to
from ._kinds import Texts
from ._prompts import choice_needs_fence, choice_prompt, keyed_order, parse_option
from ._requests import as_question
from ._terms import UNLIMITED

__all__ = ["AnswersChoices", "Choices"]


class _Ballot(NamedTuple):
    """What is put for one question."""

    n_options: int
    #: Each prompt, and which option it shows first, second, and so on.
    cast: list[tuple[Question, list[int]]]
    #: Of each option its name, None for a group of texts.
    names: list[str | None]


class Choices:
    """What is asked about choices, in the words of one oracle."""

    form: Texts = ("text", "...", "option", "...")
    scorings: tuple[str, ...] = ("reply",)
    beside: Texts = ()

    def __init__(self, oracle: Any):
        self.oracle = oracle

    def asked(self, questions: Sequence[ChoiceQuestion]) -> list[_Ballot]:
        """Check questions, cut what is too long, and make the prompts for each.

        Raises
        ------
        TypeError, ValueError
            If one of them is no question with options, or the oracle's parameters do
            not go with them.
        """
        asked = check_choices(questions)
        cut = fitted(self.oracle, self, [_all_texts(choice) for choice in asked])
        return [
            self._ballot(_with_texts(choice, iter(texts)))
            for choice, texts in zip(asked, cut, strict=True)
        ]

    def wanted(
        self, questions: Sequence[ChoiceQuestion]
    ) -> tuple[dict[str, Question], int]:
        """Give the questions by key, and how many tokens the longest reply may have."""
        return _questions(self.asked(questions)), UNLIMITED

    def _ballot(self, choice: Choice) -> _Ballot:
        names = [one if isinstance(one, str) else None for one in choice.options]
        # With nothing to choose from, nothing has to be asked.
        orders = self._orders(choice) if choice.options else []
        return _Ballot(
            len(choice.options),
            [
                (as_question(self.oracle.complete, prompt, sample=sample), order)
                for order in orders
                for prompt in [self._prompt(choice, order)]
                for sample in range(self.oracle.n_votes)
            ],
            names,
        )

    def _orders(self, choice: Choice) -> list[list[int]]:
        if self.oracle.order == "given":
            return [list(range(len(choice.options)))]
        # The texts asked about count, too: no option is first in all questions.
        keys = [json.dumps([choice.texts, option]) for option in choice.options]
        order = keyed_order(int(self.oracle.random_state), keys)
        return [order, order[::-1]] if self.oracle.order == "both" else [order]

    def _prompt(self, choice: Choice, order: Sequence[int]) -> str:
        # The whole prompt or nothing of it: a text that stood out would be a hint.
        fence = self.oracle.fence == "always" or (
            self.oracle.fence == "auto" and choice_needs_fence(*_all_texts(choice))
        )
        return choice_prompt(
            choice.texts, [choice.options[i] for i in order],
            perspective=self.oracle.perspective, noun=self.oracle.texts, fence=fence,
        )  # fmt: skip


class AnswersChoices:
    """What an oracle that asks a model has to put texts into categories."""

    check: Any
    min_confidence: Any

    def answer_choices(self, questions: Sequence[ChoiceQuestion]) -> NDArray[np.intp]:
        """Ask which of several categories or groups texts belong to.

        Parameters
        ----------
        questions : sequence of (texts, options), of length M
            Texts: at least one str; several are asked about together. Options: each
            a str, the name of a category, or a sequence of str, texts of a group.

        Returns
        -------
        answers : ndarray of int, shape (M,)
            Number of the option, from 0; ``len(options)`` for none of them; -1 for no
            usable answer.

        See Also
        --------
        judge_choices : Answers, how sure they are, and which errors there are.
        propose_categories : Names for options.

        Examples
        --------
        >>> from skllm_cluster.oracles import LLMOracle
        >>> def complete(prompt):
        ...     lines = prompt.splitlines()
        ...     text = next(line[6:] for line in lines if line.startswith("Text: "))
        ...     found = [line for line in lines if line.endswith(f" {text[0]}")]
        ...     return found[0].split(":")[0] if found else "0"
        >>> oracle = LLMOracle(complete, perspective="first letter", fence="never")
        >>> oracle.answer_choices([(["ape"], ["a", "b"]), (["cat"], ["a", "b"])])
        array([0, 2])
        """
        return self.judge_choices(questions)[0]

    def judge_choices(
        self, questions: Sequence[ChoiceQuestion]
    ) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """Ask which category or group texts belong to, and how sure that is.

        Parameters
        ----------
        questions : sequence of (texts, options), of length M

        Returns
        -------
        answers : ndarray of int, shape (M,)
            Number of the option; ``len(options)`` for none; -1 for no usable answer.
        confidence : ndarray of float, shape (M,)
            Share in (0, 1] of the replies that say so, if there are several, with
            ``n_votes`` or in both orders; otherwise NaN.

        Raises
        ------
        TypeError, ValueError
            If a question is not of this form, or ``scoring`` is not "reply".
        OracleError
            If ``replay`` is set and the journal lacks an answer.
        JournalError
            If the journal cannot be read or written.
        Exception
            What ``complete`` raises, if trying again is of no use.

        Notes
        -----
        Options are numbered from 1, in an order that belongs to the question: the same
        options in another order are the same question. "None of these" is always 0.
        With ``order="both"`` they are shown in this order and in its reverse, and all
        replies have to agree; otherwise what most of ``n_votes`` replies say counts,
        and a tie is no answer. ``min_confidence`` above 0.5 leaves out what fewer say.
        A reply that ``max_tokens`` cut short is of no use: "1" might be half of "12".
        A question without options is not asked.

        Demonstrations, templates and ``allow_neither`` are of no account, and there is
        no pilot.
        """
        self.check()
        return _judge(self, Choices(self).asked(questions))


def _judge(
    oracle: Any, ballots: Sequence[_Ballot]
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    shown = {
        question.key: [ballot.names[i] for i in order]
        for ballot in ballots
        for question, order in ballot.cast
    }

    def tally(replies: Mapping[str, Reply]) -> tuple[dict[str, int], list[Reply]]:
        read = [(_read(reply, shown[key]), reply) for key, reply in replies.items()]
        return {
            "n_usable": sum(number >= 0 for number, _ in read),
            "n_none": sum(number == 0 for number, _ in read),
        }, [reply for number, reply in read if number < 0]

    replies = replies_to(_questions(ballots), oracle, tally=tally)
    answers = np.zeros(len(ballots), dtype=np.intp)  # none of no options
    confidence = np.full(len(ballots), math.nan)
    for i, ballot in enumerate(ballots):
        if ballot.cast:
            votes = [
                _vote(_read(replies.get(question.key), shown[question.key]), order)
                for question, order in ballot.cast
            ]
            agreed = oracle.order == "both"
            answers[i], confidence[i] = _plurality(votes, unanimous=agreed)
    # From 0.5 on, which leaves nothing out where there are two answers.
    unsure = (oracle.min_confidence > 0.5) & (confidence < oracle.min_confidence)
    return np.where(unsure, -1, answers), np.where(unsure, math.nan, confidence)


def _questions(ballots: Sequence[_Ballot]) -> dict[str, Question]:
    return {q.key: q for ballot in ballots for q, _ in ballot.cast}


def _read(reply: Reply | None, names: Sequence[str | None]) -> int:
    whole = reply is not None and reply.finish_reason != "length"
    return parse_option(reply.text if reply and whole else None, names)


def _vote(number: int, order: Sequence[int]) -> int:
    """Turn the number that was shown into that of the option."""
    if number < 0:
        return -1
    return order[number - 1] if number else len(order)


def _plurality(votes: Sequence[int], *, unanimous: bool) -> tuple[int, float]:
    """Give what most votes say, and their share; -1 if there is no such answer."""
    counts = Counter(vote for vote in votes if vote >= 0).most_common(2)
    tied = len(counts) == 2 and counts[0][1] == counts[1][1]
    if not counts or tied or (unanimous and counts[0][1] < len(votes)):
        return -1, math.nan
    answer, count = counts[0]
    return answer, count / len(votes) if len(votes) > 1 else math.nan


def _all_texts(choice: Choice) -> Texts:
    """Give all that is shown, names included."""
    shown = list(choice.texts)
    for option in choice.options:
        shown += [option] if isinstance(option, str) else option
    return tuple(shown)


def _with_texts(choice: Choice, texts: Iterator[str]) -> Choice:
    """Put in other texts, in the order of :func:`_all_texts`."""
    return Choice(
        tuple(next(texts) for _ in choice.texts),
        tuple(
            next(texts)
            if isinstance(option, str)
            else tuple(next(texts) for _ in option)
            for option in choice.options
        ),
    )
