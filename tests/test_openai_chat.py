"""The client of OpenAI-compatible servers, against one on the loopback interface."""

import copy
import pickle
import sys
import threading
import traceback

import pytest
from chat_server import ChatServer, completion
from sklearn.base import clone

from skllm_cluster.oracles import LLMOracle, OpenAIChat

openai = pytest.importorskip("openai")

CANARY = "sk-canary-0123456789"
TRIPLETS = [(f"anchor {i}", f"left {i}", f"right {i}") for i in range(64)]


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_ORG_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def say(text):
    return lambda prompt: text


def everything(error):
    """All that a user or a log may get to see of an error."""
    shown = [*traceback.format_exception(error), repr(error), str(vars(error))]
    return "\n".join([*shown, str(getattr(error, "body", ""))])


def test_reply_is_the_text_of_the_message():
    with ChatServer(lambda prompt: f"You said: {prompt}") as server:
        assert OpenAIChat("m", base_url=server.url)("hällo") == "You said: hällo"


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


def test_given_parameters_are_sent():
    with ChatServer(say("ok")) as server:
        OpenAIChat(
            "m",
            base_url=server.url,
            temperature=0.5,
            max_tokens=10,
            extra_body={"reasoning_effort": "low"},
        )("hello")
    sent = server.requests[0]
    assert (sent["temperature"], sent["max_tokens"]) == (0.5, 10)
    assert sent["reasoning_effort"] == "low"


def test_key_comes_from_the_variable_that_is_named(monkeypatch):
    monkeypatch.setenv("MY_KEY", f"{CANARY}\n")  # as read from a file
    with ChatServer(say("ok")) as server:
        OpenAIChat("m", base_url=server.url, api_key_env="MY_KEY")("hello")
    assert server.requests[0]["headers"]["authorization"] == f"Bearer {CANARY}"


def test_base_url_of_the_environment_counts_as_given(monkeypatch):
    with ChatServer(say("ok")) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        chat = OpenAIChat("m")
        chat.check()
        assert chat("hello") == "ok"


def test_missing_key_is_refused_with_the_name_of_the_variable():
    oracle = LLMOracle(OpenAIChat("gpt-5", api_key_env="MY_KEY"))
    chat = oracle.complete
    asks = (
        chat.check,
        oracle.check,
        lambda: chat("hello"),
        lambda: oracle.answer_triplets(TRIPLETS),
    )
    for ask in asks:
        with pytest.raises(ValueError, match=r"variable MY_KEY is not set\. Set it"):
            ask()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"model": ""}, "model must be the name of a model, got ''"),
        ({"max_retries": -1}, "max_retries must be an int of at least 0, got -1"),
        ({"timeout": 0}, "timeout must be a positive number of seconds, got 0"),
        ({"timeout": None}, "timeout must be .* got None"),
        ({"api_key_env": None}, "api_key_env must be the name of an environment"),
    ],
)
def test_wrong_parameter_is_refused(parameters, message):
    chat = OpenAIChat("m", base_url="http://127.0.0.1:9/v1").set_params(**parameters)
    with pytest.raises(ValueError, match=message):
        chat.check()


def test_a_key_in_place_of_its_name_is_refused_unseen():
    chat = OpenAIChat("m", api_key_env=CANARY)
    with pytest.raises(
        ValueError, match="must be the name of an environment"
    ) as caught:
        chat.check()
    assert CANARY not in everything(caught.value)


@pytest.mark.parametrize("bad", [f"{CANARY}\nsecond", f"{CANARY} x", f"{CANARY}é"])
def test_a_key_that_no_header_can_hold_is_refused_unseen(monkeypatch, bad):
    monkeypatch.setenv("OPENAI_API_KEY", bad)
    with pytest.raises(ValueError, match="does not hold an API key") as caught:
        OpenAIChat("m")("hello")
    assert CANARY not in everything(caught.value)


def test_hidden_package_is_named_with_the_command_to_run(monkeypatch):
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(ImportError, match=r"pip install 'skllm_cluster\[openai\]'"):
        OpenAIChat("m", base_url="http://127.0.0.1:9/v1").check()


def test_key_is_in_no_repr_parameter_pickle_or_copy(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    with ChatServer(say("Choice 1")) as server:
        oracle = LLMOracle(OpenAIChat("m", base_url=server.url))
        oracle.answer_triplets(TRIPLETS)
        assert CANARY in server.requests[0]["headers"]["authorization"]
        twins = [
            clone(oracle),
            copy.deepcopy(oracle),
            pickle.loads(pickle.dumps(oracle)),
        ]
        for one in (oracle, oracle.complete, *twins):
            assert CANARY not in repr(one)
            assert CANARY not in str(one.get_params())
            assert CANARY.encode() not in pickle.dumps(one)
            assert CANARY not in one._repr_html_()
        for twin in twins:
            assert set(vars(twin.complete)) == set(twin.complete.get_params())
            assert twin.answer_triplets(TRIPLETS[:3]).shape == (3,)


REFUSAL = {"error": {"message": f"Incorrect key: Bearer {CANARY}", "code": "bad"}}


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, f"<html>Bearer {CANARY}</html>"),
        (200, f"Bearer {CANARY}"),
        (200, REFUSAL),
        (400, REFUSAL),
        (401, REFUSAL),
    ],
)
def test_key_that_the_server_repeats_is_taken_out_of_the_error(
    monkeypatch, status, body
):
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    with (
        ChatServer(say((status, body))) as server,
        pytest.raises((openai.APIError, RuntimeError)) as caught,
    ):
        LLMOracle(OpenAIChat("m", base_url=server.url)).answer_triplets(TRIPLETS)
    assert CANARY not in everything(caught.value)
    assert "***" in str(caught.value)


