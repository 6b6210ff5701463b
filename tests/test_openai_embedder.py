"""The embedder behind the embeddings API, against a server on the loopback interface.

All vectors are simulated: made of hashes of the texts.
"""

import copy
import itertools
import json
import os
import pickle
import signal
import socket
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from embedding_server import EmbeddingServer, answer, vector
from faults import LASTING, ONE_QUESTION, PASSING, Hang, Raw, error
from hypothesis import given, settings
from hypothesis import strategies as st
from journals import start
from sklearn.base import clone

from skllm_cluster import ClusterLLMClusterer
from skllm_cluster.embedders import OpenAIEmbedder
from skllm_cluster.embedders import _sending as sending
from skllm_cluster.embedders._embeddings_api import (
    as_text,
    cut,
    from_text,
    in_batches,
    most_tokens,
    read_answer,
)
from skllm_cluster.journal import AnswerJournal, question_key
from skllm_cluster.oracles import TruthOracle
from skllm_cluster.protocols import Embedder, TrainableEmbedder

openai = pytest.importorskip("openai")

CANARY = "sk-canary-0123456789"
TEXTS = [f"message number {i}" for i in range(50)]


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_ORG_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    # Nobody waits in a test.
    monkeypatch.setattr(sending, "pauses", lambda rng: itertools.repeat(0.0))


def make(server, **more):
    return OpenAIEmbedder("m", base_url=server.url, **{"batch_size": 7, **more})


def expected(texts, d=8):
    return np.stack([vector(text, d) for text in texts])


def failure(embedder, texts=TEXTS):
    with pytest.raises((openai.OpenAIError, RuntimeError)) as caught:
        embedder.encode(texts)
    return caught.value


# ---------------------------------------------------------------- vectors


def test_each_text_has_the_vector_that_the_server_gave_it():
    with EmbeddingServer() as server:
        embedder = make(server)
        found = embedder.encode(TEXTS)
    assert isinstance(embedder, Embedder)
    assert not isinstance(embedder, TrainableEmbedder)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected(TEXTS))
    assert all(len(batch) <= 7 for batch in server.batches_sent)


@pytest.mark.parametrize("form", ["float", "base64"])
@pytest.mark.parametrize("indexed", [True, False])
def test_rows_are_right_in_whatever_order_and_form_they_come(form, indexed):
    def shuffled(texts):
        body = answer(texts, form=form)
        if indexed:
            order = np.random.default_rng(len(texts)).permutation(len(texts))
            body["data"] = [body["data"][i] for i in order]
        else:
            for row in body["data"]:
                del row["index"]
        return 200, body

    with EmbeddingServer(shuffled) as server:
        np.testing.assert_array_equal(make(server).encode(TEXTS), expected(TEXTS))


def test_rows_are_right_when_the_answers_overtake_each_other():
    turns = itertools.count()

    def slower_and_faster(texts):
        threading.Event().wait(0.05 if next(turns) % 2 else 0.0)
        return 200, answer(texts)

    with EmbeddingServer(slower_and_faster) as server:
        found = make(server, batch_size=5, n_jobs=5).encode(TEXTS)
    np.testing.assert_array_equal(found, expected(TEXTS))
    assert 1 < server.peak <= 5


def test_equal_texts_are_sent_once():
    with EmbeddingServer() as server:
        found = make(server).encode(TEXTS[:3] * 4)
    assert server.texts_sent == TEXTS[:3]
    np.testing.assert_array_equal(found, expected(TEXTS[:3] * 4))


def test_nothing_is_sent_that_was_not_asked_for():
    with EmbeddingServer() as server:
        make(server).encode(["a", "b"])
    (sent,) = server.requests
    del sent["messages"]
    headers = sent.pop("headers")
    assert sent == {"model": "m", "input": ["a", "b"], "encoding_format": "float"}
    assert headers["authorization"] == "Bearer not-needed"


