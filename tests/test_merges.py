"""The last merges of a tree as records and as text, which need no matplotlib."""

import os
import subprocess
import sys
import unicodedata
from collections import Counter
from itertools import combinations
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import skllm_cluster
from skllm_cluster.hierarchy import Tree, ward_tree
from skllm_cluster.plotting import MergesDisplay, merges_report, top_merges
from skllm_cluster.plotting._merges import central_texts, one_line


def drawn(n=40, n_pairs=300, seed=0):
    """Points with some twins among them, their tree, pairs of rows and answers."""
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(n, 3))
    points[-3:] = points[:3]
    pairs = rng.integers(n, size=(n_pairs, 2))
    return points, ward_tree(points), pairs, rng.integers(-1, 2, size=n_pairs)


def numbered(n):
    return [f"text {i}" for i in range(n)]


# --- top_merges -----------------------------------------------------------------------


def test_a_pair_counts_for_the_merge_that_unites_it_and_for_no_other():
    _, tree, pairs, answers = drawn()
    merges = top_merges(tree, pairs=pairs, answers=answers, n_merges=1000)
    assert [merge.k for merge in merges] == list(range(1, tree.n_leaves))
    for merge in merges:
        before, after = tree.cut(merge.k + 1), tree.cut(merge.k)
        said = Counter(
            answer
            for (i, j), answer in zip(pairs, answers, strict=True)
            if before[i] != before[j] and after[i] == after[j]
        )
        assert (merge.n_same, merge.n_different, merge.n_unusable) == (
            said[1],
            said[0],
            said[-1],
        )


def test_a_merge_names_the_clusters_that_it_unites_and_makes():
    _, tree, _, _ = drawn()
    for merge in top_merges(tree, n_merges=10):
        one, two = (set(tree.members(side).tolist()) for side in merge.sides)
        assert (len(one), len(two)) == merge.sizes
        assert one | two == set(tree.members(merge.node).tolist())
        assert set(merge.sides) <= set(tree.nodes(merge.k + 1).tolist())
        assert merge.node in tree.nodes(merge.k)


def test_heights_fall_from_the_top():
    _, tree, _, _ = drawn()
    heights = [merge.height for merge in top_merges(tree, n_merges=10)]
    assert heights == sorted(tree.merges[:, 2].tolist(), reverse=True)[:10]


def test_a_tree_of_equal_texts_has_no_merge():
    assert top_merges(ward_tree(np.ones((5, 2)))) == []


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ([], "not asked"),
        ([-1, -1], "2 unusable"),
        ([0, 0], "0 same, 2 different"),
        ([1, -1, 0, 1], "2 same, 1 different, 1 unusable"),
    ],
)
def test_answers_are_told_in_words(answers, words):
    tree = Tree([[0, 1, 1.0, 2]], leaf_of=[0, 1])
    pairs = [[0, 1]] * len(answers)
    (merge,) = top_merges(tree, pairs=pairs, answers=answers)
    assert merge.answers == words


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"n_merges": 0}, "n_merges must be at least 1, got 0"),
        ({"pairs": [[0, 1]]}, "must be given together"),
        ({"answers": [1]}, "must be given together"),
        (
            {"pairs": [[0, 1]], "answers": [1, 0]},
            r"answers must have shape \(1,\), one for each pair, got \(2,\)",
        ),
        ({"pairs": [[0, 1]], "answers": [2]}, r"unusable\), got \[2\]"),
        ({"pairs": [[0, 1]], "answers": [0.5]}, r"unusable\), got \[0.5\]"),
        ({"pairs": [[0, 9]], "answers": [1]}, "must name rows 0 to 1"),
    ],
)
def test_what_cannot_be_counted_is_refused(given, message):
    tree = Tree([[0, 1, 1.0, 2]], leaf_of=[0, 1])
    with pytest.raises(ValueError, match=message):
        top_merges(tree, **given)


# --- texts on one line ----------------------------------------------------------------


