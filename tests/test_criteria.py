"""Criteria: which number of clusters the answers, or the vectors alone, speak for."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.cluster.hierarchy import cut_tree, linkage
from sklearn.cluster import KMeans
from sklearn.metrics import fbeta_score, silhouette_score

from skllm_cluster.criteria import (
    Score,
    bic,
    cluster_size,
    effective_number,
    elbow,
    f_beta,
    pair_match,
    silhouette,
    tree_likelihood,
    x_means,
)
from skllm_cluster.criteria._pairs import _log_same
from skllm_cluster.criteria._rise import fit_rise

ASKING = [f_beta, tree_likelihood, pair_match, effective_number]
ESTIMATING = [pair_match, effective_number]
SILENT = [silhouette, elbow, bic, cluster_size, x_means]

K = np.arange(2, 61)


def n_same_of(k, n_rows=600):
    """Pairs of a tree whose every cut has clusters of one size."""
    return n_rows * (n_rows / np.asarray(k) - 1) / 2


def drawn(true_k, n=600, flip=0.0, seed=0, k=K):
    """Levels even in log, answered by the cut at ``true_k``."""
    rng = np.random.default_rng(seed)
    levels = np.exp(np.log(2 * k[-1]) * rng.random(n)).astype(int)
    answers = (levels >= true_k) ^ (rng.random(n) < flip)
    return levels, answers.astype(int)


def ask(criterion, levels, answers, k=K, **options):
    return criterion(k, levels, answers, n_same=n_same_of(k), n_rows=600, **options)


@st.composite
def cases(draw):
    n = draw(st.integers(1, 30))
    levels = draw(st.lists(st.integers(0, 15), min_size=n, max_size=n))
    answers = draw(st.lists(st.sampled_from([-1, 0, 1]), min_size=n, max_size=n))
    k = draw(st.lists(st.integers(1, 14), min_size=1, unique=True).map(sorted))
    return k, levels, answers


def slow_f_beta(k, levels, answers, beta):
    predicted = hits = yes = 0
    for level, answer in zip(levels, answers, strict=True):
        if answer != -1:
            yes += answer
            predicted += level >= k
            hits += answer and level >= k
    return (1 + beta**2) * hits / (beta**2 * yes + predicted)


@settings(deadline=None)
@given(cases(), st.sampled_from([0.92, 0.3, 1.0, 2.5]))
def test_f_beta_of_all_k_at_once_is_the_slow_loop_and_scikit_learns_to_the_last_bit(
    case, beta
):
    k, levels, answers = case
    score = f_beta(k, levels, answers, beta=beta)
    usable = np.array(answers) != -1
    y, s = np.array(answers)[usable], np.array(levels)[usable]
    if not len(y) or y.all() or not y.any():
        assert score.best is None
        return
    slow = [slow_f_beta(i, levels, answers, beta) for i in k]
    assert score.scores.tolist() == slow
    theirs = [fbeta_score(y, s >= i, beta=beta, zero_division=0) for i in k]
    assert score.scores.tolist() == theirs
    assert score.scores[k.index(score.best)] == max(slow)


def slow_tree_likelihood(k, levels, answers):
    """Best over a fine grid of rates, q0 <= q1."""
    grid = np.linspace(0, 1, 201)
    table = np.zeros((2, 2))
    for level, answer in zip(levels, answers, strict=True):
        if answer != -1:
            table[int(level >= k), answer] += 1
    best = -np.inf
    for i, q0 in enumerate(grid):
        for q1 in grid[i:]:
            value = 0.0
            for (no, yes), q in zip(table, (q0, q1), strict=True):
                value += yes * math.log(q) if yes and q else -np.inf if yes else 0
                value += no * math.log(1 - q) if no and q < 1 else -np.inf if no else 0
            best = max(best, value)
    return best


@settings(max_examples=8, deadline=None)
@given(cases())
def test_tree_likelihood_is_the_best_of_a_slow_search_over_both_rates(case):
    k, levels, answers = case
    score = tree_likelihood(k[:2], levels, answers)
    if score.best is None:
        return
    for i, value in zip(k, score.scores, strict=False):
        slow = slow_tree_likelihood(i, levels, answers)
        assert slow <= value + 1e-9
        assert value - slow < 0.02


def slow_models(levels, answers, finest):
    """Weight, mistakes, log u, slope and centre of every model, one at a time."""
    counts = {}
    for level, answer in zip(levels, answers, strict=True):
        step = round((math.log(level + 0.5) - math.log(1.5)) / 0.2)
        counts.setdefault(step, [0, 0])[answer] += 1
    n_steps = 1 + max(*counts, round((math.log(finest) - math.log(1.5)) / 0.2))
    for bottom, height, ratio, b, place in itertools.product(
        [0, 0.06, 0.1, 0.15, 0.2, 0.27],
        np.linspace(0.2, 1, 13),
        [(0, 0.25), (1, 0.5), (3, 0.25)],
        np.geomspace(0.12, 12, 15),
        range(-6, n_steps + 8),
    ):
        false_no = ratio[0] * bottom
        u = height / (1 - bottom - false_no)
        if bottom + height > 1 + 1e-9 or not 0 < u < 1.05:
            continue
        fit = math.log(ratio[1]) + (bottom == 0) - ((u - 0.85) / 0.2) ** 2 / 2
        fit -= math.log(1 + (math.log(b / 1.5) / 0.2) ** 2)
        for step, (no, yes) in counts.items():
            q = bottom + height / (1 + math.exp(-b * 0.2 * (step - place)))
            q = min(max(q, 1e-4), 1 - 1e-4)
            fit += yes * math.log(q) + no * math.log(1 - q)
        center = math.log(1.5) + 0.2 * place
        yield math.exp(fit), bottom, false_no, math.log(min(u, 1)), b, center


def test_the_posterior_is_that_of_a_slow_loop_over_models():
    rng = np.random.default_rng(3)
    levels = rng.integers(1, 9, size=25)
    answers = (levels >= 4).astype(int) ^ (rng.random(25) < 0.15)
    rise = fit_rise(levels, answers, np.ones(25), 7, None)
    weight, false_yes, false_no, log_u, slope, center = (
        np.array(column)
        for column in zip(*slow_models(levels, answers, 7), strict=True)
    )
    weight /= weight.sum()
    zero = np.zeros(rise.weight.shape[1:])
    assert rise.weight.sum() == pytest.approx(1)
    assert rise.mean(rise.false_yes, zero) == pytest.approx(weight @ false_yes)
    assert rise.mean(rise.false_no, zero) == pytest.approx(weight @ false_no)
    shape = rise.center + rise.slope[:, None]
    values = slope + center - log_u

    def check(rise, weight):
        mean, variance = rise.moments(shape)
        assert mean == pytest.approx(weight @ values)
        assert variance == pytest.approx(weight @ values**2 - mean**2)

    check(rise, weight)
    # With one ratio of mistakes u is certain, and so is what lies within a range.
    told = fit_rise(levels, answers, np.ones(25), 7, 0.0)
    kept, below, above = told.between(shape, 2.0, 3.0)
    value = shape - told.log_top[:, 0, None, None]
    assert kept.weight[(value < 1.8) | (value > 3.2)].sum() < 1e-20
    assert kept.weight.sum() == pytest.approx(1)
    assert below == pytest.approx(told.weight[value < 1.8].sum())
    assert above == pytest.approx(told.weight[value > 3.2].sum())
    assert min(below, above, 1 - below - above) > 0.01


def test_a_range_without_any_model_keeps_all():
    rise = fit_rise(np.array([5, 40]), np.array([0, 1]), np.ones(2), 50, None)
    shape = np.zeros(rise.weight.shape[1:])
    kept, below, above = rise.between(shape, 50, 60)
    np.testing.assert_allclose(kept.weight, rise.weight)
    assert below == pytest.approx(1) and above == 0


def test_pairs_that_belong_together_are_summed_over_all_strata():
    rise = fit_rise(np.array([5, 40]), np.array([0, 1]), np.ones(2), 20, None)
    k, same = np.array([2, 3, 5, 9, 20]), n_same_of([2, 3, 5, 9, 20])
    cuts = [600 * 599 / 2, *same, 0]
    levels = [(1, 1), (2, 2), (3, 4), (5, 8), (9, 19), (20, 80)]
    b, c = rise.slope[4], rise.center[12]
    slow = sum(
        (cuts[i] - cuts[i + 1])
        / (1 + math.exp(-b * (math.log(math.sqrt(low * high) + 0.5) - c)))
        for i, (low, high) in enumerate(levels)
    )
    assert _log_same(rise, k, same, 600)[4, 12] == pytest.approx(math.log(slow))


@pytest.mark.parametrize("criterion", ASKING)
@pytest.mark.parametrize("true_k", [4, 12, 40])
def test_exact_answers_of_a_cut_bring_that_cut_back(criterion, true_k):
    score = ask(criterion, *drawn(true_k))
    assert abs(np.log(score.best / true_k)) < 0.3
    assert score.scores.shape == K.shape
    assert score.scores[score.best - 2] == score.scores.max()
    if score.interval is not None:
        assert score.interval[0] <= score.best <= score.interval[1]


@pytest.mark.parametrize("criterion", ESTIMATING)
def test_wrong_answers_are_noticed_and_widen_the_interval(criterion):
    exact, noisy = (ask(criterion, *drawn(12, flip=flip)) for flip in (0, 0.2))
    assert exact.report["false_yes"] < 0.02
    assert abs(noisy.report["false_yes"] - 0.2) < 0.06
    width = [np.log(high / low) for low, high in (exact.interval, noisy.interval)]
    assert width[1] > width[0]
    assert abs(np.log(noisy.best / 12)) < 0.5


@pytest.mark.parametrize("rates", [(0.05, 0.2), (0.2, 0.05)])
def test_one_kind_of_mistake_may_be_more_frequent_than_the_other(rates):
    levels, truth = drawn(12, n=2000)
    rng = np.random.default_rng(1)
    wrong = rng.random(2000) < np.where(truth, rates[1], rates[0])
    score = ask(pair_match, levels, truth ^ wrong)
    assert abs(score.report["false_yes"] - rates[0]) < 0.05
    assert abs(np.log(score.best / 12)) < 0.4


def test_tree_likelihood_reports_the_rates_of_both_errors():
    levels, answers = drawn(12, n=4000)
    rng = np.random.default_rng(1)
    wrong = np.where(answers == 1, rng.random(4000) < 0.3, rng.random(4000) < 0.05)
    score = ask(tree_likelihood, levels, answers ^ wrong)
    assert score.best == 12
    assert abs(score.report["false_no"] - 0.3) < 0.04
    assert abs(score.report["false_yes"] - 0.05) < 0.02


def test_answers_that_contradict_every_cut_do_not_make_one_likely():
    levels = np.repeat([3, 50], 20)
    score = ask(tree_likelihood, levels, levels == 3)
    # Cuts above 50 and below 4 say nothing, those between say the opposite.
    assert score.scores.max() - score.scores.min() < 1e-9


@pytest.mark.parametrize("criterion", ASKING)
@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ([1, 1, -1, 1], "all of 3 usable answers are 'same'"),
        ([0, 0, -1, 0], "all of 3 usable answers are 'different'"),
        ([-1] * 4, "none of 4 pairs has a usable answer"),
        ([], "none of 0 pairs has a usable answer"),
    ],
)
def test_answers_that_are_all_alike_choose_nothing_and_say_why(
    criterion, answers, reason
):
    score = ask(criterion, np.arange(2, 2 + len(answers)), answers)
    assert score.best is None
    assert score.interval is None
    assert np.isnan(score.scores).all()
    assert score.scores.shape == K.shape
    assert reason in score.report["reason"]


@pytest.mark.parametrize("criterion", ASKING)
def test_unusable_answers_are_as_if_never_asked(criterion):
    levels, answers = drawn(12, n=80, flip=0.1)
    more_levels = np.append(levels, [2, 3, 59])
    more = ask(criterion, more_levels, np.append(answers, [-1, -1, -1]))
    np.testing.assert_array_equal(more.scores, ask(criterion, levels, answers).scores)


@pytest.mark.parametrize("criterion", ASKING)
def test_order_of_the_pairs_does_not_matter_and_nothing_is_changed(criterion):
    levels, answers = drawn(12, n=80, flip=0.1)
    kept = levels.copy(), answers.copy()
    turn = np.random.default_rng(0).permutation(80)
    first = ask(criterion, levels, answers)
    other = ask(criterion, levels[turn], answers[turn])
    np.testing.assert_allclose(other.scores, first.scores, rtol=1e-9)
    assert other.best == first.best
    np.testing.assert_array_equal((levels, answers), kept)


@pytest.mark.parametrize("criterion", ASKING)
def test_one_candidate_and_one_of_each_answer_are_enough(criterion):
    score = ask(criterion, [3, 9], [0, 1], k=np.array([7]))
    assert score.best == 7


@pytest.mark.parametrize("criterion", [f_beta, tree_likelihood])
def test_of_tied_numbers_the_middle_of_the_run_with_fewest_clusters_is_chosen(
    criterion,
):
    # No pair of level 10 to 29 was drawn: these cuts agree with the answers alike.
    levels, answers = [5, 9, 30, 40], [0, 0, 1, 1]
    score = ask(criterion, levels, answers)
    assert score.report["tied"] == (10, 30)
    assert score.best == 20
    # Two runs of equal agreement: 4 to 6, and 11 to 12.
    twice = ask(criterion, [3, 6, 10, 12], [0, 1, 0, 1])
    ties = np.flatnonzero(twice.scores == twice.scores.max()) + 2
    assert twice.report["tied"][0] == ties[0]


def test_a_tie_at_the_end_of_the_range_is_not_cut_short():
    score = ask(f_beta, [5, 9, 100, 100], [0, 0, 1, 1])
    assert score.report["tied"] == (10, 60)


@pytest.mark.parametrize("criterion", ESTIMATING)
def test_an_estimate_beyond_the_range_is_said_to_be_beyond(criterion):
    assert ask(criterion, *drawn(12)).report["beyond"] is None
    coarse = ask(criterion, *drawn(5), k=np.arange(20, 61))
    assert (coarse.best, coarse.report["beyond"]) == (20, "low")
    fine = ask(criterion, *drawn(50, n=2000), k=np.arange(2, 20))
    assert (fine.best, fine.report["beyond"]) == (19, "high")


def test_pair_match_matches_pairs_and_the_effective_number_counts_equal_classes():
    levels, answers = drawn(12)
    match = ask(pair_match, levels, answers, evenness=0)
    number = ask(effective_number, levels, answers)
    pairs = match.report["n_pairs"]
    assert match.best == K[np.argmin(np.abs(np.log(n_same_of(K) / pairs)))]
    assert number.report == match.report | {"beyond": None}
    assert number.best == round(number.report["effective_number"])
    # Clusters of one size: pairs and classes say the same.
    assert match.best == number.best
    # Cuts with a giant cluster hold more pairs, and so do the answers then.
    giant = 600.0 - 3 * K
    known = {"n_same": giant**2 / 2, "n_rows": 600}
    uneven = pair_match(K, levels, answers, **known, evenness=0)
    assert abs(uneven.best - match.best) <= 2
    assert uneven.report["n_pairs"] > 2 * pairs
    # Evenness leads from the one to the other, whose numbers are averaged.
    equal = effective_number(K, levels, answers, **known)
    found = [
        pair_match(K, levels, answers, **known, evenness=w).best
        for w in np.linspace(0, 1, 9)
    ]
    assert found == sorted(found, reverse=True)
    assert (found[0], found[-1]) == (uneven.best, equal.best)
    half = np.sqrt(uneven.best * uneven.report["effective_number"])
    assert abs(found[4] - half) <= 1
    for wrong in (-0.1, 1.1):
        with pytest.raises(ValueError, match="evenness must be in"):
            pair_match(K, levels, answers, **known, evenness=wrong)


@pytest.mark.parametrize("factor", [2, 4])
def test_levels_that_are_all_so_many_times_as_fine_mean_as_many_times_the_clusters(
    factor,
):
    levels, answers = drawn(12, n=2000)
    k = np.arange(2, 400)
    one, other = (
        ask(pair_match, np.round((levels + 0.5) * f - 0.5).astype(int), answers, k=k)
        for f in (1, factor)
    )
    assert abs(np.log(other.best / one.best / factor)) < 0.2


@pytest.mark.parametrize("criterion", ESTIMATING)
def test_a_known_flip_rate_is_believed(criterion):
    levels, answers = drawn(12, flip=0.1)
    score = ask(criterion, levels, answers, flip_rate=0.1)
    assert score.report["false_yes"] == pytest.approx(0.1)
    assert score.report["false_no"] == pytest.approx(0.1)
    sure = ask(criterion, levels, answers, flip_rate=0)
    assert sure.report["false_yes"] == sure.report["false_no"] == 0
    # Mistakes at coarse levels, taken for truth, are many pairs.
    assert sure.best < score.best
    assert 2 <= ask(criterion, levels, answers, flip_rate=0.499).best <= 60


@pytest.mark.parametrize("criterion", ESTIMATING)
def test_weights_between_levels_change_nothing_and_within_a_level_they_count(criterion):
    levels, answers = drawn(12, n=300, flip=0.05)
    plain = ask(criterion, levels, answers)
    # Up to level 5 each bin of log level holds one level.
    weights = np.where(levels <= 4, 1000.0 / levels.clip(1), 1.0)
    between = ask(criterion, levels, answers, weights=weights)
    np.testing.assert_allclose(between.scores, plain.scores, atol=1e-9)
    weights = np.where(answers == 1, 3.0, 1.0)
    yes, even = (
        ask(criterion, levels, answers, weights=w, flip_rate=0.05)
        for w in (weights, None)
    )
    assert yes.best < even.best


@pytest.mark.parametrize("criterion", [f_beta, tree_likelihood])
def test_criteria_that_count_answers_do_not_weigh_them(criterion):
    levels, answers = drawn(12, n=50)
    weighed = ask(criterion, levels, answers, weights=levels + 1.0)
    plain = ask(criterion, levels, answers)
    np.testing.assert_array_equal(weighed.scores, plain.scores)


@pytest.mark.parametrize("criterion", ESTIMATING)
def test_more_same_answers_never_mean_more_clusters(criterion):
    levels, answers = drawn(20, n=200)
    best = []
    for _ in range(6):
        best.append(ask(criterion, levels, answers, flip_rate=0).best)
        no = np.flatnonzero(answers == 0)
        answers[no[np.argmax(levels[no])]] = 1
    assert best == sorted(best, reverse=True)


@pytest.mark.parametrize("flip", [0.0, 0.1])
def test_intervals_hold_the_truth_about_as_often_as_they_say(flip):
    """60 corpora, answers drawn from the model itself, 90 % intervals."""
    hits = 0
    rng = np.random.default_rng(0)
    s = np.arange(1, 401)
    all_same = n_same_of(s, 4000)
    for _ in range(60):
        b, c = 1.5 * np.exp(0.2 * rng.normal()), rng.uniform(2.5, 4.5)
        u = min(0.85 + 0.1 * rng.normal(), 1)
        levels = np.exp(np.log(800) * rng.random(300)).astype(int)
        p, share = (u / (1 + np.exp(-b * (np.log(x + 0.5) - c))) for x in (levels, s))
        answers = ((rng.random(300) < p) ^ (rng.random(300) < flip)).astype(int)
        score = pair_match(s, levels, answers, n_same=all_same, n_rows=4000)
        same = share[:-1] @ -np.diff(all_same) + u * all_same[-1]
        # Corpora differ from what answers can tell.
        truth = 4000**2 / (2 * same + 4000) * np.exp(0.2 * rng.normal())
        hits += score.interval[0] - 0.5 <= truth <= score.interval[1] + 0.5
    assert 48 <= hits <= 59


@pytest.mark.parametrize("criterion", ASKING)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k_values": []}, "k_values must be a one-dimensional array of ints"),
        ({"k_values": [2.0, 3.0]}, "dtype float64"),
        ({"k_values": [[2, 3]]}, r"shape \(1, 2\)"),
        ({"k_values": [3, 3]}, r"must rise from 1 or more, got \[3, 3\]"),
        ({"k_values": [0, 3]}, r"must rise from 1 or more, got \[0, 3\]"),
        ({"answers": [0, 1]}, r"of one length, got shapes \(3,\), \(2,\)"),
        ({"levels": [[1, 2, 3]]}, "must be one-dimensional"),
        ({"answers": [0, 1, 2]}, r"-1 \(unusable\), got \[0, 1, 2\]"),
        ({"answers": [0, 1, 0.5]}, r"got \[0.0, 0.5, 1.0\]"),
        ({"weights": [1, 1, 0]}, "weights must be positive and finite, got 0.0"),
        ({"weights": [1, 1, np.nan]}, "weights must be positive and finite"),
        ({"weights": [1, 1]}, r"and \(2,\)"),
    ],
)
def test_arguments_that_cannot_be_are_refused(criterion, change, message):
    case = {"k_values": [2, 3], "levels": [1, 2, 3], "answers": [0, 1, 1]} | change
    with pytest.raises(ValueError, match=message):
        criterion(**case, n_same=[9, 5], n_rows=10)


@pytest.mark.parametrize("criterion", ESTIMATING)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_same": [9]}, r"one value for each of 2 k_values, got shape \(1,\)"),
        ({"n_same": [5, 9]}, "must fall from at most all pairs"),
        ({"n_same": [5, -1]}, "to at least 0"),
        ({"n_same": [46, 5]}, r"pairs of n_rows \(45\)"),
    ],
)
def test_counts_that_cannot_be_are_refused(criterion, change, message):
    case = {"n_same": [9, 5], "n_rows": 10} | change
    with pytest.raises(ValueError, match=message):
        criterion([2, 3], [1, 2, 3], [0, 1, 1], **case)


@pytest.mark.parametrize("criterion", ESTIMATING)
@pytest.mark.parametrize("rate", [0.5, -0.1])
def test_a_rate_of_wrong_answers_that_cannot_be_is_refused(criterion, rate):
    with pytest.raises(ValueError, match=rf"in \[0, 0.5\) or None, got {rate}"):
        ask(criterion, [1, 2, 3], [0, 1, 1], flip_rate=rate)


@pytest.mark.parametrize("beta", [0, -1, np.nan, np.inf])
def test_a_beta_that_is_not_positive_is_refused(beta):
    with pytest.raises(ValueError, match="beta must be positive, got"):
        f_beta([2, 3], [1, 2], [0, 1], beta=beta)


def test_a_score_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Score(np.zeros(1), 2).best = 3


# ------------------------------------------------------------ nothing is asked


def blobs(n_blobs=6, size=25, seed=0):
    rng = np.random.default_rng(seed)
    return np.repeat(rng.normal(0, 10, (n_blobs, 5)), size, axis=0) + rng.normal(
        0, 0.5, (n_blobs * size, 5)
    )


def ward(X):
    tree = linkage(X, "ward")
    return lambda k: cut_tree(tree, k).ravel()


@pytest.mark.parametrize("criterion", [silhouette, elbow, bic, x_means])
def test_clusters_far_apart_are_counted(criterion):
    X = blobs()
    score = criterion(X, ward(X), np.arange(2, 16))
    assert score.best == 6
    assert score.scores.shape == (14,)
    assert score.interval is None


@pytest.mark.parametrize("criterion", SILENT)
def test_baselines_see_no_difference_between_names_of_clusters(criterion):
    X = blobs(seed=1)
    cut = ward(X)
    options = {"random_state": 0} if criterion in (silhouette, x_means) else {}
    plain = criterion(X, cut, np.arange(2, 9), **options)
    odd = criterion(X, lambda k: 100 - 7 * cut(k), np.arange(2, 9), **options)
    np.testing.assert_allclose(odd.scores, plain.scores)


def test_silhouette_is_scikit_learns_and_a_sample_is_close():
    X = blobs(4, 60)
    cut = ward(X)
    k = np.arange(2, 9)
    score = silhouette(X, cut, k)
    expected = [silhouette_score(X, cut(i)) for i in k]
    np.testing.assert_allclose(score.scores, expected, rtol=1e-6)
    sampled = silhouette(X, cut, k, sample_size=100, random_state=0)
    assert sampled.best == score.best
    assert (sampled.scores != score.scores).any()
    again = silhouette(X, cut, k, sample_size=100, random_state=0)
    np.testing.assert_array_equal(again.scores, sampled.scores)


def test_silhouette_of_one_cluster_or_of_single_rows_is_the_lowest():
    X = blobs(2, 3)
    score = silhouette(X, ward(X), [1, 2, 6])
    assert score.scores[[0, 2]].tolist() == [-1, -1]
    assert score.best == 2


def slow_inertia(X, labels):
    return sum(
        ((X[labels == c] - X[labels == c].mean(axis=0)) ** 2).sum()
        for c in np.unique(labels)
    )


def test_elbow_measures_the_distance_from_the_line_on_both_axes_scaled():
    X = blobs(5, 20) + 1e4
    cut, k = ward(X), [2, 3, 5, 9, 12]
    score = elbow(X, cut, k)
    inertia = np.array([slow_inertia(X, cut(i)) for i in k])
    np.testing.assert_allclose(score.report["inertia"], inertia, rtol=1e-6)
    for i, n in enumerate(k):
        fallen = (inertia[0] - inertia[i]) / (inertia[0] - inertia[-1])
        assert score.scores[i] == pytest.approx(fallen - (n - 2) / 10)


def test_elbow_of_a_flat_curve_or_of_one_cut_is_the_first():
    X = np.ones((8, 2))
    for k in ([2, 3, 4], [3]):
        score = elbow(X, lambda k: np.arange(8) % k, k)
        assert score.best == k[0]
        assert np.isfinite(score.scores).all()


def slow_bic(X, labels):
    """Log density of each row, one after the other, minus the price."""
    n, d = X.shape
    names = np.unique(labels)
    variance = slow_inertia(X, labels) / (d * (n - len(names)))
    total = 0.0
    for row, label in zip(X, labels, strict=True):
        mine = X[labels == label]
        square = ((row - mine.mean(axis=0)) ** 2).sum()
        total += math.log(len(mine) / n) - square / (2 * variance)
        total -= d / 2 * math.log(2 * math.pi * variance)
    return total - len(names) * (d + 1) / 2 * math.log(n)


def test_bic_is_that_of_a_loop_over_rows():
    X = blobs(3, 12)
    cut, k = ward(X), [1, 2, 3, 7]
    expected = [slow_bic(X, cut(i)) for i in k]
    np.testing.assert_allclose(bic(X, cut, k).scores, expected, rtol=1e-6)


def test_bic_of_as_many_clusters_as_rows_and_of_equal_rows_is_defined():
    X = np.repeat([[0.0, 1.0], [3.0, 3.0]], 4, axis=0)
    score = bic(X, lambda k: np.arange(8) * k // 8, [2, 4, 8])
    assert score.best == 2
    assert score.scores[2] == -np.inf


def test_cluster_size_counts_the_clusters_of_at_least_mean_size():
    labels = np.repeat(np.arange(8), [10, 9, 8, 5, 4, 2, 1, 1])  # 40 rows, mean 5
    score = cluster_size(np.zeros((40, 1)), lambda k: labels, [2, 4, 8])
    assert score.report["count"] == 4
    assert score.best == 4


def test_x_means_stops_at_the_largest_number_and_leaves_equal_rows_whole():
    X = blobs(6)
    capped = x_means(X, ward(X), [2, 3, 4], random_state=0)
    assert (capped.best, capped.report["count"]) == (4, 4)
    same = np.repeat(blobs(3, 1), 10, axis=0)
    score = x_means(same, ward(same), np.arange(3, 9), random_state=0)
    assert score.report["count"] == 3


def test_x_means_splits_where_scikit_learns_two_means_does():
    X = blobs(2, 40)
    score = x_means(X, lambda k: np.zeros(80, int), [1, 2, 3], random_state=0)
    assert score.best == 2
    assert len(set(KMeans(2, n_init=1, random_state=0).fit(X).labels_)) == 2


@pytest.mark.parametrize("criterion", SILENT)
def test_baselines_refuse_wrong_numbers_and_vectors(criterion):
    X = blobs(2, 5)
    with pytest.raises(ValueError, match="k_values must rise"):
        criterion(X, ward(X), [4, 2])
    with pytest.raises(ValueError, match="NaN"):
        criterion(np.full((10, 2), np.nan), ward(X), [2, 3])