def test_what_was_asked_for_is_sent(monkeypatch):
    monkeypatch.setenv("MY_KEY", f"{CANARY}\n")  # as read from a file
    more = {"encoding_format": "base64", "truncate_prompt_tokens": 5}
    with EmbeddingServer() as server:
        embedder = make(
            server,
            dimensions=np.int64(4),
            prompt="query: ",
            api_key_env="MY_KEY",
            extra_body=more,
        )
        found = embedder.encode(["a", "b"])
    (sent,) = server.requests
    assert sent["input"] == ["query: a", "query: b"]
    assert (sent["dimensions"], sent["encoding_format"]) == (4, "base64")
    assert sent["truncate_prompt_tokens"] == 5
    assert sent["headers"]["authorization"] == f"Bearer {CANARY}"
    np.testing.assert_array_equal(found, expected(["query: a", "query: b"], 4))


def test_openai_itself_is_asked_for_the_short_form():
    assert OpenAIEmbedder()._body("a")["encoding_format"] == "base64"


# ---------------------------------------------------------------- the journal


def test_what_was_paid_for_is_not_asked_for_again(tmp_path):
    path = tmp_path / "vectors.db"
    with EmbeddingServer() as server:
        make(server, journal=path).encode(TEXTS[:30])
        found = make(server, journal=path, batch_size=3).encode(TEXTS[::-1])
    assert sorted(server.texts_sent) == sorted(TEXTS)
    np.testing.assert_array_equal(found, expected(TEXTS[::-1]))


def test_a_journal_that_has_all_vectors_needs_no_server_no_key_and_no_package(
    tmp_path, monkeypatch
):
    with EmbeddingServer() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        path = tmp_path / "vectors.db"
        OpenAIEmbedder("m", journal=path).encode(TEXTS)
    monkeypatch.setitem(sys.modules, "openai", None)
    found = OpenAIEmbedder("m", journal=path).encode(TEXTS)
    np.testing.assert_array_equal(found, expected(TEXTS))
    with pytest.raises(ImportError, match=r"pip install 'skllm_cluster\[openai\]'"):
        OpenAIEmbedder("m", journal=path).encode(["new"])


