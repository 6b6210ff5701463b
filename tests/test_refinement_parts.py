"""The parts of refining, each by itself: against slow loops, or what must hold."""

import itertools

import numpy as np
import pytest
from choosers import Choosing, Naming, Posing, Saying, blobs, mute, none
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.preprocessing import normalize

from skllm_cluster.refinement._discovery import coverage, grow_classes, name_classes
from skllm_cluster.refinement._distil import _noise, distil
from skllm_cluster.refinement._features import Features
from skllm_cluster.refinement._interview import NONE, Interview
from skllm_cluster.refinement._selection import least_certain, margins
from skllm_cluster.refinement._settling import (
    ask_which_are_one,
    join,
    merge_to,
    overlaps,
    split_to,
)
from skllm_cluster.refinement._steps import base_of, choose_exemplars, know
from skllm_cluster.refinement._verdict import (
    _foretold,
    check_answers,
    out_of_question,
    verdict,
)

TEXTS, Z, LABELS = blobs(120)
FEATURES = Features(Z)


def interview(oracle, limit=100, seed=0):
    return Interview(oracle, TEXTS, limit, np.random.RandomState(seed))


def learned(oracle, rows, limit=100):
    """Three named classes, and the answers about some texts."""
    made = interview(oracle, limit)
    for label in range(3):
        made.classes.add(f"class {label}")
    made.choose(rows, [[0, 1, 2]] * len(rows))
    return made


def posteriors(n=30, n_classes=5, seed=0):
    return np.random.default_rng(seed).dirichlet(np.full(n_classes, 0.3), size=n)


# Features


def test_neighbours_are_averaged():
    unit = Z / np.linalg.norm(Z, axis=1, keepdims=True)
    for i in (0, 17, 119):
        near = np.argsort(-(unit @ unit[i]), kind="stable")[:10]
        mean = unit[near].mean(axis=0)
        np.testing.assert_allclose(
            FEATURES.smooth[i], mean / np.linalg.norm(mean), atol=1e-5
        )
    np.testing.assert_array_equal(
        FEATURES.matrix, np.hstack([FEATURES.unit, FEATURES.smooth])
    )


@pytest.mark.parametrize("n", [1, 2, 7, 10])
def test_few_texts_keep_vectors_of_their_own(n):
    few = Features(np.eye(12)[:n])
    assert len(np.unique(few.smooth, axis=0)) > (n - 1) / 2
    assert np.isfinite(few.graph().toarray()).all()


def test_features_of_training_texts_are_theirs_and_others_have_no_row():
    rows = np.array([3, 1, 1, 70])
    matrix, near, own = FEATURES.of(Z[rows])
    np.testing.assert_allclose(matrix, FEATURES.matrix[rows], atol=1e-6)
    assert own.tolist() == rows.tolist()
    assert near[:, 0].tolist() == rows.tolist()
    _, near, own = FEATURES.of(Z[:1] + 0.01)
    assert own.tolist() == [-1]
    assert near[0, 0] == 0


def test_equal_vectors_have_one_first_row_and_are_settled_together():
    twice = Features(np.vstack([Z[:20], Z[:20], 4 * Z[:5]]))
    assert twice.first.tolist() == [*range(20), *range(20), *range(5)]
    copies = set(range(20, 45))
    assert set(twice.settled([])) == copies
    assert set(twice.settled([2])) == copies | {2}
    assert set(twice.settled([22, 41])) == copies | {2, 1}
    assert FEATURES.settled([]).tolist() == []


def test_the_graph_of_neighbours_is_symmetric_and_reaches_no_one_itself():
    graph = FEATURES.graph().toarray()
    np.testing.assert_allclose(graph, graph.T, atol=1e-6)
    assert graph.min() >= 0
    assert not graph.diagonal().any()
    assert np.abs(np.linalg.eigvalsh(graph)).max() <= 1 + 1e-5


