"""A person takes one question after another, at a terminal or in a notebook."""

from __future__ import annotations

import html
import importlib
import shutil
import sys
import textwrap
import time
from collections.abc import Callable, Sequence
from typing import Any

from .._validation import import_extra
from ._human_question import KINDS, Question, visible

__all__ = ["Sitting", "ask_in_terminal", "make_widget", "notebook_display"]

_LONGEST = 4_000  # characters of a text that a terminal shows
_LAST_KEYS = "Enter or q (finish), b (back): "


class Sitting:
    """A person in front of a list of questions, going forward and back.

    Parameters
    ----------
    questions : sequence of Question
    record : callable
        ``record(question, answer, since)`` is told each answer, *as shown*, and when
        the question came up. It must return only when the answer is safe: the next
        question waits for it.
    skipped : set of str, optional
        Gets the keys of the questions that were passed over.
    """

    def __init__(
        self,
        questions: Sequence[Question],
        record: Callable[[Question, int, float], None],
        skipped: set[str] | None = None,
    ):
        self.questions = list(questions)
        self.choices: dict[str, str] = {}  # the key pressed, by the question's
        self._record = record
        self._skipped = set() if skipped is None else skipped
        self._go(0)

    @property
    def question(self) -> Question | None:
        """The question to be answered now; None after the last."""
        return self.questions[self.place] if self.place < len(self.questions) else None

    def press(self, key: str) -> bool:
        """Take a step: s (skip), b (back), or a choice that the question offers.

        Returns
        -------
        known : bool
            Whether the key means anything here.
        """
        question = self.question
        if key == "b":
            self._go(max(self.place - 1, 0))
        elif question is None:
            return False
        elif key == "s":
            if question.key not in self.choices:
                self._skipped.add(question.key)
            self._go(self.place + 1)
        elif key in question.kind.choices:
            self._record(question, question.kind.choices[key].answer, self._since)
            self.choices[question.key] = key
            self._go(self.place + 1)
        else:
            return False
        return True

    def progress(self) -> str:
        """Say where the person is, and what they said to this question before."""
        where = f"{len(self.choices):,} of {len(self.questions):,} answered"
        question = self.question
        if question is None:
            return f"That was the last question; {where}."
        before = self.choices.get(question.key)
        if before is not None:
            where += f"; your answer so far: {question.kind.choices[before].words}"
        return f"Question {self.place + 1:,}, {where}"

    def _go(self, place: int) -> None:
        self.place = place
        self._since = time.time()


def ask_in_terminal(
    sitting: Sitting,
    *,
    read: Callable[[str], str] = input,
    write: Callable[[str], object] | None = None,
) -> None:
    """Ask until the questions end or the person does (q, Ctrl-C, end of input).

    Parameters
    ----------
    sitting : Sitting
    read : callable, default=input
        From a prompt to the line that the person typed.
    write : callable, optional
        Shows a text. None: writes to the standard output.
    """
    write = write or _write
    width = min(shutil.get_terminal_size().columns, 100)
    known = True
    while True:
        write(_page(sitting, width) if known else "That key does nothing.\n")
        try:
            key = read(_keys(sitting.question)).strip().lower()
        except (EOFError, KeyboardInterrupt):
            write("\n")
            return
        if key == "q" or (not key and sitting.question is None):
            return
        known = sitting.press(key)


def _keys(question: Question | None) -> str:
    if question is None:
        return _LAST_KEYS
    choices = [
        key if choice.words == key else f"{key} ({choice.words})"
        for key, choice in question.kind.choices.items()
    ]
    return ", ".join([*choices, "s (skip for now)", "b (back)", "q (quit): "])


def _page(sitting: Sitting, width: int) -> str:
    lines = ["", sitting.progress()]
    question = sitting.question
    if question is not None:
        lines += textwrap.wrap(question.instruction, width)
        for label, text in zip(question.kind.labels, question.texts, strict=True):
            lines += _wrapped(f"  {label}:".ljust(10), text, width)
    return "\n".join(lines) + "\n"


def _wrapped(label: str, text: str, width: int) -> list[str]:
    """Lay out a text with its label in a margin that the text cannot write into."""
    more = len(text) - _LONGEST
    text = visible(text[:_LONGEST])
    if more > 0:
        text += f"\n[{more:,} more characters are not shown]"
    margin = " " * len(label)
    lines = [
        row
        for line in text.split("\n")
        for row in textwrap.wrap(line, max(width - len(label), 20)) or [""]
    ]
    return [label + lines[0], *(margin + line for line in lines[1:])]


def _write(text: str) -> None:
    # A terminal may not be able to show every character: then its code.
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
    sys.stdout.flush()


def make_widget(sitting: Sitting) -> Any:
    """Build an ``ipywidgets.VBox`` that asks; a click is recorded at once.

    Raises
    ------
    ImportError
        If ``ipywidgets`` is not installed.
    """
    widgets = import_extra("ipywidgets", "HumanOracle.widget")
    head, body = widgets.HTML(), widgets.HTML()

    def press(key: str) -> None:
        try:
            sitting.press(key)
        except Exception as error:
            # A notebook shows a handler's error where nobody looks.
            head.value = f"<b>Not kept: {html.escape(visible(str(error)))}</b>"
            raise
        show()

    def button(key: str, words: str) -> Any:
        made = widgets.Button(description=words)
        made.on_click(lambda _: press(key))
        return made

    skip, back = button("s", "Skip"), button("b", "Back")
    row = widgets.HBox([skip, back])
    choices = {
        kind.name: [
            button(key, c.words.capitalize()) for key, c in kind.choices.items()
        ]
        for kind in KINDS
    }

    def show() -> None:
        question = sitting.question
        head.value = html.escape(sitting.progress())
        body.value = "" if question is None else _markup(question)
        if question is not None:
            row.children = [*choices[question.kind.name], skip, back]
        for any_button in row.children:
            any_button.disabled = question is None and any_button is not back

    show()
    return widgets.VBox([head, body, row])


def notebook_display() -> Callable[[object], object] | None:
    """Return what shows a widget, if this runs in IPython."""
    ipython = sys.modules.get("IPython")  # not loaded: this is not IPython
    if ipython is None or ipython.get_ipython() is None:
        return None
    display: Callable[[object], object] = importlib.import_module(
        "IPython.display"
    ).display
    return display


def _markup(question: Question) -> str:
    style = "white-space: pre-wrap; overflow-wrap: anywhere; overflow: auto"
    rows = "".join(
        f'<dt><b>{label}</b></dt><dd dir="auto" style="{style}; max-height: 12em">'
        f"{html.escape(visible(text))}</dd>"
        for label, text in zip(question.kind.labels, question.texts, strict=True)
    )
    return f"<p>{html.escape(question.instruction)}</p><dl>{rows}</dl>"
