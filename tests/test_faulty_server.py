"""Whole fits against a server that fails in every way, with simulated answers."""

import asyncio
import itertools
import re
import sys
import threading
import time
import warnings
from collections import Counter

import joblib
import numpy as np
import pytest
from chat_server import ChatServer
from faults import (
    LASTING,
    ONE_QUESTION,
    PASSING,
    UNUSABLE,
    Hang,
    error,
    html,
    in_turn,
    odd_forms,
    unsupported,
)
from fits import (
    N_PROMPTS,
    N_QUESTIONS,
    clusterer,
    messages,
    prompt_of,
    prompts,
    shown,
    simulated,
    sprinkled,
)
from sklearn.model_selection import GridSearchCV

from skllm_cluster.journal import AnswerJournal
from skllm_cluster.oracles import OracleError
from skllm_cluster.oracles import _calling as calling

openai = pytest.importorskip("openai")


@pytest.fixture
def _no_waiting(monkeypatch):
    monkeypatch.setattr(calling, "pauses", lambda rng: itertools.repeat(0.0))


@pytest.fixture(scope="module")
def smooth():
    """A fit in which nothing went wrong."""
    with ChatServer(simulated) as server:
        fitted = clusterer(server.url).fit(messages())
        assert len(server.requests) == len(prompts(server)) == N_PROMPTS
    # Otherwise equal labels would say nothing of the answers.
    assert (fitted.labels_ != fitted.base_labels_).mean() > 0.5
    return fitted


def asked_of(fitted):
    return fitted.oracle_report_["rounds"][-1]["oracle"]


def attempts(journal):
    """For each prompt, the errors of its attempts, None for a reply; in order."""
    found = {}
    for attempt in AnswerJournal(journal).attempts():
        found.setdefault(prompt_of(attempt["request"]), []).append(attempt["error"])
    return found


# ------------------------------------------------------------ faults that pass

IN_WORDS = {
    "reset": "APIConnectionError",
    "hung up": "APIConnectionError",
    "truncated": "APIConnectionError",
    "unfinished": "APIConnectionError",
    "cut JSON": "did not answer like the OpenAI chat API",
    "no JSON": "did not answer like the OpenAI chat API",
    "empty": "did not answer like the OpenAI chat API",
    "no choices": "did not answer like the OpenAI chat API",
    "error with 200": r"\(503\)",
}


@pytest.mark.usefixtures("_no_waiting")
def test_faults_that_pass_change_nothing_and_each_is_counted(smooth, tmp_path):
    journal, fault_of = tmp_path / "answers.db", sprinkled(PASSING, 0.5)
    turns = {name: in_turn(fault, simulated) for name, fault in PASSING.items()}
    turns[None] = simulated
    with ChatServer(lambda prompt: turns[fault_of(prompt)](prompt)) as server:
        fitted = clusterer(server.url, journal=journal).fit(messages())
    n_faults = Counter(map(fault_of, prompts(server)))
    n_faulty = n_faults.total() - n_faults[None]
    assert set(n_faults) == {*PASSING, None}
    assert prompts(server) == Counter(
        {prompt: 1 + (fault_of(prompt) is not None) for prompt in prompts(server)}
    )

    np.testing.assert_array_equal(fitted.labels_, smooth.labels_)
    np.testing.assert_array_equal(fitted.answers_, smooth.answers_)
    report = asked_of(fitted)
    assert report["n_asked"] == report["n_usable"] == N_PROMPTS
    assert report["n_failed"] == report["n_open"] == report["n_unusable"] == 0
    assert report["n_retries"] == n_faulty
    assert report["n_calls"] == len(server.requests) == N_PROMPTS + n_faulty
    # A server that refused has not read on; what it did not say is estimated.
    assert report["completion_tokens"] == 3 * N_PROMPTS

    summary = AnswerJournal(journal).summary()
    assert summary["n_answered"] == N_PROMPTS
    assert summary["n_failed"] == n_faulty
    for prompt, errors in attempts(journal).items():
        name = fault_of(prompt)
        assert errors[-1] is None
        assert len(errors) == 1 + (name is not None)
        if name is not None:
            status = re.match(r"\d{3}", name)
            expected = IN_WORDS[name] if status is None else rf"\({status[0]}\b"
            assert re.search(expected, errors[0]), (name, errors[0])


