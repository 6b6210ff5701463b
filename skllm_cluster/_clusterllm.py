"""ClusterLLM as an estimator."""

from __future__ import annotations

import logging
import numbers
from logging import DEBUG, INFO
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    ClusterMixin,
    clone,
)
from sklearn.metrics import adjusted_rand_score
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from ._asking import (
    ask_triplets,
    check_labels,
    check_oracle,
    chosen_first,
)
from ._granularity import GranularitySelector
from ._inputs import read_input
from ._rounds import AsksTriplets
from ._validation import check_number
from .adaptation import FineTuner
from .criteria import f_beta
from .embedders import BlackBoxEmbedder, SentenceTransformerEmbedder
from .guard import adapt_guarded, held_out_accuracy
from .losses import answer_weights
from .sampling import merge_pairs

__all__ = ["ClusterLLMClusterer"]

logger = logging.getLogger(__name__)


class ClusterLLMClusterer(
    ClassNamePrefixFeaturesOutMixin, AsksTriplets, ClusterMixin, BaseEstimator
):
    """Cluster short texts the way an oracle, such as an LLM, would group them.

    An embedder places the texts, those between clusters become questions, "is A closer
    to B or to C?", and the answers reshape the embedding (ClusterLLM [1]_).

    Parameters
    ----------
    embedder : Embedder, default=None
        Turns texts into vectors; see :mod:`skllm_cluster.embedders`. None:
        :class:`~skllm_cluster.embedders.SentenceTransformerEmbedder` with its default
        model. Not used where X holds embeddings.
    oracle : Oracle, default=None
        Answers the questions; see :mod:`skllm_cluster.oracles`. None asks nothing:
        the estimator then clusters the embeddings as they are, which is the baseline
        that any gain has to be measured against.
    n_clusters : int, default=None
        Number of clusters. None: the oracle chooses it, see ``granularity``; with a
        ``refiner``, there are as many as it finds classes.
    n_questions : int, default=1024
        Q, triplets in each round, or all questions of the refiner. The paper's 1,024 do
        for 3,000 texts and for 50,000.
    n_rounds : int, default=1
        How often to ask and adapt; 2 is the paper's "-iter". Each round goes on from
        the embedder of the one before. A round that the guard refuses is the last.
    sampler : callable, default=None
        ``sampler(embeddings, n_questions, random_state=...)`` gives triplets of rows,
        shape (Q, 3). None: :func:`~skllm_cluster.sampling.entropy_triplets`.
    adapter : FineTuner, default=None
        Learns from the answers. None: :class:`~skllm_cluster.adaptation.FineTuner` with
        its fast settings; ``FineTuner.paper()`` has those of the paper.
    guard : float, default=0.0025
        The probability, at most, of keeping an embedder tuned on coin flips, see
        :func:`~skllm_cluster.guard.adapt_guarded`. It doubles the time of training.
        None: no test, the tuned embedder is always kept, as in the paper.
    smooth_neighbors : int, default=0
        With how many neighbours :class:`~skllm_cluster.smoothing.NeighborSmoother`
        averages each vector before clustering: 10 is good, 0 means none.
    refiner : Refiner, default=None
        Asks which class texts belong to, in place of triplets:
        :class:`~skllm_cluster.refinement.Refiner` makes far better clusters of as many
        answers, and needs no embedder that can be trained. None: triplets, as in the
        paper.
    granularity : GranularitySelector, default=None
        Chooses the number of clusters if it is not given. None:
        :class:`GranularitySelector` with its default settings, which asks up to 594
        questions more. Its oracle, if it has none, is that of this estimator.
    clusterer : clusterer, default=None
        Makes the clusters, told ``n_clusters`` and ``random_state``. None: k-means, or
        mini-batch k-means above 10,000 texts; with a refiner,
        :class:`~skllm_cluster.smoothing.ConsensusKMeans`.
    random_state : int, RandomState instance or None, default=None
        Determines sampling, training and clustering.
    n_jobs : int, default=None
        Threads for clustering. None means 1, -1 all cores.
    verbose : int, default=0
        Above 0, the logger ``skllm_cluster`` says at level INFO what happens.

    Attributes
    ----------
    labels_ : ndarray of int, shape (n,)
        Cluster of each training text.
    n_clusters_ : int
        Number of clusters found; fewer than asked for if too few texts are distinct.
    cluster_centers_ : ndarray of shape (n_clusters_, d)
        A text belongs to the nearest of these.
    embeddings_ : ndarray of shape (n, d)
        What was clustered, equal to ``transform`` of the training texts.
    embedder_ : Embedder
        The tuned embedder, or the given one. Not set where X held embeddings.
    base_labels_ : ndarray of int, shape (n,)
        As many clusters of the embeddings as no answer changed them.
    granularity_ : GranularitySelector
        The fitted one, if it chose the number.
    refinement_ : Refinement
        What the refiner found: names of the clusters, texts that belong nowhere, what
        was asked, and how good the answers are.
    triplets_ : ndarray of int, shape (Q, 3)
        Rows of X that were asked about (anchor, choice 1, choice 2), all rounds.
    answers_ : ndarray of int, shape (Q,)
        0 for the first choice, 1 for the second, -1 for no usable answer.
    confidences_ : ndarray of float, shape (Q,)
        Probability that an answer is right, as far as the oracle knows; otherwise NaN.
    oracle_report_ : dict
        ``"rounds"``: for each, how many questions there were, ``y`` held all labels of,
        the oracle was asked, and have a usable answer; and the oracle's own report.
    guard_report_ : dict
        ``"kept"``: how many rounds passed. ``"rounds"``: for each, what
        :func:`~skllm_cluster.guard.cross_fit` saw.

    Notes
    -----
    Questions that ``y`` decides are answered from it for nothing. ``GridSearchCV.fit(X,
    y)`` hands its ``y`` to ``fit``: labels that are meant for scoring only belong into
    the scorer, or ``score`` without y should be used.

    Labels are those of the nearest centre, for new texts and for training texts alike.

    The guard is not in the paper, whose own tuning makes CLINC(D) worse. Half of all
    entropy triplets have no right answer: an oracle that abstains is worth more there.

    References
    ----------
    .. [1] Zhang, Wang, Shang, "ClusterLLM: Large Language Models as a Guide for Text
       Clustering", EMNLP 2023.

    Examples
    --------
    >>> from skllm_cluster import ClusterLLMClusterer
    >>> from skllm_cluster.datasets import load_support_messages
    >>> from skllm_cluster.embedders import HashingEmbedder
    >>> from skllm_cluster.oracles import TruthOracle
    >>> texts, topics = load_support_messages(return_labels="topic")
    >>> texts, topics = texts[:120], topics[:120]
    >>> clusterer = ClusterLLMClusterer(
    ...     HashingEmbedder(),
    ...     TruthOracle(texts, topics),  # simulated answers, from known labels
    ...     n_clusters=8,
    ...     n_questions=200,
    ...     random_state=0,
    ... ).fit(texts)
    >>> clusterer.labels_.shape, clusterer.triplets_.shape
    ((120,), (200, 3))
    >>> bool((clusterer.predict(texts) == clusterer.labels_).all())
    True
    """

    embedder_: Any

    def __init__(
        self,
        embedder: Any = None,
        oracle: Any = None,
        *,
        n_clusters: int | None = None,
        n_questions: int = 1024,
        n_rounds: int = 1,
        sampler: Any = None,
        adapter: Any = None,
        guard: float | None = 0.0025,
        smooth_neighbors: int = 0,
        refiner: Any = None,
        granularity: Any = None,
        clusterer: Any = None,
        random_state: Any = None,
        n_jobs: int | None = None,
        verbose: int = 0,
    ):
        self.embedder = embedder
        self.oracle = oracle
        self.n_clusters = n_clusters
        self.n_questions = n_questions
        self.n_rounds = n_rounds
        self.sampler = sampler
        self.adapter = adapter
        self.guard = guard
        self.smooth_neighbors = smooth_neighbors
        self.refiner = refiner
        self.granularity = granularity
        self.clusterer = clusterer
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    @classmethod
    def paper(cls, embedder: Any = None, oracle: Any = None, **parameters: Any) -> Any:
        """Make a clusterer with the settings of the paper.

        Parameters
        ----------
        embedder : Embedder, default=None
        oracle : Oracle, default=None
        **parameters
            Further ones; they are set after the paper's.

        Returns
        -------
        clusterer : ClusterLLMClusterer
            1,024 triplets of highest entropy, ``FineTuner.paper()``, no guard, no
            smoothing, k-means, and the F-beta criterion on the pairs of merges if the
            number of clusters is to be chosen.

        Examples
        --------
        >>> from skllm_cluster import ClusterLLMClusterer
        >>> ClusterLLMClusterer.paper(n_clusters=77).adapter.n_epochs
        15
        """
        granularity = GranularitySelector(sampler=merge_pairs, criterion=f_beta)
        settings: dict[str, Any] = {
            "n_questions": 1024, "adapter": FineTuner.paper(), "guard": None,
            "granularity": granularity,
        }  # fmt: skip
        return cls(embedder, oracle, **(settings | parameters))

    def fit(
        self, X: Any, y: ArrayLike | None = None, *, texts: Any = None
    ) -> ClusterLLMClusterer:
        """Ask, adapt, choose the number of clusters, and cluster.

        Parameters
        ----------
        X : sequence of str of length n, or array-like of shape (n, d)
            The texts, or their embeddings.
        y : array-like of shape (n,), default=None
            Known groups, -1 for unlabelled texts. Ignored without an oracle.
        texts : sequence of str of length n, default=None
            The texts, where X holds their embeddings.

        Returns
        -------
        self

        Raises
        ------
        TypeError
            If X is no sequence of str and no 2-D array of numbers, or the oracle cannot
            answer what it would be asked.
        ValueError
            If a parameter is out of range, there are fewer texts than clusters, or the
            embedder returns NaN or the wrong number of rows; all before a question.
        """
        texts, Z, known, rng = self._begin(X, y, texts)
        base, k = Z, self.n_clusters
        if k is not None:  # what cannot be clustered fails before a question
            self.labels_ = self.base_labels_ = self._cluster(Z, k)
        self.triplets_ = np.empty((0, 3), dtype=np.intp)
        self.answers_, self.confidences_ = np.empty(0, dtype=np.intp), np.empty(0)
        self.oracle_report_: dict[str, Any] = {"rounds": []}
        self.guard_report_: dict[str, Any] = {"kept": 0, "rounds": []}
        for _ in range(self.n_rounds if self._n_triplets() else 0):
            triplets = self._sample(texts, Z, rng)
            answers, confidence, asked = ask_triplets(
                self.oracle, texts, triplets, known, embeddings=Z
            )
            self._record(triplets, answers, confidence, asked)
            tuned, guarded = adapt_guarded(
                self._adapter(), getattr(self, "embedder_", None), texts, Z,
                chosen_first(triplets, answers), level=self.guard, random_state=rng,
                weights=answer_weights(confidence[answers >= 0]),
            )  # fmt: skip
            self.guard_report_["rounds"].append(guarded)
            self.guard_report_["kept"] += guarded["kept"]
            logger.log(INFO if self.verbose else DEBUG, "guard: %s", guarded)
            if tuned is None:
                break
            Z = self._adopt(tuned, texts, Z)
        if self._chooses_number():
            self.granularity_ = self._selector().fit(Z, y, texts=texts or None)
            k = self.granularity_.n_clusters_
            self.labels_ = self.base_labels_ = self._cluster(base, k)
        if k is not None and self.guard_report_["kept"]:
            self.labels_ = self._cluster(Z, k)
        if self._share():
            refined = self._refine(texts, Z, known, k, rng)
            self.oracle_report_["refinement"] = refined
        return self

    def score(self, X: Any = None, y: ArrayLike | None = None) -> float:
        """Say how good the clusters are, against labels or against held-out answers.

        Parameters
        ----------
        X : sequence of str of length m, or array-like of shape (m, d), default=None
            Not used without y.
        y : array-like of shape (m,), default=None
            Known labels.

        Returns
        -------
        score : float
            With y, the adjusted Rand index of ``predict(X)``. Without, the share of
            answers that the embedding agrees with, each judged by an embedder that was
            not trained on it: of use to compare embedders, not numbers of clusters.

        Raises
        ------
        ValueError
            Without y, if no answers were held out.
        """
        check_is_fitted(self)
        if y is not None:
            return float(adjusted_rand_score(y, self.predict(X)))
        if self._is_refined():
            return float(self.refinement_.report["agreement"])
        return held_out_accuracy(self.guard_report_)

    def _check_parameters(self) -> None:
        check_number(self, "n_clusters", low=1, optional=True)
        for name in ("n_questions", "n_rounds"):
            check_number(self, name, low=1)
        check_number(
            self, "guard", kind=numbers.Real, low=0, high=0.5, closed="right",
            optional=True,
        )  # fmt: skip
        check_number(self, "smooth_neighbors", low=0)
        if self.refiner is not None:
            self.refiner.check()
        if self._share():
            check_oracle(self.oracle, self.random_state, kind="choices")
        if self._n_triplets():
            check_oracle(self.oracle, self.random_state)

    def _begin(self, X: Any, y: Any, texts: Any) -> Any:
        """Check everything and embed; nothing is asked before this."""
        self._check_parameters()
        rng = check_random_state(self.random_state)
        self._seed = int(rng.randint(2**31))
        at_least = self.n_clusters
        if at_least is None and self._share():
            at_least = 2
        elif at_least is None:
            selector = self._selector()
            selector.check()
            at_least = selector.k_min
        texts, Z, embedder = read_input(
            self, X, texts, default=SentenceTransformerEmbedder, wrap=BlackBoxEmbedder,
            at_least=at_least,
            trainer=self._adapter() if self._n_triplets() else None,
            asks=self.oracle is not None,
        )  # fmt: skip
        for name in ("embedder_", "granularity_", "refinement_", "_maps"):
            self.__dict__.pop(name, None)
        if embedder is not None:
            self.embedder_ = embedder
        known = check_labels(y, len(Z)) if self.oracle is not None else None
        return texts, Z, known, rng

    def _selector(self) -> Any:
        """Make what chooses the number of clusters."""
        given = self.granularity
        selector = GranularitySelector() if given is None else clone(given)
        mine = {"oracle": self.oracle, "random_state": self._seed}
        unset = {k: v for k, v in mine.items() if getattr(selector, k) is None}
        return selector.set_params(**unset)
