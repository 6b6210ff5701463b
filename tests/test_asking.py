"""From triplets to answers: known labels first, then the oracle."""

import numpy as np
import pandas as pd
import pytest

from skllm_cluster._asking import (
    ask_triplets,
    check_labels,
    check_oracle,
    chosen_first,
    plan_triplets,
)

TEXTS = [f"text {i}" for i in range(8)]
LABELS = np.array([0, 0, 0, 1, 1, -1, -1, 2])
DECIDED = np.array([[0, 1, 3], [0, 3, 1], [4, 7, 3]])  # answers 0, 1, 1
UNDECIDED = np.array([[0, 1, 2], [0, 3, 7]])  # both choices are right, or neither is
UNKNOWN = np.array([[5, 0, 3], [0, 5, 3], [0, 3, 6]])
TRIPLETS = np.concatenate([UNKNOWN[:1], DECIDED, UNKNOWN[1:], UNDECIDED])


class Recorder:
    """An oracle that gives fixed answers and remembers the questions."""

    def __init__(self, answers=None):
        self.answers, self.questions = answers, []

    def answer_triplets(self, triplets):
        self.questions += triplets
        return np.zeros(len(triplets), int) if self.answers is None else self.answers


class Reporting(Recorder):
    def report(self):
        return {"first_unusable_reply": "Sure! Both are fine.", "tokens": 12}


def never(*_):
    pytest.fail("the oracle was asked")


def texts_of(triplets):
    return [tuple(TEXTS[i] for i in row) for row in triplets]


def test_without_labels_the_oracle_is_asked_everything_in_order():
    oracle = Recorder(answers=[0, 1, -1, 0, 1, 0, -1, 1])
    answers, _, report = ask_triplets(oracle, TEXTS, TRIPLETS)
    assert answers.tolist() == [0, 1, -1, 0, 1, 0, -1, 1]
    assert answers.dtype.kind == "i"
    assert oracle.questions == texts_of(TRIPLETS)
    assert report == {
        "questions": 8,
        "known": 0,
        "asked": 8,
        "usable": 6,
        "first_choice_rate": 0.5,
    }


def test_known_labels_answer_for_nothing_and_the_oracle_is_asked_the_rest():
    oracle = Recorder(answers=[1, 0, -1])
    answers, _, report = ask_triplets(oracle, TEXTS, TRIPLETS, LABELS)
    assert oracle.questions == texts_of(UNKNOWN)
    assert answers.tolist() == [1, 0, 1, 1, 0, -1, -1, -1]
    assert report == {
        "questions": 8,
        "known": 5,
        "asked": 3,
        "usable": 5,
        "first_choice_rate": 0.4,
    }


def test_known_labels_that_decide_nothing_are_not_asked_about():
    oracle = Recorder()
    oracle.answer_triplets = never
    answers, _, report = ask_triplets(oracle, TEXTS, UNDECIDED, LABELS)
    assert answers.tolist() == [-1, -1]
    assert (report["known"], report["asked"], report["usable"]) == (2, 0, 0)
    assert report["first_choice_rate"] is None


def test_all_unlabelled_is_as_no_labels():
    oracle = Recorder()
    ask_triplets(oracle, TEXTS, TRIPLETS, np.full(8, -1))
    assert oracle.questions == texts_of(TRIPLETS)


def test_report_of_the_oracle_is_handed_on():
    _, _, report = ask_triplets(Reporting(), TEXTS, TRIPLETS)
    assert report["oracle"] == {
        "first_unusable_reply": "Sure! Both are fine.",
        "tokens": 12,
    }


@pytest.mark.parametrize(
    "answers",
    [
        [0] * 7,
        [0] * 9,
        [[0]] * 8,
        0,
        [2] * 8,
        [0.5] * 8,
        [float("nan")] * 8,
        ["Choice 1"] * 8,
        [None] * 8,
        None,
    ],
    ids=str,
)
def test_answers_of_a_wrong_number_or_value_are_refused(answers):
    oracle = Recorder()
    oracle.answer_triplets = lambda triplets: answers
    with pytest.raises(
        ValueError, match=r"Recorder.answer_triplets must return one of -1, 0 and 1 for"
    ):
        ask_triplets(oracle, TEXTS, TRIPLETS)


@pytest.mark.parametrize(
    "answers", [tuple([1] * 8), pd.Series([1] * 8), np.ones(8, np.int8), np.ones(8)]
)
def test_answers_may_be_any_array_of_the_right_numbers(answers):
    got, *_ = ask_triplets(Recorder(answers), TEXTS, TRIPLETS)
    assert got.tolist() == [1] * 8
    assert got.dtype == np.intp


