"""How a reply with names of categories is read.

Pure functions; what was asked is in ``_category_prompt.py``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from ._fences import one_line
from ._parsing import answer_of, thoughts_before
from ._set_lines import normalise

__all__ = ["Names", "parse_names"]


class Names(NamedTuple):
    """What a reply names.

    Attributes
    ----------
    names : list of str
        Those that are new, in the order of the reply.
    n_dropped : int
        Lines that are too long, or too much like a sentence, for a name.
    is_usable : bool
        Whether the reply names any category, a known one included, or says that none
        is needed.
    """

    names: list[str]
    n_dropped: int
    is_usable: bool


# Two to five words are asked for; a sentence has more, or ends as one.
_ASKED, _MOST_WORDS, _MOST_CHARACTERS = 5, 10, 80
# Any reply may begin with a name, so the end of thoughts counts wherever it is.
_THOUGHTS = thoughts_before("(?!)")
_OPEN_THOUGHTS = re.compile(r"<think(?:ing)?>|\[THINK\]|<\|channel\|>analysis")
_FENCED = re.compile(r"```\w*\s*\n(.*?)\n\s*```", re.DOTALL)
_MARKS = re.compile(
    r"(?:[-+*>|\u2010-\u2015]\s+|[\u00b7\u2022\u2023\u2043\u2219\u25aa-\u25e6]\s*"
    r"|\(?\d{1,3}[.):\]]\s+)+"
)
_AROUND = " \t*`|\"'\u201c\u201d\u2018\u2019\u00ab\u00bb"
_DATA = re.compile(r"^[\[{]|\"\s*:")  # JSON that is no list of names
_DESCRIBED = re.compile(r"\s*(?::\s|\s[-\u2013\u2014]\s)")
_NONE = re.compile(
    r"none(?: (?:is |are )?(?:needed|required|necessary))?"
    r"|no (?:further|new|more|other|additional) (?:categories|category|names)"
    r"(?: (?:is |are )?(?:needed|required|necessary))?"
    r"|the known (?:categories|ones) are (?:enough|sufficient)"
)
_CHATTER = re.compile(
    r"(?:sure|certainly|of course|okay|ok|sorry)$"
    r"|(?:(?:sure|certainly|okay|ok|of course) )?(?:here (?:are|is)|heres|below are"
    r"|the following|these are|i am|im|i cannot|i cant|i would|as an ai|note that"
    r"|let me know)\b"
)


def parse_names(reply: object, known: Sequence[str] = ()) -> Names:
    r"""Read the names of categories from a reply.

    Parameters
    ----------
    reply : object
        What the model said; anything but a ``str`` is of no use.
    known : sequence of str, default=()
        Names that there are already.

    Returns
    -------
    names : Names

    Notes
    -----
    Each line is a name, without its bullet, number, quotation marks and bold type; or
    the reply is a JSON list of names. Headings, lines that end with a colon and words
    around a list are left out. So are names that differ from a known or an earlier
    one in case, white space, punctuation or underscores alone. What has over 80
    characters or ten words, or ends like a sentence, is no name, and is counted. Where
    a name of usual length is followed by a colon and a description, it is the name.

    Examples
    --------
    >>> parse_names('Here are they:\n1. **Card lost**\n- "top-up"\n- card_lost')
    Names(names=['Card lost', 'top-up'], n_dropped=0, is_usable=True)
    >>> parse_names("None.", ["card lost"])
    Names(names=[], n_dropped=0, is_usable=True)
    >>> parse_names("I cannot help with that.")
    Names(names=[], n_dropped=1, is_usable=False)
    """
    answer = answer_of(reply, _THOUGHTS)
    if _OPEN_THOUGHTS.match(answer):
        return Names([], 0, False)
    if _NONE.fullmatch(_key(answer)):
        return Names([], 0, True)
    given = _listed(answer)
    is_json = given is not None
    lines = answer.splitlines() if given is None else given
    found = [_name(line, is_json=is_json) for line in lines]
    names: dict[str, str] = {}
    for name in filter(None, found):
        names.setdefault(_key(name), name)
    seen = {_key(name) for name in known}
    is_usable = bool(names) or (is_json and not lines)
    return Names(
        [name for key, name in names.items() if key not in seen],
        found.count(None),
        is_usable,
    )


def _name(line: str, *, is_json: bool) -> str | None:
    """Read one line: its name, "" if it has none, None if it is no name."""
    text = line.strip()
    if is_json:
        text = text if "\n" not in text else ""
    elif text.startswith(("#", "```", "---")) or text.rstrip(_AROUND).endswith(":"):
        return ""
    else:
        marks = _MARKS.match(text)
        text = text[marks.end() :] if marks else text
    if len(text.split()) > _ASKED:
        head = _DESCRIBED.split(text, maxsplit=1)[0]
        text = head if len(head.split()) <= _ASKED else text
    text = one_line(text).strip(_AROUND)
    if text.startswith("__") and text.endswith("__"):
        text = text[2:-2]
    is_sentence = text.endswith((".", "!", "?")) and len(text.split()) >= _ASKED
    text = text.rstrip(_AROUND + ".,;:!")
    key = _key(text)
    if not key or _NONE.fullmatch(key) or (_CHATTER.match(key) and not is_json):
        return None if is_sentence else ""
    long = len(text) > _MOST_CHARACTERS or len(text.split()) > _MOST_WORDS
    is_data = text.count(",") > 1 or ";" in text or _DATA.search(text)
    return None if long or is_sentence or is_data else text


def _listed(answer: str) -> list[str] | None:
    """Give the names of a JSON list, in a code fence or alone; None if it is none."""
    fenced = _FENCED.search(answer)
    names = _json(fenced[1]) if fenced else None
    return _json(answer) if names is None else names


def _json(text: str) -> list[str] | None:
    try:
        found: Any = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if isinstance(found, dict) and len(found) == 1:
        (found,) = found.values()
    if isinstance(found, list) and all(isinstance(one, str) for one in found):
        return found
    return None


def _key(name: str) -> str:
    """Even out what makes no other name; "" if there is no letter in it."""
    key = normalise(name.replace("_", " "))
    return key if any(char.isalpha() for char in key) else ""
