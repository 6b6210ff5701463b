"""Asking about classes within a budget, and keeping what was said."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._asking import ask_choices, can_propose, propose

__all__ = ["NONE", "Classes", "Interview"]

Ints = NDArray[np.intp]

#: The answer that a text belongs to none of the classes shown.
NONE = -2
#: A group is shown by at most so many of its texts.
N_EXEMPLARS = 3
# What an answer counts at least, however unsure it is.
LEAST = 1e-3


class Classes:
    """The classes found so far.

    Attributes
    ----------
    names : list of str or None
        What each is called; None for a class that is shown by its texts.
    exemplars : list of list of int
        Rows of texts of each, the most certain first.
    """

    def __init__(self) -> None:
        self.names: list[str | None] = []
        self.exemplars: list[list[int]] = []

    def __len__(self) -> int:
        return len(self.names)

    @property
    def named(self) -> list[str]:
        """The names that there are."""
        return [name for name in self.names if name is not None]

    def add(self, name: str | None = None, exemplars: Sequence[int] = ()) -> int:
        """Add a class and give its number."""
        self.names.append(name)
        self.exemplars.append([int(i) for i in exemplars])
        return len(self.names) - 1


class Interview:
    """Questions about classes, as many as there may be, and their answers.

    Parameters
    ----------
    oracle : ChoiceOracle
        Names categories, too, if it can.
    texts : sequence of str
    limit : int
        How many questions may be asked.
    rng : RandomState
        Shuffles the options of each question, so that an oracle that likes a position
        likes no class.

    Attributes
    ----------
    classes : Classes
    rows : list of int
        Texts whose class was asked for, or is known, in order.
    answers : list of int
        Of each: a class, or :data:`NONE`. Unusable answers are counted, not kept.
    confidence : list of float
        How sure the oracle was of each; NaN if it does not tell.
    known : set of int
        Texts whose class is known, so that it is not asked for.
    counts : dict
        Questions by kind, and ``"unusable"`` answers.
    """

    def __init__(
        self,
        oracle: Any,
        texts: Sequence[str],
        limit: int,
        rng: np.random.RandomState,
    ):
        self.oracle = oracle
        self.texts = texts
        self.limit = limit
        self.rng = rng
        self.classes = Classes()
        self.rows: list[int] = []
        self.answers: list[int] = []
        self.confidence: list[float] = []
        self.known: set[int] = set()
        self.counts = {
            "proposals": 0, "choices": 0, "checks": 0, "merges": 0, "unusable": 0
        }  # fmt: skip

    @property
    def spent(self) -> int:
        """Number of questions asked."""
        return sum(n for kind, n in self.counts.items() if kind != "unusable")

    @property
    def left(self) -> int:
        """Number of questions that may still be asked."""
        return self.limit - self.spent

    @property
    def can_name(self) -> bool:
        """Whether the oracle names categories."""
        return can_propose(self.oracle)

    def learn(self, row: int, answer: int, confidence: float = np.nan) -> None:
        """Keep what is known of a text."""
        self.rows.append(int(row))
        self.answers.append(int(answer))
        self.confidence.append(float(confidence))

    def propose(self, rows: Sequence[int]) -> list[int]:
        """Ask for the names that texts need; add them, and give their numbers."""
        if self.left < 1:
            return []
        self.counts["proposals"] += 1
        texts = [self.texts[i] for i in rows]
        names = propose(self.oracle, texts, self.classes.named)
        return [self.classes.add(name) for name in names]

    def name(self, number: int) -> None:
        """Ask for the name of a class by its exemplars."""
        if self.left < 1:
            return
        self.counts["proposals"] += 1
        texts = [self.texts[i] for i in self.classes.exemplars[number]]
        names = propose(self.oracle, texts, self.classes.named)
        if names:
            self.classes.names[number] = names[0]

    def choose(self, rows: Sequence[int], options: Sequence[Sequence[int]]) -> Ints:
        """Ask of each text to which of some classes it belongs, and keep the answer.

        Parameters
        ----------
        rows : sequence of int, of length M
        options : sequence of sequence of int
            Numbers of the classes that are shown with each.

        Returns
        -------
        answers : ndarray of int, shape (m,)
            A class, ``NONE``, or -1 for no usable answer; of the first m texts, if
            there are not questions enough left for all.
        """
        found, sure = self._ask([[i] for i in rows], options, "choices")
        for row, answer, confidence in zip(rows, found, sure, strict=False):
            if answer != -1:
                self.learn(row, answer, confidence)
        return found

    def choose_aside(
        self,
        groups: Sequence[Sequence[int]],
        options: Sequence[Sequence[int]],
        kind: str,
    ) -> Ints:
        """Ask as :meth:`choose` does, of one or more texts at once; nothing is kept."""
        return self._ask(groups, options, kind)[0]

    def answered(self) -> tuple[Ints, Ints, NDArray[np.float64]]:
        """Give the rows that were put into a class, that class, and how sure it is."""
        rows = np.array(self.rows, dtype=np.intp)
        answers = np.array(self.answers, dtype=np.intp)
        sure = np.nan_to_num(np.array(self.confidence, dtype=np.float64), nan=1.0)
        sure = np.maximum(sure, LEAST)
        used = answers >= 0
        return rows[used], answers[used], sure[used]

    def checkable(self, places: Ints) -> Ints:
        """Keep the answers that tell something if they are asked for again.

        Parameters
        ----------
        places : ndarray of int
            Which of :meth:`answered`.

        Returns
        -------
        places : ndarray of int
            Without classes that were known, and texts that their class is shown by.
        """
        rows, answers, _ = self.answered()
        names, exemplars = self.classes.names, self.classes.exemplars
        return np.array(
            [
                p
                for p in places
                if rows[p] not in self.known
                and (names[answers[p]] or rows[p] not in exemplars[answers[p]])
            ],
            dtype=np.intp,
        )

    def unplaced(self) -> list[int]:
        """Give the rows that at last belonged to none of the classes shown."""
        last = dict(zip(self.rows, self.answers, strict=True))
        return [row for row, answer in last.items() if answer == NONE]

    def _ask(
        self,
        groups: Sequence[Sequence[int]],
        options: Sequence[Sequence[int]],
        kind: str,
    ) -> tuple[Ints, NDArray[np.float64]]:
        asked = list(groups)[: self.left]
        shown = [self.rng.permutation(np.array(c)) for c in options[: len(asked)]]
        questions = [
            ([self.texts[i] for i in rows], [self._option(c) for c in classes])
            for rows, classes in zip(asked, shown, strict=True)
        ]
        self.counts[kind] += len(questions)
        said, sure = ask_choices(self.oracle, questions)
        self.counts["unusable"] += int((said < 0).sum())
        found = [
            -1 if answer < 0 else [*classes, NONE][answer]
            for answer, classes in zip(said, shown, strict=True)
        ]
        return np.array(found, dtype=np.intp), sure

    def _option(self, number: int) -> Any:
        name = self.classes.names[number]
        if name is not None:
            return name
        return tuple(self.texts[i] for i in self.classes.exemplars[number])
