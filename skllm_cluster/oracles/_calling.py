"""From questions to replies: look up, then call, and lose nothing.

Everything that is paid for goes into the journal before it is used, whatever happens
next; what is in the journal is never asked.
"""

from __future__ import annotations

import logging
import math
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

from .._remote import Limiter, advise, describe, pauses
from ..journal import AnswerJournal, Attempt
from ..protocols import Reply

__all__ = ["Outcome", "Question", "Terms", "call_all"]

_log = logging.getLogger(__name__)

# A claim of a dead process is void at once; this is for claims from before a reboot.
CLAIM_SECONDS = 300.0
POLL_SECONDS = 0.05  # between looks at what another process is asking
# One question that cannot be answered is left out; so many in a row are an outage.
OUTAGE = 3
USUAL_REPLY = 50  # tokens that a reply is taken for in a limit of tokens a minute


@dataclass(frozen=True)
class Question:
    """One call to be made: what is sent, and under which name it is kept."""

    key: str
    request: Mapping[str, Any]
    prompt: str


@dataclass(frozen=True)
class Terms:
    """On what terms calls are made.

    ``limits`` are those of the budget, in "questions", "tokens" and "cost", booked in
    ``ledger``. ``bound`` says how many tokens a prompt and its reply can use at most,
    ``prices`` what a million of each costs.
    """

    n_jobs: int = 1
    max_retries: int = 0
    max_retry_seconds: float = 0.0
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    ledger: str = ""
    limits: Mapping[str, float] = field(default_factory=dict)
    prices: tuple[float, float] = (0.0, 0.0)
    bound: Callable[[str], tuple[int, int]] = lambda prompt: (0, 0)
    estimate: Callable[[str], int] = len


@dataclass
class Outcome:
    """What came of a number of questions.

    ``replies`` has those that were answered, ``failed`` says of others why they were
    not; what is in neither was not asked, for the reason ``stopped``.
    """

    replies: dict[str, Reply] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    stopped: str | None = None
    n_cached: int = 0
    n_calls: int = 0
    n_retries: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0
    seconds: float = 0.0


def call_all(
    questions: Sequence[Question],
    complete: Callable[[str], object],
    journal: AnswerJournal,
    terms: Terms,
    *,
    parse: Callable[[Reply], object],
    progress: Callable[[Outcome], object],
    outcome: Outcome,
) -> None:
    """Answer questions from the journal where it can, and ask for the rest.

    Parameters
    ----------
    questions : sequence of Question
        Each key once.
    complete : callable
        From a prompt to a str or a Reply. It makes one attempt.
    journal : AnswerJournal
    terms : Terms
    parse : callable
        From a reply to the answer that is kept beside it.
    progress : callable
        Told the outcome so far, after each attempt.
    outcome : Outcome
        Filled in as things happen, so that it is right if an error comes, too.

    Raises
    ------
    Exception
        What ``complete`` raised, if trying again is of no use. Calls under way are
        waited for, and what they bring is kept.
    """
    start = time.perf_counter()
    try:
        outcome.replies.update(journal.replies([q.key for q in questions]))
        outcome.n_cached = len(outcome.replies)
        progress(outcome)
        left = [q for q in questions if q.key not in outcome.replies]
        if left:
            _Calls(complete, journal, terms, parse, progress, outcome).make(left)
    finally:
        outcome.seconds = time.perf_counter() - start