def test_an_oracle_of_no_use_is_warned_about_with_its_first_reply():
    triplets = np.tile(TRIPLETS, (5, 1))
    with pytest.warns(
        UserWarning,
        match=r"no usable answer to 39 of 40 triplets; .* was 'Sure! Both are fine.'",
    ):
        ask_triplets(Reporting([1] + [-1] * 39), TEXTS, triplets)
    with pytest.warns(UserWarning, match=r"to 8 of 8 triplets\. Check the perspective"):
        ask_triplets(Recorder([-1] * 8), TEXTS, TRIPLETS)


def test_an_oracle_that_answers_one_in_twenty_is_not_warned_about():
    triplets = np.tile(TRIPLETS, (5, 1))
    ask_triplets(Recorder([1, 1] + [-1] * 38), TEXTS, triplets)


def test_questions_that_labels_leave_open_do_not_speak_against_the_oracle():
    ask_triplets(
        Recorder([0]), TEXTS, np.concatenate([UNDECIDED] * 30 + [UNKNOWN[:1]]), LABELS
    )


def test_usable_triplets_are_turned_so_that_the_choice_taken_comes_first():
    triplets = np.array([[0, 1, 2], [3, 4, 5], [6, 7, 8]])
    kept = triplets.copy()
    turned = chosen_first(triplets, np.array([1, -1, 0]))
    assert turned.tolist() == [[0, 2, 1], [6, 7, 8]]
    np.testing.assert_array_equal(triplets, kept)
    assert chosen_first(triplets, np.full(3, -1)).shape == (0, 3)


def test_no_labels_are_none():
    assert check_labels(None, 3) is None


@pytest.mark.parametrize(
    "y",
    [
        [7, -1, 3, 7],
        [7.0, -1.0, 3.0, 7.0],
        np.array(["x", -1, "b", "x"], dtype=object),
        np.array(["x", None, "b", "x"], dtype=object),
        pd.Series(["x", None, "b", "x"], dtype=object, index=[3, 1, 2, 0]),
        ["x", -1, "b", "x"],
        [7.0, np.nan, 3.0, 7.0],
        np.array(["x", np.nan, "b", "x"], dtype=object),
        pd.Series(["x", None, "b", "x"]),
        pd.Series([7, None, 3, 7], dtype="Int64"),
    ],
    ids=[
        "int",
        "float",
        "str",
        "None",
        "Series of object",
        "list of str and int",
        "NaN",
        "str and NaN",
        "Series of str",
        "Series of Int64",
    ],
)
def test_labels_are_numbered_and_a_missing_one_or_minus_1_stays_unlabelled(y):
    codes = check_labels(y, 4)
    assert codes[1] == -1
    assert (codes >= 0).tolist() == [True, False, True, True]
    assert codes[0] == codes[3] != codes[2]


def test_strings_are_labels():
    assert check_labels(["b", "a", "b"], 3).tolist() == [1, 0, 1]


def test_labels_of_another_length_are_refused():
    with pytest.raises(ValueError, match=r"for each of the 4 texts .*got 3"):
        check_labels([0, 1, 2], 4)


def test_an_oracle_without_triplets_is_refused_and_one_that_can_check_itself_does():
    with pytest.raises(TypeError, match=r"str cannot answer triplets.*oracle=None"):
        check_oracle("gpt-4")

    class Checking(Recorder):
        def check(self):
            raise ValueError("no key")

    check_oracle(Recorder())
    with pytest.raises(ValueError, match="no key"):
        check_oracle(Checking())


class Judge(Reporting):
    """An oracle that knows how sure it is, and wants a pilot."""

    def __init__(self, answers, confidence, needed=True):
        super().__init__(answers)
        self.confidence, self.needed, self.pilots = confidence, needed, []

    def needs_preflight(self, triplets):
        return self.needed

    def preflight_triplets(self, triplets, expected):
        self.pilots.append((triplets, expected))

    def judge_triplets(self, triplets):
        return self.answer_triplets(triplets), self.confidence

    def plan(self, triplets, price=1):
        return {"calls": len(triplets), "price": price}


CORNERS = np.array(
    [[1, 0], [0.9, 0.1], [0.8, 0], [0, 1], [0, 2], [1, 1], [3, 1], [0, 1]]
)


def test_an_oracle_that_knows_how_sure_it_is_gets_to_say_so():
    oracle = Judge([1, 0, -1], [0.6, 0.9, np.nan])
    answers, confidence, report = ask_triplets(
        oracle, TEXTS, TRIPLETS, LABELS, embeddings=CORNERS
    )
    assert answers.tolist() == [1, 0, 1, 1, 0, -1, -1, -1]
    # Known labels are sure; what is no answer has no confidence.
    np.testing.assert_array_equal(
        confidence, [0.6, 1, 1, 1, 0.9, np.nan, np.nan, np.nan]
    )
    table = report["calibration"]
    assert table["n"] == [1, 1]
    assert table["left_out"] == 1
    # (5, 0, 3) is a tie, taken as 0; (0, 5, 3) is nearer to 5.
    assert table["correct"] == [0.0, 1.0]


