"""From questions to replies: nothing is asked twice, lost, or asked beyond a budget."""

import itertools
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threads import together

from skllm_cluster._remote._errors import Advice, mark
from skllm_cluster._remote._limits import Limiter
from skllm_cluster.journal import AnswerJournal, JournalError, question_key
from skllm_cluster.oracles import _calling as calling
from skllm_cluster.oracles._calling import Outcome, Question, Terms, call_all
from skllm_cluster.protocols import Reply


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    monkeypatch.setattr(calling, "pauses", lambda rng: itertools.repeat(0.0))
    monkeypatch.setattr(calling, "POLL_SECONDS", 0.001)


class ServerError(Exception):
    """What the clients of chat servers raise, as far as it is looked at."""

    def __init__(self, status, code=None, retry_after=None):
        super().__init__(f"status {status}")
        self.status_code, self.code = status, code
        self.headers = {} if retry_after is None else {"retry-after": str(retry_after)}


def make_questions(n):
    requests = [{"prompt": f"question {i}"} for i in range(n)]
    return [Question(question_key(r), r, r["prompt"]) for r in requests]


class Model:
    """A model that counts how often it gets each prompt.

    ``reply`` is told the prompt and which attempt at it this is, from 1.
    """

    def __init__(self, reply=lambda prompt, n: "Choice 1"):
        self.reply = reply
        self.calls = Counter()
        self.lock = threading.Lock()

    def __call__(self, prompt):
        with self.lock:
            self.calls[prompt] += 1
            n = self.calls[prompt]
        return self.reply(prompt, n)


def failing(errors, only=None):
    """Raise the errors in the first attempts at a prompt, then reply."""

    def reply(prompt, n):
        if n <= len(errors) and (only is None or prompt in only):
            raise errors[n - 1]
        return "Choice 1"

    return Model(reply)


def ask(complete, questions, journal=None, *, outcome=None, progress=None, **terms):
    terms = {"max_retries": 5, "max_retry_seconds": 60.0, **terms}
    outcome = Outcome() if outcome is None else outcome
    call_all(
        questions,
        complete,
        AnswerJournal() if journal is None else journal,
        Terms(**terms),
        parse=lambda reply: reply.text,
        progress=progress or (lambda outcome: None),
        outcome=outcome,
    )
    return outcome


def attempts(journal):
    return list(journal.attempts())


# Each question once


@pytest.mark.parametrize("n_jobs", [1, 7])
def test_what_the_journal_knows_is_not_asked(n_jobs):
    journal, questions, model = AnswerJournal(), make_questions(20), Model()
    first = ask(model, questions[:12], journal, n_jobs=n_jobs)
    assert (first.n_calls, first.n_cached, len(first.replies)) == (12, 0, 12)
    second = ask(model, questions, journal, n_jobs=n_jobs)
    assert (second.n_calls, second.n_cached, len(second.replies)) == (8, 12, 20)
    assert set(model.calls.values()) == {1}
    third = ask(None, questions, journal, n_jobs=n_jobs)
    assert (third.n_calls, third.n_cached) == (0, 20)
    assert third.replies == second.replies


def test_every_attempt_is_in_the_journal_with_what_was_read_from_it():
    journal, questions = AnswerJournal(), make_questions(1)
    ask(failing([ServerError(500), TimeoutError("slow")]), questions, journal)
    found = attempts(journal)
    assert [a["error"] for a in found] == [
        "ServerError (500): status 500",
        "TimeoutError: slow",
        None,
    ]
    assert [a["answer"] for a in found] == [None, None, "Choice 1"]
    assert all(a["seconds"] >= 0 and a["started"] > 1.6e9 for a in found)
    assert {a["key"] for a in found} == {questions[0].key}


@pytest.mark.parametrize("files", ["none", "one object", "two objects"])
def test_rounds_at_the_same_time_ask_each_question_once(files, tmp_path):
    questions, model = make_questions(40), Model()
    journal = AnswerJournal(None if files == "none" else tmp_path / "j.db")
    other = AnswerJournal(tmp_path / "j.db") if files == "two objects" else journal
    outcomes = together(
        lambda: ask(model, questions, journal, n_jobs=4),
        lambda: ask(model, questions[::-1], other, n_jobs=3),
        lambda: ask(model, questions[20:] + questions[:20], journal, n_jobs=1),
    )
    assert model.calls == Counter(q.prompt for q in questions)
    for outcome in outcomes:
        assert len(outcome.replies) == 40
        assert outcome.n_calls + outcome.n_cached == 40
    assert sum(outcome.n_calls for outcome in outcomes) == 40