def test_answers_speak_for_their_neighbours():
    rows = np.arange(60)
    found = FEATURES.nearest_answers(rows, LABELS[rows] == 1)
    np.testing.assert_array_equal(found, LABELS == 1)
    alone = Features(np.zeros((3, 4)))
    assert alone.nearest_answers(np.array([1]), np.array([True]))[1]


# Asking


def test_what_was_said_of_shuffled_options_is_said_of_classes():
    oracle = Choosing(TEXTS, LABELS)
    made = learned(oracle, range(60))
    assert made.answers == LABELS[:60].tolist()
    assert made.rows == list(range(60))
    assert len({tuple(options) for _, options in oracle.asked}) == 6
    found = made.choose([0, 1], [[1, 2], [1]])
    assert found.tolist() == [NONE, 1]
    assert made.unplaced() == [0]
    made.learn(0, 0)
    assert made.unplaced() == []


def test_no_more_is_asked_than_there_is_left():
    made = learned(Choosing(TEXTS, LABELS), range(60), limit=50)
    assert (made.spent, made.left, len(made.rows)) == (50, 0, 50)
    assert made.choose([1], [[0]]).tolist() == []
    assert made.propose([0, 1]) == []
    assert len(made.oracle.asked) == 50


def test_unusable_answers_are_counted_alone():
    made = learned(Saying(mute), range(10))
    assert made.rows == []
    assert made.counts["unusable"] == made.counts["choices"] == made.spent == 10


def test_names_are_added_once():
    made = interview(Posing(none, ["a", "A ", " b", "", "a"]))
    assert made.propose([0]) == [0, 1]
    assert made.propose([1]) == []
    assert made.classes.names == ["a", "b"]
    assert made.can_name
    assert not interview(Saying(none)).can_name


def test_a_class_is_named_by_its_texts_if_it_can_be():
    made = interview(Naming(TEXTS, LABELS), limit=2)
    for row in (1, 4, 2):
        made.classes.add(exemplars=[row])
    for number in range(3):
        made.name(number)
    # The second has the name of the first already; for the third nothing is left.
    assert made.classes.names == ["class 1", None, None]
    assert made.spent == made.counts["proposals"] == 2


def test_an_answer_counts_as_much_as_it_is_sure():
    made = interview(None)
    for row, answer, sure in ((5, 0, 0.7), (6, NONE, 0.9), (7, 1, np.nan), (8, 1, 0)):
        made.learn(row, answer, sure)
    rows, answers, weights = made.answered()
    assert rows.tolist() == [5, 7, 8]
    assert answers.tolist() == [0, 1, 1]
    assert weights.tolist() == [0.7, 1.0, 0.001]


# Which classes there are


@pytest.mark.parametrize("n", [0, 1, 6, 50, 500])
def test_texts_that_stand_for_all_lie_everywhere(n):
    rows = coverage(FEATURES.smooth, n, 0)
    assert len(rows) == len(set(rows)) <= min(n, 120)
    if n == 6:
        assert sorted(rows % 6) == list(range(6))
    if n >= 50:
        assert len(rows) > 30


def test_large_groups_come_first():
    rows = coverage(np.vstack([Z[:100:2] * 0 + np.eye(12)[0], Z[1::20]]), 4, 0)
    assert rows[0] == 0


def test_names_are_asked_for_until_three_lots_need_none():
    oracle = Naming(TEXTS * 4, list(LABELS) * 4)
    made = Interview(oracle, TEXTS * 4, 100, np.random.RandomState(0))
    name_classes(made, np.arange(480), limit=50)
    assert made.counts["proposals"] == 4
    name_classes(made, np.arange(480), limit=2)
    assert made.counts["proposals"] == 6
    name_classes(made, np.arange(480)[:0], limit=2)
    assert made.counts["proposals"] == 6
    assert made.classes.names == ["class 0", "class 1", "class 2"]


