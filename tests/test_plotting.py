"""The displays: what is drawn where, and that every text can be read."""

import io
import sys
from functools import partial
from itertools import combinations
from types import SimpleNamespace

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.exceptions import NotFittedError

from skllm_cluster import ClusterLLMClusterer, GranularitySelector
from skllm_cluster.criteria import f_beta
from skllm_cluster.embedders import HashingEmbedder
from skllm_cluster.hierarchy import Tree, ward_tree
from skllm_cluster.oracles import TruthOracle
from skllm_cluster.plotting import GranularityDisplay, MergesDisplay, top_merges
from skllm_cluster.plotting._glyphs import drawable, known_characters
from skllm_cluster.sampling import merge_pairs

BLUE, ORANGE, GREEN, PINK, GREY = "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#999999"
HOSTILE = [
    "it cost $5, not $6_x^2",
    r"$\frac{1}{",
    "two\nlines\tand\rmore",
    "\x1b[31mred\x1b[0m \x00",
    "_under_score_ %s {x} <b>&amp;",
    "\u202eturned\u202c",
    "مرحبا كيف حالك",
    "שלום עולם",
    "👩\u200d🚀 emoji 😀",
    "我需要更改我的密码" * 10,
    "lone \ud800",
    "",
    "x" * 1000,
]


@pytest.fixture(autouse=True)
def _no_window():
    before = matplotlib.get_backend()
    plt.switch_backend("agg")
    yield
    plt.close("all")
    plt.switch_backend(before)


@pytest.fixture(scope="module")
def selector():
    """What a fitted selector has, of 120 points in 6 groups."""
    rng = np.random.default_rng(0)
    groups = np.arange(120) % 6
    points = rng.normal(size=(6, 5))[groups] * 4 + rng.normal(size=(120, 5))
    tree = ward_tree(points)
    pairs = merge_pairs(tree, k_max=40, random_state=0)
    answers = (groups[pairs[:, 0]] == groups[pairs[:, 1]]).astype(int)
    answers[::10] = -1
    k = np.arange(2, 41)
    return SimpleNamespace(
        k_values_=k,
        scores_=-np.abs(np.log(k / 6)),
        n_clusters_=6,
        interval_=(5, 9),
        tree_=tree,
        pairs_=pairs,
        answers_=answers,
        embeddings_=points,
        criterion_report_={},
        labels_=tree.cut(6),
    )


def changed(selector, **values):
    return SimpleNamespace(**{**vars(selector), **values})


def numbered(n=120):
    return [f"text {i}" for i in range(n)]


def render(display):
    """Draw everything, as a file would have it."""
    display.figure_.savefig(io.BytesIO(), format="png")


def legend_of(display):
    return [text.get_text() for text in display.ax_.get_legend().get_texts()]


# --- GranularityDisplay ---------------------------------------------------------------


def test_the_curve_is_the_scores_with_a_dot_on_the_number_chosen(selector):
    display = GranularityDisplay.from_estimator(selector)
    x, y = display.line_.get_data()
    np.testing.assert_array_equal(x, selector.k_values_)
    np.testing.assert_array_equal(y, selector.scores_)
    (dot,) = display.line_.get_markevery()
    assert x[dot] == 6
    assert set(display.chosen_.get_xdata()) == {6}
    assert display.figure_ is display.ax_.figure
    assert display.ax_.get_xlabel() == "number of clusters"
    render(display)


def test_the_interval_is_shaded_from_end_to_end(selector):
    display = GranularityDisplay.from_estimator(selector)
    corners = display.span_.get_path().vertices
    corners = display.span_.get_patch_transform().transform(corners)[:, 0]
    assert (corners.min(), corners.max()) == (5, 9)


@pytest.mark.parametrize(
    ("given", "label"),
    [
        ({}, "77 chosen"),
        ({"name": "f_beta"}, "77 chosen by f_beta"),
        ({"interval": (60, 95)}, "77 chosen (90 %: 60 to 95)"),
        ({"name": "_x", "interval": (60, 95)}, "77 chosen by _x (90 %: 60 to 95)"),
    ],
)
def test_the_legend_names_the_number_chosen(given, label):
    display = GranularityDisplay([76, 77, 78], [1, 3, 2], 77, **given).plot()
    assert legend_of(display) == [label]
    assert (display.span_ is None) is ("interval" not in given)


