"""What an oracle and its clones share: journal, budget and counts."""

import copy
import json
import logging
import os
import pickle
import random
import subprocess
import sys
import threading
import warnings
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

import pytest
from sklearn.base import BaseEstimator, clone
from threads import together

import skllm_cluster
from skllm_cluster.journal import AnswerJournal, question_key
from skllm_cluster.oracles import LLMOracle, OracleError
from skllm_cluster.oracles._calling import Outcome, Question, Terms
from skllm_cluster.oracles._parsing import CHOICE, YES_NO
from skllm_cluster.oracles._session import Session
from skllm_cluster.protocols import Reply

TRIPLETS = [(f"anchor {i}", f"left {i}", f"right {i}") for i in range(30)]


class ServerError(Exception):
    def __init__(self, status, code=None):
        super().__init__(f"status {status}")
        self.status_code, self.code = status, code


def make_questions(n, offset=0):
    requests = [{"prompt": f"question {i + offset}"} for i in range(n)]
    found = [Question(question_key(r), r, r["prompt"]) for r in requests]
    return {question.key: question for question in found}


def first(prompt):
    return "Choice 1"


class Simulated:
    """A simulated model: what it says depends on the prompt and a seed alone."""

    SAYS = (
        "Choice 1",
        "Choice 2",
        "Neither",
        "Hm",
        Reply("", "length"),
        Reply("Choice", "length"),
        None,
        ServerError(400, "content_filter"),
        ServerError(500),
    )

    def __init__(self, seed):
        self.seed, self.calls, self.lock = seed, Counter(), threading.Lock()

    def __call__(self, prompt):
        with self.lock:
            self.calls[prompt] += 1
        said = random.Random(f"{self.seed} {prompt}").choice(self.SAYS)
        if isinstance(said, Exception):
            # The server comes round, so that there is no outage.
            if said.status_code == 400 or self.calls[prompt] < 2:
                raise said
            return "Choice 2"
        return said


# Counts


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("n_jobs", [1, 4])
@pytest.mark.parametrize("budget", [None, 25])
def test_counts_add_up_after_every_round(seed, n_jobs, budget, monkeypatch):
    monkeypatch.setattr("skllm_cluster.oracles._calling.pauses", lambda rng: _zeros())
    draw, model, session = random.Random(seed), Simulated(seed), Session()
    terms = Terms(
        n_jobs=n_jobs, max_retries=3, max_retry_seconds=60.0,
        limits={} if budget is None else {"questions": budget},
    )  # fmt: skip
    before, answered = session.report(), set()
    for _ in range(4):
        questions = make_questions(draw.randint(0, 15), draw.randint(0, 20))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            replies = session.ask(questions, model, terms)
        now = session.report()
        new = {k: now[k] - before[k] for k in before if isinstance(before[k], int)}
        assert new["n_asked"] + new["n_cached"] == len(replies)
        assert len(replies) + now["n_open"] == len(questions)
        assert new["n_failed"] <= now["n_open"]
        assert new["n_cached"] == len(answered & questions.keys())
        answered |= replies.keys()
        assert now["n_usable"] + now["n_unusable"] + now["n_neither"] == len(answered)
        assert now["n_first_choice"] <= now["n_usable"]
        assert now["n_cut_short"] <= now["n_unusable"]
        assert (now["first_unusable_reply"] is None) == (now["n_unusable"] == 0)
        if now["stopped"] is None:
            assert new["n_failed"] == now["n_open"]
        assert now["stopped"] in (None, "budget")
        before = now
    assert before["n_calls"] == sum(model.calls.values())
    if budget is None:
        tried = before["n_asked"] + before["n_failed"]
        assert before["n_calls"] == tried + before["n_retries"]
    else:
        assert before["n_calls"] <= budget


def _zeros():
    while True:
        yield 0.0


