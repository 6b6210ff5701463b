"""Pairs to ask about, against full enumeration of what merges unite."""

import warnings
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skllm_cluster._pairs import _allot
from skllm_cluster.hierarchy import Tree, ward_tree
from skllm_cluster.sampling import merge_pairs, pair_weights


def draw_tree(n=80, d=2, seed=0, **options):
    points = np.random.default_rng(seed).normal(size=(n, d))
    return ward_tree(points, random_state=0, **options)


def unordered(pairs):
    return {(min(a, b), max(a, b)) for a, b in np.asarray(pairs).tolist()}


def every_pair(tree, low, high):
    """All pairs whose level is from low to high."""
    pairs = np.array(list(combinations(range(len(tree.leaf_of)), 2)))
    level = tree.level(pairs)
    return unordered(pairs[(level >= low) & (level <= high)])


def united(tree):
    """How many pairs each merge unites, by level: [0, level 1, ...]."""
    same = tree.n_same(np.arange(1, tree.n_leaves + 1))
    return [0, *(same[:-1] - same[1:]).tolist()]


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 1000),
    st.integers(1, 6),
    st.tuples(st.integers(1, 39), st.integers(1, 39)).filter(lambda k: k[0] < k[1]),
    st.sampled_from(["merges", "uniform", "log"]),
    st.integers(0, 5),
)
def test_pairs_are_distinct_and_of_the_merges_asked_for(seed, lam, ks, how, n_within):
    tree = draw_tree(60, linkage_size=40)
    low, high = min(ks[0], tree.n_leaves - 1), min(ks[1], tree.n_leaves)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        pairs = merge_pairs(
            tree,
            k_min=low,
            k_max=high,
            pairs_per_merge=lam,
            stratify=how,
            n_within=n_within,
            random_state=seed,
        )
    assert len(unordered(pairs)) == len(pairs)
    assert (pairs[:, 0] != pairs[:, 1]).all()
    level = tree.level(pairs)
    assert (level >= low).all()
    assert (level >= high).sum() == min(n_within, tree.n_same(high))
    total = lam * (high - low)
    room = sum(united(tree)[low:high])
    between = (level < high).sum()
    assert between <= total if how == "merges" else between == min(total, room)


@pytest.mark.parametrize("lam", [1, 3, 7])
def test_each_merge_gives_lambda_pairs_or_all_that_it_has(lam):
    tree = draw_tree(50)
    pairs = merge_pairs(tree, k_min=1, k_max=50, pairs_per_merge=lam, random_state=0)
    counts = np.bincount(tree.level(pairs), minlength=50)
    assert counts.tolist() == [min(lam, room) for room in united(tree)]


def test_all_pairs_come_once_where_all_are_wanted():
    tree = draw_tree(30)
    pairs = merge_pairs(
        tree, k_min=1, k_max=12, pairs_per_merge=500, n_within=12, random_state=0
    )
    assert tree.n_same(12) > 12
    between = pairs[tree.level(pairs) < 12]
    assert unordered(between) == every_pair(tree, 1, 11)
    assert len(pairs) == len(between) + 12
    within = int(tree.n_same(12))
    pairs = merge_pairs(
        tree, k_min=1, k_max=12, pairs_per_merge=500, n_within=within, random_state=0
    )
    assert unordered(pairs) == every_pair(tree, 1, 30)
    assert len(pairs) == 30 * 29 // 2


def chi_square(observed, expected):
    return ((observed - expected) ** 2 / expected).sum()


def test_every_pair_of_a_merge_is_as_likely_and_so_is_either_order():
    tree = Tree([[0, 1, 1.0, 2], [2, 3, 2.0, 3]], [0, 0, 1, 1, 1, 2])
    drawn = np.concatenate(
        [merge_pairs(tree, k_min=2, k_max=3, pairs_per_merge=2, random_state=s)
         for s in range(1_500)]
    )  # fmt: skip
    found, counts = np.unique(drawn, axis=0, return_counts=True)
    # 2 x 3 pairs in either order.
    assert len(found) == 12
    # The 0.9999 quantile of chi-square with 11 degrees of freedom.
    assert chi_square(counts, len(drawn) / 12) < 37.4


def test_every_pair_within_a_cluster_is_as_likely():
    tree = Tree([[0, 1, 1.0, 2], [2, 3, 2.0, 3]], [0, 1, 1, 1, 1, 2, 2, 2])
    drawn = np.concatenate(
        [merge_pairs(tree, k_min=1, k_max=3, n_within=2, random_state=s)
         for s in range(1_500)]
    )  # fmt: skip
    inner = np.sort(drawn[tree.level(drawn) == 3], axis=1)
    found, counts = np.unique(inner, axis=0, return_counts=True)
    assert len(inner) == 3_000
    assert unordered(found) == every_pair(tree, 3, 3) and len(found) == 6 + 3
    # The 0.9999 quantile with 8 degrees of freedom.
    assert chi_square(counts, len(inner) / 9) < 31.9


