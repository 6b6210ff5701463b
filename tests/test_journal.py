"""The answer journal: what it keeps, who may ask, what asking costs."""

import copy
import errno
import hashlib
import json
import math
import os
import pickle
import sqlite3
import stat
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from journals import FAILED, answered, ask, fill
from sklearn.base import clone

from skllm_cluster.journal import AnswerJournal, Attempt, JournalError, question_key
from skllm_cluster.journal import _connection as connections
from skllm_cluster.journal import _file as files
from skllm_cluster.journal import _history as histories
from skllm_cluster.journal import _tables as tables
from skllm_cluster.protocols import Reply

REQUEST = {
    "model": "m",
    "messages": [{"role": "user", "content": "Which one?"}],
    "temperature": 0.0,
    "max_tokens": 8,
    "seed": None,
    "stream": False,
    "base_url": "https://example.org/v1",
    "prompt": 3,
    "sample": 0,
}
NASTY = "\ud800 lone, \x00 nul, \U0001f600 emoji, \u2028 'quotes\"; DROP TABLE question"


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "answers.sqlite")


@pytest.fixture(params=["file", "memory"])
def journal(request, path):
    journal = AnswerJournal(path if request.param == "file" else None)
    yield journal
    journal.close()


@pytest.fixture
def clock(monkeypatch):
    """The time as claims see it."""
    now = SimpleNamespace(time=lambda: now.at, at=1000.0)
    monkeypatch.setattr(tables, "time", now)
    return now


# Keys


def test_a_key_is_the_sha256_of_the_sorted_compact_json():
    text = json.dumps(REQUEST, sort_keys=True, separators=(",", ":"))
    assert question_key(REQUEST) == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize("name", sorted(REQUEST))
def test_each_field_of_a_request_that_is_flipped_left_out_or_renamed_misses(name):
    other = {**REQUEST, name: "something else"}
    without = {n: v for n, v in REQUEST.items() if n != name}
    keys = [
        question_key(r)
        for r in (REQUEST, other, without, {**without, f"{name} ": REQUEST[name]})
    ]
    assert len(set(keys)) == 4


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (0, False),
        (1, 1.0),
        (0.0, -0.0),
        (1, "1"),
        (None, "null"),
        ([], {}),
        (["a", "b"], ["b", "a"]),
        (["ab"], ["a", "b"]),
        ("é", "e\u0301"),
        ("\ud800", "\\ud800"),
        ("a", "a\x00"),
        ({"a": {"b": 1}}, {"a": {}, "b": 1}),
    ],
)
def test_values_that_look_alike_are_two_questions(one, other):
    assert question_key({"value": one}) != question_key({"value": other})


anything = st.characters(exclude_categories=())  # lone surrogates too
texts = st.text(anything, max_size=8)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner),
    max_leaves=12,
)
requests = st.dictionaries(texts, values, min_size=1, max_size=5)


def leaves(value, where=()):
    """The places of all leaves, an empty list or dict being one."""
    if isinstance(value, (list, dict)) and value:
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for name, item in items:
            yield from leaves(item, (*where, name))
    else:
        yield where


def reordered(value):
    if isinstance(value, dict):
        return {name: reordered(value[name]) for name in reversed(list(value))}
    return [reordered(v) for v in value] if isinstance(value, list) else value


@settings(deadline=None)
@given(requests, st.data())
def test_a_request_with_one_leaf_changed_misses_and_in_another_order_hits(
    request, data
):
    assert question_key(reordered(request)) == question_key(request)
    *way, last = data.draw(st.sampled_from(sorted(leaves(request), key=repr)))
    changed = copy.deepcopy(request)
    inner = changed
    for name in way:
        inner = inner[name]
    new = data.draw(scalars.filter(lambda v: repr(v) != repr(inner[last])))
    inner[last] = new
    assert question_key(changed) != question_key(request)


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ({"a": {"b": [1, object()]}}, r"request\['a'\]\['b'\]\[1\] must be a JSON"),
        ({"a": np.int64(1)}, r"request\['a'\] must be a JSON value, got int64"),
        ({"a": {1, 2}}, r"request\['a'\] must be a JSON value, got set: \{1, 2\}"),
        ({"a": b"x"}, r"request\['a'\] must be a JSON value, got bytes"),
        ({"a": math.nan}, r"request\['a'\] must be finite to be a JSON value, got nan"),
        ({"a": [-math.inf]}, r"request\['a'\]\[0\] must be finite.*got -inf"),
        ({"a": {1: 2}}, r"request\['a'\] must have names of type str, got 1"),
        ({None: 2}, "request must have names of type str, got None"),
        (object(), "request must be a JSON value, got object"),
    ],
)
def test_what_is_no_json_is_named(request_, said, journal):
    with pytest.raises(TypeError, match=said):
        question_key(request_)
    with pytest.raises(TypeError, match=said):
        journal.claim("0" * 64, request_, seconds=1)