def test_replies_are_told_apart():
    said = ["Choice 1", "2", "Neither", "Hm", "", "Choice"]
    finish = [None, "stop", "stop", "stop", "length", "length"]
    replies = [Reply(*pair) for pair in zip(said, finish, strict=True)]
    session = Session()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        session.ask(make_questions(6), lambda p: replies[int(p.split()[1])], Terms())
    report = session.report()
    assert report["n_usable"] == 2
    assert report["n_first_choice"] == 1
    assert report["n_neither"] == 1
    assert report["n_unusable"] == 3
    assert report["n_cut_short"] == 2
    assert report["first_unusable_reply"] == "Hm"


def test_replies_to_pairs_are_told_apart():
    said = ["Yes", "no.", "Neither", "Choice 1", "", "**Yes**"]
    session = Session()
    session.ask(
        make_questions(6), lambda p: said[int(p.split()[1])], Terms(), reading=YES_NO
    )
    report = session.report()
    assert (report["n_usable"], report["n_yes"]) == (3, 2)
    assert (report["n_unusable"], report["n_neither"]) == (3, 0)
    assert report["n_first_choice"] == 0
    assert report["first_unusable_reply"] == "Neither"
    assert [a["answer"] for a in session.journal.attempts()] == [1, 0, -1, -1, -1, 1]


@pytest.mark.parametrize(
    ("reply", "shown"),
    [
        (Reply("", "length"), "(nothing, finish_reason 'length')"),
        (Reply(""), "(nothing)"),
        (7, "(nothing, finish_reason 'no text but int')"),
    ],
)
def test_silence_is_shown_with_its_reason(reply, shown):
    session = Session()
    session.ask(make_questions(1), lambda prompt: reply, Terms())
    assert session.report()["first_unusable_reply"] == shown


def test_the_first_unusable_reply_and_the_first_failure_stay():
    session = Session()
    for offset, words in enumerate(("Sure!", "Of course!")):
        session.ask(make_questions(1, offset), lambda p, w=words: w, Terms())
    assert session.report()["first_unusable_reply"] == "Sure!"
    for offset, status in ((5, 400), (6, 413)):

        def complete(prompt, status=status):
            raise ServerError(status, "content_filter")

        with pytest.warns(UserWarning, match="1 of 1 questions could not be answered"):
            session.ask(make_questions(1, offset), complete, Terms())
    assert "(400, content_filter)" in session.report()["first_failure"]
    assert session.report()["n_failed"] == 2


def test_a_reply_is_counted_once_though_two_threads_get_it():
    both, counted = threading.Barrier(2), []

    def parse(text):
        counted.append(text)
        with suppress(threading.BrokenBarrierError):
            both.wait(0.2)  # were both threads let in, they would meet here
        return 0

    session, questions = Session(), make_questions(1)
    outcomes = [
        Outcome(replies={key: Reply("Choice 1") for key in questions}) for _ in "ab"
    ]
    reading = CHOICE._replace(parse=parse)
    together(*[lambda o=o: session._count(o, questions, reading) for o in outcomes])
    assert counted == ["Choice 1"]
    assert session.report()["n_usable"] == session.report()["n_first_choice"] == 1


def test_a_reply_that_comes_after_an_interrupt_does_not_disturb_the_count():
    outcome, questions = Outcome(), make_questions(3)
    keys = list(questions)
    outcome.replies[keys[0]] = Reply("Choice 1")

    def parse(text):
        outcome.replies.setdefault(keys[1], Reply("Choice 2"))  # by another thread
        return 0

    session = Session()
    session._count(outcome, questions, CHOICE._replace(parse=parse))
    report = session.report()
    assert (report["n_asked"], report["n_open"], report["n_usable"]) == (1, 2, 1)


def test_counts_are_right_when_an_error_comes():
    def complete(prompt):
        if prompt == "question 3":
            raise ServerError(401)
        return "Choice 1"

    session = Session()
    with pytest.raises(ServerError):
        session.ask(make_questions(9), complete, Terms())
    report = session.report()
    assert (report["n_asked"], report["n_open"], report["n_calls"]) == (3, 6, 4)
    assert report["stopped"] == "error"
    assert report["seconds"] > 0
    session.ask(make_questions(9), first, Terms())
    assert session.report()["stopped"] is None
    assert session.report()["n_cached"] == 3


