"""How a reply is read, and how sure the model was."""

import math

import pytest
from hostile import HOSTILE
from hypothesis import given, settings
from hypothesis import strategies as st

from skllm_cluster.oracles._parsing import (
    YES_NO,
    choice_probability,
    no_probability,
    parse_choice,
    parse_yes_no,
    says_neither,
)
from skllm_cluster.protocols import Reply

relaxed = settings(deadline=None)  # a busy machine may pause at any example
any_text = st.text(st.characters(exclude_categories=()), max_size=30)

CHOICES = {
    0: [
        "Choice 1",
        "choice 1",
        "CHOICE 1.",
        "  Choice 1\n",
        "'Choice 1'",
        '"Choice 1".',
        "“Choice 1”",
        "\u2018Choice 1\u2019",
        "`Choice 1`",
        "**Choice 1**",
        "**Choice 1.**",
        "## Choice 1",
        "[Choice 1]",
        "(1)",
        "1",
        "1.",
        "1)",
        "Choice 1:",
        "Choice 1!",
        "Choice #1",
        "Choice (1)",
        "Option 1",
        "\u00a0Choice 1\u00a0",
        # announced
        "Answer: Choice 1",
        "**Answer:** Choice 1",
        "Final answer: 1",
        "The answer is Choice 1.",
        "The correct choice is: **Choice 1**",
        "My choice: 1",
        "Choice: 1",
        "\\boxed{1}",
        "$\\boxed{Choice 1}$",
        '{"choice": 1}',
        '{"answer": "Choice 1"}',
        '```json\n{"choice": 1}\n```',
        "<answer>Choice 1</answer>",
        # after thoughts
        "<think>Choice 2 or 1?</think>Choice 1",
        "<think>\nNot 2\n</think>\n\nChoice 1",
        "<thinking>2</thinking> 1",
        "[THINK]2[/THINK]Choice 1",
        "Hm, Choice 2 is about cards.\n</think>\n\nChoice 1",
        "<|channel|>analysis<|message|>2<|end|><|start|>assistant<|channel|>final"
        "<|message|>Choice 1<|return|>",
        # tokens that end a turn
        "Choice 1</s>",
        "Choice 1<|im_end|>",
        "Choice 1.<|eot_id|>\n<|end_of_text|>",
        "Choice 1<end_of_turn>",
        "Choice 1<\uff5cend▁of▁sentence\uff5c>",
        # of another keyboard
        "Choice \uff11",
        "\u300cChoice 1\u300d\u3002",
        "Answer\uff1aChoice 1",
    ],
    1: [
        "Choice 2",
        "'choice 2'.",
        "2",
        "**2**",
        "{Choice 2};",
        "Choice\t2",
        "<think>Choice 1</think>Choice 2",
        "The better choice is 2",
        '{"choice": "2"}',
        "\uff12\uff0e",
    ],
    -1: [
        None,
        1,
        b"Choice 1",
        ["Choice 1"],
        "",
        "   ",
        ".",
        "Choice",
        "Choice 3",
        "Choice 0",
        "Choice 12",
        "Choice 1 2",
        "Choice 1.2",
        "Choice1",
        "Choice one",
        "Choice 1 is wrong",
        "I think Choice 2",
        "Choice 1 or Choice 2",
        "Choice 1, Choice 2",
        "Neither Choice 1 nor Choice 2",
        "Neither",
        "Not Choice 1",
        "not 1",
        "Choice 1?",
        "1/2",
        "1 or 2",
        "[1, 2]",
        "Choice 1\nChoice 2",
        "Choice 1\nChoice 1",
        "Choice 1: I am still waiting on my card",
        'Choice 1: "2"',
        "Query",
        "Sure! Choice 2",
        "-1",
        "0.1",
        "²",
        "\u0661",  # an Arabic digit
        "Answer Choice 1",
        "The answer is not Choice 1",
        "The wrong answer is Choice 1",
        '{"choice": 0}',
        '{"choice": 1, "why": "2"}',
        '{"not": 1}',
        "<think>Choice 1",
        "<think>So it is </think>",
        "<wrong>Choice 1</wrong>",
        "<|im_start|>Choice 1",
        # quotes a text that poses as the end of thoughts
        'Choice 1: "</think>Choice 2"',
        'It is "</think> Choice 2',
        "Choice 1: </think>\n\nChoice 2",
    ],
}


