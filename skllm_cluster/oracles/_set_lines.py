"""The lines of a reply about a set: which text each one is, and how it looks.

Pure functions.
"""

from __future__ import annotations

import html
import json
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from enum import IntFlag
from typing import NamedTuple

from ._fences import one_line

__all__ = ["Line", "Marks", "normalise", "read_lines"]


class Marks(IntFlag):
    """What a line has around its text."""

    NONE = 0
    BULLET = 1
    NUMBER = 2
    HEADING = 4
    BOLD = 8
    QUOTED = 16
    COLON = 32
    NAMED = 64  # "Cluster 3: ..."


class Line(NamedTuple):
    """A line that says something.

    Attributes
    ----------
    entity : int
        Number of the text, among the different ones, that the line is; -1 for none.
    title : str
        What it is called by as a title; "" if that says nothing.
    marks : Marks
        What it has around its text, beyond what that text itself has.
    indent : int
    block : int
        Blocks of lines are parted by lines that say nothing.
    is_first : bool
        Whether it is the first of its block.
    """

    entity: int
    title: str
    marks: Marks
    indent: int
    block: int
    is_first: bool


_BULLET = re.compile(
    "[-+*>|\u2010-\u2015\u2192]\\s+|[\u00b7\u2022\u2023\u2043\u2219\u25aa-\u25e6]\\s*"
)
_HEADING = re.compile(r"#{1,6}\s*")
_BOLD = re.compile(r"\*\*|__")
_NUMBER = re.compile(r"\(?(?:\d{1,4}|[A-Za-z]|[ivxIVX]{1,5})[.):\]]\s+")
_NAMED = re.compile(
    r"(?:cluster|group|category)(?:\s+(?:title|name|label))?"
    r"(?:\s*#?(\d{1,4}|[a-z]\b))?[\s*_]*(?:[:.)\-\u2013\u2014]|$)"
    r"|title[\s*_]*:",
    re.IGNORECASE,
)
_EMPHASIS = " *_`|,;"
_AROUND = " *_`|\"'\u201c\u201d\u2018\u2019\u00ab\u00bb"
_QUOTES = '"\u201c\u201d\u00ab\u00bb'
_AFTER = _AROUND + ",;.:!"
_NO_WORD = re.compile(r"[^\w\s]+|_+")
# The end of thoughts, from servers that do not part them from the answer.
_THOUGHTS = re.compile(r"<think(?:ing)?>|\[THINK\]|<\|channel\|>analysis")
_END = re.compile(r"</think(?:ing)?>|\[/THINK\]|<\|channel\|>final<\|message\|>")


def read_lines(reply: str, shown: Sequence[str]) -> list[Line]:
    """Read the lines of a reply about a set.

    Parameters
    ----------
    reply : str
    shown : sequence of str
        The different texts of the set, as the prompt shows them, each once.

    Returns
    -------
    lines : list of Line
        Those that say something, after the thoughts if there are any.
    """
    known = _Known(shown)
    raw = _after_thoughts(reply.splitlines(), known)
    found: list[Line] = []
    block, is_first = 0, True
    for text in raw:
        entity = known.find(text)
        if entity < 0 and not normalise(text):
            block, is_first = block + (not is_first), True
            continue
        found.append(_line(text, entity, known, block, is_first))
        is_first = False
    return found


def normalise(text: str) -> str:
    """Even out what a model may change in a text that it repeats.

    Parameters
    ----------
    text : str

    Returns
    -------
    normalised : str
        In lower case, without HTML entities, signs and punctuation, with single
        spaces, and one in place of a hyphen.

    Examples
    --------
    >>> normalise("**Nuts &amp; Bolts**, 12-piece")
    'nuts bolts 12 piece'
    """
    text = _NO_WORD.sub(_without_signs, html.unescape(text))
    text = unicodedata.normalize("NFKC", text).casefold()  # which may bring new signs
    return " ".join(_NO_WORD.sub(_without_signs, text).split())


def _without_signs(found: re.Match[str]) -> str:
    # Marks are parts of letters in many scripts.
    kinds = ((char, unicodedata.category(char)) for char in found[0])
    return "".join(
        " " if kind == "Pd" else char
        for char, kind in kinds
        if kind[0] == "M" or kind == "Pd"
    )


