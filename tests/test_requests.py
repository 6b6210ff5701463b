"""A call is known by what it sends."""

import functools

import pytest
from sklearn.base import BaseEstimator

from skllm_cluster.oracles import OpenAIChat
from skllm_cluster.oracles import _requests as requests
from skllm_cluster.oracles._requests import as_question, identity


def make(reply, count=0):
    def complete(prompt):
        nonlocal count
        count += 1
        return reply

    return complete


class Model(BaseEstimator):
    def __init__(self, temperature=0.0):
        self.temperature = temperature
        self.n_calls_ = 0

    def __call__(self, prompt):
        self.n_calls_ += 1
        return "Choice 1"

    def ask(self, prompt):
        return "Choice 2"


class Plain:
    def __call__(self, prompt):
        return "Choice 1"


def test_a_function_that_counts_its_calls_stays_the_same_function():
    complete = make("Choice 1")
    before = as_question(complete, "p").key
    complete("p")
    assert as_question(complete, "p").key == before
    assert as_question(make("Choice 1", count=7), "p").key == before


def test_functions_that_reply_otherwise_are_others():
    assert identity(make("Choice 1")) != identity(make("Choice 2"))
    one, two = (lambda p: "Choice 1"), (lambda p: "Choice 2")  # share a line of source
    assert identity(one) != identity(two)
    assert identity(Model()) != identity(Model().ask)
    assert identity(Model()) != identity(Plain())


def test_parameters_of_an_estimator_count_and_its_state_does_not():
    model = Model()
    before = identity(model)
    model("p")
    assert identity(model) == before
    assert identity(model.set_params(temperature=1.0)) != before
    assert identity(Model(1.0).ask) != identity(Model(2.0).ask)


def test_a_partial_is_known_by_its_function_and_arguments():
    def complete(prompt, tone):
        return "Choice 1"

    kind, stern = (functools.partial(complete, tone=t) for t in ("kind", "stern"))
    assert identity(kind) != identity(stern)
    assert identity(kind) == identity(functools.partial(complete, tone="kind"))


@pytest.mark.parametrize("function", [str, len, "abc".upper, functools.partial(str, 1)])
def test_whatever_can_be_called_has_an_identity(function):
    assert identity(function) == identity(function)


def test_code_without_source_is_known_by_its_bytecode():
    def typed(text):
        space = {"__name__": "typed"}
        exec(text, space)
        return space["f"]

    nested = "def f(p):\n def g(): return {!r}\n return g()"
    one, again, two = (typed(nested.format(w)) for w in ("Choice 1", "Choice 1", "x"))
    assert identity(one) == identity(again) != identity(two)


def test_an_empty_closure_is_no_obstacle():
    def outer():
        def complete(prompt):
            return later

        known = identity(complete)
        later = "Choice 1"
        return known, identity(complete)

    before, after = outer()
    assert before["strings"] == []
    assert after["strings"] == ["Choice 1"]


def test_a_model_that_says_what_it_sends_is_known_by_that_alone():
    class Says(Plain):
        def __init__(self, sent):
            self.sent = sent

        def request(self, prompt):
            return {**self.sent, "prompt": prompt}

    class SaysTheSame(Says):
        pass

    question = as_question(Says({"model": "m"}), "p", sample=2)
    assert question.request["sent"] == {"model": "m", "prompt": "p"}
    assert question.request["sample"] == 2
    assert question.prompt == "p"
    assert as_question(SaysTheSame({"model": "m"}), "p", sample=2) == question
    assert as_question(Says({"model": "n"}), "p", sample=2).key != question.key
    with pytest.raises(TypeError, match="must be a JSON value, got object"):
        as_question(Says({"client": object()}), "p")


@pytest.mark.parametrize(
    "other",
    [
        {"model": "m2"},
        {"temperature": 0.5},
        {"max_tokens": 3},
        {"base_url": "http://127.0.0.1:2/v1"},
        {"extra_body": {"seed": 1}},
        {"logprobs": True},
    ],
)
def test_every_parameter_that_is_sent_makes_another_question(other, monkeypatch):
    given = {"model": "m", "base_url": "http://127.0.0.1:1/v1"}
    chat = OpenAIChat(**given)
    assert as_question(chat, "p").key == as_question(OpenAIChat(**given), "p").key
    changed = OpenAIChat(**{**given, **other})
    assert as_question(changed, "p").key != as_question(chat, "p").key


def test_prompt_sample_and_version_make_another_question(monkeypatch):
    complete = make("Choice 1")
    key = as_question(complete, "p").key
    assert as_question(complete, "q").key != key
    assert as_question(complete, "p", sample=1).key != key
    monkeypatch.setattr(requests, "PROMPT_VERSION", "other")
    assert as_question(complete, "p").key != key


def test_what_does_not_change_the_reply_makes_no_other_question(monkeypatch):
    given = {"model": "m", "base_url": "http://127.0.0.1:1/v1"}
    key = as_question(OpenAIChat(**given), "p").key
    monkeypatch.setenv("OTHER", "sk-canary-canary")
    twin = OpenAIChat(**given, api_key_env="OTHER", timeout=1.0)
    assert as_question(twin, "p").key == key
    assert "canary" not in repr(as_question(twin, "p"))
