"""Any transformer or function that makes vectors of texts, as an embedder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags
from sklearn.utils.validation import check_is_fitted

from .._validation import as_texts, as_vectors, shorten

__all__ = ["BlackBoxEmbedder"]


class BlackBoxEmbedder(BaseEstimator):
    """Embed texts by a scikit-learn transformer, or by a function.

    The estimators make one of these by themselves where their ``embedder`` has no
    ``encode`` but is one of the two. Its vectors cannot be trained.

    Parameters
    ----------
    transformer : transformer or callable
        A transformer or pipeline, fitted or not, whose ``transform`` turns a list of
        str into an array or a sparse matrix of shape (n, d). Or a function that does
        that, and returns an array, a list of vectors, a data frame or a tensor.

    Attributes
    ----------
    transformer_ : transformer or callable
        The fitted one.
    n_dimensions_ : int
        d.

    See Also
    --------
    OpenAIEmbedder : A model behind the OpenAI embeddings API.
    SentenceTransformerEmbedder : A pretrained model on this machine.

    Notes
    -----
    An unfitted transformer is fitted on a copy, once, on the texts that an estimator is
    fitted on. What is fitted stays as it is, in clones too, which hold it frozen: its
    parameters cannot be searched over. ``sklearn.base.clone`` of an estimator unfits a
    transformer that is given to it without this class, as in a search.

    Sparse vectors are made dense, up to 2 GiB of them; end a pipeline with a
    ``TruncatedSVD`` in any case, since distances in thousands of dimensions say little.

    Examples
    --------
    >>> from sklearn.decomposition import TruncatedSVD
    >>> from sklearn.feature_extraction.text import TfidfVectorizer
    >>> from sklearn.pipeline import make_pipeline
    >>> from skllm_cluster.embedders import BlackBoxEmbedder
    >>> texts = ["card lost", "lost my card", "card fees", "hello"]
    >>> lsa = make_pipeline(TfidfVectorizer(), TruncatedSVD(2, random_state=0))
    >>> BlackBoxEmbedder(lsa).fit(texts).encode(["the card is lost"]).shape
    (1, 2)
    >>> BlackBoxEmbedder(lambda texts: [[len(t), 1] for t in texts]).encode(texts)
    array([[ 9.,  1.], [12.,  1.], [ 9.,  1.], [ 5.,  1.]], dtype=float32)
    """

    def __init__(self, transformer: Any):
        self.transformer = transformer

    def fit(self, texts: Sequence[str], y: Any = None) -> BlackBoxEmbedder:
        """Fit the transformer, unless there is nothing to fit.

        Parameters
        ----------
        texts : sequence of str
        y : ignored
            There by convention.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            If the texts will not do, or what was given is no transformer and no
            function.
        """
        given = as_texts(texts, "texts")
        found = self._given()
        if not _is_fitted(found):
            found = clone(found, safe=False).fit(given)
        self.transformer_ = found
        self.__dict__.pop("n_dimensions_", None)
        return self

    def encode(
        self, texts: Sequence[str], groups: Sequence[int] | None = None
    ) -> NDArray[np.float32]:
        """Embed texts.

        Parameters
        ----------
        texts : sequence of str, of length n
        groups : ignored
            Every text stands alone.

        Returns
        -------
        embeddings : ndarray of float32, shape (n, d)

        Raises
        ------
        NotFittedError
            If there is a transformer that has to be fitted first.
        TypeError, ValueError
            If the texts will not do, or what comes out is no finite number for each
            text and dimension, or of another length than before.
        """
        given = as_texts(texts, "texts")
        if not hasattr(self, "transformer_"):
            if not _is_fitted(self._given()):
                raise NotFittedError(
                    f"BlackBoxEmbedder holds a {type(self.transformer).__name__} that "
                    "is not fitted. Call fit(texts) first."
                )
            self.transformer_ = self.transformer
        made_by = _function(self.transformer_)
        who = _name(self.transformer_)
        found = as_vectors(made_by(given), len(given), who).astype(
            np.float32, copy=False
        )
        expected = self.__dict__.setdefault("n_dimensions_", found.shape[1])
        if found.shape[1] != expected:
            raise ValueError(
                f"{who} must return vectors of one length, got {found.shape[1]}, after "
                f"{expected} for earlier texts. Fit it before, rather than in every "
                "call."
            )
        return found

    def _given(self) -> Any:
        given = self.transformer
        can = callable(given) or callable(getattr(given, "transform", None))
        if isinstance(given, type) or not can:
            raise TypeError(
                "transformer must be a scikit-learn transformer, an instance of one, "
                f"or a function from texts to vectors, got {shorten(given)}."
            )
        return given

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "transformer_") or _is_fitted(self._given())

    def __sklearn_clone__(self) -> BlackBoxEmbedder:
        held = self.__dict__.get("transformer_", self.transformer)
        if _needs_fit(held) and _is_fitted(held):
            return type(self)(FrozenEstimator(held))
        return type(self)(clone(self.transformer, safe=False))


def _function(transformer: Any) -> Callable[[list[str]], Any]:
    made_by: Any = getattr(transformer, "transform", transformer)
    return made_by  # type: ignore[no-any-return]


def _name(transformer: Any) -> str:
    """Say who made the vectors, in a message."""
    if isinstance(transformer, FrozenEstimator):
        transformer = transformer.estimator
    if hasattr(transformer, "transform"):
        return f"{type(transformer).__name__}.transform"
    return f"The embedder {getattr(transformer, '__name__', repr(transformer))}"


def _needs_fit(transformer: Any) -> bool:
    """Tell whether fitting changes anything; a frozen one is fitted for good."""
    if not hasattr(transformer, "fit") or isinstance(transformer, FrozenEstimator):
        return False
    if isinstance(transformer, Pipeline):  # which says that of itself in any case
        return any(map(_needs_fit, _steps(transformer)))
    tags = hasattr(transformer, "__sklearn_tags__")
    return bool(get_tags(transformer).requires_fit) if tags else True


def _is_fitted(transformer: Any) -> bool:
    if not _needs_fit(transformer):
        return True
    if isinstance(transformer, Pipeline):  # which looks at its last step only
        return all(map(_is_fitted, _steps(transformer)))
    if not hasattr(transformer, "__sklearn_tags__"):
        return any(v.endswith("_") and v[0] != "_" for v in vars(transformer))
    try:
        check_is_fitted(transformer)
    except NotFittedError:
        return False
    return True


def _steps(pipeline: Pipeline) -> list[Any]:
    return [step for _, step in pipeline.steps if step not in (None, "passthrough")]