@given(st.text(st.characters(codec=None), max_size=80), st.integers(8, 60))
def test_no_character_of_an_example_has_an_effect(text, width):
    shown = one_line(text, width)
    assert shown.replace("\u200c", "").replace("\u200d", "").isprintable()
    wide = sum(unicodedata.east_asian_width(c) in "FW" for c in shown)
    assert len(shown) + wide <= width


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, 100 %", "plain, 100 %"),
        ("a\nb\t\x1b[31m", r"a\nb\t\x1b[31m"),
        ("no\u00a0break", "no break"),
        ("\u202eright to left", r"\u202eright to left"),
        ("\ud800", r"\ud800"),
        ("👩\u200d🚀", "👩\u200d🚀"),
        (r"$\frac{1}{2}$ \n", r"$\frac{1}{2}$ \n"),
        ("", ""),
        ("x" * 60, "x" * 60),
        ("x" * 61, "x" * 57 + "..."),
        ("文" * 30, "文" * 30),
        ("文" * 31, "文" * 28 + "..."),
    ],
)
def test_a_text_is_shown_literally_and_shortened(text, shown):
    assert one_line(text) == shown


# --- central texts --------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_examples_are_the_distinct_texts_closest_to_the_mean(dtype):
    points, tree, _, _ = drawn()
    points = points.astype(dtype)
    for node in tree.nodes(4).tolist():
        rows = tree.members(node)
        mean = points[rows].mean(axis=0, dtype=float)
        distance = {i: float(np.square(points[i] - mean).sum()) for i in rows.tolist()}
        texts = [f"text {i % 17}" for i in range(len(points))]
        order = sorted(distance, key=distance.__getitem__)
        expected = list(dict.fromkeys(texts[i] for i in order))[:3]
        assert central_texts(tree, node, texts, points, 3) == expected


def test_of_equally_central_texts_the_first_is_taken():
    tree = Tree([[2, 0, 1.0, 2], [3, 1, 2.0, 3]], leaf_of=[0, 1, 2])
    assert central_texts(tree, 4, "abc", np.zeros((3, 2)), 2) == ["a", "b"]


def test_without_embeddings_examples_are_the_first_texts():
    _, tree, _, _ = drawn()
    texts = numbered(40)
    for node in tree.nodes(3).tolist():
        rows = sorted(tree.members(node).tolist())[:2]
        assert central_texts(tree, node, texts, None, 2) == [texts[i] for i in rows]


# --- the report -----------------------------------------------------------------------


@pytest.mark.parametrize("n_clusters", [1, 2, 5, 8])
def test_the_report_marks_each_cluster_chosen_once(n_clusters):
    _, tree, _, _ = drawn()
    report = merges_report(tree, numbered(40), n_clusters=n_clusters, n_merges=7)
    lines = report.splitlines()[1:]
    marked = [line.partition("* ")[2] for line in lines if "* " in line]
    sizes = [int(line.split()[0]) for line in marked]
    assert sorted(sizes) == sorted(tree.sizes(n_clusters).tolist())


def test_the_report_opens_every_merge_and_ends_in_the_clusters_below():
    _, tree, pairs, answers = drawn()
    texts = numbered(40)
    report = merges_report(
        tree, texts, pairs=pairs, answers=answers, n_merges=6, n_examples=40
    )
    for merge in top_merges(tree, pairs=pairs, answers=answers, n_merges=6):
        step = f"{merge.k + 1} -> {merge.k} clusters at height {merge.height:.3g}: "
        assert step + merge.answers in report
    assert all(report.count(f'"{text}"') == 1 for text in texts)
    assert report.count("|-- ") == report.count("`-- ") == 6


@pytest.mark.parametrize(
    ("n_clusters", "headline"),
    [
        (None, "The last 3 merges of 40 texts"),
        (1, "The last 3 merges of 40 texts; 1 cluster chosen (*)"),
        (4, "The last 3 merges of 40 texts; 4 clusters chosen (*)"),
        (5, "The last 3 merges of 40 texts; 5 clusters chosen, more than are shown"),
    ],
)
def test_the_headline_says_what_was_chosen(n_clusters, headline):
    _, tree, _, _ = drawn()
    report = merges_report(tree, numbered(40), n_clusters=n_clusters, n_merges=3)
    assert report.splitlines()[0] == headline


