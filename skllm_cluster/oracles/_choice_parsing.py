"""How the reply to a question with options is read.

Pure functions; what was asked is in ``_choice_prompt.py``.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

from ._parsing import AROUND, alone, answer_of, thoughts_before

__all__ = ["parse_option"]

# Nine digits are more than any list has, and int() reads them at once.
_NUMBER = rf"(?:(?:choice|option|number|category|group)[{AROUND}:=]+)?(\d{{1,9}})"
_BEFORE = thoughts_before(r"(?:(?:[Oo]ption|[Nn]umber|[Cc]ategory|[Gg]roup)\W+)?\d")
_ALONE = alone(_NUMBER)
_BARE = re.compile(r"\d{1,9}", re.ASCII)
_NONE = alone(
    r"none(?:\s+of\s+(?:these|them|the\s+(?:above|categories|groups|options)))?"
    r"|0[:.)]?\s+none(?:\s+of\s+these)?"
)
_WITH_NAME = re.compile(
    rf"[{AROUND}]*{_NUMBER}[*_]*\s*[:.)\-\u2013\u2014]+\s*(\S.*)",
    re.IGNORECASE | re.ASCII,
)
_DIGITS = str.maketrans("\uff10\uff11\uff12\uff13\uff14\uff15\uff16\uff17\uff18\uff19",
                        "0123456789")  # fmt: skip
_STRIPPED = " \t*_`|\"'\u201c\u201d\u2018\u2019\u00ab\u00bb"


def parse_option(reply: object, names: Sequence[str | None]) -> int:
    """Read the reply to a question with numbered options.

    Parameters
    ----------
    reply : object
        What the model said; anything but a ``str`` is no answer.
    names : sequence of (str or None), of length m
        The names of the options in the order shown; None for a group of texts.

    Returns
    -------
    number : int
        1 to m for an option, 0 for none of them, -1 for no usable answer.

    Notes
    -----
    The whole reply has to be one answer, with the tolerance of :func:`parse_choice`:
    "12", "Option 12.", "**12**", ``{"answer": 12}``, "None". A number may be followed
    by the name that belongs to it, and by no other: "12: card lost". The name of one
    option alone is an answer, too, in any case of letters. Where a reply can be read
    in two ways, such as "None" for a category of this name, it is no answer, except
    that a bare number, which is what was asked for, always is one.

    Examples
    --------
    >>> names = ["card lost", "top-up"]
    >>> parse_option("**2.**", names), parse_option("0", names)
    (2, 0)
    >>> parse_option("1: Card lost", names), parse_option("Top-up", names)
    (1, 2)
    >>> parse_option("1 or 2", names), parse_option("3", names)
    (-1, -1)
    >>> parse_option("1: top-up", names)
    -1
    """
    answer = answer_of(reply, _BEFORE).translate(_DIGITS)
    found = _ALONE.fullmatch(answer)
    readings = set(_called(answer, names))
    if found and _BARE.fullmatch(answer.strip(_STRIPPED + ".")):
        readings = set()
    if found:
        readings.add(int(found[1]))
    if _NONE.fullmatch(answer):
        readings.add(0)
    number = readings.pop() if len(readings) == 1 else -1
    return number if number <= len(names) else -1


def _called(answer: str, names: Sequence[str | None]) -> list[int]:
    """Give the options whose name a reply is, with its number or without."""
    whole = _even(answer)
    numbers = [i for i, name in _even_names(names) if name == whole]
    found = _WITH_NAME.fullmatch(answer)
    if found:
        rest = _even(found[2])
        numbers += [
            i for i, name in _even_names(names) if i == int(found[1]) and name == rest
        ]
    return numbers


def _even_names(names: Sequence[str | None]) -> list[tuple[int, str]]:
    """Give the numbers and names of those that say something, signs included."""
    even = [(i, _even(name)) for i, name in enumerate(names, 1) if name is not None]
    return [(i, name) for i, name in even if name]


def _even(text: str) -> str:
    text = " ".join(html.unescape(text).casefold().split())
    return text.strip(_STRIPPED).rstrip(_STRIPPED + ".,;:!")