@pytest.mark.parametrize(
    "change",
    [
        {"model": "n"},
        {"dimensions": 4},
        {"prompt": "query: "},
        {"extra_body": {"task": "clustering"}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_changes_a_vector_is_another_question(change):
    journal = AnswerJournal()
    with EmbeddingServer() as server:
        make(server, journal=journal).encode(["a"])
        make(server, journal=journal).set_params(**change).encode(["a"])
        assert len(server.requests) == 2
        with EmbeddingServer() as other:
            make(other, journal=journal).encode(["a"])
            assert len(other.requests) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"batch_size": 1},
        {"n_jobs": 1},
        {"timeout": 9.0},
        {"extra_body": {"encoding_format": "base64"}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_changes_no_vector_is_the_same_question(change):
    with EmbeddingServer() as server:
        embedder = make(server, journal=AnswerJournal())
        embedder.encode(["a"])
        embedder.set_params(**change).encode(["a"])
        assert len(server.requests) == 1


def test_many_threads_pay_for_a_text_once():
    with EmbeddingServer(delay=0.02) as server, ThreadPoolExecutor(6) as pool:
        embedder = make(server)
        twins = [clone(embedder) for _ in range(6)]
        found = list(pool.map(lambda twin: twin.encode(TEXTS), twins))
    assert sorted(server.texts_sent) == sorted(TEXTS)
    assert all((one == expected(TEXTS)).all() for one in found)


@pytest.mark.parametrize("copied", [clone, copy.deepcopy])
def test_copies_share_what_is_paid_for_and_what_is_counted(copied):
    with EmbeddingServer() as server:
        embedder = make(server)
        twin = copied(embedder)
        twin.encode(TEXTS)
        embedder.encode(TEXTS)
        assert len(server.texts_sent) == len(TEXTS)
        assert embedder.report() == twin.report()
        assert twin.get_params() == embedder.get_params()


def test_another_journal_is_another_store():
    with EmbeddingServer() as server:
        embedder = make(server)
        embedder.encode(["a"])
        embedder.set_params(journal=AnswerJournal()).encode(["a"])
        assert len(server.requests) == 2


KILLED = r"""
import sys
from skllm_cluster.embedders import OpenAIEmbedder
url, journal = sys.argv[1:]
texts = [f"message number {i}" for i in range(50)]
OpenAIEmbedder("m", base_url=url, journal=journal, batch_size=5, n_jobs=2).encode(texts)
"""


@pytest.mark.skipif(os.name != "posix", reason="kills")
def test_a_killed_process_loses_the_requests_under_way_and_no_more(tmp_path):
    path, reached = tmp_path / "vectors.db", threading.Semaphore(0)
    n_before = 4

    def until_killed(texts):
        if len(server.requests) <= n_before:
            return 200, answer(texts)
        reached.release()
        return Hang(30.0)

    with EmbeddingServer(until_killed) as server:
        with start(KILLED, server.url, path) as process:
            assert all(reached.acquire(timeout=30) for _ in range(2))
            os.kill(process.pid, signal.SIGKILL)
        with EmbeddingServer() as again:
            # The same server, as the journal sees it.
            embedder = make(again, journal=path, batch_size=5)
            embedder._target = lambda: server.url
            np.testing.assert_array_equal(embedder.encode(TEXTS), expected(TEXTS))
    kept = [text for batch in server.batches_sent[:n_before] for text in batch]
    assert sorted(again.texts_sent) == sorted({*TEXTS} - {*kept})


def test_a_vector_is_durable_before_it_is_used(tmp_path):
    class Full(AnswerJournal):
        def record_all(self, items, **how):
            raise OSError("no space left")

    with EmbeddingServer() as server:
        with pytest.raises(OSError, match="no space left"):
            make(server, journal=Full(tmp_path / "x.db"), n_jobs=1).encode(TEXTS)
        assert len(server.requests) == 1


def test_vectors_of_different_lengths_are_refused():
    def by_number(texts):
        return 200, answer(texts, d=3 + len(texts))

    with (
        EmbeddingServer(by_number) as server,
        pytest.raises(ValueError, match=r"different lengths, \[4, 10\]"),
    ):
        make(server, n_jobs=1).encode(TEXTS[:8])


# ---------------------------------------------------------------- texts


@pytest.mark.parametrize(
    ("texts", "kind", "message"),
    [
        ("one", TypeError, "texts must be a sequence of str, got one str"),
        (["a", 3], TypeError, "got int at index 1: 3"),
        ([], ValueError, "texts is empty"),
        (["a", ""], ValueError, "must not be empty, got '' at index 1. Drop it"),
        (["a", "b\ud83d"], ValueError, r"half of a character at index 1: 'b\\ud83d'"),
    ],
)
def test_texts_that_cannot_be_sent_are_refused_before_anything_is(texts, kind, message):
    with EmbeddingServer() as server:
        for use in (make(server).encode, make(server).plan):
            with pytest.raises(kind, match=message):
                use(texts)
        assert server.requests == []


def test_an_empty_text_may_have_a_prompt():
    with EmbeddingServer() as server:
        found = make(server, prompt="query: ").encode(["", "a"])
    np.testing.assert_array_equal(found, expected(["query: ", "query: a"]))


def test_texts_that_are_too_long_are_cut_counted_and_told_about_once():
    texts = ["short", "long " * 50, "lang " * 50, "long " * 50]
    with EmbeddingServer() as server:
        embedder = make(server, max_tokens=20)
        with pytest.warns(UserWarning, match="2 of 3 texts have more than 20 tokens"):
            found = embedder.encode(texts)
        embedder.encode(texts)  # told once: another warning would be an error
    assert embedder.report()["n_cut"] == 2
    assert server.texts_sent == ["short", "long " * 8, "lang " * 8]
    np.testing.assert_array_equal(found[1], found[3])


@settings(deadline=None, max_examples=60)
@given(st.text(st.characters(codec="utf-8"), max_size=60), st.integers(1, 30))
def test_a_cut_text_is_the_longest_beginning_that_fits(text, limit):
    kept = cut(text, limit)
    assert text.startswith(kept)
    assert most_tokens(kept) <= limit
    assert kept == text or most_tokens(text[: len(kept) + 1]) > limit


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.text("aé", min_size=1, max_size=12), max_size=20),
    st.integers(1, 5),
    st.integers(1, 12),
)
def test_batches_hold_all_texts_in_order_within_both_limits(texts, size, tokens):
    batches = in_batches(texts, size, tokens)
    assert [text for batch in batches for text in batch] == texts
    for batch in batches:
        assert 1 <= len(batch) <= size
        assert len(batch) == 1 or sum(map(most_tokens, batch)) <= tokens


@settings(deadline=None, max_examples=40)
@given(st.lists(st.floats(width=32, allow_nan=False), max_size=9))
def test_a_vector_is_the_same_after_it_was_written(numbers):
    written = np.array(numbers, dtype=np.float32)
    np.testing.assert_array_equal(from_text(as_text(written)), written)


# ---------------------------------------------------------------- faults


@pytest.mark.parametrize("name", PASSING)
def test_a_fault_that_passes_is_tried_again(name):
    seen = set()

    def once(texts):
        if texts[0] in seen:
            return 200, answer(texts)
        seen.add(texts[0])
        return PASSING[name]

    with EmbeddingServer(once) as server:
        embedder = make(server, n_jobs=2)
        np.testing.assert_array_equal(embedder.encode(TEXTS), expected(TEXTS))
    assert embedder.report()["n_requests"] == 8
    assert embedder.report()["n_retries"] == 8 == len(server.requests) - 8


@pytest.mark.parametrize("name", [*LASTING, *ONE_QUESTION])
def test_a_fault_that_lasts_ends_the_call_with_the_server_s_words(name):
    fault = {**LASTING, **ONE_QUESTION}[name]
    with EmbeddingServer(lambda texts: fault) as server:
        raised = failure(make(server, n_jobs=1))
    said = "Welcome to nginx!" if name == "page" else fault[1]["error"]["message"]
    assert said in str(raised)
    assert len(server.requests) == 1


def broken(change):
    def body(texts):
        made = answer(texts)
        change(made["data"])
        return 200, made

    return body


NO_ANSWERS = {
    "too few rows": lambda data: data.pop(),
    "too many rows": lambda data: data.append(dict(data[0], index=len(data))),
    "an index twice": lambda data: data[0].update(index=1),
    "an index beyond": lambda data: data[0].update(index=99),
    "an index that is none": lambda data: data[0].update(index="0"),
    "no rows": lambda data: data.__setitem__(0, [1.0, 2.0]),
    "two lengths": lambda data: data[0]["embedding"].append(1.0),
    "no numbers": lambda data: data[0].update(embedding=["1.0"] * 8),
    "no list": lambda data: data[0].update(embedding=3.0),
    "none": lambda data: data[0].update(embedding=[None] * 8 + [{}]),
    "nested": lambda data: data[0].update(embedding=[[1.0], [2.0]]),
    "ragged": lambda data: data[0].update(embedding=[[1.0], 2.0]),
    "no base64": lambda data: data[0].update(embedding="é?"),
    "half a number": lambda data: data[0].update(embedding="AAAA"),
    "empty": lambda data: [row.update(embedding=[]) for row in data],
}


@pytest.mark.parametrize("name", NO_ANSWERS)
def test_an_answer_that_does_not_fit_is_tried_again_and_never_used(name):
    with EmbeddingServer(broken(NO_ANSWERS[name])) as server:
        embedder = make(server, n_jobs=1, max_retries=2)
        raised = failure(embedder)
    assert "did not answer like the OpenAI embeddings API" in str(raised)
    assert len(server.requests) == 3
    assert embedder.report()["n_embedded"] == len(embedder._share().journal) == 0


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1e300])
def test_what_is_no_finite_number_is_refused_with_its_text(bad):
    def change(data):
        data[2]["embedding"][3] = bad

    with EmbeddingServer(broken(change)) as server:
        raised = failure(make(server, n_jobs=1))
    assert "NaN or infinity for the text 'message number 2'" in str(raised)
    assert len(server.requests) == 1


