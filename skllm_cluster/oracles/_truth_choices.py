"""What labels tell of the categories that texts belong to, and of their names."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._validation import as_texts
from ..protocols import ChoiceQuestion
from ._choice_question import Choice, Option, check_choices, check_strings
from ._prompts import keyed_mistakes, keyed_uniform
from ._truth_sets import known, labelled

__all__ = ["LabelsChoices", "Vocabulary", "gather_names"]


class Vocabulary(NamedTuple):
    """What categories are called.

    Attributes
    ----------
    names_of : dict
        The names of each text; none for an unlabelled one.
    labels_of : dict
        The labels of the texts that have a name, by name.
    """

    names_of: Mapping[str, frozenset[str]]
    labels_of: Mapping[str, frozenset[Hashable]]


class LabelsChoices:
    """What an oracle that knows labels has to put texts into categories."""

    undetermined: Any
    accuracy: Any
    doubts: Any
    _check_parameters: Any
    _lookup: Any
    _refuse_groups: Any
    _seed: Any
    _sureness: Any
    _vocabulary: Any

    def answer_choices(self, questions: Sequence[ChoiceQuestion]) -> NDArray[np.intp]:
        """Say which option has the label of the texts.

        Parameters
        ----------
        questions : sequence of (texts, options), of length M
            Each option a name (str), or texts of a group (sequence of str).

        Returns
        -------
        answers : ndarray of int, shape (M,)
            Number of the option; ``len(options)`` for none of them; -1 for no answer.
            Simulated.

        Raises
        ------
        TypeError
            If a question is not of this form.
        ValueError
            If a text is not among ``texts``, or a parameter is not valid.

        Notes
        -----
        The label of several texts is the one that most of them have. A name is right
        if the texts have it or, if none of the options is such a name, if texts of the
        same label do. A group is right if its texts have the label. Of several right
        options the first is named. A wrong answer is any of the others alike, "none"
        included. The same options in another order get the answer that says the same;
        other options make another question, which may be answered otherwise.

        Examples
        --------
        >>> from skllm_cluster.oracles import TruthOracle
        >>> oracle = TruthOracle(
        ...     ["card lost", "where is my card", "top-up failed"],
        ...     ["card", "card", "top"],
        ... )
        >>> oracle.answer_choices(
        ...     [
        ...         (["card lost"], ["top", "card"]),
        ...         (["card lost"], [["top-up failed"], ["where is my card"]]),
        ...         (["card lost"], ["top"]),
        ...     ]
        ... )
        array([1, 1, 1])
        """
        return self.judge_choices(questions)[0]

    def judge_choices(
        self, questions: Sequence[ChoiceQuestion]
    ) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """Answer as :meth:`answer_choices` does, and say how sure each answer is.

        Parameters
        ----------
        questions : sequence of (texts, options), of length M

        Returns
        -------
        answers : ndarray of int, shape (M,)
            As those of :meth:`answer_choices`. Simulated.
        confidence : ndarray of shape (M,)
            Probability that the answer is right. NaN where there is no answer, and
            everywhere without ``doubts``. Simulated.

        Raises
        ------
        TypeError, ValueError
            As :meth:`answer_choices`.
        """
        self._check_parameters()
        self._refuse_groups()
        asked = check_choices(questions)
        answers = np.full(len(asked), -1, dtype=np.intp)
        confidence = np.full(len(asked), np.nan)
        for i, question in enumerate(asked):
            answers[i], confidence[i] = self._choose(question)
        if not self.doubts:
            confidence[:] = np.nan
        return answers, confidence

    def propose_categories(
        self, texts: Sequence[str], known: Sequence[str] = ()
    ) -> list[str]:
        """Name the categories of these texts that are not known yet.

        Parameters
        ----------
        texts : sequence of str
            All that is looked at: no category is named that none of them has.
        known : sequence of str, default=()
            Names that are not given again.

        Returns
        -------
        names : list of str
            In the order in which they first occur. Simulated.

        Raises
        ------
        TypeError
            If either is no sequence of str.
        ValueError
            If a text is not among those known, or a parameter is not valid.

        Notes
        -----
        Unlabelled texts are passed over. With probability 1 - ``accuracy`` a text is
        taken for one of another category among those shown, or passed over if there is
        no other. The same texts, in any order, are taken for the same.

        Examples
        --------
        >>> from skllm_cluster.oracles import TruthOracle
        >>> oracle = TruthOracle(["a", "b", "c"], [0, 1, 1], names=["x", "y", "y"])
        >>> oracle.propose_categories(["c", "a", "b"], known=["x"])
        ['y']
        """
        self._check_parameters()
        self._refuse_groups()
        shown = check_strings(texts, "texts")
        given = {_even(name) for name in check_strings(known, "known")}
        order = sorted(range(len(shown)), key=shown.__getitem__)
        perceived: list[str | None] = [None] * len(shown)
        for place, name in zip(order, self._perceive(order, shown), strict=True):
            perceived[place] = name
        names = dict.fromkeys(name for name in perceived if name is not None)
        return [name for name in names if _even(name) not in given]

    def _perceive(self, order: list[int], shown: tuple[str, ...]) -> list[str | None]:
        """Say what each text is taken for, in an order that names no text."""
        names_of: Mapping[str, frozenset[str]] = self._vocabulary().names_of
        ranked = [shown[i] for i in order]
        # One text makes one impression, whatever it is called elsewhere.
        names = [min(known(names_of, text), default="") for text in ranked]
        present = list(dict.fromkeys(filter(None, names)))
        number = {name: i for i, name in enumerate(present)}
        said = keyed_mistakes(
            self._seed(), ranked, [number.get(name, -1) for name in names],
            float(self.accuracy), purpose="name",
        )  # fmt: skip
        return [present[i] if 0 <= i < len(present) else None for i in said]

    def _choose(self, question: Choice) -> tuple[int, float]:
        keys = [json.dumps(_sorted(option)) for option in question.options]
        asked, offered = json.dumps(sorted(question.texts)), json.dumps(sorted(keys))

        def draw(purpose: str) -> float:
            purpose = f"choice {purpose}"
            return keyed_uniform(self._seed(), purpose, asked, offered, "")

        n = len(question.options)
        answers = [*sorted(range(n), key=keys.__getitem__), n]
        right = self._right(question)
        if right is None and self.undetermined == "abstain":
            return -1, np.nan
        if right is None:
            return _one_of(answers, draw("truth")), 1 / (n + 1)
        sure: float = self._sureness(draw)
        wrong = [answer for answer in answers if answer not in right]
        # With nothing to choose from there is no wrong answer.
        if draw("truth") >= sure and wrong:
            return _one_of(wrong, draw("goes")), sure
        return right[0], sure

    def _right(self, question: Choice) -> list[int] | None:
        """Give the right answers, the first of which is named; None for unknown."""
        labels_of, vocabulary = self._lookup(), self._vocabulary()
        labels = _most(known(labels_of, text) for text in question.texts)
        names = _most(known(vocabulary.names_of, text) for text in question.texts)

        def meant(option: Option) -> frozenset[Hashable]:
            if isinstance(option, str):
                return vocabulary.labels_of.get(option, frozenset())  # type: ignore[no-any-return]
            return _most(known(labels_of, text) for text in option)

        alike = [
            i
            for i, option in enumerate(question.options)
            if not labels.isdisjoint(meant(option))
        ]
        if not labels:
            return None
        own = [i for i in alike if question.options[i] in names]
        return own or alike or [len(question.options)]


def gather_names(texts: Any, labels: Any, names: Any = None) -> Vocabulary:
    """Collect the names of each text's categories, and what labels they are used for.

    Parameters
    ----------
    texts : sequence of str, of length n
    labels : sequence of hashable, of length n
        -1, None and NaN mean unknown.
    names : sequence of str, of length n, optional
        None: the labels as str.

    Raises
    ------
    TypeError, ValueError
        If they are not texts and as many labels and names.
    """
    pairs = labelled(texts, labels)
    if names is None:
        called = [str(label) for _, label in pairs]
    else:
        called = as_texts(names, "names")
    if len(called) != len(pairs):
        raise ValueError(
            f"names must have one name per text, {len(pairs)}, got {len(called)} "
            "instead."
        )
    names_of: dict[str, set[str]] = {}
    labels_of: dict[str, set[Hashable]] = {}
    for (text, label), name in zip(pairs, called, strict=True):
        mine = names_of.setdefault(text, set())
        if label is not None:
            mine.add(name)
            labels_of.setdefault(name, set()).add(label)
    return Vocabulary(_frozen(names_of), _frozen(labels_of))


def _frozen(table: Mapping[str, set[Any]]) -> dict[str, frozenset[Any]]:
    return {key: frozenset(values) for key, values in table.items()}


def _most(values: Iterable[frozenset[Any]]) -> frozenset[Any]:
    """Give what most of several have; more than one if they are tied."""
    counts = Counter(value for mine in values for value in mine)
    most = max(counts.values(), default=0)
    return frozenset(value for value, count in counts.items() if count == most)


def _one_of(values: Sequence[int], uniform: float) -> int:
    return values[int(uniform * len(values))]


def _sorted(option: Option) -> Option:
    return option if isinstance(option, str) else tuple(sorted(option))


def _even(name: str) -> str:
    return " ".join(name.casefold().split())