def test_a_report_is_a_copy():
    session = Session()
    session.report()["n_asked"] = 5
    session.note(preflight={"verdict": "sound"})
    session.note_long(["a", "b", "a"])
    session.note_long(["b", "c"])
    session.add(n_usable=2)
    report = session.report()
    assert (report["n_asked"], report["n_long_texts"], report["n_usable"]) == (0, 3, 2)
    assert report["preflight"] == {"verdict": "sound"}


# What is said


def test_an_error_says_what_is_kept_and_where(tmp_path):
    def complete(prompt):
        if prompt == "question 1":
            raise ServerError(401)
        return "Choice 1"

    for session, where in (
        (Session(), "this oracle keeps"),
        (Session(tmp_path / "j.db"), r"j.db' keeps"),
    ):
        with pytest.raises(ServerError) as caught:
            session.ask(make_questions(4), complete, Terms())
        if sys.version_info >= (3, 11):
            (note,) = caught.value.__notes__
            assert "answers to 1 of 4 questions when this happened" in note
            assert where in note


def test_an_error_that_takes_no_note_is_raised_all_the_same():
    class PlainError(Exception):  # as all are in Python 3.10
        @property
        def add_note(self):
            raise AttributeError

    def complete(prompt):
        raise PlainError("own words")

    with pytest.raises(PlainError, match="own words"):
        Session().ask(make_questions(1), complete, Terms())


def test_a_replay_asks_nothing_and_says_what_is_missing(tmp_path):
    path = tmp_path / "j.db"
    Session(path).ask(make_questions(3), first, Terms())
    session = Session(path)
    with pytest.raises(
        OracleError, match=r"j.db'\) lacks 2 of 5 answers, and with rep"
    ):
        session.ask(make_questions(5), None, Terms(), replay=True)
    report = session.report()
    assert (report["n_cached"], report["n_open"], report["n_calls"]) == (3, 2, 0)
    assert len(session.ask(make_questions(3), None, Terms(), replay=True)) == 3
    assert session.report()["n_cached"] == 6


def test_the_budget_tells_how_many_are_left():
    session = Session()
    said = "The budget allowed no more calls: 3 of 5 questions have no answer. What was"
    with pytest.warns(UserWarning, match=said):
        session.ask(make_questions(5), first, Terms(limits={"questions": 2}))
    assert session.report()["stopped"] == "budget"


def test_verbose_sums_up_in_the_log(caplog, capsys):
    session = Session()
    with caplog.at_level(logging.INFO, logger="skllm_cluster"):
        session.ask(make_questions(2), first, Terms())
        assert caplog.messages == []
        session.ask(make_questions(5), first, Terms(), verbose=1)
    assert caplog.messages[-1].startswith("5 questions in ")
    assert caplog.messages[-1].endswith(
        "2 from the journal, 3 asked, 0 failed; 3 calls."
    )
    assert capsys.readouterr() == ("", "")


def test_the_bar_is_drawn_where_it_is_wanted(capsys):
    pytest.importorskip("tqdm")
    Session().ask(make_questions(5), first, Terms(n_jobs=2), verbose=2)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "5/5" in shown.err
    assert "answered 5, cached 0, failed 0, retries 0" in shown.err


# Sharing


class Counting(BaseEstimator):
    """A model that is an estimator, and whose calls are counted for all its copies."""

    calls: ClassVar = Counter()

    def __init__(self, temperature=0.0):
        self.temperature = temperature

    def __call__(self, prompt):
        self.calls[prompt] += 1
        return "Choice 1"


@pytest.fixture
def calls():
    Counting.calls = Counter()
    return Counting.calls