def test_classes_grow_until_each_text_has_one():
    made = interview(Choosing(TEXTS, LABELS))
    grow_classes(made, FEATURES.smooth, range(40), n_options=10, limit=90)
    of = [LABELS[rows[0]] for rows in made.classes.exemplars]
    assert set(of) == {0, 1, 2}
    assert not made.unplaced()
    last = dict(zip(made.rows, made.answers, strict=True))
    assert sorted(last) == list(range(40))
    assert all(LABELS[row] == of[answer] for row, answer in last.items())


def test_who_founds_a_class_was_told_twice_that_it_has_none():
    oracle = Saying(none)
    made = interview(oracle)
    grow_classes(made, np.eye(120), range(5), n_options=10, limit=90)
    assert len(made.classes) == 5
    assert made.spent == 8  # the first founds one unasked
    made = interview(Saying(none))
    grow_classes(made, np.ones((120, 1)), range(5), n_options=10, limit=90)
    assert len(made.classes) == 5  # one at a time, as they are alike
    assert made.spent > 8


def test_classes_stop_growing_where_they_have_to():
    made = interview(Saying(none))
    grow_classes(made, FEATURES.smooth, range(120), n_options=10, limit=20)
    assert made.spent <= 20 + 16
    grow_classes(made, FEATURES.smooth, [], n_options=10, limit=99)
    assert made.spent <= 20 + 16


def test_a_class_that_has_but_a_name_is_shown_first():
    made = interview(Saying(none))
    made.classes.add(exemplars=[0])
    named = made.classes.add("so far a name")
    grow_classes(made, FEATURES.smooth, [1], n_options=1, limit=1)
    assert made.oracle.asked == [([TEXTS[1]], ["so far a name"])]
    assert made.classes.exemplars[named] == []


# From answers to classes


def answers_about(accuracy, m=400, n_classes=5, seed=0):
    rng = np.random.default_rng(seed)
    _, vectors, labels = blobs(2 * m, 10, n_classes, seed=seed)
    rows = rng.permutation(2 * m)[:m]
    said = labels[rows]
    wrong = rng.random(m) > accuracy
    said = np.where(wrong, (said + rng.integers(1, n_classes, m)) % n_classes, said)
    return Features(vectors), rows, said, labels


def test_wrong_answers_are_outvoted_and_their_share_is_estimated():
    estimates = []
    for accuracy in (0.5, 0.7, 0.9, 1.0):
        features, rows, said, labels = answers_about(accuracy)
        found = distil(features, rows, said, 5, weights=np.ones(len(rows)), seed=0)
        assert (found.posterior.argmax(axis=1) == labels).mean() > 0.95
        assert found.held_out.shape == (400, 5)
        np.testing.assert_allclose(found.posterior.sum(axis=1), 1, atol=1e-5)
        estimates.append(found.accuracy)
    assert estimates == sorted(estimates)
    # What classifiers learned from wrong answers makes these look likelier.
    assert estimates[0] < 0.8
    assert estimates[2:] == pytest.approx([0.9, 1.0], abs=0.1)


@pytest.mark.parametrize("accuracy", [0.95, 0.8, 0.6])
def test_noise_is_found_where_the_truth_is_all_but_known(accuracy):
    rng = np.random.default_rng(0)
    truth = rng.integers(4, size=2000)
    wrong = rng.random(2000) > accuracy
    said = np.where(wrong, (truth + rng.integers(1, 4, 2000)) % 4, truth)
    P = np.full((2000, 4), 0.01)
    P[np.arange(2000), truth] = 0.97
    estimate, trust = _noise(P, said)
    assert estimate == pytest.approx(accuracy, abs=0.05)
    assert trust[~wrong].min() > 0.9
    assert trust[wrong].max() < 0.65


def test_answers_of_one_class_say_that_all_texts_are_of_it():
    rows = np.array([4, 9])
    found = distil(FEATURES, rows, np.array([1, 1]), 3, weights=np.ones(2), seed=0)
    assert set(found.posterior.argmax(axis=1)) == {1}
    matrix, near, _ = FEATURES.of(Z[:2] + 0.1)
    assert set(found.of(matrix, near).argmax(axis=1)) == {1}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("m", [1, 2, 3, 5])
