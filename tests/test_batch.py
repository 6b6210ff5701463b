"""Open questions as a batch file, and its results as answers that nobody calls for."""

import json
import os
import random
import stat

import pytest
from sklearn.base import BaseEstimator

from skllm_cluster.journal import AnswerJournal, question_key
from skllm_cluster.oracles import LLMOracle
from skllm_cluster.oracles import _batch as batch
from skllm_cluster.oracles._batch import read_results, write_questions
from skllm_cluster.oracles._calling import Question

TRIPLETS = [(f"anchor {i}", f"left {i}", f"right {i}") for i in range(12)]


class Chat(BaseEstimator):
    """A chat server that must not be called."""

    def request(self, prompt):
        message = {"role": "user", "content": prompt}
        body = {"model": "m", "messages": [message], "max_tokens": 5}
        return {"base_url": "http://127.0.0.1:1/v1", "body": body}

    def __call__(self, prompt):
        raise AssertionError("called")


def make_questions(n):
    found = []
    for i in range(n):
        request = {"sample": 0, "sent": Chat().request(f"question {i}\u2028\ud83d")}
        found.append(Question(question_key(request), request, f"question {i}"))
    return found


def lines_of(path):
    return [json.loads(line) for line in path.read_text("ascii").splitlines()]


def result(key, content="Choice 1", **body):
    choice = {"index": 0, "message": {"role": "assistant", "content": content}}
    body = {"choices": [choice | {"finish_reason": "stop"}], "model": "m-1", **body}
    response = {"status_code": 200, "request_id": "r", "body": body}
    return {"id": "b", "custom_id": key, "response": response, "error": None}


def write_results(path, results):
    path.write_text("".join(json.dumps(one) + "\n" for one in results), "utf-8")
    return path


def read(path, journal):
    return read_results(path, journal, lambda reply: f"read {reply.text}")


@pytest.fixture
def asked(tmp_path):
    """A journal that knows eight questions, and their keys."""
    journal, questions = AnswerJournal(), make_questions(8)
    write_questions(tmp_path / "asked.jsonl", questions, journal)
    return journal, [question.key for question in questions]


# Questions


def test_a_line_is_a_request_that_the_provider_takes(tmp_path):
    path, questions = tmp_path / "q.jsonl", make_questions(3)
    write_questions(path, questions, AnswerJournal())
    assert lines_of(path) == [
        {
            "custom_id": question.key,
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": question.request["sent"]["body"],
        }
        for question in questions
    ]
    assert all(len(line["custom_id"]) == 64 for line in lines_of(path))


@pytest.mark.skipif(os.name != "posix", reason="has other file modes")
def test_the_file_is_readable_by_its_owner_alone(tmp_path):
    path = tmp_path / "q.jsonl"
    path.touch(0o644)
    write_questions(path, make_questions(1), AnswerJournal())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path, questions, written = tmp_path / "q.jsonl", make_questions(5), []

    def dumps(line):
        if len(written) == 3:
            raise KeyboardInterrupt
        written.append(line)
        return "{}"

    write_questions(path, questions[:1], AnswerJournal())
    before = path.read_bytes()
    monkeypatch.setattr(batch.json, "dumps", dumps)
    with pytest.raises(KeyboardInterrupt):
        batch.write_questions(path, questions, _Noting())
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["q.jsonl"]


class _Noting:
    def claim(self, key, request, *, seconds):
        return False


def test_questions_that_no_chat_server_is_sent_cannot_be_a_batch(tmp_path):
    journal, path = AnswerJournal(tmp_path / "j.db"), tmp_path / "q.jsonl"
    oracle = LLMOracle(lambda prompt: "Choice 1", journal=journal, batch=path)
    with pytest.raises(TypeError, match="sends to a chat server, such as OpenAIChat"):
        oracle.answer_triplets(TRIPLETS)
    assert not path.exists()
    assert journal.summary()["n_questions"] == 0
    assert oracle.report()["n_open"] == 12


def test_questions_are_known_though_somebody_else_is_asking_them(tmp_path):
    journal, (question,) = AnswerJournal(), make_questions(1)
    assert journal.claim(question.key, question.request, seconds=60)
    write_questions(tmp_path / "q.jsonl", [question], journal)
    read(write_results(tmp_path / "r.jsonl", [result(question.key)]), journal)
    assert len(journal) == 1


def test_writing_a_batch_claims_nothing(asked):
    journal, keys = asked
    requests = journal.requests(keys)
    assert all(journal.claim(key, requests[key], seconds=1) for key in keys)


