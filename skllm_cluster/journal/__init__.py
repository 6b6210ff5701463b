"""The answer journal: every paid answer, durable before it is used."""

from ._content import Attempt, question_key
from ._file import JournalError
from ._journal import AnswerJournal

__all__ = ["AnswerJournal", "Attempt", "JournalError", "question_key"]
