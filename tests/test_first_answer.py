"""Oracles in a row, each asked what those before it left open."""

import pickle

import numpy as np
import pytest
from sklearn.base import BaseEstimator, clone

from skllm_cluster.oracles import FirstAnswer, TruthOracle
from skllm_cluster.protocols import Oracle

TRIPLETS = [(f"anchor {i}", f"left {i}", f"right {i}") for i in range(6)]


class Knows(BaseEstimator):
    """Answers the triplets whose number is a key of ``known``; remembers the rest."""

    def __init__(self, known=None, fail=False):
        self.known = known
        self.fail = fail

    def answer_triplets(self, triplets):
        self.asked_ = [*getattr(self, "asked_", []), triplets]
        numbers = [int(anchor.split()[1]) for anchor, _, _ in triplets]
        return [(self.known or {}).get(number, -1) for number in numbers]

    def check(self):
        if self.fail:
            raise ValueError("no key")

    def report(self):
        return {"n_asked": 7, "n_given": "its own"}


class Judges(Knows):
    """Says how sure it is: 0.9 of every answer, and of no answer too."""

    def judge_triplets(self, triplets):
        answers = self.answer_triplets(triplets)
        return np.array(answers), np.full(len(answers), 0.9)


class Plain:
    """No estimator, no check, no report."""

    def answer_triplets(self, triplets):
        return np.zeros(len(triplets), dtype=int)


def test_it_is_an_oracle():
    assert isinstance(FirstAnswer([("a", Plain())]), Oracle)


def test_an_earlier_answer_wins_over_a_later_one_and_any_over_none():
    first, second = Knows({0: 0, 1: 1}), Knows({0: 1, 1: 0, 2: 0, 3: 1})
    answers = FirstAnswer([("a", first), ("b", second)]).answer_triplets(TRIPLETS)
    assert answers.dtype.kind == "i"
    assert answers.tolist() == [0, 1, 0, 1, -1, -1]


def test_each_oracle_is_asked_what_is_open_and_in_the_order_given():
    first, second = Knows({1: 0, 4: 1}), Knows({0: 1})
    FirstAnswer([("a", first), ("b", second)]).answer_triplets(TRIPLETS)
    assert first.asked_ == [TRIPLETS]
    assert second.asked_ == [[TRIPLETS[i] for i in (0, 2, 3, 5)]]


def test_an_oracle_is_not_asked_when_nothing_is_open():
    last = Knows()
    oracle = FirstAnswer([("a", Plain()), ("b", last)])
    assert oracle.answer_triplets(TRIPLETS).tolist() == [0] * 6
    assert oracle.answer_triplets([]).shape == (0,)
    assert not hasattr(last, "asked_")


def test_confidences_are_those_of_who_answered_and_none_is_made_up():
    oracle = FirstAnswer([("a", Knows({0: 1})), ("b", Judges({1: 0})), ("c", Knows())])
    answers, confidence = oracle.judge_triplets(TRIPLETS[:3])
    assert answers.tolist() == [1, 0, -1]
    np.testing.assert_array_equal(confidence, [np.nan, 0.9, np.nan])


def test_no_answer_has_no_confidence():
    answers, confidence = FirstAnswer([("a", Judges({1: 0}))]).judge_triplets(TRIPLETS)
    np.testing.assert_array_equal(np.isnan(confidence), answers < 0)


def test_a_later_answer_without_confidence_takes_over_no_doubt_of_an_earlier_one():
    oracle = FirstAnswer([("a", Judges()), ("b", Plain())])
    answers, confidence = oracle.judge_triplets(TRIPLETS[:2])
    assert answers.tolist() == [0, 0]
    assert np.isnan(confidence).all()


def test_known_labels_come_first_and_a_model_takes_the_rest():
    texts = [text for triplet in TRIPLETS for text in triplet]
    labels = [i if i < 3 and not t.startswith("left") else -1
              for i, triplet in enumerate(TRIPLETS) for t in triplet]  # fmt: skip
    labels[1] = "another"
    oracle = FirstAnswer([("labels", TruthOracle(texts, labels)), ("model", Plain())])
    assert oracle.answer_triplets(TRIPLETS).tolist() == [1, 0, 0, 0, 0, 0]
    report = oracle.report()["oracles"]
    assert report["labels"] == {"n_given": 6, "n_answered": 1}
    assert report["model"] == {"n_given": 5, "n_answered": 5}


