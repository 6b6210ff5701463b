"""The last merges of a tree, with the answers about them, as records and as text."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._tree import Tree
from .._validation import as_texts

__all__ = [
    "Merge",
    "central_texts",
    "check_shown",
    "count",
    "merges_report",
    "one_line",
    "top_merges",
]

# Columns of a terminal that an example may take.
_WIDTH = 60


@dataclass(frozen=True)
class Merge:
    """One merge of two clusters, and the answers about pairs that it unites.

    Parameters
    ----------
    k : int
        Number of clusters after the merge; before it there is one more.
    node : int
        Number of the cluster that it makes, for ``tree.members``.
    sides : (int, int)
        Numbers of the two clusters that it unites.
    sizes : (int, int)
        How many rows each of the two has.
    height : float
        Of the merge in the tree.
    n_same, n_different, n_unusable : int
        Answers about pairs with one row on either side. Most of "same" speak for the
        merge, most of "different" against it.

    See Also
    --------
    top_merges : Lists them for a tree.

    Examples
    --------
    >>> from skllm_cluster.plotting import Merge
    >>> merge = Merge(1, 4, (2, 3), (5, 9), 2.5, n_same=0, n_different=3)
    >>> merge.answers
    '0 same, 3 different'
    """

    k: int
    node: int
    sides: tuple[int, int]
    sizes: tuple[int, int]
    height: float
    n_same: int = 0
    n_different: int = 0
    n_unusable: int = 0

    @property
    def answers(self) -> str:
        """The answers in words."""
        said = []
        if self.n_same or self.n_different:
            said = [f"{self.n_same} same, {self.n_different} different"]
        if self.n_unusable:
            said += [f"{self.n_unusable} unusable"]
        return ", ".join(said) or "not asked"


def top_merges(
    tree: Tree,
    *,
    pairs: ArrayLike | None = None,
    answers: ArrayLike | None = None,
    n_merges: int = 20,
) -> list[Merge]:
    """List the last merges of a tree, which are its topmost.

    Parameters
    ----------
    tree : Tree
        Of the rows.
    pairs : array-like of int, shape (P, 2), default=None
        Rows that were asked about.
    answers : array-like of int, shape (P,), default=None
        1 same, 0 different, -1 no usable answer.
    n_merges : int, default=20
        How many are wanted; a tree of m leaves has m - 1.

    Returns
    -------
    merges : list of Merge
        The last merge first. Each pair counts for the one merge that unites it, if
        that is among them.

    Raises
    ------
    TypeError
        If ``pairs`` holds no integers.
    ValueError
        If ``n_merges`` is below 1, one of ``pairs`` and ``answers`` is given without
        the other, they differ in length, or one holds what it may not.

    See Also
    --------
    merges_report : The same as text, with examples.

    Examples
    --------
    >>> from skllm_cluster.hierarchy import ward_tree
    >>> from skllm_cluster.plotting import top_merges
    >>> tree = ward_tree([[0.0], [0.1], [5.0], [5.2], [9.0]])
    >>> for merge in top_merges(tree, pairs=[[0, 2], [3, 4]], answers=[0, 1]):
    ...     print(merge.k, merge.sizes, merge.answers)
    1 (2, 3) 0 same, 1 different
    2 (1, 2) 1 same, 0 different
    3 (1, 1) not asked
    4 (1, 1) not asked
    """
    if n_merges < 1:
        raise ValueError(f"n_merges must be at least 1, got {n_merges}.")
    m = tree.n_leaves
    counts = _count_answers(tree, pairs, answers)
    merges = []
    for k in range(1, min(n_merges, m - 1) + 1):
        one, two = tree.sides(k)
        unusable, different, same = counts[k].tolist()
        merges.append(
            Merge(
                k,
                node=2 * m - 1 - k,
                sides=(one, two),
                sizes=(int(tree.size[one]), int(tree.size[two])),
                height=float(tree.merges[m - 1 - k, 2]),
                n_same=same,
                n_different=different,
                n_unusable=unusable,
            )
        )
    return merges


def merges_report(
    tree: Tree,
    texts: Sequence[str],
    *,
    embeddings: ArrayLike | None = None,
    pairs: ArrayLike | None = None,
    answers: ArrayLike | None = None,
    n_clusters: int | None = None,
    n_merges: int = 20,
    n_examples: int = 2,
) -> str:
    r"""Write out the topmost merges of a tree, for a terminal.

    Parameters
    ----------
    tree : Tree
        Of the texts.
    texts : sequence of str, length n
        In the order of the rows that the tree was made of.
    embeddings : array-like of shape (n, d), default=None
        These rows. Examples are the texts closest to the mean of their cluster. None:
        they are the first ones.
    pairs : array-like of int, shape (P, 2), default=None
        Rows that were asked about.
    answers : array-like of int, shape (P,), default=None
        1 same, 0 different, -1 no usable answer.
    n_clusters : int, default=None
        The number chosen, to mark these clusters.
    n_merges : int, default=20
        How many merges are shown; clusters at ``n_merges + 1`` are not opened.
    n_examples : int, default=2
        Distinct texts shown of each cluster that is not opened.

    Returns
    -------
    report : str
        An indented tree, each text on a line and shortened to 60 columns. What cannot
        be printed, such as a line break, is written as in Python's literals: ``\n``.

    Raises
    ------
    TypeError
        If ``texts`` is no sequence of str.
    ValueError
        If texts, embeddings and tree differ in length, ``n_examples`` is negative,
        ``n_clusters`` is no number of clusters of the tree, or as of
        :func:`top_merges`.

    See Also
    --------
    MergesDisplay : The same as a picture.

    Examples
    --------
    >>> from skllm_cluster.hierarchy import ward_tree
    >>> from skllm_cluster.plotting import merges_report
    >>> tree = ward_tree([[0.0], [0.1], [5.0], [5.2], [9.0]])
    >>> texts = ["lost card", "card lost", "refund", "refund me", "hello"]
    >>> report = merges_report(
    ...     tree,
    ...     texts,
    ...     pairs=[[0, 2], [3, 4]],
    ...     answers=[0, 1],
    ...     n_clusters=2,
    ...     n_merges=2,
    ... )
    >>> print(report)
    The last 2 merges of 5 texts; 2 clusters chosen (*)
    5 texts, 2 -> 1 clusters at height 9.84: 0 same, 1 different
    |-- * 2 texts
    |       "lost card"
    |       "card lost"
    `-- * 3 texts, 3 -> 2 clusters at height 4.5: 1 same, 0 different
        |-- 1 text
        |       "hello"
        `-- 2 texts
                "refund"
                "refund me"
    """
    merges = top_merges(tree, pairs=pairs, answers=answers, n_merges=n_merges)
    known = check_shown(tree, texts, embeddings, n_clusters, n_examples)
    chosen = set() if n_clusters is None else set(tree.nodes(n_clusters).tolist())
    opened = {merge.node: merge for merge in merges}
    lines = [_headline(len(known), len(merges), n_clusters)]
    for node, first, rest in _walk(tree, opened):
        mark = "* " if node in chosen else ""
        size = count(int(tree.size[node]), "text")
        if node in opened:
            lines.append(f"{first}{mark}{size}, {_story(opened[node])}")
            continue
        lines.append(f"{first}{mark}{size}")
        examples = central_texts(tree, node, known, embeddings, n_examples)
        lines += [f'{rest}    "{one_line(text)}"' for text in examples]
    return "\n".join(lines)


def check_shown(
    tree: Tree,
    texts: Any,
    embeddings: ArrayLike | None,
    n_clusters: int | None,
    n_examples: int,
) -> list[str]:
    """Check what is to be shown of a tree, and return the texts as a list."""
    known = as_texts(texts, "texts")
    n = len(tree.leaf_of)
    lengths = {"texts": len(known)}
    if embeddings is not None:
        lengths["embeddings"] = len(np.asarray(embeddings))
    for name, length in lengths.items():
        if length != n:
            raise ValueError(
                f"{name} must hold one row for each of the {n:,} rows of the tree, "
                f"got {length:,}. Pass those that the tree was made of."
            )
    if n_examples < 0:
        raise ValueError(f"n_examples must not be negative, got {n_examples}.")
    if n_clusters is not None:
        tree.nodes(n_clusters)  # raises if there are none
    return known


def central_texts(
    tree: Tree,
    node: int,
    texts: Sequence[str],
    embeddings: ArrayLike | None,
    n_examples: int,
) -> list[str]:
    """Find distinct texts of a cluster closest to its mean, ties by row number."""
    rows = np.sort(tree.members(node))
    if embeddings is not None:
        X = np.asarray(embeddings)[rows].astype(np.float64)
        distance = ((X - X.mean(axis=0)) ** 2).sum(axis=1)
        rows = rows[np.argsort(distance, kind="stable")]
    return list(dict.fromkeys(texts[i] for i in rows.tolist()))[:n_examples]


def one_line(text: str, width: int = _WIDTH) -> str:
    """Show the beginning of a text so that none of its characters has an effect.

    A line break would end the line, an escape sequence colour a terminal, a mark of
    writing direction turn round what follows.
    """
    shown = "".join(map(_visible, text[: width + 1]))
    # A wide character of East Asia or an emoji takes two columns.
    columns = [1 + (unicodedata.east_asian_width(c) in "FW") for c in shown]
    ends = list(accumulate(columns))
    if not ends or ends[-1] <= width:
        return shown
    return shown[: sum(end <= width - 3 for end in ends)] + "..."


def count(n: int, noun: str) -> str:
    """Put a number before a noun: "1 text", "2,000 texts"."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def _visible(character: str) -> str:
    # The two joiners shape letters and emoji, and do nothing else.
    if character.isprintable() or character in "\u200c\u200d":
        return character
    if unicodedata.category(character) == "Zs":
        return " "
    return character.encode("unicode_escape").decode("ascii")


