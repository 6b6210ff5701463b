"""Choices and names from known labels."""

import itertools
import pickle
import random
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from skllm_cluster.oracles import TruthOracle
from skllm_cluster.protocols import CategoryOracle, ChoiceOracle

N, N_LABELS = 400, 8
TEXTS = [f"text {i}" for i in range(N)]
LABELS = [i % N_LABELS for i in range(N)]
NAMES = [f"category {label}" for label in range(N_LABELS)]
GROUPS = [[TEXTS[label], TEXTS[label + 8], TEXTS[label + 16]] for label in range(8)]


def ask(questions, labels=LABELS, **params):
    return TruthOracle(TEXTS, labels, **params).answer_choices(questions)


def numbered(names):
    """Names of the categories, for each text."""
    return [names[label] for label in LABELS]


# The truth


def test_the_option_with_the_label_of_the_text_is_named():
    oracle = TruthOracle(TEXTS, LABELS, names=numbered(NAMES))
    for options in (NAMES, GROUPS, NAMES[:4] + GROUPS[4:]):
        answers = oracle.answer_choices([([text], options) for text in TEXTS[24:]])
        assert answers.dtype.kind == "i"
        assert answers.tolist() == LABELS[24:]
    assert isinstance(oracle, ChoiceOracle)
    assert isinstance(oracle, CategoryOracle)


def test_without_names_a_label_is_its_own_name():
    assert ask([(["text 3"], ["1", "3"]), (["text 3"], ["label 3"])]).tolist() == [1, 1]
    assert ask([(["text 1"], ["b"])], list("ab") * 200).tolist() == [0]


def test_none_of_the_options_is_the_number_behind_them():
    found = ask(
        [(["text 3"], GROUPS[4:]), (["text 3"], ["nonsense"]), (["text 3"], [])]
    )
    assert found.tolist() == [4, 1, 0]


def test_of_several_right_options_the_first_is_named():
    assert ask([(["text 3"], ["1", GROUPS[3], "3"])]).tolist() == [2]  # its own name
    assert ask([(["text 3"], ["1", GROUPS[3], GROUPS[3][:1]])]).tolist() == [1]
    assert ask([(["text 3"], ["3", "3"])]).tolist() == [0]


def test_the_label_of_several_texts_is_that_of_most():
    three, four = GROUPS[3], GROUPS[4]
    questions = [
        ([*three[:2], four[0]], ["4", "3"]),
        ([four[0], *three[:2]], ["4", "3"]),
        ([four[0], *three[:2]], [[*three, *four[:2]], four]),
        ([three[0], four[0]], ["4", "3"]),  # a tie: either is right
        ([three[0], four[0]], ["3", "4"]),
    ]
    assert ask(questions).tolist() == [1, 1, 0, 0, 0]


@pytest.mark.parametrize("unknown", [-1, None, np.nan, pd.NA])
def test_unknown_labels_do_not_count_and_alone_are_no_answer(unknown):
    labels = [unknown if i < 100 else label for i, label in enumerate(LABELS)]
    questions = [
        (["text 1"], ["1", "2"]),
        (["text 1", "text 2", "text 105"], ["1", "2"]),
        (["text 105"], [["text 1", "text 2"], ["text 3", "text 113"]]),
        (["text 105"], [["text 1", "text 2"]]),
    ]
    assert ask(questions, labels).tolist() == [-1, 0, 1, 1]


def test_a_text_with_several_labels_belongs_to_each():
    oracle = TruthOracle(["a", "a", "b", "c"], ["x", "y", "y", "x"])
    questions = [(["a"], ["z", "y"]), (["a"], ["x"]), (["b"], ["x", ["a"]])]
    assert oracle.answer_choices(questions).tolist() == [1, 0, 1]


def test_a_category_with_two_names_is_chosen_by_its_own_or_else_by_the_other():
    names = [f"{label} {'even' if i % 16 < 8 else 'odd'}" for i, label in
             enumerate(LABELS)]  # fmt: skip
    questions = [
        (["text 3"], ["3 odd", "3 even"]),
        (["text 11"], ["3 even", "3 odd"]),
        (["text 11"], ["4 odd", "3 even"]),
        (["text 3", "text 19", "text 11"], ["3 odd", "3 even"]),
        (["text 3"], ["3 odd", GROUPS[3]]),
    ]
    assert ask(questions, names=names).tolist() == [1, 1, 1, 1, 0]


def test_a_name_of_two_categories_is_right_for_both():
    names = numbered(["0", "1", "2", "3 or 4", "3 or 4", "5", "6", "7"])
    questions = [([text], ["0", "3 or 4"]) for text in ("text 3", "text 4", "text 5")]
    assert ask(questions, names=names).tolist() == [1, 1, 2]