def test_the_first_pairs_are_of_all_merges():
    """So that a budget that ends the asking does not leave out a part of the range."""
    tree = draw_tree(200)
    level = tree.level(merge_pairs(tree, k_max=100, random_state=0))
    assert abs(np.corrcoef(np.arange(len(level)), level)[0, 1]) < 0.2
    assert (np.bincount(level[:98], minlength=100)[2:100] > 1).any()


def test_pairs_are_determined_by_the_seed():
    tree = draw_tree()

    def draw(seed):
        return merge_pairs(tree, k_max=20, stratify="log", random_state=seed).tolist()

    assert draw(1) == draw(1) == draw(np.random.RandomState(1)) != draw(2)
    assert draw(None) != draw(None)


def test_a_wider_range_or_a_larger_lambda_keeps_the_pairs_that_were_asked():
    tree = draw_tree(120)

    def draw(**options):
        return unordered(merge_pairs(tree, random_state=5, **options))

    few = draw(k_min=5, k_max=30, pairs_per_merge=1)
    assert few < draw(k_min=5, k_max=30, pairs_per_merge=3)
    assert few < draw(k_min=2, k_max=60, pairs_per_merge=1)
    assert few < draw(k_min=5, k_max=30, pairs_per_merge=1, n_within=20)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.sampled_from(["merges", "uniform", "log"]))
def test_demonstrations_are_not_asked_and_others_take_their_place(seed, how):
    tree = draw_tree(60)
    options = {"k_min": 1, "k_max": 10, "stratify": how, "n_within": 4}
    before = merge_pairs(tree, random_state=seed, **options)
    shown = before[::3, ::-1]  # in the other order
    after = merge_pairs(tree, random_state=seed, exclude=shown, **options)
    assert not unordered(after) & unordered(shown)
    assert len(after) == len(before)
    assert unordered(before) - unordered(shown) <= unordered(after)


def test_a_merge_whose_pairs_are_all_known_has_nothing_to_ask():
    tree = draw_tree(20)
    known = list(every_pair(tree, 3, 3))
    pairs = merge_pairs(tree, k_max=6, exclude=[*known, *known, (0, 0)], random_state=0)
    assert sorted(set(tree.level(pairs))) == [2, 4, 5]


def test_log_gives_each_doubling_of_k_as_many():
    tree = draw_tree(3_000)
    pairs = merge_pairs(
        tree, k_min=2, k_max=128, pairs_per_merge=2, stratify="log", random_state=0
    )
    level = tree.level(pairs)
    assert len(pairs) == 252
    counts = [((level >= k) & (level < 2 * k)).sum() for k in (2, 4, 8, 16, 32, 64)]
    share = [sum(1 / s for s in range(k, 2 * k)) for k in (2, 4, 8, 16, 32, 64)]
    expected = 252 * np.array(share) / sum(share)
    assert np.abs(counts - expected).max() <= 1


def test_what_small_merges_cannot_give_others_do():
    tree = draw_tree(40)
    options = {"k_min": 1, "k_max": 40, "pairs_per_merge": 4, "random_state": 0}
    fewer = merge_pairs(tree, **options)
    pairs = merge_pairs(tree, stratify="uniform", **options)
    assert len(fewer) < len(pairs) == 4 * 39
    counts = np.bincount(tree.level(pairs), minlength=40)
    full = counts == united(tree)
    # Whoever has pairs left gives as much as any, but for rounding.
    assert counts[~full].min() >= counts.max() - 2


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 40), st.floats(0.001, 1)), min_size=1, max_size=20
    ),
    st.integers(1, 300),
    st.floats(0, 1, exclude_max=True),
)
def test_what_is_wanted_is_allotted_while_there_is_room(merges, wanted, offset):
    room, share = (np.array(column) for column in zip(*merges, strict=True))
    counts = _allot(wanted, share, room, offset)
    assert (counts >= 0).all() and (counts <= room).all()
    assert counts.sum() == min(wanted, room.sum())
    if (room >= wanted).all():
        assert (np.abs(counts - wanted * share / share.sum()) < 1 + 1e-9).all()


@pytest.mark.parametrize(
    "options", [{"stratify": "uniform"}, {"stratify": "log"}, {"n_within": 40}]
)
def test_too_few_pairs_are_all_returned_and_said_to_be(options):
    tree = draw_tree(8)
    with pytest.warns(UserWarning, match=r"Only \d+ distinct pairs exist between 1"):
        pairs = merge_pairs(tree, k_min=1, k_max=6, pairs_per_merge=99, **options)
    assert len(pairs) == (28 if "n_within" in options else len(every_pair(tree, 1, 5)))


