"""Demonstrations: of both kinds, easy, short, and never on the user's own oracle."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator

from skllm_cluster._asking import choose_demonstrations, with_demonstrations
from skllm_cluster.oracles import FirstAnswer, LLMOracle, TruthOracle

TEXTS = [f"text number {i} " + "x" * (i * 7 % 13) for i in range(40)]
NAMES = [f"group {i % 5}" for i in range(40)]
LABELS = np.arange(40) % 5


def level(pairs):
    """Any symmetric function will do."""
    one, two = np.sort(np.asarray(pairs), axis=1).T
    return 1 + (31 * one + 17 * two) % 101


def chosen(seed=0, labels=LABELS, **params):
    return choose_demonstrations(
        level, TEXTS, labels, NAMES, rng=np.random.RandomState(seed), **params
    )


@pytest.mark.parametrize("n_each", [1, 2, 3])
def test_as_many_of_either_kind_are_shown_as_wanted(n_each):
    shown, pairs = chosen(n_each=n_each)
    assert [same for _, _, same, _ in shown] == [True] * n_each + [False] * n_each
    for (one, two, same, because), (a, b) in zip(shown, pairs, strict=True):
        assert (one, two) == (TEXTS[a], TEXTS[b])
        assert (LABELS[a] == LABELS[b]) == same
        assert because == (NAMES[a], NAMES[b])


def test_positives_are_of_fine_and_negatives_of_coarse_granularity():
    every = np.stack(np.triu_indices(40, 1), axis=1)
    same = LABELS[every[:, 0]] == LABELS[every[:, 1]]
    found = [level(chosen(seed)[1]) for seed in range(200)]
    positive = np.concatenate([levels[:2] for levels in found])
    negative = np.concatenate([levels[2:] for levels in found])
    assert np.median(positive) > np.quantile(level(every[same]), 0.6)
    assert np.median(negative) < np.quantile(level(every[~same]), 0.4)


def test_short_texts_are_preferred():
    lengths = [
        sum(len(one) + len(two) for one, two, *_ in chosen(s)[0]) for s in range(99)
    ]
    assert np.mean(lengths) < 0.95 * 8 * np.mean([len(text) for text in TEXTS])


def test_labels_may_be_a_series_with_an_index_of_its_own():
    names = pd.Series(NAMES, index=range(100, 140))
    shown, pairs = choose_demonstrations(
        level, TEXTS, LABELS, names, rng=np.random.RandomState(0)
    )
    assert shown == chosen()[0]
    assert len(pairs) == 4


def test_only_labelled_texts_are_shown():
    labels = np.where(np.arange(40) < 12, LABELS, -1)
    _, pairs = chosen(labels=labels)
    assert pairs.max() < 12


@pytest.mark.parametrize("known", [0, 1, 2])
def test_without_both_kinds_there_are_none(known):
    labels = np.where(np.arange(40) < known, 0, -1)
    shown, pairs = chosen(labels=labels)
    assert shown == []
    assert pairs.shape == (0, 2)


def test_a_text_is_not_shown_with_itself():
    shown, _ = choose_demonstrations(
        level, ["a", "a", "b", "a"], np.array([0, 0, 1, 0]), ["x", "x", "y", "x"],
        rng=np.random.RandomState(0),
    )  # fmt: skip
    assert shown == []


def test_many_labels_cost_no_more_than_some():
    n = 3000
    texts = [f"text {i}" for i in range(n)]
    asked = []
    choose_demonstrations(
        lambda pairs: asked.append(len(pairs)) or level(pairs),
        texts, np.arange(n) % 7, texts, rng=np.random.RandomState(0),
    )  # fmt: skip
    assert asked[0] < 100_000


SHOWN = [("a", "b", True, None), ("a", "c", False, None)]


def test_an_oracle_with_demonstrations_is_another_with_the_same_session():
    oracle = LLMOracle(lambda prompt: "Yes", n_jobs=1, fence="never")
    other = with_demonstrations(oracle, SHOWN)
    assert oracle.demonstrations == ()
    assert other.demonstrations == SHOWN
    assert other.complete is oracle.complete
    other.answer_pairs([("one", "two")])
    assert oracle.report()["n_asked"] == 1


def test_an_oracle_in_a_row_gets_them_and_the_row_keeps_its_own():
    model = LLMOracle(lambda prompt: "Yes", n_jobs=1)
    labels = TruthOracle(["a"], [0], accuracy=0.7)
    row = FirstAnswer([("labels", labels), ("model", model)])
    other = with_demonstrations(row, SHOWN)
    assert row.oracles[1][1] is model
    assert model.demonstrations == ()
    assert other.oracles[0][1] is labels
    assert other.oracles[1][1].demonstrations == SHOWN


def test_an_oracle_that_takes_none_or_has_some_stays():
    class Plain:
        pass

    class Parametrized(BaseEstimator):
        def __init__(self, perspective="topic"):
            self.perspective = perspective

    mine = LLMOracle(lambda prompt: "Yes", demonstrations=[("x", "y", True)])
    for oracle in (Plain(), Parametrized(), mine, TruthOracle(["a"], [0])):
        assert with_demonstrations(oracle, SHOWN) is oracle
    assert with_demonstrations(LLMOracle(print), []).demonstrations == ()
