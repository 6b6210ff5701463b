"""An oracle that asks a person."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from .._validation import check_number, import_extra, shorten
from ..journal import AnswerJournal
from ..protocols import Pair, Triplet
from ._human_page import check_page, read_answer_file, render_page, write_page
from ._human_question import PAIRS, TRIPLETS, Kind, Question, check_task, kind_of
from ._human_record import Record
from ._human_sitting import Sitting, ask_in_terminal, make_widget, notebook_display

__all__ = ["HumanOracle"]

_INTERFACES = ("terminal", "widget", "page")


class HumanOracle(BaseEstimator):
    """Ask a person which texts belong together.

    Every answer is in the journal before the next question is asked: nothing that was
    said is lost, or asked again, whichever way round the texts come.

    Parameters
    ----------
    perspective : str, default="topic"
        In what respect texts are compared, such as "intent".
    texts : str, default="texts"
        What the texts are, in the plural, such as "banking customer utterances".
    interface : {"terminal", "widget", "page"}, default="terminal"
        Where the questions are asked. "terminal": here and now, one after another.
        "widget": in a notebook. "page": in an HTML file, for whoever has a browser;
        it gives back a file for :meth:`read_answers`. With the last two, nothing
        waits: the answers that there are count, and fit has to be called again when
        there are more.
    journal : path-like or AnswerJournal, optional
        Where the answers are kept. None: in memory, as long as this oracle and its
        clones live; a pickle does not carry them.
    page : path-like, default="questions.html"
        The file that "page" writes. Only such a page is ever overwritten.
    max_questions : int, optional
        At most so many questions of a kind are put to the person at a time, those that
        come first. With 0 only what was answered before is answered.
    annotator : str, optional
        Who answers. Answers of one person are not taken for those of another.
    random_state : int, default=0
        Seed of the order in which two choices, or the texts of a pair, are shown. A
        plain number: the order depends on it and on the texts alone, so a question
        always looks alike.

    See Also
    --------
    FirstAnswer : Asks a person first, and a model what the person did not answer.
    LLMOracle : Asks a language model.

    Notes
    -----
    A person may say that neither or both choices belong to the query. That is kept, is
    not asked again, and is no usable answer (-1). What was skipped, or not reached, is
    -1 as well, and will be asked again. Of a pair a person says "same" or "different",
    or skips it.

    At the terminal, "b" goes back to correct an answer, and "q", Ctrl-C and the end of
    the input all mean that the person had enough; the rest stays open. Texts are
    shown with what cannot be seen spelled out (``[U+001B]``), so that no text can
    steer a terminal or turn the direction of what is written after it.

    The page holds its questions, loads nothing and sends nothing, and the browser
    keeps the answers in between under the keys of the questions. A page that is
    written anew, with the questions still open, finds them again. It holds what this
    oracle or a clone asked last of triplets, and of pairs.

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

    A pair of texts is another kind of question:

    >>> with mock.patch("sys.stdin", io.StringIO("y")):
    ...     oracle.answer_pairs([("Where is my card?", "No card yet")])
    <BLANKLINE>
    Question 1, 0 of 1 answered
    Do these two texts have the same intent?
      First:  Where is my card?
      Second: No card yet
    y (same), n (different), s (skip for now), b (back), q (quit):
    That was the last question; 1 of 1 answered.
    Enter or q (finish), b (back):
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
        return self._answer(TRIPLETS, triplets)

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

    def answer_pairs(self, pairs: Sequence[Pair]) -> NDArray[np.intp]:
        """Ask whether two texts belong together.

        Parameters
        ----------
        pairs : sequence of (text, text), all str, of length P

        Returns
        -------
        answers : ndarray of int, shape (P,)
            1 if they do, 0 if they do not, -1 for no answer yet.

        Raises
        ------
        TypeError, ValueError
            If a parameter is not valid.

        Warns
        -----
        UserWarning
            If "page" or "widget" leaves questions open. It says what to do.
        """
        return self._answer(PAIRS, pairs)

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
            1 if they belong together, 0 if they do not, -1 for no answer yet.
        confidence : ndarray of shape (P,)
            1 for an answer, NaN where there is none.
        """
        answers = self.answer_pairs(pairs)
        return answers, np.where(answers >= 0, 1.0, np.nan)

    def widget(self, questions: Sequence[Triplet | Pair]) -> Any:
        """Build a widget that asks, in a notebook, what is not answered yet.

        Parameters
        ----------
        questions : sequence of (anchor, choice 1, choice 2) or (text, text)
            Triplets, pairs, or both, all str.

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
        asked = [self._question(kind_of(texts), *texts) for texts in questions]
        return make_widget(self._sitting(self._open(asked)))

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
        said = self._record().said({question.key for question, _ in found})
        new = [(q, answer) for q, answer in found if said.get(q.key) != answer]
        self._record().keep(new, time.time())
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
        check_task(self._task())
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
        self._record().journal.check()

    def report(self) -> dict[str, Any]:
        """Sum up what this oracle and its clones asked in this process.

        Returns
        -------
        report : dict
            ``n_asked`` (distinct questions that came up), and what became of them so
            far: ``n_usable``, ``n_neither`` ("neither or both"), ``n_open`` (no
            answer yet). ``n_skipped``: those of the open ones that the person saw and
            passed over, at the terminal or in a widget.
        """
        return self._record().report()

    def _task(self) -> dict[str, Any]:
        names = ("perspective", "texts", "annotator")
        return {name: getattr(self, name) for name in names}

    def _question(self, kind: Kind, *texts: str) -> Question:
        return kind.question(self._task(), int(self.random_state), *texts)

    def _answer(self, kind: Kind, asked: Sequence[tuple[str, ...]]) -> NDArray[np.intp]:
        self.check()
        questions = [self._question(kind, *texts) for texts in asked]
        if still_open := self._open(questions):
            self._ask(still_open)
        said = self._record().said({question.key for question in questions})
        # What was said refers to the sorted texts.
        answers = [
            kind.turned(said.get(question.key, -1), texts[-2] > texts[-1])
            for question, texts in zip(questions, asked, strict=True)
        ]
        return np.array(answers, dtype=np.intp)

    def _open(self, questions: list[Question]) -> list[Question]:
        return self._record().open(questions)[: self.max_questions]

    def _sitting(self, questions: list[Question]) -> Sitting:
        record = self._record()

        def keep(question: Question, answer: int, since: float) -> None:
            answer = question.kind.turned(answer, question.swapped)
            record.keep([(question, answer)], since)

        return Sitting(questions, keep, record.skipped)

    def _ask(self, questions: list[Question]) -> None:
        if self.interface == "terminal":
            ask_in_terminal(self._sitting(questions))
            return
        if self.interface == "page":
            page, task = os.path.abspath(self.page), self._task()
            together = self._record().for_page((page, *task.values()), questions)
            write_page(page, render_page(together, task))
            todo = (
                f"Open {page} in a browser, answer, download the answers, read them "
                "with oracle.read_answers('answers.json')"
            )
        elif (display := notebook_display()) is not None:
            display(make_widget(self._sitting(questions)))
            todo = "Answer in the widget"
        else:
            name = questions[0].kind.name
            todo = f"Show oracle.widget({name}) in a notebook, answer there"
        warnings.warn(
            f"Questions that are open, without an answer (-1): {len(questions):,}. "
            f"{todo}, and fit again.",
            UserWarning,
            stacklevel=4,
        )

    def _record(self) -> Record:
        record: Record | None = self.__dict__.get("_shared")
        if record is None or record.given != self.journal:
            record = self._shared = Record(self.journal)
        return record

    def __sklearn_clone__(self) -> HumanOracle:
        twin = type(self)(**self.get_params(deep=False))
        twin._shared = self._record()  # nobody wants to be asked again by a clone
        return twin

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()
        return {name: value for name, value in state.items() if name != "_shared"}
