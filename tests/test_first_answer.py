"""Oracles in a row, each asked what those before it left open."""

import pickle

import numpy as np
import pytest
from sklearn.base import BaseEstimator, clone

from skllm_cluster.oracles import FirstAnswer, LLMOracle, TruthOracle
from skllm_cluster.protocols import Oracle, PairOracle, SetOracle

TRIPLETS = [(f"anchor {i}", f"left {i}", f"right {i}") for i in range(6)]
PAIRS = [(f"left {i}", f"right {i}") for i in range(6)]


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


def test_an_oracle_that_answers_nothing_is_named():
    oracle = FirstAnswer([("a", Plain()), ("b", object())])
    with pytest.raises(TypeError, match="'b', object, cannot answer anything"):
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


class KnowsPairs(BaseEstimator):
    """Answers the pairs whose number is a key of ``known``, and no triplets."""

    def __init__(self, known=None):
        self.known = known

    def answer_pairs(self, pairs):
        self.asked_ = [*getattr(self, "asked_", []), pairs]
        numbers = [int(first.split()[1]) for first, _ in pairs]
        return [(self.known or {}).get(number, -1) for number in numbers]


class JudgesPairs(KnowsPairs):
    """Says how sure it is: 0.9 of every answer, and of no answer too."""

    def judge_pairs(self, pairs):
        answers = self.answer_pairs(pairs)
        return np.array(answers), np.full(len(answers), 0.9)


class KnowsBoth(KnowsPairs):
    """Judges triplets, and answers pairs."""

    def answer_triplets(self, triplets):
        raise AssertionError("asked for the confidence in triplets, it has one")

    def judge_triplets(self, triplets):
        return np.zeros(len(triplets), dtype=int), np.full(len(triplets), 0.7)


def test_of_pairs_too_the_first_answer_counts_and_each_is_asked_what_is_open():
    first, second = KnowsPairs({0: 0, 1: 1}), KnowsPairs({0: 1, 1: 0, 2: 0, 3: 1})
    oracle = FirstAnswer([("a", first), ("b", second)])
    assert isinstance(oracle, PairOracle)
    answers = oracle.answer_pairs(PAIRS)
    assert answers.dtype.kind == "i"
    assert answers.tolist() == [0, 1, 0, 1, -1, -1]
    assert first.asked_ == [PAIRS]
    assert second.asked_ == [PAIRS[2:]]
    assert oracle.answer_pairs([]).shape == (0,)


def test_confidences_in_pairs_are_those_of_who_answered():
    oracle = FirstAnswer(
        [("a", KnowsPairs({0: 1})), ("b", JudgesPairs({1: 0})), ("c", KnowsPairs())]
    )
    answers, confidence = oracle.judge_pairs(PAIRS[:3])
    assert answers.tolist() == [1, 0, -1]
    np.testing.assert_array_equal(confidence, [np.nan, 0.9, np.nan])


def test_who_tells_confidence_in_triplets_need_not_in_pairs():
    oracle = FirstAnswer([("a", KnowsBoth({0: 1}))])
    assert oracle.judge_triplets(TRIPLETS[:2])[1].tolist() == [0.7, 0.7]
    answers, confidence = oracle.judge_pairs(PAIRS[:2])
    assert answers.tolist() == [1, -1]
    assert np.isnan(confidence).all()


@pytest.mark.parametrize(
    ("lacking", "kind", "questions"),
    [(KnowsPairs(), "triplets", TRIPLETS), (Knows(), "pairs", PAIRS)],
)
def test_a_question_that_one_oracle_cannot_answer_is_not_offered(
    lacking, kind, questions
):
    oracle = FirstAnswer([("a", TruthOracle(["x"], [0])), ("b", lacking)])
    oracle.check()
    for verb in ("answer", "judge"):
        assert not hasattr(oracle, f"{verb}_{kind}")
        with pytest.raises(AttributeError, match=f"no attribute '{verb}_{kind}'") as e:
            getattr(oracle, f"{verb}_{kind}")(questions)
        who = f"'b', {type(lacking).__name__}, cannot answer {kind}: .* 'answer_{kind}'"
        with pytest.raises(AttributeError, match=who):
            raise e.value.__cause__
    other = {"triplets": "pairs", "pairs": "triplets"}[kind]
    assert hasattr(oracle, f"answer_{other}")
    assert hasattr(oracle, f"judge_{other}")
    oracle.set_params(b=TruthOracle(["x"], [0]))
    assert hasattr(oracle, f"answer_{kind}")


