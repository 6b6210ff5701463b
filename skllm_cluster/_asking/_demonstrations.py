"""Answered pairs that show an oracle which granularity is meant."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["choose_demonstrations", "with_demonstrations"]

# The paper draws 16 pairs and takes four of them.
_DRAWN = 8
# All pairs of this many labelled rows are looked at.
_MOST_ROWS = 400


def choose_demonstrations(
    level: Callable[[ArrayLike], NDArray[np.intp]],
    texts: Sequence[str],
    labels: NDArray[np.intp],
    names: Any,
    *,
    n_each: int = 2,
    justify: bool = True,
    rng: np.random.RandomState,
) -> tuple[list[tuple[Any, ...]], NDArray[np.intp]]:
    """Choose pairs of labelled texts that show where groups begin and end.

    Parameters
    ----------
    level : callable
        From pairs of rows to the largest number of clusters at which they are together,
        such as :meth:`Tree.level`.
    texts : sequence of str, of length n
    labels : ndarray of int, shape (n,)
        Known groups, -1 for unlabelled.
    names : array-like of shape (n,)
        The labels as they were given. Those that are str justify the answer.
    n_each : int, default=2
        How many pairs that belong together, and how many that do not.
    justify : bool, default=True
        Whether label names go with the answers.
    rng : RandomState

    Returns
    -------
    demonstrations : list of (first, second, same, because)
        Pairs of one group first; ``because`` is a tuple of two names or None. Empty if
        there are no labelled pairs of both kinds.
    pairs : ndarray of int, shape (D, 2)
        Their rows, which are not to be asked about.

    Notes
    -----
    Eight pairs of each kind are drawn. Of those that belong together, the half that the
    tree unites at the finer granularities is kept, of those that do not, the half that
    it unites at the coarser ones, and of these the shortest texts are shown: what
    Appendix B of the paper tends to. The released code takes the opposite halves, in
    which the tree contradicts the labels most, and does not look at the length.
    """
    pairs = _labelled_pairs(texts, labels, rng)
    same = labels[pairs[:, 0]] == labels[pairs[:, 1]]
    if same.all() or not same.any():  # one kind alone would sway the oracle
        return [], pairs[:0]
    levels = level(pairs)
    length = np.array([len(text) for text in texts])[pairs].sum(axis=1)
    chosen: list[int] = []
    for kind, sign in ((same, -1), (~same, 1)):
        drawn = rng.permutation(np.flatnonzero(kind))[:_DRAWN]
        by_level = drawn[np.argsort(sign * levels[drawn], kind="stable")]
        half = by_level[: max(n_each, -(-len(drawn) // 2))]
        chosen += half[np.argsort(length[half], kind="stable")][:n_each].tolist()
    given = np.asarray(names, dtype=object).ravel()
    shown = [
        (texts[a], texts[b], bool(same[i]), _because(given[a], given[b], justify))
        for i in chosen
        for a, b in [pairs[i]]
    ]
    return shown, pairs[chosen]


def with_demonstrations(oracle: Any, demonstrations: list[tuple[Any, ...]]) -> Any:
    """Return the oracle, or another with demonstrations if it takes any and has none.

    Parameters
    ----------
    oracle : Oracle
        Takes them if it has a parameter ``demonstrations``, or an oracle in it has.
    demonstrations : list of tuple

    Returns
    -------
    oracle : Oracle
        With the same model, answers and counts; the given one is not changed.
    """
    if not (demonstrations and hasattr(oracle, "get_params")):
        return oracle
    template = getattr(oracle, "pair_template", None)
    if template is not None and "{demonstrations}" not in template:
        return oracle
    changes = {}
    for name, value in oracle.get_params().items():
        if name == "demonstrations" and not len(value):
            changes[name] = demonstrations
        elif "__" not in name and hasattr(value, "get_params"):
            inner = with_demonstrations(value, demonstrations)
            if inner is not value:
                changes[name] = inner
    if not changes:
        return oracle
    if callable(getattr(oracle, "check", None)):
        oracle.check()  # which opens its journal, for the twin to share
    # Not a clone, which would copy the model, and may answer from another seed.
    twin = object.__new__(type(oracle))
    twin.__dict__.update(oracle.__dict__)
    return twin.set_params(**changes)


def _labelled_pairs(
    texts: Sequence[str], labels: NDArray[np.intp], rng: np.random.RandomState
) -> NDArray[np.intp]:
    """All pairs of different labelled texts, or of some if there are many; (P, 2)."""
    rows = np.flatnonzero(labels >= 0)
    rows = np.sort(rng.permutation(rows)[:_MOST_ROWS])
    pairs = rows[np.stack(np.triu_indices(len(rows), 1), axis=1)]
    different = [texts[a] != texts[b] for a, b in pairs]
    return np.asarray(pairs[np.array(different, dtype=bool)], dtype=np.intp)


def _because(one: Any, two: Any, justify: bool) -> tuple[str, str] | None:
    named = isinstance(one, str) and isinstance(two, str)
    return (str(one), str(two)) if justify and named else None
