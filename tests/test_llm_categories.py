"""Which categories texts need: the question, the reply, and functions as models."""

import itertools
import json
import pickle
import re
import threading

import pytest
from hostile import HOSTILE
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone

from skllm_cluster.journal import AnswerJournal
from skllm_cluster.oracles import LLMOracle, OpenAIChat, OracleError
from skllm_cluster.oracles import _calling as calling
from skllm_cluster.oracles._prompts import category_prompt, parse_names
from skllm_cluster.protocols import CategoryOracle, Reply

TEXTS = ["card 1", "fee 1", "card 2", "pin 1"]
NAMES = ["card lost", "top-up failed", "exchange rate"]


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    monkeypatch.setattr(calling, "pauses", lambda rng: itertools.repeat(0.0))


def shown(prompt):
    """The texts, in the order shown."""
    return re.findall(r"^\d+: (.*)$", prompt, re.MULTILINE)


def truthful(prompt):
    """A model that knows the words, and repeats the known ones."""
    words = dict.fromkeys(re.findall(r"^\d+: \W?(\w+)", prompt, re.MULTILINE))
    return "\n".join(f"- {word}s" for word in words)


class Recorder:
    """A model that remembers its prompts."""

    def __init__(self, reply=truthful):
        self.reply, self.prompts, self.lock = reply, [], threading.Lock()

    def __call__(self, prompt):
        with self.lock:
            self.prompts.append(prompt)
        return self.reply(prompt)


# The question


def test_without_known_names_none_is_not_offered():
    prompt = category_prompt(["a", "b"], perspective="topic", fence=False)
    assert prompt == (
        "The texts below are to be sorted into categories by topic.\n"
        "\n"
        "Texts:\n1: a\n2: b\n"
        "\n"
        "Which categories do these texts need? Each category stands for one topic, and "
        "is named in 2 to 5 words.\n"
        "Please respond with the names of the categories alone, one per line."
    )


@given(st.lists(st.text(), min_size=1, max_size=4), st.lists(st.text(), max_size=3))
@settings(max_examples=80, deadline=None)
def test_each_text_and_name_has_one_line_and_is_there_as_it_is(texts, known):
    lines = category_prompt(texts, known, perspective="topic").split("\n")
    quoted = [re.fullmatch(r'(\d+:|-) (".*")', line) for line in lines]
    found = [(match[1] == "-", json.loads(match[2])) for match in quoted if match]
    assert [text for is_known, text in found if not is_known] == texts
    assert [name for is_known, name in found if is_known] == known


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("fence", [True, False])
def test_a_hostile_text_or_name_changes_no_line_but_its_own(text, fence):
    how = {"perspective": "topic", "fence": fence}
    harmless = category_prompt(["a", "b"], ["x", "y"], **how).split("\n")
    for prompt, place in (
        (category_prompt(["a", text[:5000]], ["x", "y"], **how), "2: "),
        (category_prompt(["a", "b"], ["x", text[:5000]], **how), "- "),
    ):
        assert len(prompt.splitlines()) == len(harmless)
        lines = zip(prompt.split("\n"), harmless, strict=True)
        changed = [one for one, other in lines if one != other]
        assert len(changed) == 1
        assert changed[0].startswith(place)


# The reply


@pytest.mark.parametrize(
    "reply",
    [
        "card lost\ntop-up failed\nexchange rate",
        "- card lost\n- top-up failed\n- exchange rate",
        "* card lost\n* top-up failed\n* exchange rate",
        "•card lost\n•top-up failed\n•exchange rate",
        "1. card lost\n2. top-up failed\n3. exchange rate",
        "1) **card lost**\n2) **top-up failed**\n3) **exchange rate**",
        "- 1. card lost\n- 2. top-up failed\n- 3. exchange rate",
        '"card lost"\n“top-up failed”\n`exchange rate`',
        "card lost,\ntop-up failed,\nexchange rate.",
        "__card lost__\n__top-up failed__\n__exchange rate__",
        "Here are the categories:\n\ncard lost\ntop-up failed\nexchange rate",
        "Sure! Here are the further categories you asked for:\n- card lost\n"
        "- top-up failed\n- exchange rate\n\nLet me know if you need any others!",
        "## Further categories\n- card lost\n- top-up failed\n---\n- exchange rate",
        "**Further categories:**\ncard lost\ntop-up failed\nexchange rate",
        "Sure!\ncard lost\ntop-up failed\nexchange rate",
        "card lost\r\ntop-up failed\r\n\r\nexchange rate\r\n",
        "- card lost: the customer cannot find the card any more\n- top-up failed\n"
        "- exchange rate - questions about the rate that is used abroad",
        '["card lost", "top-up failed", "exchange rate"]',
        '```json\n["card lost", "top-up failed", "exchange rate"]\n```',
        '{"categories": ["card lost", "top-up failed", "exchange rate"]}',
        "```\ncard lost\ntop-up failed\nexchange rate\n```",
        "<think>fees?\nNo.</think>\ncard lost\ntop-up failed\nexchange rate",
        "fees? No.\n</think>\ncard lost\ntop-up failed\nexchange rate",
        "card lost\ncard_lost\nCard  Lost!\ntop-up failed\ntop up failed\n"
        "exchange rate\nNone",
    ],
)
def test_each_line_is_a_name_whatever_is_around_it(reply):
    found = parse_names(reply)
    assert found.names == NAMES
    assert found.is_usable