def test_connection_error_does_not_show_the_key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    with ChatServer(say("ok")) as server:
        pass  # closed again: nobody listens
    with pytest.raises(openai.APIConnectionError) as caught:
        OpenAIChat("m", base_url=server.url, max_retries=0)("hello")
    assert CANARY not in everything(caught.value)


def test_refused_key_fails_at_once():
    body = {"error": {"message": "Incorrect API key", "code": "invalid_api_key"}}
    with ChatServer(say((401, body))) as server:
        oracle = LLMOracle(OpenAIChat("m", base_url=server.url), n_jobs=4)
        with pytest.raises(openai.AuthenticationError, match="Incorrect API key"):
            oracle.answer_triplets(TRIPLETS)
        # No attempt is repeated, and no question begun once the first has failed.
        assert 1 <= len(server.requests) <= 4
        assert oracle.report()["n_asked"] == 0


@pytest.mark.parametrize("status", [429, 500, 503])
def test_passing_failure_is_tried_again(status):
    answers = iter([(status, {"error": {"message": "busy"}}), "Choice 1"])
    with ChatServer(lambda prompt: next(answers)) as server:
        assert OpenAIChat("m", base_url=server.url)("hello") == "Choice 1"
        assert len(server.requests) == 2


def test_lasting_failure_is_raised_after_the_retries():
    with ChatServer(say((500, {"error": {"message": "broken"}}))) as server:
        chat = OpenAIChat("m", base_url=server.url, max_retries=3)
        with pytest.raises(openai.InternalServerError, match="broken"):
            chat("hello")
        assert len(server.requests) == 4


def test_slow_server_times_out():
    with ChatServer(say("ok"), delay=0.2) as server:
        chat = OpenAIChat("m", base_url=server.url, timeout=0.05, max_retries=0)
        with pytest.raises(openai.APITimeoutError):
            chat("hello")


@pytest.mark.parametrize(
    "body",
    [
        "<html>Welcome</html>",
        "{not json",
        "",
        "[]",
        "null",
        {"object": "chat.completion", "choices": []},
        {"object": "chat.completion"},
        {"choices": None},
    ],
)
def test_answer_that_is_no_chat_says_to_check_the_base_url(body):
    with ChatServer(say((200, body))) as server:
        chat = OpenAIChat("m", base_url=server.url)
        with pytest.raises(
            RuntimeError, match=r"did not answer like.*Check base_url\."
        ):
            chat("hello")
        with pytest.raises(RuntimeError, match=server.url):
            chat("hello")


def test_error_that_comes_with_status_200_is_shown():
    body = {"error": {"message": "model is not loaded"}}
    with (
        ChatServer(say((200, body))) as server,
        pytest.raises(RuntimeError, match="model is not loaded"),
    ):
        OpenAIChat("m", base_url=server.url)("hello")


def test_password_in_the_url_is_not_repeated():
    with ChatServer(say((200, "<html>"))) as server:
        url = server.url.replace("//", "//user:hunter22@")
        with pytest.raises(RuntimeError) as caught:
            OpenAIChat("m", base_url=url)("hello")
    assert "hunter22" not in everything(caught.value)


@pytest.mark.parametrize(
    "choice",
    [
        {"message": {"role": "assistant", "content": None, "refusal": "No."}},
        {"message": {"role": "assistant"}},
        {"message": None},
        {"message": {"role": "assistant", "content": [{"text": "Choice 1"}]}},
        {},
    ],
)
def test_reply_without_text_is_an_unusable_answer(choice):
    with ChatServer(say((200, {"choices": [choice]}))) as server:
        oracle = LLMOracle(OpenAIChat("m", base_url=server.url))
        assert oracle.answer_triplets(TRIPLETS[:1]).tolist() == [-1]
    report = oracle.report()
    assert (report["n_unusable"], report["first_unusable_reply"]) == (1, "")


def test_tokens_are_summed_and_missing_counts_are_nothing():
    bodies = [
        completion("a", usage=(10, 2)),
        completion("b", usage=None),
        {**completion("c"), "usage": {"prompt_tokens": None, "completion_tokens": 5}},
    ]
    answers = iter([(200, body) for body in bodies])
    with ChatServer(lambda prompt: next(answers)) as server:
        chat = OpenAIChat("m", base_url=server.url)
        assert not hasattr(chat, "usage_")
        for _ in bodies:
            chat("hello")
    assert chat.usage_ == {"prompt_tokens": 10, "completion_tokens": 7}
    assert not hasattr(clone(chat), "usage_")


def test_as_many_requests_as_jobs_are_under_way_with_one_client():
    together = threading.Barrier(16)

    def answer(prompt):
        together.wait(10)  # breaks unless sixteen are there
        return "Choice 1"

    with ChatServer(answer) as server:
        oracle = LLMOracle(OpenAIChat("m", base_url=server.url), n_jobs=16)
        oracle.answer_triplets(TRIPLETS)
        assert server.peak == 16
        report = oracle.report()
    assert report["n_asked"] == report["n_first_choice"] == 64
    assert report["prompt_tokens"] == 64 * 7


def test_client_is_kept_until_a_parameter_of_it_changes():
    with ChatServer(say("one")) as first, ChatServer(say("two")) as second:
        chat = OpenAIChat("m", base_url=first.url)
        assert chat("hello") == "one"
        client = chat._client
        chat.set_params(temperature=0.1)("hello")
        assert chat._client is client
        assert chat.set_params(base_url=second.url)("hello") == "two"
        assert chat._client is not client
