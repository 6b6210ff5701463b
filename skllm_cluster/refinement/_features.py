"""What is known of a text before anything is asked: where it lies, and among whom."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, diags_array
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import normalize

__all__ = ["Features"]

Ints = NDArray[np.intp]

N_NEIGHBORS = 10
# Among few texts fewer are neighbours, lest all have the same.
MOST_NEIGHBORS = 0.2


class Features:
    """A vector beside the mean of its nearest neighbours, each of length 1.

    Parameters
    ----------
    Z : ndarray of shape (n, d)
        Embeddings of the training texts.

    Attributes
    ----------
    unit : ndarray of shape (n, d)
        Embeddings of length 1.
    smooth : ndarray of shape (n, d)
        Mean of the 10 nearest, itself included, of length 1. Of fewer than 50 texts, a
        fifth are near.
    matrix : ndarray of shape (n, 2 d)
        Both, side by side.
    first : ndarray of int, shape (n,)
        The first row with the same embedding, so that equal texts stay together.
    """

    def __init__(self, Z: NDArray[Any]):
        self.unit = normalize(np.asarray(Z, dtype=np.float32))
        self._search = NearestNeighbors(
            n_neighbors=min(N_NEIGHBORS, math.ceil(MOST_NEIGHBORS * len(Z))),
            algorithm="brute",
        ).fit(self.unit)
        distance, self._near = self._search.kneighbors(self.unit)
        self._cosine = 1 - distance**2 / 2
        self.smooth = self._mean(self._near)
        self.matrix = np.hstack([self.unit, self.smooth])
        self._place: dict[bytes, int] = {}
        keys = (row.tobytes() for row in self.unit)
        self.first = np.array(
            [self._place.setdefault(k, i) for i, k in enumerate(keys)]
        )

    def of(self, Z: NDArray[Any]) -> tuple[NDArray[Any], Ints, Ints]:
        """Give the features of any texts, their nearest training rows, and their own.

        Parameters
        ----------
        Z : ndarray of shape (m, d)

        Returns
        -------
        matrix : ndarray of shape (m, 2 d)
        near : ndarray of int, shape (m, k)
            The nearest first.
        own : ndarray of int, shape (m,)
            The training row with this embedding; -1 for others.
        """
        unit = normalize(np.asarray(Z, dtype=np.float32))
        near = self._search.kneighbors(unit, return_distance=False)
        own = np.array([self._place.get(row.tobytes(), -1) for row in unit])
        # A text may come out a little different in another batch.
        gap = np.abs(unit - self.unit[near[:, 0]]).max(axis=1)
        own = np.where((own < 0) & (gap < 1e-5), near[:, 0], own)
        return np.hstack([unit, self._mean(near)]), near, own

    def settled(self, rows: Sequence[int]) -> Ints:
        """Give the rows that need no question once these were asked about.

        Parameters
        ----------
        rows : sequence of int

        Returns
        -------
        settled : ndarray of int
            All rows with the same embeddings as those; and of other rows with the same
            embedding all but the first.
        """
        asked = np.isin(self.first, self.first[np.array(rows, dtype=np.intp)])
        again = self.first != np.arange(len(self.first))
        return np.flatnonzero(asked | again)

    def graph(self) -> Any:
        """Give the graph of neighbours, normalised by the degrees of both ends.

        Returns
        -------
        graph : sparse array of shape (n, n)
            Symmetric; an edge weighs the third power of the cosine.
        """
        n, k = self._near.shape
        i, j = np.repeat(np.arange(n), k), self._near.ravel()
        weight = np.maximum(self._cosine.ravel(), 0) ** 3 * (i != j)
        graph = coo_array((weight, (i, j)), shape=(n, n)).tocsr()
        graph = graph.maximum(graph.T)
        degree = np.asarray(graph.sum(axis=1)).ravel()
        scale = diags_array(1 / np.sqrt(np.maximum(degree, 1e-9)))
        return (scale @ graph @ scale).astype(np.float32)

    def nearest_answers(self, rows: Ints, said: NDArray[np.bool_]) -> Any:
        """Say of which texts most of the answers nearby say something; (n,) bool.

        Parameters
        ----------
        rows : ndarray of int, shape (m,)
            Texts that were asked about.
        said : ndarray of bool, shape (m,)
        """
        votes = np.zeros((len(self.unit), 2), dtype=np.float32)
        np.add.at(votes, (rows, said.astype(np.intp)), 1.0)
        nearby = self.graph() @ votes + 2 * votes  # its own answer above all
        return nearby[:, 1] > nearby[:, 0]

    def _mean(self, near: Ints) -> NDArray[Any]:
        total = np.zeros((len(near), self.unit.shape[1]), dtype=np.float32)
        for column in near.T:  # one neighbour at a time: (m, d), never (m, k, d)
            total += self.unit[column]
        return np.asarray(normalize(total))