@pytest.mark.parametrize(
    ("k_values", "scale"),
    [([1, 20], "linear"), ([1, 21], "log"), ([7], "linear"), ([10, 200], "linear")],
)
def test_the_axis_is_logarithmic_beyond_a_factor_of_twenty(k_values, scale):
    display = GranularityDisplay(k_values, np.ones(len(k_values)), 1).plot()
    assert display.ax_.get_xscale() == scale
    render(display)


@pytest.mark.parametrize("k_max", [4, 9, 30, 200, 3000])
def test_the_axis_shows_whole_numbers(k_max):
    k = np.arange(2, k_max + 1)
    display = GranularityDisplay(k, k, 2).plot()
    render(display)
    labels = [t.get_text() for t in display.ax_.get_xticklabels(which="both")]
    shown = [label for label in labels if label]
    assert len(shown) >= 3
    assert all(label.isdecimal() for label in shown)


def test_two_criteria_can_be_compared_on_one_axis(selector):
    other = changed(selector, scores_=selector.scores_ * 100 + 7, n_clusters_=9)
    one = GranularityDisplay.from_estimator(selector, name="one", scaled=True)
    two = GranularityDisplay.from_estimator(
        other, ax=one.ax_, name="two", scaled=True, color="black"
    )
    assert two.ax_ is one.ax_
    assert two.line_.get_color() == "black" != one.line_.get_color()
    assert [label[:15] for label in legend_of(two)] == [
        "6 chosen by one",
        "9 chosen by two",
    ]
    np.testing.assert_allclose(one.line_.get_ydata(), two.line_.get_ydata())
    assert (one.line_.get_ydata().min(), one.line_.get_ydata().max()) == (0, 1)
    assert "lowest (0) to its highest (1)" in two.ax_.get_ylabel()
    render(two)


def test_a_wider_curve_on_the_same_axis_makes_it_logarithmic_and_it_stays_so():
    first = GranularityDisplay([2, 3], [0, 1], 3).plot()
    GranularityDisplay([2, 200], [0, 1], 200).plot(first.ax_)
    GranularityDisplay([2, 3], [0, 1], 2).plot(first.ax_)
    assert first.ax_.get_xscale() == "log"
    low, high = first.ax_.get_xlim()
    assert low < 2 < 200 < high


@pytest.mark.parametrize(
    ("scores", "drawn"),
    [([3, 3, 3], [0, 0, 0]), ([1, np.nan, 5], [0, np.nan, 1])],
)
def test_scaled_scores_need_neither_differ_nor_be_there(scores, drawn):
    display = GranularityDisplay([2, 3, 4], scores, 2).plot(scaled=True)
    np.testing.assert_array_equal(display.line_.get_ydata(), drawn)


@pytest.mark.parametrize("scaled", [False, True])
def test_without_scores_the_reason_is_said_in_place_of_a_curve(selector, scaled):
    reason = "all of 594 usable answers are 'different': nothing limits the number"
    undecided = changed(
        selector,
        scores_=np.full(39, np.nan),
        n_clusters_=40,
        interval_=None,
        criterion_report_={"reason": reason},
    )
    display = GranularityDisplay.from_estimator(undecided, scaled=scaled)
    (label,) = legend_of(display)
    assert label.replace("\n", " ") == f"40 chosen, undecided: {reason}"
    low, high = display.ax_.get_xlim()
    assert low <= 2 < 40 <= high
    render(display)


def test_the_legend_names_the_criterion_that_the_estimator_was_given(selector):
    named = changed(selector, criterion=f_beta)
    display = GranularityDisplay.from_estimator(named)
    assert legend_of(display) == ["6 chosen by f_beta (90 %: 5 to 9)"]
    nameless = changed(selector, criterion=partial(f_beta, beta=1.0))
    display = GranularityDisplay.from_estimator(nameless)
    assert legend_of(display) == ["6 chosen (90 %: 5 to 9)"]


