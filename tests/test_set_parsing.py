"""Replies about sets: which lines are texts, which are titles, and what is neither."""

import random

import pytest
from hostile import HOSTILE
from hypothesis import given, settings
from hypothesis import strategies as st

from skllm_cluster.oracles._prompts import (
    parse_clusters,
    renumbered,
    set_lines,
    set_needs_fence,
)
from skllm_cluster.oracles._set_lines import normalise

SHOWN = ["glue", "tape", "hammer", "saw"]
WORDS = ["glue", "tape", "saw", "hammer", "nail", "paper", "pen", "desk", "lamp"]
WORDS += ["chair", "mug", "cup", "wire", "bolt", "nut", "drill", "paint", "brush"]


def labels_of(reply, shown=SHOWN):
    return parse_clusters(reply, shown).labels


def reply_of(texts, labels, titles, layout):
    """Write a reply: how a title looks, how a text, what comes after and between."""
    title, item, after, between = layout
    clusters = []
    for k, label in enumerate(dict.fromkeys(labels)):
        own = [t for t, other in zip(texts, labels, strict=True) if other == label]
        lines = [item.format(t=t, i=i) + "\n" for i, t in enumerate(own, 1)]
        clusters.append(
            title.format(t=titles[label], k=k + 1) + "\n" + after + "".join(lines)
        )
    return between.join(clusters)


LAYOUTS = {
    "named, bullets": ("Cluster {k}: {t}", "- {t}", "", "\n"),
    "named": ("Cluster {k}: {t}", "{t}", "", "\n"),
    "named, no blank lines": ("Cluster {k}: {t}", "{t}", "", ""),
    "named, bold": ("**Cluster {k}: {t}**", "{t}", "\n", "\n"),
    "named by number alone": ("Cluster {k}", "{i}. {t}", "", ""),
    "title and label": ("Cluster Title: {t}\nProducts:", "- {t}", "", "\n"),
    "bold, bullets": ("**{t}**", "- {t}", "", "\n"),
    "bold, number, blank": ("**{k}. {t}**", "* {t}", "\n", "\n"),
    "bold, every line alone": ("**{t}**", "{t}\n", "\n", ""),
    "numbers, bullets": ("{k}. {t}", "   - {t}", "", ""),
    "numbers": ("{k}) {t}", "{t}", "", ""),
    "headings": ("## {t}", "{i}. {t}", "", "\n"),
    "headings, quoted": ("### {t}", '- "{t}"', "\n", "\n"),
    "colon": ("{t}:", "{t}", "", ""),
    "colon, bullets": ("{t}:", "\u2022 {t}", "", ""),
    "bullets": ("{t}", "+ {t}", "", ""),
    "numbered texts": ("{t}", "{i}. {t}", "", "\n"),
    "indented": ("* {t}", "    * {t}", "", ""),
    "bulleted titles": ("- {t}", "{t}", "", ""),
    "blocks": ("{t}", "{t}", "", "\n"),
    "blocks of bullets": ("- {t}", "- {t}", "", "\n"),
    "blank after titles": ("{t}", "{t}", "\n", "\n"),
    "nothing": ("{t}", "{t}", "", ""),
    "every line alone": ("{t}", "{t}\n", "\n", ""),
    "bold texts": ("{t}", "**{t}**,", "", "\n"),
    "emphasis": ("__{t}__", "_{t}_", "", ""),
    "block quotes": ("> {t}:", "> - {t}", "", "\n"),
    "JSON": ('  "{t}": [', '    "{t}",', "", "  ],\n"),
    "table": ("| **{t}** |", "| {t} |", "", ""),
}
PREAMBLES = ["", "Here are the clusters:\n\n", "Sure! Here are the clusters:\n"]
EPILOGUES = ["", "\nLet me know if you need anything else."]


def random_set(rng):
    drawn = {" ".join(rng.sample(WORDS, rng.randint(1, 3))) for _ in range(12)}
    texts = sorted(drawn)[: rng.randint(3, 12)]
    rng.shuffle(texts)
    labels = [rng.randrange(4) for _ in texts]
    titles = [f"{word} stuff".title() for word in rng.sample(WORDS, 4)]
    return texts, labels, titles