def test_few_answers_will_do_however_they_are_drawn(m, seed):
    rows = np.arange(m)
    found = distil(FEATURES, rows, rows % 3, 3, weights=np.ones(m), seed=seed)
    assert np.isfinite(found.posterior).all()
    assert np.isfinite(found.held_out).all()
    if m in (2, 3):
        assert found.posterior[:m].argmax(axis=1).tolist() == (rows % 3).tolist()


def test_two_answers_about_one_text_are_held_out_together():
    rows = np.repeat([0, 1, 2, 3], 2)
    said = np.array([0, 1, 1, 2, 2, 0, 0, 0])
    found = distil(FEATURES, rows, said, 3, weights=np.ones(8), seed=0)
    np.testing.assert_allclose(found.held_out[::2], found.held_out[1::2])


def test_an_answer_without_weight_teaches_next_to_nothing():
    rows = np.arange(60)
    said, weights = LABELS[rows].copy(), np.ones(60)
    said[:20], weights[:20] = (said[:20] + 1) % 3, 1e-3
    found = distil(FEATURES, rows, said, 3, weights=weights, seed=0)
    np.testing.assert_array_equal(found.posterior.argmax(axis=1), LABELS)


def test_what_is_said_of_other_texts_is_what_was_said_of_the_same():
    rows = np.arange(0, 120, 2)
    found = distil(FEATURES, rows, LABELS[rows], 3, weights=np.ones(60), seed=0)
    matrix, near, _ = FEATURES.of(Z)
    np.testing.assert_array_equal(
        found.of(matrix, near).argmax(axis=1), found.posterior.argmax(axis=1)
    )


# Which texts to ask about


def test_the_margin_is_between_the_first_and_the_second():
    P = posteriors()
    slow = [sorted(row)[-1] - sorted(row)[-2] for row in P.tolist()]
    np.testing.assert_allclose(margins(P), slow)
    assert margins(np.ones((3, 1))).tolist() == [1, 1, 1]


@given(st.integers(0, 40), st.sets(st.integers(0, 29)), st.integers(0, 5))
@settings(max_examples=40, deadline=None)
def test_the_least_certain_are_those_whose_margin_is_least(n, done, seed):
    P = posteriors(seed=seed)
    rows = least_certain(P, n, without=done).tolist()
    left = sorted(set(range(30)) - done, key=lambda i: margins(P)[i])
    assert rows == left[:n]


# From as many classes as were found to as many as are wanted


def test_overlaps_are_those_of_bhattacharyya():
    P = posteriors()
    found = overlaps(P)
    for a, b in itertools.permutations(range(5), 2):
        p, q = P[:, a] / P[:, a].sum(), P[:, b] / P[:, b].sum()
        assert found[a, b] == pytest.approx(np.sqrt(p * q).sum())
    assert found.diagonal().tolist() == [-1] * 5
    assert overlaps(np.eye(3)).max() == 0
    assert overlaps(np.full((4, 2), 0.5))[0, 1] == pytest.approx(1)
    assert np.isfinite(overlaps(np.array([[1.0, 0.0]] * 3))).all()


pairs_of_classes = st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)))


@given(pairs_of_classes)
@settings(max_examples=60, deadline=None)
def test_joined_classes_are_those_that_pairs_connect(pairs):
    groups = [{c} for c in range(8)]
    for a, b in pairs:
        one, two = (next(g for g in groups if c in g) for c in (a, b))
        if one is not two:
            groups.remove(two)
            one |= two
    numbers = join(8, pairs)
    assert sorted(set(numbers)) == list(range(len(groups)))
    for a, b in itertools.combinations(range(8), 2):
        together = any({a, b} <= group for group in groups)
        assert (numbers[a] == numbers[b]) == together