def test_a_number_that_is_no_candidate_has_a_line_and_no_dot():
    display = GranularityDisplay([2, 3], [0, 1], 9).plot()
    assert display.line_.get_markevery() == []
    assert display.chosen_.get_xdata()[0] == 9
    render(display)


# --- whose displays -------------------------------------------------------------------


def from_both(estimator):
    yield lambda: GranularityDisplay.from_estimator(estimator)
    yield lambda: MergesDisplay.from_estimator(estimator, numbered())


def test_an_estimator_is_drawn_by_the_selector_that_it_has_fitted(selector):
    clusterer = SimpleNamespace(granularity_=selector)
    assert GranularityDisplay.from_estimator(clusterer).n_clusters == 6
    display = MergesDisplay.from_estimator(clusterer, numbered())
    assert display.tree is selector.tree_


@pytest.mark.parametrize(
    ("estimator", "error", "message"),
    [
        (GranularitySelector(), NotFittedError, "GranularitySelector is not fitted"),
        (
            ClusterLLMClusterer(),
            NotFittedError,
            "ClusterLLMClusterer has not chosen a number of clusters. Give it n_clust",
        ),
        (
            SimpleNamespace(granularity=None, granularity_=None),
            NotFittedError,
            "has not chosen a number of clusters. Give it n_clusters=None",
        ),
        (KMeans(), TypeError, "GranularitySelector or a ClusterLLMClusterer, got KM"),
        ("text", TypeError, "must be a GranularitySelector or .*, got str"),
    ],
    ids=["selector", "clusterer", "number given", "k-means", "text"],
)
def test_an_estimator_that_has_chosen_no_number_is_refused(estimator, error, message):
    for use in from_both(estimator):
        with pytest.raises(error, match=message):
            use()