def wrap(reply, rng):
    return rng.choice(PREAMBLES) + reply + rng.choice(EPILOGUES)


def are_consistent(found, labels):
    """Whether no two texts are together, or apart, that should not be."""
    known = [i for i, label in enumerate(found) if label >= 0]
    return all(
        (found[i] == found[j]) == (labels[i] == labels[j]) for i in known for j in known
    )


# Layouts


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_whole_reply_is_read_whole_whatever_its_layout(layout):
    rng = random.Random(layout)
    for _ in range(25):
        texts, labels, titles = random_set(rng)
        reply = wrap(reply_of(texts, labels, titles, LAYOUTS[layout]), rng)
        assert labels_of(reply, texts) == renumbered(labels), reply


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("how", ["left out", "altered"])
def test_a_text_that_is_left_out_or_altered_has_no_label_and_misleads_no_other(
    layout, how
):
    rng, n_lost, n = random.Random(layout), 0, 0
    for _ in range(25):
        texts, labels, titles = random_set(rng)
        hit = rng.randrange(len(texts))
        said, of = list(texts), list(labels)
        if how == "altered":
            said[hit] += " with extras"
        else:
            del said[hit], of[hit]
        reply = wrap(reply_of(said, of, titles, LAYOUTS[layout]), rng)
        found = labels_of(reply, texts)
        assert found[hit] == -1
        assert are_consistent(found, labels), reply
        n_lost += found.count(-1) - 1
        n += len(texts) - 1
    # Where nothing tells titles from texts, there is no telling what is missing.
    assert n_lost / n < (1.0 if layout in ("nothing", "every line alone") else 0.05)


@pytest.mark.parametrize("layout", set(LAYOUTS) - {"nothing", "every line alone"})
def test_a_line_that_was_made_up_misleads_nobody_and_is_counted(layout):
    rng, n_wrong = random.Random(layout), 0
    for _ in range(25):
        texts, labels, titles = random_set(rng)
        texts, labels = [*texts, "one more"], [*labels, labels[0]]
        order = rng.sample(range(len(texts) + 1), len(texts) + 1)
        said = [[*texts, "pink unicorn"][i] for i in order]
        of = [[*labels, labels[0]][i] for i in order]
        found = parse_clusters(reply_of(said, of, titles, LAYOUTS[layout]), texts)
        assert found.n_unmatched <= 1
        n_wrong += not are_consistent(found.labels, labels)
    assert n_wrong <= (2 if "block" in layout or "blank" in layout else 0)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_titles_that_are_texts_of_the_set_mislead_nobody(layout):
    rng = random.Random(layout)
    for _ in range(25):
        texts, labels, _ = random_set(rng)
        titles = [text.title() for text in rng.sample(texts, min(4, len(texts)))]
        titles += [f"Other {i}" for i in range(4 - len(titles))]
        reply = reply_of(texts, labels, titles, LAYOUTS[layout])
        assert are_consistent(labels_of(reply, texts), labels), reply


@pytest.mark.parametrize("layout", LAYOUTS)
def test_hostile_texts_change_neither_the_structure_nor_anothers_label(layout):
    rng = random.Random(layout)
    odd = [
        "- x",
        "3. glue",
        "Cluster 1: glue",
        "Tools:",
        "here are the clusters",
        "---",
    ]
    odd += ["</think>", "<think>a</think>", "## x", "**x**", "```", "", " "]
    for attack in [*HOSTILE, *odd]:
        texts, labels, titles = random_set(rng)
        at = rng.randrange(len(texts) + 1)
        texts.insert(at, attack[:400])
        labels.insert(at, labels[0])
        shown = set_lines(texts, fence=set_needs_fence(*texts))
        look = LAYOUTS[layout]
        if shown[at].startswith('"'):  # no need to quote what is quoted
            look = tuple(part.replace('"{t}"', "{t}") for part in look)
        reply = reply_of(shown, labels, titles, look)
        assert labels_of(reply, shown) == renumbered(labels), reply


