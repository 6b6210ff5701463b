"""From X to texts and embeddings."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.utils.validation import validate_data

from ._validation import as_texts, check_enough, encode, looks_numeric

__all__ = ["TextsOrEmbeddings", "read_input"]


class TextsOrEmbeddings:
    """Tags of an estimator that takes texts or a 2-D array of embeddings."""

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()  # type: ignore[misc]
        tags.input_tags.string = True
        tags.input_tags.two_d_array = True
        return tags


def read_input(
    estimator: Any,
    X: Any,
    texts: Any,
    *,
    default: Any,
    trainer: Any = None,
) -> tuple[list[str], NDArray[Any], Any]:
    """Check X and embed it, before anything is asked.

    Parameters
    ----------
    estimator : estimator
        With ``embedder``, ``oracle`` and ``n_clusters``.
    X : sequence of str of length n, or array-like of shape (n, d)
        The texts, or their embeddings.
    texts : sequence of str of length n, or None
        The texts, where X holds their embeddings.
    default : callable
        Makes the embedder where there is none.
    trainer : FineTuner, default=None
        Asked whether it can train the embedder. None: nobody will.

    Returns
    -------
    texts : list of str
        Empty where X holds embeddings and there are no texts.
    embeddings : ndarray of shape (n, d)
    embedder : Embedder or None
        None where X holds embeddings.

    Raises
    ------
    TypeError, ValueError
        If X, or the embedder, will not do.
    """
    if looks_numeric(X):
        if estimator.oracle is not None:
            raise ValueError(
                "X is an array of embeddings, which no adapter can train. Pass the "
                "texts as X, with an embedder, or oracle=None to cluster the "
                "embeddings as they are."
            )
        Z = validate_data(estimator, X, dtype=[np.float32, np.float64])
        check_enough(len(Z), estimator.n_clusters)
        return as_texts(texts, "texts") if texts is not None else [], Z, None
    if texts is not None:
        raise ValueError("texts= is for an X of embeddings; here X holds texts.")
    given = as_texts(X)
    check_enough(len(given), estimator.n_clusters)
    embedder = estimator.embedder
    if embedder is None:
        embedder = default()
    elif hasattr(embedder, "get_params"):
        embedder = clone(embedder)
    if hasattr(trainer, "check"):
        trainer.check(embedder)
    return given, encode(embedder, given), embedder
