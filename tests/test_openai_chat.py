"""The client of OpenAI-compatible servers, against one on the loopback interface."""

import copy
import json
import logging
import os
import pickle
import socket
import subprocess
import sys
import threading
import traceback
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from chat_server import ChatServer, completion
from faults import (
    LASTING,
    ONE_QUESTION,
    PASSING,
    UNUSABLE,
    Hang,
    Raw,
    chunked,
    dripping,
    error,
    odd_forms,
    token,
    unsupported,
)
from sklearn.base import clone

from skllm_cluster._remote._errors import Advice, advise, chain, describe
from skllm_cluster.oracles import OpenAIChat, _chat_api
from skllm_cluster.protocols import Reply

openai = pytest.importorskip("openai")

CANARY = "sk-canary-0123456789"


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    monkeypatch.setattr(_chat_api, "_refused", {})
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_ORG_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)


def say(text):
    return lambda prompt: text


def failure(chat, prompt="hello"):
    """The error that an attempt ends with."""
    with pytest.raises((openai.OpenAIError, RuntimeError)) as caught:
        chat(prompt)
    return caught.value


def everything(error):
    """All that a user, a log or a tool that shows local variables may get to see."""
    shown = []
    for one in (error, error.__context__, *chain(error)):
        if one is not None:
            shown += [repr(one), str(one), str(vars(one)), describe(one)]
            shown += [str(getattr(getattr(one, "request", None), "headers", ""))]
            shown.append(pickle.dumps(one).decode("latin-1"))
    found = traceback.TracebackException.from_exception(error, capture_locals=True)
    # Not the frames of the tests, which hold the key on purpose.
    for one in (found, found.__cause__, found.__context__):
        for frame in one.stack if one is not None else ():
            if not frame.filename.startswith(os.path.dirname(__file__)):
                shown.append(str(frame.locals))
    return "\n".join(shown)


# ---------------------------------------------------------------- what is sent


def test_the_reply_holds_the_text_and_what_the_server_told():
    with ChatServer(lambda prompt: f"You said: {prompt}") as server:
        reply = OpenAIChat("m", base_url=server.url)("hällo")
    assert reply == Reply(
        "You said: hällo",
        finish_reason="stop",
        model="served",
        prompt_tokens=7,
        completion_tokens=3,
    )


def test_nothing_is_sent_that_was_not_asked_for():
    with ChatServer(say("ok")) as server:
        OpenAIChat("small", base_url=server.url)("hello")
    sent = server.requests[0]
    headers = sent.pop("headers")
    assert sent == {
        "model": "small",
        "messages": [{"role": "user", "content": "hello"}],
    }
    assert headers["authorization"] == "Bearer not-needed"


def test_what_is_sent_is_what_the_request_says():
    with ChatServer(say("ok")) as server:
        chat = OpenAIChat(
            "m",
            base_url=server.url,
            temperature=np.float32(0.5),
            max_tokens=np.int64(10),
            logprobs=True,
            extra_body={"reasoning_effort": "low", "max_tokens": 20},
        )
        chat("hello")
    server.requests[0].pop("headers")
    assert server.requests[0] == chat.request("hello")["body"]
    assert server.requests[0] == {
        "model": "m",
        "messages": [{"role": "user", "content": "hello"}],
        "temperature": 0.5,
        "max_tokens": 20,
        "logprobs": True,
        "top_logprobs": 5,
        "reasoning_effort": "low",
    }


def test_the_log_probabilities_arrive():
    content = [token("1", -0.1, **{"1": -0.1, "2": -2.4})]
    body = completion("1", logprobs={"content": content})
    with ChatServer(say((200, body))) as server:
        reply = OpenAIChat("m", base_url=server.url, logprobs=True)("hello")
    assert reply.top_logprobs == ({"1": -0.1, "2": -2.4},)


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (None, "https://api.openai.com/v1"),
        ("http://127.0.0.1:8000/v1/", "http://127.0.0.1:8000/v1"),
        ("http://user:hunter22@host:80/v1?key=hunter22#x", "http://host:80/v1"),
    ],
)
def test_the_request_names_the_server_without_secrets(given, shown):
    assert OpenAIChat("m", base_url=given).request("hello")["base_url"] == shown