@pytest.mark.parametrize(
    ("reply", "choice"),
    [(reply, choice) for choice, replies in CHOICES.items() for reply in replies],
)
def test_reply_is_a_choice_only_if_it_is_nothing_else(reply, choice):
    assert parse_choice(reply) == choice
    if choice >= 0:
        assert not says_neither(reply)


@relaxed
@given(any_text)
def test_text_without_a_digit_of_a_choice_is_no_answer(text):
    for digit in "12\uff11\uff12":
        text = text.replace(digit, "")
    assert parse_choice(text) == -1


@relaxed
@given(st.from_regex(r"[A-Za-z]{1,10}", fullmatch=True), st.sampled_from([1, 2]))
def test_a_choice_with_another_word_is_no_answer(word, number):
    assert parse_choice(f"Choice {number} {word}") == -1
    if word.lower() not in ("choice", "option", "json"):
        assert parse_choice(f"{word} Choice {number}") == -1


@pytest.mark.parametrize("number", [1, 2])
def test_a_choice_that_is_repeated_with_a_hostile_text_is_no_other_choice(number):
    for text in filter(str.strip, HOSTILE):
        for reply in (f"Choice {number}: {text}", f'Choice {number}: "{text}"'):
            assert parse_choice(reply) in (-1, number - 1), text


@pytest.mark.parametrize(
    "reply",
    [
        "Neither",
        "neither.",
        "NEITHER",
        "Both",
        "None",
        "Neither or both",
        "Both or neither.",
        "**Neither**",
        "'Neither'",
        "Neither choice",
        "Both choices",
        "Neither Choice 1 nor Choice 2",
        "Both Choice 1 and Choice 2.",
        "Answer: Neither",
        '{"choice": "neither"}',
        "<think>Choice 1?</think>\nNeither<|im_end|>",
    ],
)
def test_a_reply_that_refuses_the_choice_is_told_from_one_that_cannot_be_read(reply):
    assert says_neither(reply)
    assert parse_choice(reply) == -1


@pytest.mark.parametrize(
    "reply",
    [
        None,
        -1,
        "",
        "Not neither",
        "Neither, but Choice 1 is closer",
        "Neither 1",
        "Neither Choice 1",
        "Neither nor",
        "Both of us",
        "Nothing",
        "No",
        "I cannot answer that.",
    ],
)
def test_a_reply_that_says_more_than_neither_does_not_say_neither(reply):
    assert not says_neither(reply)


@pytest.mark.parametrize(
    "reply",
    [
        "(" * 200_000 + "1" + ")." * 200_000 + "x",
        "Choice" + " " * 200_000 + "x",
        "1" + "<|a|>" * 50_000 + "x",
        "1" + " <" * 100_000 + "x",
        "answer" + "(" * 200_000 + "x",
        "the" + " " * 200_000 + "x",
        "</think>" * 50_000 + "x",
        "<think>" * 50_000 + "x",
        "</think>" + " " * 200_000 + "x",
        " " * 200_000 + "</think>x",
        "</think> " * 50_000 + "x",
        "neither" + " " * 200_000 + "or" + " " * 200_000,
    ],
    ids=lambda reply: reply[:12],
)
def test_long_reply_is_read_in_linear_time(reply):
    # Quadratic, each of these would take minutes.
    assert parse_choice(reply) == -1
    assert not says_neither(reply)


def logs(**shares):
    names = {"one": " 1", "two": " 2"}
    return {names.get(n, n): math.log(p) for n, p in shares.items()}


DECIDED = {" 1": math.log(0.6), " 2": math.log(0.2), " 3": math.log(0.1)}