# What is kept


@pytest.mark.parametrize("end", ["record", "record_all"])
def test_an_answer_is_found_again_and_by_others_and_nobody_has_to_ask_it(path, end):
    key, request = ask(0)
    reply = Reply("Choice 1", "stop", "m-1", 70, 3, ({"1": -0.1, "2": -math.inf},))
    journal = AnswerJournal(path)
    assert journal.replies([key]) == {}
    if end == "record":
        assert journal.claim(key, request, seconds=60)
        journal.record(key, Attempt(1.0, 2.0, reply=reply, answer=0))
    else:
        assert journal.record_all([(key, request, Attempt(1.0, 2.0, reply=reply))])
    for other in (journal, AnswerJournal(path)):
        assert other.replies([key, key, ask(1)[0]]) == {key: reply}
        assert not other.claim(key, request, seconds=60)
        assert len(other) == 1
    journal.close()
    assert journal.replies([key]) == {key: reply}  # it opens again


@settings(max_examples=50, deadline=None)
@given(
    st.builds(
        Reply,
        text=texts,
        finish_reason=st.none() | texts,
        model=st.none() | texts,
        prompt_tokens=st.none() | st.integers(),
        completion_tokens=st.none() | st.integers(0),
        top_logprobs=st.lists(
            st.dictionaries(texts, st.floats(max_value=0, allow_nan=False)), max_size=2
        ).map(tuple),
    ),
    requests,
    st.none() | texts,
    values,
)
def test_any_text_comes_back_as_it_was(reply, request, error, answer):
    journal, key = AnswerJournal(), question_key(request)
    attempt = Attempt(1.5, 2.5, reply=reply, error=error, answer=answer)
    journal.record_all([(key, request, attempt)])
    assert journal.replies([key]) == {key: reply}
    (told,) = journal.attempts()
    assert told["request"] == request
    assert (told["error"], told["answer"]) == (error, answer)
    assert [list(d) for d in told["top_logprobs"]] == [
        list(d) for d in reply.top_logprobs
    ]
    journal.close()


def test_nasty_texts_survive_in_a_file(path):
    request = {NASTY: NASTY}
    key = question_key(request)
    attempt = Attempt(0.0, 0.0, reply=Reply(NASTY), error=NASTY, answer=NASTY)
    AnswerJournal(path).record_all([(key, request, attempt)])
    (told,) = AnswerJournal(path).attempts()
    assert told["request"] == request
    assert told["text"] == told["error"] == told["answer"] == NASTY


def test_the_first_reply_is_the_answer_and_both_attempts_are_kept(journal):
    key, request = ask(0)
    journal.claim(key, request, seconds=60)
    journal.record(key, FAILED)
    assert journal.replies([key]) == {}
    for text in ("first", "second"):
        journal.record(key, answered(text))
    assert journal.replies([key])[key].text == "first"
    told = [(a["text"], a["error"], a["used"]) for a in journal.attempts()]
    assert told == [
        (None, "timed out", False),
        ("first", None, True),
        ("second", None, False),
    ]


def test_an_import_adds_what_is_new_and_replaces_only_if_told_to(journal):
    first = [(*ask(i), answered(f"first {i}")) for i in range(3)]
    assert journal.record_all(iter(first)) == 3
    assert journal.record_all(first) == 0  # the same file twice
    second = [(*ask(i), answered(f"second {i}")) for i in range(2, 4)]
    assert journal.record_all(second) == 1
    keys = [ask(i)[0] for i in range(4)]

    def words():
        return [reply.text.split()[0] for _, reply in sorted(found().items())]

    def found():
        replies = journal.replies(keys)
        return {keys.index(key): reply for key, reply in replies.items()}

    assert words() == ["first", "first", "first", "second"]
    assert journal.record_all(second, replace=True) == 1
    assert words() == ["first", "first", "second", "second"]
    assert journal.record_all(first, replace=True) == 1
    assert words() == ["first", "first", "first", "second"]
    assert len(list(journal.attempts())) == 5
    assert journal.record_all([(*ask(9), FAILED)]) == 0
    assert journal.summary()["n_questions"] == 5