def test_dimensions_that_the_server_ignores_are_told_of():
    with EmbeddingServer(lambda texts: (200, answer(texts))) as server:
        raised = failure(make(server, n_jobs=1, dimensions=4))
    assert "length 8, where dimensions=4 was asked for" in str(raised)
    assert len(server.requests) == 1


def test_garbage_is_not_read():
    for text in ("[" * 100_000, "{}", "null", '{"data": [1]}', '{"error": "no"}'):
        with pytest.raises(RuntimeError, match="did not answer like"):
            read_answer(text, "http://host/v1", ["a"])


@pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": True}, 3])
def test_tokens_are_estimated_where_the_server_does_not_count(usage):
    def uncounted(texts):
        return 200, {**answer(texts), "usage": usage}

    with EmbeddingServer(uncounted) as server:
        embedder = make(server)
        embedder.encode(["card", "lost card"])
    assert embedder.report()["tokens"] == 2 + 5


def test_an_answer_that_is_too_slow_is_a_timeout():
    with EmbeddingServer(lambda texts: Hang(10.0)) as server:
        embedder = make(server, n_jobs=1, timeout=0.1, max_retries=1)
        assert isinstance(failure(embedder, ["a"]), openai.APITimeoutError)
    assert len(server.requests) == 2


def test_nobody_waits_longer_than_max_retry_seconds():
    fault = (429, error("slow down"), {"Retry-After": "3000"})
    with EmbeddingServer(lambda texts: fault) as server:
        embedder = make(server, n_jobs=1, max_retry_seconds=5.0)
        assert isinstance(failure(embedder), openai.RateLimitError)
    assert len(server.requests) == 1