def test_without_matplotlib_the_extra_that_brings_it_is_named(selector, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    for use in from_both(selector):
        with pytest.raises(
            ImportError,
            match=r"Display needs .*'matplotlib'.*pip install 'skllm_cluster\[viz\]'",
        ):
            use()


def test_a_fitted_selector_is_drawn(support):
    texts, topics = support
    selector = GranularitySelector(
        HashingEmbedder(), TruthOracle(texts, topics), k_max=40, random_state=0
    ).fit(texts)
    display = GranularityDisplay.from_estimator(selector)
    assert f"{selector.n_clusters_} chosen" in legend_of(display)[0]
    render(display)
    merges = MergesDisplay.from_estimator(selector, texts, n_merges=10)
    asked = sum(answer.get_text() != "not asked" for answer in merges.answers_)
    assert asked > 5
    render(merges)
    with pytest.raises(ValueError, match=r"texts must hold .* 600 .*, got 599"):
        MergesDisplay.from_estimator(selector, texts[1:])


def test_a_clusterer_that_was_to_choose_is_drawn(support):
    texts = support[0][:100]
    clusterer = ClusterLLMClusterer(
        HashingEmbedder(), granularity=GranularitySelector(k_max=30), random_state=0
    ).fit(texts)
    display = GranularityDisplay.from_estimator(clusterer)
    assert display.n_clusters == clusterer.n_clusters_
    merges = MergesDisplay.from_estimator(clusterer, texts, n_merges=29)
    assert merges.cut_ is not None
    assert {answer.get_text() for answer in merges.answers_} == {"not asked"}


# --- MergesDisplay --------------------------------------------------------------------


def test_merges_are_brackets_at_their_height_from_side_to_side(selector):
    display = MergesDisplay.from_estimator(selector, numbered(), n_merges=8)
    merges = top_merges(
        selector.tree_, pairs=selector.pairs_, answers=selector.answers_, n_merges=8
    )
    ends = {}
    for line, answers, merge in zip(
        display.lines_, display.answers_, merges, strict=True
    ):
        x, y = line.get_data()
        assert x[1] == x[2] == merge.height
        assert y[0] == y[1] < answers.xy[1] < y[2] == y[3]
        assert answers.get_text() == merge.answers
        assert answers.get_color() == line.get_color()
        ends |= dict(zip(merge.sides, [(x[0], y[0]), (x[3], y[3])], strict=True))
    for merge, answers in zip(merges[1:], display.answers_[1:], strict=True):
        assert ends[merge.node] == answers.xy
    leaves = [ends[node][1] for node in selector.tree_.nodes(9).tolist()]
    assert sorted(leaves) == list(range(9))


def test_no_merge_shares_its_line_with_another():
    rng = np.random.default_rng(0)
    for seed in range(5):
        tree = ward_tree(rng.normal(size=(30, 2 + seed)))
        display = MergesDisplay(tree, numbered(30), n_merges=29).plot()
        places = [answers.xy[1] for answers in display.answers_]
        assert sorted(places) == [i + 0.5 for i in range(29)]


@pytest.mark.parametrize(
    ("answers", "colour", "verdict"),
    [
        ([1, 1, 0], BLUE, "mostly same"),
        ([1, 0, 0], ORANGE, "mostly different"),
        ([1, 0, -1], GREEN, "as many same as different"),
        ([-1], PINK, "no usable answer"),
        ([], GREY, "not asked"),
    ],
)
def test_a_merge_has_the_colour_of_what_most_answers_say(answers, colour, verdict):
    tree = ward_tree([[0.0], [1.0]])
    pairs = [[0, 1]] * len(answers)
    display = MergesDisplay(tree, ["a", "b"], pairs=pairs, answers=answers).plot()
    assert [line.get_color() for line in display.lines_] == [colour]
    assert legend_of(display) == [verdict]


@pytest.mark.parametrize("n_clusters", range(1, 7))
def test_the_dashed_line_parts_the_merges_that_happened_from_the_others(n_clusters):
    tree = ward_tree(np.random.default_rng(0).normal(size=(20, 3)))
    display = MergesDisplay(tree, numbered(20), n_clusters=n_clusters, n_merges=5)
    cut = display.plot().cut_.get_xdata()[0]
    for merge in top_merges(tree, n_merges=5):
        assert (merge.height < cut) is (merge.k >= n_clusters)
    left, right = display.ax_.get_xlim()
    assert left > cut > right


def test_a_number_beyond_what_is_shown_is_said_in_the_legend():
    tree = ward_tree(np.random.default_rng(0).normal(size=(20, 3)))
    display = MergesDisplay(tree, numbered(20), n_clusters=7, n_merges=5).plot()
    assert display.cut_ is None
    assert legend_of(display) == ["not asked", "7 clusters chosen, more than are shown"]


def test_each_cluster_shows_its_size_and_its_most_central_texts(selector):
    texts = numbered()
    display = MergesDisplay.from_estimator(selector, texts, n_merges=5, n_examples=1)
    tree, points = selector.tree_, selector.embeddings_
    expected = []
    for node in sorted(tree.nodes(6).tolist(), key=tree.start.__getitem__):
        rows = tree.members(node)
        away = ((points[rows] - points[rows].mean(axis=0)) ** 2).sum(axis=1)
        expected.append((texts[rows[np.argmin(away)]], str(len(rows))))
    written = [text.get_text().strip() for text in display.ax_.texts]
    assert [leaf.get_text() for leaf in display.leaves_] == [e[0] for e in expected]
    assert [w for w in written if w.isdecimal()] == [e[1] for e in expected]


@pytest.mark.parametrize("n_examples", [0, 1, 3])
def test_nothing_overlaps_and_nothing_is_cut_off(support, n_examples):
    texts = [*HOSTILE, *support[0]]
    points = HashingEmbedder(32).encode(
        [t.encode("utf-8", "replace").decode() for t in texts]
    )
    tree = ward_tree(points)
    pairs = merge_pairs(tree, k_max=100, k_min=1, pairs_per_merge=40, random_state=0)
    answers = np.random.default_rng(0).integers(-1, 2, size=len(pairs))
    display = MergesDisplay(
        tree,
        texts,
        embeddings=points,
        pairs=pairs,
        answers=answers,
        n_clusters=12,
        n_examples=n_examples,
    ).plot()
    render(display)
    renderer = display.figure_.canvas.get_renderer()
    boxes = [
        text.get_window_extent(renderer)
        for text in display.ax_.texts
        if text.get_text()
    ]
    boxes.append(display.ax_.get_legend().get_window_extent(renderer))
    assert len(boxes) >= 20 + 21 + 1
    page = display.figure_.bbox
    for box in boxes:
        assert page.x0 <= box.x0 <= box.x1 <= page.x1
        assert page.y0 <= box.y0 <= box.y1 <= page.y1
    for one, two in combinations(boxes, 2):
        assert not (one.x0 < two.x1 and two.x0 < one.x1) or not (
            one.y0 < two.y1 and two.y0 < one.y1
        )


@pytest.mark.parametrize("format", ["png", "svg", "pdf"])
def test_hostile_texts_are_drawn_as_they_are_without_a_warning(format):
    n = len(HOSTILE)
    tree = ward_tree(np.random.default_rng(0).normal(size=(n, 2)))
    display = MergesDisplay(tree, HOSTILE, n_examples=1).plot()
    display.figure_.savefig(io.BytesIO(), format=format)
    shown = {leaf.get_text() for leaf in display.leaves_}
    assert shown > {
        "it cost $5, not $6_x^2",
        r"$\frac{1}{",
        r"two\nlines\tand\rmore",
        r"\x1b[31mred\x1b[0m \x00",
        "_under_score_ %s {x} <b>&amp;",
        r"\u202eturned\u202c",
        r"lone \ud800",
    }
    assert not any(leaf.get_parse_math() for leaf in display.leaves_)


def test_texts_are_not_given_to_tex_where_figures_are(selector, monkeypatch):
    tree = ward_tree([[0.0], [1.0]])
    with matplotlib.rc_context({"text.usetex": True}):
        display = MergesDisplay(tree, ["$a", r"\input{b}"]).plot()
    assert not any(leaf.get_usetex() for leaf in display.leaves_)


def test_one_cluster_is_drawn_without_a_merge():
    display = MergesDisplay(ward_tree(np.ones((3, 2))), ["a", "a", "b"]).plot()
    assert display.lines_ == []
    assert [leaf.get_text() for leaf in display.leaves_] == ["a\nb"]
    assert display.ax_.get_legend() is None
    render(display)


def test_merges_at_height_zero_have_room_too():
    tree = Tree([[0, 1, 0.0, 2], [2, 3, 0.0, 3]], leaf_of=[0, 1, 2])
    display = MergesDisplay(tree, ["a", "b", "c"], n_clusters=2).plot()
    left, right = display.ax_.get_xlim()
    assert left > 0 > right
    assert list(display.ax_.get_xticks()) == [0]
    render(display)


def test_it_can_be_drawn_on_given_axes(selector):
    figure, ax = plt.subplots(layout="constrained", figsize=(14, 9))
    display = MergesDisplay.from_estimator(selector, numbered(), ax=ax)
    assert display.ax_ is ax
    assert display.figure_ is figure
    render(display)


def test_drawing_again_gives_the_same(selector):
    display = MergesDisplay.from_estimator(selector, numbered())
    before = [leaf.get_text() for leaf in display.leaves_]
    assert [leaf.get_text() for leaf in display.plot().leaves_] == before


# --- characters that fonts do not have ------------------------------------------------


def test_a_character_without_a_glyph_becomes_a_box():
    known = known_characters()
    assert drawable("a文\U0001faf6", known) == "a□□"
    assert drawable("a文", {ord("a"), ord("文")}) == "a文"
    assert drawable("a文", {ord("a")}) == "a?"


@pytest.mark.parametrize(
    ("families", "same_as"),
    [
        (["No Such Font"], ["DejaVu Sans"]),
        (["No Such Font", "DejaVu Sans Mono"], ["DejaVu Sans Mono"]),
    ],
)
def test_fonts_that_are_not_installed_have_no_say(families, same_as):
    with matplotlib.rc_context({"font.family": families}):
        found = known_characters()
    with matplotlib.rc_context({"font.family": same_as}):
        assert found == known_characters()


def test_a_second_font_adds_its_characters():
    with matplotlib.rc_context({"font.family": ["DejaVu Sans Mono", "STIXGeneral"]}):
        both = known_characters()
    with matplotlib.rc_context({"font.family": ["DejaVu Sans Mono"]}):
        assert known_characters() < both