def test_an_import_ends_the_claim_on_what_it_answers(journal):
    key, request = ask(0)
    assert journal.claim(key, request, seconds=60)
    journal.record_all([(key, request, FAILED)])
    assert not journal.claim(key, request, seconds=60)
    journal.record_all([(key, request, answered())])
    with journal._here().reading() as db:
        assert db.execute("SELECT count(*) FROM claim").fetchone() == (0,)


def test_an_import_that_fails_in_the_middle_leaves_nothing(journal):
    fill(journal, 2)
    bad = [(*ask(5), answered()), (*ask(6), Attempt(0.0, 0.0, reply="Choice 1"))]
    with pytest.raises(TypeError, match=r"attempt\.reply must be a Reply or None"):
        journal.record_all(bad)
    assert journal.summary()["n_questions"] == 2


@pytest.mark.parametrize(
    ("attempt", "said"),
    [
        ("Choice 1", "attempt must be an Attempt, got 'Choice 1'"),
        (Attempt(0.0, 0.0, reply="x"), r"attempt\.reply must be a Reply or None"),
        (Attempt(0.0, 0.0, answer=np.int64(1)), r"attempt\.answer must be a JSON"),
        (Attempt(0.0, 0.0, error=OSError()), r"attempt\.error must be a JSON"),
        (Attempt(0.0, math.nan), r"attempt\.seconds must be finite, got nan"),
        (Attempt(math.inf, 0.0), r"attempt\.started must be finite, got inf"),
        (
            Attempt(0.0, 0.0, reply=Reply("", prompt_tokens=np.int64(1))),
            r"attempt\.reply\['prompt_tokens'\] must be a JSON value",
        ),
    ],
)
def test_an_attempt_that_cannot_be_written_is_refused_before_it_is(
    attempt, said, journal
):
    key, request = ask(0)
    journal.claim(key, request, seconds=60)
    with pytest.raises(TypeError, match=said):
        journal.record(key, attempt)
    assert list(journal.attempts()) == []


def test_a_question_that_is_not_known_is_not_answered(journal):
    with pytest.raises(ValueError, match=r"no question 'ab+'\. Claim it before"):
        journal.record("a" + "b" * 63, answered())


@pytest.mark.parametrize("key", [None, 7, b"ab", "\ud800"])
def test_a_key_is_a_str_of_ascii(key, journal):
    for use in (
        lambda: journal.record(key, answered()),
        lambda: journal.record_all([(key, {}, answered())]),
        lambda: journal.claim(key, {}, seconds=1),
        lambda: journal.extend(key, seconds=1),
        lambda: journal.release(key),
    ):
        with pytest.raises(TypeError, match="key must be what question_key returns"):
            use()


def test_more_keys_than_a_page_are_all_looked_up(journal):
    n = 2 * tables.PAGE + 7
    keys = fill(journal, n)
    found = journal.replies([ask(-1)[0], *keys])
    assert [found[key].text for key in keys] == [f"answer {i}" for i in range(n)]
    assert [a["text"] for a in journal.attempts()] == [f"answer {i}" for i in range(n)]


def test_what_questions_ask_is_looked_up_be_they_answered_or_not(journal):
    answered_, claimed, unknown = ask(0), (question_key(REQUEST), REQUEST), ask(2)
    fill(journal, 1)
    journal.claim(*claimed, seconds=60)
    keys = [unknown[0], claimed[0], answered_[0], claimed[0]]
    assert journal.requests(keys) == dict([answered_, claimed])


# Claims


def test_a_question_is_claimed_once_also_by_the_one_who_has_it(path):
    one, other = AnswerJournal(path), AnswerJournal(path)
    key, request = ask(0)
    assert one.claim(key, request, seconds=60)
    assert not one.claim(key, request, seconds=60)
    assert not other.claim(key, request, seconds=60)
    assert other.claim(*ask(1), seconds=60)


