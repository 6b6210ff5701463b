"""Which categories texts need, asked of a language model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from .._validation import shorten
from ..protocols import Reply
from ._calling import Question
from ._choice_question import check_strings
from ._judging import fitted, replies_to
from ._kinds import Texts
from ._prompts import (
    Names,
    category_prompt,
    choice_needs_fence,
    keyed_order,
    parse_names,
)
from ._requests import as_question
from ._terms import _reply_tokens

__all__ = ["Categories", "ProposesCategories"]

# A name of five words with its bullet, and how many names a reply may need room for.
_NAME_TOKENS, _MOST_NAMES = 12, 50


class _Asked(NamedTuple):
    """What is asked about texts, None for nothing, and what is known."""

    question: Question | None
    known: Texts
    n_tokens: int


class Categories:
    """What is asked about categories, in the words of one oracle."""

    form: Texts = ("text", "...", "known name", "...")
    scorings: tuple[str, ...] = ("reply",)
    beside: Texts = ()

    def __init__(self, oracle: Any):
        self.oracle = oracle

    def asked(self, texts: Any, known: Any) -> _Asked:
        """Check texts and names, and make a question of them.

        Raises
        ------
        TypeError
            If either is no sequence of str.
        ValueError
            If the oracle's parameters do not go with it, or a reply would be cut.
        """
        texts, known = check_strings(texts, "texts"), check_strings(known, "known")
        (shown,) = fitted(self.oracle, self, [(*texts, *known)])
        if not texts:
            return _Asked(None, known, 0)
        need = _NAME_TOKENS * min(len(texts), _MOST_NAMES)
        self._check_room(len(texts), need)
        fence = self.oracle.fence == "always" or (
            self.oracle.fence == "auto" and choice_needs_fence(*shown)
        )
        cut, names = shown[: len(texts)], shown[len(texts) :]
        order = list(range(len(cut)))
        if self.oracle.order != "given":
            order = keyed_order(int(self.oracle.random_state), cut)
        prompt = category_prompt(
            [cut[i] for i in order], names, perspective=self.oracle.perspective,
            noun=self.oracle.texts, fence=fence,
        )  # fmt: skip
        return _Asked(as_question(self.oracle.complete, prompt), known, need)

    def wanted(self, questions: Sequence[Any]) -> tuple[dict[str, Question], int]:
        """Give the questions by key, and how many tokens the longest reply may have."""
        for i, question in enumerate(questions):
            if not isinstance(question, (tuple, list)) or len(question) != 2:
                raise TypeError(
                    f"Each question must be (texts, known), got {shorten(question)} at "
                    f"index {i}."
                )
        asked = [self.asked(texts, known) for texts, known in questions]
        longest = max((one.n_tokens for one in asked), default=0)
        return {
            one.question.key: one.question for one in asked if one.question
        }, longest

    def _check_room(self, n: int, need: int) -> None:
        """Refuse to ask where the model would not be allowed to finish its reply."""
        most = _reply_tokens(self.oracle.complete, need)
        if most is not None and most < need and not self.oracle.replay:
            raise ValueError(
                f"The names of the categories of {n:,} texts may take {need:,} tokens, "
                f"and {type(self.oracle.complete).__name__} ends its reply after "
                f"{most:,}; a reply that is cut short is of no use. Set max_tokens to "
                f"{need:,}; what a reply does not need costs nothing."
            )


class ProposesCategories:
    """What an oracle that asks a model has to name categories."""

    check: Any

    def propose_categories(
        self, texts: Sequence[str], known: Sequence[str] = ()
    ) -> list[str]:
        r"""Ask for the names of the categories that texts need.

        Parameters
        ----------
        texts : sequence of str
            All of them are shown in one question.
        known : sequence of str, default=()
            Names of the categories that there are already.

        Returns
        -------
        names : list of str
            None of them known. Empty if the known ones are enough, and where there is
            no usable reply, which the report counts.

        Raises
        ------
        TypeError
            If either is no sequence of str.
        ValueError
            If ``scoring`` is not "reply", or the model's ``max_tokens`` is too small.
        OracleError
            If ``replay`` is set and the journal lacks the answer.
        JournalError
            If the journal cannot be read or written.
        Exception
            What ``complete`` raises, if trying again is of no use.

        Notes
        -----
        Asked once, whatever ``order`` and ``n_votes`` say: two lists of names have no
        majority. The texts are shown in an order that belongs to them; by "given", as
        they come. Demonstrations, templates and the pilot are of no account. A name is
        at most 80 characters on one line, and is shown to the model again as an
        option, under the same rules as texts: it may repeat what a text says.

        Examples
        --------
        >>> from skllm_cluster.oracles import LLMOracle
        >>> oracle = LLMOracle(lambda prompt: "- card lost\n- Top-up failed")
        >>> oracle.propose_categories(["Where is my card?", "No money!"], ["Card lost"])
        ['Top-up failed']
        """
        self.check()
        return _names(self, Categories(self).asked(texts, known))


def _names(oracle: Any, asked: _Asked) -> list[str]:
    if asked.question is None:
        return []

    def tally(replies: Mapping[str, Reply]) -> tuple[dict[str, int], list[Reply]]:
        read = [(_read(reply, asked.known), reply) for reply in replies.values()]
        return {
            "n_usable": sum(found.is_usable for found, _ in read),
            "n_names": sum(len(found.names) for found, _ in read),
            "n_names_dropped": sum(found.n_dropped for found, _ in read),
        }, [reply for found, reply in read if not found.is_usable]

    key = asked.question.key
    replies = replies_to({key: asked.question}, oracle, tally=tally)
    return _read(replies.get(key), asked.known).names


def _read(reply: Reply | None, known: Sequence[str]) -> Names:
    whole = reply is not None and reply.finish_reason != "length"
    return parse_names(reply.text if reply and whole else None, known)
