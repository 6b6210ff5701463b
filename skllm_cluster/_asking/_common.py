"""What asking has in common, whatever is asked."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import column_or_1d

from .._validation import is_unlabelled, tells_confidence

__all__ = ["check_labels", "check_oracle", "judged", "warn_if_useless"]


def check_oracle(oracle: Any, random_state: Any = 0, *, kind: str = "triplets") -> None:
    """Check that an oracle can answer a kind of question, before it is asked.

    Parameters
    ----------
    oracle : Oracle
    random_state : int, RandomState instance or None, default=0
        What the questions are drawn with.
    kind : {"triplets", "pairs", "sets", "choices"}, default="triplets"

    Raises
    ------
    TypeError
        If it has no method for them.

    Warns
    -----
    UserWarning
        If it keeps answers that another fit would not ask for.
    """
    try:
        able, missing = callable(getattr(oracle, f"answer_{kind}")), None
    except AttributeError as error:
        able, missing = False, error  # whose cause may name an oracle in a row
    if not able:
        without = {
            "triplets": "oracle=None to cluster without questions",
            "pairs": "give the number of clusters, or a criterion that asks nothing",
            "sets": "give y",
            "choices": "refiner=None to ask triplets in place of them",
        }
        raise TypeError(
            f"{type(oracle).__name__} cannot answer {kind}: it has no method "
            f"'answer_{kind}'. Use an oracle such as LLMOracle, or {without[kind]}."
        ) from missing
    if callable(getattr(oracle, "check", None)):
        oracle.check()
    if getattr(oracle, "journal", None) is not None and random_state is None:
        warnings.warn(
            "The oracle keeps answers, but with random_state=None every fit draws "
            "other questions, for which they are of no use. Set random_state=0, or any "
            "other number.",
            UserWarning,
            stacklevel=5,
        )


def check_labels(y: ArrayLike | None, n: int) -> NDArray[np.intp] | None:
    """Check known labels and number them; -1 stays -1, for unlabelled.

    Raises
    ------
    ValueError
        If there are not n of them.
    """
    if y is None:
        return None
    values: Any = y
    if np.ndim(values) != 1:
        values = column_or_1d(values)
    labels = values.tolist() if hasattr(values, "tolist") else list(values)
    if len(labels) != n:
        raise ValueError(
            f"y must have one label for each of the {n} texts (-1: unlabelled), got "
            f"{len(labels)}."
        )
    names = {label for label in labels if not is_unlabelled(label)}
    # Numbers and strings do not compare; those of one type do.
    ordered = sorted(names, key=lambda name: (type(name).__name__, name))
    code = {name: number for number, name in enumerate(ordered)}
    return np.array(
        [-1 if is_unlabelled(label) else code[label] for label in labels], dtype=np.intp
    )


def judged(
    oracle: Any, kind: str, questions: list[Any]
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Ask all questions of a kind, and how sure each answer is.

    Parameters
    ----------
    oracle : Oracle
    kind : {"triplets", "pairs"}
    questions : list of tuple of str, of length Q

    Returns
    -------
    answers : ndarray of int, shape (Q,)
    confidence : ndarray of float, shape (Q,)
        NaN where the oracle does not tell.

    Raises
    ------
    ValueError
        If the oracle returns anything but one of -1, 0 and 1 for each question.
    """
    n = len(questions)
    if not tells_confidence(oracle, kind):
        answers = getattr(oracle, f"answer_{kind}")(questions)
        return _checked(oracle, kind, answers, n), np.full(n, np.nan)
    found, sure = getattr(oracle, f"judge_{kind}")(questions)
    answers = _checked(oracle, kind, found, n)
    confidence = np.asarray(sure, dtype=np.float64)
    if confidence.shape != answers.shape or (confidence > 1).any():
        raise ValueError(
            f"{type(oracle).__name__}.judge_{kind} must return a confidence of at "
            f"most 1, or NaN, for each of {n} questions, got an array of shape "
            f"{confidence.shape} with values such as "
            f"{confidence.ravel()[:5].tolist()}."
        )
    # Who finds the other answer likelier than its own knows nothing.
    return answers, np.maximum(confidence, 0.5)  # NaN stays


def warn_if_useless(oracle: Any, kind: str, answers: NDArray[np.intp]) -> None:
    """Warn if over 95 % of the answers of an oracle are unusable."""
    unusable = int((answers < 0).sum())
    if unusable <= 0.95 * len(answers):
        return
    said = oracle.report() if callable(getattr(oracle, "report", None)) else {}
    if said.get("n_open"):
        return  # not asked yet, which the oracle has told
    first = said.get("first_unusable_reply")
    example = f"; the first such reply was {first!r}" if first is not None else ""
    warnings.warn(
        f"The oracle gave no usable answer to {unusable:,} of {len(answers):,} {kind}"
        f"{example}. Check the perspective, or try another model.",
        UserWarning,
        stacklevel=4,
    )


def _checked(oracle: Any, kind: str, answers: Any, n: int) -> NDArray[np.intp]:
    found = np.asarray(answers)
    if found.shape != (n,) or not np.isin(found, (-1, 0, 1)).all():
        raise ValueError(
            f"{type(oracle).__name__}.answer_{kind} must return one of -1, 0 and 1 "
            f"for each of {n} questions, got an array of shape {found.shape} with "
            f"values such as {found.ravel()[:5].tolist()}."
        )
    return found.astype(np.intp)
