"""Sets made of texts alone: what is drawn, and what is never drawn."""

from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skllm_cluster.pretraining import word_dropped_sets

UTTERANCES = [
    f"{verb} {noun} {place} {time}"
    for verb in ("find", "book", "cancel", "show", "rate")
    for noun in ("flights", "hotels", "tables", "trains", "films")
    for place in ("here", "abroad", "downtown")
    for time in ("today", "tomorrow", "next week")
]


def sets_of(batches, n_batches):
    """The sets of some batches, as (texts, labels)."""
    for texts, groups, labels in islice(batches, n_batches):
        for group in np.unique(groups):
            here = np.flatnonzero(groups == group)
            yield [texts[i] for i in here], labels[here]


def words_in_order(copy, text):
    """Whether a copy is the text with words left out."""
    rest = iter(text.split())
    return all(word in rest for word in copy.split())


def equal(one, other):
    return one[0] == other[0] and all(
        np.array_equal(a, b) for a, b in zip(one[1:], other[1:], strict=True)
    )


def test_each_cluster_is_copies_of_one_text_with_words_left_out():
    for texts, labels in sets_of(word_dropped_sets(UTTERANCES, random_state=0), 30):
        for label in np.unique(labels):
            copies = [t for t, k in zip(texts, labels, strict=True) if k == label]
            assert any(
                all(words_in_order(copy, text) for copy in copies)
                for text in UTTERANCES
            )


def test_a_batch_holds_as_many_sets_as_were_asked_for_in_flat_form():
    texts, groups, labels = next(word_dropped_sets(UTTERANCES, batch_size=3))
    assert np.unique(groups).tolist() == [0, 1, 2]
    assert groups.shape == labels.shape == (len(texts),)
    assert groups.dtype == labels.dtype == np.intp


def test_clusters_are_numbered_without_a_gap_in_no_order():
    in_order = 0
    for _, labels in sets_of(word_dropped_sets(UTTERANCES, random_state=1), 20):
        assert np.array_equal(np.unique(labels), np.arange(labels.max() + 1))
        in_order += bool((np.diff(labels) >= 0).all())
    assert in_order < 20  # of 80: small sets may be so by chance


def test_numbers_and_sizes_of_clusters_are_uniform_on_their_ranges():
    stream = word_dropped_sets(UTTERANCES, random_state=0)
    sizes = [np.bincount(labels) for _, labels in sets_of(stream, 500)]
    numbers = np.bincount([len(s) for s in sizes])
    assert numbers[:2].tolist() == [0, 0] and len(numbers) == 11
    assert np.allclose(numbers[2:] / 2000, 1 / 9, atol=0.03)
    of_size = np.bincount(np.concatenate(sizes))
    assert of_size[0] == 0 and len(of_size) == 6
    assert np.allclose(of_size[1:] / of_size.sum(), 1 / 5, atol=0.02)


def test_words_are_dropped_at_a_rate_that_differs_between_copies():
    # Words that are all different: nothing is undone, and next to nothing is empty.
    texts = [" ".join(f"w{i}.{j}" for j in range(40)) for i in range(20)]
    stream = word_dropped_sets(texts, random_state=0)
    lost = [1 - len(t.split()) / 40 for found, _ in sets_of(stream, 100) for t in found]
    assert abs(np.mean(lost) - 0.45) < 0.01
    # U(0.2, 0.7) and on top of it the binomial variance of 40 words, E[p(1 - p)] / 40.
    variance = 0.5**2 / 12 + (0.45 - 0.45**2 - 0.5**2 / 12) / 40
    assert abs(np.var(lost) / variance - 1) < 0.05


def test_copies_that_would_be_empty_keep_one_word_at_random():
    texts = ["a1 a2 a3", "b1 b2 b3"]
    stream = word_dropped_sets(texts, drop=(1.0, 1.0), random_state=0)
    found = [t for copies, _ in sets_of(stream, 100) for t in copies]
    names, counts = np.unique(found, return_counts=True)
    assert names.tolist() == ["a1", "a2", "a3", "b1", "b2", "b3"]
    assert np.allclose(counts / len(found), 1 / 6, atol=0.04)


def test_at_three_words_a_fifth_of_the_copies_is_whole():
    texts = [" ".join(f"w{i}.{j}" for j in range(3)) for i in range(20)]
    stream = word_dropped_sets(texts, random_state=0)
    found = [len(t.split()) for copies, _ in sets_of(stream, 200) for t in copies]
    # One of three is kept by chance, or where all three would have been dropped.
    rng = np.random.default_rng(0)
    kept = (rng.random((10**5, 3)) >= rng.uniform(0.2, 0.7, (10**5, 1))).sum(axis=1)
    expected = np.bincount(np.maximum(kept, 1))[1:] / 10**5
    assert np.allclose(np.bincount(found)[1:] / len(found), expected, atol=0.015)
    assert abs(expected[2] - 0.2) < 0.01 and abs((kept == 0).mean() - 0.12) < 0.01


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map(" ".join),
        min_size=2,
        max_size=12,
    ).filter(lambda texts: len(set(texts)) > 1),
    st.integers(0, 100),
)
def test_no_copy_is_empty_or_equals_one_of_another_cluster(texts, seed):
    for copies, labels in sets_of(word_dropped_sets(texts, random_state=seed), 3):
        assert all(copies)
        clusters = {}
        for copy, label in zip(copies, labels, strict=True):
            assert clusters.setdefault(copy, label) == label


