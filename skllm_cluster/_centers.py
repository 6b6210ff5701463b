"""Clusters as the texts nearest to each of a number of centres."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import TransformerMixin
from sklearn.utils.validation import check_is_fitted

from ._inputs import TextsOrEmbeddings
from ._partition import find_centers, nearest
from .smoothing import NeighborSmoother

__all__ = ["ClustersByCenters"]


class ClustersByCenters(TextsOrEmbeddings, TransformerMixin):
    """For an estimator whose clusters, of whatever texts, are those of its centres.

    It has the parameters ``clusterer``, ``smooth_neighbors`` and ``n_jobs``, and a
    ``_seed``.
    """

    clusterer: Any
    smooth_neighbors: int
    n_jobs: int | None
    _seed: int

    def predict(self, X: Any) -> NDArray[np.intp]:
        """Give each text the cluster whose centre is nearest.

        Parameters
        ----------
        X : sequence of str of length m, or array-like of shape (m, d)
            Texts or embeddings, whichever the estimator was fitted on.

        Returns
        -------
        labels : ndarray of int, shape (m,)
            On the training texts, equal to ``labels_``.
        """
        return nearest(self.transform(X), self.cluster_centers_, n_jobs=self.n_jobs)

    def transform(self, X: Any) -> NDArray[Any]:
        """Embed texts as they were embedded for clustering.

        Parameters
        ----------
        X : sequence of str of length m, or array-like of shape (m, d)
            Texts or embeddings, whichever the estimator was fitted on.

        Returns
        -------
        embeddings : ndarray of shape (m, d)
            On the training texts, equal to ``embeddings_``.
        """
        check_is_fitted(self)
        Z = self._embed(X)
        return np.asarray(self._smoother.transform(Z) if self._smoother else Z)

    def _chosen_clusterer(self) -> Any:
        return self.clusterer

    def _cluster(self, Z: NDArray[Any], n_clusters: int) -> NDArray[np.intp]:
        """Cluster embeddings; sets the centres, and what ``transform`` needs."""
        self._smoother, self.embeddings_ = None, Z
        if self.smooth_neighbors:
            self._smoother = NeighborSmoother(self.smooth_neighbors)
            self.embeddings_ = self._smoother.fit_transform(Z)
        self.cluster_centers_ = find_centers(
            self.embeddings_, n_clusters, clusterer=self._chosen_clusterer(),
            seed=self._seed, n_jobs=self.n_jobs,
        )  # fmt: skip
        labels = nearest(self.embeddings_, self.cluster_centers_, n_jobs=self.n_jobs)
        self.n_clusters_ = len(np.unique(labels))
        self._n_features_out = self.embeddings_.shape[1]
        return labels
