"""Budgets, prices and a look ahead; and what parameters may be."""

import itertools
import math
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skllm_cluster.oracles import LLMOracle, OpenAIChat
from skllm_cluster.oracles import _terms as terms
from skllm_cluster.oracles._prompts import CHAT_TOKENS, token_range
from skllm_cluster.oracles._terms import check_prices, limits_of, terms_of
from skllm_cluster.protocols import Reply

TRIPLETS = [(f"anchor {i}", f"left {i}", f"right {i}") for i in range(20)]


class Model:
    """A model that counts honest tokens and replies with at most five."""

    max_tokens = 5

    def __init__(self, fraction=1.0):
        self.fraction, self.n_calls = fraction, 0

    def request(self, prompt):
        return {"prompt": prompt}

    def __call__(self, prompt):
        self.n_calls += 1
        low, high = token_range(prompt)
        high += terms.TEMPLATE  # what a server puts around a prompt
        asked = low + round(self.fraction * (high - low))
        return Reply(
            "Choice 1",
            prompt_tokens=asked,
            completion_tokens=1 + round(self.fraction * 4),
        )

    def log_likelihoods(self, contexts, continuations):
        return [0.0] * len(contexts)


def speaks_at_length(prompt):
    return "Choice 1"


speaks_at_length.max_tokens = None


# Budgets and prices


@pytest.mark.parametrize(
    ("budget", "limits"),
    [
        (None, {}),
        (0, {"questions": 0.0}),
        (100, {"questions": 100.0}),
        (np.int64(7), {"questions": 7.0}),
        (math.inf, {"questions": math.inf}),
        ({"tokens": 5}, {"tokens": 5.0}),
        (
            {"cost": 0.5, "questions": 3, "tokens": 1e6},
            {"cost": 0.5, "questions": 3.0, "tokens": 1e6},
        ),
    ],
)
def test_a_budget_is_a_number_of_questions_or_several_limits(budget, limits):
    found = limits_of(budget, (1, 1), Model())
    assert found == limits
    assert all(type(limit) is float for limit in found.values())


@pytest.mark.parametrize(
    ("budget", "error", "message"),
    [
        ("100", TypeError, "budget must be a number of questions or a dict .* '100'"),
        (True, TypeError, "got True"),
        ({}, TypeError, "got {}"),
        ([5], TypeError, r"got \[5\]"),
        ({"money": 5}, TypeError, "got {'money': 5}"),
        ({"tokens": 5, 3: 5}, TypeError, "budget must be"),
        (
            -1,
            ValueError,
            r"budget\['questions'\] must be a number of at least 0, got -",
        ),
        (math.nan, ValueError, "got nan"),
        ({"tokens": "5"}, ValueError, r"budget\['tokens'\] must be .* got '5'"),
        ({"tokens": None}, ValueError, "got None"),
        ({"cost": True}, ValueError, r"budget\['cost'\] must be .* got True"),
    ],
)
def test_what_is_no_budget_is_refused(budget, error, message):
    with pytest.raises(error, match=message):
        limits_of(budget, (1, 1), Model())


def test_a_cost_needs_prices():
    with pytest.raises(ValueError, match="budget has a 'cost', which needs prices="):
        limits_of({"cost": 1}, None, Model())


@pytest.mark.parametrize("unit", ["tokens", "cost"])
def test_a_limit_that_could_not_be_held_is_refused(unit):
    with pytest.raises(ValueError, match=r"may reply at any length\. Give it max_tok"):
        limits_of({unit: 1}, (1, 1), speaks_at_length)
    with pytest.raises(ValueError, match="while OpenAIChat may reply at any length"):
        limits_of({unit: 1}, (1, 1), OpenAIChat("m"))
    assert limits_of({"questions": 1}, (1, 1), speaks_at_length)


@pytest.mark.parametrize(
    ("complete", "most"),
    [
        (lambda prompt: "", terms.UNLIMITED),
        (Model(), 5),
        (OpenAIChat("m", max_tokens=10), 10),
        (OpenAIChat("m", extra_body={"max_completion_tokens": 70}), 70),
        (OpenAIChat("m", extra_body={"max_tokens": 60}), 60),
        (OpenAIChat("m"), terms.UNLIMITED),
        (speaks_at_length, terms.UNLIMITED),
    ],
)
def test_a_reply_is_as_long_as_the_model_may_make_it(complete, most):
    assert terms.bound_of(complete)("hi") == (2 + CHAT_TOKENS, most)


