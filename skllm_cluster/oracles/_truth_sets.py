"""What labels tell, of texts by themselves or in their sets."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from .._validation import as_texts, is_unlabelled, shorten
from ._prompts import keyed_mistakes, renumbered

__all__ = ["LabelsSets", "gather", "gather_sets", "known", "labelled"]

#: A set in the order of its texts.
_Sorted = tuple[str, ...]
_T = TypeVar("_T")


class LabelsSets:
    """What an oracle that knows labels has to label sets."""

    groups: Any
    accuracy: Any
    _check_parameters: Any
    _lookup: Any
    _seed: Any

    @classmethod
    def from_sets(
        cls,
        sets: Sequence[Sequence[str]],
        y: Sequence[Sequence[Hashable]],
        **params: Any,
    ) -> Any:
        """Make an oracle that knows sets, where the set decides what belongs together.

        Parameters
        ----------
        sets : sequence of sequence of str
            All that may be asked about, each in any order.
        y : sequence of sequence of hashable
            The labels of each set; -1, None and NaN mean unknown. They mean nothing
            beyond their set.
        **params : dict
            Further parameters, such as ``accuracy``.

        Returns
        -------
        oracle : TruthOracle
            With ``texts``, ``labels`` and ``groups``.

        Raises
        ------
        ValueError
            If a set has another number of labels than texts.

        Examples
        --------
        >>> from skllm_cluster.oracles import TruthOracle
        >>> sets = [["my pin", "new pin", "fees"], ["my pin", "fees", "what's up"]]
        >>> oracle = TruthOracle.from_sets(sets, [[0, 1, 2], ["bank", "bank", "chat"]])
        >>> oracle.answer_sets([["fees", "my pin", "what's up"]])
        [array([0, 0, 1])]
        """
        sizes = [len(texts) for texts in sets]
        both = itertools.zip_longest(sizes, (len(labels) for labels in y), fillvalue=0)
        for i, (n, n_labels) in enumerate(both):
            if n != n_labels:
                raise ValueError(
                    "y must have one label for each text of each set, got "
                    f"{n_labels} labels for the {n} texts of the set at index {i}."
                )
        texts = [text for texts in sets for text in texts]
        labels = [label for labels in y for label in labels]
        return cls(
            texts, labels, groups=np.repeat(np.arange(len(sizes)), sizes), **params
        )  # type: ignore[call-arg]

    def answer_sets(self, sets: Sequence[Sequence[str]]) -> list[NDArray[np.intp]]:
        """Say which texts of each set share a label.

        Parameters
        ----------
        sets : sequence of sequence of str
            With ``groups``, each has to be one of these sets, in any order.

        Returns
        -------
        labels : list of ndarray of int, each of shape (size of the set,)
            Clusters 0, 1, ... in the order in which they first occur in the set; -1 for
            an unknown label. Simulated.

        Raises
        ------
        ValueError
            If a text or set is not among those known, or a parameter is not valid.

        Notes
        -----
        Each text goes to another cluster of the set with probability 1 - ``accuracy``;
        if there is only one, to a new one. The same set, in any order, gets the same
        answer.
        """
        self._check_parameters()
        table, seed = self._lookup(), self._seed()
        return [self._label(table, seed, list(texts)) for texts in sets]

    def _label(
        self, table: Mapping[Any, Any], seed: int, texts: list[str]
    ) -> NDArray[np.intp]:
        order = sorted(range(len(texts)), key=texts.__getitem__)
        ranked = tuple(texts[i] for i in order)
        if self.groups is None:
            right = _by_text(table, ranked)
        else:
            right = _by_set(table, ranked)
        said = keyed_mistakes(seed, ranked, right, float(self.accuracy))
        labels = [-1] * len(texts)
        for i, label in zip(order, said, strict=True):
            labels[i] = label
        return np.array(renumbered(labels), dtype=np.intp)


def known(labels_of: Mapping[str, frozenset[_T]], text: str) -> frozenset[_T]:
    """Return the labels of a text, or its names.

    Raises
    ------
    ValueError
        If it is not known.
    """
    try:
        return labels_of[text]
    except KeyError:
        raise ValueError(
            f"TruthOracle does not know the text {shorten(text)}. Build it with every "
            "text that may be asked about: TruthOracle(texts, labels)."
        ) from None


def gather(texts: Any, labels: Any) -> dict[str, frozenset[Hashable]]:
    """Collect the known labels of each text.

    Raises
    ------
    TypeError, ValueError
        If they are not texts and as many labels.
    """
    gathered: dict[str, set[Hashable]] = {}
    for text, label in labelled(texts, labels):
        mine = gathered.setdefault(text, set())
        if label is not None:
            mine.add(label)
    return {text: frozenset(mine) for text, mine in gathered.items()}


def gather_sets(texts: Any, labels: Any, groups: Any) -> dict[_Sorted, list[int]]:
    """Collect the clusters of each set, in the order of its texts.

    A set that occurs twice, in different clusters, has none.

    Raises
    ------
    TypeError, ValueError
        If they are not texts and as many labels and numbers.
    """
    rows = labelled(texts, labels)
    numbers = np.asarray(groups)
    if numbers.shape != (len(rows),) or numbers.dtype.kind not in "iu":
        raise ValueError(
            f"groups must have one int per text, {len(rows)}, got an array of "
            f"{numbers.dtype} and shape {numbers.shape} instead."
        )
    members: dict[int, list[tuple[str, Hashable]]] = {}
    for number, one in zip(numbers.tolist(), rows, strict=True):
        members.setdefault(number, []).append(one)
    found: dict[_Sorted, list[int]] = {}
    for pairs in members.values():
        pairs.sort(key=lambda pair: pair[0])
        key, clusters = tuple(text for text, _ in pairs), _numbered(pairs)
        agrees = found.setdefault(key, clusters) == clusters
        found[key] = clusters if agrees else [-1] * len(key)
    return found


def labelled(texts: Any, labels: Any) -> list[tuple[str, Hashable]]:
    """Pair texts with their labels, None for unknown."""
    known_texts = as_texts(texts, "texts")
    values = labels.tolist() if hasattr(labels, "tolist") else list(labels)
    if len(values) != len(known_texts):
        raise ValueError(
            f"labels must have one label per text, {len(known_texts)}, got "
            f"{len(values)} instead."
        )
    for i, label in enumerate(values):
        try:
            hash(label)
        except TypeError:
            raise TypeError(
                f"labels must be hashable, got {type(label).__name__} at index {i}: "
                f"{shorten(label)}."
            ) from None
    values = [None if is_unlabelled(label) else label for label in values]
    return list(zip(known_texts, values, strict=True))


def _numbered(rows: Sequence[tuple[str, Hashable]]) -> list[int]:
    numbers: dict[Hashable, int] = {None: -1}
    return [numbers.setdefault(label, len(numbers) - 1) for _, label in rows]


def _by_text(table: Mapping[str, frozenset[Hashable]], ranked: _Sorted) -> list[int]:
    """Give the clusters of texts that have the same labels in every set."""
    labels = [known(table, text) for text in ranked]
    return _numbered(
        [
            (text, next(iter(mine)) if len(mine) == 1 else None)
            for text, mine in zip(ranked, labels, strict=True)
        ]
    )


def _by_set(table: Mapping[_Sorted, list[int]], ranked: _Sorted) -> list[int]:
    if ranked and ranked not in table:
        raise ValueError(
            f"TruthOracle does not know a set of these {len(ranked)} texts: "
            f"{shorten(list(ranked))}. Build it with every set that may be asked "
            "about: TruthOracle.from_sets(sets, y)."
        )
    return table.get(ranked, [])
