"""What an oracle and its clones have in common: journal, ledger and counts."""

from __future__ import annotations

import logging
import threading
import uuid
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from sklearn.base import clone

from ..journal import AnswerJournal
from ..protocols import Reply
from ._batch import write_questions
from ._calling import Outcome, Question, Terms, call_all
from ._parsing import CHOICE, Reading, Tally
from ._progress import Progress

__all__ = ["OracleError", "Session", "SharesSession"]

_log = logging.getLogger(__name__)
_MAKING = threading.Lock()  # held to make a session, never while asking
_SUMS = ("n_calls", "n_retries", "prompt_tokens", "completion_tokens", "cost")


class OracleError(RuntimeError):
    """An oracle cannot answer, or its answers would be of no use.

    Examples
    --------
    >>> from skllm_cluster.oracles import LLMOracle, OracleError
    >>> oracle = LLMOracle(lambda prompt: "Choice 1", replay=True)
    >>> try:
    ...     oracle.answer_triplets([("a", "b", "c")])
    ... except OracleError as error:
    ...     print(str(error)[:37])
    AnswerJournal() lacks 1 of 1 answers,
    """


class Session:
    """Where replies are kept, what was spent, and what was counted.

    Parameters
    ----------
    journal : path, AnswerJournal or None
        None: in memory.
    ledger : str, optional
        Under which name the journal books what is spent.
    """

    def __init__(self, journal: Any = None, ledger: str | None = None):
        self.given = journal
        known = isinstance(journal, AnswerJournal)
        self.journal = journal if known else AnswerJournal(journal)
        self.ledger = uuid.uuid4().hex if ledger is None else ledger
        self._lock = threading.Lock()
        self._seen: set[str] = set()
        self._long: set[str] = set()
        self._counts: dict[str, Any] = {
            "n_asked": 0,
            "n_cached": 0,
            "n_failed": 0,
            "n_open": 0,
            "n_usable": 0,
            "n_unusable": 0,
            "n_neither": 0,
            "n_cut_short": 0,
            "n_first_choice": 0,
            "n_yes": 0,
            "n_none": 0,
            "n_names": 0,
            "n_names_dropped": 0,
            "n_sets": 0,
            "n_sets_unusable": 0,
            "n_entities": 0,
            "n_entities_unassigned": 0,
            "n_lines_unmatched": 0,
            "n_long_texts": 0,
            "first_unusable_reply": None,
            "first_failure": None,
            "stopped": None,
            "preflight": None,
            "preflight_pairs": None,
            "seconds": 0.0,
            **dict.fromkeys(_SUMS, 0),
        }

    def ask(
        self,
        questions: Mapping[str, Question],
        complete: Callable[[str], object],
        terms: Terms,
        *,
        reading: Reading = CHOICE,
        tally: Tally | None = None,
        replay: bool = False,
        batch: Any = None,
        verbose: int = 0,
    ) -> dict[str, Reply]:
        """Answer questions from the journal, and ask for the rest if that is allowed.

        Parameters
        ----------
        questions : dict
            By key.
        complete : callable
        terms : Terms
        reading : Reading, default=CHOICE
            How the replies are read, to count them.
        tally : callable, optional
            Counts replies that cannot be read without their question, in place of
            ``reading``; the journal then keeps no answer beside a reply.
        replay : bool, default=False
            Whether the journal has to have all answers.
        batch : path, optional
            Where questions without an answer are written in place of being asked.
        verbose : int, default=0
            See :class:`Progress`.

        Returns
        -------
        replies : dict
            By key; those of questions that stay open are missing.
        """
        outcome = Outcome()
        try:
            if replay or batch is not None:
                self._look_up(questions, outcome)
            if replay and len(outcome.replies) < len(questions):
                raise OracleError(_lacking(self.journal, questions, outcome.replies))
            if batch is not None:
                left = [q for key, q in questions.items() if key not in outcome.replies]
                if left:
                    write_questions(batch, left, self.journal)
            elif not replay:
                with Progress(len(questions), verbose) as progress:
                    call_all(
                        list(questions.values()), complete, self.journal, terms,
                        parse=lambda r: None if tally else reading.parse(r.text),
                        progress=progress, outcome=outcome,
                    )  # fmt: skip
        except Exception as error:
            _note(error, outcome, len(questions), self.journal)
            raise
        finally:
            self._count(outcome, questions, reading, tally)
        _tell(outcome, len(questions), batch)
        if verbose:
            _log.info("%s", _summary(outcome, len(questions)))
        return outcome.replies

    def _look_up(self, questions: Mapping[str, Question], outcome: Outcome) -> None:
        outcome.replies.update(self.journal.replies(list(questions)))
        outcome.n_cached = len(outcome.replies)

    def note(self, **facts: Any) -> None:
        """Put facts into the report."""
        with self._lock:
            self._counts.update(facts)

    def note_long(self, texts: Iterable[str]) -> None:
        """Count texts that were cut, each once."""
        with self._lock:
            self._long.update(texts)
            self._counts["n_long_texts"] = len(self._long)

    def add(self, **numbers: int) -> None:
        """Add to counts of the report."""
        with self._lock:
            for name, number in numbers.items():
                self._counts[name] += number

    def report(self) -> dict[str, Any]:
        """Give all counts."""
        with self._lock:
            return dict(self._counts)

    def _count(
        self,
        outcome: Outcome,
        questions: Mapping[str, Question],
        reading: Reading = CHOICE,
        tally: Tally | None = None,
    ) -> None:
        # After an interrupt, calls under way may still bring replies.
        replies = dict(outcome.replies)
        with self._lock:
            # A question may come again, in the preflight, the bulk and another fit.
            fresh = {k: r for k, r in replies.items() if k not in self._seen}
            found, unusable = tally(fresh) if tally else reading.tally(fresh)
            self._seen.update(fresh)
            counts = self._counts
            counts["n_asked"] += len(replies) - outcome.n_cached
            counts["n_cached"] += outcome.n_cached
            counts["n_failed"] += len(outcome.failed)
            counts["n_open"] = len(questions) - len(replies)
            counts["n_unusable"] += len(unusable)
            counts["n_cut_short"] += sum(r.finish_reason == "length" for r in unusable)
            for name, number in found.items():
                counts[name] += number
            counts["seconds"] += outcome.seconds
            counts["stopped"] = outcome.stopped
            for sum_ in _SUMS:
                counts[sum_] += getattr(outcome, sum_)
            if unusable and counts["first_unusable_reply"] is None:
                first = unusable[0]
                counts["first_unusable_reply"] = first.text or _silence(first)
            if outcome.failed and counts["first_failure"] is None:
                counts["first_failure"] = next(iter(outcome.failed.values()))