@pytest.mark.parametrize("journal", [None, "path", "object"])
def test_clones_share_answers_counts_and_budget(journal, tmp_path):
    calls = Counting.calls = Counter()
    where = {"path": tmp_path / "j.db", "object": AnswerJournal()}.get(journal)
    oracle = LLMOracle(Counting(), journal=where, budget=25)
    one, two = clone(oracle), clone(clone(oracle))
    one.answer_triplets(TRIPLETS[:10])
    two.answer_triplets(TRIPLETS[:20])
    with pytest.warns(UserWarning, match="5 of 30 questions have no answer"):
        answers = oracle.answer_triplets(TRIPLETS)
    assert (answers >= 0).sum() == sum(calls.values()) == 25
    assert set(calls.values()) == {1}
    reports = [each.report() for each in (oracle, one, two)]
    assert reports[0] == reports[1] == reports[2]
    assert reports[0]["n_calls"] == reports[0]["n_asked"] == 25
    assert reports[0]["n_cached"] == 10 + 20
    assert one.get_params().keys() == oracle.get_params().keys()
    assert one.journal is oracle.journal


def test_a_clone_with_other_parameters_asks_other_questions(calls):
    oracle = LLMOracle(Counting())
    oracle.answer_triplets(TRIPLETS[:5])
    for params in ({"complete__temperature": 1.0}, {"perspective": "intent"}):
        clone(oracle).set_params(**params).answer_triplets(TRIPLETS[:5])
    assert oracle.report()["n_asked"] == 15
    clone(oracle).set_params(order="both").answer_triplets(TRIPLETS[:5])
    assert oracle.report()["n_asked"] == 20  # one of both orders is known


def test_another_journal_is_another_memory_and_the_same_budget(calls, tmp_path):
    oracle = LLMOracle(Counting(), journal=tmp_path / "a.db", budget=7)
    oracle.answer_triplets(TRIPLETS[:5])
    ledger = oracle._session().ledger
    oracle.set_params(journal=tmp_path / "b.db")
    assert oracle.report()["n_asked"] == 0
    oracle.answer_triplets(TRIPLETS[:5])
    assert sum(calls.values()) == 10
    assert oracle._session().ledger == ledger
    oracle.set_params(journal=tmp_path / "a.db")
    oracle.answer_triplets(TRIPLETS[:5])
    assert oracle.report()["n_cached"] == 5
    assert sum(calls.values()) == 10


def test_an_oracle_of_its_own_has_a_budget_of_its_own(calls, tmp_path):
    path = tmp_path / "j.db"
    for part in (TRIPLETS[:4], TRIPLETS[4:8]):
        LLMOracle(Counting(), journal=path, budget=4).answer_triplets(part)
    assert sum(calls.values()) == 8


@pytest.mark.parametrize(
    "copied", [lambda o: pickle.loads(pickle.dumps(o)), copy.deepcopy, copy.copy]
)
@pytest.mark.parametrize("is_used", [False, True])
def test_a_copy_shares_the_file_and_the_budget(copied, is_used, calls, tmp_path):
    oracle = LLMOracle(Counting(), journal=str(tmp_path / "j.db"), budget=6)
    if is_used:
        oracle.answer_triplets(TRIPLETS[:4])
    twin = copied(oracle)
    assert {k: v for k, v in twin.get_params().items() if k != "complete"} == {
        k: v for k, v in oracle.get_params().items() if k != "complete"
    }
    assert twin.report()["n_asked"] == 0
    twin.answer_triplets(TRIPLETS[:4])
    assert twin.report()["n_cached"] == (4 if is_used else 0)
    with pytest.warns(UserWarning, match="4 of 10 questions have no answer"):
        oracle.answer_triplets(TRIPLETS[:10])
    assert sum(calls.values()) == 6