def test_a_question_that_somebody_else_gives_up_is_asked_by_who_waits_for_it():
    journal, (question,) = AnswerJournal(), make_questions(1)
    begun, waiting = threading.Event(), threading.Event()

    def refuses(prompt):
        begun.set()
        waiting.wait(10)
        raise ServerError(400, "content_filter")

    def second():
        begun.wait(10)
        said = []
        ask(
            Model(), [question], journal, outcome=outcome,
            progress=lambda o: (said.append(len(o.replies)), waiting.set()),
        )  # fmt: skip
        return said

    outcome = Outcome()
    first, told = together(lambda: ask(refuses, [question], journal), second)
    assert list(first.failed) == [question.key]
    assert (outcome.n_calls, outcome.n_cached, len(outcome.replies)) == (1, 0, 1)
    assert told[-1] == 1


def test_what_somebody_else_answers_is_told_to_the_progress():
    journal, (question,) = AnswerJournal(), make_questions(1)
    assert journal.claim(question.key, question.request, seconds=60)
    told = []

    def progress(outcome):
        told.append((len(outcome.replies), outcome.n_cached))
        if len(told) == 1:
            journal.record(
                question.key, calling.Attempt(0.0, 0.0, reply=Reply("Choice 2"))
            )

    outcome = ask(None, [question], journal, progress=progress)
    assert outcome.replies[question.key].text == "Choice 2"
    assert outcome.n_calls == 0
    assert told[-1] == (1, 1)


def test_the_claims_of_a_dead_process_hold_nobody_up(tmp_path):
    program = """
import os, sys
from skllm_cluster.journal import AnswerJournal, question_key
journal = AnswerJournal(sys.argv[1])
for i in range(3):
    request = {"prompt": f"question {i}"}
    assert journal.claim(question_key(request), request, seconds=3600)
journal.reserve("ledger", {"questions": 2}, {})
os._exit(0)  # as kill -9 would: nothing is released
"""
    path = str(tmp_path / "j.db")
    subprocess.run([sys.executable, "-c", program, path], check=True, timeout=60)
    limits = {"ledger": "ledger", "limits": {"questions": 4}}
    (outcome,) = together(
        lambda: ask(Model(), make_questions(3), AnswerJournal(path), **limits)
    )
    # What it had set aside may have been spent, so two are left.
    assert len(outcome.replies) == outcome.n_calls == 2
    assert outcome.stopped == "budget"


# Trying again


@pytest.mark.parametrize(
    "error",
    [
        ServerError(429),
        ServerError(429, retry_after=0.001),
        ServerError(500),
        ServerError(503),
        ServerError(503, retry_after=0),
        ServerError(408),
        ConnectionError("reset"),
        ConnectionResetError(),
        TimeoutError(),
    ],
    ids=repr,
)
@pytest.mark.parametrize("n_jobs", [1, 4])
def test_what_may_pass_is_tried_again(error, n_jobs):
    model, journal, questions = failing([error] * 3), AnswerJournal(), make_questions(6)
    outcome = ask(model, questions, journal, n_jobs=n_jobs, max_retries=3)
    assert set(model.calls.values()) == {4}
    assert outcome.n_calls == len(attempts(journal)) == 24
    assert outcome.n_retries == 18
    assert len(outcome.replies) == 6
    assert outcome.failed == {}
    assert outcome.stopped is None


@pytest.mark.parametrize("max_retries", [0, 1, 4])
def test_no_question_is_tried_more_often_than_allowed(max_retries):
    questions = make_questions(3)
    model = failing([ServerError(500)] * 99, only={"question 1"})
    outcome = ask(model, questions, max_retries=max_retries)
    assert model.calls["question 1"] == 1 + max_retries
    assert outcome.n_retries == max_retries
    assert outcome.n_calls == 3 + max_retries
    assert outcome.failed == {questions[1].key: "ServerError (500): status 500"}
    assert outcome.replies.keys() == {questions[0].key, questions[2].key}