def test_a_claim_lapses_and_can_be_extended(path, clock):
    one, other = AnswerJournal(path), AnswerJournal(path)
    key, request = ask(0)
    assert one.claim(key, request, seconds=10)
    clock.at += 9.9
    assert not other.claim(key, request, seconds=10)
    one.extend(key, seconds=10)
    clock.at += 9.9
    assert not other.claim(key, request, seconds=10)
    other.extend(key, seconds=99)  # it is not theirs
    clock.at += 0.2
    assert other.claim(key, request, seconds=10)
    one.extend(key, seconds=99)  # nor is it ours any more
    one.release(key)
    assert not one.claim(key, request, seconds=10)
    clock.at += 10.1
    assert one.claim(key, request, seconds=10)


def test_a_claim_that_is_released_or_whose_journal_is_closed_is_free(path):
    one, other = AnswerJournal(path), AnswerJournal(path)
    key, request = ask(0)
    for give_up in (lambda: one.release(key), one.close):
        assert one.claim(key, request, seconds=60)
        assert not other.claim(key, request, seconds=60)
        give_up()
        assert other.claim(key, request, seconds=60)
        other.release(key)


def test_a_claim_of_a_journal_that_nobody_has_any_more_is_free(path):
    other = AnswerJournal(path)
    assert AnswerJournal(path).claim(*ask(0), seconds=60)
    assert other.claim(*ask(0), seconds=60)


def test_a_failed_attempt_leaves_the_claim_and_a_reply_ends_it(journal):
    key, request = ask(0)
    journal.claim(key, request, seconds=60)
    journal.record(key, FAILED)
    assert not journal.claim(key, request, seconds=60)
    journal.record(key, answered())
    with journal._here().reading() as db:
        assert db.execute("SELECT count(*) FROM claim").fetchone() == (0,)


@pytest.mark.parametrize("seconds", [0, -1, math.nan, math.inf])
def test_a_claim_lasts_for_some_time_and_not_for_ever(seconds, journal):
    with pytest.raises(ValueError, match="seconds must be positive and finite, got"):
        journal.claim(*ask(0), seconds=seconds)
    with pytest.raises(ValueError, match="seconds must be positive and finite, got"):
        journal.extend(ask(0)[0], seconds=seconds)


def test_of_16_threads_that_want_the_same_questions_each_gets_its_own(journal):
    questions = [ask(i) for i in range(50)]
    start = threading.Barrier(16)

    def work(_):
        start.wait()
        return [
            key for key, request in questions if journal.claim(key, request, seconds=60)
        ]

    with ThreadPoolExecutor(16) as pool:
        claimed = [key for keys in pool.map(work, range(16)) for key in keys]
    assert sorted(claimed) == sorted(key for key, _ in questions)


# Recording by many threads


def statements(monkeypatch):
    """What SQLite is told from now on: how safely each commit is made."""
    levels = []

    class Watched(sqlite3.Connection):
        def execute(self, sql, *args):
            if sql == "COMMIT":
                levels.append(super().execute("PRAGMA synchronous").fetchone()[0])
            return super().execute(sql, *args)

    connect = sqlite3.connect
    monkeypatch.setattr(
        files.sqlite3, "connect", lambda *a, **k: connect(*a, factory=Watched, **k)
    )
    return levels


def test_what_must_survive_a_power_failure_is_written_so_and_nothing_else(
    path, monkeypatch
):
    normal, full = 1, 2
    levels = statements(monkeypatch)
    journal, (key, request) = AnswerJournal(path), ask(0)
    journal.check()
    for act, expected in [
        (lambda: journal.claim(key, request, seconds=60), normal),
        (lambda: journal.record(key, FAILED), full),
        (lambda: journal.extend(key, seconds=60), normal),
        (lambda: journal.record(key, answered()), full),
        (lambda: journal.release(key), normal),
        (lambda: journal.reserve("l", {"n": 1}, {}), normal),
        (lambda: journal.settle("l", {"n": 1}, {"n": 1}), normal),
        (lambda: journal.record_all([(*ask(1), answered())]), full),
    ]:
        levels.clear()
        act()
        assert levels == [expected]
    journal.close()


