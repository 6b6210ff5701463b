"""ClusterLLM's granularity stage as an estimator."""

from __future__ import annotations

import logging
from logging import DEBUG, INFO
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.metrics import adjusted_rand_score
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from ._asking import (
    ask_pairs,
    check_labels,
    check_oracle,
    check_pairs,
    choose_demonstrations,
    plan_pairs,
    with_demonstrations,
)
from ._choosing import (
    agreement,
    check_answered,
    choose,
    criterion_for,
    needs_answers,
    score_cuts,
)
from ._inputs import TextsOrEmbeddings, read_input
from ._partition import nearest_rows
from ._sharing import SharesWork, digest
from ._validation import check_number
from .criteria import pair_match
from .embedders import BlackBoxEmbedder, SentenceTransformerEmbedder
from .hierarchy import ward_tree
from .sampling import level_pairs

__all__ = ["GranularitySelector"]

logger = logging.getLogger(__name__)


class GranularitySelector(SharesWork, TextsOrEmbeddings, ClusterMixin, BaseEstimator):
    r"""Choose the number of clusters by asking which texts belong together.

    Ward's tree of the embeddings holds every number of clusters at once. An oracle says
    which pairs of texts belong together of those that its merges unite, and the answers
    choose where to cut it (ClusterLLM [1]_, section 3.2).

    Parameters
    ----------
    embedder : Embedder, default=None
        Turns texts into vectors; see :mod:`skllm_cluster.embedders`. None:
        :class:`~skllm_cluster.embedders.SentenceTransformerEmbedder` with its default
        model. Not used where X holds embeddings.
    oracle : Oracle, default=None
        Answers the questions; see :mod:`skllm_cluster.oracles`. None asks nothing, and
        the criterion looks at the embeddings alone.
    k_min, k_max : int, default=2 and 200
        The smallest and the largest number of clusters to choose from. Where fewer
        texts than ``k_max`` are distinct, their number takes its place.
    pairs_per_merge : int, default=3
        λ: λ (k_max - k_min) pairs are asked about, 594 by default. The paper has 1
        and 3.
    criterion : callable, default=None
        From answers to a number, see :mod:`skllm_cluster.criteria`. None:
        :func:`~skllm_cluster.criteria.pair_match`, or
        :func:`~skllm_cluster.criteria.elbow` without an oracle. With a criterion that
        has no parameter ``answers`` nothing is asked.
    sampler : callable, default=None
        Chooses the pairs. None: :func:`~skllm_cluster.sampling.level_pairs`.
        :func:`~skllm_cluster.sampling.merge_pairs` is the paper's.
    linkage_size : int, default=None
        Of :func:`~skllm_cluster.hierarchy.ward_tree`, where there are many texts.
    n_demonstrations : int, default=4
        How many answered pairs are shown with every question, half of them of one
        group; taken from ``y``, for an oracle that takes them and has none. Even.
    justify : bool, default=True
        Whether they give a reason, the labels, where these are str.
    random_state : int, RandomState instance or None, default=None
        Determines the pairs, the demonstrations, and k-means in large trees.
    n_jobs : int, default=None
        Threads for ``predict``. None means 1, -1 all cores.
    verbose : int, default=0
        Above 0, the logger ``skllm_cluster`` says at level INFO what was chosen.

    Attributes
    ----------
    n_clusters_ : int
    labels_ : ndarray of int, shape (n,)
        The tree, cut where there are ``n_clusters_``.
    k_values_, scores_ : ndarray of shape (K,)
        Numbers to choose from, and how well each fits; NaN if the answers do not tell.
    interval_ : tuple of (int, int) or None
        Where the number lies with a probability of 90 %, if the criterion tells.
    criterion_report_ : dict
        What the criterion estimated on the way; ``"reason"`` if it could not decide.
    tree_ : Tree
        The merges of ``embeddings_``, of shape (n, d).
    pairs_ : ndarray of int, shape (P, 2)
        Rows of X with an answer or asked about.
    answers_ : ndarray of int, shape (P,)
        1 same, 0 different, -1 for no usable answer.
    confidences_ : ndarray of float, shape (P,)
        Probability that an answer is right, as far as the oracle knows; otherwise NaN.
    demonstrations_ : list of tuple
        What was taken from ``y``: two texts, whether same, two labels or None.
    oracle_report_ : dict
        How many ``"questions"`` there were, how many were ``"known"``, ``"asked"``,
        ``"usable"`` and ``"yes"``; and the oracle's own report.
    embedder_ : Embedder
        Not set where X held embeddings.

    See Also
    --------
    ClusterLLMClusterer : With ``n_clusters=None`` it chooses the number by this.
    skllm_cluster.plotting.GranularityDisplay : Draws the scores.

    Notes
    -----
    If all answers are "same" the smallest number is taken, if all are "different" the
    largest, if none is usable that of :func:`~skllm_cluster.criteria.elbow`.

    The pairs do not depend on the criterion, and those of a smaller range of k are the
    first of those of a larger one. So an oracle that keeps its answers is asked nothing
    new in a search over these, and clones make a tree once.

    The released code asks about its demonstrations as well; here they are left out.

    References
    ----------
    .. [1] Zhang, Wang, Shang, "ClusterLLM: Large Language Models as a Guide for Text
       Clustering", EMNLP 2023.

    Examples
    --------
    >>> from skllm_cluster import GranularitySelector
    >>> from skllm_cluster.datasets import load_support_messages
    >>> from skllm_cluster.embedders import HashingEmbedder
    >>> from skllm_cluster.oracles import TruthOracle
    >>> texts, topics = load_support_messages(return_labels="topic")  # eight
    >>> selector = GranularitySelector(
    ...     HashingEmbedder(),
    ...     TruthOracle(texts, topics),  # simulated answers, from known labels
    ...     k_max=40,
    ...     random_state=0,
    ... ).fit(texts)
    >>> len(selector.pairs_)
    114
    >>> low, high = selector.interval_
    >>> low <= selector.n_clusters_ <= high
    True
    """

    embedder_: Any

    def __init__(
        self,
        embedder: Any = None,
        oracle: Any = None,
        *,
        k_min: int = 2,
        k_max: int = 200,
        pairs_per_merge: int = 3,
        criterion: Any = None,
        sampler: Any = None,
        linkage_size: int | None = None,
        n_demonstrations: int = 4,
        justify: bool = True,
        random_state: Any = None,
        n_jobs: int | None = None,
        verbose: int = 0,
    ):
        self.embedder = embedder
        self.oracle = oracle
        self.k_min = k_min
        self.k_max = k_max
        self.pairs_per_merge = pairs_per_merge
        self.criterion = criterion
        self.sampler = sampler
        self.linkage_size = linkage_size
        self.n_demonstrations = n_demonstrations
        self.justify = justify
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    def fit(
        self,
        X: Any,
        y: ArrayLike | None = None,
        *,
        texts: Any = None,
        pairs: ArrayLike | None = None,
        answers: ArrayLike | None = None,
    ) -> GranularitySelector:
        """Build the tree, ask, and choose the number of clusters.

        Parameters
        ----------
        X : sequence of str of length n, or array-like of shape (n, d)
            The texts, or their embeddings.
        y : array-like of shape (n,), default=None
            Known groups, -1 for unlabelled texts: they answer their own pairs, and
            provide the demonstrations.
        texts : sequence of str of length n, default=None
            The texts, where X holds their embeddings and an oracle is to be asked.
        pairs : array-like of int, shape (A, 2), default=None
            Rows of X whose answer is known, from a user or an earlier fit. They count
            like the others and are not asked about.
        answers : array-like of int, shape (A,), default=None
            Their answers: 1 same, 0 different, -1 for none.

        Returns
        -------
        self

        Raises
        ------
        TypeError
            If X is no sequence of str and no 2-D array of numbers, or the oracle cannot
            answer pairs.
        ValueError
            If a parameter or an array will not do, or fewer texts than ``k_min`` are
            distinct; all before a question.

        Warns
        -----
        UserWarning
            If the answers do not tell one number from another.
        """
        texts, known, rng = self._begin(X, y, texts)
        n = len(self.embeddings_)
        self.pairs_, self.answers_ = check_answered(pairs, answers, n)
        self.confidences_ = np.where(self.answers_ < 0, np.nan, 1.0)
        self.demonstrations_: list[Any] = []
        self.oracle_report_: dict[str, Any] = {}
        answered = self.oracle is not None or len(self.answers_) > 0
        criterion = criterion_for(self.criterion, answered=answered)
        if self._asks():
            oracle, asked = self._questions(texts, y, known, rng)
            found, sure, self.oracle_report_ = ask_pairs(oracle, texts, asked, known)
            self.pairs_ = np.concatenate([self.pairs_, asked])
            self.answers_ = np.concatenate([self.answers_, found])
            self.confidences_ = np.concatenate([self.confidences_, sure])
        given = self.tree_, self.embeddings_, self.k_values_
        score = score_cuts(criterion, *given, self.pairs_, self.answers_)
        self.scores_, self.interval_ = score.scores, score.interval
        self.criterion_report_ = score.report
        self.n_clusters_ = choose(score, *given, self.answers_)
        self.labels_ = self.tree_.cut(self.n_clusters_)
        level = INFO if self.verbose else DEBUG
        logger.log(level, "%d clusters: %s", self.n_clusters_, score.report)
        return self

    def check(self) -> None:
        """Check the parameters, and that the oracle can answer pairs.

        Raises
        ------
        TypeError, ValueError
            If one of them will not do.
        """
        check_number(self, "k_min", low=1)
        check_number(self, "k_max", low=self.k_min)
        check_number(self, "pairs_per_merge", low=1)
        check_number(self, "n_demonstrations", low=0)
        if (n := self.n_demonstrations) % 2:
            raise ValueError(f"n_demonstrations must be even, got {n}.")
        check_number(self, "linkage_size", low=1, optional=True)
        if self._asks():
            check_oracle(self.oracle, self.random_state, kind="pairs")

    def plan(
        self, X: Any, y: ArrayLike | None = None, *, texts: Any = None, **how: Any
    ) -> dict[str, Any]:
        """Say what ``fit`` would ask, and at what cost; nothing is asked.

        Parameters
        ----------
        X, y, texts : see ``fit``
        **how
            Passed to the oracle's own ``plan``.

        Returns
        -------
        plan : dict
            ``"questions"``; ``"known"``, those that y answers; ``"oracle"``, what the
            others take: see :meth:`~skllm_cluster.oracles.LLMOracle.plan`.
        """
        planned = type(self)(**self.get_params(deep=False))
        texts, known, rng = planned._begin(X, y, texts)
        if not planned._asks() or len(planned.k_values_) == 1:
            return {"questions": 0, "known": 0}
        planned.pairs_, planned.demonstrations_ = np.empty((0, 2), dtype=np.intp), []
        oracle, pairs = planned._questions(texts, y, known, rng)
        return plan_pairs(oracle, texts, pairs, known, **how)

    def predict(self, X: Any) -> NDArray[np.intp]:
        """Give each text the cluster of the training text that is nearest.

        Parameters
        ----------
        X : sequence of str of length m, or array-like of shape (m, d)
            Texts or embeddings, whichever the estimator was fitted on.

        Returns
        -------
        labels : ndarray of int, shape (m,)
            On the training texts, equal to ``labels_``.
        """
        check_is_fitted(self)
        rows = nearest_rows(self._embed(X), self.embeddings_, n_jobs=self.n_jobs)
        return np.asarray(self.labels_[rows])

    def score(self, X: Any = None, y: ArrayLike | None = None) -> float:
        """Say how good the clusters are, against labels or against the answers.

        Parameters
        ----------
        X, y : texts or embeddings, and known labels
            X is not used without y.

        Returns
        -------
        score : float
            With y, the adjusted Rand index of ``predict(X)``. Without, the mean of two
            shares: of the pairs answered "same" that the clusters unite, and of those
            answered "different" that they part. It compares embedders and oracles, not
            criteria: a cut that fits the answers best is not the best number.

        Raises
        ------
        ValueError
            Without y, if there are not answers of both kinds.
        """
        check_is_fitted(self)
        if y is not None:
            return float(adjusted_rand_score(y, self.predict(X)))
        return agreement(self.labels_, self.pairs_, self.answers_)

    def _begin(self, X: Any, y: Any, texts: Any) -> Any:
        """Check everything, embed and merge; nothing is asked before this."""
        self.check()
        texts, Z, embedder = read_input(
            self, X, texts, default=SentenceTransformerEmbedder, wrap=BlackBoxEmbedder
        )
        if self._asks() and not texts:
            raise ValueError("X holds embeddings: pass texts= to ask about as well.")
        known = check_labels(y, len(Z)) if self._asks() else None
        self.__dict__.pop("embedder_", None)
        if embedder is not None:
            self.embedder_ = embedder
        rng = check_random_state(self.random_state)
        how = {"linkage_size": self.linkage_size, "random_state": rng.randint(2**31)}
        self.embeddings_ = Z
        self.tree_ = self._once(digest(Z, how), lambda: ward_tree(Z, **how))
        n_distinct = self.tree_.n_leaves
        if n_distinct < self.k_min:
            raise ValueError(
                f"k_min={self.k_min} must not exceed the number of distinct texts, got "
                f"{n_distinct} among n_samples={len(Z)}."
            )
        self.k_values_ = np.arange(self.k_min, min(self.k_max, n_distinct) + 1)
        return texts, known, rng

    def _asks(self) -> bool:
        criterion = pair_match if self.criterion is None else self.criterion
        return self.oracle is not None and needs_answers(criterion)

    def _questions(
        self,
        texts: list[str],
        y: Any,
        known: NDArray[np.intp] | None,
        rng: np.random.RandomState,
    ) -> tuple[Any, NDArray[np.intp]]:
        """Choose demonstrations and pairs; the oracle, as it is to be asked."""
        if len(self.k_values_) == 1:
            return self.oracle, self.pairs_[:0]
        not_asked, pairs_seed = self.pairs_, int(rng.randint(2**31 - 1))
        if known is not None and self.n_demonstrations:
            self.demonstrations_, shown = choose_demonstrations(
                self.tree_.level, texts, known, y,
                n_each=self.n_demonstrations // 2, justify=self.justify, rng=rng,
            )  # fmt: skip
            not_asked = np.concatenate([not_asked, shown])
        pairs = (level_pairs if self.sampler is None else self.sampler)(
            self.tree_, k_min=self.k_min, k_max=int(self.k_values_[-1]),
            pairs_per_merge=self.pairs_per_merge, exclude=not_asked,
            random_state=pairs_seed,
        )  # fmt: skip
        oracle = with_demonstrations(self.oracle, self.demonstrations_)
        if oracle is self.oracle:
            self.demonstrations_ = []  # it takes none, or has its own
        return oracle, check_pairs(pairs, len(self.embeddings_), "sampler")
