"""What the neighbours of a vector tell: better clusters for no question at all."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_matrix, hstack
from sklearn.base import (
    BaseEstimator,
    ClusterMixin,
    OneToOneFeatureMixin,
    TransformerMixin,
)
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import pairwise_distances_argmin
from sklearn.neighbors import NearestNeighbors
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

__all__ = ["ConsensusKMeans", "NeighborSmoother"]


class ConsensusKMeans(ClusterMixin, BaseEstimator):
    r"""K-means on what several runs agree on, with raw and with smoothed vectors.

    Parameters
    ----------
    n_clusters : int, default=8
        Number of clusters, of every run and of the result.
    n_runs : int, default=6
        Runs of k-means on the vectors, and as many on the smoothed ones.
    n_neighbors : int, default=10
        How many rows are averaged by :class:`NeighborSmoother`.
    max_rows : int, default=10_000
        Where there are more rows, the runs see so many of them, drawn at random.
    random_state : int, RandomState instance or None, default=None
        Draws rows and starts.

    Attributes
    ----------
    cluster_centers_ : ndarray of shape (n_clusters, d)
        Mean vector of each cluster of the consensus. Fewer rows than ``n_clusters``
        where so few clusters were found, which k-means warns of.
    labels_ : ndarray of int, shape (n,)
        The centre nearest to each training row.
    n_features_in_ : int
        Width of the vectors seen during ``fit``.

    See Also
    --------
    NeighborSmoother : Changes the vectors themselves.

    Notes
    -----
    With :math:`c_r(i)` the cluster of row i in run r of R, two rows are as far from one
    another as the share of runs that part them: k-means on the concatenated indicators
    of the clusters :math:`c_1(i), \dots, c_R(i)` is a consensus of the runs [1]_. The
    result is then read as centres in the space of the vectors, and each row goes to the
    nearest one: new rows need neither the runs nor the neighbours.

    Random starts lead k-means to poor optima where there are many clusters. Smoothing
    helps there, but loses where neighbours seldom share a class. The consensus had most
    of the gain, and no loss beyond the noise, on the corpora measured: see the
    documentation.

    It takes one to three times as long as k-means with ten starts. The search for
    neighbours takes time quadratic in the rows, up to ``max_rows``; a rare cluster may
    be absent from the rows drawn beyond that.

    References
    ----------
    .. [1] A. Strehl, J. Ghosh. Cluster Ensembles: A Knowledge Reuse Framework for
       Combining Multiple Partitions. JMLR 3, 2002.

    Examples
    --------
    >>> import numpy as np
    >>> from skllm_cluster.smoothing import ConsensusKMeans
    >>> z = np.array([[0.0], [1.0], [2.0], [9.0], [10.0], [11.0]])
    >>> model = ConsensusKMeans(2, n_neighbors=3, random_state=0).fit(z)
    >>> np.sort(model.cluster_centers_.ravel())
    array([ 1., 10.])
    >>> bool(model.predict([[3.0]])[0] == model.labels_[0])
    True
    """

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        n_runs: int = 6,
        n_neighbors: int = 10,
        max_rows: int = 10_000,
        random_state: Any = None,
    ):
        self.n_clusters = n_clusters
        self.n_runs = n_runs
        self.n_neighbors = n_neighbors
        self.max_rows = max_rows
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: Any = None) -> ConsensusKMeans:
        """Find the centres.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Vectors.
        y : ignored

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If there are fewer rows, or ``max_rows``, than clusters; if a number is
            below one.
        """
        Z = np.asarray(validate_data(self, X, dtype=[np.float32, np.float64]))
        self._check(len(Z))
        rng = check_random_state(self.random_state)
        rows = Z
        if len(Z) > self.max_rows:
            rows = Z[np.sort(rng.choice(len(Z), self.max_rows, replace=False))]
        smoothed = NeighborSmoother(self.n_neighbors).fit_transform(rows)
        seeds = rng.randint(2**31 - 1, size=self.n_runs + 1)
        runs = [
            _indicators(_run(view, self.n_clusters, int(seed)))
            for view in (rows, smoothed)
            for seed in seeds[1:]
        ]
        last = KMeans(self.n_clusters, n_init=10, random_state=int(seeds[0]))
        self.cluster_centers_ = _means(rows, last.fit_predict(hstack(runs, "csr")))
        if len(rows) < len(Z):
            self.cluster_centers_ = _means(Z, self._nearest(Z))
        self.labels_ = self._nearest(Z)
        return self

    def predict(self, X: ArrayLike) -> NDArray[np.intp]:
        """Give each row the cluster whose centre is nearest.

        Parameters
        ----------
        X : array-like of shape (m, d)
            Vectors, of training rows or new ones.

        Returns
        -------
        labels : ndarray of int, shape (m,)
            On the training rows, equal to ``labels_``.
        """
        check_is_fitted(self)
        return self._nearest(
            np.asarray(
                validate_data(self, X, dtype=[np.float32, np.float64], reset=False)
            )
        )

    def _nearest(self, Z: NDArray[Any]) -> NDArray[np.intp]:
        return np.asarray(pairwise_distances_argmin(Z, self.cluster_centers_))

    def _check(self, n_rows: int) -> None:
        for name in ("n_clusters", "n_runs", "n_neighbors", "max_rows"):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"{name} must be at least 1, got {getattr(self, name)}."
                )
        for name, limit in (("rows", n_rows), ("max_rows", self.max_rows)):
            if limit < self.n_clusters:
                raise ValueError(
                    f"n_clusters={self.n_clusters} needs at least as many {name}, "
                    f"got {limit}."
                )


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
        self.smoothed_: NDArray[Any] = self._average(Z, Z)
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
        return self._average(Z, self.smoothed_)

    def _average(self, X: NDArray[Any], values: NDArray[Any]) -> NDArray[Any]:
        return _mean(values, self._neighbors.kneighbors(X, return_distance=False))


def _run(Z: NDArray[Any], k: int, seed: int) -> NDArray[np.intp]:
    """Cluster rows (n, d) from one start: labels (n,)."""
    with warnings.catch_warnings():
        # Smoothed rows can coincide where the rows do not. The last run would tell.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return np.asarray(KMeans(k, n_init=1, random_state=seed).fit_predict(Z))


def _indicators(labels: NDArray[np.intp]) -> Any:
    """One row per text, one column per cluster: a sparse 0/1 matrix (n, K)."""
    n = len(labels)
    return csr_matrix((np.ones(n, np.float32), labels, np.arange(n + 1)))


def _means(Z: NDArray[Any], labels: NDArray[np.intp]) -> NDArray[Any]:
    """Mean row (K, d) of each cluster that has any."""
    found, labels = np.unique(labels, return_inverse=True)
    sums = _indicators(labels).T @ Z
    sizes = np.bincount(labels, minlength=len(found))[:, None]
    return np.asarray(sums / sizes, dtype=Z.dtype)


def _mean(values: NDArray[Any], near: NDArray[np.intp]) -> NDArray[Any]:
    """Mean of the values (n, d) at each row of near (m, k)."""
    total = np.zeros((len(near), values.shape[1]), dtype=values.dtype)
    for column in near.T:  # one neighbour at a time: (m, d), never (m, k, d)
        total += values[column]
    return np.asarray(total / near.shape[1])