def test_the_report_adds_up_over_calls_beside_each_oracles_own():
    oracle = FirstAnswer([("a", Knows({0: 0, 1: 1})), ("b", Plain())])
    assert oracle.report()["oracles"]["b"] == {"n_given": 0, "n_answered": 0}
    oracle.answer_triplets(TRIPLETS)
    oracle.judge_triplets(TRIPLETS[:3])
    assert oracle.report()["oracles"] == {
        "a": {"n_asked": 7, "n_given": 9, "n_answered": 4},
        "b": {"n_given": 5, "n_answered": 5},
    }


def test_what_is_open_and_the_first_useless_reply_are_told_over_all(monkeypatch):
    reports = {
        "a": {"n_open": 3, "first_unusable_reply": None},
        "b": {"n_open": 4, "first_unusable_reply": "Sure!"},
    }
    oracle = FirstAnswer([("a", Knows()), ("b", Judges()), ("c", Plain())])
    assert oracle.report()["first_unusable_reply"] is None
    monkeypatch.setattr(Knows, "report", lambda self: reports["a"])
    monkeypatch.setattr(Judges, "report", lambda self: reports["b"])
    report = oracle.report()
    assert (report["n_open"], report["first_unusable_reply"]) == (7, "Sure!")


class Piloted(Knows):
    """Wants a pilot for more than three questions, and says so."""

    def needs_preflight(self, triplets):
        return len(triplets) > 3

    def preflight_triplets(self, triplets, expected=None):
        self.piloted_ = triplets

    def plan(self, triplets, seconds_per_answer=None):
        return {"calls": len(triplets), "seconds": seconds_per_answer}


def test_a_pilot_is_run_on_what_is_left_and_only_where_it_is_wanted():
    model = Piloted()
    oracle = FirstAnswer([("a", Knows({0: 0})), ("model", model)])
    oracle.answer_triplets(TRIPLETS[:4])
    assert not hasattr(model, "piloted_")
    oracle.judge_triplets(TRIPLETS)
    assert model.piloted_ == TRIPLETS[1:]


def test_a_pilot_that_fails_ends_the_asking(monkeypatch):
    model = Piloted()

    def fail(self, triplets, expected=None):
        raise RuntimeError("no better than chance")

    monkeypatch.setattr(Piloted, "preflight_triplets", fail)
    with pytest.raises(RuntimeError, match="no better than chance"):
        FirstAnswer([("model", model)]).answer_triplets(TRIPLETS)
    assert not hasattr(model, "asked_")


def test_the_plan_is_that_of_each_oracle_that_plans_and_asks_nothing():
    first = Knows({0: 0})
    oracle = FirstAnswer([("a", first), ("model", Piloted())])
    plan = oracle.plan(TRIPLETS, seconds_per_answer=2.0)
    assert plan == {"model": {"calls": 6, "seconds": 2.0}}
    assert not hasattr(first, "asked_")


@pytest.mark.parametrize(
    ("got", "message"),
    [
        ([0, 1], r"'b' must return one of \(-1, 0, 1\) for each of 6 .* shape \(2,\)"),
        (0, r"array of shape \(\)"),
        ([2] * 6, r"values such as \[2, 2, 2, 2, 2\]"),
        ([np.nan] * 6, "values such as"),
    ],
)
def test_what_is_no_answer_is_refused_with_the_oracles_name(got, message, monkeypatch):
    monkeypatch.setattr(Plain, "answer_triplets", lambda self, triplets: got)
    oracle = FirstAnswer([("a", Knows()), ("b", Plain())])
    with pytest.raises(ValueError, match=message):
        oracle.answer_triplets(TRIPLETS)


def test_confidences_that_are_too_few_are_refused(monkeypatch):
    oracle = FirstAnswer([("a", Judges())])
    monkeypatch.setattr(Judges, "judge_triplets", lambda self, t: ([0] * len(t), 1.0))
    with pytest.raises(ValueError, match="'a' must return a number for each of 6"):
        oracle.judge_triplets(TRIPLETS)