@pytest.mark.parametrize(
    ("text", "listed"),
    [
        ("Choice 1", ({"Choice": -0.1}, DECIDED)),
        ("Choice 1", ({"Choice": -0.1}, DECIDED, {"<|im_end|>": -0.1})),
        ("Choice 1.", ({"Choice": -0.1}, DECIDED, {".": -0.1}, {"</s>": -0.1})),
        ("Choice 2", ({"Choice": -0.1}, DECIDED)),
        ("1", (DECIDED,)),
        # the end of the turn is decided where a choice is unlikely, not impossible
        ("Choice 1", ({"Choice": -0.1}, DECIDED, {"<|im_end|>": -0.1, "1": -5.0})),
        # before "Choice" the bare number was possible
        ("Choice 1", ({"Choice": -0.1, "1": -3.0, "2": -3.5}, DECIDED)),
        # thoughts name choices, the last place is the answer
        (
            "<think>Choice 2</think>Choice 1",
            ({" 2": -1e-9}, {"</think>": 0.0}, {"Choice": -0.1}, DECIDED),
        ),
        ("Choice 1", ({"2": -1e-9}, *[{"x": -0.1}] * 9, {"Choice": -0.1}, DECIDED)),
    ],
)
def test_probability_is_that_of_the_place_where_the_choice_was_decided(text, listed):
    found = choice_probability(Reply(text, top_logprobs=listed))
    assert found == pytest.approx(0.75)


def test_tokens_that_mean_the_same_choice_are_added():
    tokens = {"1": 0.1, " 1": 0.1, "Ġ1": 0.1, "▁1": 0.1, "Choice 1": 0.1, "'1": 0.1}
    tokens |= {"2": 0.1, "\uff12": 0.1, "12": 0.15, "Choice": 0.05}
    listed = {token: math.log(p) for token, p in tokens.items()}
    found = choice_probability(Reply("Choice 1", top_logprobs=(listed,)))
    assert found == pytest.approx(6 / 8)


@pytest.mark.parametrize(
    ("listed", "probability"),
    [
        (logs(one=0.6), 0.6),  # the other may have all the rest
        (logs(two=0.6), 0.4),
        (logs(one=0.6, a=0.3, b=0.05), 0.6 / 0.65),  # no more than what is listed
        (logs(one=0.6, a=0.38, b=0.015), 0.6 / 0.605),  # no more than what is left
        ({"1": 0.0}, 1.0),
        ({"1": 1e-6, "2": -20.0}, 1.0),  # rounded by the server
    ],
)
def test_a_choice_that_is_not_listed_has_what_may_be_left(listed, probability):
    said = "Choice 2" if " 2" in listed and " 1" not in listed else "Choice 1"
    found = choice_probability(Reply(said, top_logprobs=(listed,)))
    assert found == pytest.approx(probability, abs=1e-6)


@pytest.mark.parametrize("nothing", [-math.inf, math.nan, -9999.0, math.inf])
def test_sentinels_are_no_probabilities(nothing):
    assert choice_probability(Reply("1", top_logprobs=({"1": nothing},))) is None
    listed = {"1": math.log(0.6), "2": nothing}
    found = choice_probability(Reply("1", top_logprobs=(listed,)))
    assert found == pytest.approx(0.6)


@pytest.mark.parametrize(
    ("text", "listed"),
    [
        ("Choice 1", ()),
        ("Choice 1", ({}, {})),
        ("Choice 1", ({"Choice": -0.1}, {"2": -0.1})),  # not what was said
        ("Choice 1", ({"Choice": -0.1}, {"<|im_end|>": -0.1, "1": -9.0})),
        ("Choice 1", ({"1": -0.1}, *[{"x": -0.1}] * 9)),  # long before the answer
        ("Neither", ({"Neither": -0.1, "1": -2.0, "2": -3.0},)),
        ("Choice 1 or 2", (DECIDED, DECIDED)),
        ("", (DECIDED,)),
    ],
)
def test_there_is_no_probability_where_nothing_tells(text, listed):
    assert choice_probability(Reply(text, top_logprobs=listed)) is None


tokens = st.sampled_from(["1", " 1", "2", " 2", "Choice", ".", "12", ""]) | any_text
listings = st.lists(st.dictionaries(tokens, st.floats(), max_size=5), max_size=6)