def test_what_the_next_attempt_sends_otherwise_is_no_failure():
    error = mark(ServerError(400), Advice("again", free=True))
    model, (question,) = failing([error, error]), make_questions(1)
    outcome = ask(model, [question], max_retries=0)
    assert (outcome.n_calls, outcome.n_retries) == (3, 2)
    assert question.key in outcome.replies


@pytest.mark.parametrize(
    ("retry_after", "backoff", "waited"),
    [(None, 2.0, 2.0), (7, 2.0, 7.0), (7, 9.0, 9.0)],
)
def test_the_pause_is_the_servers_unless_ours_is_longer(
    retry_after, backoff, waited, monkeypatch
):
    waits = []
    monkeypatch.setattr(calling, "pauses", lambda rng: itertools.repeat(backoff))
    monkeypatch.setattr(
        threading.Event, "wait", lambda self, timeout=None: waits.append(timeout)
    )
    ask(failing([ServerError(500, retry_after=retry_after)] * 2), make_questions(1))
    assert waits == [waited] * 2


@pytest.mark.parametrize("status", [429, 500])
def test_nobody_waits_longer_than_the_patience_allows(status):
    questions = make_questions(8)
    error = ServerError(status, retry_after=3000)
    model = failing([error] * 99, only={"question 1"})
    (outcome,) = together(lambda: ask(model, questions, n_jobs=2))
    assert model.calls["question 1"] == 1
    assert outcome.failed.keys() == {questions[1].key}
    assert len(outcome.replies) == 7


