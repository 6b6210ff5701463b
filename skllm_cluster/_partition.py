"""From embeddings to centres, and from centres to clusters."""

from __future__ import annotations

from typing import Any

import numpy as np
from joblib import effective_n_jobs
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.metrics import pairwise_distances_argmin
from threadpoolctl import threadpool_limits

__all__ = ["find_centers", "nearest", "nearest_rows"]

# Above this many rows, ten runs of k-means are slow, and mini-batches do as well.
KMEANS_LIMIT = 10_000


def find_centers(
    embeddings: NDArray[Any],
    n_clusters: int,
    *,
    clusterer: Any = None,
    seed: int = 0,
    n_jobs: int | None = None,
) -> NDArray[Any]:
    """Cluster rows, and give the centre of each cluster.

    Parameters
    ----------
    embeddings : ndarray of shape (n, d)
    n_clusters : int
    clusterer : clusterer, default=None
        It is cloned, and told ``n_clusters`` and ``random_state`` if it has them as
        parameters. None: k-means, or mini-batch k-means above 10,000 rows.
    seed : int, default=0
    n_jobs : int, default=None
        Threads.

    Returns
    -------
    centers : ndarray of shape (K, d)
        The clusterer's own, or else the mean of each cluster. Rows that it calls
        noise (-1) have no part in them.

    Raises
    ------
    ValueError
        If all is noise.
    """
    if clusterer is not None:
        model = clone(clusterer)
        wanted = {"n_clusters": n_clusters, "random_state": seed}
        known = model.get_params()
        model.set_params(**{k: v for k, v in wanted.items() if k in known})
    elif len(embeddings) > KMEANS_LIMIT:
        model = MiniBatchKMeans(
            n_clusters, n_init=3, batch_size=4096, random_state=seed
        )
    else:
        # As many starts as the paper's version of scikit-learn made.
        model = KMeans(n_clusters, n_init=10, random_state=seed)
    with threadpool_limits(effective_n_jobs(n_jobs)):
        labels = model.fit_predict(embeddings)
    if hasattr(model, "cluster_centers_"):
        return np.asarray(model.cluster_centers_)
    clusters = np.unique(labels[labels >= 0])
    if not len(clusters):
        raise ValueError(f"{type(model).__name__} found no cluster, only noise.")
    return np.stack([embeddings[labels == k].mean(axis=0) for k in clusters])


def nearest(
    embeddings: NDArray[Any], centers: NDArray[Any], *, n_jobs: int | None = None
) -> NDArray[np.intp]:
    """Give the centre nearest to each row.

    Parameters
    ----------
    embeddings : ndarray of shape (n, d)
    centers : ndarray of shape (K, d)
    n_jobs : int, default=None
        Threads.

    Returns
    -------
    labels : ndarray of int, shape (n,)
    """
    with threadpool_limits(effective_n_jobs(n_jobs)):
        return np.asarray(pairwise_distances_argmin(embeddings, centers))


def nearest_rows(
    embeddings: NDArray[Any], training: NDArray[Any], *, n_jobs: int | None = None
) -> NDArray[np.intp]:
    """Give the training row nearest to each row, itself if it is there.

    Parameters
    ----------
    embeddings : ndarray of shape (m, d)
    training : ndarray of shape (n, d)
    n_jobs : int, default=None
        Threads.

    Returns
    -------
    rows : ndarray of int, shape (m,)
        From 0 to n - 1.
    """
    # Rounding can make a near duplicate the nearest of a row that is there itself.
    there = {row.tobytes(): i for i, row in enumerate(training + 0.0)}
    rows = np.array([there.get(row.tobytes(), -1) for row in embeddings + 0.0])
    new = rows < 0
    if new.any():
        rows[new] = nearest(embeddings[new], training, n_jobs=n_jobs)
    return rows.astype(np.intp)
