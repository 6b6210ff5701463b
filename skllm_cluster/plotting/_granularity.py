"""The score of each number of clusters, drawn."""

from __future__ import annotations

import textwrap
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._validation import import_extra
from ._selector import fitted_selector

__all__ = ["GranularityDisplay"]

# From this ratio of the largest to the smallest number of clusters on, the axis is
# logarithmic.
_LOG_FROM = 20


class GranularityDisplay:
    """Score of each number of clusters, and the number chosen (ClusterLLM, Fig. 4).

    Parameters
    ----------
    k_values : array-like of int, shape (K,)
        Numbers of clusters, rising.
    scores : array-like of shape (K,)
        One for each, higher is better; NaN where there is none.
    n_clusters : int
        The number chosen.
    interval : (int, int), default=None
        Where the number lies with 90 % of the posterior.
    name : str, default=None
        What the criterion is called in the legend.
    reason : str, default=None
        Why the answers did not decide, for the legend.

    Attributes
    ----------
    ax_ : matplotlib Axes
        What was drawn on.
    figure_ : matplotlib Figure
        Which that belongs to.
    line_ : matplotlib Line2D
        The scores, with a dot on that of the number chosen.
    chosen_ : matplotlib Line2D
        The vertical line at the number chosen.
    span_ : matplotlib Patch or None
        The interval.

    See Also
    --------
    MergesDisplay : The clusters that the number is one of.

    Notes
    -----
    The axis of the number of clusters is logarithmic if it spans more than a factor
    of 20. Scores of two criteria have different units: with ``scaled=True`` both
    can be compared on one axis.

    Examples
    --------
    >>> from skllm_cluster.plotting import GranularityDisplay
    >>> display = GranularityDisplay(
    ...     [2, 3, 4, 5], [0.4, 0.9, 0.7, 0.5], 3, interval=(3, 4), name="pair_match"
    ... ).plot()
    >>> display.line_.get_label()
    '3 chosen by pair_match (90 %: 3 to 4)'

    A second criterion on the same axis:

    >>> other = GranularityDisplay([2, 3, 4, 5], [5, 8, 9, 7], 4, name="f_beta")
    >>> other = other.plot(display.ax_, scaled=True)
    >>> len(display.ax_.get_legend().get_texts())
    2
    """

    def __init__(
        self,
        k_values: ArrayLike,
        scores: ArrayLike,
        n_clusters: int,
        *,
        interval: tuple[int, int] | None = None,
        name: str | None = None,
        reason: str | None = None,
    ):
        self.k_values = k_values
        self.scores = scores
        self.n_clusters = n_clusters
        self.interval = interval
        self.name = name
        self.reason = reason

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        ax: Any = None,
        name: str | None = None,
        scaled: bool = False,
        **line_kwargs: Any,
    ) -> GranularityDisplay:
        """Draw the scores that a fitted estimator has chosen by.

        Parameters
        ----------
        estimator : GranularitySelector or ClusterLLMClusterer
            The latter fitted with ``n_clusters=None``.
        ax : matplotlib Axes, default=None
            What to draw on. None: a new figure.
        name : str, default=None
            What the criterion is called in the legend. None: the name of the
            function, if the estimator was given one.
        scaled : bool, default=False
            Whether the lowest score is drawn at 0 and the highest at 1.
        **line_kwargs
            For ``Axes.plot``.

        Returns
        -------
        display : GranularityDisplay

        Raises
        ------
        TypeError
            If it is another kind of estimator.
        NotFittedError
            If it has not chosen a number of clusters.
        ImportError
            If matplotlib is not installed.
        """
        selector = fitted_selector(estimator)
        if name is None:
            criterion = getattr(selector, "criterion", None)
            name = getattr(criterion, "__name__", None)
        display = cls(
            selector.k_values_,
            selector.scores_,
            selector.n_clusters_,
            interval=selector.interval_,
            name=name,
            reason=selector.criterion_report_.get("reason"),
        )
        return display.plot(ax, scaled=scaled, **line_kwargs)

    def plot(
        self, ax: Any = None, *, scaled: bool = False, **line_kwargs: Any
    ) -> GranularityDisplay:
        """Draw the scores.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            What to draw on, such as that of another display. None: a new figure.
        scaled : bool, default=False
            Whether the lowest score is drawn at 0 and the highest at 1.
        **line_kwargs
            For ``Axes.plot``.

        Returns
        -------
        display : GranularityDisplay
            Itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        pyplot = import_extra("matplotlib.pyplot", "GranularityDisplay")
        if ax is None:
            _, ax = pyplot.subplots(layout="constrained")
        k, scores = np.asarray(self.k_values), np.asarray(self.scores, dtype=float)
        if scaled:
            scores = _scaled(scores)
        dot = np.flatnonzero(k == self.n_clusters).tolist()
        style = {"label": self._label(), "marker": "o", "markevery": dot, **line_kwargs}
        (self.line_,) = ax.plot(k, scores, **style)
        colour = self.line_.get_color()
        self.chosen_ = ax.axvline(
            self.n_clusters, color=colour, linestyle="--", linewidth=1
        )
        self.span_ = None
        if self.interval is not None:
            self.span_ = ax.axvspan(*self.interval, color=colour, alpha=0.15, lw=0)
        _lay_out_axis(ax, k)
        ax.set(xlabel="number of clusters", ylabel="score")
        if scaled:
            ax.set_ylabel("score, from its lowest (0) to its highest (1)")
        ax.legend()
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _label(self) -> str:
        label = f"{self.n_clusters} chosen"
        if self.name is not None:
            label += f" by {self.name}"
        if self.interval is not None:
            low, high = self.interval
            label += f" (90 %: {low} to {high})"
        if self.reason is not None:
            label = textwrap.fill(f"{label}, undecided: {self.reason}", 50)
        return label


def _scaled(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Bring the lowest finite score to 0 and the highest to 1; all equal: 0."""
    finite = scores[np.isfinite(scores)]
    if not finite.size:
        return scores
    low, high = finite.min(), finite.max()
    return np.asarray((scores - low) / ((high - low) or 1.0))


def _lay_out_axis(ax: Any, k: NDArray[np.intp]) -> None:
    """Show all of ``k``, scored or not, and only whole numbers."""
    ticker = import_extra("matplotlib.ticker", "GranularityDisplay")
    ax.update_datalim([(k[0], 0), (k[-1], 0)], updatey=False)
    ax.autoscale_view()
    if k[-1] > _LOG_FROM * k[0]:
        ax.set_xscale("log")
    if ax.get_xscale() == "log":
        ax.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
        ax.xaxis.set_major_formatter(ticker.StrMethodFormatter("{x:.0f}"))
        ax.xaxis.set_minor_formatter(ticker.NullFormatter())
    else:
        ax.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