def test_no_pair_may_be_left_to_ask():
    tree = draw_tree(5)
    pairs = merge_pairs(tree, k_min=1, k_max=5, exclude=list(every_pair(tree, 1, 5)))
    assert pairs.shape == (0, 2) and pairs.dtype == np.intp


def test_a_large_merge_is_not_enumerated():
    n = 200_000
    tree = Tree([[0, 1, 1.0, 2], [2, 3, 2.0, 3]], np.arange(n) % 3)
    pairs = merge_pairs(tree, k_min=1, k_max=3, n_within=5, random_state=0)
    assert np.bincount(tree.level(pairs)).tolist() == [0, 3, 3, 5]
    assert pairs.max() > n / 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k_min": 0}, "1 <= k_min < k_max <= 80.*got 0 and 20"),
        ({"k_min": 20}, "got 20 and 20"),
        ({"k_max": 81}, "got 2 and 81"),
        ({"pairs_per_merge": 0}, "pairs_per_merge must be at least 1, got 0"),
        ({"n_within": -1}, "n_within must not be negative, got -1"),
        ({"stratify": "levels"}, "'merges', 'uniform' or 'log', got 'levels'"),
        ({"exclude": [[0, 80]]}, r"rows 0 to 79, got \[0, 80\]"),
        ({"exclude": [[0, 1, 2]]}, r"shape \(P, 2\)"),
    ],
)
def test_what_cannot_be_drawn_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        merge_pairs(draw_tree(), **{"k_max": 20, **options})


# Weights


def test_pairs_of_a_merge_share_out_all_that_it_unites():
    tree = draw_tree(60)
    pairs = merge_pairs(tree, k_min=3, k_max=20, random_state=0)
    weights, level = pair_weights(tree, pairs, k_min=3, k_max=20), tree.level(pairs)
    for s in range(3, 20):
        np.testing.assert_allclose(
            weights[level == s], united(tree)[s] / (level == s).sum()
        )


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 40), st.integers(0, 8))
def test_weights_add_up_to_the_pairs_that_are_stood_for(seed, n_pairs, n_within):
    """Whatever was left unanswered."""
    tree = draw_tree(50)
    pairs = merge_pairs(
        tree, k_min=4, k_max=30, stratify="log", n_within=n_within, random_state=seed
    )[:n_pairs]
    level = tree.level(pairs)
    same = tree.n_same([4, 30])
    expected = (same[0] - same[1]) * (level < 30).any() + same[1] * (level >= 30).any()
    assert pair_weights(tree, pairs, k_min=4, k_max=30).sum() == pytest.approx(expected)


def test_all_pairs_stand_for_themselves():
    tree = draw_tree(25)
    pairs = np.array(list(combinations(range(25), 2)))
    weights = pair_weights(tree, pairs, k_min=3, k_max=10)
    np.testing.assert_allclose(weights, np.ones(300))


def test_weighted_answers_count_the_pairs_of_one_label_without_bias():
    rng = np.random.default_rng(0)
    labels = rng.integers(4, size=60)
    points = rng.normal(size=(4, 2))[labels] * 2 + rng.normal(size=(60, 2))
    tree = ward_tree(points)
    truth = (labels[:, None] == labels)[np.triu_indices(60, 1)].sum()
    estimates = []
    for seed in range(300):
        pairs = merge_pairs(
            tree,
            k_min=1,
            k_max=20,
            pairs_per_merge=10,
            n_within=10,
            random_state=seed,
        )
        same = labels[pairs[:, 0]] == labels[pairs[:, 1]]
        estimates.append(pair_weights(tree, pairs, k_min=1, k_max=20) @ same)
    error = np.std(estimates) / 300**0.5
    assert abs(np.mean(estimates) - truth) < 4 * error < 0.1 * truth


def test_a_merge_that_was_not_asked_about_goes_to_the_nearest_by_ratio():
    tree = Tree(
        [[0, 1, 1.0, 2], [2, 5, 2.0, 3], [3, 6, 3.0, 4], [4, 7, 4.0, 5]], np.arange(5)
    )
    # Merges to 4, 3, 2, 1 clusters unite 1, 2, 3, 4 pairs. 2 is nearer to 3 than to 1.
    weights = pair_weights(tree, [[0, 2], [3, 4]], k_min=1, k_max=5)
    assert weights.tolist() == [1 + 2 + 3, 4]


def test_no_pairs_have_no_weights():
    assert pair_weights(draw_tree(), [], k_min=2, k_max=9).shape == (0,)


def test_weights_need_a_range():
    with pytest.raises(ValueError, match="got 9 and 2"):
        pair_weights(draw_tree(), [[0, 1]], k_min=9, k_max=2)
