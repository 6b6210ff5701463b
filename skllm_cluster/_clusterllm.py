"""ClusterLLM's perspective stage as an estimator."""

from __future__ import annotations

import logging
import numbers
import warnings
from typing import Any

import numpy as np
from joblib import effective_n_jobs
from numpy.typing import ArrayLike, NDArray
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    ClusterMixin,
    TransformerMixin,
    clone,
)
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.metrics import adjusted_rand_score, pairwise_distances_argmin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data
from threadpoolctl import threadpool_limits

from ._asking import ask_triplets, check_labels, check_oracle, chosen_first
from ._validation import (
    as_texts,
    check_encoded,
    check_number,
    distinct,
    looks_numeric,
)
from .adaptation import FineTuner, cross_fit
from .embedders import SentenceTransformerEmbedder
from .sampling import WARD_LIMIT, entropy_triplets
from .smoothing import NeighborSmoother

__all__ = ["ClusterLLMClusterer"]

logger = logging.getLogger(__name__)

# Fewer usable answers than these cannot be split and learnt from.
MIN_ANSWERS = 20


class ClusterLLMClusterer(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, ClusterMixin, BaseEstimator
):
    """Cluster short texts the way an oracle, such as an LLM, would group them.

    An embedder places the texts. Those that lie between clusters become questions,
    "is A closer to B or to C?", and the answers reshape the embedding before the texts
    are clustered for good (ClusterLLM [1]_, perspective stage).

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
    n_clusters : int, default=8
        Number of clusters.
    n_questions : int, default=1024
        Q, triplets to be answered in each round. The paper's 1,024 suffice for 3,000
        texts and for 50,000.
    n_rounds : int, default=1
        How often to embed, ask and adapt. Later rounds ask about the embedding of the
        one before and train it further; 2 is the paper's "-iter". Rounds end early when
        the guard refuses one.
    sampler : callable, default=None
        ``sampler(embeddings, n_questions, random_state=...)`` gives triplets of rows,
        shape (Q, 3). None: :func:`~skllm_cluster.sampling.entropy_triplets`. To set
        its parameters, use :func:`functools.partial`.
    adapter : FineTuner, default=None
        Learns from the answers. None: :class:`~skllm_cluster.adaptation.FineTuner` with
        its fast settings; ``FineTuner.paper()`` has those of the paper.
    guard : float, default=0.0025
        The probability, at most, of keeping an embedder that was tuned on answers that
        say nothing. Each half of the answers is held out once to test it, which doubles
        the time of training. None: no test, the tuned embedder is always kept, as in
        the paper.
    smooth_neighbors : int, default=0
        How many nearest neighbours each vector is averaged with before clustering, see
        :class:`~skllm_cluster.smoothing.NeighborSmoother`. 10 is a good value; with 0
        vectors are clustered as they are.
    clusterer : clusterer, default=None
        Makes the clusters. It is told ``n_clusters`` and ``random_state``, if it has
        them as parameters. None: k-means, or mini-batch k-means above 10,000 texts.
    random_state : int, RandomState instance or None, default=None
        Determines sampling, training and clustering.
    n_jobs : int, default=None
        Threads for clustering. None means 1, -1 all cores.
    verbose : int, default=0
        Above 0, what happens is logged at level INFO by the logger ``skllm_cluster``.

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
        The tuned embedder, or the given one where the guard kept it. Not set where X
        held embeddings.
    base_labels_ : ndarray of int, shape (n,)
        Clusters without any question.
    triplets_ : ndarray of int, shape (Q, 3)
        Rows of X that were asked about (anchor, choice 1, choice 2), all rounds.
    answers_ : ndarray of int, shape (Q,)
        0 for the first choice, 1 for the second, -1 for no usable answer.
    oracle_report_ : dict
        ``"rounds"``: for each round, how many questions there were, for how many ``y``
        held all three labels, how many the oracle was asked, how many answers are
        usable, and the share of these that took the first choice.
    guard_report_ : dict
        ``"kept"``: how many rounds passed. ``"rounds"``: for each, the number of usable
        answers, which share of them the embedding agreed with before and after (after:
        when trained on the other half), and the probability of such a change by chance.

    See Also
    --------
    sklearn.cluster.KMeans : What clusters the embeddings.

    Notes
    -----
    ``y`` is optional and means known groups, -1 for unlabelled texts. Questions that it
    decides are answered from it for nothing; without an oracle it is ignored.
    ``GridSearchCV.fit(X, y)`` hands its ``y`` to ``fit``: labels that are meant for
    scoring only belong into the scorer, or ``score`` without y should be used.

    Questions are about distinct texts. Labels are those of the nearest centre, for
    training texts and new ones alike, so ``predict(X)`` equals ``labels_`` on the
    training texts; a ``clusterer`` that is not k-means may draw its lines elsewhere.

    The guard is not in the paper, whose own tuning makes CLINC(D) worse. Half of all
    entropy triplets have no right answer, for both choices or neither share the
    anchor's group: an oracle that abstains from them costs less training and gives
    better embeddings than one that is forced to choose.

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

    def __init__(
        self,
        embedder: Any = None,
        oracle: Any = None,
        *,
        n_clusters: int = 8,
        n_questions: int = 1024,
        n_rounds: int = 1,
        sampler: Any = None,
        adapter: Any = None,
        guard: float | None = 0.0025,
        smooth_neighbors: int = 0,
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
        self.clusterer = clusterer
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    def fit(
        self, X: Any, y: ArrayLike | None = None, *, texts: Any = None
    ) -> ClusterLLMClusterer:
        """Ask, adapt and cluster.

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
            answer triplets.
        ValueError
            If a parameter is out of range, there are fewer texts than clusters, or the
            embedder returns NaN or the wrong number of rows. All of this is found
            before a question is asked.
        """
        self._check_parameters()
        texts, Z = self._embed(X, texts)
        known = check_labels(y, len(Z)) if self.oracle is not None else None
        rng = check_random_state(self.random_state)
        self._cluster_seed = int(rng.randint(2**31))
        self.base_labels_ = self._cluster(Z)
        rounds: list[dict[str, Any]] = []
        for _ in range(self.n_rounds if self.oracle is not None else 0):
            rows, _ = distinct(texts)
            triplets = rows[
                self._sampler()(Z[rows], self.n_questions, random_state=rng)
            ]
            answers, asked = ask_triplets(self.oracle, texts, triplets, known)
            embedder, guarded = self._adapt(
                texts, Z, chosen_first(triplets, answers), rng
            )
            rounds.append(
                {
                    "triplets": triplets,
                    "answers": answers,
                    "oracle": asked,
                    "guard": guarded,
                }
            )
            if not guarded["kept"]:
                break
            self.embedder_, Z = embedder, self._encode(embedder, texts)
        self._report(rounds)
        self.labels_ = self._cluster(Z)
        return self

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
        return self._nearest(self.transform(X))

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
        if hasattr(self, "embedder_"):
            Z = self._encode(self.embedder_, as_texts(X))
        else:
            Z = validate_data(self, X, dtype=[np.float32, np.float64], reset=False)
        smoothed: NDArray[Any] = self._smoother.transform(Z) if self._smoother else Z
        return smoothed

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
            With y, the adjusted Rand index of ``predict(X)``. Without, the share of the
            oracle's answers that the embedding agrees with, each judged by an embedder
            that was not trained on it. It tells embedders, oracles and adapters apart,
            not numbers of clusters.

        Raises
        ------
        ValueError
            Without y, if no answers were held out.
        """
        check_is_fitted(self)
        if y is not None:
            return float(adjusted_rand_score(y, self.predict(X)))
        judged = [r for r in self.guard_report_["rounds"] if "accuracy_after" in r]
        if not judged:
            raise ValueError(
                "score needs y, since no answer was held out: there was no oracle, "
                "guard=None, or too few answers."
            )
        last = judged[-1]
        return float(last["accuracy_after" if last["kept"] else "accuracy_before"])

    def _check_parameters(self) -> None:
        for name in ("n_clusters", "n_questions", "n_rounds"):
            check_number(self, name, low=1)
        check_number(
            self, "guard", kind=numbers.Real, low=0, high=0.5, closed="right",
            optional=True,
        )  # fmt: skip
        check_number(self, "smooth_neighbors", low=0)
        if self.oracle is not None:
            check_oracle(self.oracle)

    def _embed(self, X: Any, texts: Any) -> tuple[list[str], NDArray[Any]]:
        """Check X and give its texts and embeddings; sets ``embedder_`` for texts."""
        if looks_numeric(X):
            if self.oracle is not None:
                raise ValueError(
                    "X is an array of embeddings, which no adapter can train. Pass the "
                    "texts as X, with an embedder, or oracle=None to cluster the "
                    "embeddings as they are."
                )
            self.__dict__.pop("embedder_", None)
            Z = validate_data(self, X, dtype=[np.float32, np.float64])
            self._check_enough(len(Z), "rows")
            return as_texts(texts, "texts") if texts is not None else [], Z
        if texts is not None:
            raise ValueError(
                "texts= is for an X of embeddings; here X holds the texts."
            )
        given = as_texts(X)
        self._check_enough(len(given), "texts")
        embedder = self.embedder
        if embedder is None:
            embedder = SentenceTransformerEmbedder()
        elif hasattr(embedder, "get_params"):
            embedder = clone(embedder)
        if self.oracle is not None and hasattr(self._adapter(), "check"):
            self._adapter().check(embedder)
        self.embedder_ = embedder
        return given, self._encode(embedder, given)

    def _check_enough(self, n: int, what: str) -> None:
        if n < self.n_clusters:
            raise ValueError(
                f"n_clusters={self.n_clusters} needs at least as many {what}, got "
                f"n_samples={n}."
            )

    def _encode(self, embedder: Any, texts: list[str]) -> NDArray[Any]:
        if not callable(getattr(embedder, "encode", None)):
            raise TypeError(
                f"embedder must have a method 'encode', got {type(embedder).__name__}."
            )
        return check_encoded(embedder.encode(texts), len(texts), embedder)

    def _sampler(self) -> Any:
        return entropy_triplets if self.sampler is None else self.sampler

    def _adapter(self) -> Any:
        return FineTuner() if self.adapter is None else self.adapter

    def _adapt(
        self,
        texts: list[str],
        Z: NDArray[Any],
        triplets: NDArray[np.intp],
        rng: np.random.RandomState,
    ) -> tuple[Any, dict[str, Any]]:
        """Adapt to the answers, unless answers that were held out speak against it."""
        report: dict[str, Any] = {"answers": len(triplets)}
        if len(triplets) < MIN_ANSWERS:
            warnings.warn(
                f"{len(triplets)} usable answers are too few to learn from (at least "
                f"{MIN_ANSWERS}); the embedding is left as it was.",
                UserWarning,
                stacklevel=3,
            )
            return None, report | {"kept": False}
        adapter = self._adapter()
        if self.guard is not None:
            report |= cross_fit(
                adapter, self.embedder_, texts, Z, triplets, random_state=rng
            )
            better = report["accuracy_after"] >= report["accuracy_before"]
            report["kept"] = better and report["p_value"] < self.guard
            self._log("guard: %s", report)
            if not report["kept"]:
                return None, report
        tuned = adapter.adapt(self.embedder_, texts, triplets, random_state=rng)
        return tuned, report | {"kept": True}

    def _cluster(self, Z: NDArray[Any]) -> NDArray[np.intp]:
        """Cluster embeddings; sets the centres, and what ``transform`` needs."""
        self._smoother = (
            NeighborSmoother(self.smooth_neighbors).fit(Z)
            if self.smooth_neighbors
            else None
        )
        self.embeddings_ = self._smoother.transform(Z) if self._smoother else Z
        clusterer = self._clusterer(len(Z))
        with threadpool_limits(effective_n_jobs(self.n_jobs)):
            found = clusterer.fit_predict(self.embeddings_)
        centers = getattr(clusterer, "cluster_centers_", None)
        if centers is None:  # -1 is noise to some clusterers
            groups = [found == label for label in np.unique(found[found >= 0])]
            if not groups:
                raise ValueError(f"{type(clusterer).__name__} found no cluster.")
            centers = np.stack(
                [self.embeddings_[group].mean(axis=0) for group in groups]
            )
        self.cluster_centers_: NDArray[Any] = centers
        labels = self._nearest(self.embeddings_)
        self.n_clusters_ = len(np.unique(labels))
        self._n_features_out = self.embeddings_.shape[1]
        return labels

    def _clusterer(self, n: int) -> Any:
        if self.clusterer is None:
            # As many starts as the paper's version of scikit-learn made.
            if n > WARD_LIMIT:
                return MiniBatchKMeans(
                    self.n_clusters, n_init=3, batch_size=4096,
                    random_state=self._cluster_seed,
                )  # fmt: skip
            return KMeans(self.n_clusters, n_init=10, random_state=self._cluster_seed)
        clusterer = clone(self.clusterer)
        wanted = {"n_clusters": self.n_clusters, "random_state": self._cluster_seed}
        known = clusterer.get_params()
        return clusterer.set_params(**{k: v for k, v in wanted.items() if k in known})

    def _nearest(self, Z: NDArray[Any]) -> NDArray[np.intp]:
        with threadpool_limits(effective_n_jobs(self.n_jobs)):
            nearest: NDArray[np.intp] = pairwise_distances_argmin(
                Z, self.cluster_centers_
            )
        return nearest

    def _report(self, rounds: list[dict[str, Any]]) -> None:
        """Set what was asked, answered and kept."""
        empty = [np.empty((0, 3), dtype=np.intp)], [np.empty(0, dtype=np.intp)]
        self.triplets_ = np.concatenate(empty[0] + [r["triplets"] for r in rounds])
        self.answers_ = np.concatenate(empty[1] + [r["answers"] for r in rounds])
        guards = [r["guard"] for r in rounds]
        self.oracle_report_ = {"rounds": [r["oracle"] for r in rounds]}
        self.guard_report_ = {"kept": sum(g["kept"] for g in guards), "rounds": guards}

    def _log(self, message: str, *values: object) -> None:
        if self.verbose:
            logger.info(message, *values)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = True
        return tags
