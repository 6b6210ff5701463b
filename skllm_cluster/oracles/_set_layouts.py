"""The layout of a reply about a set: which of its lines are titles.

Pure functions.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from ._set_lines import Line, Marks

__all__ = ["Listing", "best_listing"]


class Listing(NamedTuple):
    """What a reply lists, by one layout.

    Attributes
    ----------
    clusters : list of list of int
        For each different text, the clusters that list it, in the order of the reply.
    n_unmatched : int
        Lines in clusters that are no text.
    n_between : int
        Those of them that have a text behind them.
    """

    clusters: list[list[int]]
    n_unmatched: int
    n_between: int


class _Layout(NamedTuple):
    """Which lines are titles, and how far that is to be trusted."""

    titles: tuple[bool, ...]
    by: str  # "marks", "blocks" or "texts"


# What titles have, or what texts have and titles lack. The first that explains a reply
# counts, so the surer signs come first.
_SIGNS: tuple[Callable[[Marks], bool], ...] = (
    lambda marks: not marks & Marks.QUOTED,
    lambda marks: bool(marks & Marks.NAMED),
    lambda marks: bool(marks & Marks.HEADING),
    lambda marks: bool(marks & Marks.BOLD),
    lambda marks: bool(marks & Marks.COLON),
    lambda marks: not marks & Marks.BULLET,
    lambda marks: not marks & (Marks.BULLET | Marks.NUMBER),
    lambda marks: bool(marks & Marks.NUMBER),
    lambda marks: bool(marks & Marks.BULLET),
)
# Titles, evened out, that are none: the prompt repeated, and words before a list.
_NO_TITLE = re.compile(r"cluster these\b|(?:\w+ )?here(?:s| is| are)\b")


def best_listing(lines: Sequence[Line], counts: Sequence[int]) -> Listing:
    """Read lines by the layout that explains most of them.

    Parameters
    ----------
    lines : sequence of Line
    counts : sequence of int
        How often each different text occurs in the set.

    Returns
    -------
    listing : Listing
        With no more clusters for a text than it has occurrences.
    """
    best = Listing([[] for _ in counts], 0, 0)
    least: tuple[int, ...] = (sum(counts), 0, 0, 0)
    for layout in dict.fromkeys(_layouts(lines, counts)):
        found = _listing(lines, layout.titles, counts)
        if layout.by == "blocks" and _unexplained(found, counts):
            # Such a line might be a title as well, so what follows it is left open.
            found = _listing(lines, layout.titles, counts, strict=True)
        n_open = _n_open(found, counts)
        if layout.by == "texts" and n_open and _n_clusters(found) > 1:
            continue  # a text that is missing might be any of the titles
        late = int(layout.by != "marks")
        cost = (n_open, _unexplained(found, counts), late, found.n_between)
        if cost < least:
            best, least = found, cost
        if least == (0, 0, 0, 0):
            break
    return best


def _layouts(lines: Sequence[Line], counts: Sequence[int]) -> Iterator[_Layout]:
    """Give the layouts that a reply may have, the surer ones first."""
    for sign in _SIGNS:
        yield _Layout(tuple(sign(line.marks) for line in lines), "marks")
    least = min((line.indent for line in lines), default=0)
    yield _Layout(tuple(line.indent == least for line in lines), "marks")
    texts = [i for i, line in enumerate(lines) if line.entity >= 0]
    if not texts:
        return
    # A title may be a text of the set, which is then listed more often than it occurs.
    listed = Counter(lines[i].entity for i in texts)
    repeated = {text for text, n in listed.items() if n > counts[text]}
    no_texts = _no_texts(lines, texts)
    # Where every line stands alone, blank lines say nothing.
    parted = not all(line.is_first for line in lines[texts[0] :])
    if parted and len({lines[i].block for i in texts}) > 1:
        tops = [i < texts[0] or line.is_first for i, line in enumerate(lines)]
        yield _Layout(tuple(tops), "blocks")
        heads = [
            is_top and (is_none or line.entity in repeated)
            for is_top, is_none, line in zip(tops, no_texts, lines, strict=True)
        ]
        yield _Layout(tuple(heads), "blocks")
    elif not repeated:
        yield _Layout(tuple(no_texts), "texts")


def _no_texts(lines: Sequence[Line], texts: Sequence[int]) -> list[bool]:
    """Take all lines for titles that are no texts, nor look like texts.

    A text that looks like a title, and not like a text, is taken for one, too.
    """
    looks = [(line.marks, line.indent) for line in lines]
    usual = Counter(looks[i] for i in texts).most_common(1)[0][0]
    unlike = [
        line.entity < 0 and look != usual and not _NO_TITLE.match(line.title)
        for line, look in zip(lines, looks, strict=True)
    ]
    # What comes before the first title and after the last text may look like anything.
    within = range(max(texts[0] - 1, 0), texts[-1])
    like_titles = {looks[i] for i in within if unlike[i]}
    if not like_titles:
        return [line.entity < 0 for line in lines]
    return [
        is_unlike or look in like_titles
        for is_unlike, look in zip(unlike, looks, strict=True)
    ]


def _listing(
    lines: Sequence[Line],
    titles: Sequence[bool],
    counts: Sequence[int],
    *,
    strict: bool = False,
) -> Listing:
    """Read lines, given which are titles.

    With ``strict``, what follows a line that matches nothing is left open.
    """
    sections = list(_sections(lines, titles))
    listed = {line.entity for _, body in sections for line in body}
    numbers = _numbers([_key(head, listed) for head, _ in sections])
    found: list[list[int]] = [[] for _ in counts]
    n_unmatched = n_between = 0
    for (head, body), section in zip(sections, numbers, strict=True):
        number = section
        for line in body:
            if line.entity >= 0 and number is not None:
                found[line.entity].append(number)
                n_between = n_unmatched
            elif line.entity < 0 and head:
                n_unmatched += 1
                number = None if strict else number
    for text, count in enumerate(counts):
        if len(found[text]) > count:  # one cluster all the same, or who knows which
            is_one = len(set(found[text])) == 1
            found[text] = found[text][:count] if is_one else []
    return Listing(found, n_unmatched, n_between)


def _sections(
    lines: Sequence[Line], titles: Sequence[bool]
) -> Iterator[tuple[list[Line], list[Line]]]:
    """Give what is listed, each time with the lines of the title above it."""
    head: list[Line] = []
    body: list[Line] = []
    for line, is_title in zip(lines, titles, strict=True):
        if is_title and body:
            yield head, body
            head, body = [], []
        (head if is_title else body).append(line)
    if body:
        yield head, body


def _key(head: Sequence[Line], listed: set[int]) -> str | None:
    """Say what a title says; None if it is no title.

    A text of the set that is listed nowhere is rather that text than a title.
    """
    good = [
        line.title
        for line in head
        if (line.entity < 0 or line.entity in listed)
        and not _NO_TITLE.match(line.title)
    ]
    return " ".join(filter(None, good)) if good else None


def _numbers(keys: Sequence[str | None]) -> list[int | None]:
    """Give equal titles one number, unless all have the same, which names none."""
    are_names = len(set(keys) - {None}) > 1
    first: dict[str, int] = {}
    return [
        None if key is None else first.setdefault(key, i) if key and are_names else i
        for i, key in enumerate(keys)
    ]


def _n_open(found: Listing, counts: Sequence[int]) -> int:
    return sum(counts) - sum(map(len, found.clusters))


def _unexplained(found: Listing, counts: Sequence[int]) -> int:
    """Count lines between texts that are no text, nor one of the missing, altered."""
    return max(0, found.n_between - _n_open(found, counts))


def _n_clusters(found: Listing) -> int:
    return len({number for clusters in found.clusters for number in clusters})