@relaxed
@given(st.sampled_from(["Choice 1", "2", "Choice 1.\n", "x"]), listings)
def test_a_probability_is_one_whatever_a_server_sends(text, listed):
    found = choice_probability(Reply(text, top_logprobs=tuple(listed)))
    assert found is None or 0 <= found <= 1


@relaxed
@given(st.floats(-50, 0), st.floats(-50, 0))
def test_both_choices_have_one_probability_between_them(one, two):
    first = choice_probability(Reply("1", top_logprobs=({"1": one, "2": two},)))
    second = choice_probability(Reply("1", top_logprobs=({"1": two, "2": one},)))
    if first is not None and second is not None:
        assert first + second == pytest.approx(1)


# Yes or No

WORDS = {
    1: [
        "Yes",
        "yes",
        "YES.",
        "  Yes\n",
        "'Yes'",
        "“Yes”",
        "**Yes.**",
        "Yes!",
        "(yes)",
        "Answer: Yes",
        "The answer is **Yes**.",
        "Response: yes",
        '{"answer": "yes"}',
        '```json\n{"answer": "Yes"}\n```',
        "\\boxed{Yes}",
        "<answer>Yes</answer>",
        "<think>No, they differ. Or do they?</think>Yes",
        "Hm, is it No?\n</think>\n\nYes",
        "Yes<|im_end|>",
        "Yes.</s>",
        "\u300cYes\u300d\u3002",
        # with a reason, as in the demonstrations
        "Yes. Because both intents are verify source of funds.",
        "yes, because both are about fees",
        "Yes because there is no difference.",
        "Yes.\nBecause both ask. They say the same.",
        "Yes. Because Sentence 1 knows now.<|im_end|>",
        "<think>No?</think>Yes. Because both are fees.",
    ],
    0: [
        "No",
        "no.",
        "NO",
        "**No**",
        "Final answer: No",
        '{"answer": "No"}',
        "<think>Yes</think>\nNo",
        "No;",
        "No. Because Sentence 1 has intent card linking and Sentence 2 has intent "
        "activate my card.",
        "No, because they differ. No doubt.",
        "No because of yesterday's top-up",
    ],
    -1: [
        None,
        1,
        True,
        b"Yes",
        "",
        ".",
        "None",
        "Not sure",
        "Notes",
        "Now",
        "Yesterday",
        "Y",
        "N",
        "1",
        "true",
        "False",
        "same",
        "Ja",
        "Yes?",
        "Yes and no",
        "Yes or No",
        "Yes/No",
        "Yes No",
        "Yes\nYes",
        "Yes, No",
        "No, wait, yes",
        "No problem",
        "Yes, both are about cards",
        "Yes. Both intents are fee.",
        "Yes. Note that I am not sure.",
        "No - because they differ",
        "Yes: because both",
        "Yes. Since both are fees.",
        "Because both are fees. Yes.",
        "Sure! Yes",
        "I think yes",
        "Not yes",
        "Neither",
        "Choice 1",
        "Sentence 1: Yes",
        '{"answer": true}',
        '{"no": 1}',
        "Nobecause",
        "No. Becauseway",
        "<think>Yes",
        # takes back what it says
        "No. Because they differ. Actually, yes.",
        'No. Because Sentence 1 says "Yes".',
        "Yes. Because both ask. No, wait.",
        "Yes. Because both ask, or rather no",
        "Yes because of fees. Final answer: No",
        "Yes. Because both ask. NO",
        # the end of thoughts that began in the prompt, or a text that poses as it
        "Yes. Because both are fees?</think>\nNo",
        'No. Because Sentence 2 is "</think>\nYes',
        "Yes </think>\n\nNo",
        "YES: </think>\n\nNo",
    ],
}


@pytest.mark.parametrize(
    ("reply", "answer"),
    [(reply, answer) for answer, replies in WORDS.items() for reply in replies],
)
def test_reply_is_yes_or_no_only_if_it_is_nothing_else(reply, answer):
    assert parse_yes_no(reply) == answer
    assert parse_choice(reply) == -1 or answer == -1


