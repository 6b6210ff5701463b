"""Pairs to ask about, against full enumeration of what merges unite."""

import warnings
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skllm_cluster._pairs import _nearest
from skllm_cluster.hierarchy import Tree, ward_tree
from skllm_cluster.sampling import level_pairs, merge_pairs, pair_weights

SAMPLERS = pytest.mark.parametrize("sampler", [level_pairs, merge_pairs])


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


def levels_of(tree, pairs, edges):
    """How many pairs have a level from each edge up to the next."""
    return np.histogram(tree.level(pairs), edges)[0].tolist()


def united(tree):
    """How many pairs each merge unites, by level: [0, level 1, ...]."""
    same = tree.n_same(np.arange(1, tree.n_leaves + 1))
    return [0, *(same[:-1] - same[1:]).tolist()]


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([level_pairs, merge_pairs]),
    st.integers(0, 1000),
    st.integers(1, 6),
    st.tuples(st.integers(1, 39), st.integers(1, 39)).filter(lambda k: k[0] < k[1]),
)
def test_pairs_are_distinct_and_of_the_merges_asked_for(sampler, seed, lam, ks):
    tree = draw_tree(60, linkage_size=40)
    low, high = min(ks[0], tree.n_leaves - 1), min(ks[1], tree.n_leaves)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        pairs = sampler(
            tree, k_min=low, k_max=high, pairs_per_merge=lam, random_state=seed
        )
    assert pairs.dtype == np.intp
    assert len(unordered(pairs)) == len(pairs)
    assert (pairs[:, 0] != pairs[:, 1]).all()
    level = tree.level(pairs)
    assert (level < tree.n_leaves).all()
    if sampler is merge_pairs:
        assert (level >= low).all() and (level < high).all()
    else:
        assert len(pairs) == min(lam * (high - low), sum(united(tree)))


@pytest.mark.parametrize("lam", [1, 3, 7])
def test_each_merge_gives_lambda_pairs_or_all_that_it_has(lam):
    tree = draw_tree(50)
    pairs = merge_pairs(tree, k_min=1, k_max=50, pairs_per_merge=lam, random_state=0)
    counts = np.bincount(tree.level(pairs), minlength=50)
    assert counts.tolist() == [min(lam, room) for room in united(tree)]


@SAMPLERS
def test_all_pairs_come_once_where_all_are_wanted(sampler):
    tree = draw_tree(40, linkage_size=30)
    options = {"k_min": 1, "k_max": tree.n_leaves, "random_state": 0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        pairs = sampler(tree, pairs_per_merge=500, **options)
    assert unordered(pairs) == every_pair(tree, 1, tree.n_leaves - 1)
    assert len(pairs) == sum(united(tree)) < 40 * 39 // 2


def chi_square(observed, expected):
    return ((observed - expected) ** 2 / expected).sum()


@SAMPLERS
def test_every_pair_of_a_merge_is_as_likely_and_so_is_either_order(sampler):
    tree = Tree([[0, 1, 1.0, 2], [2, 3, 2.0, 3]], [0, 0, 1, 1, 1, 2])
    drawn = np.concatenate(
        [sampler(tree, k_min=2, k_max=3, pairs_per_merge=2, random_state=s)
         for s in range(1_500)]
    )  # fmt: skip
    drawn = drawn[tree.level(drawn) == 2]
    found, counts = np.unique(drawn, axis=0, return_counts=True)
    # 2 x 3 pairs in either order.
    assert len(found) == 12
    # The 0.9999 quantile of chi-square with 11 degrees of freedom.
    assert chi_square(counts, len(drawn) / 12) < 37.4


@SAMPLERS
def test_the_first_pairs_are_of_all_merges(sampler):
    """So that a budget that ends the asking does not leave out a part of the range."""
    tree = draw_tree(200)
    level = tree.level(sampler(tree, k_max=100, random_state=0))
    assert abs(np.corrcoef(np.arange(len(level)), level)[0, 1]) < 0.2
    assert (np.bincount(level[:98], minlength=100) > 1).any()


@SAMPLERS
def test_pairs_are_determined_by_the_seed(sampler):
    tree = draw_tree()

    def draw(seed):
        return sampler(tree, k_max=20, random_state=seed).tolist()

    assert draw(1) == draw(1) == draw(np.random.RandomState(1)) != draw(2)
    assert draw(None) != draw(None)


def test_a_wider_range_or_a_larger_lambda_keeps_the_pairs_that_were_asked():
    tree = draw_tree(120)

    def draw(**options):
        return unordered(merge_pairs(tree, random_state=5, **options))

    few = draw(k_min=5, k_max=30, pairs_per_merge=1)
    assert few < draw(k_min=5, k_max=30, pairs_per_merge=3)
    assert few < draw(k_min=2, k_max=60, pairs_per_merge=1)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 700), st.integers(10, 200))
def test_fewer_pairs_of_all_levels_are_the_first_of_more(seed, wanted, n):
    """A range of k only says how many."""
    tree = draw_tree(n)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        many = level_pairs(tree, k_max=n, pairs_per_merge=700, random_state=seed)
        few = level_pairs(
            tree, k_min=1, k_max=2, pairs_per_merge=wanted, random_state=seed
        )
    assert few.tolist() == many[:wanted].tolist()


