"""Answers from known labels."""

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from skllm_cluster.oracles import TruthOracle
from skllm_cluster.protocols import Oracle, PairOracle, SetOracle

N, N_LABELS = 400, 8
TEXTS = [f"text {i}" for i in range(N)]
LABELS = [i % N_LABELS for i in range(N)]


def determined_triplets(n, seed=0):
    """Triplets whose first choice shares the anchor's label; the second does not."""
    rng = np.random.default_rng(seed)
    triplets = []
    while len(triplets) < n:
        a, p, q = rng.integers(N, size=3)
        if a % N_LABELS == p % N_LABELS != q % N_LABELS and a != p:
            triplets.append((TEXTS[a], TEXTS[p], TEXTS[q]))
    return triplets


def undetermined_triplets(n):
    """Triplets of which no two texts share a label."""
    return [(TEXTS[8 * i], TEXTS[8 * i + 1], TEXTS[8 * i + 2]) for i in range(n)]


def named(triplets, answers):
    """The text that each answer names."""
    return [
        None if answer == -1 else triplet[1 + answer]
        for triplet, answer in zip(triplets, answers, strict=True)
    ]


def swap(triplets):
    return [(anchor, second, first) for anchor, first, second in triplets]


def test_the_choice_with_the_label_of_the_anchor_is_named_in_either_order():
    triplets = determined_triplets(50)
    oracle = TruthOracle(TEXTS, LABELS)
    answers = oracle.answer_triplets(triplets)
    assert answers.dtype.kind == "i"
    assert answers.tolist() == [0] * 50
    assert oracle.answer_triplets(swap(triplets)).tolist() == [1] * 50


def test_no_question_gives_no_answer():
    answers = TruthOracle(TEXTS, LABELS).answer_triplets([])
    assert answers.shape == (0,)
    assert answers.dtype.kind == "i"


def test_both_or_neither_choice_with_the_label_is_undetermined():
    oracle = TruthOracle(["a", "b", "c", "d", "e"], list("xxxyz"))
    triplets = [("a", "b", "c"), ("a", "d", "e"), ("a", "b", "b")]
    assert oracle.answer_triplets(triplets).tolist() == [-1, -1, -1]


@pytest.mark.parametrize("unknown", [-1, None, np.nan, -1.0, np.int64(-1), pd.NA])
def test_unknown_label_makes_a_triplet_undetermined(unknown):
    oracle = TruthOracle(["a", "b", "c", "u"], [0, 0, 1, unknown])
    triplets = [("u", "a", "c"), ("a", "u", "c"), ("a", "b", "u"), ("u", "u", "c")]
    assert oracle.answer_triplets(triplets).tolist() == [-1] * 4


def test_a_text_given_with_several_labels_has_them_all():
    oracle = TruthOracle(["a", "a", "b", "c", "d"], ["x", "y", "y", "x", "z"])
    triplets = [("a", "b", "d"), ("d", "a", "b"), ("a", "b", "c"), ("c", "d", "a")]
    assert oracle.answer_triplets(triplets).tolist() == [0, -1, -1, 1]


@pytest.mark.parametrize(
    "labels",
    [
        np.array([0, 0, 1]),
        np.array(["x", "x", "y"]),
        pd.Series(["x", "x", "y"], dtype="category"),
        [("x", 1), ("x", 1), ("y", 2)],
        (frozenset("x"), frozenset("x"), frozenset("y")),
    ],
)
def test_labels_may_be_any_hashable(labels):
    oracle = TruthOracle(pd.Series(["a", "b", "c"]), labels)
    assert oracle.answer_triplets([("a", "b", "c")]).tolist() == [0]


@pytest.mark.parametrize("accuracy", [0.0, 0.75, 0.9, 1.0])
def test_share_of_true_answers_is_the_accuracy(accuracy):
    oracle = TruthOracle(TEXTS, LABELS, accuracy=accuracy, random_state=0)
    triplets = list(dict.fromkeys(determined_triplets(3000)))
    share = np.mean(oracle.answer_triplets(triplets) == 0)
    assert share == pytest.approx(
        accuracy, abs=4 * np.sqrt(accuracy * (1 - accuracy) / 2900)
    )


