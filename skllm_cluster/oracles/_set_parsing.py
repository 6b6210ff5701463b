"""How a reply about a set is read: which of its texts belong together.

Pure functions; what was asked is in ``_set_prompt.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ._set_layouts import best_listing
from ._set_lines import read_lines

__all__ = ["Clusters", "parse_clusters", "renumbered"]


class Clusters(NamedTuple):
    """What a reply says of a set of n texts.

    Attributes
    ----------
    labels : list of int, of length n
        Clusters 0, 1, ... in the order in which they first occur in the set; -1 for a
        text that is put into none. All -1: the reply is of no use.
    n_unmatched : int
        Lines in clusters that are none of the texts.
    """

    labels: list[int]
    n_unmatched: int


def parse_clusters(reply: object, shown: Sequence[str]) -> Clusters:
    r"""Read the reply to a question about a set.

    Parameters
    ----------
    reply : object
        What the model said; anything but a ``str`` is no answer.
    shown : sequence of str, of length n
        The set, each text as the prompt shows it (:func:`set_lines`), in any order.

    Returns
    -------
    clusters : Clusters

    Notes
    -----
    A line is a text if all of it is: as it was shown; or without bullet, number and
    quotation marks; or without whatever else a model may change, such as capitals,
    punctuation and ``&amp;``. In this order, so that the longest text is found. What
    could be two texts alike is none: nothing is guessed. Equal texts are matched one
    to one, in order. A text that is listed more often than it occurs, and not in one
    cluster, is in none.

    Other lines are titles, or match nothing. What titles look like is found out for
    each reply: quotation marks that they lack, "Cluster 1:", a heading, bold, a colon,
    no bullet, less indentation, or the top of a block between blank lines. Of these
    layouts that one counts that puts most texts into clusters, and of several the one
    that leaves fewer lines between texts unexplained; an unexplained line may be one
    of the missing texts, altered. Where nothing tells titles from texts, every line
    that is no text is a title; but if a text is missing then, which might be any of
    them, the reply is of no use.

    Lines of a title that follow one another are one title. Equal titles are one
    cluster, unless all are equal. A title that is a text of the set has to be listed
    elsewhere, too; otherwise what follows is left open, and so is what has no title.

    The release of the paper looks for each text anywhere in a block between blank
    lines, and so finds "Glue" among the glue guns and in titles.

    Examples
    --------
    >>> reply = "**Tools**\n- glue guns\n- Hammer.\n\n**Other**\n- Glue\n- chalk"
    >>> parse_clusters(reply, ["Glue", "Glue guns", "hammer", "tape"])
    Clusters(labels=[0, 1, 1, -1], n_unmatched=1)
    >>> parse_clusters("I cannot help with that.", ["Glue", "tape"])
    Clusters(labels=[-1, -1], n_unmatched=0)
    """
    places: dict[str, list[int]] = {}  # of each different text
    for place, text in enumerate(shown):
        places.setdefault(text, []).append(place)
    lines = read_lines(reply, list(places)) if isinstance(reply, str) else []
    found = best_listing(lines, [len(where) for where in places.values()])
    labels = [-1] * len(shown)
    for where, clusters in zip(places.values(), found.clusters, strict=True):
        for place, cluster in zip(where, clusters, strict=False):
            labels[place] = cluster
    return Clusters(renumbered(labels), found.n_unmatched)


def renumbered(labels: Sequence[int]) -> list[int]:
    """Give clusters the numbers 0, 1, ... in the order in which they first occur.

    Parameters
    ----------
    labels : sequence of int
        -1 is no cluster.

    Returns
    -------
    labels : list of int

    Examples
    --------
    >>> renumbered([7, -1, 3, 7])
    [0, -1, 1, 0]
    """
    numbers = {-1: -1}
    for label in labels:
        numbers.setdefault(label, len(numbers) - 1)
    return [numbers[label] for label in labels]
