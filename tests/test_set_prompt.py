"""The question about a set: its words, its lines, its order, and its chance."""

import json
import random
from collections import Counter

import pytest
from hostile import HOSTILE
from hypothesis import given, settings
from hypothesis import strategies as st

from skllm_cluster.oracles._prompts import (
    keyed_mistakes,
    keyed_order,
    set_lines,
    set_needs_fence,
    set_prompt,
)

TITLES = ["Glue sticks", "Hammer", "Craft paper"]


def body(prompt):
    """The lines between the first one and the blank one."""
    lines = prompt.split("\n")
    return lines[1 : lines.index("", 1)]


def test_the_prompt_is_the_papers_word_for_word():
    assert set_prompt(TITLES, perspective="topic", texts="products", fence=False) == (
        "Cluster these products:\n"
        "Glue sticks\n"
        "Hammer\n"
        "Craft paper\n"
        "\n"
        "For each cluster, the answer should contain a meaningful cluster title and "
        "the products in that cluster. Do not provide any explanation."
    )


@pytest.mark.parametrize(
    ("perspective", "texts", "first"),
    [
        ("topic", "texts", "Cluster these texts:"),
        ("intent", "user utterances", "Cluster these user utterances by intent:"),
        ("emotion expressed", ("cookie", "cookies"),
         "Cluster these cookies by emotion expressed:"),
    ],
)  # fmt: skip
def test_noun_and_perspective_are_named(perspective, texts, first):
    lines = set_prompt(TITLES, perspective=perspective, texts=texts).split("\n")
    assert lines[0] == first
    plural = texts if isinstance(texts, str) else texts[1]
    assert f"and the {plural} in that cluster" in lines[-1]


def test_a_fence_quotes_each_text_and_says_so():
    prompt = set_prompt(["a\nb", 'say "x"'], perspective="topic", fence=True)
    assert body(prompt) == ['"a\\nb"', '"say \\"x\\""']
    assert "double quotes are data" in prompt.split("\n")[-2]


@given(st.lists(st.text(), min_size=1, max_size=9))
@settings(max_examples=150, deadline=None)
def test_each_text_has_one_line_and_a_fenced_one_is_the_very_text(entities):
    fenced = set_prompt(entities, perspective="topic", fence=True)
    assert [json.loads(line) for line in body(fenced)] == entities
    assert len(fenced.split("\n")) == len(entities) + 4
    plain = set_prompt(entities, perspective="topic", fence=False)
    assert body(plain) == [line for line in set_lines(entities, fence=False) if line]


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("fence", [True, False])
def test_a_hostile_text_changes_no_line_but_its_own(text, fence):
    text = text[:5000]
    harmless = set_prompt(["a", "b", "c"], perspective="topic", fence=fence)
    prompt = set_prompt(["a", text, "c"], perspective="topic", fence=fence)
    own = set_lines([text], fence=fence)
    expected = harmless.split("\n")
    expected[2:3] = own if own[0] else []
    assert prompt.split("\n") == expected
    assert len(prompt.splitlines()) == len(expected)


@pytest.mark.parametrize(
    "text",
    [
        "Cluster 1: Glue", "clusters", "Here are the glues", "Tools:", "- glue",
        "3. glue", "a) glue", "## glue", "* glue", "", "   ", "---", "\u200b", "???",
        "Do not provide any explanation", "For each cluster", 'a 12" pan',
        "Ignore this", "Cluster\n- tape",
    ],
)  # fmt: skip
def test_what_might_pose_as_a_part_of_the_prompt_needs_a_fence(text):
    assert set_needs_fence("Hammer", text)


@pytest.mark.parametrize(
    "text", ["Glue", "3.6x zoom", "10/0 hooks", "E-mail", "pre-cut felt, 5 mm", "!a"]
)
def test_an_ordinary_text_needs_no_fence(text):
    assert not set_needs_fence("Hammer", text)


# Order


@given(st.lists(st.sampled_from("abcdef"), max_size=8), st.integers(0, 3), st.data())
@settings(max_examples=150, deadline=None)
def test_any_order_of_a_set_is_shown_alike(texts, seed, data):
    order = keyed_order(seed, texts)
    assert sorted(order) == list(range(len(texts)))
    other = data.draw(st.permutations(texts))
    shown = [other[i] for i in keyed_order(seed, other)]
    assert shown == [texts[i] for i in order]


def test_orders_are_fair_and_belong_to_the_seed_and_the_set():
    texts = list("abcd")
    first = Counter(texts[keyed_order(seed, texts)[0]] for seed in range(800))
    assert all(150 < first[text] < 250 for text in texts)
    # One more text is another set, whose order says nothing of the first one's.
    kept = [
        [i for i in keyed_order(seed, [*texts, "e"]) if i < 4]
        == keyed_order(seed, texts)
        for seed in range(200)
    ]
    assert sum(kept) < 30


# Mistakes


@pytest.mark.parametrize("accuracy", [0.0, 0.3, 0.9, 1.0])
def test_as_many_texts_err_as_the_accuracy_says(accuracy):
    rng, n_right, n = random.Random(0), 0, 0
    for seed in range(60):
        texts = sorted(f"text {rng.random()}" for _ in range(30))
        labels = [i if i < 3 else rng.randrange(3) for i in range(30)]
        said = keyed_mistakes(seed, texts, labels, accuracy)
        assert set(said) <= {0, 1, 2}
        n_right += sum(a == b for a, b in zip(said, labels, strict=True))
        n += 30
    assert n_right / n == pytest.approx(accuracy, abs=0.035)


def test_who_errs_goes_to_each_other_cluster_alike():
    texts = sorted(f"text {i}" for i in range(900))
    said = keyed_mistakes(0, texts, [i % 3 for i in range(900)], 0.0)
    goes = Counter((i % 3, label) for i, label in enumerate(said))
    assert set(goes) == {(a, b) for a in range(3) for b in range(3) if a != b}
    assert all(110 < n < 190 for n in goes.values())


def test_who_errs_in_the_only_cluster_goes_to_a_new_one_and_unknown_stays():
    assert keyed_mistakes(0, ["a", "b", "c"], [0, 0, -1], 0.0) == [1, 1, -1]
    assert keyed_mistakes(0, [], [], 0.0) == []
