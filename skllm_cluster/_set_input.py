"""From sets of texts to flat arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._validation import as_texts, is_unlabelled

__all__ = ["FlatSets", "flatten", "learnable", "split_sets", "take_sets"]

Ints = NDArray[np.intp]


class FlatSets(NamedTuple):
    """Sets of texts, one after the other.

    ``labels`` number the clusters of each set; -1 where there is none.
    """

    texts: list[str]  # (T,)
    groups: Ints  # (T,), the number of each text's set
    labels: Ints  # (T,)
    n_sets: int

    @property
    def starts(self) -> Ints:
        """Where each set begins, and where the last ends; (S + 1,)."""
        return np.searchsorted(self.groups, np.arange(self.n_sets + 1))

    def rows(self, sets: Ints) -> Ints:
        """Rows of the texts of some sets, set by set."""
        starts = self.starts
        parts = [np.arange(starts[s], starts[s + 1]) for s in sets]
        return np.concatenate([np.empty(0, dtype=np.intp), *parts])


def flatten(
    sets: Any, y: Any = None, *, name: str = "sets", label: str = "y"
) -> FlatSets:
    """Check sets of texts, and their labels, and lay them out flat.

    Parameters
    ----------
    sets : sequence of sequence of str
    y : sequence of array-like, default=None
        For each set, a label for each text: int or str; -1, None or NaN: not known.
    name, label : str
        What the two are called in a message.

    Raises
    ------
    TypeError, ValueError
        If they are not of that form.
    """
    if isinstance(sets, str) or not hasattr(sets, "__len__"):
        raise TypeError(
            f"{name} must be a sequence of sets, each a sequence of str, got "
            f"{type(sets).__name__}."
        )
    given = [_texts(s, f"{name}[{i}]") for i, s in enumerate(sets)]
    sizes = [len(texts) for texts in given]
    groups = np.repeat(np.arange(len(given)), sizes).astype(np.intp)
    texts = [text for texts in given for text in texts]
    labels = np.full(len(texts), -1, dtype=np.intp)
    if y is not None:
        labels = _labels(y, sizes, label)
    return FlatSets(texts, groups, labels, len(given))


def take_sets(flat: FlatSets, sets: Ints) -> FlatSets:
    """Take some sets, in the order given."""
    rows = flat.rows(sets)
    sizes = np.diff(flat.starts)[sets]
    groups = np.repeat(np.arange(len(sets)), sizes).astype(np.intp)
    return FlatSets([flat.texts[i] for i in rows], groups, flat.labels[rows], len(sets))


def learnable(flat: FlatSets, name: str) -> FlatSets:
    """Leave out sets in which less than two texts are labelled.

    Raises
    ------
    ValueError
        If there is no other.
    """
    known = np.bincount(flat.groups[flat.labels >= 0], minlength=flat.n_sets)
    kept = np.flatnonzero(known > 1)
    if not len(kept):
        raise ValueError(
            f"{name} must hold at least one set with two labelled texts, got "
            f"{flat.n_sets} sets with {int(known.sum())} labelled texts in all."
        )
    return flat if len(kept) == flat.n_sets else take_sets(flat, kept)


def split_sets(values: NDArray[Any], flat: FlatSets) -> list[NDArray[Any]]:
    """Part what belongs to the texts into one array for each set."""
    return np.split(values, flat.starts[1:-1]) if flat.n_sets else []


def _texts(given: Any, name: str) -> list[str]:
    if not isinstance(given, str) and hasattr(given, "__len__") and not len(given):
        return []
    return as_texts(given, name)


def _labels(y: Any, sizes: Sequence[int], name: str) -> Ints:
    if isinstance(y, str) or not hasattr(y, "__len__"):
        raise TypeError(
            f"{name} must hold an array of labels for each set, got {type(y).__name__}."
        )
    if len(y) != len(sizes):
        raise ValueError(
            f"{name} must hold labels for each of {len(sizes)} sets, got {len(y)}."
        )
    found = [np.empty(0, dtype=np.intp)]
    for i, (labels, size) in enumerate(zip(y, sizes, strict=True)):
        values = labels.tolist() if hasattr(labels, "tolist") else labels
        if not isinstance(values, (list, tuple)) or len(values) != size:
            shape = len(values) if isinstance(values, (list, tuple)) else repr(values)
            raise ValueError(
                f"{name}[{i}] must hold a label for each of the {size} texts of its "
                f"set, got {shape}."
            )
        code: dict[Any, int] = {}
        found.append(
            np.array(
                [-1 if is_unlabelled(v) else code.setdefault(v, len(code))
                 for v in values],
                dtype=np.intp,
            )
        )  # fmt: skip
    return np.concatenate(found)