def test_patience_is_spent_by_failures_and_not_by_a_queue(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(calling.time, "monotonic", lambda: now[0])

    class Slow(Limiter):
        def begin(self, tokens, stopped):
            now[0] += 100.0
            return super().begin(tokens, stopped)

    monkeypatch.setattr(calling, "Limiter", Slow)
    model = failing([TimeoutError()] * 99, only={"question 0"})
    outcome = ask(model, make_questions(2), max_retries=99, max_retry_seconds=250.0)
    # The first failure is at 100 s; tries follow at 200, 300 and 400 s, the last one.
    assert model.calls["question 0"] == 4
    assert len(outcome.failed) == 1


@pytest.mark.parametrize("longest", [7, 500])
def test_a_call_is_expected_to_take_its_prompt_and_a_usual_reply(longest, monkeypatch):
    expected = []

    class Watched(Limiter):
        def begin(self, tokens, stopped):
            expected.append(tokens)
            return super().begin(tokens, stopped)

    monkeypatch.setattr(calling, "Limiter", Watched)
    ask(Model(), make_questions(1), bound=lambda prompt: (200, longest))
    assert expected == [len("question 0") + min(longest, 50)]


def test_a_429_halves_the_calls_under_way_and_a_500_does_not(monkeypatch):
    made = []

    class Watched(Limiter):
        def __init__(self, *args, **rates):
            super().__init__(*args, **rates)
            made.append(self)

        def end(self, ticket, **how):
            super().end(ticket, **how)
            self.lowest = min(getattr(self, "lowest", self.most), self.allowed)

    monkeypatch.setattr(calling, "Limiter", Watched)
    rates = {"requests_per_minute": 6e6, "tokens_per_minute": 6e9}
    for status in (429, 500):
        ask(failing([ServerError(status)]), make_questions(8), n_jobs=8, **rates)
    assert made[0].lowest <= 4.0
    assert made[1].lowest == 8.0
    assert [limiter._rates for limiter in made] == [(6e6, 6e9)] * 2


# Giving up


@pytest.mark.parametrize("n_jobs", [1, 4])
def test_one_poisoned_question_is_left_out_and_all_others_are_answered(n_jobs):
    questions = make_questions(30)
    model = failing([ServerError(500)] * 99, only={"question 13"})
    outcome = ask(model, questions, n_jobs=n_jobs, max_retries=1)
    assert outcome.failed.keys() == {questions[13].key}
    assert len(outcome.replies) == 29
    assert outcome.stopped is None


@pytest.mark.parametrize("n_jobs", [1, 4])
def test_an_outage_is_an_error_and_what_was_answered_is_kept(n_jobs):
    journal, questions, outcome = AnswerJournal(), make_questions(400), Outcome()
    answered = itertools.count(1)

    def complete(prompt):
        if next(answered) > 10:
            raise ConnectionError("no route")
        return "Choice 1"

    with pytest.raises(ConnectionError, match="no route"):
        ask(
            complete, questions, journal,
            n_jobs=n_jobs, max_retries=2, outcome=outcome,
        )  # fmt: skip
    assert len(outcome.replies) == len(journal) == 10
    assert outcome.stopped == "error"
    assert 3 <= len(outcome.failed) < 100
    assert outcome.n_calls == len(attempts(journal)) < 300
    left = ask(Model(), questions, journal, n_jobs=n_jobs)
    assert (left.n_cached, left.n_calls) == (10, 390)


@pytest.mark.parametrize("n_questions", [1, 2])
def test_an_outage_is_found_though_there_are_few_questions(n_questions):
    outcome = Outcome()
    with pytest.raises(ServerError):
        ask(
            failing([ServerError(503)] * 99), make_questions(n_questions),
            max_retries=1, outcome=outcome,
        )  # fmt: skip
    assert len(outcome.failed) == n_questions
    assert outcome.n_calls == 2 * n_questions


@pytest.mark.parametrize("n_jobs", [1, 4])
def test_what_failed_before_is_tried_again_and_is_no_outage(n_jobs):
    journal, questions = AnswerJournal(), make_questions(40)
    poisoned = {q.prompt for q in questions[::8]}
    model = failing([ServerError(500)] * 999, only=poisoned)
    first = ask(model, questions, journal, n_jobs=n_jobs, max_retries=0)
    assert len(first.failed) == 5
    again = ask(model, questions, journal, n_jobs=n_jobs, max_retries=0)
    assert (again.n_cached, again.n_calls, len(again.failed)) == (35, 5, 5)
    mended = ask(Model(), questions, journal, n_jobs=n_jobs)
    assert (mended.n_calls, mended.failed) == (5, {})


def test_an_outage_is_one_again_though_the_first_questions_failed_before():
    journal, questions = AnswerJournal(), make_questions(40)
    for _ in range(2):
        with pytest.raises(ServerError):
            ask(failing([ServerError(503)] * 999), questions, journal, max_retries=0)
    assert len(attempts(journal)) <= 3 + 6


def test_failures_among_answers_are_no_outage():
    questions = make_questions(40)
    poisoned = {q.prompt for q in questions[::4]}
    outcome = ask(failing([TimeoutError()] * 9, poisoned), questions, max_retries=0)
    assert len(outcome.failed) == 10
    assert len(outcome.replies) == 30


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, None),
        (401, "invalid_api_key"),
        (403, None),
        (404, "model_not_found"),
        (429, "insufficient_quota"),
    ],
)
@pytest.mark.parametrize("n_jobs", [1, 4])
def test_what_cannot_pass_is_raised_at_once(status, code, n_jobs):
    error, outcome = ServerError(status, code), Outcome()
    model, journal = failing([error] * 99), AnswerJournal()
    with pytest.raises(ServerError) as caught:
        ask(model, make_questions(50), journal, n_jobs=n_jobs, outcome=outcome)
    assert caught.value is error
    assert outcome.n_calls == sum(model.calls.values()) <= n_jobs
    assert len(attempts(journal)) == outcome.n_calls
    assert (outcome.n_retries, outcome.stopped) == (0, "error")


def test_a_question_that_the_server_will_not_answer_is_skipped():
    questions = make_questions(9)
    poisoned = {q.prompt for q in questions[:5]}  # however many in a row
    model = failing([ServerError(400, "content_filter")] * 9, poisoned)
    outcome = ask(model, questions)
    assert len(outcome.replies) == 4
    assert len(outcome.failed) == 5
    assert set(model.calls.values()) == {1}
    assert set(outcome.failed.values()) == {
        "ServerError (400, content_filter): status 400"
    }


def test_all_questions_skipped_is_no_outage():
    error = ServerError(400, "content_filter")
    outcome = ask(failing([error] * 9), make_questions(4))
    assert len(outcome.failed) == 4


@pytest.mark.parametrize("n_jobs", [1, 3])
def test_a_mistake_in_the_users_function_is_raised_as_it_is(n_jobs):
    mistake = KeyError("choices")
    with pytest.raises(KeyError) as caught:
        ask(failing([mistake] * 9, {"question 4"}), make_questions(50), n_jobs=n_jobs)
    assert caught.value is mistake


