"""One oracle of several: what it can answer, and what it answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.metaestimators import available_if

from .._validation import shorten, tells_confidence

__all__ = [
    "METHODS",
    "answers",
    "checked",
    "checked_answers",
    "checked_labels",
    "checked_names",
    "if_each_answers",
    "judged",
]

#: By what method each kind of question is answered.
METHODS = {
    "triplets": "answer_triplets",
    "pairs": "answer_pairs",
    "sets": "answer_sets",
    "choices": "answer_choices",
    "categories": "propose_categories",
}
_Method = TypeVar("_Method", bound=Callable[..., Any])


def answers(oracle: Any, kind: str) -> bool:
    """Tell whether an oracle answers that kind of question."""
    return callable(getattr(oracle, METHODS[kind], None))


def if_each_answers(kind: str) -> Callable[[_Method], _Method]:
    """Offer a method of FirstAnswer where each oracle answers that kind of question."""

    def offered(row: Any) -> bool:
        try:
            named = row._named()
        except (TypeError, ValueError):
            return True  # the method says what is wrong with the list
        for name, oracle in named:
            if not answers(oracle, kind):
                raise AttributeError(
                    f"The oracle {name!r}, {type(oracle).__name__}, cannot answer "
                    f"{kind}: it has no method {METHODS[kind]!r}."
                )
        return True

    decorator: Callable[[_Method], _Method] = available_if(offered)
    return decorator


def judged(
    oracle: Any, kind: str, questions: list[Any], wanted: bool
) -> tuple[Any, Any]:
    """Ask one oracle; it tells its confidence if it is wanted, and can."""
    wants_pilot = getattr(oracle, "needs_preflight", None)
    if kind != "choices" and callable(wants_pilot) and wants_pilot(questions):
        getattr(oracle, f"preflight_{kind}")(questions)
    if wanted and tells_confidence(oracle, kind):
        found, confidence = getattr(oracle, f"judge_{kind}")(questions)
        return found, confidence
    found = getattr(oracle, f"answer_{kind}")(questions)
    return found, np.full(len(questions), np.nan)


def checked(
    name: str, values: Any, n: int, allowed: Sequence[int] | None = None
) -> NDArray[Any]:
    """Check that an oracle gave one value for each question.

    Raises
    ------
    ValueError
        If it did not.
    """
    found = np.asarray(values)
    if found.shape != (n,) or (allowed and not np.isin(found, allowed).all()):
        what = f"one of {allowed}" if allowed else "a number"
        raise ValueError(
            f"The oracle {name!r} must return {what} for each of {n} questions, got an "
            f"array of shape {found.shape} with values such as "
            f"{found.ravel()[:5].tolist()}."
        )
    return found


def checked_answers(
    name: str, kind: str, values: Any, questions: Sequence[Any]
) -> NDArray[Any]:
    """Check that an oracle gave one answer to each question, which it may have.

    Raises
    ------
    ValueError
        If it did not.
    """
    if kind != "choices":
        return checked(name, values, len(questions), allowed=(-1, 0, 1))
    found = checked(name, values, len(questions))
    for i, (answer, (_, options)) in enumerate(zip(found, questions, strict=True)):
        if answer not in range(-1, len(options) + 1):
            raise ValueError(
                f"The oracle {name!r} must return an int from -1 to {len(options)} "
                f"for a question with {len(options)} options, got {answer} at index "
                f"{i}."
            )
    return found


def checked_names(name: str, values: Any) -> list[str]:
    """Check that an oracle gave names.

    Raises
    ------
    TypeError
        If it did not.
    """
    is_list = hasattr(values, "__len__") and not isinstance(values, str)
    if not is_list or not all(isinstance(one, str) for one in values):
        raise TypeError(
            f"The oracle {name!r} must return a list of str as names of categories, "
            f"got {shorten(values)}."
        )
    return list(values)


def checked_labels(
    name: str, labels: Any, sets: Sequence[Sequence[str]]
) -> list[NDArray[np.intp]]:
    """Check that an oracle gave one label for each text of each set.

    Raises
    ------
    ValueError
        If it did not, or a label is no integer of at least -1.
    """
    found = [np.asarray(own) for own in labels]
    if len(found) != len(sets):
        raise ValueError(
            f"The oracle {name!r} must return labels for each of {len(sets)} sets, got "
            f"{len(found)}."
        )
    for i, (own, texts) in enumerate(zip(found, sets, strict=True)):
        is_whole = own.dtype.kind in "iu" or not own.size
        if own.shape != (len(texts),) or not is_whole or (own < -1).any():
            raise ValueError(
                f"The oracle {name!r} must return an integer of at least -1 for each "
                f"of the {len(texts)} texts of the set at index {i}, got "
                f"{shorten(own.tolist())}."
            )
    return [own.astype(np.intp) for own in found]