def slow_merge(P, k):
    sets = [{c} for c in range(P.shape[1])]
    while len(sets) > k:
        best = None
        for a, b in itertools.combinations(range(len(sets)), 2):
            p, q = (P[:, sorted(sets[i])].sum(axis=1) for i in (a, b))
            alike = np.sqrt(p * q).sum() / np.sqrt(p.sum() * q.sum())
            cost = (1 - alike) * min(p.sum(), q.sum())
            if best is None or cost < best[0] - 1e-12:
                best = (cost, a, b)
        _, a, b = best
        sets[a] |= sets.pop(b)
    return {frozenset(s) for s in sets}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("k", [1, 2, 4, 6])
def test_classes_are_merged_where_it_costs_least(seed, k):
    P = posteriors(40, 6, seed)
    numbers = merge_to(P, k)
    assert sorted(set(numbers)) == list(range(k))
    found = {frozenset(np.flatnonzero(numbers == c).tolist()) for c in range(k)}
    assert found == slow_merge(P, k)


def test_merging_to_more_than_there_are_changes_nothing():
    assert merge_to(posteriors(), 9).tolist() == list(range(5))


def test_an_empty_class_is_merged_first():
    P = np.column_stack([np.eye(3)[LABELS], np.full(120, 1e-12)])
    assert len(set(merge_to(P, 3)[:3])) == 3


@pytest.mark.parametrize("k", [1, 3, 4, 6, 11, 120])
def test_classes_are_only_cut_and_where_they_fall_apart(k):
    labels = LABELS.copy()
    found = split_to(labels, FEATURES.unit, k=k, seed=0)
    assert len(np.unique(found)) == max(k, 3)
    assert set(labels) == {0, 1, 2}  # its own are as they were
    for c in np.unique(found):
        assert len(set(LABELS[found == c])) == 1
    if k == 6:
        assert len(set(zip(found, np.arange(120) % 6, strict=True))) == 6


def test_equal_vectors_are_not_cut():
    vectors = np.repeat(np.eye(3), 4, axis=0)
    found = split_to(np.zeros(12, dtype=np.intp), vectors, k=12, seed=0)
    assert len(np.unique(found)) == 3
    for rows in np.arange(12).reshape(3, 4):
        assert len(set(found[rows])) == 1


@pytest.mark.parametrize("gap", [1e-7, 2e-6, 1e-5, 1e-3])
def test_vectors_that_are_all_but_equal_are_cut_or_not_without_a_word(gap):
    vectors = np.ones((6, 3), dtype=np.float32)
    vectors[:2] += np.float32(gap)
    found = split_to(np.zeros(6, dtype=np.intp), vectors, k=4, seed=0)
    assert len(np.unique(found)) in (1, 2)


def test_a_base_has_as_many_clusters_as_vectors_allow():
    for k in (1, 6, 40, 120):
        assert len(set(base_of(FEATURES, 0)(k))) == k
    assert len(set(base_of(Features(np.repeat(np.eye(3), 5, axis=0)), 0)(9))) == 3


def split_classes(oracle, limit=100):
    """Six groups, two for each class, and how hard they are to tell apart."""
    made = interview(oracle, limit)
    for b in range(6):
        made.classes.add(exemplars=[b, b + 6, b + 12])
    P = np.full((120, 6), 0.01)
    blob = np.arange(120) % 6
    P[np.arange(120), blob] = 0.6
    P[np.arange(120), (blob + 3) % 6] = 0.36
    return made, P


@pytest.mark.parametrize("n_options", [2, 3, 6, 30])
def test_classes_that_are_one_are_found_by_asking(n_options):
    made, P = split_classes(Choosing(TEXTS, LABELS))
    pairs = ask_which_are_one(made, P, limit=6, n_options=n_options)
    assert sorted(pairs) == [(0, 3), (1, 4), (2, 5)]
    assert {len(texts) for texts, _ in made.oracle.asked} == {3}
    assert max(len(options) for _, options in made.oracle.asked) <= n_options
    assert made.counts["merges"] == len(made.oracle.asked)
    assert made.rows == []


