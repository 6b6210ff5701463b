"""A person takes one question after another, at a terminal or in a notebook."""

from __future__ import annotations

import html
import importlib
import re
import shutil
import sys
import textwrap
import time
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .._validation import import_extra

__all__ = [
    "Question",
    "Sitting",
    "ask_in_terminal",
    "instruction",
    "make_widget",
    "notebook_display",
    "turned",
    "visible",
]

_LONGEST = 4_000  # characters of a text that a terminal shows
_KEYS = "1, 2, n (neither or both), s (skip for now), b (back), q (quit): "
_LAST_KEYS = "Enter or q (finish), b (back): "
_CHOICES = {"1": 0, "2": 1, "n": -1}
_NAMES = {choice: key for key, choice in _CHOICES.items()}
_LABELS = ("Query", "1", "2")
_LINE_END = re.compile("\r\n|[\r\v\f\x85\u2028\u2029]")
_UNSEEN = {"Cc", "Cf", "Cs"}  # control, formatting, half of a surrogate pair
# Line structure, and the joiners that emoji and some scripts are spelled with.
_HARMLESS = frozenset("\n\t\u200c\u200d")


@dataclass(frozen=True)
class Question:
    """A triplet as a person gets to see it, the same for both orders of its choices.

    Parameters
    ----------
    key : str
        What the journal knows it by.
    request : dict
        What the key stands for; its "choices" are sorted.
    swapped : bool
        Whether the second of those is shown first.
    """

    key: str
    request: dict[str, Any]
    swapped: bool

    @property
    def texts(self) -> tuple[str, str, str]:
        """Anchor, choice shown first, choice shown second."""
        first, second = self.request["choices"]
        shown = (second, first) if self.swapped else (first, second)
        return (self.request["anchor"], *shown)


class Sitting:
    """A person in front of a list of questions, going forward and back.

    Parameters
    ----------
    questions : sequence of Question
    record : callable
        ``record(question, choice, since)`` is told each answer, a choice *as shown*
        (-1: neither or both), and when the question came up. It must return only when
        the answer is safe: the next question waits for it.
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
        self.choices: dict[str, int] = {}
        self._record = record
        self._skipped = set() if skipped is None else skipped
        self._go(0)

    @property
    def question(self) -> Question | None:
        """The question to be answered now; None after the last."""
        return self.questions[self.place] if self.place < len(self.questions) else None

    def press(self, key: str) -> bool:
        """Take a step: 1, 2, n (neither or both), s (skip), b (back).

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
        elif key in _CHOICES:
            self._record(question, _CHOICES[key], self._since)
            self.choices[question.key] = _CHOICES[key]
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
        so_far = "" if before is None else f"; your answer so far: {_NAMES[before]}"
        return f"Question {self.place + 1:,}, {where}{so_far}"

    def _go(self, place: int) -> None:
        self.place = place
        self._since = time.time()


def turned(answer: int, swapped: bool) -> int:
    """Say an answer in the other order of the choices; -1 is -1 in both."""
    return answer ^ int(swapped) if answer >= 0 else answer


def instruction(perspective: str, texts: str) -> str:
    """Say what a person is to do."""
    return visible(
        f"Which of these {texts} is closer to the Query in terms of {perspective}?"
    )


def visible(text: str) -> str:
    r"""Show what cannot be seen, so that it cannot do anything either.

    Control characters (a terminal obeys them), characters that turn the direction of
    writing or take no room, and lone surrogates become ``[U+001B]``. Every kind of
    line end becomes a line feed; tabs and the joiners of emoji and scripts stay.

    Examples
    --------
    >>> visible("\x1b[2Jpay \u202eeno")
    '[U+001B][2Jpay [U+202E]eno'
    """
    text = _LINE_END.sub("\n", text)
    if text.isascii() and text.isprintable():
        return text
    return "".join(_shown(character) for character in text)


def _shown(character: str) -> str:
    unseen = unicodedata.category(character) in _UNSEEN
    if unseen and character not in _HARMLESS:
        return f"[U+{ord(character):04X}]"
    return character


def ask_in_terminal(
    sitting: Sitting,
    task: str,
    *,
    read: Callable[[str], str] = input,
    write: Callable[[str], object] | None = None,
) -> None:
    """Ask until the questions end or the person does (q, Ctrl-C, end of input).

    Parameters
    ----------
    sitting : Sitting
    task : str
        What the person is to do, from :func:`instruction`.
    read : callable, default=input
        From a prompt to the line that the person typed.
    write : callable, optional
        Shows a text. None: writes to the standard output.
    """
    write = write or _write
    width = min(shutil.get_terminal_size().columns, 100)
    known = True
    while True:
        write(_page(sitting, task, width) if known else "That key does nothing.\n")
        try:
            key = read(_KEYS if sitting.question else _LAST_KEYS).strip().lower()
        except (EOFError, KeyboardInterrupt):
            write("\n")
            return
        if key == "q" or (not key and sitting.question is None):
            return
        known = sitting.press(key)


def _page(sitting: Sitting, task: str, width: int) -> str:
    lines = ["", sitting.progress()]
    if sitting.question is not None:
        lines += textwrap.wrap(task, width)
        for label, text in zip(
            ("Query", "1", "2"), sitting.question.texts, strict=True
        ):
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


def make_widget(sitting: Sitting, task: str) -> Any:
    """Build an ``ipywidgets.VBox`` that asks; a click is recorded at once.

    Raises
    ------
    ImportError
        If ``ipywidgets`` is not installed.
    """
    widgets = import_extra("ipywidgets", "HumanOracle.widget")
    head, body = widgets.HTML(), widgets.HTML()
    labels = {"1": "1", "2": "2", "n": "Neither or both", "s": "Skip", "b": "Back"}
    buttons = {key: widgets.Button(description=text) for key, text in labels.items()}

    def show() -> None:
        head.value = html.escape(sitting.progress())
        body.value = _markup(sitting, task)
        for key, button in buttons.items():
            button.disabled = key != "b" and sitting.question is None

    def pressed(key: str) -> Callable[[object], None]:
        def click(_: object) -> None:
            try:
                sitting.press(key)
            except Exception as error:
                # A notebook shows a handler's error where nobody looks.
                head.value = f"<b>Not kept: {html.escape(visible(str(error)))}</b>"
                raise
            show()

        return click

    for key, button in buttons.items():
        button.on_click(pressed(key))
    show()
    return widgets.VBox([head, body, widgets.HBox(list(buttons.values()))])


def notebook_display() -> Callable[[object], object] | None:
    """Return what shows a widget, if this runs in IPython."""
    ipython = sys.modules.get("IPython")  # not loaded: this is not IPython
    if ipython is None or ipython.get_ipython() is None:
        return None
    display: Callable[[object], object] = importlib.import_module(
        "IPython.display"
    ).display
    return display


def _markup(sitting: Sitting, task: str) -> str:
    if sitting.question is None:
        return ""
    style = "white-space: pre-wrap; overflow-wrap: anywhere; overflow: auto"
    rows = "".join(
        f'<dt><b>{label}</b></dt><dd dir="auto" style="{style}; max-height: 12em">'
        f"{html.escape(visible(text))}</dd>"
        for label, text in zip(_LABELS, sitting.question.texts, strict=True)
    )
    return f"<p>{html.escape(task)}</p><dl>{rows}</dl>"