@pytest.mark.usefixtures("_no_waiting")
def test_a_server_that_is_too_slow_is_asked_again(smooth, tmp_path):
    journal, fault_of = tmp_path / "answers.db", sprinkled({"slow": Hang(60.0)}, 0.04)
    late = in_turn(Hang(60.0), simulated)
    with ChatServer(lambda p: late(p) if fault_of(p) else simulated(p)) as server:
        fitted = clusterer(
            server.url, chat={"timeout": 1.0}, journal=journal, preflight=0
        ).fit(messages())
    slow = {prompt for prompt in prompts(server) if fault_of(prompt)}
    assert slow
    np.testing.assert_array_equal(fitted.labels_, smooth.labels_)
    # A busy machine may be slow by itself now and then; that counts the same.
    tried = attempts(journal)
    late = [one for errors in tried.values() for one in errors[:-1]]
    assert asked_of(fitted)["n_retries"] == len(late) >= len(slow)
    assert all(len(tried[prompt]) >= 2 for prompt in slow)
    assert all(one.startswith("APITimeoutError") for one in late)
    assert len(server.requests) == N_QUESTIONS + len(late)


def test_a_crowded_server_is_given_time_and_answers_everything(smooth):
    lock, inside = threading.Lock(), []

    def crowded(prompt):
        with lock:
            inside.append(prompt)
            too_many = len(inside) > 4
        try:
            if too_many:
                return PASSING["429"]
            time.sleep(0.02)
            return simulated(prompt)
        finally:
            with lock:
                inside.remove(prompt)

    with ChatServer(crowded) as server:
        fitted = clusterer(server.url).fit(messages())
    np.testing.assert_array_equal(fitted.labels_, smooth.labels_)
    report = asked_of(fitted)
    assert report["n_failed"] == report["n_open"] == 0
    assert report["n_retries"] == server.outcomes[429] > 0
    assert report["n_calls"] == len(server.requests)
    assert server.outcomes[200] == N_PROMPTS


def test_a_good_reply_counts_in_whatever_form_it_comes(smooth):
    fault_of = sprinkled(odd_forms(""), 0.8)

    def answer(prompt):
        said = simulated(prompt)
        return {None: said, **odd_forms(said)}[fault_of(prompt)]

    with ChatServer(answer) as server:
        fitted = clusterer(server.url).fit(messages())
    assert {fault_of(prompt) for prompt in prompts(server)} == {None, *odd_forms("")}
    assert set(prompts(server).values()) == {1}
    assert asked_of(fitted)["n_usable"] == N_PROMPTS
    np.testing.assert_array_equal(fitted.labels_, smooth.labels_)


def test_a_fit_inside_a_running_event_loop_asks_as_any_other(smooth):
    async def cell():
        return clusterer(server.url).fit(messages())

    with ChatServer(simulated) as server:
        fitted = asyncio.run(cell())
    np.testing.assert_array_equal(fitted.labels_, smooth.labels_)


# ---------------------------------------------------- faults that leave no answer