def test_a_chain_of_texts_that_contain_one_another_is_told_apart():
    texts = [" ".join("abcdefghij"[:n]) for n in range(1, 11)]
    stream = word_dropped_sets(
        texts, n_clusters=(10, 10), drop=(0.9, 0.9), random_state=0
    )
    for copies, labels in sets_of(stream, 10):
        owners = {(c, k) for c, k in zip(copies, labels, strict=True)}
        assert len(owners) == len({c for c, _ in owners})


def test_the_stream_is_the_same_whatever_is_drawn_in_between():
    expected = list(islice(word_dropped_sets(UTTERANCES, random_state=5), 4))
    stream = word_dropped_sets(UTTERANCES, random_state=5)
    other = word_dropped_sets(UTTERANCES, random_state=6)
    for batch in expected:
        np.random.rand(3)
        assert equal(next(stream), batch)
        assert not equal(next(other), batch)


def test_a_generator_that_is_given_is_drawn_from_at_the_call_alone():
    rng = np.random.RandomState(3)
    stream = word_dropped_sets(UTTERANCES, random_state=rng)
    state = rng.get_state()[1].copy()
    first = next(stream)
    assert np.array_equal(rng.get_state()[1], state)
    again = word_dropped_sets(UTTERANCES, random_state=np.random.RandomState(3))
    assert equal(next(again), first)
    assert not equal(next(word_dropped_sets(UTTERANCES, random_state=rng)), first)


def test_sets_do_not_depend_on_the_size_of_batches():
    def first_sets(batch_size, n_batches):
        stream = word_dropped_sets(UTTERANCES, batch_size=batch_size, random_state=0)
        return list(sets_of(stream, n_batches))

    for one, other in zip(first_sets(1, 12), first_sets(4, 3), strict=True):
        assert equal(one, other)


def test_no_set_has_more_clusters_than_there_are_texts():
    stream = word_dropped_sets(["a b c", "d e f", "g h i"], random_state=0)
    numbers = {len(np.unique(labels)) for _, labels in sets_of(stream, 20)}
    assert numbers == {2, 3}


def test_duplicates_and_blank_texts_are_left_out():
    given = ["a b", " ", "c d", "a  b ", "", "a\tb\n"]
    stream = word_dropped_sets(given, drop=(0, 0), random_state=0)
    for copies, labels in sets_of(stream, 5):
        assert set(copies) == {"a b", "c d"}
        assert len(set(labels.tolist())) == 2


def test_a_text_of_one_word_is_copied_as_it_is():
    stream = word_dropped_sets(["glue", "scissors"], drop=(1.0, 1.0), random_state=0)
    assert {t for copies, _ in sets_of(stream, 5) for t in copies} == {
        "glue",
        "scissors",
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("查询余额", ["查", "询", "余", "额"]),
        ("iPhone手机 壳 red", ["iPhone", "手", "机", "壳", "red"]),
        ("ガラス", ["ガ", "ラ", "ス"]),
        ("ที่นี่", ["ที่", "นี่"]),  # marks stay with their letter
        ("كم رصيدي", ["كم", "رصيدي"]),
        ("잔액 조회", ["잔액", "조회"]),
    ],
    ids=["Chinese", "mixed", "kana", "Thai", "Arabic", "Korean"],
)
def test_letters_count_as_words_in_scripts_without_spaces(text, words):
    stream = word_dropped_sets([text, "x1 x2"], drop=(1.0, 1.0), random_state=0)
    found = {t for copies, _ in sets_of(stream, 40) for t in copies}
    assert found == {*words, "x1", "x2"}


def test_texts_without_spaces_are_copied_without_spaces():
    stream = word_dropped_sets(["查询余额", "iPhone手机 壳"], drop=(0, 0))
    assert set(next(stream)[0]) == {"查询余额", "iPhone手机 壳"}
    stream = word_dropped_sets(["查询余额", "天气"], random_state=0)
    assert not any(" " in t for copies, _ in sets_of(stream, 5) for t in copies)


@pytest.mark.parametrize("texts", [["one text"], ["a b", "a  b", " "]])
def test_fewer_than_two_distinct_texts_are_refused(texts):
    with pytest.raises(ValueError, match=r"at least 2 distinct texts .* got 1"):
        word_dropped_sets(texts)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_clusters": (0, 3)}, r"n_clusters must be two ints in \[1, inf\]"),
        ({"n_clusters": (4, 3)}, r"the smaller first, got \(4, 3\)"),
        ({"n_clusters": (2.0, 3)}, "two ints"),
        ({"cluster_size": 3}, "cluster_size must be two ints .* got 3"),
        ({"cluster_size": (1, 2, 3)}, "cluster_size"),
        ({"drop": (0.2, 1.1)}, r"drop must be two numbers in \[0, 1\]"),
        ({"drop": (float("nan"), 1)}, "drop"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
    ],
    ids=str,
)
def test_settings_out_of_bounds_are_refused_at_the_call(settings, message):
    with pytest.raises(ValueError, match=message):
        word_dropped_sets(["a b", "c d"], **settings)


def test_what_is_no_sequence_of_texts_is_refused_at_the_call():
    with pytest.raises(TypeError, match="texts must be a sequence of str"):
        word_dropped_sets("a b")
