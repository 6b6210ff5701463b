"""Questions as one HTML file, and the file of answers that it gives back."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from .._validation import shorten
from ._human_question import PAIRS, TRIPLETS, Kind, Question, visible

__all__ = ["check_page", "read_answer_file", "render_page", "write_page"]

_MARK = "<!-- skllm_cluster: questions to a person -->"
_ANSWERS = {"format": "skllm_cluster answers", "version": 1}
_FIELDS = {*_ANSWERS, "task", "answers"}


def render_page(questions: Sequence[Question], task: dict[str, Any]) -> str:
    """Put questions into a page that needs nothing else.

    Parameters
    ----------
    questions : sequence of Question
        Of any kinds.
    task : dict
        What all the questions have in common; it comes back with the answers.

    Returns
    -------
    page : str
        HTML. Its policy lets the page run the one script that came with it, and
        load and send nothing.
    """
    template = files(__package__).joinpath("human.html").read_text(encoding="utf-8")
    data = {
        "answers": {**_ANSWERS, "task": task},
        "instructions": {q.kind.name: q.instruction for q in questions},
        "questions": [
            {
                "kind": question.kind.name,
                "shown": [visible(text) for text in question.texts],
                "key": question.key,
                **question.content,
            }
            for question in questions
        ],
    }
    filling = {"MARK": _MARK, "POLICY": _policy(template), "DATA": _inert(data)}
    # One pass: a text that looks like a place to fill stays what it is.
    return re.sub(r"\{\{(\w+)\}\}", lambda place: filling[place[1]], template)


def _policy(template: str) -> str:
    allowed = []
    for kind in ("script", "style"):
        (own,) = re.findall(f"<{kind}>(.*?)</{kind}>", template, re.DOTALL)
        digest = hashlib.sha256(own.encode("utf-8")).digest()
        allowed.append(f"{kind}-src 'sha256-{base64.b64encode(digest).decode()}'")
    return "; ".join(
        ["default-src 'none'", *allowed, "base-uri 'none'", "form-action 'none'"]
    )


def _inert(data: object) -> str:
    """Write JSON in ASCII that no HTML parser can take for markup."""
    text = json.dumps(data, ensure_ascii=True, allow_nan=False)
    for character in "<>&":  # they occur in strings only
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def check_page(path: str | os.PathLike[str]) -> None:
    """Check that a page may be written there.

    Raises
    ------
    ValueError
        If there is something else, or no folder to write into.
    """
    page = Path(path)
    if not page.parent.is_dir():
        raise ValueError(f"page must lie in a folder that exists, got {str(path)!r}.")
    if not page.exists():
        return
    ours = False
    if page.is_file():
        with page.open("rb") as file:
            ours = _MARK.encode("ascii") in file.read(200)
    if not ours:
        raise ValueError(
            f"page={str(path)!r} is there and holds no questions of ours; it is "
            "not overwritten. Give another name."
        )


def write_page(path: str | os.PathLike[str], page: str) -> None:
    """Write the page in one go: there is never half of it."""
    part = Path(f"{os.fspath(path)}.part")
    part.write_text(page, encoding="utf-8", newline="\n")
    os.replace(part, path)


def read_answer_file(
    path: str | os.PathLike[str],
    task: dict[str, Any],
    question_of: Callable[..., Question],
) -> list[tuple[Question, int]]:
    """Read what the page gave back, and believe none of it unseen.

    Parameters
    ----------
    path : path-like
    task : dict
        As given to :func:`render_page`.
    question_of : callable
        From a kind and the texts to the question, whose key must be that in the file.

    Returns
    -------
    answers : list of (Question, answer)
        Each question once. An answer refers to its sorted texts.

    Raises
    ------
    ValueError
        If it is no file of answers, of another version, answers to another task, or
        was changed.
    """
    where = repr(str(path))
    answers: dict[str, tuple[Question, int]] = {}
    for i, found in enumerate(_answers_in(path, where, task)):
        kind, texts = _read_answer(where, i, found)
        question = question_of(kind, *texts)
        if question.key != found["key"]:
            raise ValueError(
                f"{where} was changed: the key at index {i} is not that of its "
                "question. Save the answers from the page again."
            )
        answer = kind.turned(found["answer"], texts[-2] > texts[-1])
        if answers.setdefault(question.key, (question, answer))[1] != answer:
            raise ValueError(
                f"{where} gives a question two answers, the second at index {i}. Save "
                "the answers from the page again."
            )
    return list(answers.values())


def _answers_in(
    path: str | os.PathLike[str], where: str, task: dict[str, Any]
) -> list[Any]:
    advice = "Give the file that the button 'Download answers' of the page saves."
    try:
        found = json.loads(Path(path).read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where} is not JSON: {error}. {advice}") from None
    if not isinstance(found, dict) or found.get("format") != _ANSWERS["format"]:
        raise ValueError(f"{where} is no file of answers. {advice}")
    if found.get("version") != _ANSWERS["version"]:
        raise ValueError(
            f"{where} is of version {shorten(found.get('version'))}, and this library "
            f"reads version {_ANSWERS['version']}. Write the page anew."
        )
    if set(found) != _FIELDS or not isinstance(found["answers"], list):
        raise ValueError(
            f"{where} must have the fields {sorted(_FIELDS)} with a list as answers, "
            f"got {shorten(found)}. {advice}"
        )
    if found["task"] != task:
        raise ValueError(
            f"{where} answers other questions than this oracle asks: got "
            f"{shorten(found['task'], 200)} instead of {shorten(task, 200)}."
        )
    answers: list[Any] = found["answers"]
    return answers


def _read_answer(where: str, i: int, found: Any) -> tuple[Kind, list[str]]:
    """Check an answer, and return what was asked."""
    fields = set(found) if isinstance(found, dict) else set()
    kind = PAIRS if "pair" in fields else TRIPLETS
    wanted = {"key", *kind.fields, "answer"}
    if fields != wanted:
        raise ValueError(
            f"{where} must have the fields {sorted(wanted)} for each answer, got "
            f"{shorten(found)} at index {i}."
        )
    *anchor, two = (found[field] for field in kind.fields)
    texts = [*anchor, *(two if isinstance(two, list) else [])]
    strings = all(isinstance(text, str) for text in texts)
    if len(texts) != len(kind.labels) or not strings:
        raise ValueError(
            f"{where} must have {'a str as anchor and ' * len(anchor)}two as "
            f"{kind.fields[-1]}, got {shorten(found)} at index {i}."
        )
    allowed = sorted(choice.answer for choice in kind.choices.values())
    # True is an int, and equals 1.
    if type(found["answer"]) is not int or found["answer"] not in allowed:
        raise ValueError(
            f"{where} must answer one of {allowed}, got {shorten(found['answer'])} at "
            f"index {i}."
        )
    return kind, texts