def test_the_pause_that_a_server_asks_for_is_made_by_all():
    faults, waits = iter([(503, error("busy"), {"Retry-After": "7"})]), []
    sender = sending.Sender(
        lambda batch: _raise(next(faults, None)),
        len,
        n_jobs=1,
        max_retries=1,
        max_retry_seconds=60,
        requests_per_minute=None,
        tokens_per_minute=None,
    )
    end = sender.limiter.end
    sender.over.wait = waits.append
    sender.limiter.end = lambda ticket, **how: (waits.append(how), end(ticket))
    sender.send_all([["a"]])
    assert waits == [
        {"congested": True, "pause": 7.0},
        7.0,
        {"congested": False, "pause": None},
    ]
    assert sender.n_retries == 1


def _raise(fault):
    if fault is not None:
        status, body, headers = fault
        raised = RuntimeError(body)
        raised.status_code, raised.headers = status, headers
        raise raised


def test_what_arrived_before_a_lasting_fault_is_kept():
    def three_then_none(texts):
        if len(server.requests) > 3:
            return LASTING["401"]
        return 200, answer(texts)

    with EmbeddingServer(three_then_none) as server:
        embedder = make(server, n_jobs=1)
        raised = failure(embedder)
        assert len(server.requests) == 4
        if sys.version_info >= (3, 11):
            assert "had vectors of 21 of 50 new texts" in raised.__notes__[-1]
        server.answer = server.usual
        np.testing.assert_array_equal(embedder.encode(TEXTS), expected(TEXTS))
    assert sorted(server.texts_sent[28:]) == sorted(TEXTS[21:])


def test_a_lasting_fault_ends_what_waits_for_its_turn():
    together = threading.Barrier(4)

    def refuse(texts):
        together.wait(10)
        return LASTING["401"]

    with EmbeddingServer(refuse) as server:
        failure(make(server, n_jobs=4, batch_size=1))
    assert len(server.requests) == 4