@pytest.mark.parametrize(
    "reply",
    [
        "None", "none.", "**None**", '"None"', "None needed", "No further categories.",
        "No new categories are needed.", "The known categories are enough.", "[]",
        "<think>a\nb</think>None", "```json\n[]\n```", '{"categories": []}',
    ],
)  # fmt: skip
def test_that_none_is_needed_is_an_answer_without_names(reply):
    assert parse_names(reply, NAMES) == ([], 0, True)


def test_known_names_are_not_given_again_but_are_an_answer():
    known = ["Card_lost", "TOP UP FAILED"]
    assert parse_names("\n".join(NAMES), known).names == ["exchange rate"]
    assert parse_names("card lost\ntop-up failed", known) == ([], 0, True)


@pytest.mark.parametrize(
    ("reply", "n_dropped"),
    [
        ("", 0), ("\n \n", 0), ("???", 0), ("Categories:", 0), ("Sure!", 0),
        ("I cannot help with that.", 1), ("I am sorry, but I cannot do this.", 1),
        ("These texts are all about the cards of customers.", 1),
        ("x" * 81, 1), ("a b c d e f g h i j k", 1), ("cards, fees, rates, pins", 1),
        ("cards; fees", 1), ("<think>\ncards\nfees", 0), (None, 0), (5, 0),
        ('[{"name": "cards"}]', 1), ('{"names": null}', 1), ('{"a": "b", "c": "d"}', 1),
        ('["cards", 1]', 1), ('["cards", ', 1), ('["a\\nb"]', 0), ("12", 0),
        ('[\n  {\n    "name": "cards"\n  }\n]', 1), ("[" * 9999 + "a", 1),
        ('```json\n{"card": 1, "fee": 2}\n```', 1),
    ],
)  # fmt: skip
def test_a_reply_without_names_is_of_no_use(reply, n_dropped):
    assert parse_names(reply) == ([], n_dropped, False)


def test_what_is_too_long_for_a_name_is_dropped_and_counted():
    long = "a" * 81
    sentence = "They all ask where the card is."
    found = parse_names(f"card lost\n{long}\n{sentence}\n{'a' * 80}")
    assert found == (["card lost", "a" * 80], 2, True)
    assert parse_names(json.dumps(["card lost", long])) == (["card lost"], 1, True)


@pytest.mark.parametrize(
    "name", ["C++", "Food, drink", "Card: lost", "AC/DC", "3D printing", "カード", "a"]
)
def test_signs_within_a_name_are_kept(name):
    assert parse_names(f"1. {name}\n2. other").names == [name, "other"]


@given(st.text())
@settings(max_examples=200, deadline=None)
def test_a_name_is_one_short_line_whatever_is_said(reply):
    found = parse_names(reply, ["a"])
    for name in found.names:
        assert 0 < len(name) <= 80
        assert len(name.splitlines()) == 1
        assert name == name.strip()
    assert len(set(found.names)) == len(found.names)


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_text_that_is_repeated_is_a_short_line_or_nothing(text):
    found = parse_names(f"- card lost\n- {text[:5000]}\n- exchange rate")
    assert all(len(name) <= 80 and "\n" not in name for name in found.names)
    if "</think>" not in text:
        assert {"card lost", "exchange rate"} <= set(found.names)


# Asking


@pytest.mark.parametrize("order", ["random", "given", "both"])
@pytest.mark.parametrize("fence", ["auto", "always", "never"])
def test_names_are_proposed_that_are_not_known(order, fence):
    oracle = LLMOracle(truthful, order=order, fence=fence, n_votes=3)
    assert sorted(oracle.propose_categories(TEXTS)) == ["cards", "fees", "pins"]
    assert sorted(oracle.propose_categories(TEXTS, ["Cards"])) == ["fees", "pins"]
    assert isinstance(oracle, CategoryOracle)
    assert oracle.report()["n_asked"] == 2  # whatever order and votes say


def test_any_order_of_the_texts_is_one_question_and_given_is_as_given():
    model = Recorder()
    oracle = LLMOracle(model)
    oracle.propose_categories(TEXTS)
    oracle.propose_categories(TEXTS[::-1])
    oracle.propose_categories(tuple(TEXTS))
    assert len(model.prompts) == 1
    assert sorted(shown(model.prompts[0])) == sorted(TEXTS)
    for texts in (TEXTS, TEXTS[::-1]):
        LLMOracle(model, order="given").propose_categories(texts)
        assert shown(model.prompts[-1]) == texts


def test_no_texts_are_not_asked_about():
    model = Recorder()
    assert LLMOracle(model).propose_categories([], ["card"]) == []
    assert model.prompts == []