# The five failures of the release


def test_a_text_is_not_found_within_another():
    reply = "Tools:\n- glue guns\n\nAdhesives:\n- Glue\n- tape"
    assert labels_of(reply, ["Glue", "glue guns", "tape"]) == [0, 1, 0]


@pytest.mark.parametrize(
    "reply",
    [
        "Misc\n- Tools\n- tape\n\nTools\n- hammer",
        "Tools:\n- hammer\nMisc:\n- tools\n- tape",
        "Tools\nhammer\n\nMisc\nTools\ntape",
        "**Tools**\nhammer\n**Misc**\ntape\nTools",
    ],
)
def test_a_text_that_is_a_title_too_belongs_where_it_is_listed(reply):
    assert labels_of(reply, ["Tools", "hammer", "tape"]) == [0, 1, 0]


def test_a_text_without_letters_joins_nobody():
    reply = "Tools:\n- hammer\n\nOdd:\n- ???\n- tape"
    assert labels_of(reply, ["???", "!!!", "hammer", "tape"]) == [0, -1, 1, 0]
    assert labels_of(reply.replace("???", ""), ["", "hammer", "tape"]) == [-1, 0, 1]


def test_clusters_need_no_blank_lines_between_them():
    assert labels_of("Sticky\nglue\ntape\nTools\nhammer\nsaw") == [0, 0, 1, 1]


def test_a_blank_line_after_a_title_makes_no_title_of_the_first_text():
    assert labels_of("Sticky\n\nglue\ntape\n\nTools\n\nhammer\nsaw") == [0, 0, 1, 1]


# Matching


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Nuts & Bolts", "nuts &amp; bolts"),
        ('Pan, 12"', "Pan, 12&quot;"),
        ("Glue-sticks (5 pcs.)", "glue sticks 5 pcs"),
        ("glue", "**Glue**"),
        ("glue", "\u201cglue\u201d,"),
        ("glue", "`glue`"),
        ("glue", "7. glue.  "),
        ("glue", "(b) glue"),
        ("glue", "- [ ] glue"),
        ("glue", "* 3) *glue*"),
        ("3. glue", "3. glue"),
        ("3. glue", "1. 3. glue"),
        ("- glue", "- - glue"),
        ("Caf\u00e9 au lait", "cafe\u0301 au lait"),
        ("\uff27lue \u2122", "Glue"),
        ("Wo ist meine Karte?", "wo ist meine karte"),
        ("a cut text\u2026", "a cut text..."),
        ("\u0915\u093f\u0924\u093e\u092c", "\u2022 \u0915\u093f\u0924\u093e\u092c"),
        ('"a \\"b\\"\\nc"', 'a "b" c'),
        ('"a \\"b\\"\\nc"', '"a \\"b\\"\\nc"'),
        ('"half', '"half'),
    ],
)
def test_a_line_is_a_text_up_to_what_models_change(text, said):
    reply = f"**Things**\n- {said}\n- tape\n\n**Tools**\n- hammer"
    assert labels_of(reply, ["hammer", text, "tape"]) == [0, 1, 1]


@pytest.mark.parametrize(
    ("texts", "said", "found"),
    [
        (["C++", "C#", "x"], ["C++", "C#"], [0, 1, 2]),
        (["C++", "C#", "x"], ["C", "C#"], [-1, 0, 1]),  # "C" might be both
        (["Glue", "glue", "x"], ["glue", "Glue"], [0, 1, 2]),
        (["Glue", "glue", "x"], ["GLUE", "Glue"], [0, -1, 1]),
        (["3 glue", "glue", "x"], ["3 glue", "3. glue"], [0, 1, 2]),
        (["3. glue", "glue", "x"], ["3. glue", "glue"], [0, 1, 2]),
        (["10/0", "100", "x"], ["10/0", "100"], [0, 1, 2]),
        (["\u0915\u093f", "\u0915\u0940", "x"], ["\u0915\u093f", "\u0915"], [0, -1, 1]),
    ],
)  # fmt: skip
def test_what_could_be_two_texts_is_none_and_the_closest_reading_wins(
    texts, said, found
):
    first, second = said
    # The first line said is in the first cluster, and so on.
    reply = f"**A**\n- {first}\n\n**B**\n- {second}\n\n**C**\n- x"
    assert labels_of(reply, texts) == found