def test_a_row_in_a_row_offers_what_all_in_it_can_answer():
    inner = FirstAnswer([("a", KnowsPairs({0: 1}))])
    outer = FirstAnswer([("row", inner), ("last", KnowsPairs({1: 0}))])
    assert outer.answer_pairs(PAIRS[:3]).tolist() == [1, 0, -1]
    assert not hasattr(outer, "answer_triplets")


def test_oracles_that_share_no_kind_of_question_offer_none():
    oracle = FirstAnswer([("a", Knows()), ("b", KnowsPairs())])
    assert not hasattr(oracle, "answer_triplets")
    assert not hasattr(oracle, "answer_pairs")


@pytest.mark.parametrize("oracles", [None, [], [("a", Plain()), ("b",)]])
def test_a_malformed_list_is_told_of_when_pairs_are_asked(oracles):
    with pytest.raises(TypeError, match="oracles must be a list"):
        FirstAnswer(oracles).answer_pairs(PAIRS)


def test_what_is_no_answer_to_a_pair_is_refused_with_the_oracles_name():
    oracle = FirstAnswer([("a", KnowsPairs({0: 2}))])
    with pytest.raises(ValueError, match=r"'a' must return one of \(-1, 0, 1\)"):
        oracle.answer_pairs(PAIRS)


class PilotedPairs(KnowsPairs):
    """Wants a pilot for more than three questions, and plans."""

    def needs_preflight(self, questions):
        return len(questions) > 3

    def preflight_pairs(self, pairs):
        self.piloted_ = pairs

    def plan(self, questions, seconds_per_answer=None):
        return {"calls": len(questions), "seconds": seconds_per_answer}


def test_a_pilot_of_pairs_is_run_on_what_is_left_and_only_where_it_is_wanted():
    model = PilotedPairs()
    oracle = FirstAnswer([("a", KnowsPairs({0: 0})), ("model", model)])
    oracle.answer_pairs(PAIRS[:4])
    assert not hasattr(model, "piloted_")
    oracle.judge_pairs(PAIRS)
    assert model.piloted_ == PAIRS[1:]


def test_pairs_are_planned_as_triplets_are():
    oracle = FirstAnswer([("a", KnowsPairs()), ("model", PilotedPairs())])
    plan = oracle.plan(PAIRS, seconds_per_answer=2.0)
    assert plan == {"model": {"calls": 6, "seconds": 2.0}}


def test_the_report_adds_up_triplets_and_pairs():
    texts = [text for triplet in TRIPLETS for text in triplet]
    oracle = FirstAnswer(
        [("labels", TruthOracle(texts, [0] * 9 + [-1] * 9)), ("rest", KnowsBoth())]
    )
    oracle.judge_triplets(TRIPLETS)
    oracle.answer_pairs(PAIRS)
    report = oracle.report()["oracles"]
    assert report["labels"] == {"n_given": 12, "n_answered": 3}
    assert report["rest"] == {"n_given": 9, "n_answered": 6}


def test_demonstrations_of_a_model_in_the_row_are_reached_by_name():
    said = []

    def complete(prompt):
        said.append(prompt)
        return "Yes"

    oracle = FirstAnswer(
        [("known", KnowsPairs()), ("model", LLMOracle(complete, preflight=0))]
    )
    assert len(oracle.get_params()["model__demonstrations"]) == 0
    oracle.set_params(model__demonstrations=[("card lost", "lost card", True)])
    assert oracle.answer_pairs(PAIRS[:1]).tolist() == [1]
    assert "card lost" in said[0]
    copy = clone(oracle)
    assert len(copy.get_params()["model__demonstrations"]) == 1


