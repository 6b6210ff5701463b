"""Which texts of a set belong together, asked of a language model."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..protocols import Reply
from ._calling import Question
from ._judging import fitted, replies_to
from ._kinds import Texts
from ._prompts import (
    Clusters,
    keyed_order,
    parse_clusters,
    set_lines,
    set_needs_fence,
    set_prompt,
    token_range,
)
from ._requests import as_question
from ._terms import _reply_tokens

__all__ = ["AnswersSets", "Sets"]


class _Asked(NamedTuple):
    """What is asked about a set, None for nothing, and how its texts are shown."""

    question: Question | None
    shown: list[str]


class Sets:
    """What is asked about sets, in the words of one oracle."""

    form: Texts = ("text", "...")
    scorings: tuple[str, ...] = ("reply",)
    beside: Texts = ()

    def __init__(self, oracle: Any):
        self.oracle = oracle

    def asked(self, sets: Sequence[Sequence[str]]) -> list[_Asked]:
        """Check sets, and make a question of each that has more than one text.

        Raises
        ------
        TypeError
            If one of them is no sequence of str.
        ValueError
            If the oracle's parameters do not go with sets, or replies would be cut.
        """
        if self.oracle.order == "both" or self.oracle.n_votes > 1:
            raise ValueError(
                "A set is asked about once, since two partitions have no majority, got "
                f"order={self.oracle.order!r} and n_votes={self.oracle.n_votes}. Set "
                "order to 'random' or 'given' and n_votes to 1."
            )
        found = [self._ask(texts) for texts in fitted(self.oracle, self, sets)]
        self._check_room(found)
        return found

    def wanted(self, sets: Sequence[Sequence[str]]) -> tuple[dict[str, Question], int]:
        """Give the questions by key, and how many tokens the longest reply may have."""
        asked = self.asked(sets)
        return _questions(asked), _longest(asked)

    def _ask(self, texts: Texts) -> _Asked:
        # The whole set or nothing of it: a text that stood out would be a hint.
        fence = self.oracle.fence == "auto" and set_needs_fence(*texts)
        fence = fence or self.oracle.fence == "always"
        shown = set_lines(texts, fence=fence)
        if len(texts) < 2:
            return _Asked(None, shown)
        order = list(range(len(texts)))
        if self.oracle.order == "random":
            order = keyed_order(int(self.oracle.random_state), texts)
        prompt = set_prompt(
            [texts[i] for i in order], perspective=self.oracle.perspective,
            texts=self.oracle.texts, fence=fence,
        )  # fmt: skip
        return _Asked(as_question(self.oracle.complete, prompt), shown)

    def _check_room(self, asked: Sequence[_Asked]) -> None:
        """Refuse sets whose reply the model would not be allowed to finish."""
        most = _reply_tokens(self.oracle.complete, sys.maxsize)
        if most is None or self.oracle.replay:
            return
        for i, one in enumerate(asked):
            need = _tokens(one)
            if most < need:
                raise ValueError(
                    f"The reply to the set at index {i}, of {len(one.shown):,} texts, "
                    f"may take {need:,} tokens, and "
                    f"{type(self.oracle.complete).__name__} ends it after {most:,}; "
                    "a reply that is cut short is of no use. Set max_tokens to "
                    f"{_longest(asked):,} for these sets, or to 5,000 as the paper's "
                    "authors do; what a reply does not need costs nothing."
                )


class AnswersSets:
    """What an oracle that asks a model has to label sets."""

    check: Any

    def answer_sets(self, sets: Sequence[Sequence[str]]) -> list[NDArray[np.intp]]:
        r"""Ask which texts of a set belong together, for each of several sets.

        Parameters
        ----------
        sets : sequence of sequence of str
            Each is asked about by itself: what belongs together depends on what else
            is in the set.

        Returns
        -------
        labels : list of ndarray of int, each of shape (size of the set,)
            Clusters 0, 1, ... in the order in which they first occur in the set; -1 for
            a text that the model left out or changed beyond recognition. All -1: there
            is no usable answer. A set of one text is not asked about: its label is 0.

        Raises
        ------
        TypeError
            If a set is no sequence of str.
        ValueError
            If the model's ``max_tokens`` is too small for one of the sets, or
            ``order``, ``n_votes`` or ``scoring`` cannot be used with sets.
        OracleError
            If ``replay`` is set and the journal lacks an answer.
        JournalError
            If the journal cannot be read or written.
        Exception
            What ``complete`` raises, if trying again is of no use.

        Notes
        -----
        The prompt is the paper's (Appendix A); see ``texts`` and ``perspective``. The
        paper cuts titles to 200 characters, which is ``max_characters=200``. Texts are
        shown in an order that is drawn for each set, and the same in whatever order
        the set comes. A reply is read line by line, and no text is found within
        another; one that ``max_tokens`` cut short is of no use, since the texts that
        are missing would seem to be left out.

        Demonstrations, templates, ``allow_neither``, ``min_confidence`` and the pilot
        are of no account.

        Examples
        --------
        >>> from skllm_cluster.oracles import LLMOracle
        >>> def model(prompt):
        ...     said = prompt.splitlines()[1:]
        ...     tools = [line for line in said if "hammer" in line]
        ...     rest = [line for line in said[: said.index("")] if line not in tools]
        ...     return "\n".join(["Hammers:", *tools, "", "Other products:", *rest])
        >>> oracle = LLMOracle(model, texts="products")
        >>> oracle.answer_sets([["claw hammer", "tape", "sledgehammer"], ["tape"]])
        [array([0, 1, 0]), array([0])]
        """
        self.check()
        return _answers(self, Sets(self).asked(sets))


def _answers(oracle: Any, asked: Sequence[_Asked]) -> list[NDArray[np.intp]]:
    shown = {one.question.key: one.shown for one in asked if one.question}

    def tally(replies: Mapping[str, Reply]) -> tuple[dict[str, int], list[Reply]]:
        return _tally([(reply, shown[key]) for key, reply in replies.items()])

    replies = replies_to(_questions(asked), oracle, tally=tally)
    found = []
    for one in asked:
        labels = [0] * len(one.shown)
        if one.question:
            labels = _read(replies.get(one.question.key), one.shown).labels
        found.append(np.array(labels, dtype=np.intp))
    return found


def _questions(asked: Sequence[_Asked]) -> dict[str, Question]:
    return {one.question.key: one.question for one in asked if one.question}


def _longest(asked: Sequence[_Asked]) -> int:
    return max(map(_tokens, asked), default=0)


def _tokens(one: _Asked) -> int:
    """Estimate the tokens of a reply, generously: there are titles, too."""
    return token_range("\n".join(one.shown))[1] if one.question else 0


def _read(reply: Reply | None, shown: Sequence[str]) -> Clusters:
    whole = reply is not None and reply.finish_reason != "length"
    return parse_clusters(reply.text if reply and whole else None, shown)


def _tally(
    replies: Sequence[tuple[Reply, list[str]]],
) -> tuple[dict[str, int], list[Reply]]:
    """Count replies; see :data:`~._parsing.Tally`."""
    read = [(reply, _read(reply, shown)) for reply, shown in replies]
    usable = [found for _, found in read if max(found.labels) >= 0]
    labels = [label for found in usable for label in found.labels]
    return {
        "n_usable": len(usable),
        "n_sets": len(usable),
        "n_sets_unusable": len(read) - len(usable),
        "n_entities": len(labels),
        "n_entities_unassigned": labels.count(-1),
        "n_lines_unmatched": sum(found.n_unmatched for found in usable),
    }, [reply for reply, found in read if max(found.labels) < 0]