@given(st.text(max_size=30))
@settings(max_examples=200, deadline=None)
def test_normalising_twice_changes_nothing(text):
    once = normalise(text)
    assert normalise(once) == once


def test_equal_texts_are_matched_one_to_one_in_order():
    shown = ["glue", "saw", "glue", "glue"]
    assert labels_of("A:\n- glue\n- saw\nB:\n- glue", shown) == [0, 0, 1, -1]
    assert labels_of("A:\n- glue\nB:\n- saw\n- glue\n- glue", shown) == [0, 1, 1, 1]
    # Once more, in a cluster that has it, says nothing new; in another, who knows.
    assert labels_of("A:\n" + "- glue\n" * 5 + "B:\n- saw", shown) == [0, 1, 0, 0]
    assert labels_of("A:\n" + "- glue\n" * 3 + "B:\n- saw\n- glue", shown) == [
        -1, 0, -1, -1
    ]  # fmt: skip


def test_a_text_in_two_clusters_is_in_none():
    assert labels_of("A:\n- glue\n- tape\nB:\n- glue\n- saw") == [-1, 0, -1, 1]
    assert labels_of("A:\n- glue\n- glue\n- tape\nB:\n- saw") == [0, 0, -1, 1]


# Titles


def test_equal_titles_are_one_cluster_unless_all_are_equal():
    reply = "Tools:\n- saw\n\nSticky:\n- glue\n- tape\n\n**tools**\n- hammer"
    assert labels_of(reply) == [0, 0, 1, 1]
    reply = (
        "Cluster 1: Tools\nsaw\nCluster 2: Sticky\nglue\ntape\nCluster 3: Tools\nhammer"
    )
    assert labels_of(reply) == [0, 0, 1, 1]
    assert labels_of("Products:\n- saw\n- hammer\n\nProducts:\n- glue") == [0, -1, 1, 1]
    assert labels_of("Cluster:\n- saw\n\nCluster:\n- glue\n\nX:\n- tape") == [
        0,
        1,
        -1,
        2,
    ]


def test_a_list_without_titles_is_no_answer():
    for reply in (
        "glue\ntape\nhammer\nsaw",
        "- glue\n- tape\n- hammer\n- saw",
        "glue\n\ntape\n\nhammer\n\nsaw",
        "Here are the products:\n\n- glue\n- tape\n- hammer\n- saw",
        "Cluster these products:\nglue\ntape\nhammer\nsaw\n\nFor each cluster, the "
        "answer should contain a meaningful cluster title",
    ):
        assert labels_of(reply) == [-1] * 4, reply


def test_what_comes_before_the_first_title_is_left_open():
    assert labels_of("- glue\n\n**A**\n- tape\n\n**B**\n- saw") == [-1, 0, -1, 1]


def test_a_list_that_is_repeated_before_the_clusters_does_not_count():
    reply = "\n".join(SHOWN) + "\n\n**A**\n- glue\n- tape\n\n**B**\n- hammer\n- saw"
    assert labels_of(reply) == [0, 0, 1, 1]


def test_a_title_that_is_a_text_and_listed_nowhere_leaves_open_what_follows():
    assert labels_of("Sticky\n- glue\n\nsaw\n- hammer\n\nX\n- tape") == [0, 1, -1, -1]


def test_a_heading_over_all_is_no_cluster():
    reply = "# Clusters\n\nSticky\nglue\ntape\n\nTools\nhammer\nsaw"
    assert labels_of(reply) == [0, 0, 1, 1]
    reply = "# All\n\n## Sticky\n- glue\n- tape\n\n## Tools\n### Hand\n- hammer\n- saw"
    assert labels_of(reply) == [0, 0, 1, 1]


def test_an_unexplained_line_in_a_plain_block_leaves_open_what_follows():
    reply = "Sticky\nglue\nTools\nsaw\n\nOther\nhammer\ntape"
    assert labels_of(reply) == [0, 1, 1, -1]


