"""An oracle that asks a person."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from .._validation import check_number, import_extra, shorten
from ..journal import AnswerJournal, Attempt, question_key
from ..protocols import Reply, Triplet
from ._human_page import check_page, read_answer_file, render_page, write_page
from ._human_sitting import (
    Question,
    Sitting,
    ask_in_terminal,
    instruction,
    make_widget,
    notebook_display,
    turned,
)
from ._prompts import keyed_uniform

__all__ = ["HumanOracle"]

_INTERFACES = ("terminal", "widget", "page")
_ANSWERS = {"Choice 1": 0, "Choice 2": 1, "Neither": -1}
_REPLIES = {answer: text for text, answer in _ANSWERS.items()}


class HumanOracle(BaseEstimator):
    """Ask a person which texts belong together.

    Every answer is in the journal before the next question is asked: nothing that was
    said is lost, or asked again, whichever way round the choices come.

    Parameters
    ----------
    perspective : str, default="topic"
        In what respect texts are compared, such as "intent".
    texts : str, default="texts"
        What the texts are, in the plural, such as "banking customer utterances".
    interface : {"terminal", "widget", "page"}, default="terminal"
        Where the questions are asked. "terminal": here and now, one after another.
        "widget": in a notebook. "page": in an HTML file, for whoever has a browser;
        it gives back a file for :meth:`read_answers`. With the last two,
        ``answer_triplets`` does not wait: it returns the answers there are, and fit
        has to be called again when there are more.
    journal : path-like or AnswerJournal, optional
        Where the answers are kept. None: in memory, as long as this oracle and its
        clones live; a pickle does not carry them.
    page : path-like, default="questions.html"
        The file that "page" writes. Only such a page is ever overwritten.
    max_questions : int, optional
        At most so many questions are put to the person at a time, those that come
        first. With 0 only what was answered before is answered.
    annotator : str, optional
        Who answers. Answers of one person are not taken for those of another.
    random_state : int, default=0
        Seed of the order in which the two choices are shown. A plain number: the
        order depends on it and on the texts alone, so a question always looks alike.

    See Also
    --------
    FirstAnswer : Asks a person first, and a model what the person did not answer.
    LLMOracle : Asks a language model.

    Notes
    -----
    A person may say that neither or both choices belong to the query. That is kept, is
    not asked again, and is no usable answer (-1). What was skipped, or not reached, is
    -1 as well, and will be asked again.

    At the terminal, "b" goes back to correct an answer, and "q", Ctrl-C and the end of
    the input all mean that the person had enough; the rest stays open. Texts are
    shown with what cannot be seen spelled out (``[U+001B]``), so that no text can
    steer a terminal or turn the direction of what is written after it.

    The page holds its questions, loads nothing and sends nothing, and the browser
    keeps the answers in between under the keys of the questions. A page that is
    written anew, with the questions still open, finds them again.

    Examples
    --------
    >>> from skllm_cluster.oracles import HumanOracle
    >>> oracle = HumanOracle(perspective="intent")

    Here a string takes the place of the keyboard:

    >>> import io
    >>> from unittest import mock
    >>> triplet = ("Where is my card?", "No card yet", "Top-up failed")
    >>> with mock.patch("sys.stdin", io.StringIO("2")):
    ...     oracle.answer_triplets([triplet])
    <BLANKLINE>
    Question 1, 0 of 1 answered
    Which of these texts is closer to the Query in terms of intent?
      Query:  Where is my card?
      1:      Top-up failed
      2:      No card yet
    1, 2, n (neither or both), s (skip for now), b (back), q (quit):
    That was the last question; 1 of 1 answered.
    Enter or q (finish), b (back):
    array([0])

    Which choice is shown first is up to chance; the answer refers to the order given.
    The other way round it is the same question, and not asked again:

    >>> oracle.answer_triplets([("Where is my card?", "Top-up failed", "No card yet")])
    array([1])
    """

    def __init__(
        self,
        *,
        perspective: str = "topic",
        texts: str = "texts",
        interface: str = "terminal",
        journal: str | os.PathLike[str] | AnswerJournal | None = None,
        page: str | os.PathLike[str] = "questions.html",
        max_questions: int | None = None,
        annotator: str | None = None,
        random_state: int = 0,
    ):
        self.perspective = perspective
        self.texts = texts
        self.interface = interface
        self.journal = journal
        self.page = page
        self.max_questions = max_questions
        self.annotator = annotator
        self.random_state = random_state

    def answer_triplets(self, triplets: Sequence[Triplet]) -> NDArray[np.intp]:
        """Ask which of two choices is closer to an anchor.

        Parameters
        ----------
        triplets : sequence of (anchor, choice 1, choice 2), all str, of length Q

        Returns
        -------
        answers : ndarray of int, shape (Q,)
            0 for the first choice, 1 for the second, -1 for no usable answer, or none
            yet.

        Raises
        ------
        TypeError, ValueError
            If a parameter is not valid.

        Warns
        -----
        UserWarning
            If "page" or "widget" leaves questions open. It says what to do.
        """
        self.check()
        questions = [self._question(*triplet) for triplet in triplets]
        still_open = self._put(questions)
        if still_open:
            self._ask(still_open)
        said = self._said({question.key for question in questions})
        answers = [said.get(question.key, -1) for question in questions]
        # What was said refers to the sorted choices.
        return np.array(
            [turned(a, t[1] > t[2]) for a, t in zip(answers, triplets, strict=True)],
            dtype=np.intp,
        )

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
            1 for an answer: a person's word is taken. NaN where there is none.
        """
        answers = self.answer_triplets(triplets)
        return answers, np.where(answers >= 0, 1.0, np.nan)

    def widget(self, triplets: Sequence[Triplet]) -> Any:
        """Build a widget that asks, in a notebook, what is not answered yet.

        Parameters
        ----------
        triplets : sequence of (anchor, choice 1, choice 2), all str

        Returns
        -------
        widget : ipywidgets.VBox
            The last expression of a cell shows it. A click is recorded at once.

        Raises
        ------
        ImportError
            If ``ipywidgets`` is not installed.
        TypeError, ValueError
            If a parameter is not valid.
        """
        self.check()
        questions = [self._question(*triplet) for triplet in triplets]
        return self._widget(self._put(questions))

    def read_answers(self, path: str | os.PathLike[str]) -> int:
        """Put the answers that a page gave back into the journal.

        Parameters
        ----------
        path : path-like
            The file that the page's button saved. It carries its questions: any
            oracle with the same ``perspective``, ``texts`` and ``annotator`` reads it,
            in any process. The file read last has the last word.

        Returns
        -------
        n_new : int
            How many answers are new, or other than before.

        Raises
        ------
        OSError
            If the file cannot be read.
        ValueError
            If it is no such file, or any answer in it is not valid; then none of
            them is kept.
        """
        self.check()
        found = read_answer_file(path, self._task(), self._question)
        said = self._said({question.key for question, _ in found})
        new = [pair for pair in found if said.get(pair[0].key) != pair[1]]
        self._keep(new, time.time())
        return len(new)

    def check(self) -> None:
        """Check the parameters, and that answers could be kept; ask nothing.

        Raises
        ------
        ImportError
            If ``interface`` is "widget" and ``ipywidgets`` is not installed.
        TypeError, ValueError
            If a parameter is not valid, or the journal says so.
        """
        for name, value in self._task().items():
            missing = name == "annotator" and value is None
            if not missing and not (isinstance(value, str) and value.strip()):
                raise ValueError(
                    f"{name} must be a str that says something, got {shorten(value)} "
                    "instead."
                )
        if self.interface not in _INTERFACES:
            raise ValueError(
                f"interface must be one of {_INTERFACES}, got "
                f"{shorten(self.interface)} instead."
            )
        check_number(self, "max_questions", low=0, optional=True)
        check_number(self, "random_state", low=0)
        if self.interface == "widget":
            import_extra("ipywidgets", "HumanOracle.widget")
        if self.interface == "page":
            check_page(self.page)
        self._journal().check()

    def report(self) -> dict[str, Any]:
        """Sum up what was asked since this oracle was made.

        Returns
        -------
        report : dict
            ``n_asked`` (distinct questions that came up), and what became of them so
            far: ``n_usable``, ``n_neither`` ("neither or both"), ``n_open`` (no
            answer yet). ``n_skipped``: those of the open ones that the person saw and
            passed over, at the terminal or in a widget.
        """
        asked, skipped = self._met()
        said = self._said(asked)
        n_neither = sum(answer < 0 for answer in said.values())
        return {
            "n_asked": len(asked),
            "n_usable": len(said) - n_neither,
            "n_neither": n_neither,
            "n_open": len(asked) - len(said),
            "n_skipped": len(skipped - said.keys()),
        }

    def _task(self) -> dict[str, Any]:
        names = ("perspective", "texts", "annotator")
        return {name: getattr(self, name) for name in names}

    def _question(self, anchor: str, first: str, second: str) -> Question:
        low, high = sorted((first, second))
        request = {
            "asks": "a person",
            "version": 1,
            **self._task(),
            "anchor": anchor,
            "choices": [low, high],
        }
        coin = keyed_uniform(int(self.random_state), "order", anchor, low, high)
        return Question(question_key(request), request, swapped=coin < 0.5)

    def _put(self, questions: Iterable[Question]) -> list[Question]:
        """Return the distinct questions that are open, and may be put to the person."""
        distinct = {question.key: question for question in questions}
        self._met()[0].update(distinct)
        said = self._said(distinct)
        still_open = [q for key, q in distinct.items() if key not in said]
        return still_open[: self.max_questions]

    def _said(self, keys: Collection[str]) -> dict[str, int]:
        """Look up answers; they refer to the sorted choices."""
        replies = self._journal().replies(list(keys))
        said = {key: _ANSWERS.get(reply.text) for key, reply in replies.items()}
        return {key: answer for key, answer in said.items() if answer is not None}

    def _keep(self, answers: Sequence[tuple[Question, int]], since: float) -> None:
        seconds = time.time() - since
        entries = []
        for question, answer in answers:
            reply = Reply(_REPLIES[answer], model="human")
            attempt = Attempt(since, seconds, reply, None, answer)
            entries.append((question.key, question.request, attempt))
        # The last word counts: an answer may be a correction.
        self._journal().record_all(entries, replace=True)

    def _sitting(self, questions: list[Question]) -> Sitting:
        def record(question: Question, choice: int, since: float) -> None:
            self._keep([(question, turned(choice, question.swapped))], since)

        return Sitting(questions, record, self._met()[1])

    def _widget(self, questions: list[Question]) -> Any:
        return make_widget(self._sitting(questions), self._instruction())

    def _instruction(self) -> str:
        return instruction(self.perspective, self.texts)

    def _ask(self, questions: list[Question]) -> None:
        if self.interface == "terminal":
            ask_in_terminal(self._sitting(questions), self._instruction())
            return
        if self.interface == "page":
            page = render_page(questions, self._instruction(), self._task())
            write_page(self.page, page)
            todo = (
                f"Open {os.path.abspath(self.page)} in a browser, answer, download the "
                "answers, read them with oracle.read_answers('answers.json')"
            )
        elif (display := notebook_display()) is not None:
            display(self._widget(questions))
            todo = "Answer in the widget"
        else:
            todo = "Show oracle.widget(triplets) in a notebook, answer there"
        warnings.warn(
            f"Questions that are open, without an answer (-1): {len(questions):,}. "
            f"{todo}, and fit again.",
            UserWarning,
            stacklevel=3,
        )

    def _met(self) -> tuple[set[str], set[str]]:
        """Keys of the questions that came up, and of those that were passed over."""
        if "_keys_met" not in self.__dict__:
            self._keys_met: tuple[set[str], set[str]] = (set(), set())
        return self._keys_met

    def _journal(self) -> AnswerJournal:
        if isinstance(self.journal, AnswerJournal):
            return self.journal
        opened: Any = self.__dict__.get("_opened")
        if opened is None or opened[0] != self.journal:
            opened = self._opened = (self.journal, AnswerJournal(self.journal))
        return opened[1]  # type: ignore[no-any-return]

    def __sklearn_clone__(self) -> HumanOracle:
        copy = type(self)(**self.get_params(deep=False))
        if self.journal is None:
            self._journal()
            copy._opened = self._opened  # nobody wants to be asked again by a clone
        return copy

    def __getstate__(self) -> dict[str, Any]:
        own = {"_opened", "_keys_met"}
        state: dict[str, Any] = super().__getstate__()
        return {name: value for name, value in state.items() if name not in own}
