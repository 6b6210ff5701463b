"""The topmost merges of a tree, drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .._tree import Tree
from .._validation import import_extra
from ._glyphs import drawable, known_characters
from ._merges import (
    Merge,
    central_texts,
    check_shown,
    count,
    merges_report,
    one_line,
    top_merges,
)
from ._selector import fitted_selector

__all__ = ["MergesDisplay"]

_WHO = "MergesDisplay"
# What most answers about a merge say, and colours that all eyes can tell apart.
_COLOURS = {
    "mostly same": "#0072b2",
    "mostly different": "#d55e00",
    "as many same as different": "#009e73",
    "no usable answer": "#cc79a7",
    "not asked": "#999999",
}
# Height of letters, and of a line of text, in points.
_LETTERS, _LINE = 8, 11
# A text is drawn as it is, even with dollars in it.
_LITERAL = {"fontsize": _LETTERS, "parse_math": False, "usetex": False}
# Behind what may lie on a line.
_PAPER = {"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none"}


class MergesDisplay:
    """The topmost merges of a tree, with example texts and the answers about them.

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
        The number chosen.
    n_merges : int, default=20
        How many merges are shown; clusters at ``n_merges + 1`` are not opened.
    n_examples : int, default=2
        Distinct texts shown of each cluster that is not opened.

    Attributes
    ----------
    ax_ : matplotlib Axes
        What was drawn on.
    figure_ : matplotlib Figure
        Which that belongs to.
    lines_ : list of matplotlib Line2D
        One for each merge, the last merge first.
    answers_ : list of matplotlib Text
        What is written at those.
    leaves_ : list of matplotlib Text
        The examples, a cluster each, from top to bottom.
    cut_ : matplotlib Line2D or None
        The line at the number chosen, if that is among what is shown.

    See Also
    --------
    merges_report : The same as text, without matplotlib.

    Notes
    -----
    Merges to the left of the dashed line have not happened in the clustering chosen:
    most answers there should be "different".

    Texts are drawn as they are, dollars and backslashes too. What cannot be printed is
    written as in Python's literals; a character that is in none of the fonts of
    ``matplotlib.rcParams["font.family"]`` is drawn as a box.

    On axes of your own, let ``layout="constrained"`` make room for the texts.

    Examples
    --------
    >>> from skllm_cluster.hierarchy import ward_tree
    >>> from skllm_cluster.plotting import MergesDisplay
    >>> tree = ward_tree([[0.0], [0.1], [5.0], [5.2], [9.0]])
    >>> texts = ["lost card", "card lost", "refund", "refund me", "hello"]
    >>> display = MergesDisplay(
    ...     tree,
    ...     texts,
    ...     pairs=[[0, 2], [3, 4]],
    ...     answers=[0, 1],
    ...     n_clusters=2,
    ...     n_merges=2,
    ... )
    >>> print(display)
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
    >>> [text.get_text() for text in display.plot().answers_]
    ['0 same, 1 different', '1 same, 0 different']
    """

    def __init__(
        self,
        tree: Tree,
        texts: Sequence[str],
        *,
        embeddings: ArrayLike | None = None,
        pairs: ArrayLike | None = None,
        answers: ArrayLike | None = None,
        n_clusters: int | None = None,
        n_merges: int = 20,
        n_examples: int = 2,
    ):
        self.tree = tree
        self.texts = texts
        self.embeddings = embeddings
        self.pairs = pairs
        self.answers = answers
        self.n_clusters = n_clusters
        self.n_merges = n_merges
        self.n_examples = n_examples

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        texts: Sequence[str],
        *,
        n_merges: int = 20,
        n_examples: int = 2,
        ax: Any = None,
        plot: bool = True,
    ) -> MergesDisplay:
        """Draw the tree that a fitted estimator has chosen a cut of.

        Parameters
        ----------
        estimator : GranularitySelector or ClusterLLMClusterer
            The latter fitted with ``n_clusters=None``.
        texts : sequence of str, length n
            Those it was fitted on.
        n_merges : int, default=20
            How many merges are shown.
        n_examples : int, default=2
            Distinct texts shown of each cluster.
        ax : matplotlib Axes, default=None
            What to draw on. None: a new figure as high as is needed.
        plot : bool, default=True
            False: nothing is drawn and matplotlib is not needed. ``print(display)``
            shows the same as text.

        Returns
        -------
        display : MergesDisplay

        Raises
        ------
        TypeError
            If it is another kind of estimator, or ``texts`` is no sequence of str.
        NotFittedError
            If it has not chosen a number of clusters.
        ValueError
            If there are not as many texts as it was fitted on, ``n_merges`` is below
            1 or ``n_examples`` negative.
        ImportError
            If matplotlib is not installed.
        """
        selector = fitted_selector(estimator)
        display = cls(
            selector.tree_,
            texts,
            embeddings=selector.embeddings_,
            pairs=selector.pairs_,
            answers=selector.answers_,
            n_clusters=selector.n_clusters_,
            n_merges=n_merges,
            n_examples=n_examples,
        )
        return display.plot(ax) if plot else display

    def __str__(self) -> str:
        return self.report()

    def report(self) -> str:
        """Write the same as text.

        Returns
        -------
        report : str
            As of :func:`merges_report`.
        """
        return merges_report(
            self.tree,
            self.texts,
            embeddings=self.embeddings,
            pairs=self.pairs,
            answers=self.answers,
            n_clusters=self.n_clusters,
            n_merges=self.n_merges,
            n_examples=self.n_examples,
        )

    def plot(self, ax: Any = None) -> MergesDisplay:
        """Draw the tree, its root on the left.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            What to draw on. The examples stand to the right of it. None: a new figure
            as high as is needed.

        Returns
        -------
        display : MergesDisplay
            Itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            As of :func:`merges_report`.
        """
        pyplot = import_extra("matplotlib.pyplot", _WHO)
        tree = self.tree
        merges = top_merges(
            tree, pairs=self.pairs, answers=self.answers, n_merges=self.n_merges
        )
        texts = check_shown(
            tree, self.texts, self.embeddings, self.n_clusters, self.n_examples
        )
        leaves = tree.nodes(len(merges) + 1)
        leaves = leaves[np.argsort(tree.start[leaves])].tolist()
        if ax is None:
            lines = len(leaves) * (max(self.n_examples, 1) + 1) + 8
            size = (11, lines * _LINE / 72)
            _, ax = pyplot.subplots(figsize=size, layout="constrained")
        heights = [merge.height for merge in merges]
        root, end = _ends(heights)
        self._draw_merges(ax, merges, leaves, end)
        self.cut_ = None
        if self.n_clusters is not None and self.n_clusters <= len(leaves):
            edges = [root, *heights, end]
            place = (edges[self.n_clusters - 1] + edges[self.n_clusters]) / 2
            self.cut_ = ax.axvline(place, color="black", linestyle="--", linewidth=1)
        self._write_leaves(ax, leaves, texts)
        _lay_out_axes(ax, root, end, len(leaves))
        self._write_legend(ax, merges)
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _draw_merges(
        self, ax: Any, merges: list[Merge], leaves: list[int], end: float
    ) -> None:
        place = _places(self.tree, merges, leaves)
        x = {merge.node: merge.height for merge in merges}
        self.lines_, self.answers_ = [], []
        for merge in merges:
            one, two = merge.sides
            top = merge.height
            colour = _COLOURS[_verdict(merge)]
            self.lines_ += ax.plot(
                [x.get(one, end), top, top, x.get(two, end)],
                [place[one], place[one], place[two], place[two]],
                color=colour,
            )
            self.answers_.append(
                ax.annotate(
                    merge.answers,
                    (top, place[merge.node]),
                    xytext=(4, 0),
                    textcoords="offset points",
                    verticalalignment="center",
                    color=colour,
                    bbox=_PAPER,
                    annotation_clip=False,
                    **_LITERAL,
                )
            )

    def _write_leaves(self, ax: Any, leaves: list[int], texts: list[str]) -> None:
        known = known_characters()
        style = {
            "transform": ax.get_yaxis_transform(),
            "verticalalignment": "center",
            **_LITERAL,
        }
        self.leaves_ = []
        for y, node in enumerate(leaves):
            size = f" {self.tree.size[node]:,}"
            ax.text(1, y, size, horizontalalignment="right", bbox=_PAPER, **style)
            found = central_texts(
                self.tree, node, texts, self.embeddings, self.n_examples
            )
            shown = "\n".join(drawable(one_line(text), known) for text in found)
            self.leaves_.append(ax.text(1.01, y, shown, **style))

    def _write_legend(self, ax: Any, merges: list[Merge]) -> None:
        lines = import_extra("matplotlib.lines", _WHO)
        said = {_verdict(merge) for merge in merges}
        handles = [
            lines.Line2D([], [], color=colour, label=verdict)
            for verdict, colour in _COLOURS.items()
            if verdict in said
        ]
        if self.n_clusters is not None:
            label = f"{count(self.n_clusters, 'cluster')} chosen"
            style = {"color": "black", "linestyle": "--", "linewidth": 1}
            if self.cut_ is None:
                style, label = {"linestyle": "none"}, f"{label}, more than are shown"
            handles.append(lines.Line2D([], [], label=label, **style))
        if handles:
            ax.legend(
                handles=handles,
                loc="lower left",
                bbox_to_anchor=(0, 1),
                ncols=3,
                frameon=False,
                fontsize=_LETTERS,
            )


def _ends(heights: list[float]) -> tuple[float, float]:
    """Where the picture begins, left of the root, and where the leaves end.

    Right of the lowest merge there must be room for its answers.
    """
    if not heights:
        return 1.0, 0.0
    top, low = max(heights), min(heights)
    span = (top - low) or top or 1.0
    return top + 0.05 * span, low - 0.5 * span


def _places(tree: Tree, merges: list[Merge], leaves: list[int]) -> dict[int, float]:
    """Height on the page of each cluster shown, leaves at 0, 1, ... from the top.

    A merge lies between the last leaf of its upper side and the first of its lower
    one. No other merge does, so that what is written there is alone on its line.
    """
    place = {node: float(i) for i, node in enumerate(leaves)}
    first = {int(tree.start[node]): i for i, node in enumerate(leaves)}
    for merge in merges:
        place[merge.node] = first[int(tree.start[merge.sides[1]])] - 0.5
    return place


def _verdict(merge: Merge) -> str:
    if merge.n_same > merge.n_different:
        return "mostly same"
    if merge.n_same < merge.n_different:
        return "mostly different"
    if merge.n_same:
        return "as many same as different"
    return "no usable answer" if merge.n_unusable else "not asked"


def _lay_out_axes(ax: Any, root: float, end: float, n_leaves: int) -> None:
    ax.set(xlim=(root, end), ylim=(n_leaves - 0.5, -0.5), yticks=[])
    ax.set_xlabel("height of the merge")
    # The room for answers may reach below 0, where there are no heights.
    ax.set_xticks([tick for tick in ax.get_xticks() if max(end, 0) <= tick <= root])
    ax.spines[["left", "right", "top"]].set_visible(False)
