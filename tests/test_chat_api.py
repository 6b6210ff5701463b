"""What crosses the wire of the OpenAI chat API."""

import json
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest
from chat_server import ChatServer
from faults import completion, error, token, unsupported
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone

from skllm_cluster._remote._client import decode
from skllm_cluster._remote._errors import Advice, advise, describe
from skllm_cluster._remote._secrets import without
from skllm_cluster.oracles import OpenAIChat, _chat_api
from skllm_cluster.oracles._chat_api import as_reply, read_reply
from skllm_cluster.protocols import Reply

openai = pytest.importorskip("openai")

SERVER = "http://127.0.0.1:1/v1"
FREE = Advice("again", free=True)


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    monkeypatch.setattr(_chat_api, "_refused", {})
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


# ---------------------------------------------------------------- replies


def test_a_reply_holds_what_the_server_told():
    assert as_reply(completion("Choice 1", (70, 3), finish_reason="length")) == Reply(
        "Choice 1",
        finish_reason="length",
        model="served",
        prompt_tokens=70,
        completion_tokens=3,
    )


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"content": "Choice 1", "refusal": "No."}, "Choice 1"),
        ({"content": None, "refusal": "No."}, "No."),
        ({"content": "", "refusal": "No."}, "No."),
        ({"content": [{"type": "text", "text": "Choice"}, {"text": " 1"}]}, "Choice 1"),
        ({"content": [{"type": "thinking", "thinking": []}, {"text": "2"}]}, "2"),
        ({"content": ["Choice 1", {"text": None}, None]}, ""),
        ({"content": {"text": "Choice 1"}}, ""),
        ({"content": 1}, ""),
        ({"content": "half \ud83d"}, "half ?"),
        ({}, ""),
        (None, ""),
        ("Choice 1", ""),
    ],
)
def test_the_text_is_the_content_or_the_refusal(message, text):
    assert as_reply({"choices": [{"message": message}]}) == Reply(text)


@pytest.mark.parametrize("answer", [None, [], "x", 3, {}, {"choices": None}])
@pytest.mark.parametrize("choices", [[], {}, "x", [None], ["x"]])
def test_what_has_no_choice_is_no_reply(answer, choices):
    assert as_reply(answer) is None
    assert as_reply({"choices": choices}) is None


@pytest.mark.parametrize("count", [None, "7", -1, 7.5, True, []])
def test_tokens_that_are_not_counted_are_unknown(count):
    body = completion("a") | {"usage": {"prompt_tokens": count, "completion_tokens": 5}}
    reply = as_reply(body)
    assert (reply.prompt_tokens, reply.completion_tokens) == (None, 5)
    assert as_reply(completion("a") | {"usage": count}).completion_tokens is None


# Any JSON with the keys of a completion, in any wrong form.
KEYS = ["choices", "message", "content", "text", "logprobs", "top_logprobs", "token"]
KEYS += ["logprob", "usage", "prompt_tokens", "finish_reason", "model", "error", "code"]
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(anything)
def test_no_answer_is_too_strange_to_be_read_or_refused(body):
    for answer in (body, {"choices": body}, {"choices": [{"message": body}]}):
        try:
            reply = read_reply(json.dumps(answer), SERVER)
        except RuntimeError as failure:
            assert "did not answer like the OpenAI chat API" in str(failure)
            assert advise(failure).kind in ("again", "stop", "skip")
        else:
            assert isinstance(reply.text, str)


@given(anything)
def test_log_probabilities_are_read_as_far_as_they_make_sense(entries):
    for content in (entries, [entries], [{"top_logprobs": entries}]):
        body = {"choices": [{"logprobs": {"content": content}}]}
        found = as_reply(body).top_logprobs
        assert isinstance(found, tuple)
        json.dumps(found, allow_nan=False)
        for likeliest in found:
            assert all(type(p) is float for p in likeliest.values())