def test_a_copy_without_a_file_begins_anew(calls):
    oracle = LLMOracle(Counting())
    oracle.answer_triplets(TRIPLETS[:3])
    state = pickle.dumps(oracle)
    assert b"anchor" not in state
    twin = pickle.loads(state)
    assert twin.report()["n_asked"] == 0
    twin.answer_triplets(TRIPLETS[:3])
    assert set(calls.values()) == {2}


def test_a_session_is_made_once_though_threads_need_it_at_once():
    oracle = LLMOracle(Counting())
    sessions = together(*[oracle._session] * 8)
    assert len(set(map(id, sessions))) == 1


def test_one_oracle_in_many_threads_asks_each_question_once(calls):
    oracle = LLMOracle(Counting(), n_jobs=4)
    parts = [TRIPLETS, TRIPLETS[::-1], TRIPLETS[10:], TRIPLETS[:20]]
    answers = together(*[lambda p=p: oracle.answer_triplets(p).tolist() for p in parts])
    expected = clone(oracle).answer_triplets(TRIPLETS).tolist()
    assert set(calls.values()) == {1}
    assert answers == [expected, expected[::-1], expected[10:], expected[:20]]
    report = oracle.report()
    assert report["n_asked"] == report["n_calls"] == report["n_usable"] == 30
    assert report["n_asked"] + report["n_cached"] == 30 + 30 + 20 + 20 + 30


# Processes

MODULE = """
import os
def complete(prompt):
    # One write of a short line is not torn apart.
    with open(os.environ["PROMPTS"], "ab", buffering=0) as file:
        file.write(repr(prompt).encode() + b"\\n")
    return "Choice 1"
"""
PROGRAM = """
import json, pickle, sys, warnings
warnings.simplefilter("ignore")
oracle = pickle.loads(bytes.fromhex(sys.argv[1]))
triplets = [(f"anchor {i}", f"left {i}", f"right {i}") for i in range(60)]
print("ready", flush=True)
sys.stdin.readline()
free = oracle.answer_triplets(triplets[:40]).tolist()
oracle.set_params(budget=13)
limited = oracle.answer_triplets(triplets[40:]).tolist()
print(json.dumps([free, limited, oracle.report()]))
"""


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    """What two copies of an oracle in other processes asked and answered."""
    folder = tmp_path_factory.mktemp("processes")
    (folder / "model_in_file.py").write_text(MODULE)
    root = Path(skllm_cluster.__file__).parents[1]
    paths = [str(folder), str(root), os.environ.get("PYTHONPATH", "")]
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "PROMPTS": str(folder / "prompts"),
    }
    sys.path.insert(0, str(folder))
    try:
        from model_in_file import complete

        oracle = LLMOracle(complete, journal=folder / "j.db", n_jobs=4)
        state = pickle.dumps(oracle).hex()
    finally:
        sys.path.remove(str(folder))
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, state], env=env, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for _ in range(2)
    ]  # fmt: skip
    for process in processes:
        assert process.stdout.readline() == "ready\n", process.stderr.read()
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    told = []
    for process in processes:
        out, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
        told.append(json.loads(out))
    return oracle, (folder / "prompts").read_text().splitlines(), told


def test_processes_with_one_file_ask_each_question_once(two_processes):
    _, prompts, told = two_processes
    assert max(Counter(prompts).values()) == 1
    assert told[0][0] == told[1][0]
    assert -1 not in told[0][0]
    assert sum(report["n_asked"] for *_, report in told) == len(prompts)


def test_copies_in_other_processes_share_the_budget(two_processes):
    oracle, prompts, told = two_processes
    assert len(prompts) == 40 + 13
    answered = [{i for i, a in enumerate(part) if a >= 0} for _, part, _ in told]
    assert len(set.union(*answered)) == 13
    rest = [(f"anchor {i}", f"left {i}", f"right {i}") for i in range(40, 60)]
    with pytest.warns(UserWarning, match="7 of 20 questions have no answer"):
        clone(oracle).set_params(budget=13).answer_triplets(rest)
    assert oracle.report()["n_cached"] == 13
    assert oracle.report()["n_calls"] == 0