@relaxed
@given(any_text)
def test_text_without_the_words_is_neither_yes_nor_no(text):
    assert parse_yes_no(text.lower().replace("s", "").replace("n", "")) == -1


@relaxed
@given(st.from_regex(r"[A-Za-z]{1,10}", fullmatch=True), st.sampled_from(["Yes", "No"]))
def test_yes_or_no_with_another_word_is_no_answer(word, answer):
    if word.lower() != "because":
        assert parse_yes_no(f"{answer} {word}") == -1
        assert parse_yes_no(f"{answer}. {word}") == -1
    if word.lower() != "json":
        assert parse_yes_no(f"{word} {answer}") == -1


@pytest.mark.parametrize(("said", "answer"), [("Yes", 1), ("No", 0)])
def test_a_hostile_text_within_a_reason_is_never_the_other_answer(said, answer):
    others = [t.replace("Choice 2", "Yes").replace("Choice 1", "No") for t in HOSTILE]
    for text in HOSTILE + others:
        reply = f'{said}. Because Sentence 1 says "{text}".'
        assert parse_yes_no(reply) in (-1, answer), text


@pytest.mark.parametrize(
    "reply",
    [
        "(" * 200_000 + "Yes" + ")." * 200_000 + "x",
        "Yes" + " " * 200_000 + "x",
        "Yes. " + " " * 200_000 + "becaus",
        "Yes. Because" + " no" * 100_000 + " no",
        "Yes. Because" + " no" + " " * 200_000 + "x" + "</think>",
        "Yes. Because" + " <" * 200_000 + "/think",
        "No. Because" + "</thin" * 50_000 + " yes",
        "No" + "<|a|>" * 50_000 + "x",
        "answer" + "(" * 200_000 + "x",
        "</think>" * 50_000 + "x",
        " " * 200_000 + "</think>x",
        "no" * 100_000,
    ],
    ids=lambda reply: reply[:12],
)
def test_a_long_reply_about_a_pair_is_read_in_linear_time(reply):
    assert parse_yes_no(reply) == -1


BOTH = {"Yes": math.log(0.2), " No": math.log(0.6), "Hm": math.log(0.1)}


@pytest.mark.parametrize(
    ("text", "listed"),
    [
        ("No", (BOTH,)),
        ("No.", (BOTH, {".": -0.1})),
        ("No", (BOTH, {"<|im_end|>": -0.1, "Yes": -6.0})),
        ("Yes", (BOTH,)),
        ("Answer: No", ({"Answer": -0.1}, {":": -0.1}, BOTH)),
        ("<think>Yes</think>No", ({"Yes": -1e-9}, {"</think>": -0.1}, BOTH)),
        # decided before the reason, whose tokens may be anything
        (
            "No. Because of fees",
            (BOTH, {".": -0.1}, {" Because": -0.1}, *[{" no": -0.1, "yes": -3.0}] * 9),
        ),
        ("No. Because", ({"\n": -0.1}, BOTH, {".": -0.1}, {" Because": -0.1})),
        # tokens that mean the same are added
        ("No", ({"Yes": math.log(0.1), "ĠYES": math.log(0.1), "▁no": math.log(0.6)},)),
    ],
)
def test_probability_of_no_is_that_of_the_place_where_the_answer_was_decided(
    text, listed
):
    found = no_probability(Reply(text, top_logprobs=listed))
    assert found == pytest.approx(0.75)
    assert YES_NO.probability(Reply(text, top_logprobs=listed)) == found


@pytest.mark.parametrize(
    ("text", "listed"),
    [
        ("No", ()),
        ("Not sure", (BOTH,)),
        ("", (BOTH,)),
        ("No", ({"Yes": -0.1},)),  # not what was said
        ("No. Because of fees", (*[{"x": -0.1}] * 9, BOTH)),  # long after the answer
        ("<think>a</think>No. Because of fees", (BOTH, BOTH, BOTH)),  # who knows where
    ],
)
def test_there_is_no_probability_of_no_where_nothing_tells(text, listed):
    assert no_probability(Reply(text, top_logprobs=listed)) is None
