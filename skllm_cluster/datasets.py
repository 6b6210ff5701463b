"""Labelled texts to try the estimators on, shipped with the library."""

from __future__ import annotations

import csv
from importlib.resources import files
from typing import Literal, overload

import numpy as np
from numpy.typing import NDArray

__all__ = ["load_support_messages"]

_LABELS = ("topic", "mood")


@overload
def load_support_messages(*, return_labels: Literal[False] = ...) -> list[str]: ...
@overload
def load_support_messages(
    *, return_labels: Literal["topic", "mood"]
) -> tuple[list[str], NDArray[np.str_]]: ...
@overload
def load_support_messages(
    *, return_labels: Literal[True]
) -> tuple[list[str], dict[str, NDArray[np.str_]]]: ...
def load_support_messages(
    *, return_labels: bool | str = False
) -> list[str] | tuple[list[str], NDArray[np.str_] | dict[str, NDArray[np.str_]]]:
    """Load 600 short messages to the support desk of an online shop.

    Each message has a topic, what it is about (account, advice, app, billing,
    delivery, product_fault, returns or subscription), and a mood, how it is
    said (angry, calm, confused, grateful or worried).

    Parameters
    ----------
    return_labels : bool or {'topic', 'mood'}, default=False
        Which labels to return with the texts: none, all of them, or one kind.

    Returns
    -------
    texts : list of str of length 600
        The messages, in a fixed shuffled order.
    labels : ndarray of str of shape (600,), or dict of str to such an ndarray
        The labels of the texts, in the same order. An array if
        ``return_labels`` names one kind, a dict with the keys ``'topic'`` and
        ``'mood'`` if it is True, and not returned if it is False.

    Raises
    ------
    ValueError
        If ``return_labels`` is none of these.

    Notes
    -----
    The messages are made up. The authors of this library wrote them; no
    customer ever did, and the shop and its products do not exist.

    The same texts have two right clusterings, one by topic and one by mood,
    and every pair of the two occurs about fifteen times. No algorithm can tell
    from the texts alone which one you mean: that has to be said.

    Examples
    --------
    >>> from skllm_cluster.datasets import load_support_messages
    >>> texts, moods = load_support_messages(return_labels="mood")
    >>> len(texts)
    600
    >>> print(*sorted(set(moods)))
    angry calm confused grateful worried
    """
    if not isinstance(return_labels, bool) and return_labels not in _LABELS:
        raise ValueError(
            "return_labels must be True, False, 'topic' or 'mood', "
            f"got {return_labels!r}."
        )
    source = files("skllm_cluster") / "data" / "support_messages.csv"
    rows = list(csv.DictReader(source.read_text(encoding="utf-8").splitlines()))
    texts = [row["text"] for row in rows]
    if return_labels is False:
        return texts
    labels = {kind: np.array([row[kind] for row in rows]) for kind in _LABELS}
    return texts, labels if return_labels is True else labels[return_labels]