# Results


def test_results_come_in_any_order_and_few_at_a_time(asked, tmp_path):
    journal, keys = asked
    shuffled = random.Random(0).sample(keys, len(keys))
    for part in (shuffled[:3], shuffled[3:]):
        path = write_results(
            tmp_path / "r.jsonl", [result(key, f"Choice {key[0]}") for key in part]
        )
        assert read(path, journal) == {"n_answered": len(part), "n_failed": 0}
    replies = journal.replies(keys)
    assert {key: replies[key].text for key in keys} == {
        key: f"Choice {key[0]}" for key in keys
    }


def test_what_a_result_tells_is_kept(asked, tmp_path):
    journal, keys = asked
    listed = [
        {"token": "1", "logprob": -0.1, "bytes": [49]},
        {"token": "2", "logprob": -2, "bytes": [50]},
    ]
    token = {"token": "1", "logprob": -0.1, "top_logprobs": listed}
    one = result(
        keys[0], "1", usage={"prompt_tokens": 70, "completion_tokens": 1},
    )  # fmt: skip
    one["response"]["body"]["choices"][0]["logprobs"] = {"content": [token]}
    two = result(keys[1], None, usage=None)
    two["response"]["body"]["choices"][0] |= {"finish_reason": "length", "logprobs": {}}
    read(write_results(tmp_path / "r.jsonl", [one, two]), journal)
    replies = journal.replies(keys)
    assert replies[keys[0]].top_logprobs == ({"1": -0.1, "2": -2.0},)
    assert replies[keys[0]].model == "m-1"
    assert replies[keys[0]].finish_reason == "stop"
    assert (replies[keys[0]].prompt_tokens, replies[keys[0]].completion_tokens) == (
        70,
        1,
    )
    silent = replies[keys[1]]
    assert (silent.text, silent.finish_reason) == ("", "length")
    assert silent.prompt_tokens is None
    assert {a["key"]: a["answer"] for a in journal.attempts()} == {
        keys[0]: "read 1",
        keys[1]: "read ",
    }


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        ({"response": {"status_code": 429, "body": {"error": {"message": "slow"}}}},
         "429: slow"),
        ({"response": {"status_code": 500, "body": {"error": "it broke"}}},
         "500: it broke"),
        ({"response": {"status_code": 500, "body": None}}, "500: no answer"),
        ({"response": {"status_code": 400, "body": {}}}, "400: no answer"),
        ({"response": None, "error": {"code": "batch_expired", "message": "late"}},
         "None: late"),
        ({"response": None, "error": None}, "None: no answer"),
        ({}, "None: no answer"),
    ],
)  # fmt: skip
def test_failures_are_counted_kept_and_leave_the_question_open(
    failure, words, asked, tmp_path
):
    journal, keys = asked
    lines = [{"custom_id": keys[0], **failure}, result(keys[1])]
    path = write_results(tmp_path / "r.jsonl", lines)
    assert read(path, journal) == {"n_answered": 1, "n_failed": 1}
    assert journal.replies(keys).keys() == {keys[1]}
    assert [a["error"] for a in journal.attempts()] == [words, None]
    assert read(write_results(path, [result(keys[0])]), journal)["n_answered"] == 1
    assert journal.replies(keys).keys() == set(keys[:2])


@pytest.mark.parametrize(
    "odd",
    [
        {"choices": [{"message": None}]},
        {"choices": [{}]},
        {"choices": [{"message": {}, "logprobs": {"content": [{"token": "1"}]}}]},
        {"choices": [{"message": {"content": None}}], "usage": [1]},
    ],
)
def test_a_result_without_text_is_a_reply_that_is_no_answer(odd, asked, tmp_path):
    journal, keys = asked
    path = write_results(tmp_path / "r.jsonl", [result(keys[0], **odd)])
    assert read(path, journal) == {"n_answered": 1, "n_failed": 0}
    assert journal.replies(keys)[keys[0]].text == ""