@contextmanager
def sixteen_recording(journal, meet):
    """16 threads that record, all of which have come before the first may write.

    ``meet()`` is called then. Gives the outcomes, None or what was raised.
    """
    here, outcomes = journal._here(), {}
    questions = [ask(i) for i in range(16)]
    for question in questions:
        journal.claim(*question, seconds=60)

    def work(i):
        try:
            outcomes[i] = journal.record(questions[i][0], answered(f"answer {i}"))
        except BaseException as error:
            outcomes[i] = error

    threads = [threading.Thread(target=work, args=(i,)) for i in range(16)]
    with here.reading():
        for thread in threads:
            thread.start()
        while len(here._waiting) < 15:  # one has gone ahead
            time.sleep(0.001)
        meet()
    for thread in threads:
        thread.join()
    yield outcomes, [key for key, _ in questions]


def test_threads_that_record_at_once_share_the_wait_for_the_disk(path, monkeypatch):
    levels = statements(monkeypatch)
    journal = AnswerJournal(path)
    with sixteen_recording(journal, levels.clear) as (outcomes, keys):
        assert levels == [2, 2]  # the first, and all others together
        assert outcomes == dict.fromkeys(range(16))
        found = AnswerJournal(path).replies(keys)
        assert [found[k].text for k in keys] == [f"answer {i}" for i in range(16)]
    journal.close()


def test_an_error_reaches_every_thread_whose_attempt_was_not_written(
    journal, monkeypatch
):
    def no_room(*args):
        raise sqlite3.OperationalError("database or disk is full")

    with (
        monkeypatch.context() as patch,
        sixteen_recording(journal, lambda: patch.setattr(tables, "add", no_room)) as (
            outcomes,
            keys,
        ),
    ):
        assert {type(outcome) for outcome in outcomes.values()} == {JournalError}
        assert all("has no room left" in str(o) for o in outcomes.values())
        assert len({id(outcome) for outcome in outcomes.values()}) == 16
        assert list(journal.attempts()) == []
    journal.record(keys[0], answered())  # and then all is well again
    assert len(journal) == 1


def test_a_thread_that_is_interrupted_while_it_writes_for_others_tells_them(
    journal, monkeypatch
):
    def interrupt(*args):
        raise KeyboardInterrupt

    with (
        monkeypatch.context() as patch,
        sixteen_recording(journal, lambda: patch.setattr(tables, "add", interrupt)) as (
            outcomes,
            keys,
        ),
    ):
        kinds = [type(outcome) for outcome in outcomes.values()]
        # The first was alone, the second wrote for the other 14.
        assert sorted(kinds, key=str).count(KeyboardInterrupt) == 2
        assert kinds.count(JournalError) == 14
        assert "was interrupted" in str(
            next(o for o in outcomes.values() if isinstance(o, JournalError))
        )
        assert list(journal.attempts()) == []
    journal.record(keys[0], answered())
    assert len(journal) == 1


def test_one_unknown_question_does_not_keep_the_others_from_being_answered(journal):
    known, request = ask(0)
    journal.claim(known, request, seconds=60)
    here, errors = journal._here(), []

    def record(key):
        try:
            journal.record(key, answered())
        except ValueError as error:
            errors.append(error)

    keys = [known, ask(1)[0], ask(2)[0]]
    threads = [threading.Thread(target=record, args=(key,)) for key in keys]
    with here.reading():
        for thread in threads:
            thread.start()
        while len(here._waiting) < 2:
            time.sleep(0.001)
    for thread in threads:
        thread.join()
    assert len(errors) == 2
    assert len(journal) == 1


# Ledgers


def test_a_reservation_stays_within_its_limits_and_is_settled(journal):
    limits = {"questions": 3, "money": 1.0}
    cost = {"questions": 1, "money": 0.4}
    assert journal.reserve("l", cost, limits)
    assert journal.reserve("l", cost, limits)
    assert not journal.reserve("l", cost, limits)  # 1.2 of 1.0
    assert journal.spent("l") == {}
    journal.settle("l", cost, {"questions": 1, "money": 0.1})
    journal.settle("l", cost, {})
    assert journal.spent("l") == {"questions": 1, "money": 0.1}
    assert journal.reserve("l", cost, limits)
    assert journal.reserve("l", cost, limits)
    assert not journal.reserve("l", {"questions": 1}, limits)  # the fourth
    assert journal.reserve("l", {"tokens": 10}, {})  # only counted
    assert journal.reserve("other", cost, limits)
    assert journal.spent("nothing") == {}