@pytest.mark.parametrize(
    ("prices", "checked"),
    [(None, (0.0, 0.0)), ((1, 2), (1.0, 2.0)), ([0, 0.5], (0.0, 0.5))],
)
def test_prices_are_two_numbers(prices, checked):
    assert check_prices(prices) == checked


@pytest.mark.parametrize(
    "prices",
    [1, "12", (1,), (1, 2, 3), (1, -1), (math.nan, 1), (math.inf, 1), ("1", 2),
     (None, 1), (True, 1), {"prompt": 1, "completion": 2}],
)  # fmt: skip
def test_what_is_no_price_is_refused(prices):
    with pytest.raises(ValueError, match="prices must be two numbers of at least 0"):
        check_prices(prices)


def test_the_terms_are_those_of_the_oracle():
    oracle = LLMOracle(
        Model(), n_jobs=3, max_retries=4, max_retry_seconds=5.0, budget=6,
        prices=(7, 8), requests_per_minute=9, tokens_per_minute=10,
    )  # fmt: skip
    found = terms_of(oracle, "ledger")
    assert (found.n_jobs, found.max_retries, found.max_retry_seconds) == (3, 4, 5.0)
    assert (found.requests_per_minute, found.tokens_per_minute) == (9, 10)
    assert (found.ledger, found.limits) == ("ledger", {"questions": 6.0})
    assert found.prices == (7.0, 8.0)
    for text in ("", "hello there", "\u2603" * 50):
        assert found.estimate(text) == token_range(text)[1] <= found.bound(text)[0]


# A look ahead


def test_a_plan_counts_and_asks_nothing():
    model = Model()
    oracle = LLMOracle(model, prices=(1, 10), n_jobs=4)
    plan = oracle.plan(TRIPLETS * 2, seconds_per_answer=60)
    assert (plan["questions"], plan["cached"], plan["calls"]) == (20, 0, 20)
    assert plan["minutes"] == pytest.approx(5)
    assert plan["within_budget"] is True
    oracle.answer_triplets(TRIPLETS[:8])
    plan = oracle.plan(TRIPLETS)
    assert (plan["questions"], plan["cached"], plan["calls"]) == (20, 8, 12)
    assert plan["minutes"] is not None  # the journal knows how long a call takes
    assert oracle.plan(TRIPLETS[:8])["tokens"] == (0, 0)
    assert model.n_calls == 8


@pytest.mark.parametrize("order", ["random", "given", "both"])
@pytest.mark.parametrize("n_votes", [1, 3])
@pytest.mark.parametrize("fraction", [0.0, 0.4, 1.0])
def test_what_was_planned_is_what_is_spent(order, n_votes, fraction):
    oracle = LLMOracle(
        Model(fraction), prices=(2, 30), order=order, n_votes=n_votes, n_jobs=2
    )
    plan = oracle.plan(TRIPLETS[:6])
    oracle.answer_triplets(TRIPLETS[:6])
    report = oracle.report()
    assert plan["calls"] == report["n_calls"]
    tokens = report["prompt_tokens"] + report["completion_tokens"]
    assert plan["tokens"][0] <= tokens <= plan["tokens"][1]
    low, high = plan["cost"]
    assert low - 1e-12 <= report["cost"] <= high + 1e-12
    assert low > 0


def test_what_is_not_known_is_none():
    plan = LLMOracle(Model()).plan(TRIPLETS)
    assert plan["cost"] is None
    assert plan["minutes"] is None


@pytest.mark.parametrize(
    ("how", "minutes"),
    [
        ({"requests_per_minute": 2}, 10.0),
        ({"requests_per_minute": 2, "n_jobs": 1}, 20.0),
        ({"requests_per_minute": 1, "n_jobs": 1}, 20.0),
        ({"n_jobs": 10}, 2.0),
    ],
)
def test_the_slowest_limit_says_how_long_it_takes(how, minutes):
    oracle = LLMOracle(Model(), **how)
    assert oracle.plan(TRIPLETS, seconds_per_answer=60)["minutes"] == minutes


def test_a_rate_of_tokens_takes_its_time():
    oracle = LLMOracle(Model(), tokens_per_minute=100)
    plan = oracle.plan(TRIPLETS)
    assert plan["minutes"] == pytest.approx(plan["tokens"][1] / 100)