@pytest.mark.usefixtures("_no_waiting")
def test_every_reply_without_an_answer_is_counted_and_none_is_made_up(smooth, tmp_path):
    journal, faults = tmp_path / "answers.db", {**UNUSABLE, **ONE_QUESTION}
    fault_of = sprinkled(faults, 0.4)

    def answer(prompt):
        name = fault_of(prompt)
        return simulated(prompt) if name is None else faults[name]

    with ChatServer(answer) as server:
        estimator = clusterer(server.url, journal=journal, preflight=0)
        with pytest.warns(UserWarning, match=r"of 120 questions could not be answered"):
            fitted = estimator.fit(messages())
    n = Counter(map(fault_of, prompts(server)))
    assert set(n) == {*faults, None}
    n_unusable = sum(n[name] for name in UNUSABLE)
    n_failed = sum(n[name] for name in ONE_QUESTION)

    report = asked_of(fitted)
    assert set(prompts(server).values()) == {1}  # nothing is tried again
    assert report["n_calls"] == len(server.requests) == N_QUESTIONS
    assert report["n_asked"] == N_QUESTIONS - n_failed
    assert report["n_usable"] == n[None]
    assert report["n_unusable"] == n_unusable
    assert report["n_neither"] == report["n_retries"] == 0
    assert report["n_cut_short"] == n["thoughts only"]
    assert report["n_failed"] == report["n_open"] == n_failed
    assert re.search("content_filter|context_length|413", report["first_failure"])
    assert report["first_unusable_reply"] in {
        "Choice 1 or Choice 2",
        "That depends on what you mean by similar.",
        "I cannot help with that.",
        "(nothing, finish_reason 'length')",
        "(nothing, finish_reason 'stop')",
    }
    summary = AnswerJournal(journal).summary()
    assert (summary["n_answered"], summary["n_failed"]) == (
        N_QUESTIONS - n_failed,
        n_failed,
    )

    # -1 for these questions and no others.
    of_prompt = {frozenset(shown(prompt)): prompt for prompt in prompts(server)}
    names = [
        fault_of(of_prompt[frozenset(messages()[row] for row in triplet)])
        for triplet in fitted.triplets_
    ]
    expected = np.where([name is None for name in names], smooth.answers_, -1)
    np.testing.assert_array_equal(fitted.answers_, expected)
    assert fitted.oracle_report_["rounds"][0]["usable"] == n[None]


def test_a_filtered_question_of_the_pilot_counts_each_time_it_is_asked():
    fault_of = sprinkled(ONE_QUESTION, 0.2)

    def answer(prompt):
        name = fault_of(prompt)
        return simulated(prompt) if name is None else ONE_QUESTION[name]

    with ChatServer(answer) as server, pytest.warns(UserWarning, match="answered"):
        report = asked_of(clusterer(server.url).fit(messages()))
    filtered = {p: n for p, n in prompts(server).items() if fault_of(p)}
    assert max(filtered.values()) == 2  # in the pilot and in the bulk
    assert report["n_failed"] == sum(filtered.values())
    assert report["n_asked"] == N_PROMPTS - len(filtered)
    assert report["n_calls"] == len(server.requests)
    assert all(prompts(server)[p] == 1 for p in prompts(server).keys() - filtered)


# ------------------------------------------------------------ faults that last


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        (LASTING["401"], "AuthenticationError", "Incorrect API key"),
        (LASTING["403"], "PermissionDeniedError", "Country not supported"),
        (LASTING["404"], "NotFoundError", "The model `m` does not exist"),
        (LASTING["quota"], "RateLimitError", "You exceeded your current quota"),
        (html(), "RuntimeError", "Welcome to nginx.*Check base_url"),
    ],
    ids=["401", "403", "404", "quota", "page"],
)
def test_a_lasting_fault_ends_the_fit_at_once_and_the_next_one_asks_the_rest(
    smooth, tmp_path, fault, kind, words
):
    journal, n_good, broken = tmp_path / "answers.db", Counter(), threading.Event()
    lock = threading.Lock()

    def answer(prompt):
        with lock:
            if broken.is_set():
                return fault
            n_good[prompt] += 1
            if n_good.total() == 90:  # after the pilot, in the midst of the bulk
                broken.set()
            return simulated(prompt)

    with ChatServer(answer, delay=0.002) as server:
        estimator = clusterer(server.url, journal=journal)
        with pytest.raises(Exception, match=words) as caught:
            estimator.fit(messages())
        assert type(caught.value).__name__ == kind
        # No more than were under way.
        assert 1 <= len(server.requests) - n_good.total() <= estimator.oracle.n_jobs
        if sys.version_info >= (3, 11):
            assert "asking again goes on from there" in caught.value.__notes__[0]
        assert len(AnswerJournal(journal)) == 90

        broken.clear()
        server.requests.clear()
        n_good[""] = 1_000  # it does not break again
        again = clusterer(server.url, journal=journal).fit(messages())
    assert len(server.requests) == N_PROMPTS - 90
    del n_good[""]
    assert set(n_good.values()) == {1}
    np.testing.assert_array_equal(again.labels_, smooth.labels_)


