"""Oracles in a row, asked which category texts belong to, and which there are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..protocols import ChoiceQuestion
from ._row import checked_names, if_each_answers

__all__ = ["FirstChoices"]


class FirstChoices:
    """What a row of oracles has to put texts into categories."""

    _ask: Any
    _in_turn: Any

    @if_each_answers("choices")
    def answer_choices(self, questions: Sequence[ChoiceQuestion]) -> NDArray[np.intp]:
        """Say which of several categories or groups texts belong to.

        Parameters
        ----------
        questions : sequence of (texts, options), of length M
            Each option a name (str), or texts of a group (sequence of str).

        Returns
        -------
        answers : ndarray of int, shape (M,)
            Number of the option; ``len(options)`` for none of them, which is an answer;
            -1 where no oracle has a usable answer.

        Raises
        ------
        Exception
            As ``answer_triplets``.
        """
        answers: NDArray[np.intp] = self._ask("choices", questions, wanted=False)[0]
        return answers

    @if_each_answers("choices")
    def judge_choices(
        self, questions: Sequence[ChoiceQuestion]
    ) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """Answer as :meth:`answer_choices` does, and say how sure each answer is.

        Parameters
        ----------
        questions : sequence of (texts, options), of length M

        Returns
        -------
        answers : ndarray of int, shape (M,)
            As those of :meth:`answer_choices`.
        confidence : ndarray of shape (M,)
            From each oracle's ``judge_choices``; NaN where it does not tell.

        Raises
        ------
        Exception
            As ``answer_triplets``.
        """
        judged: tuple[NDArray[np.intp], NDArray[np.float64]]
        judged = self._ask("choices", questions, wanted=True)
        return judged

    @if_each_answers("categories")
    def propose_categories(
        self, texts: Sequence[str], known: Sequence[str] = ()
    ) -> list[str]:
        """Name the categories that texts need.

        Parameters
        ----------
        texts : sequence of str
        known : sequence of str, default=()
            Names of the categories that there are already.

        Returns
        -------
        names : list of str
            Those of the first oracle that gives any: that none is needed and that
            there is no answer look alike.

        Raises
        ------
        TypeError
            If an oracle returns anything but a sequence of str.
        Exception
            Whatever an oracle raises.
        """
        names: list[str] = []

        def ask(name: str, oracle: Any, left: NDArray[np.intp]) -> NDArray[np.bool_]:
            names[:] = checked_names(name, oracle.propose_categories(texts, known))
            return np.array([bool(names)])

        self._in_turn(1, ask)
        return names
