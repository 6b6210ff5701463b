"""An estimator whose clusters may be refined by asking which class a text is of."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted

from ._centers import ClustersByCenters
from .refinement import Refinement
from .smoothing import ConsensusKMeans

__all__ = ["RefinesClusters"]


class RefinesClusters(ClustersByCenters):
    """For an estimator that has the parameters ``refiner`` and ``n_questions``, too."""

    refiner: Any
    oracle: Any
    n_questions: int
    n_clusters: int | None
    granularity: Any

    def predict(self, X: Any) -> NDArray[np.intp]:
        """Give each text its cluster.

        Parameters
        ----------
        X : sequence of str of length m, or array-like of shape (m, d)
            Texts or embeddings, whichever the estimator was fitted on.

        Returns
        -------
        labels : ndarray of int, shape (m,)
            The cluster whose centre is nearest or, if clusters were refined, the one
            whose class is likeliest. On the training texts, equal to ``labels_``.
        """
        if not self._is_refined():
            return super().predict(X)
        return self.refinement_.predict(self._embed(X))

    def suggest_questions(self, X: Any, n_questions: int = 10) -> NDArray[np.intp]:
        """Say which texts are worth asking about, after a refinement.

        Parameters
        ----------
        X : sequence of str of length m, or array-like of shape (m, d)
            New texts, or their embeddings.
        n_questions : int, default=10

        Returns
        -------
        rows : ndarray of int, at most ``n_questions`` of them
            Rows of X whose class is least certain, the least certain first.

        Raises
        ------
        ValueError
            If clusters were not refined.
        """
        check_is_fitted(self)
        if not self._is_refined():
            raise ValueError(
                "There are no classes to ask about: no refiner was given, or its "
                "answers were not kept. See refinement_.report."
            )
        return self.refinement_.suggest(self._embed(X), n_questions)

    labels_: NDArray[np.intp]
    base_labels_: NDArray[np.intp]
    refinement_: Refinement

    def _is_refined(self) -> bool:
        check_is_fitted(self)
        return "refinement_" in self.__dict__ and self.refinement_.kept_

    def _share(self) -> float:
        """Share of the questions that are about classes."""
        if self.refiner is None or self.oracle is None:
            return 0.0
        return float(self.refiner.share)

    def _chooses_number(self) -> bool:
        """Whether answers about pairs choose the number of clusters."""
        found = self._share() > 0 and self.granularity is None  # by the refiner
        return self.n_clusters is None and not found

    def _chosen_clusterer(self) -> Any:
        # What answers have to beat is the best that needs none.
        unset = self.clusterer is None and self._share() > 0
        return ConsensusKMeans() if unset else self.clusterer

    def _plan_refinement(self, texts: list[str], **how: Any) -> dict[str, Any]:
        """Estimate what the refiner will ask, and what it takes."""
        n = round(self._share() * self.n_questions)
        found: dict[str, Any] = self.refiner.plan(
            texts, self.oracle, n_questions=n, n_clusters=self.n_clusters, **how
        )
        return found

    def _refine(
        self,
        texts: list[str],
        Z: NDArray[Any],
        known: NDArray[np.intp] | None,
        n_clusters: int | None,
        rng: np.random.RandomState,
    ) -> dict[str, Any]:
        """Ask for classes, and set the clusters; gives a report."""

        def base(k: int) -> NDArray[np.intp]:
            if n_clusters is None:  # otherwise they are there already
                self.labels_ = self.base_labels_ = self._cluster(Z, k)
            return self.labels_

        self.refinement_ = clone(self.refiner).refine(
            texts, Z, self.oracle, n_questions=round(self._share() * self.n_questions),
            n_clusters=n_clusters, labels=known, base=base, random_state=rng,
        )  # fmt: skip
        if self.refinement_.kept_:
            self.labels_ = self.refinement_.labels_
            self.n_clusters_ = self.refinement_.n_clusters_
            self.cluster_centers_ = np.stack(
                [
                    self.embeddings_[self.labels_ == k].mean(axis=0)
                    for k in range(self.n_clusters_)
                ]
            )
        return self.refinement_.report