def test_the_request_is_the_same_in_another_process(monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:8000/v1")
    chat = OpenAIChat("m", temperature=0, max_tokens=3, extra_body={"seed": 1})
    program = (
        "import json; from skllm_cluster.oracles import OpenAIChat;"
        "print(json.dumps(OpenAIChat('m', temperature=0.0, max_tokens=3,"
        "extra_body={'seed': 1}).request('hello')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == json.dumps(chat.request("hello"))
    assert json.loads(done.stdout)["base_url"] == "http://127.0.0.1:8000/v1"


def test_the_key_comes_from_the_variable_that_is_named(monkeypatch):
    monkeypatch.setenv("MY_KEY", f"{CANARY}\n")  # as read from a file
    with ChatServer(say("ok")) as server:
        OpenAIChat("m", base_url=server.url, api_key_env="MY_KEY")("hello")
    assert server.requests[0]["headers"]["authorization"] == f"Bearer {CANARY}"


def test_base_url_of_the_environment_counts_as_given(monkeypatch):
    with ChatServer(say("ok")) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        chat = OpenAIChat("m")
        chat.check()
        assert chat("hello").text == "ok"
    assert chat.request("hello")["base_url"] == server.url


# ---------------------------------------------------------------- parameters


def test_a_missing_key_is_refused_with_the_name_of_the_variable():
    chat = OpenAIChat("gpt-5", api_key_env="MY_KEY")
    for ask in (chat.check, lambda: chat("hello")):
        with pytest.raises(ValueError, match=r"variable MY_KEY is not set\. Set it"):
            ask()


@pytest.mark.parametrize(
    ("parameters", "kind", "message"),
    [
        ({"model": ""}, ValueError, "model must be the name of a model, got ''"),
        ({"timeout": 0}, ValueError, "'timeout' parameter .* Got 0"),
        ({"timeout": float("inf")}, ValueError, "'timeout' parameter .* Got inf"),
        ({"timeout": None}, TypeError, "'timeout' parameter .* Got None"),
        ({"temperature": "hot"}, TypeError, "'temperature' parameter .* Got 'hot'"),
        ({"temperature": -1}, ValueError, "'temperature' parameter .* Got -1"),
        ({"max_tokens": 0}, ValueError, "'max_tokens' parameter .* Got 0"),
        ({"max_tokens": 1.5}, TypeError, "'max_tokens' parameter .* Got 1.5"),
        ({"logprobs": 5}, TypeError, "logprobs must be a bool, got 5"),
        ({"api_key_env": None}, ValueError, "api_key_env must be the name of an env"),
        ({"extra_body": ["seed"]}, TypeError, "extra_body must be a dict .*'seed'"),
        ({"extra_body": {1: 2}}, TypeError, r"extra_body must be a dict .*\{1: 2\}"),
        ({"extra_body": {"a": {1}}}, TypeError, "extra_body must hold JSON .*set"),
        ({"extra_body": {"a": float("nan")}}, TypeError, "extra_body must hold JSON"),
        ({"extra_body": {"stream": True}}, ValueError, "must not ask for a stream"),
        ({"base_url": "127.0.0.1:8000/v1"}, ValueError, "base_url .* got '127.0.0.1"),
        ({"base_url": "ftp://host/v1"}, ValueError, "must be a URL such as"),
        ({"base_url": "http://"}, ValueError, "must be a URL such as"),
        ({"base_url": "http://[::1/v1"}, ValueError, "must be a URL such as"),
        ({"base_url": 8000}, ValueError, "must be a URL such as .* got 8000"),
    ],
)
def test_a_wrong_parameter_is_refused(parameters, kind, message):
    chat = OpenAIChat("m", base_url="http://127.0.0.1:9/v1").set_params(**parameters)
    for ask in (chat.check, lambda: chat("hello")):
        with pytest.raises(kind, match=message):
            ask()


def test_right_parameters_are_accepted():
    more = {
        "temperature": 0,
        "max_tokens": 1,
        "timeout": 1,
        "extra_body": {"stream": 0},
    }
    OpenAIChat("m", base_url="https://user:pw@[::1]:8000/v1/", **more).check()


def test_a_password_in_a_wrong_url_is_not_repeated():
    chat = OpenAIChat("m", base_url="user:hunter22@127.0.0.1/v1")
    with pytest.raises(ValueError, match=r"got '127\.0\.0\.1/v1' instead") as caught:
        chat.check()
    assert "hunter22" not in str(caught.value)


def test_a_key_in_place_of_its_name_is_refused_unseen():
    chat = OpenAIChat("m", api_key_env=CANARY)
    with pytest.raises(ValueError, match="must be the name of an env") as caught:
        chat.check()
    assert CANARY not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("bad", [f"{CANARY}\nsecond", f"{CANARY} x", f"{CANARY}é"])
def test_a_key_that_no_header_can_hold_is_refused_unseen(monkeypatch, bad):
    monkeypatch.setenv("OPENAI_API_KEY", bad)
    with pytest.raises(ValueError, match="does not hold an API key") as caught:
        OpenAIChat("m")("hello")
    assert CANARY not in everything(caught.value)


def test_a_hidden_package_is_named_with_the_command_to_run(monkeypatch):
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(ImportError, match=r"pip install 'skllm_cluster\[openai\]'"):
        OpenAIChat("m", base_url="http://127.0.0.1:9/v1").check()


# ---------------------------------------------------------------- faults


@pytest.mark.parametrize("name", PASSING)
def test_a_passing_fault_is_one_attempt_that_is_worth_another(name):
    with ChatServer(say(PASSING[name]), headers={"retry-after-ms": None}) as server:
        raised = failure(OpenAIChat("m", base_url=server.url))
    advice = advise(raised)
    assert (advice.kind, advice.free) == ("again", False)
    assert advice.congested is (name[:3] in ("429", "529") or name[:9] == "503 with ")
    assert advice.pause == (0.0 if "Retry-After" in name else None)
    assert len(server.requests) == server.outcomes.total() == 1


@pytest.mark.parametrize("name", LASTING)
def test_a_lasting_fault_stops_with_the_server_s_own_words(name):
    with ChatServer(say(LASTING[name])) as server:
        raised = failure(OpenAIChat("m", base_url=server.url))
    assert advise(raised) == Advice("stop")
    fault = LASTING[name]
    said = "Welcome to nginx!" if name == "page" else fault[1]["error"]["message"]
    assert said in describe(raised) and said in str(raised)


@pytest.mark.parametrize("name", ONE_QUESTION)
def test_a_question_that_the_server_will_not_answer_is_skipped(name):
    with ChatServer(say(ONE_QUESTION[name])) as server:
        raised = failure(OpenAIChat("m", base_url=server.url))
    assert advise(raised) == Advice("skip")


@pytest.mark.parametrize("name", UNUSABLE)
def test_a_reply_that_names_no_choice_is_a_reply(name):
    texts = {"no text": "", "null": "", "thoughts only": ""}
    texts["refusal"] = "I cannot help with that."
    with ChatServer(say(UNUSABLE[name])) as server:
        reply = OpenAIChat("m", base_url=server.url)("hello")
    assert reply.text == texts.get(name, UNUSABLE[name])
    assert reply.finish_reason == ("length" if name == "thoughts only" else "stop")
    assert reply.prompt_tokens is not None  # it was paid for


@pytest.mark.parametrize("name", odd_forms(""))
def test_a_good_reply_is_understood_in_whatever_form_it_comes(name):
    with ChatServer(say(odd_forms("Chöice 1")[name])) as server:
        assert OpenAIChat("m", base_url=server.url)("hello").text == "Chöice 1"


@pytest.mark.parametrize(
    "fault",
    [
        Hang(10.0),
        dripping(pieces=400),
        Raw(b" " * 100, 500, pieces=50, pause=10.0),
        Raw(b" " * 100, pieces=2, pause=10.0),
    ],
    ids=["silent", "dripping", "error without end", "first bytes only"],
)
def test_the_whole_answer_has_to_come_in_time(fault):
    with ChatServer(say(fault)) as server:
        raised = failure(OpenAIChat("m", base_url=server.url, timeout=0.2))
    assert isinstance(raised, openai.APITimeoutError)
    assert advise(raised) == Advice("again")


@pytest.mark.parametrize("status", [200, 500])
def test_an_answer_that_breaks_off_is_a_lost_connection(status):
    whole = chunked(unfinished=True)
    fault = Raw(whole.body, status, pieces=3, unfinished=True)
    with ChatServer(say(fault)) as server:
        raised = failure(OpenAIChat("m", base_url=server.url))
    assert isinstance(raised, openai.APIConnectionError)
    assert "RemoteProtocolError: peer closed" in describe(raised)


def test_a_server_that_is_not_there_is_described():
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    raised = failure(OpenAIChat("m", base_url=f"http://127.0.0.1:{port}/v1"))
    assert advise(raised) == Advice("again")
    assert "Connection refused" in describe(raised)


@pytest.mark.parametrize("prompt", [object(), "half a pair: \ud83d"])
def test_an_error_of_the_program_is_not_made_one_of_the_server(prompt):
    with ChatServer(say("ok")) as server:
        chat = OpenAIChat("m", base_url=server.url)
        with pytest.raises((TypeError, UnicodeEncodeError)) as caught:
            chat(prompt)
    assert advise(caught.value) == Advice("stop")
    assert server.requests == []


@pytest.mark.parametrize("name", [*PASSING, *LASTING, *ONE_QUESTION])
def test_an_error_can_be_handed_from_one_process_to_another(name):
    fault = {**PASSING, **LASTING, **ONE_QUESTION}[name]
    with ChatServer(say(fault)) as server:
        raised = failure(OpenAIChat("m", base_url=server.url))
    twin = pickle.loads(pickle.dumps(raised))
    assert type(twin) is type(raised)
    assert (str(twin), advise(twin)) == (str(raised), advise(raised))
    assert describe(twin) == describe(raised).partition(" <- ")[0]


def test_a_connection_is_usable_again_after_every_fault():
    faults = iter([*PASSING.values(), "Choice 1"])
    with ChatServer(lambda prompt: next(faults)) as server:
        chat = OpenAIChat("m", base_url=server.url)
        for _ in PASSING:
            failure(chat)
        assert chat("hello").text == "Choice 1"


# ---------------------------------------------------------------- the key


def test_the_key_is_in_no_repr_parameter_pickle_or_copy(key):
    with ChatServer(say("Choice 1")) as server:
        chat = OpenAIChat("m", base_url=server.url)
        chat("hello")
        assert server.requests[0]["headers"]["authorization"] == f"Bearer {CANARY}"
        twins = [clone(chat), copy.deepcopy(chat), pickle.loads(pickle.dumps(chat))]
        for one in (chat, *twins):
            assert CANARY not in repr(one) + str(vars(one)) + str(one.get_params())
            assert CANARY not in json.dumps(one.request("hello"))
            assert CANARY.encode() not in pickle.dumps(one)
            assert CANARY not in one._repr_html_()
        for twin in twins:
            assert set(vars(twin)) == set(twin.get_params())
            assert twin("hello").text == "Choice 1"


REPEATED = error(f"Incorrect key: Bearer {CANARY}", param=[CANARY, {CANARY: CANARY}])
ECHOES = {
    "page": (200, f"<html>Bearer {CANARY}</html>"),
    "text": (200, f"Bearer {CANARY}"),
    "long text": (200, "x" * 190 + CANARY),  # where the message is cut
    "error with 200": (200, REPEATED),
    "400": (400, REPEATED),
    "401": (401, REPEATED),
    "422": (422, {"detail": [{"loc": [CANARY], "msg": CANARY}]}),
    "429": (429, REPEATED),
    "500 text": (500, f"Bearer {CANARY}"),
    "header": (500, error("no"), {"X-Echo": CANARY}),
}


@pytest.mark.parametrize("name", ECHOES)
def test_a_key_that_the_server_repeats_is_taken_out_of_the_error(key, name):
    with ChatServer(say(ECHOES[name])) as server:
        raised = failure(OpenAIChat("m", base_url=server.url))
    assert CANARY not in everything(raised)
    assert CANARY[:12] not in str(raised)
    if name != "header":
        assert "***" in describe(raised) or name == "long text"
    assert getattr(raised, "response", None) is None


def test_a_key_that_the_server_repeats_is_taken_out_of_the_reply(key):
    content = [token(CANARY, -0.1, **{CANARY: -0.2})]
    body = completion(f"Your key is {CANARY}", logprobs={"content": content})
    with ChatServer(say((200, body))) as server:
        reply = OpenAIChat("m", base_url=server.url)("hello")
    assert reply.text == "Your key is ***"
    assert CANARY not in repr(reply)


@pytest.mark.parametrize("name", [*PASSING, *LASTING, "slow"])
def test_no_error_carries_the_key(key, name):
    fault = {**PASSING, **LASTING, "slow": Hang(10.0)}[name]
    with ChatServer(say(fault)) as server:
        raised = failure(OpenAIChat("m", base_url=server.url, timeout=0.5))
    assert CANARY not in everything(raised)


def test_no_frame_shows_the_key_when_the_request_cannot_be_written(key, monkeypatch):
    def send(self, data, *flags):
        assert CANARY.encode() in bytes(data)  # it is about to be sent
        raise TimeoutError("the socket is full")

    with ChatServer(say("ok")) as server:
        chat = OpenAIChat("m", base_url=server.url)
        with monkeypatch.context() as patch:
            patch.setattr(socket.socket, "send", send)
            patch.setattr(socket.socket, "sendall", send)
            raised = failure(chat)
    assert "WriteTimeout: the socket is full" in describe(raised)
    assert CANARY not in everything(raised)


def test_no_frame_shows_the_key_when_no_client_can_be_made(key, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "nonsense://127.0.0.1")
    with pytest.raises(Exception, match="nonsense") as caught:
        OpenAIChat("m", base_url="http://host/v1")("hello")
    assert CANARY not in everything(caught.value)


def test_no_log_shows_the_key(key, caplog):
    faults = iter(
        [(503, error("busy")), *[(s, REPEATED) for s in (400, 401, 500)], "ok"]
    )
    with caplog.at_level(0), ChatServer(lambda prompt: next(faults)) as server:
        for name in ("openai", "httpx", "httpx2", "httpcore", "httpcore2"):
            caplog.set_level(logging.DEBUG, logger=name)
        chat = OpenAIChat("m", base_url=server.url)
        for _ in range(4):
            failure(chat)
        chat("hello")
    assert caplog.text and CANARY not in caplog.text


def test_no_warning_shows_the_key(key):
    fault = unsupported("temperature", f" Your key is {CANARY}")
    with ChatServer(say(fault)) as server, warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        failure(OpenAIChat("m", base_url=server.url, temperature=0.1))
    assert "Your key is ***" in str(told[0].message)
    assert CANARY not in str([vars(one) for one in told])


def test_a_password_in_the_url_is_not_repeated():
    answers = iter([(200, "<html>"), (500, error("no")), unsupported("temperature")])
    with ChatServer(lambda prompt: next(answers)) as server:
        url = server.url.replace("//", "//user:hunter22@")
        chat = OpenAIChat("m", base_url=url, temperature=0.1)
        for _ in range(2):
            raised = failure(chat)
            assert "hunter22" not in f"{raised} {raised!r} {describe(raised)}"
        with pytest.warns(UserWarning) as told:
            failure(chat)
    assert server.url in str(told[0].message)


def test_the_errors_of_the_caller_are_left_alone():
    with ChatServer(say((500, error("no")))) as server:
        chat = OpenAIChat("m", base_url=server.url)
        try:
            raise KeyError("of the caller")
        except KeyError as own:
            failure(chat)
            assert own.__traceback__ is not None


# ---------------------------------------------------------------- the client


def test_as_many_requests_as_threads_are_under_way_with_one_client():
    together = threading.Barrier(16)

    def answer(prompt):
        together.wait(10)  # breaks unless sixteen are there
        return "Choice 1"

    with ChatServer(answer) as server, ThreadPoolExecutor(16) as pool:
        replies = list(pool.map(OpenAIChat("m", base_url=server.url), "ab" * 32))
    assert server.peak == 16
    assert [reply.text for reply in replies] == ["Choice 1"] * 64


def test_the_client_is_kept_until_a_parameter_of_it_changes():
    with ChatServer(say("one")) as first, ChatServer(say("two")) as second:
        chat = OpenAIChat("m", base_url=first.url)
        assert chat("hello").text == "one"
        client = chat._client
        chat.set_params(temperature=0.1)("hello")
        assert chat._client is client
        assert chat.set_params(base_url=second.url)("hello").text == "two"
        assert chat._client is not client


def test_a_redirect_does_not_carry_the_key_away(key):
    def answer(prompt):
        return (307, "", {"Location": f"{other.url}/chat/completions"})

    with (
        ChatServer(say((401, error("not here")))) as other,
        ChatServer(answer) as server,
    ):
        raised = failure(OpenAIChat("m", base_url=server.url))
    assert [one.status_code for one in raised.response.history] == [307]
    assert CANARY not in everything(raised)
    assert "authorization" not in other.requests[0]["headers"]