@settings(max_examples=40, deadline=None)
@given(
    unit=st.sampled_from(["questions", "tokens", "cost"]),
    share=st.floats(0.5, 1.6),
    fraction=st.floats(0, 1),
    n_before=st.integers(0, 3),
)
def test_within_budget_is_a_promise(unit, share, fraction, n_before):
    oracle = LLMOracle(Model(fraction), prices=(1, 10), n_jobs=2)
    plan = oracle.plan(TRIPLETS[:8])
    most = {"questions": 8, "tokens": plan["tokens"][1], "cost": plan["cost"][1]}
    room = {"questions": 0, "tokens": 400, "cost": 400 / 1e6}
    oracle.set_params(budget={unit: share * most[unit] + room[unit]})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        oracle.answer_triplets(TRIPLETS[:n_before])
    if oracle.plan(TRIPLETS[:8])["within_budget"]:
        oracle.answer_triplets(TRIPLETS[:8])
        assert oracle.report()["stopped"] is None
        assert oracle.report()["n_calls"] == 8


def test_a_budget_that_is_spent_is_large_enough_for_what_is_known():
    oracle = LLMOracle(Model(), budget=3)
    oracle.answer_triplets(TRIPLETS[:3])
    oracle.set_params(budget=2)
    assert oracle.plan(TRIPLETS[:3])["within_budget"] is True
    assert oracle.plan(TRIPLETS[:4])["within_budget"] is False


# Parameters

WRONG = [
    ({"complete": "gpt-4"}, TypeError, r"complete must be a callable.* got str"),
    ({"complete": None}, TypeError, r"OpenAIChat\(name\)"),
    ({"perspective": " "}, ValueError, "perspective must be a str .* got ' '"),
    ({"perspective": 3}, ValueError, "perspective must be a str .* got 3"),
    ({"texts": None}, ValueError, "texts must be .* got None"),
    ({"texts": ""}, ValueError, "texts must be .* got ''"),
    ({"template": "{anchor} {first}"}, ValueError, "must have the field {second}"),
    ({"template": "{anchor} {first} {second} {0}"}, ValueError, "unknown field"),
    ({"template": "{anchor"}, ValueError, "template is malformed"),
    ({"template": 5}, TypeError, "template must be a str or None, got 5"),
    ({"demonstrations": "no"}, TypeError, "demonstrations must be .* got 'no'"),
    ({"demonstrations": None}, TypeError, "demonstrations must be .* got None"),
    (
        {"demonstrations": [("a", "b", True), ("a", "b")]},
        TypeError,
        r"demonstrations\[1\] must be \(first, second, same\)",
    ),
    ({"pair_template": "{first}"}, ValueError, "pair_template must have the field {s"),
    ({"pair_template": "{first} {second} {anchor}"}, ValueError, "unknown field {anc"),
    ({"pair_template": 5}, TypeError, "pair_template must be a str or None, got 5"),
    (
        {"demonstrations": [("a", "b", 1)], "pair_template": "{first} {second}"},
        ValueError,
        "no field {demonstrations}, so the 1 demonstrations would not be shown",
    ),
    ({"order": "sorted"}, ValueError, "order must be one of .* got 'sorted'"),
    ({"order": ["given"]}, ValueError, "order must be one of"),
    ({"fence": True}, ValueError, "fence must be one of .* got True"),
    ({"scoring": "logits"}, ValueError, "scoring must be one of .* got 'logits'"),
    ({"scoring": "pmi"}, TypeError, "scoring='pmi' needs a model that gives likelih"),
    ({"scoring": "options"}, TypeError, "such as TransformersChat; function does not"),
    ({"long_texts": "drop"}, ValueError, "long_texts must be one of .* got 'drop'"),
    ({"on_chance": "guess"}, ValueError, "on_chance must be one of .* got 'guess'"),
    ({"min_confidence": 0.4}, ValueError, "min_confidence.* Got 0.4"),
    ({"min_confidence": 1.1}, ValueError, "min_confidence.* Got 1.1"),
    ({"min_confidence": math.nan}, ValueError, "min_confidence.* Got nan"),
    ({"min_confidence": "high"}, TypeError, "min_confidence.* Got 'high'"),
    ({"max_characters": 0}, ValueError, "max_characters.* Got 0"),
    ({"n_votes": 0}, ValueError, "n_votes.* Got 0"),
    ({"n_votes": 1.5}, TypeError, "n_votes.* Got 1.5"),
    ({"n_jobs": 0}, ValueError, "n_jobs.* Got 0"),
    ({"n_jobs": -1}, ValueError, "n_jobs.* Got -1"),
    ({"n_jobs": None}, TypeError, "n_jobs.* Got None"),
    ({"n_jobs": True}, TypeError, "n_jobs.* Got True"),
    ({"max_retries": -1}, ValueError, "max_retries.* Got -1"),
    ({"max_retry_seconds": -1}, ValueError, "max_retry_seconds.* Got -1"),
    ({"max_retry_seconds": None}, TypeError, "max_retry_seconds.* Got None"),
    ({"max_retry_seconds": math.nan}, ValueError, "max_retry_seconds.* Got nan"),
    ({"requests_per_minute": 0}, ValueError, "requests_per_minute.* Got 0"),
    ({"tokens_per_minute": -5}, ValueError, "tokens_per_minute.* Got -5"),
    ({"tokens_per_minute": "9"}, TypeError, "tokens_per_minute.* Got '9'"),
    ({"preflight": -1}, ValueError, "preflight.* Got -1"),
    ({"preflight": None}, TypeError, "preflight.* Got None"),
    ({"verbose": -1}, ValueError, "verbose.* Got -1"),
    ({"verbose": "yes"}, TypeError, "verbose.* Got 'yes'"),
    ({"random_state": None}, TypeError, "random_state.* Got None"),
    ({"random_state": -1}, ValueError, "random_state.* Got -1"),
    ({"prices": 3}, ValueError, "prices must be two numbers .* got 3"),
    ({"budget": "5"}, TypeError, "budget must be a number of questions .* got '5'"),
    ({"budget": {"cost": 1}}, ValueError, "which needs prices="),
    ({"journal": 5}, TypeError, "not int"),
    ({"complete": Model(), "scoring": "pmi", "budget": 5}, ValueError, "budget= and b"),
    ({"complete": Model(), "scoring": "options", "batch": "f"}, ValueError, "cannot b"),
]