def test_a_refused_reservation_reserves_nothing(journal):
    assert not journal.reserve("l", {"a": 1, "b": 5}, {"a": 9, "b": 4})
    assert journal.reserve("l", {"a": 9}, {"a": 9})


@pytest.mark.parametrize("times", [3, 6, 7, 10])  # 3 * 0.1 > 0.3
def test_so_many_times_a_tenth_fits_into_so_many_tenths(journal, times):
    limits = {"m": times / 10}
    granted = [journal.reserve("l", {"m": 0.1}, limits) for _ in range(times + 2)]
    assert granted == [True] * times + [False] * 2


def test_a_limit_holds_for_what_is_spent_beyond_what_was_reserved(journal):
    assert journal.reserve("l", {"t": 10}, {"t": 20})
    journal.settle("l", {"t": 10}, {"t": 30})
    assert not journal.reserve("l", {"t": 0}, {"t": 20})
    assert journal.reserve("l", {"t": 0}, {"t": math.inf})


def test_what_was_not_reserved_cannot_be_given_back(journal):
    journal.settle("l", {"t": 10}, {"t": 5})
    assert journal.reserve("l", {"t": 1}, {"t": 9})
    journal.settle("l", {"t": 4}, {})
    assert not journal.reserve("l", {"t": 5}, {"t": 9})
    assert journal.reserve("l", {"t": 4}, {"t": 9})


def test_what_nobody_settles_is_booked_as_spent_when_the_journal_closes(path):
    one, other = AnswerJournal(path), AnswerJournal(path)
    one.settle("l", {}, {"t": 1})
    other.settle("m", {}, {"t": 1})
    for journal in (one, other):
        assert journal.reserve("l", {"t": 4, "u": 2}, {"t": 9})
    one.close()
    assert other.spent("l") == {"t": 5, "u": 2}
    assert other.spent("m") == {"t": 1}
    assert not other.reserve("l", {"t": 1}, {"t": 9})
    other.settle("l", {"t": 4, "u": 2}, {})
    assert other.reserve("m", {"v": 1}, {})
    other.settle("m", {"v": 1}, {})
    other.close()  # nothing is open
    assert other.spent("m") == {"t": 1}
    assert other.reserve("l", {"t": 4}, {"t": 9})


@pytest.mark.parametrize("amount", [-1, math.nan, math.inf])
def test_amounts_are_finite_and_not_negative(amount, journal):
    with pytest.raises(ValueError, match=r"amounts\['t'\] must be at least 0"):
        journal.reserve("l", {"t": amount}, {})
    with pytest.raises(ValueError, match=r"reserved\['t'\] must be at least 0"):
        journal.settle("l", {"t": amount}, {})
    with pytest.raises(ValueError, match=r"spent\['t'\] must be at least 0"):
        journal.settle("l", {}, {"t": amount})


def test_a_limit_that_is_nan_would_never_hold(journal):
    with pytest.raises(ValueError, match=r"limits\['t'\] must be a number, got nan"):
        journal.reserve("l", {"t": 1}, {"t": math.nan})


def test_16_threads_never_have_more_than_the_limit_between_them(journal):
    lock, now, peak, done = threading.Lock(), [0], [0], [0]

    def work(i):
        for _ in range(20):
            if not journal.reserve("l", {"n": 1}, {"n": 10}):
                continue
            with lock:
                now[0] += 1
                peak[0] = max(peak[0], now[0] + done[0])
            paid = i == 0 and done[0] < 5
            with lock:
                now[0] -= 1
                done[0] += paid
            journal.settle("l", {"n": 1}, {"n": int(paid)})

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(work, range(16)))
    assert 1 <= peak[0] <= 10
    assert journal.spent("l")["n"] == done[0]
    assert journal.reserve("l", {"n": 10 - done[0]}, {"n": 10})


# What it tells