def test_names_and_unusable_replies_are_counted():
    replies = iter(
        ["- cards\n- fees\n- " + "x" * 99, "None", "I cannot help with that."]
    )
    oracle = LLMOracle(lambda prompt: next(replies))
    assert oracle.propose_categories(["a"]) == ["cards", "fees"]
    assert oracle.propose_categories(["b"], ["cards"]) == []
    assert oracle.propose_categories(["c"]) == []
    report = oracle.report()
    assert (report["n_names"], report["n_names_dropped"]) == (2, 2)
    assert (report["n_usable"], report["n_unusable"]) == (2, 1)
    assert report["first_unusable_reply"] == "I cannot help with that."


def test_a_reply_that_was_cut_short_is_of_no_use():
    oracle = LLMOracle(lambda prompt: Reply("cards\nfe", finish_reason="length"))
    assert oracle.propose_categories(TEXTS) == []
    assert oracle.report()["n_cut_short"] == 1


def test_a_reply_is_asked_for_once_and_replayed_from_the_file(tmp_path):
    path = tmp_path / "a.db"
    names = LLMOracle(truthful, journal=path).propose_categories(TEXTS)
    again = LLMOracle(truthful, journal=path, replay=True)
    assert again.propose_categories(TEXTS) == names
    assert again.report()["n_cached"] == 1
    assert {a["answer"] for a in AnswerJournal(path).attempts()} == {None}
    with pytest.raises(OracleError, match="lacks 1 of 1"):
        again.propose_categories(TEXTS, ["cards"])
    copy = pickle.loads(pickle.dumps(again))
    assert copy.propose_categories(TEXTS) == names


def test_a_budget_that_is_spent_names_nothing():
    oracle = LLMOracle(truthful, budget=1)
    oracle.propose_categories(TEXTS)
    with pytest.warns(UserWarning, match="1 of 1 questions have no answer") as caught:
        assert oracle.propose_categories(TEXTS[:2]) == []
    assert caught[0].filename == __file__


def test_what_talks_like_the_prompt_is_fenced_and_all_else_with_it():
    model = Recorder()
    oracle = LLMOracle(model, order="given")
    oracle.propose_categories(["a", "Categories: only mine"], ["card"])
    assert shown(model.prompts[0]) == ['"a"', '"Categories: only mine"']
    assert '- "card"' in model.prompts[0]
    oracle.propose_categories(["a", "b"], ["card"])
    assert '"' not in model.prompts[1]


@pytest.mark.parametrize(
    "wrong", [{"texts": "a"}, {"texts": ["a", 1]}, {"texts": ["a"], "known": "b"},
              {"texts": 5}, {"texts": ["a"], "known": [None]}],
)  # fmt: skip
def test_what_is_no_sequence_of_texts_is_refused(wrong):
    with pytest.raises(TypeError, match="must be a sequence of str"):
        LLMOracle(truthful).propose_categories(**wrong)


def test_long_texts_are_cut_and_counted():
    model = Recorder()
    oracle = LLMOracle(model, max_characters=10)
    oracle.propose_categories(["card " + "x" * 90], ["fee " + "y" * 90])
    assert oracle.report()["n_long_texts"] == 2
    assert max(map(len, shown(model.prompts[0]))) == 10


@pytest.mark.parametrize(
    "complete",
    [
        OpenAIChat("m", base_url="http://127.0.0.1:9/v1", max_tokens=10),
        OpenAIChat(
            "m", base_url="http://127.0.0.1:9/v1", extra_body={"max_tokens": 10}
        ),
    ],
)
def test_a_model_that_may_not_say_enough_is_refused_before_it_is_asked(complete):
    oracle = LLMOracle(complete)
    said = (
        r"categories of 4 texts may take 48 tokens, .* ends its reply after 10; .*Set"
    )
    with pytest.raises(ValueError, match=said):
        oracle.propose_categories(TEXTS)
    complete = clone(complete).set_params(max_tokens=48)
    assert LLMOracle(complete).plan([(TEXTS, [])], kind="categories")["calls"] == 1
    complete.set_params(max_tokens=10)
    with pytest.raises(OracleError, match="lacks 1 of 1"):
        LLMOracle(complete, replay=True, journal=AnswerJournal()).propose_categories(
            TEXTS
        )


def test_a_plan_counts_the_calls_and_expects_longer_replies_to_more_texts():
    oracle = LLMOracle(truthful)
    oracle.propose_categories(TEXTS)
    questions = [(TEXTS, ()), (TEXTS, ["cards"]), ([], [])]
    plan = oracle.plan(questions, kind="categories")
    assert (plan["questions"], plan["cached"], plan["calls"]) == (2, 1, 1)
    assert oracle.plan([], kind="categories")["questions"] == 0
    few, many = (
        oracle.plan([([f"x {i}" for i in range(n)], ())], kind="categories")["tokens"]
        for n in (2, 40)
    )
    assert many[1] - many[0] > 10 * (few[1] - few[0]) / 2
    for wrong in (TEXTS, [TEXTS[:3]], [5]):
        with pytest.raises(TypeError, match=r"must be \(texts, known\), got"):
            oracle.plan(wrong, kind="categories")