def test_a_report_of_equal_texts_is_one_cluster():
    report = merges_report(ward_tree(np.ones((2, 2))), ["a", "a"], n_clusters=1)
    assert report == (
        'The last 0 merges of 2 texts; 1 cluster chosen (*)\n* 2 texts\n    "a"'
    )


def test_no_example_breaks_the_tree_of_the_report():
    tree = ward_tree([[0.0], [1.0]])
    report = merges_report(tree, ["a\n|-- 9 texts", "\x1b[2J\r"], n_examples=1)
    assert report.splitlines()[3] == r'|       "a\n|-- 9 texts"'
    assert report.splitlines()[5] == r'        "\x1b[2J\r"'


def test_a_chain_of_merges_may_be_deeper_than_pythons_stack():
    n = sys.getrecursionlimit() + 200
    chain = [[n + s - 1 if s else 0, s + 1, s + 1.0, s + 2] for s in range(n - 1)]
    tree = Tree(chain, leaf_of=np.arange(n))
    report = merges_report(tree, ["a"] * n, n_merges=n, n_examples=0)
    assert len(report.splitlines()) == 2 * n


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"texts": "abc"}, TypeError, "texts must be a sequence of str, got one str"),
        ({"texts": ["a"]}, ValueError, "texts must hold .* 3 rows of the tree, got 1"),
        ({"embeddings": [[0.0]]}, ValueError, "embeddings must hold .*, got 1"),
        ({"n_examples": -1}, ValueError, "n_examples must not be negative, got -1"),
        ({"n_clusters": 4}, ValueError, "k must be from 1 to n_leaves = 3, got 4"),
        ({"n_clusters": 0}, ValueError, "k must be from 1 to n_leaves = 3, got 0"),
        ({"n_merges": 0}, ValueError, "n_merges must be at least 1, got 0"),
    ],
)
def test_what_does_not_fit_the_tree_is_refused(change, error, message):
    given = {"tree": ward_tree([[0.0], [1.0], [5.0]]), "texts": ["a", "b", "c"]}
    for use in merges_report, lambda **given: MergesDisplay(**given).plot():
        with pytest.raises(error, match=message):
            use(**{**given, **change})


# --- without matplotlib ---------------------------------------------------------------


def fitted(seed=0):
    points, tree, pairs, answers = drawn(seed=seed)
    return SimpleNamespace(
        k_values_=np.arange(2, 31),
        scores_=-np.abs(np.arange(2, 31) - 5.0),
        n_clusters_=5,
        interval_=(4, 7),
        tree_=tree,
        pairs_=pairs,
        answers_=answers,
        embeddings_=points,
        criterion_report_={},
    )


def test_a_display_that_is_not_drawn_tells_the_same_without_matplotlib(monkeypatch):
    for module in ("matplotlib", "matplotlib.pyplot"):
        monkeypatch.setitem(sys.modules, module, None)
    selector, texts = fitted(), numbered(40)
    display = MergesDisplay.from_estimator(selector, texts, n_merges=4, plot=False)
    expected = merges_report(
        selector.tree_,
        texts,
        embeddings=selector.embeddings_,
        pairs=selector.pairs_,
        answers=selector.answers_,
        n_clusters=5,
        n_merges=4,
    )
    assert str(display) == display.report() == expected
    with pytest.raises(
        ImportError, match=r"MergesDisplay needs.*'skllm_cluster\[viz\]'"
    ):
        display.plot()


def test_importing_the_module_does_not_import_matplotlib():
    root = os.path.dirname(os.path.dirname(skllm_cluster.__file__))
    code = "import skllm_cluster.plotting, sys; print('matplotlib' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "False"


def test_pairs_are_unordered():
    _, tree, _, _ = drawn()
    pairs = np.array(list(combinations(range(10), 2)))
    answers = np.ones(len(pairs), dtype=int)
    assert top_merges(tree, pairs=pairs, answers=answers) == top_merges(
        tree, pairs=pairs[:, ::-1], answers=answers
    )