def test_one_cluster_may_lack_a_text_where_nothing_tells_titles():
    assert labels_of("Things\nglue\ntape\nsaw") == [0, 0, -1, 0]


def test_one_text_is_read_like_more():
    assert labels_of("Sticky:\n- glue", ["glue"]) == [0]
    assert labels_of("glue", ["glue"]) == [-1]
    assert labels_of("glue", []) == []


# Thoughts


@pytest.mark.parametrize(
    "thoughts",
    [
        "<think>\nglue and saw?\n- glue\n- saw\n</think>\n\n",
        "<think>A:\n- glue\n- saw</think>",
        "Let me see.\nA:\n- glue\n- saw\n</think>\n",
        "<thinking>\nglue\n</thinking>\n",
        "[THINK]A:\n- saw\n[/THINK]\n",
        "<|channel|>analysis<|message|>A:\n- glue\n- saw<|end|><|start|>assistant"
        "<|channel|>final<|message|>",
    ],
)
def test_thoughts_are_no_part_of_the_answer(thoughts):
    reply = f"{thoughts}A:\n- glue\n- tape\nB:\n- hammer\n- saw"
    assert labels_of(reply) == [0, 0, 1, 1]


def test_thoughts_without_an_end_are_no_answer():
    assert labels_of("\n<think>\nA:\n- glue\n- tape\nB:\n- hammer\n- saw") == [-1] * 4


@pytest.mark.parametrize(
    "text", ["</think>", "a </think>", "<think>", "<think> </think>"]
)
def test_a_text_that_holds_thoughts_is_a_text(text):
    shown = ["glue", text, "saw"]
    for said in (
        f"A:\n- glue\n- {text}\nB:\n- saw",
        f"A:\n- {text}\n- glue\nB:\n- saw",
    ):
        assert labels_of(said, shown) == [0, 0, 1]
        assert labels_of(f"<think>\n{said}\n</think>\n{said}", shown) == [0, 0, 1]


# Anything


@pytest.mark.parametrize(
    "reply",
    [None, 5, b"A:\n- glue", "", " \n ", "I cannot help with that.", "glue, tape",
     "I am sorry.\n\nAs a model,\nI cannot cluster."],
)  # fmt: skip
def test_a_reply_without_clusters_is_no_answer(reply):
    assert parse_clusters(reply, SHOWN) == ([-1] * 4, 0)


@given(
    st.lists(
        st.sampled_from(
            [*SHOWN, "A", "B:", "", " ", "- ", "**", "#", "Cluster 1:", "</think>",
             "1. ", "\t", '"', "\u200b", "- glue", "**saw**", "x: y"]
        ),
        max_size=25,
    ),
    st.permutations(SHOWN),
)  # fmt: skip
@settings(max_examples=300, deadline=None)
def test_any_reply_is_read_alike_whatever_the_order_of_the_set(lines, other):
    reply = "\n".join(lines)
    found = parse_clusters(reply, SHOWN)
    assert renumbered(found.labels) == found.labels
    assert len(found.labels) == 4
    turned = dict(zip(other, labels_of(reply, other), strict=True))
    assert renumbered([turned[text] for text in SHOWN]) == found.labels


@given(st.text(), st.lists(st.text(), max_size=4))
@settings(max_examples=200, deadline=None)
def test_nothing_that_a_model_says_raises(reply, shown):
    assert len(labels_of(reply, shown)) == len(shown)


@pytest.mark.parametrize(
    "piece",
    ["- ", "\u2022", "*", "#", "1. ", "(a) ", "<think>", "</think>", "Cluster 1: ",
     "\n", "- glue\n", "**A**\n", "title ", "cluster   ", "&amp;", "\u0301", '"',
     "[/THINK]\n", "A\n\n", "_", "> "],
)  # fmt: skip
def test_a_long_hostile_reply_is_read_to_its_end(piece):
    # Were it read in more than linear time, this would not come to an end.
    assert len(labels_of(piece * (60_000 // len(piece)))) == 4
