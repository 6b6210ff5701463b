"""An oracle that knows the labels: a simulated LLM."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Sequence
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state

from .._validation import shorten
from ..protocols import Pair, Triplet
from ._prompts import keyed_uniform
from ._truth_choices import LabelsChoices, Vocabulary, gather_names
from ._truth_sets import LabelsSets, gather, gather_sets, known

__all__ = ["TruthOracle"]

_UNDETERMINED = ("abstain", "random")
_SEEDING = threading.Lock()  # two threads must not draw two seeds for one oracle


class TruthOracle(LabelsSets, LabelsChoices, BaseEstimator):
    """Answer from known labels: **simulates** an LLM, and asks none.

    For examples, tests, and to see how far perfect or noisy answers would get you.
    Wherever results are shown, answers of this oracle must be called simulated: they
    say nothing about any model.

    Parameters
    ----------
    texts : sequence of str
        Every text that may be asked about.
    labels : sequence of hashable, of the same length
        Label of each text; -1, None and NaN mean unknown. A text may occur several
        times with different labels, as in real corpora: it then has them all.
    groups : sequence of int, of the same length, optional
        Equal numbers form one set. Labels are then compared within a set only, and
        whole sets are all that is answered; see :meth:`from_sets`.
    names : sequence of str, of the same length, optional
        What the category of each text is called. None: its label, as a str. A category
        with several names is one that an oracle splits; a name of several categories
        merges them.
    accuracy : float in [0, 1], default=1.0
        Probability that a question that the labels determine is answered truly.
    undetermined : {"abstain", "random"}, default="abstain"
        What is answered if the labels do not determine an answer: -1, or the throw
        of a fair coin, with as many sides as there are answers. In sets, always -1.
    doubts : bool, default=False
        Whether some answers are more doubtful than others (not in sets, or of
        proposals), and :meth:`judge_triplets`, :meth:`judge_pairs` and
        :meth:`judge_choices` say which. Needs an ``accuracy`` of at least 0.5, which is
        then that of all answers together.
    random_state : int, RandomState instance or None, default=None
        Seeds the wrong answers and the coin. None draws a seed once per oracle.

    See Also
    --------
    LLMOracle : Asks a real language model.

    Notes
    -----
    A triplet is determined if all three labels are known and exactly one of the two
    choices shares the anchor's. A pair is determined if both labels are known, a choice
    between options if the label of one of the texts asked about is. Two
    texts share a label if any of theirs is the same. In a set, a text that has several
    belongs to none of its clusters.

    Errors belong to questions, not to calls: the same question, in either order of
    the choices or of the pair, in any batch or thread, gets the answer that says the
    same. The errors in questions of different kinds are independent. Asking again
    therefore does not average the errors out, as it would not with a model that
    misunderstands a text. Unlike a real model's, the errors do not depend on how hard
    the question is, and no position is preferred.

    With ``doubts``, each question has a probability of a true answer of its own, drawn
    evenly from the widest interval around ``accuracy`` within [0.5, 1]: from 0.5 to 1
    for 0.75, from 0.6 to 1 for 0.8. It is what the oracle gives as its confidence, so
    this one is perfectly calibrated, which no real model is, and its doubts have
    nothing to do with the texts.

    ``texts`` and ``labels`` are looked through once; give new ones with
    ``set_params`` rather than changing them in place.

    Examples
    --------
    >>> from skllm_cluster.oracles import TruthOracle
    >>> oracle = TruthOracle(
    ...     ["card lost", "where is my card", "top-up failed"], ["card", "card", "top"]
    ... )
    >>> oracle.answer_triplets([("card lost", "top-up failed", "where is my card")])
    array([1])
    >>> oracle.answer_pairs(
    ...     [("card lost", "where is my card"), ("card lost", "top-up failed")]
    ... )
    array([1, 0])
    """

    def __init__(
        self,
        texts: Sequence[str],
        labels: Sequence[Hashable],
        *,
        groups: Sequence[int] | None = None,
        names: Sequence[str] | None = None,
        accuracy: float = 1.0,
        undetermined: str = "abstain",
        doubts: bool = False,
        random_state: int | np.random.RandomState | None = None,
    ):
        self.texts = texts
        self.labels = labels
        self.groups = groups
        self.names = names
        self.accuracy = accuracy
        self.undetermined = undetermined
        self.doubts = doubts
        self.random_state = random_state

    def answer_triplets(self, triplets: Sequence[Triplet]) -> NDArray[np.intp]:
        """Say which of two choices shares the anchor's label.

        Parameters
        ----------
        triplets : sequence of (anchor, choice 1, choice 2), all str, of length Q

        Returns
        -------
        answers : ndarray of int, shape (Q,)
            0 for the first choice, 1 for the second, -1 for no answer. Simulated.

        Raises
        ------
        ValueError
            If a text is not among ``texts``, or a parameter is not valid.
        """
        return self.judge_triplets(triplets)[0]

    def judge_triplets(
        self, triplets: Sequence[Triplet]
    ) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """Answer as :meth:`answer_triplets` does, and say how sure each answer is.

        Parameters
        ----------
        triplets : sequence of (anchor, choice 1, choice 2), all str, of length Q

        Returns
        -------
        answers : ndarray of int, shape (Q,)
            0 for the first choice, 1 for the second, -1 for no answer. Simulated.
        confidence : ndarray of shape (Q,)
            Probability that the answer is right: 0.5 for a coin's. NaN where there is
            no answer, and everywhere without ``doubts``. Simulated.

        Raises
        ------
        ValueError
            If a text is not among ``texts``, or a parameter is not valid.

        Examples
        --------
        >>> from skllm_cluster.oracles import TruthOracle
        >>> oracle = TruthOracle(
        ...     ["a", "b", "c"], [0, 0, 1], accuracy=0.8, doubts=True, random_state=0
        ... )
        >>> answers, confidence = oracle.judge_triplets([("a", "b", "c")])
        >>> answers, confidence.round(2)
        (array([0]), array([0.65]))
        """
        return self._judge(triplets, self._judge_triplet)

    def answer_pairs(self, pairs: Sequence[Pair]) -> NDArray[np.intp]:
        """Say whether two texts share a label.

        Parameters
        ----------
        pairs : sequence of (text, text), all str, of length P

        Returns
        -------
        answers : ndarray of int, shape (P,)
            1 if they do, 0 if they do not, -1 for no answer. Simulated.

        Raises
        ------
        ValueError
            If a text is not among ``texts``, or a parameter is not valid.
        """
        return self.judge_pairs(pairs)[0]

    def judge_pairs(
        self, pairs: Sequence[Pair]
    ) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """Answer as :meth:`answer_pairs` does, and say how sure each answer is.

        Parameters
        ----------
        pairs : sequence of (text, text), all str, of length P

        Returns
        -------
        answers : ndarray of int, shape (P,)
            1 if they share a label, 0 if they do not, -1 for no answer. Simulated.
        confidence : ndarray of shape (P,)
            As that of :meth:`judge_triplets`.

        Raises
        ------
        ValueError
            If a text is not among ``texts``, or a parameter is not valid.
        """
        return self._judge(pairs, self._judge_pair)

    def _judge(
        self,
        questions: Sequence[tuple[str, ...]],
        judge: Callable[..., tuple[int, float]],
    ) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        self._check_parameters()
        self._refuse_groups()
        labels_of, seed = self._lookup(), self._seed()
        judged = [judge(labels_of, seed, *question) for question in questions]
        answers = np.array([answer for answer, _ in judged], dtype=np.intp)
        confidence = np.array([sure for _, sure in judged], dtype=np.float64)
        if not self.doubts:
            confidence[:] = np.nan
        return answers, confidence

    def _judge_triplet(
        self,
        labels_of: dict[str, frozenset[Hashable]],
        seed: int,
        anchor: str,
        first: str,
        second: str,
    ) -> tuple[int, float]:
        ours, *theirs = (known(labels_of, text) for text in (anchor, first, second))
        shared = [not ours.isdisjoint(labels) for labels in theirs]
        determined = ours and all(theirs) and shared[0] != shared[1]
        # The coin names a text, not a position, so swapping the choices swaps it.
        heads, tails = (int(text != first) for text in sorted((first, second)))
        return self._say(
            int(shared[1]) if determined else None,
            (heads, tails),
            lambda purpose: keyed_uniform(seed, purpose, anchor, first, second),
        )

    def _judge_pair(
        self,
        labels_of: dict[str, frozenset[Hashable]],
        seed: int,
        first: str,
        second: str,
    ) -> tuple[int, float]:
        one, two = (known(labels_of, text) for text in (first, second))
        return self._say(
            int(not one.isdisjoint(two)) if one and two else None,
            (1, 0),
            lambda purpose: keyed_uniform(seed, f"pair {purpose}", "", first, second),
        )

    def _say(
        self, truth: int | None, coin: tuple[int, int], draw: Callable[[str], float]
    ) -> tuple[int, float]:
        """Say the truth, or err by the chance that the question carries."""
        if truth is not None:
            sure = self._sureness(draw)
            return truth ^ int(draw("truth") < 1 - sure), sure
        if self.undetermined == "abstain":
            return -1, np.nan
        return coin[int(draw("truth") >= 0.5)], 0.5

    def _sureness(self, draw: Callable[[str], float]) -> float:
        """Draw the probability with which a question is answered truly."""
        accuracy = float(self.accuracy)
        if not self.doubts:
            return accuracy
        # Another draw than the one that decides whether the answer errs.
        place = 2 * draw("doubt") - 1
        return accuracy + place * min(1 - accuracy, accuracy - 0.5)

    def _refuse_groups(self) -> None:
        if self.groups is not None:
            raise ValueError(
                "With groups, labels are compared within a set, so TruthOracle answers "
                "sets alone. For any other question leave groups out."
            )

    def _check_parameters(self) -> None:
        accuracy: Any = self.accuracy
        if not isinstance(accuracy, Real) or not 0 <= float(accuracy) <= 1:
            raise ValueError(
                f"accuracy must be a number in [0, 1], got {shorten(accuracy)} instead."
            )
        if self.doubts and accuracy < 0.5:
            raise ValueError(
                f"accuracy must be at least 0.5 with doubts=True, got {accuracy}: an "
                "oracle that thinks the other answer likelier would give that one."
            )
        if self.undetermined not in _UNDETERMINED:
            raise ValueError(
                f"undetermined must be one of {_UNDETERMINED}, got "
                f"{shorten(self.undetermined)} instead."
            )

    def _lookup(self) -> Any:
        """Return what is known of each text, or set, gathered once for these labels."""
        return self._tables()[0]

    def _vocabulary(self) -> Vocabulary:
        """Return what categories are called, gathered once for these names."""
        words: Vocabulary = self._tables()[1]
        return words

    def _tables(self) -> Any:
        labelled, given = (self.texts, self.labels), (self.groups, self.names)
        cached: Any = self.__dict__.get("_cached")
        if cached is None or any(
            a is not b for a, b in zip(cached[:4], (*labelled, *given), strict=True)
        ):
            tables: Any
            if self.groups is None:
                tables = gather(*labelled), gather_names(*labelled, self.names)
            else:  # what a set is about has no name
                tables = gather_sets(*labelled, self.groups), None
            # One assignment: another thread sees the old tables or the new ones.
            cached = self._cached = (*labelled, *given, tables)
        return cached[-1]

    def _seed(self) -> int:
        with _SEEDING:
            drawn: Any = self.__dict__.get("_drawn")
            if drawn is None or drawn[0] is not self.random_state:
                source = check_random_state(self.random_state)
                drawn = self._drawn = (
                    self.random_state,
                    int(source.randint(2**31 - 1)),
                )
            seed: int = drawn[1]
            return seed

    def __getstate__(self) -> dict[str, Any]:
        # The drawn seed stays: a copy in another process must answer the same.
        state: dict[str, Any] = super().__getstate__()
        return {name: value for name, value in state.items() if name != "_cached"}