# Errors


@pytest.mark.parametrize("accuracy", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("m", [1, 7, 8])
def test_as_many_answers_are_true_as_the_accuracy_says(accuracy, m):
    rng = random.Random(0)
    questions = [([text], rng.sample(NAMES, m)) for text in TEXTS * 5]
    params = {"names": numbered(NAMES), "accuracy": accuracy, "random_state": 0}
    found = ask(questions, **params)
    right = ask(questions, **params | {"accuracy": 1.0})
    distinct = {(t[0], tuple(o)): a == b for (t, o), a, b in
                zip(questions, found, right, strict=True)}  # fmt: skip
    assert all(0 <= a <= m for a in found)
    assert np.mean(list(distinct.values())) == pytest.approx(accuracy, abs=0.08)


def test_a_wrong_answer_is_each_of_the_others_alike():
    oracle = TruthOracle(TEXTS, LABELS, accuracy=0.0, random_state=0)
    options = ["0", "1", "2"]
    counts = Counter()
    for seed in range(20):
        oracle.set_params(random_state=seed)
        found = oracle.answer_choices([([t], options) for t in TEXTS if t[-1] != "x"])
        counts.update(zip((min(i, 3) for i in LABELS), found.tolist(), strict=True))
    for truth in range(4):
        own = {a: n for (t, a), n in counts.items() if t == truth}
        assert set(own) == set(range(4)) - {truth}
        assert max(own.values()) < 1.2 * min(own.values())


def test_an_error_never_names_another_right_option():
    options = ["3", "3", GROUPS[3], "4"]
    oracle = TruthOracle(TEXTS, LABELS, accuracy=0.0)
    found = oracle.answer_choices([([text], options) for text in TEXTS[3::8]])
    # By its own name, so the group, which would do as well, is an error.
    assert set(found) == {2, 3, 4}
    oracle.set_params(names=numbered(NAMES))
    same = [GROUPS[3], GROUPS[3][::-1], "category 4"]
    found = oracle.answer_choices([([text], same) for text in TEXTS[3::8]])
    assert set(found) == {2, 3}


def said(question, answer):
    _, options = question
    return "none" if answer == len(options) else str(options[answer])


def test_asking_again_in_any_order_or_batch_says_the_same():
    rng = random.Random(0)
    questions = [(rng.sample(TEXTS, 3), rng.sample(NAMES + GROUPS, 6)) for _ in TEXTS]
    turned = [
        (rng.sample(texts, 3), rng.sample(options, 6)) for texts, options in questions
    ]
    oracle = TruthOracle(TEXTS, LABELS, names=numbered(NAMES), accuracy=0.0,
                         random_state=0)  # fmt: skip
    whole = oracle.answer_choices(questions)
    alone = [oracle.answer_choices([q])[0] for q in reversed(questions)]
    assert whole.tolist() == alone[::-1]
    assert [said(q, a) for q, a in zip(questions, whole, strict=True)] == [
        said(q, a) for q, a in zip(turned, oracle.answer_choices(turned), strict=True)
    ]
    twin = pickle.loads(pickle.dumps(oracle))
    np.testing.assert_array_equal(twin.answer_choices(questions), whole)
    other = clone(oracle).set_params(random_state=1)
    assert (other.answer_choices(questions) != whole).any()


def test_where_labels_say_nothing_the_coin_has_a_side_for_each_answer():
    labels = [-1] * N
    questions = [([text], NAMES[:3]) for text in TEXTS]
    found = ask(questions, labels, undetermined="random", random_state=0)
    assert all(n > 60 for n in Counter(found.tolist()).values())
    assert set(found) == {0, 1, 2, 3}
    assert set(ask(questions, labels)) == {-1}


def test_doubts_say_how_likely_an_answer_is_right():
    oracle = TruthOracle(TEXTS, LABELS, accuracy=0.75, random_state=0)
    questions = [([t], [str(i), "x", "y"]) for t, i in zip(TEXTS, LABELS, strict=True)]
    assert np.isnan(oracle.judge_choices(questions)[1]).all()
    oracle.set_params(doubts=True)
    answers, confidence = oracle.judge_choices(questions)
    assert 0.5 <= confidence.min() < 0.55 < 0.95 < confidence.max() <= 1
    sure = confidence > 0.75
    assert (answers[sure] == 0).mean() > (answers[~sure] == 0).mean() + 0.1
    assert confidence.mean() == pytest.approx(0.75, abs=0.03)
    oracle.set_params(labels=[-1] * N)
    assert np.isnan(oracle.judge_choices(questions)[1]).all()
    _, coin = oracle.set_params(undetermined="random").judge_choices(questions)
    assert set(coin) == {0.25}


# Names


def test_the_names_of_the_texts_that_are_shown_are_proposed_and_no_others():
    oracle = TruthOracle(TEXTS, LABELS, names=numbered(NAMES))
    shown = ["text 3", "text 12", "text 11", "text 1"]
    assert oracle.propose_categories(shown) == [
        "category 3",
        "category 4",
        "category 1",
    ]
    assert oracle.propose_categories(shown, ["Category  4"]) == [
        "category 3",
        "category 1",
    ]
    assert oracle.propose_categories(shown, NAMES) == []
    assert oracle.propose_categories([]) == []


def test_unlabelled_texts_propose_nothing():
    oracle = TruthOracle(["a", "b", "c"], ["x", None, "y"], names=["X", "none", "Y"])
    assert oracle.propose_categories(["b", "c", "a"]) == ["Y", "X"]
    assert oracle.propose_categories(["b"]) == []
    assert oracle.answer_choices([(["a"], ["none"])]).tolist() == [1]


def test_a_text_is_taken_for_another_that_is_shown_as_often_as_the_accuracy_says():
    oracle = TruthOracle(TEXTS, LABELS, accuracy=0.7)
    n_own = n = 0
    for seed in range(60):
        oracle.set_params(random_state=seed)
        shown = random.Random(seed).sample(TEXTS, 2)
        labels = [str(LABELS[TEXTS.index(text)]) for text in shown]
        if labels[0] == labels[1]:
            continue
        names = oracle.propose_categories(shown)
        assert set(names) <= set(labels)
        # Both right, or both exchanged: two names. One of them wrong: one.
        n_own += len(names) == 2
        n += 1
        assert sorted(oracle.propose_categories(shown[::-1])) == sorted(names)
        assert oracle.propose_categories(shown[:1]) in ([labels[0]], [])
    assert n_own / n == pytest.approx(0.7**2 + 0.3**2, abs=0.2)


def test_the_same_texts_are_taken_for_the_same():
    oracle = TruthOracle(TEXTS, LABELS, accuracy=0.3, random_state=0)
    names = oracle.propose_categories(TEXTS[:12])
    assert names == oracle.propose_categories(TEXTS[:12])
    assert sorted(names) == sorted(oracle.propose_categories(TEXTS[11::-1]))
    kept = [name for name in names if name != names[0]]
    assert oracle.propose_categories(TEXTS[:12], [names[0]]) == kept
    assert kept


# Parameters


@pytest.mark.parametrize(
    "wrong", [{"names": ["a"]}, {"names": "ab"}, {"names": [1, 2]}, {"accuracy": 2}]
)
def test_a_wrong_parameter_is_refused_at_the_first_question(wrong):
    oracle = TruthOracle(["a", "b"], [0, 1], **wrong)
    said = "names must|accuracy must"
    with pytest.raises((TypeError, ValueError), match=said):
        oracle.answer_choices([(["a"], ["0"])])
    with pytest.raises((TypeError, ValueError), match=said):
        oracle.propose_categories(["a"])


def test_new_names_take_effect_and_labels_need_none():
    oracle = TruthOracle(["a", "b"], [0, 1])
    assert oracle.propose_categories(["a"]) == ["0"]
    assert oracle.set_params(names=["x", "y"]).propose_categories(["a"]) == ["x"]
    assert oracle.answer_pairs([("a", "b")]).tolist() == [0]


@pytest.mark.parametrize("where", range(3))
def test_an_unknown_text_is_refused_wherever_it_stands(where):
    oracle = TruthOracle(["a", "b"], [0, 1])
    with pytest.raises(ValueError, match="does not know the text 'other'"):
        if where == 0:
            oracle.answer_choices([(["other"], ["0"])])
        elif where == 1:
            oracle.answer_choices([(["a"], ["0", ["b", "other"]])])
        else:
            oracle.propose_categories(["a", "other"])


def test_what_is_no_question_is_refused():
    oracle = TruthOracle(["a", "b"], [0, 1])
    with pytest.raises(TypeError, match=r"texts of the question .* sequence of str"):
        oracle.answer_choices([("a", ["0"])])
    for wrong in ({"texts": "a"}, {"texts": ["a"], "known": "b"}, {"texts": [1]}):
        with pytest.raises(TypeError, match="must be a sequence of str"):
            oracle.propose_categories(**wrong)


def test_an_oracle_that_knows_sets_says_that_it_answers_sets_alone():
    oracle = TruthOracle.from_sets([["a", "b"]], [[0, 1]])
    asked = itertools.chain(
        [lambda: oracle.answer_choices([(["a"], ["0"])])],
        [lambda: oracle.propose_categories(["a"])],
    )
    for ask_it in asked:
        with pytest.raises(ValueError, match="TruthOracle answers sets alone"):
            ask_it()
