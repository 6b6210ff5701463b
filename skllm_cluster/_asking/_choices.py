"""From questions with options to answers, and from texts to names of categories."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._validation import shorten, tells_confidence
from ..protocols import ChoiceQuestion

__all__ = ["ask_choices", "can_choose", "can_propose", "propose"]


def can_choose(oracle: Any) -> bool:
    """Tell whether an oracle says which option texts belong to."""
    return callable(getattr(oracle, "answer_choices", None))


def can_propose(oracle: Any) -> bool:
    """Tell whether an oracle names categories."""
    return callable(getattr(oracle, "propose_categories", None))


def ask_choices(
    oracle: Any, questions: Sequence[ChoiceQuestion]
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Ask which option texts belong to, and how sure each answer is.

    Parameters
    ----------
    oracle : ChoiceOracle
        Asked for its confidence, too, if it has ``judge_choices``.
    questions : sequence of (texts, options), of length M
        Options: each a name (str), or texts of a group (sequence of str).

    Returns
    -------
    answers : ndarray of int, shape (M,)
        Number of the option; ``len(options)`` for none of them; -1 for no usable
        answer.
    confidence : ndarray of float, shape (M,)
        Probability in [0, 1] that an answer is right; NaN where the oracle does not
        tell, and where there is no answer.

    Raises
    ------
    ValueError
        If the oracle returns anything but an int from -1 to ``len(options)`` for each
        question, or a confidence outside [0, 1].

    Notes
    -----
    Nothing is asked about no questions. A refiner asks many times, so whether the
    answers as a whole are of use is for it to tell (``warn_if_useless``).
    """
    n = len(questions)
    if not n:
        return np.empty(0, dtype=np.intp), np.empty(0)
    if not tells_confidence(oracle, "choices"):
        answers = _checked(oracle, oracle.answer_choices(questions), questions)
        return answers, np.full(n, np.nan)
    found, sure = oracle.judge_choices(questions)
    answers = _checked(oracle, found, questions)
    confidence = np.asarray(sure, dtype=np.float64)
    if (
        confidence.shape != (n,)
        or (confidence < 0).any()  # NaN is neither
        or (confidence > 1).any()
    ):
        raise ValueError(
            f"{type(oracle).__name__}.judge_choices must return a confidence in [0, 1],"
            f" or NaN, for each of {n} questions, got an array of shape "
            f"{confidence.shape} with values such as "
            f"{confidence.ravel()[:5].tolist()}."
        )
    return answers, np.where(answers < 0, np.nan, confidence)


def propose(oracle: Any, texts: Sequence[str], known: Sequence[str] = ()) -> list[str]:
    """Ask for the names of the categories that texts need beyond the known ones.

    Parameters
    ----------
    oracle : CategoryOracle
    texts : sequence of str
    known : sequence of str, default=()

    Returns
    -------
    names : list of str
        In the order given, each on one line without white space around it; without
        those that say nothing, are known, or differ from an earlier one in case alone.

    Raises
    ------
    TypeError
        If the oracle returns anything but a sequence of str.
    """
    found = oracle.propose_categories(texts, known)
    if isinstance(found, str) or not hasattr(found, "__len__"):
        raise TypeError(
            f"{type(oracle).__name__}.propose_categories must return a list of str, "
            f"got {shorten(found)}."
        )
    names: list[str] = []
    seen = {_key(name) for name in known}
    for i, name in enumerate(found):
        if not isinstance(name, str):
            raise TypeError(
                f"{type(oracle).__name__}.propose_categories must return a list of "
                f"str, got {shorten(name)} at index {i}."
            )
        key = _key(name)
        if key and key not in seen:
            seen.add(key)
            names.append(" ".join(name.split()))
    return names


def _key(name: str) -> str:
    return " ".join(name.casefold().split())


def _checked(
    oracle: Any, answers: Any, questions: Sequence[ChoiceQuestion]
) -> NDArray[np.intp]:
    found = np.asarray(answers)
    most = np.array([len(options) for _, options in questions])
    if found.shape != (len(questions),) or found.dtype.kind not in "iu":
        raise ValueError(
            f"{type(oracle).__name__}.answer_choices must return an int for each of "
            f"{len(questions)} questions, got an array of {found.dtype} of shape "
            f"{found.shape} with values such as {found.ravel()[:5].tolist()}."
        )
    outside = np.flatnonzero((found < -1) | (found > most))
    if len(outside):
        i = int(outside[0])
        raise ValueError(
            f"{type(oracle).__name__}.answer_choices must return the number of an "
            f"option, from 0 to {most[i] - 1}, {most[i]} for none of them, or -1 for "
            f"no answer, got {found[i]} for question {i}."
        )
    return found.astype(np.intp)