def test_a_lasting_fault_ends_what_waits_for_a_limit():
    with EmbeddingServer(lambda texts: LASTING["401"]) as server:
        failure(make(server, n_jobs=3, requests_per_minute=1))
    assert len(server.requests) == 1


def test_an_interrupt_ends_everything_and_loses_nothing():
    def interrupting(texts):
        if texts[0] == TEXTS[0]:
            return 200, answer(texts)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        return Hang(30.0)

    with EmbeddingServer(interrupting) as server:
        embedder = make(server, n_jobs=1, batch_size=25)
        with pytest.raises(KeyboardInterrupt):
            embedder.encode(TEXTS)
        assert embedder.report()["n_embedded"] == 25
        assert len(server.requests) == 2


# ---------------------------------------------------------------- plans and counts


def test_the_plan_says_what_will_be_sent_and_sends_nothing():
    with EmbeddingServer() as server:
        embedder = make(server)
        plan = embedder.plan([*TEXTS, *TEXTS])
        assert server.requests == []
        assert plan == {
            "texts": 50, "cached": 0, "requests": 8, "tokens": (150, plan["tokens"][1]),
        }  # fmt: skip
        embedder.encode(TEXTS)
        report = embedder.report()
        assert report["n_requests"] == plan["requests"] == len(server.requests)
        assert plan["tokens"][0] <= report["tokens"] <= plan["tokens"][1]
        assert embedder.plan([*TEXTS, "new"]) == {
            "texts": 51, "cached": 50, "requests": 1, "tokens": (1, 2),
        }  # fmt: skip


def test_a_plan_needs_no_key():
    assert OpenAIEmbedder().plan(["a"])["requests"] == 1


def test_the_report_counts_what_came_from_where():
    with EmbeddingServer() as server:
        embedder = make(server)
        embedder.encode(TEXTS[:10])
        embedder.encode(TEXTS[5:15])
    report = embedder.report()
    assert report.pop("seconds") > 0
    assert report == {
        "n_texts": 20, "n_cached": 5, "n_embedded": 15, "n_requests": 3,
        "n_retries": 0, "tokens": 45, "n_cut": 0,
    }  # fmt: skip


def test_vectors_leave_the_pace_of_a_journal_alone():
    journal = AnswerJournal()
    with EmbeddingServer() as server:
        make(server, journal=journal).encode(TEXTS)
    assert len(journal) == 50 and journal.pace() is None


# ---------------------------------------------------------------- parameters, the key


@pytest.mark.parametrize(
    ("parameters", "kind", "message"),
    [
        ({"model": ""}, ValueError, "model must be the name of a model, got ''"),
        ({"batch_size": 0}, ValueError, "'batch_size' parameter .* Got 0"),
        ({"batch_tokens": 0}, ValueError, "'batch_tokens' parameter .* Got 0"),
        ({"max_tokens": 1.5}, TypeError, "'max_tokens' parameter .* Got 1.5"),
        ({"n_jobs": None}, TypeError, "'n_jobs' parameter .* Got None"),
        ({"dimensions": 0}, ValueError, "'dimensions' parameter .* Got 0"),
        ({"max_retries": -1}, ValueError, "'max_retries' parameter .* Got -1"),
        ({"max_retry_seconds": "x"}, TypeError, "'max_retry_seconds' parameter"),
        ({"requests_per_minute": 0}, ValueError, "'requests_per_minute' parameter"),
        ({"tokens_per_minute": 0}, ValueError, "'tokens_per_minute' parameter"),
        ({"timeout": 0}, ValueError, "'timeout' parameter .* Got 0"),
        ({"prompt": 3}, TypeError, "prompt must be a str or None, got 3"),
        ({"extra_body": [1]}, TypeError, r"extra_body must be a dict .*\[1\]"),
        ({"base_url": "host/v1"}, ValueError, "base_url .* got 'host/v1'"),
    ],
)
def test_a_wrong_parameter_is_refused(parameters, kind, message):
    embedder = OpenAIEmbedder("m", base_url="http://127.0.0.1:9/v1")
    embedder.set_params(**parameters)
    for use in (lambda texts: embedder.check(), embedder.encode, embedder.plan):
        with pytest.raises(kind, match=message):
            use(["a"])