@pytest.mark.parametrize(
    "line",
    [
        "Choice 1",
        "null",
        "3",
        "[]",
        '{"response": {}}',
        '{"custom_id": "k", "response": []',
        '{"custom_id": "k", "response": [1]}',
        '{"custom_id": "k", "response": {"status_code": 200}}',
        '{"custom_id": "k", "response": {"status_code": 200, "body": {"choices": []}}}',
        '{"custom_id": "k", "response": {"status_code": 200, "body": {"choices": 1}}}',
        json.dumps(result("k") | {"response": "none"}),
    ],
)
def test_a_line_that_is_no_result_is_an_error_and_nothing_is_taken_in(
    line, asked, tmp_path
):
    journal, keys = asked
    path = tmp_path / "r.jsonl"
    path.write_text(f"{json.dumps(result(keys[0]))}\n\n  \n{line}\n", "utf-8")
    with pytest.raises(ValueError, match=r"Line 4 of '.*r.jsonl' is no result of a ba"):
        read(path, journal)
    assert journal.summary()["n_attempts"] == 0


def test_results_of_other_questions_are_an_error_and_nothing_is_taken_in(
    asked, tmp_path
):
    journal, keys = asked
    lines = [result(keys[0]), result("0" * 64), result(7)]
    path = write_results(tmp_path / "r.jsonl", lines)
    with pytest.raises(ValueError, match=r"for 2 questions that .* does not know, the"):
        read(path, journal)
    assert journal.summary()["n_attempts"] == 0


def test_an_answer_that_is_there_stays(asked, tmp_path):
    journal, keys = asked
    path = tmp_path / "r.jsonl"
    for text in ("Choice 1", "Choice 2"):
        read(write_results(path, [result(keys[0], text)]), journal)
    assert journal.replies(keys)[keys[0]].text == "Choice 1"


def test_an_empty_file_brings_nothing(asked, tmp_path):
    path = write_results(tmp_path / "r.jsonl", [])
    assert read(path, asked[0]) == {"n_answered": 0, "n_failed": 0}


# The whole way


def answer(line):
    """Always name the text on the left, wherever it is shown."""
    prompt = line["body"]["messages"][0]["content"]
    first = prompt.partition("Choice 1: ")[2].strip('"')
    return result(line["custom_id"], f"Choice {1 + (not first.startswith('left'))}")


@pytest.mark.parametrize("order", ["random", "both"])
def test_a_batch_is_written_worked_on_and_read_without_any_call(order, tmp_path):
    path, results = tmp_path / "q.jsonl", tmp_path / "r.jsonl"
    oracle = LLMOracle(Chat(), journal=tmp_path / "j.db", batch=path, order=order)
    per_triplet = 2 if order == "both" else 1
    n = 12 * per_triplet
    said = f"{n} of {n} questions are written to '.*q.jsonl' and have no answer yet"
    with pytest.warns(UserWarning, match=said):
        assert set(oracle.answer_triplets(TRIPLETS)) == {-1}
    assert oracle.report()["n_open"] == len(lines_of(path)) == n
    assert not oracle.needs_preflight(TRIPLETS * 100)

    lines = [answer(line) for line in random.Random(1).sample(lines_of(path), n)]
    lost = {"custom_id": lines[0]["custom_id"], "error": {"message": "expired"}}
    write_results(results, [lost, *lines[1:]])
    assert oracle.read_batch(results) == {"n_answered": n - 1, "n_failed": 1}
    with pytest.warns(UserWarning, match=f"1 of {n} questions are written"):
        answers = oracle.answer_triplets(TRIPLETS)
    assert sorted(answers) == [-1] + [0] * 11
    assert [line["custom_id"] for line in lines_of(path)] == [lost["custom_id"]]

    oracle.read_batch(write_results(results, lines[:1]))
    for reader in (oracle, LLMOracle(Chat(), journal=tmp_path / "j.db", order=order)):
        assert set(reader.answer_triplets(TRIPLETS)) == {0}
        assert reader.report()["n_calls"] == reader.report()["n_open"] == 0


def test_votes_are_lines_of_their_own(tmp_path):
    path = tmp_path / "q.jsonl"
    oracle = LLMOracle(Chat(), batch=path, n_votes=3)
    with pytest.warns(UserWarning, match="36 of 36 questions"):
        oracle.answer_triplets(TRIPLETS)
    lines = lines_of(path)
    assert len({line["custom_id"] for line in lines}) == 36
    assert len({json.dumps(line["body"]) for line in lines}) == 12


def test_a_large_batch_is_read_at_once(tmp_path):
    journal, questions = AnswerJournal(), make_questions(450)
    write_questions(tmp_path / "q.jsonl", questions, journal)
    path = write_results(tmp_path / "r.jsonl", [result(q.key) for q in questions])
    assert read(path, journal) == {"n_answered": 450, "n_failed": 0}
    assert len(journal) == 450
