"""Average each vector with its neighbours: better clusters for no question at all."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.neighbors import NearestNeighbors
from sklearn.utils.validation import check_is_fitted, validate_data

__all__ = ["NeighborSmoother"]


class NeighborSmoother(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    r"""Replace each vector by the mean of its nearest neighbours, twice.

    Parameters
    ----------
    n_neighbors : int, default=10
        How many rows of the training data are averaged, a training row itself
        included. Fewer if there are fewer rows.

    Attributes
    ----------
    smoothed_ : ndarray of shape (n, d)
        Training rows after the first averaging.

    Notes
    -----
    With :math:`N(z)` the nearest training rows of z,

    .. math:: s(z) = \frac1{|N(z)|} \sum_{j \in N(z)} \bar z_j, \qquad
        \bar z_j = \frac1{|N(z_j)|} \sum_{l \in N(z_j)} z_l .

    The same formula serves training rows and new ones, so that ``transform`` of a
    training row gives what ``fit_transform`` gave. Topics whose texts lie close
    together gain; where neighbours seldom share a group, it can lose: see the
    benchmark tables in the documentation.

    Examples
    --------
    >>> import numpy as np
    >>> from skllm_cluster.smoothing import NeighborSmoother
    >>> z = np.array([[0.0], [1.0], [9.0], [10.0]])
    >>> NeighborSmoother(n_neighbors=2).fit_transform(z).ravel()
    array([0.5, 0.5, 9.5, 9.5])
    """

    def __init__(self, n_neighbors: int = 10):
        self.n_neighbors = n_neighbors

    def fit(self, X: ArrayLike, y: Any = None) -> NeighborSmoother:
        """Average the training rows once.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Vectors.
        y : ignored

        Returns
        -------
        self
        """
        Z = np.asarray(validate_data(self, X, dtype=[np.float32, np.float64]))
        if self.n_neighbors < 1:
            raise ValueError(f"n_neighbors must be at least 1, got {self.n_neighbors}.")
        self._neighbors = NearestNeighbors(
            n_neighbors=min(self.n_neighbors, len(Z)), algorithm="brute"
        ).fit(Z)
        self.smoothed_: NDArray[Any] = self._mean(Z, Z)
        return self

    def transform(self, X: ArrayLike) -> NDArray[Any]:
        """Average over the neighbours of each row.

        Parameters
        ----------
        X : array-like of shape (m, d)
            Vectors, of training rows or new ones.

        Returns
        -------
        smoothed : ndarray of shape (m, d)
        """
        check_is_fitted(self)
        Z = np.asarray(
            validate_data(self, X, dtype=[np.float32, np.float64], reset=False)
        )
        return self._mean(Z, self.smoothed_)

    def _mean(self, X: NDArray[Any], values: NDArray[Any]) -> NDArray[Any]:
        near = self._neighbors.kneighbors(X, return_distance=False)  # (m, k)
        total = np.zeros((len(X), values.shape[1]), dtype=values.dtype)
        for column in near.T:  # one neighbour at a time: (m, d), never (m, k, d)
            total += values[column]
        return np.asarray(total / near.shape[1])