def test_calls_under_way_are_waited_for_when_one_fails_for_good():
    both, over = threading.Barrier(2), threading.Event()

    def complete(prompt):
        both.wait(10)
        if prompt == "question 0":
            over.set()
            raise ServerError(401)
        over.wait(10)
        return "Choice 2"

    journal, questions, outcome = AnswerJournal(), make_questions(2), Outcome()
    with pytest.raises(ServerError):
        ask(complete, questions, journal, n_jobs=2, outcome=outcome)
    assert outcome.replies.keys() == {questions[1].key}
    assert len(journal) == 1


def test_who_waits_to_try_again_leaves_when_all_is_over(monkeypatch):
    monkeypatch.setattr(calling, "pauses", lambda rng: itertools.repeat(50.0))
    failed = threading.Event()

    def complete(prompt):
        if prompt == "question 0":
            failed.set()
            raise ServerError(500)
        failed.wait(10)
        raise ServerError(401)

    (error,) = together(lambda: ask(complete, make_questions(2), n_jobs=2))
    assert error.status_code == 401


def test_a_claim_lasts_as_long_as_the_queue_and_is_renewed_for_a_retry(monkeypatch):
    journal, claimed, extended = AnswerJournal(), [], []
    claim, extend = journal.claim, journal.extend
    monkeypatch.setattr(
        journal, "claim",
        lambda *a, seconds: claimed.append(seconds) or claim(*a, seconds=seconds),
    )  # fmt: skip
    monkeypatch.setattr(
        journal, "extend",
        lambda *a, seconds: extended.append(seconds) or extend(*a, seconds=seconds),
    )  # fmt: skip
    model = failing([ServerError(500)])
    ask(model, make_questions(1), journal, max_retries=1, max_retry_seconds=9.0)
    assert claimed == extended == [calling.CLAIM_SECONDS + 9.0]
    calls = calling._Calls(
        model, journal, Terms(n_jobs=16, requests_per_minute=1.0), str, str, Outcome()
    )
    # Fifteen others may begin before, one a minute.
    assert calls._patience(make_questions(1)[0]) >= 15 * 60


def test_who_waits_for_a_rate_leaves_when_all_is_over(monkeypatch):
    begins = threading.Barrier(2)

    class Watched(Limiter):
        def begin(self, tokens, stopped):
            begins.wait(10)
            return super().begin(tokens, stopped)

    def refuse(prompt):
        time.sleep(0.05)  # in which the other begins to wait, for ten minutes
        raise ServerError(401)

    monkeypatch.setattr(calling, "Limiter", Watched)
    outcome, rate = Outcome(), {"requests_per_minute": 0.1}
    (error,) = together(
        lambda: ask(refuse, make_questions(2), n_jobs=2, outcome=outcome, **rate)
    )
    assert error.status_code == 401
    assert outcome.n_calls == 1


def test_the_first_error_is_the_one_that_is_raised():
    outcome, both = Outcome(), threading.Barrier(2)

    def complete(prompt):
        both.wait(10)
        if prompt == "question 0":
            raise ServerError(404)
        while outcome.stopped is None:
            time.sleep(0.001)
        raise ServerError(403)

    (error,) = together(
        lambda: ask(complete, make_questions(2), n_jobs=2, outcome=outcome)
    )
    assert error.status_code == 404


@pytest.mark.parametrize("n_jobs", [1, 3])
def test_an_interrupt_in_a_call_begins_no_new_one_and_frees_the_question(n_jobs):
    journal, questions, hangs = AnswerJournal(), make_questions(60), threading.Event()
    last = questions[n_jobs - 1]

    def reply(prompt, n):
        if prompt == last.prompt:
            raise KeyboardInterrupt
        hangs.wait(0.1)
        return "Choice 1"

    model = Model(reply)
    with pytest.raises(KeyboardInterrupt):
        ask(model, questions, journal, n_jobs=n_jobs)
    assert len(model.calls) <= n_jobs
    assert journal.claim(last.key, last.request, seconds=1)


# What a reply may be


@pytest.mark.parametrize(
    ("said", "text", "reason"),
    [
        ("Choice 1", "Choice 1", None),
        (Reply("Choice 2", "stop"), "Choice 2", "stop"),
        (Reply(None, "tool_calls", "m", 5), "", "tool_calls"),
        (None, "", "no text but NoneType"),
        (2, "", "no text but int"),
        (b"Choice 1", "", "no text but bytes"),
    ],
)
def test_whatever_a_model_gives_back_is_kept_as_a_reply(said, text, reason):
    journal, (question,) = AnswerJournal(), make_questions(1)
    outcome = ask(lambda prompt: said, [question], journal)
    reply = outcome.replies[question.key]
    assert (reply.text, reply.finish_reason) == (text, reason)
    assert journal.replies([question.key])[question.key] == reply