@pytest.mark.parametrize(
    ("parameters", "error", "message"), WRONG, ids=[str(case[0]) for case in WRONG]
)
def test_a_wrong_parameter_is_refused_before_anything_is_asked(
    parameters, error, message
):
    calls = []

    def complete(prompt):
        calls.append(prompt)
        return "Choice 1"

    oracle = LLMOracle(complete).set_params(**parameters)
    for ask in (
        oracle.check,
        lambda: oracle.answer_triplets(TRIPLETS),
        lambda: oracle.judge_triplets(TRIPLETS),
        lambda: oracle.preflight_triplets(TRIPLETS),
        lambda: oracle.plan(TRIPLETS),
        lambda: oracle.answer_pairs([("a", "b")]),
        lambda: oracle.judge_pairs([("a", "b")]),
        lambda: oracle.preflight_pairs([("a", "b")]),
        lambda: oracle.plan([("a", "b")]),
    ):
        with pytest.raises(error, match=message):
            ask()
    assert calls == []


@pytest.mark.parametrize("scoring", ["options", "pmi"])
def test_likelihoods_need_a_model_that_gives_them(scoring):
    LLMOracle(Model(), scoring=scoring).check()


def test_every_limit_may_be_a_numpy_number():
    whole = ("n_votes", "max_characters", "n_jobs", "preflight", "random_state")
    numbers = {name: np.int64(3) for name in whole}
    oracle = LLMOracle(
        Model(), **numbers, min_confidence=np.float32(0.5), budget=np.int32(900),
        prices=(np.float64(1), np.int64(2)), requests_per_minute=np.int64(10**9),
        tokens_per_minute=np.float64(1e12),
    )  # fmt: skip
    assert oracle.answer_triplets(TRIPLETS[:2]).shape == (2,)


def test_every_number_is_checked():
    """Guards the table above: no parameter of the oracle is forgotten there."""
    seen = set(itertools.chain.from_iterable(case[0] for case in WRONG))
    free = {"allow_neither", "replay"}  # true or false
    assert seen | free == set(LLMOracle(Model()).get_params())


def test_a_model_with_an_odd_body_has_no_known_length():
    assert (
        terms._reply_tokens(SimpleNamespace(max_tokens=None, extra_body=None)) is None
    )


def test_a_budget_is_not_promised_where_somebody_else_does_the_asking():
    oracle = LLMOracle(lambda prompt: "Choice 1", batch="open.jsonl", budget=3)
    with pytest.raises(ValueError, match="budget= cannot be held"):
        oracle.check()
