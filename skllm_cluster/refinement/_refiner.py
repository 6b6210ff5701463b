"""Find the classes that an oracle has in mind, and put all texts into them."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state

from .._asking import can_propose
from .._validation import check_number
from ._discovery import coverage, grow_classes, name_classes
from ._distil import Distilled
from ._features import Features
from ._interview import NONE, Interview
from ._refinement import Refinement, settle
from ._selection import least_certain
from ._steps import (
    base_of,
    can_learn,
    choose_exemplars,
    conclude,
    fall_back,
    know,
    learn_classes,
)
from ._verdict import check_answers, out_of_question, verdict

__all__ = ["Refiner"]

Ints = NDArray[np.intp]

# Shares of all questions: for names, for growing classes, for classes that may be one.
NAMING, GROWING, MERGING = 0.1, 0.7, 0.05
# Of what is left after naming: for texts that stand for all.
COVERING = 0.4
# Classes grow from so many small groups for each cluster.
GROUPS_PER_CLUSTER = 4
# So many texts that fit no category make a further question for names.
MISFITS = 10


class Refiner(BaseEstimator):
    """Find the classes that an oracle has in mind, and put all texts into them.

    Parameters
    ----------
    categories : bool, default=True
        Whether to ask for names, if the oracle can give them. Otherwise, classes are
        groups, shown by up to three of their texts.
    n_options : int, default=32
        Groups shown at once. Of categories, all are shown.
    n_rounds : int, default=6
        In how many lots to ask about uncertain texts.
    n_checks : int, default=40
        Answers that are asked for again, to see what they are worth.
    tol : float, default=0.002
        Asking ends when 100 questions change the cluster of a smaller share of the
        texts than this, twice in a row. 0: all questions are asked.
    share : float, default=1.0
        Share of the questions that :class:`~skllm_cluster.ClusterLLMClusterer` leaves
        to this; the others are triplets, asked before.

    See Also
    --------
    skllm_cluster.ClusterLLMClusterer : Takes it as ``refiner=``.

    Notes
    -----
    *Discover.* Texts from the middle of small groups are shown, 40 at a time, for the
    oracle to name the categories that they need, until three lots in a row need none
    [1]_. Without names, such texts are taken to the groups found so far, and who
    belongs to none of them, twice, founds another: exploring as in COBRAS [2]_, by
    multiple choice. *Ask.* The class is asked for of texts that stand for many, then of
    those whose class is least certain. Who fits none leads to new classes. *Distil.* A
    logistic regression on each vector and the mean of its neighbours, with the noise of
    answers estimated, puts all texts into classes. *Settle.* Classes that are hard to
    tell apart are shown to the oracle, which says whether they are one; what is still
    too much is merged by the classifier, what is too little is cut where a class falls
    apart most clearly. *Judge.* Forty answers are asked for again, among other options.
    If they are not consistent, or foretell one another no better than clusters that
    nothing was asked for, those clusters are kept; if that is all but certain early on,
    no more is asked.

    An oracle that errs always in the same way is consistent, and its own classes are
    found: no guard can see that without labels.

    References
    ----------
    .. [1] Pham et al., "TopicGPT: A Prompt-based Topic Modeling Framework", NAACL 2024.
    .. [2] Van Craenendonck et al., "COBRAS: Interactive Clustering with Pairwise
       Queries", IDA 2018.

    Examples
    --------
    >>> from skllm_cluster import ClusterLLMClusterer
    >>> from skllm_cluster.datasets import load_support_messages
    >>> from skllm_cluster.embedders import HashingEmbedder
    >>> from skllm_cluster.metrics import clustering_accuracy
    >>> from skllm_cluster.oracles import TruthOracle
    >>> from skllm_cluster.refinement import Refiner
    >>> texts, topics = load_support_messages(return_labels="topic")
    >>> clusterer = ClusterLLMClusterer(
    ...     HashingEmbedder(),
    ...     TruthOracle(texts, topics),  # simulated answers, from known labels
    ...     n_clusters=8,
    ...     n_questions=120,
    ...     refiner=Refiner(),
    ...     random_state=0,
    ... ).fit(texts)
    >>> before = clustering_accuracy(topics, clusterer.base_labels_)
    >>> clustering_accuracy(topics, clusterer.labels_) > before + 0.1
    True
    >>> sorted(clusterer.refinement_.names_)[:2]
    ['account', 'advice']
    """

    def __init__(
        self,
        *,
        categories: bool = True,
        n_options: int = 32,
        n_rounds: int = 6,
        n_checks: int = 40,
        tol: float = 0.002,
        share: float = 1.0,
    ):
        self.categories = categories
        self.n_options = n_options
        self.n_rounds = n_rounds
        self.n_checks = n_checks
        self.tol = tol
        self.share = share

    def check(self) -> None:
        """Raise an error if a parameter is out of range."""
        check_number(self, "n_options", low=2)
        check_number(self, "n_rounds", low=1)
        check_number(self, "n_checks", low=0)
        check_number(self, "tol", kind=numbers.Real, low=0)
        check_number(self, "share", kind=numbers.Real, low=0, high=1, closed="right")

    def refine(
        self,
        texts: Sequence[str],
        embeddings: NDArray[Any],
        oracle: Any,
        *,
        n_questions: int,
        n_clusters: int | None = None,
        labels: Ints | None = None,
        base: Callable[[int], Ints] | None = None,
        random_state: Any = None,
    ) -> Refinement:
        """Discover classes, ask, distil, and reach the number of clusters.

        Parameters
        ----------
        texts : sequence of str of length n
        embeddings : ndarray of shape (n, d)
        oracle : ChoiceOracle
            Names categories, too, if it can.
        n_questions : int
            Questions of all kinds, at most.
        n_clusters : int, default=None
            Number of clusters. None: as many as classes are found.
        labels : ndarray of int, shape (n,), default=None
            Known groups, -1 for unlabelled texts. They are classes from the start, and
            the texts are not asked about.
        base : callable, default=None
            ``base(k)`` gives labels of k clusters that nothing was asked for, which the
            answers have to beat. None: k-means on smoothed embeddings.
        random_state : int, RandomState instance or None, default=None

        Returns
        -------
        refinement : Refinement

        Raises
        ------
        ValueError
            If a parameter is out of range; if ``n_clusters`` is None, and too few
            answers are usable.

        Warns
        -----
        UserWarning
            If too few answers are usable.
        """
        self.check()
        rng = check_random_state(random_state)
        seed = int(rng.randint(2**31))
        features = Features(embeddings)
        interview = Interview(oracle, texts, n_questions, rng)
        know(interview, features, labels)
        kind = self._discover(interview, features, n_clusters, seed)
        found, checks = self._ask(interview, features, kind, n_clusters, seed)
        if found is None:
            return fall_back(features, interview, n_clusters, base, seed)
        refinement = settle(
            features, found, interview, n_clusters, n_options=self.n_options, seed=seed
        )
        base_labels = (base or base_of(features, seed))(
            n_clusters or refinement.n_clusters_
        )
        judged = verdict(interview, found, base_labels, checks, kind=kind, seed=seed)
        return conclude(refinement, interview, found, judged, kind, base_labels)

    def plan(
        self,
        texts: Sequence[str],
        oracle: Any,
        *,
        n_questions: int,
        n_clusters: int | None = None,
        **how: Any,
    ) -> dict[str, Any]:
        """Estimate what asking would take, and ask nothing.

        Parameters
        ----------
        texts : sequence of str of length n
        oracle : ChoiceOracle
        n_questions : int
        n_clusters : int, default=None
            How many classes to reckon with. None: 50.
        **how
            Passed to the oracle's own ``plan``.

        Returns
        -------
        plan : dict
            ``"questions"``; and, if the oracle can plan, its ``"tokens"`` and
            ``"cost"`` as (low, high), reckoned from 50 of the texts with as many
            options as there may be classes, since no class is known yet.
        """
        plan: dict[str, Any] = {"questions": n_questions}
        if not callable(getattr(oracle, "plan", None)):
            return plan
        n_classes = n_clusters or 50
        step = max(1, len(texts) // 50)
        sample = list(dict.fromkeys(texts[::step]))[:50]
        options: list[Any]
        if self.categories and can_propose(oracle):
            options = [f"category name {number}" for number in range(n_classes)]
        else:
            shown = range(min(n_classes, self.n_options))
            options = [
                tuple(sample[(i + j) % len(sample)] for j in range(3)) for i in shown
            ]
        found = oracle.plan([([t], options) for t in sample], kind="choices", **how)
        for key in ("tokens", "cost"):
            if found.get(key) is not None:
                plan[key] = tuple(v * n_questions / len(sample) for v in found[key])
        return plan

    def _discover(
        self, interview: Interview, features: Features, k: int | None, seed: int
    ) -> str:
        """Find classes, and texts of each; gives the kind of options."""
        limit = interview.limit
        known = set(features.settled(interview.rows).tolist())
        if self.categories and interview.can_name:
            # Classes that are known would otherwise be named, and found, once more.
            for number in range(len(interview.classes)):
                interview.name(number)
            order = coverage(features.smooth, min(400, limit // 2), seed)
            rest = np.setdiff1d(features.first, order)
            order = np.concatenate([order, interview.rng.permutation(rest)])
            name_classes(interview, order, limit=max(1, int(NAMING * limit)))
        if len(interview.classes.named) > 1:
            rows = coverage(features.smooth, int(COVERING * interview.left), seed)
            asked = [i for i in rows.tolist() if i not in known]
            every = list(range(len(interview.classes)))
            interview.choose(asked, [every] * len(asked))
            return "categories"
        n_groups = int(COVERING * limit)
        if k is not None:
            n_groups = min(n_groups, GROUPS_PER_CLUSTER * k)
        rows = coverage(features.smooth, n_groups, seed)
        grow_classes(
            interview, features.smooth, [i for i in rows.tolist() if i not in known],
            n_options=self.n_options, limit=int(GROWING * limit),
        )  # fmt: skip
        return "groups"

    def _ask(
        self,
        interview: Interview,
        features: Features,
        kind: str,
        k: int | None,
        seed: int,
    ) -> tuple[Distilled | None, tuple[int, int]]:
        """Ask where an answer is worth most, and learn from all answers."""
        limit = interview.limit
        n_checks = min(self.n_checks, limit // 10)
        places = np.arange(len(interview.answered()[0]))
        places = interview.rng.permutation(interview.checkable(places))[:n_checks]
        n_shown = len(interview.classes) if kind == "categories" else self.n_options
        checks = check_answers(interview, places[: n_checks // 2], n_options=n_shown)
        reserve = n_checks - n_checks // 2
        if k is None or len(interview.classes) > k:
            reserve += int(MERGING * limit)
        per_round = -(-(interview.left - reserve) // self.n_rounds)
        quiet, before = 0, None
        while (
            can_learn(interview)
            and interview.left > reserve
            and not out_of_question(checks, kind, len(interview.classes))
        ):
            found = learn_classes(
                interview, features, seed, strengths=(3.0,), weigh=False,
                hold_out=kind == "groups",
            )  # fmt: skip
            likeliest = found.posterior.argmax(axis=1)
            if before is not None:
                changed = np.mean(likeliest != before) * 100 / per_round
                quiet = quiet + 1 if changed < self.tol else 0
            before = likeliest
            if kind == "groups":  # categories are shown by their names
                choose_exemplars(interview, found, kind)
            rows = least_certain(
                found.posterior, min(per_round, interview.left - reserve),
                without=features.settled(interview.rows),
            )  # fmt: skip
            if quiet == 2 or not len(rows):
                break
            self._ask_about(interview, features, found, rows, kind, reserve)
        if not can_learn(interview):
            return None, checks
        found = learn_classes(interview, features, seed)
        choose_exemplars(interview, found, kind)
        more = check_answers(interview, places[n_checks // 2 :], n_options=n_shown)
        return found, (checks[0] + more[0], checks[1] + more[1])

    def _ask_about(
        self,
        interview: Interview,
        features: Features,
        found: Distilled,
        rows: Ints,
        kind: str,
        reserve: int,
    ) -> None:
        """Ask for the classes of texts, and for new ones where none will do."""
        n_misfits = len(interview.unplaced())
        if kind == "categories":
            every = list(range(len(interview.classes)))
            interview.choose(rows.tolist(), [every] * len(rows))
            misfits = interview.unplaced()
            if len(misfits) // MISFITS > n_misfits // MISFITS:
                interview.propose(misfits[-4 * MISFITS :])
            return
        order = np.argsort(-found.posterior[rows], axis=1)[:, : self.n_options]
        said = interview.choose(rows.tolist(), order.tolist())
        misfits = rows[: len(said)][said == NONE].tolist()
        grow_classes(
            interview, features.smooth, misfits, n_options=self.n_options,
            limit=min(interview.spent + len(misfits), interview.limit - reserve),
        )  # fmt: skip
