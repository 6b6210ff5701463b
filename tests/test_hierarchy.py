"""The tree and its cuts, against loops over merges and SciPy's own linkage."""

import pickle
import tracemalloc
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.cluster.hierarchy import fcluster, is_valid_linkage, linkage
from sklearn.metrics import adjusted_rand_score

from skllm_cluster._ward import ward_merges
from skllm_cluster.hierarchy import Tree, ward_tree


def draw_points(n=60, d=3, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


def draw_clusters(n, k=12, d=8, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(k, size=n)
    centres = rng.normal(size=(k, d)) * 10
    return centres[labels] + rng.normal(size=(n, d)), labels


def slow_ward(points, sizes):
    """Merge the closest two of all clusters, one merge after the other: heights."""
    clusters = [
        (np.asarray(p, float), int(s)) for p, s in zip(points, sizes, strict=True)
    ]
    heights = []
    while len(clusters) > 1:
        best = min(
            (2 * a[1] * b[1] / (a[1] + b[1]) * ((a[0] - b[0]) ** 2).sum(), i, j)
            for (i, a), (j, b) in combinations(enumerate(clusters), 2)
        )
        height, i, j = best
        (a, n), (b, m) = clusters[i], clusters[j]
        clusters[i] = ((n * a + m * b) / (n + m), n + m)
        del clusters[j]
        heights.append(height**0.5)
    return heights


def slow_partitions(tree):
    """{k: sets of rows}, by applying one merge after the other."""
    m = len(tree.merges) + 1
    left = {i: set(np.flatnonzero(tree.leaf_of == i).tolist()) for i in range(m)}
    partitions = {m: list(left.values())}
    for s, (i, j, *_) in enumerate(tree.merges):
        left[m + s] = left.pop(int(i)) | left.pop(int(j))
        partitions[m - 1 - s] = list(left.values())
    return partitions


def as_sets(labels):
    return {frozenset(np.flatnonzero(labels == k).tolist()) for k in set(labels)}


def random_tree(m, n, seed):
    """A tree of any shape, balanced or not, with several rows in a leaf."""
    rng = np.random.default_rng(seed)
    left, merges = list(range(m)), []
    for s in range(m - 1):
        i, j = sorted(rng.choice(len(left), size=2, replace=False))
        a, b = left[i], left[j]
        merges.append([min(a, b), max(a, b), s, 0])
        left = [x for x in left if x not in (a, b)] + [m + s]
    leaf_of = np.concatenate([np.arange(m), rng.integers(m, size=n - m)])
    return Tree(np.array(merges, dtype=float).reshape(-1, 4), rng.permutation(leaf_of))


trees = st.builds(
    lambda m, extra, seed: random_tree(m, m + extra, seed),
    st.integers(1, 14),
    st.integers(0, 10),
    st.integers(0, 10_000),
)


# Ward's criterion


@pytest.mark.parametrize(("n", "d"), [(2, 1), (3, 2), (60, 3), (400, 20), (700, 2)])
def test_ward_makes_the_merges_of_scipy(n, d):
    points = draw_points(n, d)
    expected = linkage(points, "ward")
    merges = ward_tree(points).merges
    np.testing.assert_array_equal(merges[:, [0, 1, 3]], expected[:, [0, 1, 3]])
    np.testing.assert_allclose(merges[:, 2], expected[:, 2], rtol=1e-10)


def test_every_cut_is_a_cut_of_scipy():
    points = draw_points(150)
    tree, expected = ward_tree(points), linkage(points, "ward")
    for k in range(1, 151):
        theirs = fcluster(expected, k, "maxclust")
        assert as_sets(tree.cut(k)) == as_sets(theirs)


def test_a_weighted_leaf_counts_as_that_many_equal_rows():
    points, sizes = draw_points(30), np.random.default_rng(1).integers(1, 9, 30)
    every = linkage(np.repeat(points, sizes, axis=0), "ward")
    merges = ward_merges(points, sizes)
    np.testing.assert_allclose(merges[:, 2], every[-29:, 2], rtol=1e-10)
    np.testing.assert_allclose(merges[:, 2], slow_ward(points, sizes), rtol=1e-10)


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(
        float,
        st.tuples(st.integers(1, 12), st.integers(1, 3)),
        elements=st.floats(-100, 100, width=16),
    )
)
def test_each_merge_is_of_the_closest_two_clusters(points):
    """Ties may be broken in any way, so each step is judged by itself."""
    tree = ward_tree(points)
    m, scale = tree.n_leaves, 1 + np.abs(points).max() ** 2

    def apart(one, two):
        a, b = points[tree.members(one)], points[tree.members(two)]
        weight = 2 * len(a) * len(b) / (len(a) + len(b))
        return weight * ((a.mean(axis=0) - b.mean(axis=0)) ** 2).sum()

    left = list(range(m))
    for s, (i, j, height, _) in enumerate(tree.merges):
        closest = min(apart(a, b) for a, b in combinations(left, 2))
        assert height**2 == pytest.approx(closest, rel=1e-9, abs=1e-9 * scale)
        assert apart(int(i), int(j)) == pytest.approx(closest, abs=1e-9 * scale)
        left = [x for x in left if x not in (i, j)] + [m + s]


@pytest.mark.parametrize(
    "points",
    [
        np.arange(300.0)[:, None],
        np.stack(np.meshgrid(np.arange(18.0), np.arange(18.0)), axis=-1).reshape(-1, 2),
        # All at one distance, and one nearest to all of them.
        np.vstack([np.eye(300), np.zeros((1, 300))]),
        1.1 ** np.arange(300)[:, None],
        np.full((40, 3), 1 / 3) + np.eye(40, 3) * 1e-9,
        draw_points(200) * 1e-170,
        draw_points(200) * 1e170,
        draw_points(200).astype(np.float32) + np.float32(1000),
    ],
    ids=["line", "grid", "star", "ever wider", "close", "tiny", "huge", "far away"],
)
def test_no_data_bring_the_merging_to_a_standstill(points):
    tree = ward_tree(points)
    assert is_valid_linkage(tree.merges)
    heights = tree.merges[:, 2]
    assert np.isfinite(heights).all() and (np.diff(heights) >= 0).all()
    m = tree.n_leaves
    # Every node but the root is merged once, after it came to be.
    assert sorted(tree.merges[:, :2].ravel().astype(int)) == list(range(2 * m - 2))
    assert (tree.merges[:, :2].max(axis=1) < m + np.arange(m - 1)).all()
    assert tree.merges[-1, 3] == m


def test_a_star_takes_no_more_searches_than_the_chain_would(monkeypatch):
    from skllm_cluster import _ward

    done = []
    search = _ward._State.search
    monkeypatch.setattr(
        _ward._State, "search", lambda self, s: [done.append(len(s)), search(self, s)]
    )
    ward_tree(np.vstack([np.eye(400), np.zeros((1, 400))]))
    # With blocks alone it is about 80,000, half the square.
    assert sum(done) < 401 * (1 + _ward._CREDIT) + 400 * 3


def test_scale_changes_heights_and_nothing_else():
    points = draw_points(100)
    one, two = ward_tree(points).merges, ward_tree(points * 2.0**700).merges
    np.testing.assert_array_equal(one[:, [0, 1, 3]], two[:, [0, 1, 3]])
    np.testing.assert_allclose(one[:, 2] * 2.0**700, two[:, 2], rtol=1e-12)


def test_a_far_origin_does_not_blur_the_distances():
    points = np.round(draw_points(100) * 2**20) / 2**20  # exact after the shift
    near, far = ward_tree(points), ward_tree(points + 2.0**20)
    np.testing.assert_allclose(near.merges[:, 2], far.merges[:, 2], rtol=1e-9)


def test_an_order_of_rows_does_not_change_the_clusters():
    points = draw_points(120)
    shuffle = np.random.default_rng(3).permutation(120)
    one, two = ward_tree(points), ward_tree(points[shuffle])
    for k in (1, 2, 7, 40, 119, 120):
        assert adjusted_rand_score(one.cut(k)[shuffle], two.cut(k)) == 1.0
    pairs = np.random.default_rng(4).integers(120, size=(300, 2))
    np.testing.assert_array_equal(one.level(shuffle[pairs]), two.level(pairs))


def test_equal_rows_are_one_leaf_and_never_apart():
    points = draw_points(20)[np.random.default_rng(0).integers(20, size=90)]
    tree = ward_tree(points)
    assert tree.n_leaves == len(np.unique(points, axis=0)) < 20 + 1
    together = (points[:, None] == points[None]).all(axis=2)
    finest = tree.cut(tree.n_leaves)
    np.testing.assert_array_equal(finest[:, None] == finest, together)
    np.testing.assert_allclose(
        tree.merges[:, 2], linkage(points, "ward")[-len(tree.merges) :, 2], rtol=1e-9
    )


def test_plus_and_minus_zero_are_equal():
    assert ward_tree([[0.0, 1.0], [-0.0, 1.0], [2.0, 2.0]]).n_leaves == 2


def test_rows_without_an_equal_are_their_own_leaves():
    np.testing.assert_array_equal(ward_tree(draw_points(9)).leaf_of, np.arange(9))


@pytest.mark.parametrize("points", [np.zeros((1, 2)), np.full((7, 3), 0.1)])
def test_one_distinct_row_is_one_cluster(points):
    tree = ward_tree(points)
    n = len(points)
    assert tree.merges.shape == (0, 4) and tree.n_leaves == 1
    assert tree.cut(1).tolist() == [0] * n
    assert tree.n_same([1]).tolist() == [n * (n - 1) // 2]
    assert tree.level([[0, n - 1]]).tolist() == [1]
    with pytest.raises(ValueError, match="k must be from 1 to n_leaves = 1, got 2"):
        tree.cut(2)


def test_two_rows_are_one_cluster_or_two():
    tree = ward_tree([[0.0], [3.0]])
    assert tree.merges.tolist() == [[0, 1, 3, 2]]
    assert (tree.cut(1).tolist(), tree.cut(2).tolist()) == ([0, 0], [0, 1])


def test_float32_rows_are_compared_in_float64():
    points = draw_points(80, 5).astype(np.float32)
    np.testing.assert_array_equal(
        ward_tree(points).merges, ward_tree(points.astype(float)).merges
    )


@pytest.mark.parametrize("bad", [np.zeros(3), [[np.nan]], [[np.inf, 0.0]], [[]]])
def test_what_is_no_table_of_numbers_is_refused(bad):
    with pytest.raises(ValueError):
        ward_tree(bad)


# Two steps


def test_a_large_tree_cuts_as_the_exact_one_where_clusters_are_clear():
    points, labels = draw_clusters(3_000)
    exact = ward_tree(points)
    large = ward_tree(points, linkage_size=100, random_state=0)
    assert large.n_leaves <= 100 < exact.n_leaves == 3_000
    for tree in (exact, large):
        assert adjusted_rand_score(labels, tree.cut(12)) == 1.0


def test_a_large_tree_merges_the_means_of_the_members_by_their_sizes():
    points, _ = draw_clusters(500, k=40, d=2)
    tree = ward_tree(points, linkage_size=25, random_state=0)
    groups = [points[tree.members(leaf)] for leaf in range(tree.n_leaves)]
    heights = slow_ward([g.mean(axis=0) for g in groups], [len(g) for g in groups])
    np.testing.assert_allclose(tree.merges[:, 2], heights, rtol=1e-9)


def test_a_large_tree_is_determined_by_its_seed():
    points = draw_points(400)
    one, two, other = (
        ward_tree(points, linkage_size=50, random_state=seed) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one.leaf_of, two.leaf_of)
    np.testing.assert_array_equal(one.merges, two.merges)
    assert (one.leaf_of != other.leaf_of).any()


def test_few_distinct_rows_need_no_second_step():
    """60 texts, each ten times: k-means would leave centres without a row."""
    points = np.repeat(draw_points(60), 10, axis=0)
    tree = ward_tree(points, linkage_size=60)
    np.testing.assert_array_equal(tree.merges[:, :3], ward_tree(points).merges[:, :3])
    assert set(np.bincount(tree.leaf_of)) == {10}


def test_empty_clusters_of_the_first_step_are_left_out(monkeypatch):
    from skllm_cluster import hierarchy

    class WithGaps:
        def __init__(self, *args, **kwargs):
            pass

        def fit_predict(self, X):
            return np.arange(len(X)) % 5 * 7 + 3

    monkeypatch.setattr(hierarchy, "MiniBatchKMeans", WithGaps)
    tree = ward_tree(draw_points(50), linkage_size=40)
    assert tree.n_leaves == 5
    assert tree.sizes(5).tolist() == [10] * 5
    assert np.isfinite(tree.merges).all()


@pytest.mark.parametrize(("n", "leaves"), [(80, 80), (81, 30)])
def test_rows_are_merged_themselves_up_to_the_limit(n, leaves, monkeypatch):
    from skllm_cluster import hierarchy

    monkeypatch.setattr(hierarchy, "_EXACT", 80)
    monkeypatch.setattr(hierarchy, "_CENTRES", 30)
    points = draw_points(n)
    assert ward_tree(points, random_state=0).n_leaves == leaves
    assert ward_tree(points, linkage_size=n).n_leaves == n


def test_one_leaf_is_the_least():
    tree = ward_tree(draw_points(50), linkage_size=1, random_state=0)
    assert tree.n_leaves == 1 and set(tree.cut(1)) == {0}
    with pytest.raises(ValueError, match="linkage_size must be at least 1, got 0"):
        ward_tree(draw_points(), linkage_size=0)


def test_memory_grows_with_the_rows_and_not_with_their_square():
    def peak(n):
        points = draw_points(n, 8)
        tracemalloc.start()
        ward_tree(points)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    few, many = peak(1_000), peak(4_000)
    # Distances alone would be 64 MB at 4,000 rows.
    assert many < 5 * few and many < 25e6


# Cuts


@settings(max_examples=60, deadline=None)
@given(trees)
def test_a_cut_is_what_the_first_merges_leave(tree):
    for k, groups in slow_partitions(tree).items():
        labels = tree.cut(k)
        assert as_sets(labels) == {frozenset(g) for g in groups}
        # Numbered as they first appear.
        assert list(dict.fromkeys(labels.tolist())) == list(range(k))
        assert tree.sizes(k).tolist() == np.bincount(labels).tolist()
        for label, node in enumerate(tree.nodes(k)):
            assert set(tree.members(node)) == set(np.flatnonzero(labels == label))


@settings(max_examples=60, deadline=None)
@given(trees)
def test_the_level_of_a_pair_is_the_last_k_that_has_it_together(tree):
    n = len(tree.leaf_of)
    pairs = np.array([(i, j) for i in range(n) for j in range(n)])
    expected = np.zeros(len(pairs), dtype=int)
    for k in range(1, tree.n_leaves + 1):
        labels = tree.cut(k)
        expected[labels[pairs[:, 0]] == labels[pairs[:, 1]]] = k
    np.testing.assert_array_equal(tree.level(pairs), expected)


@settings(max_examples=60, deadline=None)
@given(trees)
def test_pairs_together_are_counted_as_a_loop_counts_them(tree):
    k_values = np.arange(1, tree.n_leaves + 1)
    expected = [
        sum(len(g) * (len(g) - 1) // 2 for g in slow_partitions(tree)[k])
        for k in k_values
    ]
    assert tree.n_same(k_values).tolist() == expected
    assert tree.n_same(k_values[::-1]).tolist() == expected[::-1]


@settings(max_examples=60, deadline=None)
@given(trees)
def test_the_two_sides_of_a_merge_are_one_cluster_below_it_and_two_above(tree):
    for k in range(1, tree.n_leaves):
        one, two = (set(tree.members(node)) for node in tree.sides(k))
        coarse, fine = as_sets(tree.cut(k)), as_sets(tree.cut(k + 1))
        assert coarse - fine == {frozenset(one | two)}
        assert fine - coarse == {frozenset(one), frozenset(two)}


def test_the_counts_of_a_million_rows_are_exact():
    n = 3_000_000
    tree = Tree([[0, 1, 1.0, 2]], np.arange(n) % 2)
    half = n // 2
    assert tree.n_same([1, 2]).tolist() == [n * (n - 1) // 2, half * (half - 1)]


def test_members_are_a_view_and_no_copy():
    tree = ward_tree(draw_points())
    assert tree.members(2 * tree.n_leaves - 2).base is tree.order


def test_a_tree_survives_pickling_and_its_own_two_arrays():
    tree = ward_tree(draw_points(50), linkage_size=20, random_state=0)
    for copy in (pickle.loads(pickle.dumps(tree)), Tree(tree.merges, tree.leaf_of)):
        for k in (1, 5, 20):
            np.testing.assert_array_equal(copy.cut(k), tree.cut(k))
        assert repr(copy) == repr(tree) == "Tree(n_rows=50, n_leaves=20)"


def test_no_pairs_have_no_levels():
    tree = ward_tree(draw_points())
    assert tree.level([]).shape == (0,)
    assert tree.level(np.empty((0, 2), int)).shape == (0,)
    assert tree.n_same([]).shape == (0,)


@pytest.mark.parametrize("k", [0, -1, 61])
@pytest.mark.parametrize("method", ["cut", "sizes", "nodes", "n_same"])
def test_a_k_that_no_cut_has_is_refused(method, k):
    with pytest.raises(ValueError, match=f"from 1 to n_leaves = 60, got {k}"):
        getattr(ward_tree(draw_points()), method)(k)


@pytest.mark.parametrize("k", [2.0, "2", None])
def test_a_k_that_is_no_integer_is_refused(k):
    with pytest.raises(TypeError, match="k must be an integer"):
        ward_tree(draw_points()).cut(k)


@pytest.mark.parametrize("k", [0, 60])
def test_sides_are_those_of_a_merge(k):
    with pytest.raises(ValueError, match=f"from 1 to n_leaves - 1 = 59, got {k}"):
        ward_tree(draw_points()).sides(k)


@pytest.mark.parametrize(
    ("pairs", "error", "message"),
    [
        ([0, 1], ValueError, r"shape \(P, 2\), got \(2,\)"),
        ([[0, 1, 2]], ValueError, r"shape \(P, 2\), got \(1, 3\)"),
        ([[0.0, 1.0]], TypeError, "integers, got float64"),
        ([[0, 1], [3, 60]], ValueError, r"rows 0 to 59, got \[3, 60\] at index 1"),
        ([[-1, 0]], ValueError, r"got \[-1, 0\] at index 0"),
    ],
)
def test_pairs_that_are_none_are_refused(pairs, error, message):
    with pytest.raises(error, match=message):
        ward_tree(draw_points()).level(pairs)


@pytest.mark.parametrize("leaf_of", [[0, 1], [0, 1, 3], [0, 0, 1, 1], []])
def test_rows_must_fill_the_leaves(leaf_of):
    with pytest.raises(ValueError, match="each of the 3 leaves"):
        Tree([[0, 1, 1.0, 2], [2, 3, 2.0, 3]], np.array(leaf_of, dtype=int))