def test_of_two_classes_both_have_to_be_taken_for_the_other():
    def low(texts, options):
        """Whoever is asked about, the group of the first text, or none."""
        asked = [TEXTS[0] in group for group in options]
        return asked.index(True) if any(asked) else len(options)

    made, P = split_classes(Saying(low))
    assert ask_which_are_one(made, P, limit=6, n_options=6) == []
    for say in (mute, none):
        made, P = split_classes(Saying(say))
        assert ask_which_are_one(made, P, limit=6, n_options=6) == []


def test_classes_are_not_compared_beyond_the_limits():
    made, P = split_classes(Choosing(TEXTS, LABELS), limit=4)
    ask_which_are_one(made, P, limit=6, n_options=6)
    assert made.spent == 4
    made, P = split_classes(Choosing(TEXTS, LABELS))
    assert len(ask_which_are_one(made, P, limit=2, n_options=6)) <= 2
    assert made.spent <= 4
    made.classes.exemplars[:] = [[] for _ in range(6)]
    assert ask_which_are_one(made, P, limit=6, n_options=6) == []


# Whether answers are believed


def test_known_texts_and_those_on_show_are_not_checked():
    made = learned(Choosing(TEXTS, LABELS), range(20))
    every = np.arange(20)
    assert made.checkable(every).tolist() == every.tolist()
    made.known = {3, 4}
    made.classes.exemplars[:] = [[0, 6], [1], []]
    assert set(every) - set(made.checkable(every)) == {3, 4}  # names are shown
    made.classes.names[:] = [None, None, None]
    assert set(every) - set(made.checkable(every)) == {3, 4, 0, 6, 1}


@pytest.mark.parametrize("n_options", [2, 3, 9])
def test_who_is_always_right_says_everything_again(n_options):
    made = learned(Choosing(TEXTS, LABELS), range(30))
    found = check_answers(made, np.arange(5, 25), n_options=n_options)
    assert found == (20, 20)
    assert {len(options) for _, options in made.oracle.asked[30:]} == {2}
    assert len(made.rows) == 30


@pytest.mark.parametrize("accuracy", [0.9, 0.6, 0.3])
def test_answers_come_again_as_often_as_both_are_right(accuracy):
    texts, _, labels = blobs(2000, 30, 30, d=30)
    oracle = Choosing(texts, labels, accuracy=accuracy)
    made = Interview(oracle, texts, 9999, np.random.RandomState(0))
    every = [made.classes.add(f"class {c}") for c in range(30)]
    made.choose(range(2000), [every] * 2000)
    every = np.arange(len(made.answered()[0]))
    again, checked = check_answers(made, every, n_options=30)
    assert again / checked == pytest.approx(accuracy**2, abs=0.05)


def test_checks_end_with_the_budget():
    made = learned(Choosing(TEXTS, LABELS), range(30), limit=33)
    assert check_answers(made, np.arange(20), n_options=3) == (3, 3)
    assert check_answers(made, np.arange(20), n_options=3) == (0, 0)


def test_asking_goes_on_as_long_as_there_is_hope():
    for kind in ("categories", "groups"):
        assert not out_of_question((0, 0), kind, 50)
        assert not out_of_question((10, 20), kind, 50)
        assert out_of_question((0, 40), kind, 50)
    assert out_of_question((1, 30), "groups", 50)
    assert not out_of_question((2, 30), "categories", 50)


def judge(oracle, base, checks, *, kind="categories", known=(), m=60):
    rows = np.arange(m)
    made = learned(oracle, rows)
    made.known.update(known)
    rows, answers, weights = made.answered()
    found = distil(FEATURES, rows, answers, 3, weights=weights, seed=0)
    return verdict(made, found, base, checks, kind=kind, seed=0)