def _loosely(text: str) -> str:
    """Even out less than :func:`normalise` does: what stands around a text."""
    text = " ".join(html.unescape(text).casefold().split())
    return text.lstrip(_AROUND).rstrip(_AFTER)


def _exactly(text: str) -> str:
    return text


class _Known:
    """Finds the text that a line is: as it is, evened out a little, or more.

    What two texts share finds neither: nothing is guessed.
    """

    ways: tuple[Callable[[str], str], ...] = (_exactly, _loosely, normalise)

    def __init__(self, shown: Sequence[str]):
        self.tables: list[dict[str, int]] = [{} for _ in self.ways]
        #: What the texts have of marks themselves.
        self.marks: list[Marks] = []
        for number, text in enumerate(shown):
            forms = _forms(text)
            own = _look(forms[-1])[0]
            self.marks.append(own if forms[-1] == text else own & ~Marks.QUOTED)
            for way, table in zip(self.ways, self.tables, strict=True):
                for key in map(way, forms):
                    table[key] = number if table.get(key, number) == number else -1

    def find(self, line: str) -> int:
        """Give the number of the text that a whole line is, -1 for none.

        With the marks of a list before without them, so that the longest text wins.
        """
        bare = list(_peeled(line))
        for way, table in zip(self.ways, self.tables, strict=True):
            for text in bare:
                key = way(text)
                if key and key in table:
                    return table[key]
        return -1


def _forms(shown: str) -> list[str]:
    """Give the forms in which a text may be repeated; the last one has no fence."""
    try:
        text = json.loads(shown) if shown.startswith('"') else shown
    except ValueError:  # no fence, but a text that begins with a quotation mark
        text = shown
    return [shown, one_line(text)]


def _peeled(line: str) -> Iterator[str]:
    """Give a line as it is, and without one mark after the other."""
    text = line.strip()  # what is within a fence is the text's own
    yield text
    for mark in (_BULLET, _BULLET, _HEADING, _BOLD, _NUMBER):
        found = mark.match(text)
        if found:
            text = text[found.end() :]
            yield text
    yield text.strip(_EMPHASIS)


def _line(text: str, entity: int, known: _Known, block: int, is_first: bool) -> Line:
    marks, title = _look(text)
    if entity >= 0:
        marks &= ~known.marks[entity]
    indent = len(text.expandtabs()) - len(text.expandtabs().lstrip())
    return Line(entity, title, marks, indent, block, is_first)


def _look(line: str) -> tuple[Marks, str]:
    """Tell what a line has around its text, and what it says as a title."""
    text, marks = one_line(line), Marks.NONE
    for mark, flag in (
        (_BULLET, Marks.BULLET), (_BULLET, Marks.BULLET), (_HEADING, Marks.HEADING),
        (_BOLD, Marks.BOLD), (_NUMBER, Marks.NUMBER), (_BOLD, Marks.BOLD),
    ):  # fmt: skip
        found = mark.match(text)
        if found:
            text, marks = text[found.end() :], marks | flag
    end = text.rstrip(" *_[{")
    if end.endswith((":", "\uff1a")):
        marks |= Marks.COLON
    end = text.rstrip(",;. ")
    if len(end) > 1 and end[0] in _QUOTES and end[-1] in _QUOTES:
        marks |= Marks.QUOTED
    named = _NAMED.match(text)
    if named is None:
        return marks, normalise(text)
    number = f"cluster {named[1]}" if named[1] else ""
    return marks | Marks.NAMED, normalise(text[named.end() :]) or number


def _after_thoughts(lines: list[str], known: _Known) -> list[str]:
    """Leave out thoughts. A text of the set is none, whatever it holds."""
    for i in reversed(range(len(lines))):
        found = _END.search(lines[i])
        if found and known.find(lines[i]) < 0:
            return [lines[i][found.end() :], *lines[i + 1 :]]
    first = next((line for line in lines if line.strip()), "")
    is_thought = _THOUGHTS.match(first.strip()) and known.find(first) < 0
    return [] if is_thought else lines
