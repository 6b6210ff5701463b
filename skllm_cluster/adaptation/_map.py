"""A linear map of embeddings, and an embedder that ends in one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_array

from .._validation import as_texts, distinct, encode

__all__ = ["LinearMap", "MappedEmbedder"]


@dataclass(frozen=True, eq=False)
class LinearMap:
    r"""Turn vectors by I + A, A of low rank; each keeps its length.

    Parameters
    ----------
    left : ndarray of shape (d, r)
        First factor of A.
    right : ndarray of shape (r, d)
        Second factor of A. With r = 0, the map is the identity.
    regularization : float, default=inf
        The :math:`\lambda` that A was learnt with; infinite for the identity.

    See Also
    --------
    MetricHead : Learns such a map from answers.

    Notes
    -----
    A row x becomes :math:`\lVert x\rVert\, y / \lVert y\rVert` with :math:`y = x
    (I + A)`. Vectors of length 1 keep length 1, and others still differ in length as
    they did, so that a distance means after the map what it meant before. The identity
    returns what it is given to the last bit.

    Examples
    --------
    >>> import numpy as np
    >>> from skllm_cluster.adaptation import LinearMap
    >>> stretch = LinearMap(np.array([[1.0], [0.0]]), np.array([[2.0, 0.0]]))
    >>> stretch.transform([[1.0, 3.0]]).round(6)  # along (3, 3)
    array([[2.236068, 2.236068]])
    """

    left: NDArray[Any]
    right: NDArray[Any]
    regularization: float = float("inf")

    @classmethod
    def identity(cls, n_dimensions: int) -> LinearMap:
        """Make the map that changes nothing.

        Parameters
        ----------
        n_dimensions : int
            d.

        Returns
        -------
        linear_map : LinearMap
        """
        left = np.zeros((n_dimensions, 0), dtype=np.float32)
        return cls(left, left.T)

    @property
    def is_identity(self) -> bool:
        """Whether the map leaves all vectors as they are."""
        return not self.left.shape[1]

    def transform(self, embeddings: ArrayLike) -> NDArray[Any]:
        """Map vectors.

        Parameters
        ----------
        embeddings : array-like of shape (m, d)

        Returns
        -------
        mapped : ndarray of shape (m, d)
            Of the precision that was given.

        Raises
        ------
        ValueError
            If the vectors are not as long as those that the map was learnt from.
        """
        Z = np.asarray(check_array(embeddings, dtype=[np.float64, np.float32]))
        if Z.shape[1] != len(self.left):
            raise ValueError(
                f"This map is for vectors of {len(self.left)} dimensions, got "
                f"{Z.shape[1]}. Use the embedder that it was learnt with."
            )
        turned = Z + (Z @ self.left.astype(Z.dtype)) @ self.right.astype(Z.dtype)
        before, after = (np.linalg.norm(v, axis=1, keepdims=True) for v in (Z, turned))
        ratio = np.divide(before, after, out=np.ones_like(before), where=after > 0)
        return np.asarray(turned * ratio)


class MappedEmbedder(BaseEstimator):
    """An embedder whose vectors go through a map; what :class:`MetricHead` returns.

    Parameters
    ----------
    embedder : Embedder
        Any object with ``encode``. It is never changed.
    linear_map : LinearMap
        Applied to its vectors.

    See Also
    --------
    MetricHead : Learns the map.

    Notes
    -----
    ``sklearn.base.clone`` shares both the embedder and the map, so no weights are
    copied. A pickle holds the embedder's own pickle and two arrays.

    Examples
    --------
    >>> from skllm_cluster.adaptation import LinearMap, MappedEmbedder
    >>> from skllm_cluster.embedders import HashingEmbedder
    >>> embedder = MappedEmbedder(HashingEmbedder(), LinearMap.identity(256))
    >>> embedder.encode(["card lost"]).shape
    (1, 256)
    """

    def __init__(self, embedder: Any, linear_map: LinearMap):
        self.embedder = embedder
        self.linear_map = linear_map

    def encode(
        self, texts: Sequence[str], groups: Sequence[int] | None = None
    ) -> NDArray[np.float32]:
        """Embed texts.

        Parameters
        ----------
        texts : sequence of str, of length n
        groups : sequence of int of length n, default=None
            Passed to the embedder.

        Returns
        -------
        embeddings : ndarray of float32, shape (n, d)
        """
        given = as_texts(texts, "texts")
        if groups is not None:
            z = self.linear_map.transform(self.embedder.encode(given, groups))
            return z.astype(np.float32)
        # A matrix product may round equal rows differently: each text goes in once.
        first, inverse = distinct(given)
        z = encode(self.embedder, [given[i] for i in first])
        return self.linear_map.transform(z)[inverse].astype(np.float32)

    def __sklearn_clone__(self) -> MappedEmbedder:
        return type(self)(self.embedder, self.linear_map)
