"""From X to texts and embeddings."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone
from sklearn.utils.validation import validate_data

from ._validation import (
    as_texts,
    check_embedder,
    check_enough,
    encode,
    looks_numeric,
)

__all__ = ["TextsOrEmbeddings", "read_input"]


class TextsOrEmbeddings:
    """Tags of an estimator that takes texts or a 2-D array of embeddings."""

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()  # type: ignore[misc]
        tags.input_tags.string = True
        tags.input_tags.two_d_array = True
        return tags

    def _embed(self, X: Any) -> NDArray[Any]:
        """Turn texts, or embeddings, into rows like those of the fit; (m, d)."""
        if hasattr(self, "embedder_"):
            return encode(self.embedder_, as_texts(X))
        kinds = [np.float32, np.float64]
        Z = np.asarray(validate_data(self, X, dtype=kinds, reset=False))
        for learned in getattr(self, "_maps", ()):
            Z = learned.transform(Z)
        return Z


def read_input(
    estimator: Any,
    X: Any,
    texts: Any,
    *,
    default: Any,
    wrap: Any = None,
    at_least: int = 1,
    trainer: Any = None,
    asks: bool = False,
) -> tuple[list[str], NDArray[Any], Any]:
    """Check X and embed it, before anything is asked.

    Parameters
    ----------
    estimator : estimator
        With an ``embedder``.
    X : sequence of str of length n, or array-like of shape (n, d)
        The texts, or their embeddings.
    texts : sequence of str of length n, or None
        The texts, where X holds their embeddings.
    default : callable
        Makes the embedder where there is none.
    wrap : callable, default=None
        Makes an embedder of a transformer or a function. None: they are refused.
    at_least : int, default=1
        How many texts there have to be: the number of clusters.
    trainer : adapter, default=None
        Its ``check`` is asked whether it can train the embedder, or None where X holds
        embeddings. Those it can only have if it has an attribute ``needs_module`` that
        is False. None: nothing will be trained.
    asks : bool, default=False
        Whether an oracle will be asked about the texts, so that they have to be there.
        With a trainer, it will be in any case.

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
        if trainer is not None and getattr(trainer, "needs_module", True):
            raise ValueError(
                "X is an array of embeddings, which no adapter can train. Pass the "
                "texts as X, with an embedder, or oracle=None to cluster the "
                "embeddings as they are."
            )
        Z = validate_data(estimator, X, dtype=[np.float32, np.float64])
        check_enough(len(Z), at_least)
        if texts is None and (asks or trainer is not None):
            raise ValueError("X holds embeddings: pass texts= to ask about as well.")
        if hasattr(trainer, "check"):
            trainer.check(None)
        return _texts_of(Z, texts), Z, None
    if texts is not None:
        raise ValueError("texts= is for an X of embeddings; here X holds texts.")
    given = as_texts(X)
    check_enough(len(given), at_least)
    embedder = _as_embedder(estimator.embedder, default, wrap)
    if hasattr(trainer, "check"):
        trainer.check(embedder)
    if isinstance(embedder, BaseEstimator) and hasattr(embedder, "fit"):
        embedder.fit(given)
    return given, encode(embedder, given), embedder


def _as_embedder(given: Any, default: Any, wrap: Any) -> Any:
    """Make the embedder, as a clone where there can be one."""
    if given is None:
        return default()
    check_embedder(given, also=() if wrap is None else ("transform", "__call__"))
    if not callable(getattr(given, "encode", None)):
        return wrap(given)
    return clone(given) if hasattr(given, "get_params") else given


def _texts_of(Z: NDArray[Any], texts: Any) -> list[str]:
    if texts is None:
        return []
    given = as_texts(texts, "texts")
    if len(given) != len(Z):
        raise ValueError(
            f"texts must be one for each of the {len(Z)} rows of X, got {len(given)}."
        )
    return given