def test_tokens_are_the_servers_and_estimated_only_where_it_counts_none():
    replies = [
        Reply("Choice 1", prompt_tokens=70, completion_tokens=3),
        Reply("Choice 1", prompt_tokens=50),
        "Choice 1",
        ServerError(500),  # has not read on
        ConnectionError(),  # may have
    ]

    def complete(prompt):
        said = replies[int(prompt.split()[1])]
        if isinstance(said, Exception):
            raise said
        return said

    outcome = ask(complete, make_questions(5), max_retries=0, prices=(1e6, 1e3))
    # Without a count a text has as many tokens as letters here.
    assert outcome.prompt_tokens == 70 + 50 + 10 + 0 + 10
    assert outcome.completion_tokens == 3 + 8 + 8
    assert outcome.cost == pytest.approx(140 * 1.0 + 19 * 1e-3)


def test_a_journal_that_fails_ends_the_asking():
    class Full(AnswerJournal):
        def record(self, key, attempt):
            raise JournalError("no room")

    model, outcome = Model(), Outcome()
    with pytest.raises(JournalError, match="no room"):
        ask(model, make_questions(30), Full(), n_jobs=3, outcome=outcome)
    assert len(model.calls) <= 3
    assert outcome.replies == {}  # what is not durable is not used
    assert outcome.n_calls == len(model.calls)


def test_the_progress_is_told_of_every_attempt_by_one_thread_at_a_time():
    told, inside = [], threading.Lock()

    def progress(outcome):
        assert inside.acquire(blocking=False)
        told.append((outcome.n_calls, len(outcome.replies), len(outcome.failed)))
        inside.release()

    model = failing([ServerError(400, "content_filter")], {"question 3"})
    ask(model, make_questions(20), n_jobs=4, progress=progress)
    assert told[0] == (0, 0, 0)
    assert told[-1] == (20, 19, 1)
    assert len(told) == 1 + 20 + 1


# Budgets

BOUND = (20, 5)  # tokens


class Meter:
    """A model whose calls fail and cost at random, and that sums up what it cost."""

    def __init__(self, seed, share_failing, prices):
        self.random = random.Random(seed)
        self.share_failing, self.prices = share_failing, prices
        self.spent = Counter(questions=0, tokens=0, cost=0.0)
        self.lock = threading.Lock()

    def __call__(self, prompt):
        with self.lock:
            draw, self.spent["questions"] = self.random, self.spent["questions"] + 1
            if draw.random() < self.share_failing:
                raise ServerError(draw.choice([429, 500, 503]))
            tokens = draw.randint(0, BOUND[0]), draw.randint(0, BOUND[1])
            self.spent["tokens"] += sum(tokens)
            cost = sum(n * p for n, p in zip(tokens, self.prices, strict=True)) / 1e6
            self.spent["cost"] += cost
            return Reply(
                "Choice 1", prompt_tokens=tokens[0], completion_tokens=tokens[1]
            )


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    n_jobs=st.integers(1, 8),
    n_questions=st.integers(1, 25),
    share_failing=st.sampled_from([0.0, 0.1, 0.5]),
    prices=st.sampled_from([(0.0, 0.0), (0.5, 4.0), (1e4, 1e5)]),
    limits=st.fixed_dictionaries(
        {},
        optional={
            "questions": st.integers(0, 40),
            "tokens": st.integers(0, 600),
            "cost": st.floats(0, 2.0),
        },
    ),
)
def test_no_budget_is_ever_passed_nor_left_unused(
    seed, n_jobs, n_questions, share_failing, prices, limits
):
    meter, journal = Meter(seed, share_failing, prices), AnswerJournal()
    outcome, questions = Outcome(), make_questions(n_questions)

    def run():
        ask(
            meter, questions, journal, outcome=outcome, n_jobs=n_jobs,
            max_retries=99, ledger="l", limits=limits, prices=prices,
            bound=lambda prompt: BOUND,
        )  # fmt: skip

    assert together(run) == [None]
    for unit, limit in limits.items():
        assert meter.spent[unit] <= limit + 1e-9
    assert outcome.n_calls == meter.spent["questions"] == len(attempts(journal))
    assert outcome.prompt_tokens + outcome.completion_tokens == meter.spent["tokens"]
    assert outcome.cost == pytest.approx(meter.spent["cost"])
    if limits and outcome.n_calls:
        assert journal.spent("l") == pytest.approx(dict(meter.spent))
    if len(outcome.replies) == n_questions:
        assert outcome.stopped is None
        return
    assert outcome.stopped == "budget"
    # There was no room for one more call.
    most = calling._amounts(BOUND, prices)
    assert any(
        meter.spent[unit] + most[unit] > limit - 1e-9 for unit, limit in limits.items()
    )