class SharesSession:
    """What makes the clones of an oracle with a ``journal`` share one session.

    A clone asks nothing that the original has answered, and books in its ledger.
    Copies in other processes share both through the journal's file.
    """

    journal: Any

    def _session(self) -> Session:
        with _MAKING:
            session: Session | None = self.__dict__.get("_shared")
            if session is None or session.given is not self.journal:
                session = Session(self.journal, self.__dict__.get("_ledger"))
                self._shared, self._ledger = session, session.ledger
            return session

    def __sklearn_clone__(self) -> Any:
        params = self.get_params(deep=False)  # type: ignore[attr-defined]
        twin = type(self)(**{n: clone(p, safe=False) for n, p in params.items()})
        twin.journal = self.journal  # the same object, by which a session is known
        twin._shared, twin._ledger = self._session(), self._ledger
        return twin

    def __getstate__(self) -> dict[str, Any]:
        self._session()  # which names the ledger
        state: dict[str, Any] = super().__getstate__()  # type: ignore[assignment]
        return {name: value for name, value in state.items() if name != "_shared"}


def _silence(reply: Reply) -> str:
    reason = f", finish_reason {reply.finish_reason!r}" if reply.finish_reason else ""
    return f"(nothing{reason})"


def _lacking(
    journal: AnswerJournal,
    questions: Mapping[str, Question],
    replies: Mapping[str, Reply],
) -> str:
    lacking = [q for key, q in questions.items() if key not in replies]
    return (
        f"{journal!r} lacks {len(lacking):,} of {len(questions):,} answers, and with "
        "replay=True nothing is asked. Use the model, wording and parameters of the "
        "earlier run, or replay=False to ask for what is missing."
    )


def _note(
    error: Exception, outcome: Outcome, n_questions: int, journal: AnswerJournal
) -> None:
    if hasattr(error, "add_note"):  # Python 3.11
        where = "this oracle" if journal.path is None else f"{journal.path!r}"
        error.add_note(
            f"LLMOracle had answers to {len(outcome.replies):,} of {n_questions:,} "
            f"questions when this happened; {where} keeps them, and asking again goes "
            "on from there."
        )


def _tell(outcome: Outcome, n_questions: int, batch: Any) -> None:
    """Warn of questions that have no reply; nothing is left out in silence."""
    n_open = n_questions - len(outcome.replies)
    if batch is not None and n_open:
        said = (
            f"{n_open:,} of {n_questions:,} questions are written to {str(batch)!r} "
            "and have no answer yet. Hand the file to the provider's batch API, read "
            "the results with read_batch, and fit again."
        )
    elif outcome.stopped == "budget":
        said = (
            f"The budget allowed no more calls: {n_open:,} of {n_questions:,} "
            "questions have no answer. What was answered is used."
        )
    elif outcome.failed:
        said = (
            f"{len(outcome.failed):,} of {n_questions:,} questions could not be "
            f"answered; the first: {next(iter(outcome.failed.values()))}"
        )
    else:
        return
    warnings.warn(said, UserWarning, stacklevel=6)


def _summary(outcome: Outcome, n_questions: int) -> str:
    return (
        f"{n_questions:,} questions in {outcome.seconds:.1f} s: "
        f"{outcome.n_cached:,} from the journal, "
        f"{len(outcome.replies) - outcome.n_cached:,} asked, "
        f"{len(outcome.failed):,} failed; {outcome.n_calls:,} calls."
    )
