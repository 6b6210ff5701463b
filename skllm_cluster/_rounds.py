"""What an estimator does in a round of triplets, beside asking and adapting."""

from __future__ import annotations

import logging
from logging import DEBUG, INFO
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._asking import check_triplets, plan_triplets
from ._refining import RefinesClusters
from ._validation import distinct, encode
from .adaptation import FineTuner
from .sampling import entropy_triplets

__all__ = ["AsksTriplets"]

logger = logging.getLogger(__name__)


class AsksTriplets(RefinesClusters):
    """For an estimator that has the parameters ``sampler`` and ``adapter``, too."""

    sampler: Any
    adapter: Any
    n_rounds: int
    verbose: int
    get_params: Any
    _begin: Any
    _selector: Any
    triplets_: NDArray[np.intp]
    answers_: NDArray[np.intp]
    confidences_: NDArray[np.float64]
    oracle_report_: dict[str, Any]
    embedder_: Any

    def plan(self, X: Any, y: ArrayLike | None = None, **how: Any) -> dict[str, Any]:
        """Say what ``fit`` would ask, and at what cost; nothing is asked.

        Parameters
        ----------
        X : sequence of str of length n
            The texts.
        y : array-like of shape (n,), default=None
            Known groups, as for ``fit``.
        **how
            Passed to the oracle's own ``plan``.

        Returns
        -------
        plan : dict
            ``"questions"``, triplets in all rounds; of the first round, ``"known"``,
            those that y answers, and ``"oracle"``, what the others take, if the oracle
            can tell: see :meth:`~skllm_cluster.oracles.LLMOracle.plan`. The same of
            the number of clusters under ``"granularity"``, if that is asked for; its
            pairs will be others if the embedding changes. Of a refiner, under
            ``"refinement"``, the number of questions, and an estimate of what they
            take, as the classes are not known yet.
        """
        if self.oracle is None:
            return {"questions": 0, "known": 0}
        planned = type(self)(**self.get_params(deep=False))
        texts, Z, known, rng = planned._begin(X, y, None)
        plan: dict[str, Any] = {"questions": 0}
        if self._n_triplets():
            triplets = planned._sample(texts, Z, rng)
            plan["questions"] = self.n_rounds * len(triplets)
            plan |= plan_triplets(self.oracle, texts, triplets, known, **how)
        if self._share():
            plan["refinement"] = planned._plan_refinement(texts, **how)
        if self._chooses_number():
            selector = planned._selector()
            plan["granularity"] = selector.plan(Z, y, texts=texts, **how)
        return plan

    def _n_triplets(self) -> int:
        """Give the number of triplets in a round: what the refiner leaves over."""
        if self.oracle is None:
            return 0
        return self.n_questions - round(self._share() * self.n_questions)

    def _adopt(self, tuned: Any, texts: list[str], Z: NDArray[Any]) -> NDArray[Any]:
        """Go on with what was learned: an embedder, or a map of given embeddings."""
        if hasattr(self, "embedder_"):
            self.embedder_ = tuned
            return encode(tuned, texts)
        self._maps = [*getattr(self, "_maps", []), tuned]
        return np.asarray(tuned.transform(Z))

    def _adapter(self) -> Any:
        return FineTuner() if self.adapter is None else self.adapter

    def _sample(
        self, texts: list[str], Z: NDArray[Any], rng: np.random.RandomState
    ) -> NDArray[np.intp]:
        """Choose triplets of rows; no question holds the same text twice."""
        sampler = entropy_triplets if self.sampler is None else self.sampler
        rows, _ = distinct(texts)
        triplets = sampler(Z[rows], self._n_triplets(), random_state=rng)
        return rows[check_triplets(triplets, len(rows))]

    def _record(self, triplets: Any, answers: Any, confidence: Any, asked: Any) -> None:
        """Keep what was answered, before anything else can fail."""
        self.triplets_ = np.concatenate([self.triplets_, triplets])
        self.answers_ = np.concatenate([self.answers_, answers])
        self.confidences_ = np.concatenate([self.confidences_, confidence])
        self.oracle_report_["rounds"].append(asked)
        counts = {k: v for k, v in asked.items() if k != "oracle"}  # may quote texts
        logger.log(INFO if self.verbose else DEBUG, "asked: %s", counts)