def test_coin_for_undetermined_triplets_is_fair():
    triplets = [(TEXTS[i], TEXTS[i + 1], TEXTS[j]) for i in range(50) for j in range(N)]
    labels = list(range(N))  # no two texts belong together
    oracle = TruthOracle(TEXTS, labels, undetermined="random", random_state=0)
    triplets = [t for t in triplets if len(set(t)) == 3]
    answers = oracle.answer_triplets(triplets)
    assert set(answers) == {0, 1}
    assert np.mean(answers) == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(len(answers)))


def test_asking_again_in_any_order_batch_or_thread_names_the_same_text():
    oracle = TruthOracle(
        TEXTS, LABELS, accuracy=0.6, undetermined="random", random_state=3
    )
    triplets = determined_triplets(100) + undetermined_triplets(40)
    whole = named(triplets, oracle.answer_triplets(triplets))
    assert whole == named(swap(triplets), oracle.answer_triplets(swap(triplets)))
    alone = [named([t], oracle.answer_triplets([t]))[0] for t in reversed(triplets)]
    assert whole == alone[::-1]
    with ThreadPoolExecutor(4) as pool:
        threads = list(pool.map(lambda t: oracle.answer_triplets([t])[0], triplets))
    assert whole == named(triplets, threads)


def test_equal_seeds_err_on_the_same_questions_and_others_on_others():
    triplets = determined_triplets(200)

    def ask(random_state):
        oracle = TruthOracle(TEXTS, LABELS, accuracy=0.5, random_state=random_state)
        return oracle.answer_triplets(triplets).tolist()

    assert ask(0) == ask(0) == ask(np.random.RandomState(0))
    assert ask(0) != ask(1)
    assert ask(None) != ask(None)


@pytest.mark.parametrize("random_state", [None, 7, np.random.RandomState(7)])
def test_pickled_oracle_answers_the_same_without_carrying_its_table(random_state):
    oracle = TruthOracle(TEXTS, LABELS, accuracy=0.5, random_state=random_state)
    triplets = determined_triplets(200)
    before = oracle.answer_triplets(triplets)
    assert "_cached" not in oracle.__getstate__()
    twin = pickle.loads(pickle.dumps(oracle))
    np.testing.assert_array_equal(twin.answer_triplets(triplets), before)
    np.testing.assert_array_equal(oracle.answer_triplets(triplets), before)


def test_clone_has_the_parameters_and_nothing_else():
    oracle = TruthOracle(TEXTS, LABELS, accuracy=0.5)
    oracle.answer_triplets(determined_triplets(5))
    twin = clone(oracle)
    assert set(vars(twin)) == set(oracle.get_params())
    assert twin.accuracy == 0.5


def test_set_params_after_use_takes_effect():
    oracle = TruthOracle(["a", "b", "c"], [0, 0, 1], random_state=0)
    triplets = [("a", "b", "c")]
    assert oracle.answer_triplets(triplets).tolist() == [0]
    oracle.set_params(labels=[0, 1, 0])
    assert oracle.answer_triplets(triplets).tolist() == [1]
    oracle.set_params(accuracy=0.0)
    assert oracle.answer_triplets(triplets).tolist() == [0]
    oracle.set_params(labels=[-1, -1, -1])
    assert oracle.answer_triplets(triplets).tolist() == [-1]
    oracle.set_params(undetermined="random")
    coins = {
        oracle.set_params(random_state=seed).answer_triplets(triplets)[0]
        for seed in range(20)
    }
    assert coins == {0, 1}