class _Calls:
    """The calls of one round: what its threads share."""

    def __init__(
        self,
        complete: Callable[[str], object],
        journal: AnswerJournal,
        terms: Terms,
        parse: Callable[[Reply], object],
        progress: Callable[[Outcome], object],
        outcome: Outcome,
    ):
        self.complete = complete
        self.journal = journal
        self.terms = terms
        self.parse = parse
        self.progress = progress
        self.outcome = outcome
        self.limiter = Limiter(
            terms.n_jobs,
            requests_per_minute=terms.requests_per_minute,
            tokens_per_minute=terms.tokens_per_minute,
        )
        self.lock = threading.Lock()  # of the outcome
        self.over = threading.Event()  # nothing new is to begin
        self.error: BaseException | None = None
        self.elsewhere: list[Question] = []  # being asked by somebody else
        self.given_up: list[Exception] = []  # since the last answer
        self.last_failure: Exception | None = None
        self.failed_before: Mapping[str, str] = {}
        self.settled = threading.Condition()  # of the reservations
        self.n_reserved = 0

    def make(self, questions: Sequence[Question]) -> None:
        self.failed_before = self.journal.failures([q.key for q in questions])
        self._in_threads(questions)
        if self.elsewhere:
            _log.info("%d questions are being asked elsewhere", len(self.elsewhere))
        while self.elsewhere and not self.over.is_set():
            time.sleep(POLL_SECONDS)
            waiting, self.elsewhere = self.elsewhere, []
            found = self.journal.replies([q.key for q in waiting])
            self.outcome.replies.update(found)
            self.outcome.n_cached += len(found)
            self.progress(self.outcome)
            # Who asked may have died or given up: then the claim is free.
            self._in_threads([q for q in waiting if q.key not in found])
        if self.error is None and not self.outcome.replies:
            self.error = self.last_failure
        if self.error is not None:
            raise self.error

    def _in_threads(self, questions: Sequence[Question]) -> None:
        n_threads = min(self.terms.n_jobs, len(questions))
        if n_threads <= 1:
            for question in questions:
                self._answer(question)
            return
        pool = ThreadPoolExecutor(n_threads, thread_name_prefix="LLMOracle")
        wait = True
        try:
            for _ in pool.map(self._answer, questions):
                pass
        except KeyboardInterrupt:
            wait = False  # who interrupts does not want to sit out a slow server
            self._stop(None)
            raise
        finally:
            pool.shutdown(wait=wait, cancel_futures=True)

    def _answer(self, question: Question) -> None:
        """Ask one question, unless it is answered or being asked already."""
        if self.over.is_set():
            return
        try:
            key, seconds = question.key, self._patience(question)
            if not self.journal.claim(key, question.request, seconds=seconds):
                self.elsewhere.append(question)
                return
            try:
                self._until_answered(question)
            finally:
                if question.key not in self.outcome.replies:
                    self.journal.release(question.key)
        except Exception as error:
            self._stop(error)
        except BaseException:  # an interrupt, which a pool tells of only in its turn
            self._stop(None)
            raise

    def _until_answered(self, question: Question) -> None:
        failing_since, n_tries = math.inf, 0
        backoff = pauses(random.Random(question.key))
        while not self.over.is_set():
            error = self._attempt(question)
            if error is None:
                return
            advice = advise(error)
            if advice.kind == "stop":
                raise error
            if advice.kind == "skip":
                self._leave_out(question, error)
                return
            if not advice.free:
                n_tries += 1
                pause = max(advice.pause or 0.0, next(backoff))
                failing_since = min(failing_since, time.monotonic())
                spent = time.monotonic() - failing_since + pause
                too_often = n_tries > self.terms.max_retries
                if too_often or spent > self.terms.max_retry_seconds:
                    self._give_up(question, error)
                    return
                self.over.wait(pause)
                self.journal.extend(question.key, seconds=self._patience(question))
            with self.lock:
                self.outcome.n_retries += 1

    def _expected(self, question: Question) -> int:
        """Tokens that a call is taken for in a limit of tokens a minute."""
        _, longest = self.terms.bound(question.prompt)
        return self.terms.estimate(question.prompt) + min(longest, USUAL_REPLY)

    def _patience(self, question: Question) -> float:
        """Seconds within which an attempt is over, its place in the queue included."""
        queue = self.terms.n_jobs * self.limiter.spacing(self._expected(question))
        return CLAIM_SECONDS + self.terms.max_retry_seconds + queue

    def _attempt(self, question: Question) -> Exception | None:
        """Call once, when that is allowed; give the error, if there was one."""
        bound = self.terms.bound(question.prompt)
        ticket = self.limiter.begin(self._expected(question), self.over.is_set)
        if ticket is None:
            return None
        congested, pause = False, None
        try:
            if not self._reserve(bound):
                return None
            spent = bound
            try:
                reply, error, spent = self._call(question)
            finally:
                self._settle(bound, spent)
            if error is not None:
                advice = advise(error)
                congested = advice.congested
                # Nobody sits out a pause for which one question would be given up.
                if congested and (advice.pause or 0.0) <= self.terms.max_retry_seconds:
                    pause = advice.pause
        finally:
            self.limiter.end(ticket, congested=congested, pause=pause)
        with self.lock:
            if reply is not None:
                self.outcome.replies[question.key] = reply
                self.given_up.clear()
            self.progress(self.outcome)
        return error

    def _call(
        self, question: Question
    ) -> tuple[Reply | None, Exception | None, tuple[int, int]]:
        """Call once and put into the journal what came of it, tokens included."""
        reply, error = None, None
        started, start = time.time(), time.perf_counter()
        try:
            reply = _as_reply(self.complete(question.prompt))
        except Exception as raised:
            error = raised
        seconds = time.perf_counter() - start
        self.journal.record(
            question.key,
            Attempt(
                started=started,
                seconds=seconds,
                reply=reply,
                error=None if error is None else describe(error),
                answer=None if reply is None else self.parse(reply),
            ),
        )
        return reply, error, self._tokens(question.prompt, reply, error)

    def _tokens(
        self, prompt: str, reply: Reply | None, error: Exception | None
    ) -> tuple[int, int]:
        """Tokens of an attempt, as the server counts them or else estimated."""
        if reply is None:
            # A server that says no has not read on; one that said nothing may have.
            refused = hasattr(error, "status_code")
            return (0, 0) if refused else (self.terms.estimate(prompt), 0)
        estimate = self.terms.estimate
        asked, said = reply.prompt_tokens, reply.completion_tokens
        return (
            estimate(prompt) if asked is None else asked,
            estimate(reply.text) if said is None else said,
        )

    def _reserve(self, tokens: tuple[int, int]) -> bool:
        """Set aside what a call can cost; False, and all is over, if that is too much.

        Calls under way have set aside more than they will use, so while there are any
        it is worth waiting for what they give back.
        """
        terms = self.terms
        if not terms.limits:
            return True
        amounts = _amounts(tokens, terms.prices)
        with self.settled:
            while not self.over.is_set():
                if self.journal.reserve(terms.ledger, amounts, terms.limits):
                    self.n_reserved += 1
                    return True
                if not self.n_reserved:
                    self.outcome.stopped = "budget"
                    break
                self.settled.wait(1.0)
        self._stop(None)
        return False

    def _settle(self, bound: tuple[int, int], spent: tuple[int, int]) -> None:
        """Book what a call has really cost."""
        terms = self.terms
        amounts = _amounts(spent, terms.prices)
        with self.lock:
            self.outcome.n_calls += 1
            self.outcome.prompt_tokens += spent[0]
            self.outcome.completion_tokens += spent[1]
            self.outcome.cost += amounts["cost"]
        if terms.limits:
            with self.settled:
                self.journal.settle(
                    terms.ledger, _amounts(bound, terms.prices), amounts
                )
                self.n_reserved -= 1
                self.settled.notify_all()

    def _give_up(self, question: Question, error: Exception) -> None:
        with self.lock:
            self.last_failure = error
            # What failed in an earlier run, too, says nothing of the server now.
            if question.key not in self.failed_before:
                self.given_up.append(error)
        self._leave_out(question, error)
        if len(self.given_up) >= OUTAGE:
            raise error

    def _leave_out(self, question: Question, error: Exception) -> None:
        with self.lock:
            self.outcome.failed[question.key] = describe(error)
            self.progress(self.outcome)

    def _stop(self, error: BaseException | None) -> None:
        """Let nothing new begin; the first error is the one that is raised."""
        with self.lock:
            if self.error is None and error is not None:
                self.error, self.outcome.stopped = error, "error"
            self.over.set()
        self.limiter.wake()


def _amounts(tokens: tuple[int, int], prices: tuple[float, float]) -> dict[str, float]:
    cost = sum(n * price for n, price in zip(tokens, prices, strict=True)) / 1e6
    return {"questions": 1, "tokens": sum(tokens), "cost": cost}


def _as_reply(said: object) -> Reply:
    if isinstance(said, Reply):
        return said if isinstance(said.text, str) else replace(said, text="")
    if isinstance(said, str):
        return Reply(said)
    # No reply in words is no answer, but it has been given, and perhaps paid for.
    return Reply("", finish_reason=f"no text but {type(said).__name__}")