# Sets

SETS = [["a", "b"], ["c", "d", "e"], ["f", "g"]]


class KnowsSets(BaseEstimator):
    """Labels the sets whose first text is a key of ``known``."""

    def __init__(self, known=None):
        self.known = known

    def answer_sets(self, sets):
        self.asked_ = [*getattr(self, "asked_", []), sets]
        known = self.known or {}
        return [known.get(texts[0], [-1] * len(texts)) for texts in sets]

    def needs_preflight(self, questions):
        raise AssertionError("there is no pilot for sets")


def test_the_first_oracle_that_labels_a_set_labels_all_of_it():
    first = KnowsSets({"a": [-1, 0]})
    second = KnowsSets({"a": [0, 0], "c": np.array([0, -1, 1], np.int8)})
    oracle = FirstAnswer([("a", first), ("b", second)])
    assert isinstance(oracle, SetOracle)
    labels = oracle.answer_sets(SETS)
    assert [own.tolist() for own in labels] == [[-1, 0], [0, -1, 1], [-1, -1]]
    assert all(own.dtype == np.intp for own in labels)
    assert first.asked_ == [SETS]
    assert second.asked_ == [SETS[1:]]
    report = oracle.report()["oracles"]
    assert report["a"] == {"n_given": 3, "n_answered": 1}
    assert report["b"] == {"n_given": 2, "n_answered": 1}


def test_no_set_asks_nobody():
    oracle = KnowsSets()
    assert FirstAnswer([("a", oracle)]).answer_sets([]) == []
    assert not hasattr(oracle, "asked_")


def test_sets_are_offered_where_each_oracle_answers_them():
    assert not hasattr(FirstAnswer([("a", KnowsSets()), ("b", Plain())]), "answer_sets")
    assert not hasattr(FirstAnswer([("a", KnowsSets())]), "answer_pairs")
    with pytest.raises(TypeError, match="oracles must be a list"):
        FirstAnswer(None).answer_sets(SETS)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ([0], "the 2 texts of the set at index 0"),
        ([0, 1, 2], "the 2 texts of the set at index 0"),
        ([0, -2], r"at least -1 .* got \[0, -2\]"),
        ([0.0, 1.0], "an integer of at least -1"),
        (["x", "y"], "an integer of at least -1"),
        (0, "an integer of at least -1"),
    ],
)
def test_what_is_no_label_is_refused_with_the_oracles_name(wrong, said):
    with pytest.raises(ValueError, match=f"'a' must return .*{said}"):
        FirstAnswer([("a", KnowsSets({"a": wrong}))]).answer_sets(SETS)


def test_labels_for_too_few_sets_are_refused():
    class Forgets(KnowsSets):
        def answer_sets(self, sets):
            return [[0, 0]]

    said = "'a' must return labels for each of 3 sets, got 1"
    with pytest.raises(ValueError, match=said):
        FirstAnswer([("a", Forgets())]).answer_sets(SETS)


def test_known_labels_come_before_a_model_and_a_plan_is_made_for_sets():
    calls = []

    def model(prompt):
        calls.append(prompt)
        lines = prompt.split("\n")
        return "All:\n" + "\n".join(lines[1 : lines.index("")])

    texts = [text for texts in SETS for text in texts]
    labels = TruthOracle(texts, [0, 1, *[None] * 5])
    oracle = FirstAnswer([("labels", labels), ("model", LLMOracle(model))])
    assert oracle.plan(SETS)["model"]["calls"] == 3
    assert oracle.plan([tuple(s) for s in SETS], kind="sets")["model"]["calls"] == 3
    found = oracle.answer_sets(SETS)
    assert [own.tolist() for own in found] == [[0, 1], [0, 0, 0], [0, 0]]
    assert len(calls) == 2
    assert clone(oracle).answer_sets(SETS)[0].tolist() == [0, 1]