def test_unknown_text_is_refused_by_name():
    oracle = TruthOracle(["a", "b"], [0, 1])
    with pytest.raises(ValueError, match=r"does not know the text 'zzzz.*\.\.\.\. Bui"):
        oracle.answer_triplets([("a", "b", "z" * 500)])


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"accuracy": 1.5}, r"accuracy must be a number in \[0, 1\], got 1.5"),
        ({"accuracy": float("nan")}, "accuracy must be .* got nan"),
        ({"accuracy": "high"}, "accuracy must be .* got 'high'"),
        ({"undetermined": "guess"}, "undetermined must be one of .* got 'guess'"),
        ({"labels": [0]}, "labels must have one label per text, 2, got 1"),
        ({"random_state": "a"}, "cannot be used to seed"),
    ],
)
def test_wrong_parameter_is_refused_at_the_first_question(parameters, message):
    oracle = TruthOracle(["a", "b"], [0, 1]).set_params(**parameters)
    with pytest.raises(ValueError, match=message):
        oracle.answer_triplets([("a", "b", "b")])


def test_unhashable_label_is_refused_with_its_place():
    oracle = TruthOracle(["a", "b"], [0, ["x"]])
    with pytest.raises(
        TypeError, match=r"labels must be hashable, got list at index 1"
    ):
        oracle.answer_triplets([("a", "b", "b")])


def test_texts_that_are_no_texts_are_refused():
    with pytest.raises(TypeError, match="texts must be a sequence of str, got int"):
        TruthOracle(["a", 3], [0, 1]).answer_triplets([("a", "a", "a")])


def test_without_doubts_nothing_is_said_of_confidence():
    triplets = determined_triplets(50) + undetermined_triplets(20)
    oracle = TruthOracle(
        TEXTS, LABELS, accuracy=0.7, undetermined="random", random_state=0
    )
    answers, confidence = oracle.judge_triplets(triplets)
    np.testing.assert_array_equal(answers, oracle.answer_triplets(triplets))
    assert confidence.dtype == np.float64
    assert confidence.shape == (70,)
    assert np.isnan(confidence).all()


def test_answers_are_those_of_the_first_release():
    """What was shown with a seed can be shown again."""
    triplets = determined_triplets(40) + undetermined_triplets(20)
    oracle = TruthOracle(
        TEXTS, LABELS, accuracy=0.7, undetermined="random", random_state=0
    )
    answers = "".join(map(str, oracle.answer_triplets(triplets)))
    assert answers == "001000101111110100100010111000011100001101111000010110111010"


@pytest.mark.parametrize(
    ("accuracy", "low"), [(0.5, 0.5), (0.6, 0.5), (0.75, 0.5), (0.9, 0.8), (1.0, 1.0)]
)
def test_doubts_spread_evenly_around_the_accuracy(accuracy, low):
    oracle = TruthOracle(TEXTS, LABELS, accuracy=accuracy, doubts=True, random_state=0)
    triplets = list(dict.fromkeys(determined_triplets(3000)))
    answers, confidence = oracle.judge_triplets(triplets)
    width = 2 * (accuracy - low)
    assert confidence.min() >= low - 1e-12
    assert confidence.max() <= min(1, low + width + 1e-12)
    share = (confidence - low) / width if width else np.linspace(0, 1, len(triplets))
    # Kolmogorov's distance of 2,900 even draws is above 0.04 once in 5,000 times.
    assert np.abs(np.sort(share) - np.linspace(0, 1, len(share))).max() < 0.04
    assert np.mean(answers == 0) == pytest.approx(
        accuracy, abs=4 * np.sqrt(0.25 / len(triplets))
    )


@pytest.mark.parametrize("seed", range(3))
def test_an_oracle_with_doubts_is_right_as_often_as_it_thinks(seed):
    oracle = TruthOracle(TEXTS, LABELS, accuracy=0.75, doubts=True, random_state=seed)
    triplets = list(dict.fromkeys(determined_triplets(3000)))
    answers, confidence = oracle.judge_triplets(triplets)
    for low in (0.5, 0.6, 0.7, 0.8, 0.9):
        inside = (confidence >= low) & (confidence < low + 0.1)
        error = np.mean((answers == 0)[inside] - confidence[inside])
        assert abs(error) < 4 * 0.5 / np.sqrt(inside.sum())
    assert np.mean(answers[confidence > 0.99] == 0) > 0.9


