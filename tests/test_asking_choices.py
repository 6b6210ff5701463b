"""From questions with options to checked answers, and to checked names."""

import numpy as np
import pytest

from skllm_cluster._asking import (
    ask_choices,
    can_choose,
    can_propose,
    check_oracle,
    propose,
    warn_if_useless,
)
from skllm_cluster.oracles import FirstAnswer, HumanOracle, LLMOracle, TruthOracle

QUESTIONS = [(["a"], ["x", "y"]), (["b"], [["c"]]), (["d"], [])]


class Answers:
    def __init__(self, answers):
        self.answers = answers

    def answer_choices(self, questions):
        assert questions == QUESTIONS
        return self.answers


class Judges(Answers):
    def __init__(self, answers, confidence):
        self.answers, self.confidence = answers, confidence

    def judge_choices(self, questions):
        return self.answer_choices(questions), self.confidence


class Proposes:
    def __init__(self, names):
        self.names = names

    def propose_categories(self, texts, known=()):
        return self.names


def test_answers_come_with_nan_where_the_oracle_does_not_tell():
    answers, confidence = ask_choices(Answers([2, -1, 0]), QUESTIONS)
    assert answers.tolist() == [2, -1, 0]
    assert answers.dtype == np.intp
    assert confidence.shape == (3,)
    assert np.isnan(confidence).all()


def test_confidence_is_handed_on_but_for_no_answer():
    answers, confidence = ask_choices(Judges([1, -1, 0], [0.3, 0.9, np.nan]), QUESTIONS)
    assert answers.tolist() == [1, -1, 0]
    np.testing.assert_array_equal(confidence, [0.3, np.nan, np.nan])


def test_no_questions_are_not_asked():
    answers, confidence = ask_choices(None, [])
    assert (answers.shape, confidence.shape) == ((0,), (0,))


@pytest.mark.parametrize(
    "answers",
    [[0, 0], [0, 0, 0, 0], [[0], [0], [0]], [0.0, 0.0, 0.0], ["0", "1", "0"], None, 0],
)
def test_answers_of_another_form_are_refused(answers):
    with pytest.raises(
        ValueError, match=r"Answers.answer_choices must return an int for each of 3"
    ):
        ask_choices(Answers(answers), QUESTIONS)


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ([3, 0, 0], r"from 0 to 1, 2 for none of them.* got 3 for question 0"),
        ([0, -2, 0], r"from 0 to 0, 1 for none of them.* got -2 for question 1"),
        ([0, 2, 0], "got 2 for question 1"),
        ([0, 0, 1], "got 1 for question 2"),
    ],
)
def test_an_answer_that_is_no_option_is_refused(answers, said):
    with pytest.raises(ValueError, match=said):
        ask_choices(Answers(answers), QUESTIONS)
    with pytest.raises(ValueError, match=said):
        ask_choices(Judges(answers, [0.5] * 3), QUESTIONS)


@pytest.mark.parametrize("confidence", [[0.5], [0.5, 0.5, 1.1], [-0.1, 0.5, 0.5], 0.5])
def test_a_confidence_that_is_none_is_refused(confidence):
    with pytest.raises(ValueError, match=r"Judges.judge_choices must .* in \[0, 1\]"):
        ask_choices(Judges([0, 0, 0], confidence), QUESTIONS)


def test_names_are_stripped_and_known_equal_and_empty_ones_dropped():
    oracle = Proposes([" card\nlost ", "", "  ", "Card Lost", "TOP-UP", "fee", "Fee"])
    assert propose(oracle, ["a"], ["top-up"]) == ["card lost", "fee"]
    assert propose(Proposes(()), ["a"]) == []
    assert propose(Proposes(np.array(["x"])), ["a"]) == ["x"]


@pytest.mark.parametrize("names", ["card", None, 5, iter(["a"])])
def test_what_is_no_list_of_names_is_refused(names):
    with pytest.raises(TypeError, match=r"Proposes.propose_categories must .* list of"):
        propose(Proposes(names), ["a"])


@pytest.mark.parametrize("name", [None, 5, b"x"])
def test_what_is_no_name_is_refused_by_its_index(name):
    with pytest.raises(TypeError, match=r"Proposes.propose_categories .* at index 1"):
        propose(Proposes(["a", name]), ["a"])


def test_who_can_choose_and_who_can_propose_is_told():
    truth, model = TruthOracle(["a"], [0]), LLMOracle(lambda prompt: "1")
    for oracle in (truth, model, FirstAnswer([("t", truth), ("m", model)])):
        assert can_choose(oracle)
        assert can_propose(oracle)
        check_oracle(oracle, kind="choices")
    person = HumanOracle()
    for oracle in (person, FirstAnswer([("t", truth), ("p", person)]), None, object()):
        assert not can_choose(oracle)
        assert not can_propose(oracle)


def test_an_oracle_that_cannot_choose_is_refused_with_a_way_out():
    with pytest.raises(
        TypeError,
        match=r"HumanOracle cannot answer choices: it has no method 'answer_choices'. "
        r"Use an oracle such as LLMOracle, or refiner=None to ask triplets",
    ):
        check_oracle(HumanOracle(), kind="choices")
    row = FirstAnswer([("t", TruthOracle(["a"], [0])), ("person", HumanOracle())])
    with pytest.raises(TypeError, match="cannot answer choices") as error:
        check_oracle(row, kind="choices")
    assert "'person', HumanOracle, cannot answer choices" in str(
        error.value.__cause__.__cause__
    )


def test_choices_without_use_are_told():
    with pytest.warns(UserWarning, match="no usable answer to 20 of 20 choices"):
        warn_if_useless(object(), "choices", np.full(20, -1))
    warn_if_useless(object(), "choices", np.array([-1] * 9 + [0]))