def test_failed_attempts_count():
    model = failing([ServerError(500)], {"question 0"})
    limits = {"ledger": "l", "limits": {"questions": 3}}
    outcome = ask(model, make_questions(5), **limits)
    assert (outcome.n_calls, len(outcome.replies), outcome.stopped) == (3, 2, "budget")
    assert outcome.failed == {}


def test_a_retry_that_the_budget_does_not_allow_is_not_made():
    model = failing([ServerError(500)] * 9)
    outcome = ask(model, make_questions(5), ledger="l", limits={"questions": 1})
    assert (outcome.n_calls, outcome.stopped) == (1, "budget")
    assert outcome.failed == {}  # it is open


def test_what_the_budget_left_open_is_asked_with_a_larger_one():
    journal, questions, model = AnswerJournal(), make_questions(10), Model()
    for limit, n_calls in ((4, 4), (7, 3), (7, 0), (99, 3)):
        outcome = ask(
            model, questions, journal, ledger="l", limits={"questions": limit}
        )
        assert outcome.n_calls == n_calls
    assert outcome.stopped is None
    assert set(model.calls.values()) == {1}


def test_rounds_at_the_same_time_share_a_budget(tmp_path):
    model, path = Model(), tmp_path / "j.db"
    limits = {"ledger": "l", "limits": {"questions": 25}, "n_jobs": 3}
    rounds = [make_questions(60)[i::3] for i in range(3)]
    outcomes = together(
        *[partial(ask, model, r, AnswerJournal(path), **limits) for r in rounds]
    )
    assert sum(model.calls.values()) == 25
    assert sum(outcome.n_calls for outcome in outcomes) == 25
    assert [outcome.stopped for outcome in outcomes].count("budget") >= 2
    assert AnswerJournal(path).spent("l")["questions"] == 25


class Watched(AnswerJournal):
    """A journal that tells when it refuses to set something aside."""

    def __init__(self):
        super().__init__()
        self.has_refused = threading.Event()

    def reserve(self, *args):
        is_granted = super().reserve(*args)
        if not is_granted:
            self.has_refused.set()
        return is_granted


def test_what_calls_under_way_may_give_back_is_waited_for():
    journal, limits = Watched(), {"limits": {"tokens": 30}, "bound": lambda p: BOUND}

    def complete(prompt):
        # Two at a time might pass the limit, though in the end they do not.
        assert journal.has_refused.wait(10)
        return Reply("Choice 1", prompt_tokens=1, completion_tokens=1)

    (outcome,) = together(
        lambda: ask(complete, make_questions(3), journal, n_jobs=2, **limits)
    )
    assert len(outcome.replies) == 3
    assert outcome.stopped is None


def test_an_interrupted_call_is_booked_as_the_most_that_it_can_have_cost():
    def complete(prompt):
        raise KeyboardInterrupt

    journal, limits = AnswerJournal(), {"limits": {"tokens": 30}, "ledger": "l"}
    with pytest.raises(KeyboardInterrupt):
        ask(complete, make_questions(2), journal, bound=lambda p: BOUND, **limits)
    assert journal.spent("l")["tokens"] == sum(BOUND)
    assert journal.spent("l")["questions"] == 1


def test_who_waits_for_the_budget_leaves_when_a_call_fails_for_good():
    journal, limits = Watched(), {"limits": {"tokens": 25}, "bound": lambda p: BOUND}

    def complete(prompt):
        assert journal.has_refused.wait(10)
        raise ServerError(401)

    (error,) = together(
        lambda: ask(complete, make_questions(2), journal, n_jobs=2, **limits)
    )
    assert error.status_code == 401
