from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from skllm_cluster.datasets import load_support_messages

TOPICS = {
    "account",
    "advice",
    "app",
    "billing",
    "delivery",
    "product_fault",
    "returns",
    "subscription",
}
MOODS = {"angry", "calm", "confused", "grateful", "worried"}


def test_without_labels_only_the_texts_are_returned():
    texts = load_support_messages()
    assert isinstance(texts, list)
    assert len(texts) == 600
    assert all(isinstance(text, str) for text in texts)


def test_every_message_has_both_labels():
    texts, labels = load_support_messages(return_labels=True)
    assert labels.keys() == {"topic", "mood"}
    for values in labels.values():
        assert values.shape == (len(texts),)
        assert values.dtype.kind == "U"
    assert set(labels["topic"]) == TOPICS
    assert set(labels["mood"]) == MOODS


@pytest.mark.parametrize("kind", ["topic", "mood"])
def test_one_kind_of_labels_is_the_same_alone_as_with_the_other(kind):
    texts, labels = load_support_messages(return_labels=kind)
    all_texts, all_labels = load_support_messages(return_labels=True)
    assert texts == all_texts == load_support_messages()
    np.testing.assert_array_equal(labels, all_labels[kind])


def test_labels_stand_in_the_order_of_their_texts():
    texts, labels = load_support_messages(return_labels=True)
    row = texts.index("WHERE IS MY WARDROBE")
    assert (labels["topic"][row], labels["mood"][row]) == ("delivery", "angry")
    row = texts.index("What does the family plan include?")
    assert (labels["topic"][row], labels["mood"][row]) == ("subscription", "calm")


def test_all_topic_and_mood_pairs_occur_about_equally_often():
    _, labels = load_support_messages(return_labels=True)
    pairs = Counter(zip(labels["topic"], labels["mood"], strict=True))
    assert len(pairs) == len(TOPICS) * len(MOODS)
    assert min(pairs.values()) >= 11
    assert max(pairs.values()) <= 19


def test_no_message_occurs_twice():
    texts = load_support_messages()
    assert len({text.casefold() for text in texts}) == len(texts)


def test_messages_are_short_and_trimmed():
    for text in load_support_messages():
        assert 4 <= len(text.split()) <= 40
        assert text == " ".join(text.split())


def test_rows_are_shuffled():
    _, labels = load_support_messages(return_labels=True)
    for values in labels.values():
        assert set(values[:100]) == set(values)


def test_the_caller_may_change_what_it_gets():
    load_support_messages().clear()
    assert len(load_support_messages()) == 600


@pytest.mark.parametrize("wrong", ["x", "Topic", "", 1, None, ["topic"]])
def test_unknown_return_labels_raises(wrong):
    with pytest.raises(ValueError) as error:
        load_support_messages(return_labels=wrong)
    assert str(error.value) == (
        f"return_labels must be True, False, 'topic' or 'mood', got {wrong!r}."
    )