def test_every_doubling_of_the_level_and_every_part_of_a_draw_get_as_many():
    tree = draw_tree(3_000)
    pairs = level_pairs(tree, random_state=0)
    assert len(pairs) == 594
    assert tree.level(pairs).max() < 800
    # Up to where merges of one pair each send their share to their neighbours.
    edges = [1, 2, 4, 8, 16, 32, 64, 128, 256]
    for part in (pairs[:99], pairs[99:297], pairs):
        expected = len(part) * np.log(2) / np.log(800)
        counts = np.array(levels_of(tree, part, edges))
        assert np.abs(counts - expected).max() <= 3


def test_a_merge_without_a_pair_left_is_replaced_by_the_nearest_in_ratio():
    # Merges to 6, 5, ... 1 clusters unite 1, 2, ... 6 pairs.
    chain = [[0, 1, 1.0, 2], *([j, 5 + j, float(j), j + 1] for j in range(2, 7))]
    tree = Tree(chain, np.arange(7))
    assert united(tree) == [0, 6, 5, 4, 3, 2, 1]
    shown = [*every_pair(tree, 2, 3), *every_pair(tree, 5, 6)]
    levels = set()
    for seed in range(20):
        pairs = level_pairs(
            tree, k_min=1, k_max=2, pairs_per_merge=9, exclude=shown, random_state=seed
        )
        assert sorted(tree.level(pairs)) == [1] * 6 + [4] * 3
        levels.add(tuple(tree.level(pairs[:1])))
    assert levels == {(1,), (4,)}
    only = [*shown, *every_pair(tree, 4, 4)]
    pairs = level_pairs(tree, k_min=1, k_max=7, pairs_per_merge=1, exclude=only)
    assert tree.level(pairs).tolist() == [1] * 6


@pytest.mark.parametrize(
    ("levels", "target", "nearest"),
    [([1, 4, 9], 1, 1), ([1, 4, 9], 2, 4), ([2, 9], 4, 2), ([2, 9], 5, 9),
     ([1, 4, 9], 20, 9), ([3, 5], 1, 3)],
)  # fmt: skip
def test_the_nearest_level_is_that_of_the_smallest_ratio(levels, target, nearest):
    assert levels[_nearest(levels, target)] == nearest


@SAMPLERS
@pytest.mark.parametrize("seed", range(10))
def test_demonstrations_are_not_asked_and_others_take_their_place(sampler, seed):
    tree = draw_tree(60)
    options = {"k_min": 1, "k_max": 10, "random_state": seed}
    before = sampler(tree, **options)
    shown = before[::3, ::-1]  # in the other order
    after = sampler(tree, exclude=shown, **options)
    assert not unordered(after) & unordered(shown)
    assert len(after) == len(before)
    kept = unordered(before) - unordered(shown)
    assert len(kept - unordered(after)) <= 1  # one may be beyond a full merge's share


def test_a_merge_whose_pairs_are_all_known_has_nothing_to_ask():
    tree = draw_tree(20)
    known = list(every_pair(tree, 3, 3))
    pairs = merge_pairs(tree, k_max=6, exclude=[*known, *known, (0, 0)], random_state=0)
    assert sorted(set(tree.level(pairs))) == [2, 4, 5]


def test_too_few_pairs_are_all_returned_and_said_to_be():
    tree = draw_tree(8)
    with pytest.warns(UserWarning, match="Only 28 distinct pairs exist.* the 495 ask"):
        pairs = level_pairs(tree, k_min=1, k_max=6, pairs_per_merge=99)
    assert len(pairs) == 28


def test_no_pair_may_be_left_to_ask():
    tree = draw_tree(5)
    pairs = merge_pairs(tree, k_min=1, k_max=5, exclude=list(every_pair(tree, 1, 5)))
    assert pairs.shape == (0, 2) and pairs.dtype == np.intp


@SAMPLERS
def test_a_large_merge_is_not_enumerated(sampler):
    n = 200_000
    tree = Tree([[0, 1, 1.0, 2], [2, 3, 2.0, 3]], np.arange(n) % 3)
    pairs = sampler(tree, k_min=1, k_max=3, random_state=0)
    assert len(pairs) == 6 and set(tree.level(pairs)) == {1, 2}
    assert pairs.max() > n / 2


@SAMPLERS
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k_min": 0}, "1 <= k_min < k_max <= 80.*got 0 and 20"),
        ({"k_min": 20}, "got 20 and 20"),
        ({"k_max": 81}, "got 2 and 81"),
        ({"pairs_per_merge": 0}, "pairs_per_merge must be at least 1, got 0"),
        ({"exclude": [[0, 80]]}, r"rows 0 to 79, got \[0, 80\]"),
        ({"exclude": [[0, 1, 2]]}, r"shape \(P, 2\)"),
    ],
)
def test_what_cannot_be_drawn_is_refused(sampler, options, message):
    with pytest.raises(ValueError, match=message):
        sampler(draw_tree(), **{"k_max": 20, **options})


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
@given(st.integers(0, 1000), st.integers(1, 40))
def test_weights_add_up_to_the_pairs_that_are_stood_for(seed, n_pairs):
    """Whatever was left unanswered."""
    tree = draw_tree(50)
    pairs = level_pairs(tree, k_max=30, random_state=seed)[:n_pairs]
    parts = levels_of(tree, pairs, [1, 4, 30, 51])
    expected = -np.diff(tree.n_same([1, 4, 30])) @ (np.array(parts[:2]) > 0)
    expected += tree.n_same(30) * (parts[2] > 0)
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
            tree, k_min=1, k_max=60, pairs_per_merge=6, random_state=seed
        )
        same = labels[pairs[:, 0]] == labels[pairs[:, 1]]
        estimates.append(pair_weights(tree, pairs, k_min=1, k_max=60) @ same)
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