def _count_answers(
    tree: Tree, pairs: ArrayLike | None, answers: ArrayLike | None
) -> NDArray[np.intp]:
    """Count -1, 0 and 1 by the level of the pair, shape (m + 1, 3)."""
    counts = np.zeros((tree.n_leaves + 1, 3), dtype=np.intp)
    if pairs is None and answers is None:
        return counts
    if pairs is None or answers is None:
        raise ValueError("pairs and answers must be given together, got one of them.")
    level, said = tree.level(pairs), np.asarray(answers)
    if said.shape != level.shape:
        raise ValueError(
            f"answers must have shape {level.shape}, one for each pair, got "
            f"{said.shape}."
        )
    if not np.isin(said, (-1, 0, 1)).all():
        raise ValueError(
            "answers must hold 1 (same), 0 (different) or -1 (unusable), got "
            f"{np.unique(said)[:5].tolist()}."
        )
    np.add.at(counts, (level, said.astype(np.intp) + 1), 1)
    return counts


def _headline(n_texts: int, n_merges: int, n_clusters: int | None) -> str:
    line = f"The last {count(n_merges, 'merge')} of {count(n_texts, 'text')}"
    if n_clusters is None:
        return line
    hint = " (*)" if n_clusters <= n_merges + 1 else ", more than are shown"
    return f"{line}; {count(n_clusters, 'cluster')} chosen{hint}"


def _story(merge: Merge) -> str:
    step = f"{merge.k + 1} -> {merge.k} clusters at height {merge.height:.3g}"
    return f"{step}: {merge.answers}"


def _walk(tree: Tree, opened: dict[int, Merge]) -> Iterator[tuple[int, str, str]]:
    """Visit clusters from the top, with what stands before their lines.

    For each the beginning of its first line and of its further ones.
    """
    stack = [(2 * tree.n_leaves - 2, "", "")]
    while stack:
        node, first, rest = stack.pop()
        yield node, first, rest
        if node in opened:
            one, two = opened[node].sides
            stack.append((two, f"{rest}`-- ", f"{rest}    "))
            stack.append((one, f"{rest}|-- ", f"{rest}|   "))