@pytest.mark.parametrize(
    ("change", "words"),
    [(("/v1", ""), "no such path"), (("/v1", "/v2"), "no such path")],
    ids=["no version", "another version"],
)
def test_a_wrong_url_is_told_in_the_servers_words(change, words):
    with (
        ChatServer(simulated) as server,
        pytest.raises(openai.NotFoundError, match=words),
    ):
        clusterer(server.url.replace(*change)).fit(messages())
    assert server.requests == []


def test_a_server_that_is_not_there_is_an_outage_after_a_few_tries(monkeypatch):
    monkeypatch.setattr(calling, "pauses", lambda rng: itertools.repeat(0.0))
    with ChatServer(simulated) as server:
        gone = server.url
    estimator = clusterer(gone, max_retries=2)
    with pytest.raises(openai.APIConnectionError):
        estimator.fit(messages())
    report = estimator.oracle.report()
    assert report["stopped"] == "error"
    assert report["n_asked"] == 0
    assert (
        report["n_calls"] <= 6 * estimator.oracle.n_jobs
    )  # of 450: a thread may begin one more meanwhile


# -------------------------------------------------------------- newer models


def test_parameters_that_a_newer_model_refuses_are_left_out_and_told_once(smooth):
    def newer(prompt):
        if "max_tokens" in server.current:
            hint = " Use 'max_completion_tokens' instead."
            return unsupported("max_tokens", hint)
        if "temperature" in server.current:
            return unsupported("temperature")
        return simulated(prompt)

    chat = {"max_tokens": 10, "temperature": 0.5}
    with ChatServer(newer) as server, warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        fitted = clusterer(server.url, chat=chat).fit(messages())
    said = [str(one.message) for one in told]
    assert sorted(re.findall(r"does not take (\w+)", " ".join(said))) == [
        "max_tokens",
        "temperature",
    ]
    assert len(said) == 2
    np.testing.assert_array_equal(fitted.labels_, smooth.labels_)
    answered = [r for r in server.requests if not {"max_tokens", "temperature"} & {*r}]
    assert len(answered) == N_PROMPTS
    assert {r["max_completion_tokens"] for r in answered} == {10}
    report = asked_of(fitted)
    assert report["n_failed"] == 0
    n_refused = len(server.requests) - N_PROMPTS
    # Those under way when the first refusal came, for each parameter.
    assert 2 <= n_refused == report["n_retries"] <= 2 * fitted.oracle.n_jobs


# ----------------------------------------------------------- one journal for many


def n_found(estimator, X, y=None):
    return float(estimator.n_clusters_)


@pytest.mark.parametrize("backend", ["threading", "loky"])
def test_a_search_with_one_journal_asks_each_question_once(smooth, tmp_path, backend):
    everything = np.arange(len(messages()))
    journal = tmp_path / "answers.db"
    with ChatServer(simulated, delay=0.005) as server:
        search = GridSearchCV(
            clusterer(server.url, journal=str(journal)),
            {"n_clusters": [4, 6, 8]},
            scoring=n_found,
            cv=[(everything, everything)],
            n_jobs=2,
        )
        with joblib.parallel_config(backend=backend):
            search.fit(messages())
    assert search.cv_results_["mean_test_score"].tolist() == [4.0, 6.0, 8.0]
    assert set(prompts(server).values()) == {1}
    assert len(server.requests) == N_PROMPTS
    np.testing.assert_array_equal(search.best_estimator_.labels_, smooth.labels_)

    # The server is gone: whoever asked anything would find nobody.
    replayed = clusterer(server.url, journal=str(journal), replay=True).fit(messages())
    np.testing.assert_array_equal(replayed.labels_, smooth.labels_)
    assert asked_of(replayed)["n_calls"] == asked_of(replayed)["n_asked"] == 0
    assert asked_of(replayed)["n_cached"] == N_QUESTIONS


def test_a_replay_raises_where_the_journal_lacks_an_answer(tmp_path):
    with ChatServer(lambda prompt: error("unused")) as server:
        estimator = clusterer(server.url, journal=tmp_path / "j.db", replay=True)
        with pytest.raises(OracleError, match=r"lacks 30 of 30 answers.*replay=False"):
            estimator.fit(messages())
    assert server.requests == []
