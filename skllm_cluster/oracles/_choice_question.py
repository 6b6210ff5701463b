"""What a choice is asked about, and from: checked, whoever answers.

Pure functions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from .._validation import shorten

__all__ = ["Choice", "Option", "check_choices", "check_strings"]

#: The name of a category, or texts of a group.
Option = str | tuple[str, ...]


class Choice(NamedTuple):
    """Texts that belong together, and what they may belong to."""

    texts: tuple[str, ...]
    options: tuple[Option, ...]


def check_choices(questions: Sequence[Any]) -> list[Choice]:
    """Check questions with options.

    Parameters
    ----------
    questions : sequence of (texts, options)
        Texts: sequence of at least one str. Options: sequence of str (names) and of
        sequences of at least one str (texts of a group).

    Returns
    -------
    checked : list of Choice

    Raises
    ------
    TypeError
        If one of them is anything else; the message names its index.
    ValueError
        If there is no text, in a question or in an option.

    Examples
    --------
    >>> check_choices([(["card lost"], ["top-up", ["my card?", "no card"]])])
    [Choice(texts=('card lost',), options=('top-up', ('my card?', 'no card')))]
    """
    return [_checked(i, question) for i, question in enumerate(questions)]


def check_strings(values: Any, what: str) -> tuple[str, ...]:
    """Check a sequence of str, which one str is not.

    Raises
    ------
    TypeError
        If it is anything else.
    """
    found = () if isinstance(values, str) else _elements(values)
    if found is None or isinstance(values, str):
        raise TypeError(f"{what} must be a sequence of str, got {shorten(values)}.")
    for value in found:
        if not isinstance(value, str):
            raise TypeError(
                f"{what} must be a sequence of str, got {shorten(value)} in it."
            )
    return tuple(map(str, found))  # np.str_ becomes str


def _checked(i: int, question: Any) -> Choice:
    parts = None if isinstance(question, str) else _elements(question)
    if parts is None or len(parts) != 2:
        raise TypeError(
            "Each question must be (texts, options), got "
            f"{shorten(question)} at index {i}."
        )
    where = f"of the question at index {i}"
    options = None if isinstance(parts[1], str) else _elements(parts[1])
    if options is None:
        raise TypeError(
            f"The options {where} must be a sequence of names (str) and of groups of "
            f"texts (sequences of str), got {shorten(parts[1])}."
        )
    return Choice(
        _some(parts[0], f"The texts {where}"),
        tuple(
            str(option)
            if isinstance(option, str)
            else _some(option, f"Option {number} {where}")
            for number, option in enumerate(options)
        ),
    )


def _some(values: Any, what: str) -> tuple[str, ...]:
    found = check_strings(values, what)
    if not found:
        raise ValueError(f"{what} must be at least one text, got none.")
    return found


def _elements(values: Any) -> list[Any] | None:
    """Give what a sequence holds; None if it is none."""
    if not hasattr(values, "__len__") or not hasattr(values, "__iter__"):
        return None
    return list(values)