def test_each_oracle_is_checked_before_any_is_asked():
    first = Knows({0: 0})
    oracle = FirstAnswer([("a", first), ("b", Knows(fail=True))])
    for use in (oracle.check, lambda: oracle.answer_triplets(TRIPLETS)):
        with pytest.raises(ValueError, match="no key"):
            use()
    assert not hasattr(first, "asked_")


def test_an_oracle_that_cannot_answer_triplets_is_named():
    oracle = FirstAnswer([("a", Plain()), ("b", object())])
    with pytest.raises(TypeError, match="'b', object, cannot answer triplets"):
        oracle.check()


@pytest.mark.parametrize(
    ("oracles", "error", "message"),
    [
        (None, TypeError, "at least one .name, oracle., got None"),
        ([], TypeError, r"at least one .name, oracle., got \[\]"),
        ([Plain()], TypeError, "got .*Plain.* at index 0"),
        ([("a", Plain()), ("b",)], TypeError, r"got \('b',\) at index 1"),
        ([(Plain(), "a")], TypeError, "at index 0"),
        ([("a", Plain()), ("a", Plain())], ValueError, "got 'a' at index 1"),
        ([("a__b", Plain())], ValueError, "got 'a__b' at index 0"),
        ([("oracles", Plain())], ValueError, "got 'oracles' at index 0"),
        ([("", Plain())], ValueError, "got '' at index 0"),
    ],
)
def test_a_list_that_is_none_of_named_oracles_is_refused(oracles, error, message):
    oracle = FirstAnswer(oracles)
    for use in (oracle.check, lambda: oracle.answer_triplets(TRIPLETS)):
        with pytest.raises(error, match=message):
            use()


def test_parameters_are_reached_by_name():
    first, second = Knows({0: 0}), Plain()
    oracle = FirstAnswer([("a", first), ("b", second)])
    assert oracle.get_params(deep=False) == {"oracles": oracle.oracles}
    assert oracle.get_params() == {
        "oracles": oracle.oracles,
        "a": first,
        "a__known": {0: 0},
        "a__fail": False,
        "b": second,
    }
    assert oracle.set_params(a__known={1: 1}) is oracle
    assert first.known == {1: 1}
    with pytest.raises(ValueError, match="Invalid parameter 'c'"):
        oracle.set_params(c__known=None)


def test_an_oracle_can_be_replaced_by_name_and_the_list_given_is_left_alone():
    given = [("a", Knows()), ("b", Plain())]
    oracle = FirstAnswer(given)
    oracle.set_params(a=Knows({0: 1}), a__fail=True)
    assert oracle.get_params()["a__known"] == {0: 1}
    assert oracle.get_params()["a__fail"]
    assert given[0][1].known is None
    new = Knows()
    oracle.set_params(oracles=[("z", None)], z=new)
    assert oracle.oracles == [("z", new)]
    broken = FirstAnswer(None)
    assert broken.set_params(oracles=given).oracles is given


def test_a_clone_has_oracles_of_its_own_with_the_same_parameters():
    oracle = FirstAnswer([("a", Knows({0: 1})), ("b", Plain())])
    oracle.answer_triplets(TRIPLETS)
    copy = clone(oracle)
    assert [name for name, _ in copy.oracles] == ["a", "b"]
    assert copy.oracles[0][1] is not oracle.oracles[0][1]
    assert copy.get_params()["a__known"] == {0: 1}
    assert copy.report()["oracles"]["a"]["n_given"] == 0
    assert "Knows" in repr(copy)


def test_a_pickle_answers_the_same_and_counts_anew():
    oracle = FirstAnswer([("a", Knows({0: 1})), ("b", Plain())])
    before = oracle.answer_triplets(TRIPLETS)
    copy = pickle.loads(pickle.dumps(oracle))
    assert copy.report()["oracles"]["a"]["n_given"] == 0
    assert copy.answer_triplets(TRIPLETS).tolist() == before.tolist()