def test_log_probabilities_are_those_of_each_token():
    content = [token("A", -0.1, A=-0.1, B=-2.5), token(" 1", -0.2)]
    body = completion("A 1", logprobs={"content": content})
    assert as_reply(body).top_logprobs == ({"A": -0.1, "B": -2.5}, {" 1": -0.2})


def test_the_list_of_likeliest_tokens_goes_before_the_token_itself():
    body = completion("A", logprobs={"content": [token("A", -9.0, A=-0.1)]})
    assert as_reply(body).top_logprobs == ({"A": -0.1},)


def test_a_token_that_is_not_readable_keeps_its_place():
    content = [{"token": None}, token("1", None, a=float("nan"), b="x"), token("2", -1)]
    body = completion("1 2", logprobs={"content": content})
    assert as_reply(body).top_logprobs == ({}, {}, {"2": -1.0})


@pytest.mark.parametrize(
    "logprobs", [None, {}, [], {"content": None}, {"content": []}, {"content": [{}]}]
)
def test_a_server_without_log_probabilities_gives_none(logprobs):
    assert as_reply(completion("1", logprobs=logprobs)).top_logprobs == ()


# ---------------------------------------------------------------- encodings


@given(st.text(), st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"]))
def test_json_may_come_in_each_of_its_encodings(text, encoding):
    content = json.dumps([text]).encode(encoding)
    assert json.loads(decode(content, "latin-1")) == [text]


def test_another_encoding_is_read_if_it_is_declared():
    content = '{"a": "Chöice 1"}'.encode("latin-1")
    assert json.loads(decode(content, "iso-8859-1")) == {"a": "Chöice 1"}
    for charset in (None, "utf-8", "no such thing"):
        assert json.loads(decode(content, charset)) == {"a": "Ch\ufffdice 1"}


@given(st.binary(), st.none() | st.sampled_from(["utf-7", "idna", "hex"]))
def test_no_bytes_are_too_strange_to_be_decoded(content, charset):
    assert isinstance(decode(content, charset), str)


# ---------------------------------------------------------- no chat, in what sense


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (" <html>Welcome</html>", "stop"),
        ("{not json", "again"),
        ("", "again"),
        ("null", "again"),
        ("[" * 100_000, "again"),
        ('{"error": "loading"}', "again"),
        (json.dumps(error("busy", 502)), "again"),
        (json.dumps(error("wrong key", 401)), "stop"),
        (json.dumps(error("no money", 429, type="insufficient_quota")), "stop"),
        (json.dumps({"choices": [{"error": {"code": 429}}]}), "again"),
    ],
)
def test_what_is_no_chat_says_what_came_and_whether_to_try_again(text, kind):
    with pytest.raises(RuntimeError, match=rf"at {SERVER} did not .* Check") as caught:
        read_reply(text, SERVER)
    assert advise(caught.value).kind == kind
    assert caught.value.__context__ is None  # no JSONDecodeError, which keeps the text


def test_an_error_under_status_200_counts_with_the_status_that_it_names():
    with pytest.raises(RuntimeError) as caught:
        read_reply(json.dumps(error("slow down, retry in 2s", 429)), SERVER)
    assert advise(caught.value) == Advice("again", 2.0, congested=True)
    assert describe(caught.value) == "RuntimeError (429): slow down, retry in 2s"


# ------------------------------------------------- parameters that are refused


def picky(*names):
    """A server that refuses the first of some parameters that it is sent."""

    def answer(prompt):
        refused = [name for name in names if name in server.current]
        return unsupported(refused[0]) if refused else "Choice 1"

    server = ChatServer(answer)
    return server


def sent(server):
    bodies = [dict(request) for request in server.requests]
    return [
        {k for k in body if k not in ("model", "messages", "headers")}
        for body in bodies
    ]