def test_a_summary_adds_up(journal):
    assert journal.summary() == {
        "n_questions": 0,
        "n_answered": 0,
        "n_attempts": 0,
        "n_failed": 0,
        "prompt_tokens": 0,
        "completion_tokens": 0,
        "median_seconds": None,
        "models": {},
    }
    journal.claim(*ask(0), seconds=60)
    journal.record_all(
        [
            (*ask(0), Attempt(0.0, 99.0, error="timed out")),
            (*ask(0), Attempt(0.0, 1.0, reply=Reply("a", None, "b-2", 10, 1))),
            (*ask(1), Attempt(0.0, 2.0, reply=Reply("", "length", "b-1", 20, 2))),
            (*ask(2), Attempt(0.0, 9.0, reply=Reply("c", model="b-1"))),
            (*ask(3), Attempt(0.0, 3.0, reply=Reply("c"))),
            (*ask(4), Attempt(0.0, 99.0, error="refused")),
        ]
    )
    assert journal.summary() == {
        "n_questions": 5,
        "n_answered": 4,
        "n_attempts": 6,
        "n_failed": 2,
        "prompt_tokens": 30,
        "completion_tokens": 3,
        "median_seconds": 2.5,
        "models": {"b-1": 2, "b-2": 1},
    }
    assert len(journal) == 4


def test_attempts_tell_all_that_is_known(journal):
    key, request = ask(0)
    reply = Reply("Choice 1", "stop", "m-1", 70, 3, ({"1": -0.5},))
    journal.record_all([(key, request, Attempt(1.0, 2.0, reply=reply, answer=0))])
    assert list(journal.attempts()) == [
        {
            "key": key,
            "request": request,
            "started": 1.0,
            "seconds": 2.0,
            "text": "Choice 1",
            "finish_reason": "stop",
            "model": "m-1",
            "prompt_tokens": 70,
            "completion_tokens": 3,
            "top_logprobs": ({"1": -0.5},),
            "error": None,
            "answer": 0,
            "used": True,
        }
    ]


def test_an_export_can_be_read_back_into_another_journal(journal, tmp_path):
    fill(journal, 3)
    request = {"prompt": NASTY}
    key = question_key(request)
    reply = Reply(NASTY, top_logprobs=({NASTY: -math.inf},))
    journal.record_all([(key, request, Attempt(1.0, 2.0, reply=reply, answer=[1]))])
    journal.record_all([(key, request, Attempt(3.0, 4.0, error=NASTY))])
    target = tmp_path / "export.jsonl"
    target.write_text("the export of yesterday")
    os.chmod(target, 0o644)
    assert journal.to_jsonl(target) == 5
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert os.listdir(tmp_path).count("export.jsonl") == 1
    assert not list(tmp_path.glob(".export*"))
    lines = [json.loads(line) for line in target.read_bytes().splitlines()]

    def attempt(line):
        said = {n: line[n] for n in ("finish_reason", "model")}
        logprobs = tuple(line["top_logprobs"] or ())
        reply = Reply(line["text"], **said, top_logprobs=logprobs)
        return Attempt(
            line["started"],
            line["seconds"],
            reply=None if line["text"] is None else reply,
            error=line["error"],
            answer=line["answer"],
        )

    other = AnswerJournal()
    other.record_all((line["key"], line["request"], attempt(line)) for line in lines)
    assert list(other.attempts()) == list(journal.attempts())
    other.close()


@pytest.mark.skipif(sys.platform == "win32", reason="has other permissions")
def test_an_export_that_fails_leaves_the_one_before_and_no_draft(
    path, tmp_path, monkeypatch
):
    journal, target = AnswerJournal(path), tmp_path / "export.jsonl"
    fill(journal, 3)
    target.write_text("the export of yesterday")

    def full(file):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before = set(os.listdir(tmp_path))
    monkeypatch.setattr(histories.os, "fsync", full)
    with pytest.raises(
        JournalError, match=r"not be exported to '.*No space left.*Give"
    ):
        journal.to_jsonl(target)
    assert target.read_text() == "the export of yesterday"
    assert set(os.listdir(tmp_path)) == before
    with pytest.raises(JournalError, match=r"could not be exported.*No such file"):
        journal.to_jsonl(tmp_path / "missing" / "export.jsonl")


@pytest.mark.parametrize("end", ["", "-wal", "-shm"])
def test_a_journal_is_not_exported_over_itself(path, tmp_path, end):
    journal = AnswerJournal(path)
    keys = fill(journal, 1)
    link = tmp_path / "link"
    link.symlink_to(path + end)
    for target in (path + end, link):
        with pytest.raises(JournalError, match="that is the journal itself"):
            journal.to_jsonl(target)
    assert len(journal.replies(keys)) == 1


