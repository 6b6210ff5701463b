"""What refining found, for the texts it was done with and for others."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._distil import Distilled
from ._features import Features
from ._interview import Interview
from ._selection import least_certain
from ._settling import ask_which_are_one, grouped, join, merge_to, split_to

__all__ = ["Refinement", "settle"]

Ints = NDArray[np.intp]
Floats = NDArray[np.float64]


class Refinement:
    """Classes found by asking, and who is in them.

    Parameters
    ----------
    features : Features
        Of the training texts.
    found : Distilled or None
        What answers say of all texts; None if they are not kept.
    merged : ndarray of int, shape (G,)
        The number of each class after mergers.

    Attributes
    ----------
    labels_ : ndarray of int, shape (n,)
        Cluster of each text, from 0 to ``n_clusters_`` - 1.
    n_clusters_ : int
    names_ : list of str or None
        What each cluster is called; None if its class was not named.
    exemplars_ : list of list of int
        Rows of texts of each cluster that are most certain.
    kept_ : bool
        Whether ``labels_`` come of the answers. If not, they are those of the clusters
        that nothing was asked for.
    nowhere_ : ndarray of bool, shape (n,)
        Texts that belong to none of the classes, as far as answers about them and
        their neighbours say.
    rows_, answers_ : ndarray of int, shape (m,)
        The texts asked about, and the class that each was said to be of; -2: none.
    report : dict
        ``"kind"`` of options; ``"asked"`` and ``"left"`` questions, by kind
        ``"proposals"``, ``"choices"``, ``"checks"`` and ``"merges"``, and how many were
        ``"unusable"``; ``"none"``, texts that fitted no class; ``"classes"`` that were
        looked at; ``"accuracy"``, the share of right answers as far as the classifier
        can tell; ``"consistency"``, that share by ``"again"`` of ``"checked"`` answers
        that were the same when asked for again; ``"agreement"`` of answers with
        classifiers that did not see them, and ``"base_agreement"`` with the clusters
        that nothing was asked for, and the ``"p_value"`` of the gain; ``"kept"``, and
        with what ``"confidence"``.

    See Also
    --------
    Refiner : Makes it.

    Examples
    --------
    >>> import numpy as np
    >>> from skllm_cluster.oracles import TruthOracle
    >>> from skllm_cluster.refinement import Refiner
    >>> colours = [("red", 0.0), ("blue", 0.3), ("green", 3.1)]
    >>> texts = [f"{name} {i}" for name, _ in colours for i in range(20)]
    >>> angle = np.array([a + i / 200 for _, a in colours for i in range(20)])
    >>> refinement = Refiner().refine(
    ...     texts,
    ...     np.column_stack([np.cos(angle), np.sin(angle)]),
    ...     TruthOracle(texts, [text.split()[0] for text in texts]),  # simulated
    ...     n_questions=60,
    ...     random_state=0,
    ... )
    >>> refinement.kept_, sorted(refinement.names_)
    (True, ['blue', 'green', 'red'])
    >>> refinement.names_[refinement.predict([[-1.0, 0.0]])[0]]
    'green'
    """

    labels_: Ints
    _own: Ints

    def __init__(self, features: Features, found: Distilled | None, merged: Ints):
        self._features = features
        self._found = found
        self._merged = merged
        self.names_: list[str | None] = []
        self.exemplars_: list[list[int]] = []
        self.kept_ = found is not None
        self.nowhere_ = np.zeros(len(features.unit), dtype=bool)
        self.rows_ = self.answers_ = np.empty(0, dtype=np.intp)
        self.report: dict[str, Any] = {}

    @classmethod
    def of_base(cls, features: Features, labels: Ints) -> Refinement:
        """Make clusters that nothing was asked for look like those that were found."""
        made = cls(features, None, np.empty(0, dtype=np.intp))
        made.labels_ = np.unique(labels[features.first], return_inverse=True)[1]
        made.names_ = [None] * made.n_clusters_
        made.exemplars_ = [
            np.flatnonzero(made.labels_ == c)[:3].tolist()
            for c in range(made.n_clusters_)
        ]
        return made

    @property
    def n_clusters_(self) -> int:
        """Number of clusters."""
        return len(np.unique(self.labels_))

    def predict(self, Z: NDArray[Any]) -> Ints:
        """Put texts into the clusters.

        Parameters
        ----------
        Z : ndarray of shape (m, d)
            Their embeddings.

        Returns
        -------
        labels : ndarray of int, shape (m,)
            Those of a training text are its own.
        """
        matrix, near, own = self._features.of(Z)
        if self._found is None:
            return np.asarray(self.labels_[np.where(own < 0, near[:, 0], own)])
        classes = grouped(self._found.of(matrix, near), self._merged).argmax(axis=1)
        return np.where(own < 0, self._part(matrix, classes), self.labels_[own])

    def posterior(self, Z: NDArray[Any]) -> Floats:
        """Say how probable each class is.

        Parameters
        ----------
        Z : ndarray of shape (m, d)
            Embeddings.

        Returns
        -------
        posterior : ndarray of shape (m, c)
            Of each class, before one was cut to reach a number of clusters.

        Raises
        ------
        ValueError
            If the answers were not kept.
        """
        if self._found is None:
            raise ValueError(
                "The answers were not kept, so there are no classes to be probable."
            )
        matrix, near, _ = self._features.of(Z)
        return grouped(self._found.of(matrix, near), self._merged)

    def suggest(self, Z: NDArray[Any], n_questions: int) -> Ints:
        """Choose texts whose class is worth asking for.

        Parameters
        ----------
        Z : ndarray of shape (m, d)
            Embeddings.
        n_questions : int
            How many.

        Returns
        -------
        rows : ndarray of int, at most ``n_questions`` of them
            Rows of Z, the least certain first.

        Raises
        ------
        ValueError
            If the answers were not kept.
        """
        return least_certain(self.posterior(Z), n_questions)

    def _part(self, matrix: NDArray[Any], classes: Ints) -> Ints:
        """Of a class that was cut, give the part with the most similar text."""
        labels = np.empty(len(classes), dtype=np.intp)
        own = self._own
        for c in np.unique(classes):
            mine, rows = classes == c, np.flatnonzero(own == c)
            parts = np.unique(self.labels_[rows])
            labels[mine] = parts[0]
            if len(parts) > 1:
                alike = matrix[mine] @ self._features.matrix[rows].T
                labels[mine] = self.labels_[rows[alike.argmax(axis=1)]]
        return labels


def settle(
    features: Features,
    found: Distilled,
    interview: Interview,
    n_clusters: int | None,
    *,
    n_options: int,
    seed: int,
) -> Refinement:
    """Make clusters of classes: as many as wanted, or as there are.

    Parameters
    ----------
    features : Features
    found : Distilled
    interview : Interview
        With what is left of its questions, classes that look alike are asked about.
    n_clusters : int or None
    n_options : int
        Classes shown at once, at most.
    seed : int

    Returns
    -------
    refinement : Refinement
    """
    merged = _merge(found.posterior, interview, n_clusters, n_options)
    refinement = Refinement(features, found, merged)
    own = grouped(found.posterior, merged).argmax(axis=1)
    refinement._own = own
    labels = own
    if n_clusters is not None:
        labels = split_to(own, features.smooth, features.unit, k=n_clusters, seed=seed)
    labels = labels[features.first]
    kept, refinement.labels_ = np.unique(labels, return_inverse=True)
    names = interview.classes.names
    for label in kept:
        inside = np.flatnonzero(labels == label)
        classes = np.flatnonzero(merged == own[inside[0]])
        largest = classes[found.posterior[:, classes].sum(axis=0).argmax()]
        refinement.names_.append(names[largest])
        sure = found.posterior[inside][:, classes].sum(axis=1)
        order = np.argsort(-sure, kind="stable")[:3]
        refinement.exemplars_.append(inside[order].tolist())
    return refinement


def _merge(
    posterior: Floats, interview: Interview, k: int | None, n_options: int
) -> Ints:
    """Give each class a number, and one number to those that are one; (G,)."""
    n_classes = posterior.shape[1]
    live = np.unique(posterior.argmax(axis=1))
    pairs = []
    if k is None or len(live) > k:
        limit = len(live) if k is None else 3 * (len(live) - k)
        pairs = ask_which_are_one(
            interview, posterior, limit=limit, n_options=n_options
        )
        if k is not None:
            pairs = pairs[: len(live) - k]
    numbers = join(n_classes, pairs)
    joined = grouped(posterior, numbers)
    live = np.unique(joined.argmax(axis=1))
    # A class that nobody is in goes to the one it is most like, with all the rest.
    keep = len(live) if k is None else min(k, len(live))
    return merge_to(joined, keep)[numbers]