def test_without_any_confidence_there_is_no_calibration():
    oracle = Judge([1, 0, -1], [np.nan] * 3)
    _, confidence, report = ask_triplets(
        oracle, TEXTS, UNKNOWN, LABELS, embeddings=CORNERS
    )
    assert np.isnan(confidence).all()
    assert "calibration" not in report


@pytest.mark.parametrize("needed", [True, False])
def test_a_pilot_sees_the_questions_and_what_the_embedder_would_answer(needed):
    oracle = Judge([1, 0, -1], [np.nan] * 3, needed)
    ask_triplets(oracle, TEXTS, TRIPLETS, LABELS, embeddings=CORNERS)
    assert len(oracle.pilots) == needed
    for questions, expected in oracle.pilots:
        assert questions == texts_of(UNKNOWN)
        assert expected.tolist() == [0, 0, 1]
    oracle.pilots.clear()
    ask_triplets(oracle, TEXTS, TRIPLETS, LABELS)
    assert [expected for _, expected in oracle.pilots] == [None] * needed


def test_an_oracle_is_not_called_useless_for_what_it_has_not_been_asked_yet():
    class Open(Judge):
        def report(self):
            return {"n_open": 3}

    answers, _, report = ask_triplets(
        Open([-1] * 3, [np.nan] * 3), TEXTS, UNKNOWN, LABELS
    )
    assert (answers == -1).all()
    assert report["oracle"] == {"n_open": 3}


def test_a_plan_counts_what_is_known_and_lets_the_oracle_plan_the_rest():
    oracle = Judge([], [])
    oracle.answer_triplets = never
    plan = plan_triplets(oracle, TEXTS, TRIPLETS, LABELS, price=3)
    assert plan == {"known": 5, "oracle": {"calls": 3, "price": 3}}
    assert plan_triplets(Recorder(), TEXTS, TRIPLETS) == {"known": 0}


def test_who_overrides_how_questions_are_answered_is_asked_that_way():
    class Silent(Judge):
        def answer_triplets(self, triplets):
            return [-1] * len(triplets)

    class Loud(Silent):
        def judge_triplets(self, triplets):
            return [1] * len(triplets), [0.9] * len(triplets)

    with pytest.warns(UserWarning, match="no usable answer"):
        answers, *_ = ask_triplets(Silent([0] * 3, [1.0] * 3), TEXTS, UNKNOWN)
    assert answers.tolist() == [-1, -1, -1]
    assert ask_triplets(Loud([], []), TEXTS, UNKNOWN)[1].tolist() == [0.9] * 3
    patched = Loud([], [])
    patched.answer_triplets = lambda triplets: [0] * len(triplets)
    assert ask_triplets(patched, TEXTS, UNKNOWN)[0].tolist() == [0, 0, 0]
    taught = Recorder()
    taught.judge_triplets = lambda triplets: ([1] * 3, [0.8] * 3)
    assert ask_triplets(taught, TEXTS, UNKNOWN)[1].tolist() == [0.8] * 3


def test_an_oracle_may_be_anything_that_can_be_asked():
    class Proxy:
        def __init__(self, inner):
            self.inner = inner

        def __getattr__(self, name):
            return getattr(self.inner, name)

    proxy = Proxy(Judge([1] * 3, [0.7] * 3, needed=False))
    assert ask_triplets(proxy, TEXTS, UNKNOWN)[1].tolist() == [0.7] * 3
    proxy = Proxy(Recorder([1] * 3))
    assert np.isnan(ask_triplets(proxy, TEXTS, UNKNOWN)[1]).all()


@pytest.mark.parametrize("confidence", [[0.9, 1.1, 0.5], [0.9], [[0.9] * 3]])
def test_a_confidence_that_is_none_is_refused(confidence):
    with pytest.raises(ValueError, match=r"Judge.judge_triplets must return a conf"):
        ask_triplets(Judge([0, 1, 1], confidence), TEXTS, UNKNOWN)


def test_an_answer_that_the_oracle_itself_doubts_counts_as_a_coin():
    judge = Judge([0, 1, -1], [0.2, 0.9, np.nan])
    confidence = ask_triplets(judge, TEXTS, UNKNOWN)[1]
    np.testing.assert_array_equal(confidence, [0.5, 0.9, np.nan])
