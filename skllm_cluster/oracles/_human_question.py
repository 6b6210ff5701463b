"""What a question to a person is: its texts, its words, and what can be said to it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .._validation import shorten
from ..journal import question_key
from ._prompts import keyed_uniform

__all__ = [
    "KINDS",
    "PAIRS",
    "TRIPLETS",
    "Choice",
    "Kind",
    "Question",
    "check_task",
    "kind_of",
    "visible",
]

_LINE_END = re.compile("\r\n|[\r\v\f\x85\u2028\u2029]")
_UNSEEN = {"Cc", "Cf", "Cs"}  # control, formatting, half of a surrogate pair
# Line structure, and the joiners that emoji and some scripts are spelled with.
_HARMLESS = frozenset("\n\t\u200c\u200d")


@dataclass(frozen=True)
class Choice:
    """One of the things that a person can say to a question.

    Parameters
    ----------
    answer : int
        What it says of the texts in the order shown; -1 is no usable answer.
    words : str
        What it is called.
    reply : str
        What the journal keeps, of the texts in sorted order.
    """

    answer: int
    words: str
    reply: str


@dataclass(frozen=True)
class Kind:
    """A kind of question, such as all triplets.

    Parameters
    ----------
    name : str
    task : str
        What the person is to do, with {texts} and {perspective}.
    fields : tuple of str
        What holds the texts in a journal and in files; the last is a list of the two
        whose order does not count.
    labels : tuple of str
        How each text is called where it is shown.
    choices : dict
        A Choice for each key that the person may press.
    turns : bool
        Whether an answer says something else in the other order.
    """

    name: str
    task: str
    fields: tuple[str, ...]
    labels: tuple[str, ...]
    choices: Mapping[str, Choice]
    turns: bool

    def turned(self, answer: int, swapped: bool) -> int:
        """Say an answer of one order of the texts in another; -1 is -1 in both."""
        return answer ^ int(swapped) if self.turns and answer >= 0 else answer

    def question(self, task: Mapping[str, Any], seed: int, *texts: str) -> Question:
        """Make the question that a person gets to see.

        Parameters
        ----------
        task : dict
            What all questions have in common; part of what the key stands for.
        seed : int
            Of the order in which texts are shown.
        *texts : str
            As many as there are labels.

        Raises
        ------
        ValueError
            If there are not.
        """
        if len(texts) != len(self.labels):
            raise ValueError(
                f"Each of the {self.name} must be {len(self.labels)} texts, got "
                f"{shorten(texts)}."
            )
        *anchor, first, second = texts
        two = sorted((first, second))
        content = dict(zip(self.fields, [*anchor, two], strict=True))
        request = {"asks": "a person", "version": 1, **task, **content}
        coin = keyed_uniform(seed, "order", "".join(anchor), *two)
        return Question(self, question_key(request), request, swapped=coin < 0.5)


TRIPLETS = Kind(
    "triplets",
    "Which of these {texts} is closer to the Query in terms of {perspective}?",
    ("anchor", "choices"),
    ("Query", "1", "2"),
    {
        "1": Choice(0, "1", "Choice 1"),
        "2": Choice(1, "2", "Choice 2"),
        "n": Choice(-1, "neither or both", "Neither"),
    },
    turns=True,
)
PAIRS = Kind(
    "pairs",
    "Do these two {texts} have the same {perspective}?",
    ("pair",),
    ("First", "Second"),
    {"y": Choice(1, "same", "Same"), "n": Choice(0, "different", "Different")},
    turns=False,
)
KINDS = (TRIPLETS, PAIRS)


@dataclass(frozen=True)
class Question:
    """A question as a person gets to see it, the same for both orders of its texts.

    Parameters
    ----------
    kind : Kind
    key : str
        What the journal knows it by.
    request : dict
        What the key stands for; the two texts whose order does not count are sorted.
    swapped : bool
        Whether the second of those is shown first.
    """

    kind: Kind
    key: str
    request: dict[str, Any]
    swapped: bool

    @property
    def content(self) -> dict[str, Any]:
        """The texts in the order shown, by the fields that hold them."""
        held = {field: self.request[field] for field in self.kind.fields}
        last = self.kind.fields[-1]
        return {**held, last: held[last][:: -1 if self.swapped else 1]}

    @property
    def texts(self) -> tuple[str, ...]:
        """The texts in the order shown: an anchor, if there is one, and two more."""
        *anchor, two = self.content.values()
        return (*anchor, *two)

    @property
    def instruction(self) -> str:
        """What the person is to do."""
        return visible(
            self.kind.task.format(
                texts=self.request["texts"], perspective=self.request["perspective"]
            )
        )


def kind_of(texts: Sequence[str]) -> Kind:
    """Tell pairs from triplets by the number of texts."""
    return PAIRS if len(texts) == len(PAIRS.labels) else TRIPLETS


def check_task(task: Mapping[str, Any]) -> None:
    """Check what all questions have in common, by name.

    Raises
    ------
    ValueError
        If something is no text that says anything; "annotator" may be None.
    """
    for name, value in task.items():
        missing = name == "annotator" and value is None
        if not missing and not (isinstance(value, str) and value.strip()):
            raise ValueError(
                f"{name} must be a str that says something, got {shorten(value)} "
                "instead."
            )


def visible(text: str) -> str:
    r"""Show what cannot be seen, so that it cannot do anything either.

    Control characters (a terminal obeys them), characters that turn the direction of
    writing or take no room, and lone surrogates become ``[U+001B]``. Every kind of
    line end becomes a line feed; tabs and the joiners of emoji and scripts stay.

    Examples
    --------
    >>> visible("\x1b[2Jpay \u202eeno")
    '[U+001B][2Jpay [U+202E]eno'
    """
    text = _LINE_END.sub("\n", text)
    if text.isascii() and text.isprintable():
        return text
    return "".join(_shown(character) for character in text)


def _shown(character: str) -> str:
    unseen = unicodedata.category(character) in _UNSEEN
    if unseen and character not in _HARMLESS:
        return f"[U+{ord(character):04X}]"
    return character