def test_a_missing_key_is_refused_with_the_name_of_the_variable():
    with pytest.raises(ValueError, match=r"OpenAIEmbedder found no API key: .* MY_KEY"):
        OpenAIEmbedder(api_key_env="MY_KEY").encode(["a"])


def test_a_wrong_key_is_told_once_and_shown_nowhere(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    fault = (401, error(f"Incorrect API key: {CANARY}", "invalid_api_key"))
    with EmbeddingServer(lambda texts: fault) as server:
        raised = failure(make(server, n_jobs=1))
    assert isinstance(raised, openai.AuthenticationError)
    assert len(server.requests) == 1
    assert "Incorrect API key: ***" in str(raised)
    assert CANARY not in str(raised) + repr(vars(raised))
    assert CANARY.encode() not in pickle.dumps(raised)


def test_the_key_and_the_client_are_in_no_pickle_clone_or_journal(
    monkeypatch, tmp_path
):
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    path = tmp_path / "vectors.db"
    with EmbeddingServer() as server:
        embedder = make(server, journal=str(path))
        embedder.encode(TEXTS)
        twins = [clone(embedder), pickle.loads(pickle.dumps(embedder))]
        for one in (embedder, *twins):
            assert CANARY not in repr(one) + str(vars(one)) + str(one.get_params())
            assert CANARY.encode() not in pickle.dumps(one)
            np.testing.assert_array_equal(one.encode(TEXTS), expected(TEXTS))
        assert len(server.texts_sent) == len(TEXTS)
    embedder._share().journal.close()
    assert CANARY.encode() not in path.read_bytes()


def test_a_password_in_the_url_is_not_kept():
    journal = AnswerJournal()
    with EmbeddingServer() as server:
        url = server.url.replace("//", "//user:hunter22@")
        OpenAIEmbedder("m", base_url=url, journal=journal).encode(["a"])
        make(server, journal=journal).encode(["a"])
        assert len(server.requests) == 1
    assert "hunter22" not in json.dumps(list(journal.attempts()))


def test_the_journal_says_what_each_vector_is_of():
    journal = AnswerJournal()
    with EmbeddingServer() as server:
        make(server, journal=journal, dimensions=4).encode(["a"])
        request = {
            "base_url": server.url,
            "body": {"model": "m", "input": "a", "dimensions": 4},
        }
    reply = journal.replies([question_key(request)])[question_key(request)]
    np.testing.assert_array_equal(from_text(reply.text), vector("a", 4))


# ---------------------------------------------------------------- in an estimator


def test_an_estimator_embeds_once_and_cannot_train_it(texts):
    with EmbeddingServer() as server:
        embedder = make(server)
        clusterer = ClusterLLMClusterer(embedder, n_clusters=4, random_state=0)
        clusterer.fit(texts)
        assert (clusterer.predict(texts) == clusterer.labels_).all()
        assert len(server.texts_sent) == len(set(texts))
        asked = ClusterLLMClusterer(
            embedder, TruthOracle(texts, [0] * len(texts)), n_clusters=4
        )
        with pytest.raises(TypeError, match="FineTuner cannot train OpenAIEmbedder"):
            asked.fit(["never sent", *texts])
        assert "never sent" not in server.texts_sent


def test_a_server_that_is_not_there_is_described():
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    embedder = OpenAIEmbedder(base_url=f"http://127.0.0.1:{port}/v1", max_retries=1)
    assert "Connection" in str(failure(embedder))


def test_a_slow_drip_ends_in_time():
    fault = Raw(b" " * 400, pieces=400, pause=0.05)
    with EmbeddingServer(lambda texts: fault) as server:
        embedder = make(server, n_jobs=1, timeout=0.2, max_retries=0)
        assert isinstance(failure(embedder, ["a"]), openai.APITimeoutError)
