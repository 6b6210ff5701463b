"""Likelihoods of a local model: computed once, kept, and made into answers."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skllm_cluster.journal import AnswerJournal
from skllm_cluster.oracles import LLMOracle
from skllm_cluster.oracles import _likelihoods as likelihoods
from skllm_cluster.oracles import _triplets as triplets_module
from skllm_cluster.oracles._likelihoods import look_up_likelihoods, score
from skllm_cluster.oracles._session import OracleError, Session
from skllm_cluster.oracles._triplets import Triplets

PAIRS = [(f"context {i}", f"continuation {i}") for i in range(10)]
TRIPLETS = [("hi", "a", "b"), ("hi", "c", "d"), ("hi", "e", "f"), ("hi", "g", "h")]


class Local:
    """A model that runs here. Its values are lengths, so that each pair has its own."""

    def __init__(self, name="m", value=lambda context, rest: -len(context + rest) / 3):
        self.name, self.value, self.batches = name, value, []

    def __call__(self, prompt):
        raise AssertionError("asked for words")

    def request(self, prompt):
        return {"model": self.name, "prompt": prompt}

    def log_likelihoods(self, contexts, continuations):
        self.batches.append(len(contexts))
        return [self.value(*pair) for pair in zip(contexts, continuations, strict=True)]


class Nameless:
    """A model that does not say what it would be sent."""

    def log_likelihoods(self, contexts, continuations):
        return [-1.0] * len(contexts)


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch):
    monkeypatch.setattr(likelihoods, "BATCH", 4)


def test_each_pair_is_computed_once_in_batches_and_kept():
    model, session = Local(), Session()
    found = look_up_likelihoods(PAIRS * 3 + PAIRS[:1], model, session)
    assert found == {pair: model.value(*pair) for pair in PAIRS}
    assert model.batches == [4, 4, 2]
    again = look_up_likelihoods([*PAIRS, ("new", "pair")], model, session)
    assert again.items() > found.items()
    assert model.batches == [4, 4, 2, 1]


@given(st.lists(st.floats(allow_nan=False), min_size=1, max_size=9))
def test_a_value_comes_back_as_it_went_in(values):
    session, given_out = Session(), dict(zip(PAIRS, values, strict=False))
    model = Local(value=lambda *pair: given_out[pair])
    first = look_up_likelihoods(list(given_out), model, session)
    second = look_up_likelihoods(list(given_out), model, session, replay=True)
    assert first == second == given_out
    assert len(model.batches) == math.ceil(len(values) / 4)


def test_numpy_values_are_taken():
    model = Local(value=lambda *pair: np.float32(-0.1))
    for _ in range(2):
        found = look_up_likelihoods(PAIRS[:1], model, session := Session())
        assert found == {PAIRS[0]: float(np.float32(-0.1))}
        assert look_up_likelihoods(PAIRS[:1], model, session) == found


def test_what_was_computed_before_an_error_is_kept(tmp_path):
    def value(context, rest):
        if context == "context 9":
            raise MemoryError("out of memory")
        return -1.0

    model, path = Local(value=value), tmp_path / "j.db"
    with pytest.raises(MemoryError):
        look_up_likelihoods(PAIRS, model, Session(path))
    other = Local()
    look_up_likelihoods(PAIRS, other, Session(path))
    assert other.batches == [2]


def test_a_model_that_gives_too_few_values_is_an_error_and_nothing_is_kept():
    class Short(Local):
        def log_likelihoods(self, contexts, continuations):
            return super().log_likelihoods(contexts, continuations)[1:]

    session = Session()
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        look_up_likelihoods(PAIRS[:3], Short(), session)
    assert len(session.journal) == 0


def test_context_and_continuation_and_model_tell_values_apart():
    session = Session()
    look_up_likelihoods([("a", "b")], Local(), session)
    for pair, model in (
        (("b", "a"), Local()),
        (("ab", ""), Local()),
        (("a", "b"), Local("other")),
        (("a", "b"), Nameless()),
    ):
        with pytest.raises(
            OracleError, match=r"lacks 1 of 1 likelihoods, and with rep"
        ):
            look_up_likelihoods([pair], model, session, replay=True)
    assert look_up_likelihoods([("a", "b")], Nameless(), session) == {("a", "b"): -1.0}


def test_a_replay_says_how_many_are_missing_and_runs_no_model():
    model, session = Local(), Session()
    look_up_likelihoods(PAIRS[:7], model, session)
    with pytest.raises(OracleError, match="lacks 3 of 10 likelihoods"):
        look_up_likelihoods(PAIRS, model, session, replay=True)
    assert sum(model.batches) == 7


def test_no_pair_runs_no_model():
    assert look_up_likelihoods([], Local(), Session()) == {}


# From likelihoods to answers: what is compared is for the scoring to say, here the
# likelihood of the choices after the anchor alone.


@pytest.fixture
def simple_scoring(monkeypatch):
    asked = []

    def requests(scoring, triplets, *, perspective, texts):
        asked.append((scoring, perspective, texts))
        return [(a, choice) for a, b, c in triplets for choice in (b, c)]

    def probabilities(scoring, triplets, values, *, perspective, texts):
        odds = [values[a, c] - values[a, b] for a, b, c in triplets]
        return 1 / (1 + np.exp(np.array(odds)))

    monkeypatch.setattr(triplets_module, "score_requests", requests)
    monkeypatch.setattr(triplets_module, "score_triplets", probabilities)
    return asked


VALUES = {"a": -1.0, "b": -2.0, "c": -3.0, "d": -1.0, "e": -5.0, "f": -5.0}
VALUES |= {"g": math.nan, "h": -1.0}


@pytest.mark.parametrize("scoring", ["options", "pmi"])
def test_the_likelier_choice_is_the_answer_and_a_tie_is_none(simple_scoring, scoring):
    model = Local(value=lambda context, rest: VALUES[rest])
    oracle = LLMOracle(model, scoring=scoring, perspective="intent", texts="replies")
    answers, confidence = oracle.judge_triplets(TRIPLETS)
    assert answers.tolist() == [0, 1, -1, -1]
    sure = 1 / (1 + np.exp([-1.0, -2.0]))
    np.testing.assert_allclose(confidence, [*sure, math.nan, math.nan])
    assert oracle.answer_triplets(TRIPLETS).tolist() == [0, 1, -1, -1]
    assert simple_scoring == [(scoring, "intent", "replies")] * 2
    assert sum(model.batches) == len(VALUES)


@pytest.mark.usefixtures("simple_scoring")
def test_answers_below_the_least_confidence_are_none():
    model = Local(value=lambda context, rest: VALUES[rest])
    oracle = LLMOracle(model, scoring="pmi", min_confidence=0.8)
    answers, confidence = oracle.judge_triplets(TRIPLETS)
    assert answers.tolist() == [-1, 1, -1, -1]
    assert np.isnan(confidence).tolist() == [True, False, True, True]


@pytest.mark.usefixtures("simple_scoring")
def test_scores_are_kept_in_the_journal_and_replayed(tmp_path):
    path = tmp_path / "j.db"
    oracle = LLMOracle(Local(), scoring="pmi", journal=path)
    answers = oracle.answer_triplets(TRIPLETS)
    idle = Local()
    replay = LLMOracle(idle, scoring="pmi", journal=path, replay=True)
    np.testing.assert_array_equal(replay.answer_triplets(TRIPLETS), answers)
    assert idle.batches == []
    assert oracle.report()["n_usable"] == (answers >= 0).sum()
    with pytest.raises(OracleError, match="lacks 2 of 2 likelihoods"):
        replay.answer_triplets([("who", "is", "it")])


@pytest.mark.usefixtures("simple_scoring")
def test_no_triplet_has_no_answer():
    oracle = LLMOracle(Local(), scoring="pmi")
    answers, confidence = score(oracle, Session(), Triplets(oracle), [])
    assert answers.shape == confidence.shape == (0,)


@pytest.mark.usefixtures("simple_scoring")
def test_a_scoring_model_is_asked_no_words_and_needs_no_preflight():
    oracle = LLMOracle(Local(), scoring="options", preflight=1)
    assert not oracle.needs_preflight(list(itertools.chain(*[TRIPLETS] * 50)))


def test_an_attempt_is_recorded_with_its_time():
    journal = AnswerJournal()
    look_up_likelihoods(PAIRS[:2], Local(), Session(journal))
    found = list(journal.attempts())
    assert [a["request"]["log_likelihood_of"] for a in found] == [
        "continuation 0",
        "continuation 1",
    ]
    assert all(a["started"] > 1.6e9 and a["seconds"] >= 0 for a in found)


# With the scorings that ship


def belongs_together(context, rest):
    """Likelihoods of a simulated model: anchors go with the texts on the left."""
    if rest.startswith("Choice"):
        shown = context.partition(f"{rest}: ")[2].strip('"')
        return -0.1 if shown.startswith("left") else -3.0
    said = context + rest
    return -1.0 if "left" in said and "anchor" in said else -9.0


@pytest.mark.parametrize("scoring", ["options", "pmi"])
def test_the_order_of_choices_neither_counts_nor_costs(scoring):
    triplets = [(f"anchor {i}", f"left {i}", f"right {i}") for i in range(6)]
    model = Local(value=belongs_together)
    oracle = LLMOracle(model, scoring=scoring)
    answers, confidence = oracle.judge_triplets(triplets)
    assert answers.tolist() == [0] * 6
    assert (confidence > 0.6).all()
    n_computed = sum(model.batches)
    swapped = [(anchor, second, first) for anchor, first, second in triplets]
    answers, as_sure = oracle.judge_triplets(swapped)
    assert answers.tolist() == [1] * 6
    np.testing.assert_allclose(as_sure, confidence)
    assert sum(model.batches) == n_computed


def test_a_plan_counts_likelihoods_and_fit_computes_as_many():
    model = Local()
    oracle = LLMOracle(model, scoring="pmi", prices=(1, 1))
    plan = oracle.plan(TRIPLETS, seconds_per_answer=0.6)
    assert (plan["cached"], model.batches) == (0, [])
    assert plan["questions"] == plan["calls"] > 0
    low, high = plan["tokens"]
    assert 0 < low < high
    assert plan["minutes"] == pytest.approx(plan["calls"] * 0.01)
    oracle.answer_triplets(TRIPLETS)
    assert sum(model.batches) == plan["calls"]
    assert oracle.plan(TRIPLETS)["calls"] == 0
    report = oracle.report()
    assert (report["n_asked"], report["n_cached"]) == (plan["calls"], 0)
    oracle.answer_triplets(TRIPLETS)
    assert oracle.report()["n_cached"] == plan["calls"]
    assert not oracle.needs_preflight(TRIPLETS * 100)


def finds_alike(context, rest):
    """Likelihoods of a simulated model: texts with one first letter go together."""
    lines = [line for line in context.splitlines() if line.startswith("Sentence ")]
    one, two = (line.partition(": ")[2].strip('"') for line in lines[-2:])
    # Prefers Yes where the text that is shown first comes first in the alphabet.
    return (rest == "Yes") * (2.0 if one[:1] == two[:1] else -2.0) + (one < two)


PAIRS_OF_TEXTS = [("ape", "ant"), ("ape", "bee"), ("yes", "no"), ("bee", "bug")]


def test_a_pair_is_scored_by_yes_and_no_in_both_orders():
    model = Local(value=finds_alike)
    oracle = LLMOracle(model, scoring="options")
    answers, confidence = oracle.judge_pairs(PAIRS_OF_TEXTS)
    assert answers.tolist() == [1, 0, 0, 1]
    np.testing.assert_allclose(confidence, [1 / (1 + math.exp(-2))] * 4)
    assert sum(model.batches) == 4 * len(PAIRS_OF_TEXTS)
    turned = [pair[::-1] for pair in PAIRS_OF_TEXTS]
    answers, as_sure = oracle.judge_pairs(turned)
    assert answers.tolist() == [1, 0, 0, 1]
    np.testing.assert_allclose(as_sure, confidence)
    assert sum(model.batches) == 4 * len(PAIRS_OF_TEXTS)
    report = oracle.report()
    assert (report["n_usable"], report["n_unusable"], report["n_yes"]) == (8, 0, 4)


def test_a_scored_pair_is_put_in_the_words_of_the_oracle():
    seen = []
    model = Local(value=lambda context, rest: seen.append((context, rest)) or -1.0)
    oracle = LLMOracle(
        model, scoring="options", perspective="intent",
        demonstrations=[("one", "two", False, ("a", "b"))],
    )  # fmt: skip
    answers, confidence = oracle.judge_pairs([("x", "y"), ("x", "y")])
    assert answers.tolist() == [-1, -1]  # as likely
    assert np.isnan(confidence).all()
    assert sorted(rest for _, rest in seen) == ["No", "No", "Yes", "Yes"]
    for context, _ in seen:
        assert context.startswith("[Example1]\nSentence 1: one\n")
        assert context.endswith("without explanation.\n\n")
    assert oracle.plan([("x", "y"), ("y", "x"), ("x", "z")])["calls"] == 4
    assert not oracle.needs_preflight([("x", str(i)) for i in range(100)])


def test_mutual_information_of_a_pair_is_refused_before_anything_is_computed():
    model = Local()
    oracle = LLMOracle(model, scoring="pmi")
    pairs = [("x", "y")]
    for ask in (
        oracle.answer_pairs, oracle.judge_pairs, oracle.preflight_pairs, oracle.plan
    ):  # fmt: skip
        with pytest.raises(
            ValueError, match=r"'pmi' compares two choices.*\('reply', 'options'\)"
        ):
            ask(pairs)
    assert model.batches == []
    assert oracle.answer_triplets(TRIPLETS).shape == (4,)