def test_classes_are_kept_if_answers_are_consistent_and_foretell_one_another():
    poor, best = np.zeros(120, dtype=np.intp), LABELS
    exact = Choosing(TEXTS, LABELS)
    found = judge(exact, poor, (20, 20))
    assert found.kept
    assert (found.agreement, found.consistency, found.checked) == (1.0, 1.0, 20)
    assert found.base_agreement < 0.5
    assert judge(exact, best, (20, 20)).kept  # which is as good
    mixed = np.random.default_rng(0).permutation(LABELS)
    own = judge(Choosing(TEXTS, mixed), mixed, (20, 20))
    assert own.agreement < own.base_agreement
    assert not own.kept
    assert not judge(exact, poor, (1, 20)).kept
    assert judge(exact, poor, (4, 8)).kept
    assert not judge(exact, poor, (4, 12), kind="groups").kept
    assert np.isnan(judge(exact, poor, (0, 0)).consistency)


def test_without_checks_answers_foretold_decide():
    exact, poor = Choosing(TEXTS, LABELS), np.zeros(120, dtype=np.intp)
    assert judge(exact, poor, (0, 0), kind="groups").kept
    assert not judge(exact, poor, (0, 20), kind="groups").kept


# Known classes, and who stands for a class


def test_known_classes_are_shown_by_those_in_their_middle():
    made = interview(None)
    know(made, FEATURES, np.where(np.arange(120) < 60, 7 * LABELS, -1))
    assert made.rows == sorted(range(60), key=lambda i: (LABELS[i], i))
    assert made.answers == sorted(LABELS[:60])
    assert made.known == set(range(60))
    assert [set(LABELS[rows]) for rows in made.classes.exemplars] == [{0}, {1}, {2}]
    assert all(len(set(rows)) == 3 for rows in made.classes.exemplars)
    empty = interview(None)
    know(empty, FEATURES, None)
    know(empty, FEATURES, np.full(120, -1))
    assert (len(empty.classes), empty.rows) == (0, [])


def test_the_founder_of_a_group_goes_on_standing_for_it():
    made = learned(Choosing(TEXTS, LABELS), range(60))
    made.classes.names[:] = [None] * 3
    made.classes.exemplars[:] = [[0], [1], []]
    rows, answers, weights = made.answered()
    found = distil(FEATURES, rows, answers, 3, weights=weights, seed=0)
    choose_exemplars(made, found, "groups")
    shown = made.classes.exemplars
    assert [rows[0] for rows in shown[:2]] == [0, 1]
    assert [len(set(rows)) for rows in shown] == [3, 3, 3]
    assert [set(LABELS[rows]) for rows in shown] == [{0}, {1}, {2}]
    choose_exemplars(made, found, "categories")
    for c, rows in enumerate(made.classes.exemplars):
        sure = found.held_out[:, c][LABELS[:60] == c]
        assert found.held_out[rows[0], c] == sure.max()


def test_normalised_rows_are_what_is_learned_from():
    np.testing.assert_allclose(FEATURES.unit, normalize(Z), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(FEATURES.smooth, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_a_single_odd_text_can_be_cut_off(seed):
    vectors = np.vstack([np.tile([1.0, 0.0], (900, 1)), [[0.0, 1.0]]])
    found = split_to(np.zeros(901, dtype=np.intp), vectors, k=2, seed=seed)
    assert found.tolist() == [0] * 900 + [1]


def test_clusters_foretell_answers_by_those_of_other_folds():
    clusters = np.repeat([0, 1, 2], [50, 50, 1])
    answers = np.repeat([4, 1, 2], [50, 50, 1])
    told = _foretold(clusters, answers, 5, seed=0)
    # The last is alone, which does not speak against its cluster.
    assert told.tolist() == [4] * 50 + [1] * 50 + [-1]


@pytest.mark.parametrize("seed", range(5))
def test_random_answers_are_not_foretold_worse_by_clusters_than_by_chance(seed):
    rng = np.random.default_rng(seed)
    clusters, answers = rng.integers(20, size=4000), rng.integers(4, size=4000)
    share = np.mean(_foretold(clusters, answers, 4, seed=seed) == answers)
    assert 0.2 < share < 0.3