def test_doubts_belong_to_questions_as_errors_do():
    oracle = TruthOracle(TEXTS, LABELS, accuracy=0.75, doubts=True, random_state=0)
    triplets = determined_triplets(100)
    answers, confidence = oracle.judge_triplets(triplets)
    turned, again = oracle.judge_triplets(swap(triplets)[::-1])
    np.testing.assert_array_equal(again[::-1], confidence)
    np.testing.assert_array_equal(turned[::-1], 1 - answers)
    np.testing.assert_array_equal(oracle.answer_triplets(triplets), answers)


def test_a_coin_knows_that_it_is_one_and_no_answer_has_no_confidence():
    triplets = undetermined_triplets(10) + determined_triplets(10)
    oracle = TruthOracle(
        TEXTS, LABELS, accuracy=0.9, doubts=True, undetermined="random", random_state=0
    )
    answers, confidence = oracle.judge_triplets(triplets)
    assert (confidence[:10] == 0.5).all()
    assert (confidence[10:] >= 0.8).all()
    oracle.set_params(undetermined="abstain")
    answers, confidence = oracle.judge_triplets(triplets)
    np.testing.assert_array_equal(np.isnan(confidence), answers == -1)
    assert (answers[:10] == -1).all()


def test_doubts_of_an_oracle_that_is_mostly_wrong_are_refused():
    oracle = TruthOracle(["a", "b"], [0, 1], accuracy=0.4, doubts=True)
    with pytest.raises(ValueError, match=r"at least 0\.5 with doubts=True, got 0\.4"):
        oracle.answer_triplets([("a", "b", "b")])
    assert oracle.set_params(doubts=False).answer_triplets([]).shape == (0,)


def pairs_of(n, same, seed=0):
    """Distinct pairs of texts that share their label, or none of which does."""
    rows = np.stack(np.triu_indices(N, 1), axis=1)
    shared = np.equal(*(rows.T % N_LABELS))
    drawn = np.random.default_rng(seed).permutation(rows[shared == same])[:n]
    return [(TEXTS[a], TEXTS[b]) for a, b in drawn]


def turn(pairs):
    return [(second, first) for first, second in pairs]


def test_it_answers_triplets_and_pairs():
    oracle = TruthOracle(TEXTS, LABELS)
    assert isinstance(oracle, Oracle)
    assert isinstance(oracle, PairOracle)


def test_a_pair_is_the_same_if_its_texts_share_a_label_in_either_order():
    pairs = pairs_of(40, same=True) + pairs_of(40, same=False)
    oracle = TruthOracle(TEXTS, LABELS)
    answers = oracle.answer_pairs(pairs)
    assert answers.dtype.kind == "i"
    assert answers.tolist() == [1] * 40 + [0] * 40
    assert oracle.answer_pairs(turn(pairs)).tolist() == [1] * 40 + [0] * 40


def test_no_pair_gives_no_answer():
    answers, confidence = TruthOracle(TEXTS, LABELS).judge_pairs([])
    assert answers.shape == confidence.shape == (0,)
    assert answers.dtype.kind == "i"
    assert confidence.dtype == np.float64


@pytest.mark.parametrize("unknown", [-1, None, np.nan, pd.NA])
def test_unknown_label_makes_a_pair_undetermined(unknown):
    oracle = TruthOracle(["a", "b", "u"], [0, 0, unknown])
    pairs = [("u", "a"), ("b", "u"), ("u", "u"), ("a", "b"), ("a", "a")]
    assert oracle.answer_pairs(pairs).tolist() == [-1, -1, -1, 1, 1]


def test_texts_with_several_labels_are_the_same_if_they_share_one():
    oracle = TruthOracle(["a", "a", "b", "c", "d"], ["x", "y", "y", "x", "z"])
    pairs = [("a", "b"), ("c", "a"), ("b", "c"), ("a", "d")]
    assert oracle.answer_pairs(pairs).tolist() == [1, 1, 0, 0]