def attempt(chat):
    """The advice on the error of an attempt, or the reply."""
    try:
        return chat("hello")
    except (openai.OpenAIError, RuntimeError) as failure:
        return advise(failure)


def test_max_tokens_becomes_max_completion_tokens_once_it_is_refused():
    with picky("max_tokens") as server:
        chat = OpenAIChat("m", base_url=server.url, max_tokens=10)
        with pytest.warns(
            UserWarning, match="max_tokens: sent as max_completion"
        ) as told:
            assert attempt(chat) == FREE
        assert attempt(chat).text == "Choice 1"
    assert sent(server) == [{"max_tokens"}, {"max_completion_tokens"}]
    assert server.requests[1]["max_completion_tokens"] == 10
    assert f"The model 'm' at {server.url} does not take max_tokens" in str(
        told[0].message
    )
    assert "Unsupported parameter: 'max_tokens' is not" in str(told[0].message)
    assert told[0].filename == __file__


def test_temperature_and_log_probabilities_are_left_out_once_they_are_refused():
    with picky("temperature", "logprobs") as server:
        chat = OpenAIChat(
            "m", base_url=server.url, temperature=0, logprobs=True, max_tokens=5
        )
        for _ in range(2):
            with pytest.warns(UserWarning, match="left out from now on"):
                assert attempt(chat) == FREE
        assert attempt(chat).text == "Choice 1"
    every = {"temperature", "logprobs", "top_logprobs", "max_tokens"}
    assert sent(server) == [every, every - {"temperature"}, {"max_tokens"}]


def test_what_was_refused_is_remembered_for_the_model_and_server_by_copies_too():
    with picky("temperature") as server, picky("temperature") as other:
        chat = OpenAIChat("m", base_url=server.url, temperature=0)
        with pytest.warns(UserWarning, match="temperature"):
            attempt(chat)
        assert attempt(clone(chat)).text == "Choice 1"
        assert attempt(OpenAIChat("m", base_url=f"{server.url}/", temperature=1))
        for unlike in ({"model": "n"}, {"base_url": other.url}):
            with pytest.warns(UserWarning, match="temperature"):
                assert attempt(clone(chat).set_params(**unlike)) == FREE


def test_what_is_asked_for_does_not_change_when_the_server_refuses_it():
    with picky("max_tokens") as server:
        chat = OpenAIChat("m", base_url=server.url, max_tokens=10)
        before = chat.request("hello")
        with pytest.warns(UserWarning):
            attempt(chat)
        assert chat.request("hello") == before
    assert before["body"]["max_tokens"] == 10


def test_sixteen_threads_that_are_refused_at_once_tell_it_once():
    together = threading.Barrier(16)

    def answer(prompt):
        if "temperature" in server.current:
            together.wait(10)  # all sixteen are under way before one is refused
            return unsupported("temperature")
        return "Choice 1"

    def until_answered(chat):
        advices = []
        while True:
            found = attempt(chat)
            if not isinstance(found, Advice):
                return advices
            advices.append(found)

    with ChatServer(answer) as server, ThreadPoolExecutor(16) as pool:
        chat = OpenAIChat("m", base_url=server.url, temperature=0.5)
        chats = [chat if i % 2 else clone(chat) for i in range(16)]
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            advices = list(pool.map(until_answered, chats))
    assert [str(w.message).count("temperature") > 0 for w in told] == [True]
    assert advices == [[FREE]] * 16
    assert server.outcomes == {400: 16, 200: 16}


def test_the_user_s_own_fields_are_never_left_out():
    own = {"temperature": 0.3, "max_completion_tokens": 50}
    with picky("temperature", "max_tokens") as server:
        chat = OpenAIChat(
            "m", base_url=server.url, temperature=0.5, max_tokens=5, extra_body=own
        )
        assert attempt(chat) == Advice("stop")
        chat.set_params(extra_body={"max_completion_tokens": 50}, temperature=None)
        with pytest.warns(UserWarning, match="max_tokens"):
            assert attempt(chat) == FREE
        assert attempt(chat).text == "Choice 1"
    assert server.requests[0]["temperature"] == 0.3
    assert server.requests[-1]["max_completion_tokens"] == 50
    assert "max_tokens" not in server.requests[-1]


