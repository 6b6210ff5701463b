"""From sets of texts to labels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["ask_sets"]


def ask_sets(
    oracle: Any, sets: list[list[str]]
) -> tuple[list[NDArray[np.intp]], dict[str, Any]]:
    """Have an oracle cluster sets.

    Parameters
    ----------
    oracle : Oracle
    sets : list of S lists of str

    Returns
    -------
    labels : list of S arrays of int
        -1 for a text that the oracle left out.
    report : dict
        Counts: ``"sets"`` asked about, ``"labelled_sets"``, of which at least two texts
        have a label, ``"texts"`` and ``"labelled_texts"``; and ``"oracle"``, the
        oracle's own report if it has one.

    Raises
    ------
    ValueError
        If the oracle does not return a label for each text of each set, or no set has
        two.
    """
    labels = _checked(oracle, oracle.answer_sets(sets), sets)
    known = np.array([np.count_nonzero(found >= 0) for found in labels], dtype=int)
    report: dict[str, Any] = {
        "sets": len(sets),
        "labelled_sets": int((known > 1).sum()),
        "texts": sum(map(len, sets)),
        "labelled_texts": int(known.sum()),
    }
    if callable(getattr(oracle, "report", None)):
        report["oracle"] = oracle.report()
    return labels, report


def _checked(oracle: Any, answers: Any, sets: list[list[str]]) -> list[Any]:
    found = [np.asarray(labels) for labels in answers]
    sizes = [len(texts) for texts in sets]
    if [labels.shape for labels in found] != [(size,) for size in sizes]:
        raise ValueError(
            f"{type(oracle).__name__}.answer_sets must return a label for each text of "
            f"each of {len(sets)} sets, got {len(found)} arrays, of shapes such as "
            f"{[labels.shape for labels in found[:5]]}."
        )
    for i, labels in enumerate(found):
        if len(labels) and (labels.dtype.kind not in "iu" or labels.min() < -1):
            raise ValueError(
                f"{type(oracle).__name__}.answer_sets must return ints of at least -1, "
                f"got {labels[:5].tolist()} for set {i}."
            )
    return [labels.astype(np.intp) for labels in found]