@pytest.mark.parametrize("same", [False, True])
@pytest.mark.parametrize("accuracy", [0.0, 0.8, 0.9, 1.0])
def test_share_of_true_answers_to_pairs_is_the_accuracy(accuracy, same):
    oracle = TruthOracle(TEXTS, LABELS, accuracy=accuracy, random_state=0)
    pairs = pairs_of(2000, same)
    share = np.mean(oracle.answer_pairs(pairs) == same)
    assert share == pytest.approx(
        accuracy, abs=4 * np.sqrt(accuracy * (1 - accuracy) / 2000)
    )


def test_coin_for_undetermined_pairs_is_fair_and_lands_alike_in_both_orders():
    pairs = pairs_of(2000, same=False)
    oracle = TruthOracle(TEXTS, [None] * N, undetermined="random", random_state=0)
    answers = oracle.answer_pairs(pairs)
    assert set(answers) == {0, 1}
    assert np.mean(answers) == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(2000))
    np.testing.assert_array_equal(oracle.answer_pairs(turn(pairs)), answers)


def test_a_pair_in_any_order_batch_or_thread_gets_the_same_answer():
    oracle = TruthOracle(TEXTS, LABELS, accuracy=0.6, random_state=3)
    pairs = pairs_of(60, same=True) + pairs_of(60, same=False)
    whole = oracle.answer_pairs(pairs).tolist()
    assert 0 in whole[:60]
    assert oracle.answer_pairs(turn(pairs)[::-1]).tolist() == whole[::-1]
    with ThreadPoolExecutor(4) as pool:
        alone = list(pool.map(lambda pair: oracle.answer_pairs([pair])[0], pairs))
    assert alone == whole
    other = TruthOracle(TEXTS, LABELS, accuracy=0.6, random_state=4)
    assert other.answer_pairs(pairs).tolist() != whole


def test_errors_in_pairs_tell_nothing_about_errors_in_triplets():
    """Even a triplet of the same texts, with an empty one as anchor, errs by itself."""
    oracle = TruthOracle(["", *TEXTS], [0, *LABELS], accuracy=0.5, random_state=0)
    pairs = [(a, b) for a in TEXTS[::8] for b in TEXTS[1::8]][:2000]
    wrong = oracle.answer_pairs(pairs) == 1
    also_wrong = oracle.answer_triplets([("", *pair) for pair in pairs]) == 1
    assert abs(np.mean(wrong == also_wrong) - 0.5) < 4 * 0.5 / np.sqrt(2000)


@pytest.mark.parametrize("seed", range(3))
def test_doubts_about_pairs_are_right_as_often_as_they_say(seed):
    oracle = TruthOracle(TEXTS, LABELS, accuracy=0.75, doubts=True, random_state=seed)
    pairs = pairs_of(2000, same=True)
    answers, confidence = oracle.judge_pairs(pairs)
    for low in (0.5, 0.6, 0.7, 0.8, 0.9):
        inside = (confidence >= low) & (confidence < low + 0.1)
        error = np.mean((answers == 1)[inside] - confidence[inside])
        assert abs(error) < 4 * 0.5 / np.sqrt(inside.sum())
    turned, again = oracle.judge_pairs(turn(pairs))
    np.testing.assert_array_equal(again, confidence)
    np.testing.assert_array_equal(turned, answers)


def test_confidence_in_pairs_is_told_with_doubts_alone_and_half_for_a_coin():
    oracle = TruthOracle(
        ["a", "b", "u"], [0, 0, None], accuracy=0.9, undetermined="random"
    )
    pairs = [("a", "b"), ("a", "u")]
    assert np.isnan(oracle.judge_pairs(pairs)[1]).all()
    sure, coin = oracle.set_params(doubts=True).judge_pairs(pairs)[1]
    assert 0.8 <= sure <= 1
    assert coin == 0.5
    oracle.set_params(undetermined="abstain")
    assert np.isnan(oracle.judge_pairs(pairs)[1][1])


