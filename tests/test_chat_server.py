"""The servers of the tests: a fault that does not happen would prove nothing."""

import json
import socket

import pytest
from chat_server import ChatServer, completion
from faults import PASSING, Hang, Raw, Reset, error, in_turn, troubled

openai = pytest.importorskip("openai")


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def client(server):
    return openai.OpenAI(base_url=server.url, api_key="none", max_retries=0)


def ask(connection, server, prompt="hello"):
    body = json.dumps({"messages": [{"role": "user", "content": prompt}]}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n"
    connection.sendall(head.encode() + body)


def connect(server):
    port = int(server.url.split(":")[2].split("/")[0])
    return socket.create_connection(("127.0.0.1", port), timeout=5)


def test_a_reset_is_a_reset_and_no_orderly_end():
    with ChatServer(lambda prompt: Reset()) as server, connect(server) as connection:
        ask(connection, server)
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
    assert server.outcomes == {"Reset": 1}


def test_a_hang_ends_with_the_server():
    server = ChatServer(lambda prompt: Hang(3600.0))
    with server, connect(server) as connection:
        ask(connection, server)
        connection.settimeout(0.1)
        with pytest.raises(TimeoutError):
            connection.recv(1)
    assert server.outcomes == {"Hang": 1}


def test_a_broken_answer_promises_more_than_it_sends():
    answer = Raw(b"abc", missing=4)
    with ChatServer(lambda prompt: answer) as server, connect(server) as connection:
        ask(connection, server)
        received = b"".join(iter(lambda: connection.recv(4096), b""))
    assert b"Content-Length: 7\r\n" in received
    assert received.endswith(b"\r\n\r\nabc")
    assert server.outcomes == {"broken": 1}


@pytest.mark.parametrize(
    ("headers", "own", "expected"),
    [
        (None, {}, {"retry-after-ms": "1"}),
        (None, {"Retry-After": "5"}, {"Retry-After": "5"}),
        ({"retry-after-ms": None, "x": "y"}, {}, {"x": "y"}),
    ],
)
def test_the_headers_are_those_of_server_and_answer(headers, own, expected):
    server = ChatServer(str, headers=headers)
    found = server.headers_for(Raw(b"", headers=own))
    assert found == {"content-type": "application/json"} | expected


def test_each_prompt_has_turns_of_its_own():
    answer = in_turn((500, "a"), str.upper)
    assert [answer(p) for p in "xyxyy"] == [(500, "a"), (500, "a"), "X", "Y", "Y"]


def test_which_fault_a_prompt_meets_does_not_depend_on_the_order():
    prompts = [str(i) for i in range(200)]
    first = troubled(str.upper, list(PASSING.values()), attempts=2)
    other = troubled(str.upper, list(PASSING.values()), attempts=2)
    met = {prompt: first(prompt) for prompt in prompts}
    assert met == {prompt: other(prompt) for prompt in reversed(prompts)}
    assert {repr(one) for one in met.values()} >= set(map(repr, PASSING.values()))
    assert "7" in met.values() or any(met[p] == p for p in prompts)
    assert [first(p) for p in prompts] == list(met.values())
    assert [first(p) for p in prompts] == prompts


def test_a_batch_is_worked_on_step_by_step_with_openai_s_own_client():
    def answer(prompt):
        return (400, error("no")) if prompt == "bad" else f"re: {prompt}"

    questions = [
        {
            "custom_id": name,
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {"model": "m", "messages": [{"role": "user", "content": name}]},
        }
        for name in ("a", "bad", "\u2028b")
    ]
    lines = "\n".join(map(json.dumps, questions)).encode()
    with ChatServer(answer) as server:
        api = client(server)
        file = api.files.create(file=("q.jsonl", lines), purpose="batch")
        batch = api.batches.create(
            input_file_id=file.id,
            endpoint="/v1/chat/completions",
            completion_window="24h",
        )
        steps = [batch.status]
        while steps[-1] != "completed":
            batch = api.batches.retrieve(batch.id)
            steps.append(batch.status)
        good = api.files.content(batch.output_file_id).text.splitlines()
        bad = api.files.content(batch.error_file_id).text.splitlines()
    assert steps == ["validating", "in_progress", "completed"]
    assert batch.request_counts.total == 3
    results = {line["custom_id"]: line["response"] for line in map(json.loads, good)}
    assert list(results) == ["\u2028b", "a"]
    assert results["a"]["body"] == completion("re: a")
    assert json.loads(bad[0])["response"]["status_code"] == 400


def test_what_is_not_there_is_not_found():
    with ChatServer(str) as server:
        api = client(server)
        with pytest.raises(openai.NotFoundError):
            api.batches.retrieve("batch-7")
        with pytest.raises(openai.NotFoundError):
            api.files.content("file-7")
        with pytest.raises(openai.BadRequestError, match="no such file"):
            api.batches.create(
                input_file_id="file-7",
                endpoint="/v1/chat/completions",
                completion_window="24h",
            )
