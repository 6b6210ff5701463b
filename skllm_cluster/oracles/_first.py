"""Oracles in a row: the first that has an answer gives it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from .._validation import shorten
from ..protocols import Pair, Triplet
from ._first_choices import FirstChoices
from ._row import (
    METHODS,
    answers,
    checked,
    checked_answers,
    checked_labels,
    if_each_answers,
    judged,
)

__all__ = ["FirstAnswer"]


class FirstAnswer(FirstChoices, BaseEstimator):
    """Ask several oracles in turn, each only what those before it left open.

    The first oracle's answers win over the second's, and so on: known labels over a
    person, a person over a model, a model over nothing.

    Parameters
    ----------
    oracles : list of (name, oracle)
        The first is asked everything; each further one what has no usable answer yet.
        The parameters of an oracle are reached as ``name__parameter``, the oracle
        itself as ``name``, as in a :class:`~sklearn.pipeline.Pipeline`.

    See Also
    --------
    HumanOracle : Asks a person.
    LLMOracle : Asks a language model.
    TruthOracle : Answers from known labels.

    Notes
    -----
    An answer of -1 is no answer, whatever it came from: if a person says "neither or
    both", the question goes on to the model. Leave the model out if it should not.

    An oracle that wants a pilot first (:meth:`LLMOracle.preflight_triplets`) gets it,
    on the questions that are left to it.

    There are ``answer_triplets`` and ``judge_triplets`` if each oracle has a method
    ``answer_triplets``, and the same holds for pairs and choices. There are
    ``answer_sets`` and ``propose_categories`` if each has them.

    Examples
    --------
    Labels are known for some texts, a person has said something about another, and a
    model (here a function, **simulated**) takes what is left:

    >>> import io
    >>> from unittest import mock
    >>> from skllm_cluster.oracles import (
    ...     FirstAnswer,
    ...     HumanOracle,
    ...     LLMOracle,
    ...     TruthOracle,
    ... )
    >>> texts = ["my card?", "lost card", "top-up", "new card", "hello"]
    >>> labels = TruthOracle(texts, ["card", "card", "top-up", None, None])
    >>> person = HumanOracle()
    >>> with mock.patch("sys.stdin", io.StringIO("n")):  # what the person types
    ...     said = person.answer_triplets([("my card?", "new card", "hello")])
    <BLANKLINE>
    Question 1, ...
    >>> oracle = FirstAnswer(
    ...     [
    ...         ("labels", labels),
    ...         ("person", person.set_params(max_questions=0)),  # asks no more
    ...         ("model", LLMOracle(lambda prompt: "Choice 1", order="given")),
    ...     ]
    ... )
    >>> oracle.answer_triplets(
    ...     [("my card?", "top-up", "lost card"), ("my card?", "new card", "hello")]
    ... )
    array([1, 0])
    >>> report = oracle.report()["oracles"]
    >>> {name: own["n_answered"] for name, own in report.items()}
    {'labels': 1, 'person': 0, 'model': 1}
    >>> oracle.set_params(model__n_jobs=4).get_params()["model__n_jobs"]
    4
    """

    def __init__(self, oracles: list[tuple[str, Any]]):
        self.oracles = oracles

    @if_each_answers("triplets")
    def answer_triplets(self, triplets: Sequence[Triplet]) -> NDArray[np.intp]:
        """Say which of two choices is closer to an anchor.

        Parameters
        ----------
        triplets : sequence of (anchor, choice 1, choice 2), all str, of length Q

        Returns
        -------
        answers : ndarray of int, shape (Q,)
            0 for the first choice, 1 for the second, -1 where no oracle has a usable
            answer.

        Raises
        ------
        TypeError, ValueError
            If :meth:`check` does, or an oracle returns anything but one of -1, 0 and 1
            for each question.
        Exception
            Whatever an oracle raises, such as OracleError after its pilot.
        """
        return self._ask("triplets", triplets, wanted=False)[0]

    @if_each_answers("triplets")
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
            0 for the first choice, 1 for the second, -1 for no usable answer.
        confidence : ndarray of shape (Q,)
            As the oracle that answered tells it. NaN where it does not, which includes
            every oracle without a method ``judge_triplets``, and where there is no
            answer: none is made up.

        Raises
        ------
        Exception
            As :meth:`answer_triplets`.
        """
        return self._ask("triplets", triplets, wanted=True)

    @if_each_answers("pairs")
    def answer_pairs(self, pairs: Sequence[Pair]) -> NDArray[np.intp]:
        """Say whether two texts belong together.

        Parameters
        ----------
        pairs : sequence of (text, text), all str, of length P

        Returns
        -------
        answers : ndarray of int, shape (P,)
            1 if they do, 0 if they do not, -1 where no oracle has a usable answer.

        Raises
        ------
        Exception
            As :meth:`answer_triplets`.
        """
        return self._ask("pairs", pairs, wanted=False)[0]

    @if_each_answers("pairs")
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
            1 if they belong together, 0 if they do not, -1 for no usable answer.
        confidence : ndarray of shape (P,)
            As that of :meth:`judge_triplets`, from each oracle's ``judge_pairs``.

        Raises
        ------
        Exception
            As :meth:`answer_triplets`.
        """
        return self._ask("pairs", pairs, wanted=True)

    @if_each_answers("sets")
    def answer_sets(self, sets: Sequence[Sequence[str]]) -> list[NDArray[np.intp]]:
        """Say which texts of each set belong together.

        Parameters
        ----------
        sets : sequence of sequence of str

        Returns
        -------
        labels : list of ndarray of int, each of shape (size of the set,)
            All from one oracle: the first that gives any label in the set. -1 where
            that gives none.

        Raises
        ------
        TypeError, ValueError
            If :meth:`check` does, or an oracle returns anything but an integer of at
            least -1 for each text.
        Exception
            Whatever an oracle raises.
        """
        labels = [np.full(len(texts), -1, dtype=np.intp) for texts in sets]

        def ask(name: str, oracle: Any, left: NDArray[np.intp]) -> NDArray[np.bool_]:
            asked = [sets[int(i)] for i in left]
            found = checked_labels(name, oracle.answer_sets(asked), asked)
            for i, own in zip(left, found, strict=True):
                labels[i] = own
            return np.array([(own >= 0).any() for own in found])

        self._in_turn(len(sets), ask)
        return labels

    def check(self) -> None:
        """Check the list, that each oracle answers something, and each oracle itself.

        Raises
        ------
        TypeError, ValueError
            If ``oracles`` is no list of (name, oracle), an oracle has no method to
            answer anything, or its own ``check`` raises.
        """
        for name, oracle in self._named():
            if not any(answers(oracle, kind) for kind in METHODS):
                raise TypeError(
                    f"The oracle {name!r}, {type(oracle).__name__}, cannot answer "
                    f"anything: it has none of the methods {tuple(METHODS.values())}."
                )
            if callable(getattr(oracle, "check", None)):
                oracle.check()

    def plan(self, questions: Sequence[Any], **how: Any) -> dict[str, Any]:
        """Say what asking would take at most, and ask nothing.

        Parameters
        ----------
        questions : sequence
            Questions of one kind, see :meth:`LLMOracle.plan`.
        **how : dict
            Handed on, such as ``kind="sets"`` or ``seconds_per_answer``.

        Returns
        -------
        plan : dict
            Under its name, the plan of each oracle that can plan, as if those before
            it answered nothing: what they will leave open is not known yet.
        """
        return {
            name: oracle.plan(questions, **how)
            for name, oracle in self._named()
            if callable(getattr(oracle, "plan", None))
        }

    def report(self) -> dict[str, Any]:
        """Sum up what was asked since this oracle was made.

        Returns
        -------
        report : dict
            ``oracles``: under the name of each, its own report, if it has one, with
            ``n_given`` (questions that came to it) and ``n_answered`` (those that it
            gave a usable answer to). Over all of them ``n_open`` (their sum) and
            ``first_unusable_reply``, where they tell.
        """
        oracles = {}
        for name, oracle in self._named():
            own = oracle.report() if callable(getattr(oracle, "report", None)) else {}
            given, answered = self._counts().get(name, (0, 0))
            oracles[name] = {**own, "n_given": given, "n_answered": answered}
        unusable = [own.get("first_unusable_reply") for own in oracles.values()]
        return {
            "oracles": oracles,
            "n_open": sum(own.get("n_open") or 0 for own in oracles.values()),
            "first_unusable_reply": next((r for r in unusable if r is not None), None),
        }

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Get the parameters, those of the oracles included.

        Parameters
        ----------
        deep : bool, default=True
            Whether to include the oracles, by name, and their parameters.

        Returns
        -------
        params : dict
        """
        params: dict[str, Any] = {"oracles": self.oracles}
        for name, oracle in self._named() if deep else ():
            params[name] = oracle
            own = oracle.get_params() if hasattr(oracle, "get_params") else {}
            params |= {f"{name}__{key}": value for key, value in own.items()}
        return params

    def set_params(self, **params: Any) -> FirstAnswer:
        """Set the list, then oracles by name, then their parameters.

        Parameters
        ----------
        **params : dict
            Such as ``person=HumanOracle()`` or ``model__n_jobs=4``.

        Returns
        -------
        self : FirstAnswer
        """
        self.oracles = params.pop("oracles", self.oracles)
        steps = self._named()
        new = {name: params.pop(name) for name, _ in steps if name in params}
        if new:
            self.oracles = [(name, new.get(name, oracle)) for name, oracle in steps]
        super().set_params(**params)
        return self

    def _named(self) -> list[tuple[str, Any]]:
        pairs = self.oracles
        if not isinstance(pairs, (list, tuple)) or not pairs:
            raise TypeError(
                "oracles must be a list of at least one (name, oracle), got "
                f"{shorten(pairs)} instead."
            )
        for i, pair in enumerate(pairs):
            well_formed = isinstance(pair, (list, tuple)) and len(pair) == 2
            if not well_formed or not isinstance(pair[0], str):
                raise TypeError(
                    "oracles must be a list of (name, oracle), got "
                    f"{shorten(pair)} at index {i}."
                )
        names = [name for name, _ in pairs]
        for i, name in enumerate(names):
            if not name or "__" in name or name == "oracles" or name in names[:i]:
                raise ValueError(
                    "The names of oracles must differ, may not hold '__', and may not "
                    f"be 'oracles' or empty; got {name!r} at index {i}."
                )
        return [(name, oracle) for name, oracle in pairs]

    def _ask(
        self, kind: str, questions: Sequence[Any], *, wanted: bool
    ) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        answered = np.full(len(questions), -1, dtype=np.intp)
        confidence = np.full(len(questions), np.nan)

        def ask(name: str, oracle: Any, left: NDArray[np.intp]) -> NDArray[np.bool_]:
            asked = [questions[int(i)] for i in left]
            found, sure = judged(oracle, kind, asked, wanted)
            answered[left] = checked_answers(name, kind, found, asked)
            confidence[left] = checked(name, sure, len(left))
            is_usable: NDArray[np.bool_] = answered[left] >= 0
            return is_usable

        self._in_turn(len(questions), ask)
        confidence[answered < 0] = np.nan
        return answered, confidence

    def _in_turn(
        self,
        n: int,
        ask: Callable[[str, Any, NDArray[np.intp]], NDArray[np.bool_]],
    ) -> None:
        """Ask each oracle what is open, by number; it says what it has answered."""
        self.check()
        is_open = np.ones(n, dtype=bool)
        for name, oracle in self._named():
            left = np.flatnonzero(is_open)
            if not len(left):
                break
            usable = ask(name, oracle, left)
            is_open[left[usable]] = False
            given, n_answered = self._counts().get(name, (0, 0))
            self._counts()[name] = (given + len(left), n_answered + int(usable.sum()))

    def _counts(self) -> dict[str, tuple[int, int]]:
        """Questions given to each oracle, and answered by it."""
        if "_counted" not in self.__dict__:
            self._counted: dict[str, tuple[int, int]] = {}
        return self._counted

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()
        return {name: value for name, value in state.items() if name != "_counted"}
