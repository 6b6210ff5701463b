"""Oracles in a row, asked which category texts belong to, and which there are."""

import numpy as np
import pytest

from skllm_cluster.oracles import FirstAnswer, HumanOracle, LLMOracle, TruthOracle

TEXTS = ["card 1", "card 2", "fee 1", "fee 2"]
QUESTIONS = [([text], ["fee", "card"]) for text in TEXTS]


class Says:
    """An oracle that has its answers ready, and remembers what it was asked."""

    def __init__(self, answers=(), names=()):
        self.answers, self.names, self.asked = answers, names, []

    def answer_choices(self, questions):
        self.asked += questions
        return self.answers

    def propose_categories(self, texts, known=()):
        self.asked.append((texts, known))
        return self.names


class Judges(Says):
    def judge_choices(self, questions):
        return self.answer_choices(questions), [0.7] * len(questions)


def row(*oracles):
    return FirstAnswer([(f"o{i}", oracle) for i, oracle in enumerate(oracles)])


def test_each_oracle_is_asked_what_is_open_and_none_is_an_answer():
    first, second = Says([1, -1, 2, -1]), Says([0, -1])
    oracle = row(first, second)
    assert oracle.answer_choices(QUESTIONS).tolist() == [1, 0, 2, -1]
    assert second.asked == [QUESTIONS[1], QUESTIONS[3]]
    report = oracle.report()["oracles"]
    assert [(o["n_given"], o["n_answered"]) for o in report.values()] == [
        (4, 2),
        (2, 1),
    ]


def test_confidence_is_that_of_the_oracle_that_answered():
    answers, confidence = row(Says([1, -1, 2, -1]), Judges([0, -1])).judge_choices(
        QUESTIONS
    )
    assert answers.tolist() == [1, 0, 2, -1]
    np.testing.assert_array_equal(confidence, [np.nan, 0.7, np.nan, np.nan])


def test_labels_answer_before_a_model_and_no_pilot_is_put():
    labels = TruthOracle(TEXTS, ["card", "card", None, None])
    model = LLMOracle(lambda prompt: "fee", preflight=1)
    oracle = row(labels, model)
    assert oracle.answer_choices(QUESTIONS).tolist() == [1, 1, 0, 0]
    assert model.report()["n_asked"] == 2
    assert model.report()["preflight"] is None


@pytest.mark.parametrize(
    ("answers", "said"),
    [([3, 0, 0, 0], r"-1 to 2 .* got 3 at index 0"), ([0, 0.5, 0, 0], "got 0.5 at"),
     ([0], "a number for each of 4"), ([0, 0, -2, 0], "got -2 at index 2")],
)  # fmt: skip
def test_an_answer_that_is_none_is_refused_by_the_name_of_the_oracle(answers, said):
    with pytest.raises(ValueError, match=rf"The oracle 'o0' must return .*{said}"):
        row(Says(answers)).answer_choices(QUESTIONS)


def test_the_first_oracle_that_gives_a_name_proposes():
    first, second, third = Says(), Says(names=("fee", "card")), Says(names=["x"])
    oracle = row(first, second, third)
    assert oracle.propose_categories(TEXTS, ["pin"]) == ["fee", "card"]
    assert first.asked == second.asked == [(TEXTS, ["pin"])]
    assert third.asked == []
    assert row(Says(), Says()).propose_categories(TEXTS) == []


@pytest.mark.parametrize("names", ["card", None, [1]])
def test_what_is_no_list_of_names_is_refused_by_the_name_of_the_oracle(names):
    with pytest.raises(TypeError, match="The oracle 'o0' must return a list of str"):
        row(Says(names=names)).propose_categories(TEXTS)


def test_a_row_with_a_person_cannot_choose():
    oracle = row(TruthOracle(TEXTS, [0, 0, 1, 1]), HumanOracle())
    for method in ("answer_choices", "judge_choices", "propose_categories"):
        assert not hasattr(oracle, method)
    assert hasattr(oracle, "answer_pairs")
    with pytest.raises(AttributeError, match="no attribute 'propose_categories'") as e:
        oracle.propose_categories(TEXTS)
    assert "'o1', HumanOracle, cannot answer categories: it has no method" in str(
        e.value.__cause__
    )


def test_an_oracle_that_only_proposes_may_be_in_a_row():
    class Proposer:
        def propose_categories(self, texts, known=()):
            return ["x"]

    row(Proposer()).check()
    assert row(Proposer()).propose_categories(["a"]) == ["x"]
    with pytest.raises(TypeError, match=r"has none of the methods .*answer_triplets"):
        row(object()).check()