def test_a_pair_with_an_unknown_text_or_a_wrong_parameter_is_refused():
    with pytest.raises(ValueError, match="does not know the text 'z'"):
        TruthOracle(["a"], [0]).answer_pairs([("a", "z")])
    with pytest.raises(ValueError, match=r"accuracy must be a number in \[0, 1\]"):
        TruthOracle(["a"], [0], accuracy=2).answer_pairs([])


# Sets


def random_sets(n, size=12, seed=0):
    rng = np.random.default_rng(seed)
    return [[TEXTS[i] for i in rng.choice(N, size, replace=False)] for _ in range(n)]


def numbered(labels):
    """Labels as numbers, in the order in which they occur."""
    return [list(dict.fromkeys(labels)).index(label) for label in labels]


def label_of(text):
    return int(text.split()[1]) % N_LABELS


def test_texts_of_a_set_that_share_a_label_are_together():
    sets = random_sets(30)
    labels = TruthOracle(TEXTS, LABELS).answer_sets(sets)
    assert all(own.dtype.kind == "i" for own in labels)
    assert [own.tolist() for own in labels] == [
        numbered([label_of(text) for text in texts]) for texts in sets
    ]
    assert isinstance(TruthOracle(TEXTS, LABELS), SetOracle)


def test_no_set_and_an_empty_set_have_no_labels():
    oracle = TruthOracle(TEXTS, LABELS, accuracy=0.5)
    assert oracle.answer_sets([]) == []
    assert oracle.answer_sets([[]])[0].shape == (0,)
    by_set = TruthOracle.from_sets([["a"]], [[0]])
    assert by_set.answer_sets([[]])[0].shape == (0,)


@pytest.mark.parametrize("undetermined", ["abstain", "random"])
def test_an_unknown_label_or_several_are_no_cluster(undetermined):
    oracle = TruthOracle(
        ["a", "b", "c", "d", "d"], [0, None, 0, 0, 1], undetermined=undetermined
    )
    assert oracle.answer_sets([["b", "a", "d", "c"]])[0].tolist() == [-1, 0, -1, 0]


@pytest.mark.parametrize("accuracy", [0.0, 0.6, 0.9])
def test_texts_of_a_set_go_astray_as_often_as_the_accuracy_says(accuracy):
    # Two large clusters, so that it can be seen which label is meant.
    texts, labels = TEXTS, [0] * 250 + [1] * 150
    oracle = TruthOracle(texts, labels, accuracy=accuracy, random_state=0)
    (found,) = oracle.answer_sets([texts])
    right = np.mean((found == found[0]) == (np.array(labels) == labels[0]))
    assert max(right, 1 - right) == pytest.approx(max(accuracy, 1 - accuracy), abs=0.07)


@pytest.mark.parametrize("accuracy", [0.3, 0.8])
def test_the_same_set_errs_alike_in_any_order_and_a_larger_one_otherwise(accuracy):
    rng = np.random.default_rng(0)
    oracle = TruthOracle(TEXTS, LABELS, accuracy=accuracy, random_state=3)
    n_alike = 0
    for texts in random_sets(30):
        (found,) = oracle.answer_sets([texts])
        order = rng.permutation(len(texts))
        (turned,) = oracle.answer_sets([[texts[i] for i in order]])
        assert turned.tolist() == numbered(found[order].tolist())
        (larger,) = oracle.answer_sets([[*texts, "text 0"]])
        n_alike += larger[:-1].tolist() == found.tolist()
    assert n_alike < 10


def test_one_cluster_errs_into_a_new_one():
    oracle = TruthOracle(list("abcdef"), [0] * 6, accuracy=0.5, random_state=1)
    assert set(oracle.answer_sets([list("abcdef")])[0]) == {0, 1}