def test_a_frame_has_a_row_for_each_attempt_and_its_columns_even_without(journal):
    empty = journal.to_frame()
    assert len(empty) == 0
    keys = fill(journal, 3)
    frame = journal.to_frame()
    assert list(frame.columns) == list(empty.columns) == list(next(journal.attempts()))
    assert frame["key"].tolist() == keys
    assert frame["text"].tolist() == ["answer 0", "answer 1", "answer 2"]


def test_without_pandas_the_command_that_brings_it_is_named(journal, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"needs the package 'pandas'.*pip install"):
        journal.to_frame()


# The object


def test_clones_and_copies_are_the_same_journal(journal):
    for other in (clone(journal), copy.deepcopy([journal])[0], copy.copy(journal)):
        assert other is journal


def test_a_pickle_holds_the_path_and_nothing_else(path):
    journal = AnswerJournal(path)
    keys = fill(journal, 2)
    pickled = pickle.dumps(journal)
    assert len(pickled) < len(path) + 150
    assert len(pickle.loads(pickled).replies(keys)) == 2


def test_a_journal_in_memory_is_empty_where_it_is_unpickled_or_closed():
    journal = AnswerJournal()
    keys = fill(journal, 2)
    assert journal.path is None
    assert pickle.loads(pickle.dumps(journal)).replies(keys) == {}
    assert len(journal) == 2
    journal.close()
    assert len(journal) == 0


def test_its_repr_shows_the_path_and_opens_nothing(path):
    assert repr(AnswerJournal(path)) == f"AnswerJournal({path!r})"
    assert repr(AnswerJournal()) == "AnswerJournal()"
    assert not os.path.exists(path)


def test_an_empty_journal_is_true_and_opens_nothing(path):
    assert AnswerJournal(path)
    assert not os.path.exists(path)


def test_a_path_is_made_absolute_when_it_is_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    journal = AnswerJournal(Path("a.sqlite"))
    assert journal.path == str(tmp_path / "a.sqlite")
    monkeypatch.chdir("/")
    journal.check()
    assert (tmp_path / "a.sqlite").exists()
    monkeypatch.setenv("HOME", str(tmp_path))
    assert AnswerJournal("~/b.sqlite").path == str(tmp_path / "b.sqlite")


def test_a_journal_is_used_in_another_process_through_a_connection_of_its_own(
    path, monkeypatch
):
    """As after a fork, which ``test_journal_processes.py`` really does."""
    journal = AnswerJournal(path)
    journal.claim(*ask(0), seconds=60)
    parent = journal._here()
    inherited = parent._database
    with monkeypatch.context() as patch:
        patch.setattr(connections.os, "getpid", lambda: 2**22 + 1)
        assert journal._here() is not parent
        assert len(journal) == 0
        journal.close()
        parent.close()  # as when the child lets go of the journal
        assert parent._database is inherited
    assert inherited in connections._OPEN
    assert not journal.claim(*ask(0), seconds=60)
    journal.close()
    assert inherited not in connections._OPEN
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        inherited.execute("SELECT 1")


def test_what_was_asked_in_vain_is_known_with_what_went_wrong_at_last():
    journal = AnswerJournal()
    keys = [key for key, _ in map(ask, range(4))]
    for i in range(4):
        journal.claim(*ask(i), seconds=60)
    journal.record(keys[0], FAILED)
    journal.record(keys[0], Attempt(2.0, 1.0, error="429: slow \ud800 down"))
    journal.record(keys[1], FAILED)
    journal.record(keys[1], answered())
    journal.record(keys[2], answered())
    assert journal.failures(keys) == {keys[0]: "429: slow \ud800 down"}
    assert journal.failures([]) == journal.failures(keys[1:]) == {}


def test_the_pace_is_that_of_the_latest_answers_that_were_waited_for():
    journal = AnswerJournal()
    assert journal.pace() is None
    old = [(*ask(i), Attempt(0.0, 99.0, reply=Reply("x"))) for i in range(1500)]
    new = [(*ask(-i), Attempt(0.0, 0.5, reply=Reply("x"))) for i in range(1, 601)]
    journal.record_all(old)
    journal.record_all(new)
    batch = [(*ask(-i), Attempt(0.0, 0.0, reply=Reply("x"))) for i in range(601, 999)]
    journal.record_all(batch)
    assert journal.pace() == 0.5
    with closing(AnswerJournal()) as failing:
        failing.claim(*ask(0), seconds=60)
        failing.record(ask(0)[0], FAILED)
        assert failing.pace() is None