def test_a_parameter_is_left_out_at_most_once():
    with ChatServer(lambda prompt: unsupported("max_tokens")) as server:
        chat = OpenAIChat("m", base_url=server.url, max_tokens=10)
        with pytest.warns(UserWarning, match="max_tokens"):
            assert attempt(chat) == FREE
        assert attempt(chat) == Advice("stop")
    with picky("max_tokens", "max_completion_tokens") as server:
        chat = OpenAIChat("m", base_url=server.url, max_tokens=10)
        with pytest.warns(UserWarning, match="max_tokens"):
            assert attempt(chat) == FREE
        # Without any limit a reply could cost anything.
        assert attempt(chat) == Advice("stop")


def bare(message, status=400, **more):
    return status, error(message, **more)


@pytest.mark.parametrize(
    ("answer", "gone"),
    [
        (unsupported("max_tokens", " Use 'max_completion_tokens'."), {"max_tokens"}),
        (
            bare(
                "Unsupported value: 'temperature' does not support 0.5 with m.",
                code="unsupported_value",
                param="temperature",
            ),
            {"temperature"},
        ),
        (bare("No.", code="unsupported_value", param="temperature"), {"temperature"}),
        (bare("property 'temperature' is unsupported"), {"temperature"}),
        (bare("`temperature` is deprecated for this model."), {"temperature"}),
        (bare("Unrecognized request argument: max_tokens"), {"max_tokens"}),
        (bare("temperature, max_tokens: not allowed"), {"temperature", "max_tokens"}),
        (
            (
                422,
                {"detail": [{"type": "extra_forbidden", "loc": ["body", "logprobs"]}]},
            ),
            {"logprobs", "top_logprobs"},
        ),
        (
            (400, [error('Unknown name "temperature": Cannot find field.')]),
            {"temperature"},
        ),
        (bare("Logprobs is not enabled for m"), {"logprobs", "top_logprobs"}),
        (
            bare("You are not allowed to request logprobs from this model.", 403),
            {"logprobs", "top_logprobs"},
        ),
        (bare("5 is greater than the maximum of 1 - 'top_logprobs'"), {"top_logprobs"}),
        (
            bare("logprobs is not supported with logits_all=False", 500),
            {"logprobs", "top_logprobs"},
        ),
        (bare("max_tokens is too large: 10. This model supports at most 5."), set()),
        (bare("failed to compute logprobs", 500), set()),
        (bare("temperature must be at most 1"), set()),
        (bare("temperature is not supported", 401), set()),
        (bare("tool_choice is not supported"), set()),
        (bare("seed is not supported", param="seed"), set()),
    ],
)
def test_a_refusal_is_understood_in_the_words_of_many_servers(answer, gone):
    with ChatServer(lambda prompt: answer) as server, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        chat = OpenAIChat(
            "m", base_url=server.url, temperature=0.5, max_tokens=10, logprobs=True
        )
        advice = attempt(chat)
        assert (advice == FREE) is bool(gone)
        attempt(chat)
    first, second = sent(server)
    assert first - second == gone
    assert second - first == ({"max_completion_tokens"} & second)


# ---------------------------------------------------------------- the key


@given(st.text(), st.text(min_size=8))
def test_a_key_is_in_no_text_that_it_was_taken_out_of(text, key):
    # Taking it out must not put it together again, but for keys made of asterisks.
    if "*" not in key:
        assert key not in without(f"{text}{key}{text}", key)


def test_a_made_up_key_of_a_few_letters_is_no_secret():
    assert without("x is the key", "x") == "x is the key"
    assert without("nothing", "") == "nothing"