def test_the_set_may_decide_what_belongs_together():
    sets = [["a", "b", "c"], ["a", "b", "d"], np.array(["x", "x", "y"]), []]
    y = [[0, 0, 1], ["p", "q", "q"], np.array([5, 6, -1]), []]
    oracle = TruthOracle.from_sets(sets, y)
    labels = oracle.answer_sets([*sets, ["c", "b", "a"], ["d", "a", "b"]])
    assert [own.tolist() for own in labels] == [
        [0, 0, 1], [0, 1, 1], [0, 1, -1], [], [0, 1, 1], [0, 1, 0]
    ]  # fmt: skip
    assert oracle.groups.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    for twin in (clone(oracle), pickle.loads(pickle.dumps(oracle))):
        assert twin.answer_sets([["d", "a", "b"]])[0].tolist() == [0, 1, 0]


def test_groups_need_not_be_contiguous():
    oracle = TruthOracle(list("abab"), [0, 1, 0, 0], groups=[7, 3, 3, 7])
    assert [own.tolist() for own in oracle.answer_sets([["a", "b"]])] == [[-1, -1]]
    oracle = TruthOracle(list("abac"), [0, 1, 1, 0], groups=[7, 3, 3, 7])
    labels = oracle.answer_sets([["b", "a"], ["c", "a"]])
    assert [own.tolist() for own in labels] == [[0, 0], [0, 0]]


def test_a_set_that_occurs_twice_has_labels_if_both_agree():
    sets = [["a", "b", "c"], ["c", "a", "b"], ["a", "b"], ["b", "a"]]
    oracle = TruthOracle.from_sets(sets, [[0, 0, 1], [7, 8, 8], [0, 0], [0, 1]])
    labels = oracle.answer_sets([["a", "b", "c"], ["a", "b"]])
    assert [own.tolist() for own in labels] == [[0, 0, 1], [-1, -1]]


def test_a_set_or_a_text_that_is_not_known_is_refused():
    oracle = TruthOracle.from_sets([["a", "b"]], [[0, 1]])
    with pytest.raises(ValueError, match=r"does not know a set of these 1 texts"):
        oracle.answer_sets([["a"]])
    with pytest.raises(ValueError, match="does not know the text 'new'"):
        TruthOracle(TEXTS, LABELS).answer_sets([["text 1", "new"]])


def test_labels_within_sets_answer_neither_pairs_nor_triplets():
    oracle = TruthOracle.from_sets([["a", "b", "c"]], [[0, 1, 1]])
    with pytest.raises(ValueError, match="answers sets alone"):
        oracle.answer_pairs([("a", "b")])
    with pytest.raises(ValueError, match="answers sets alone"):
        oracle.answer_triplets([("a", "b", "c")])


@pytest.mark.parametrize("y", [[[0]], [[0, 1, 2]], [[0, 1], [0]], []])
def test_each_set_needs_as_many_labels_as_texts(y):
    with pytest.raises(ValueError, match=r"got \d labels for the \d texts of the set"):
        TruthOracle.from_sets([["a", "b"]], y)


@pytest.mark.parametrize("groups", [[0], [0.0, 1.0], [[0, 1]], ["a", "b"]])
def test_groups_are_one_int_for_each_text(groups):
    with pytest.raises(ValueError, match="groups must have one int per text, 2, got"):
        TruthOracle(["a", "b"], [0, 1], groups=groups).answer_sets([["a"]])


def test_new_labels_of_sets_are_looked_at():
    oracle = TruthOracle.from_sets([["a", "b"]], [[0, 1]])
    assert oracle.answer_sets([["a", "b"]])[0].tolist() == [0, 1]
    oracle.set_params(labels=[0, 0])
    assert oracle.answer_sets([["a", "b"]])[0].tolist() == [0, 0]
    oracle.set_params(groups=None)
    assert oracle.answer_sets([["b", "a"]])[0].tolist() == [0, 0]


def test_a_parameter_that_is_not_valid_is_refused_for_sets_too():
    with pytest.raises(ValueError, match="accuracy must be"):
        TruthOracle(["a"], [0], accuracy=2).answer_sets([["a"]])
