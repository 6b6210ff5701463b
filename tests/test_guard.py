"""The test of whether answers pay, and what is done about it."""

import copy

import numpy as np
import pytest
import scipy.stats
from sklearn.base import BaseEstimator

from skllm_cluster.adaptation import FineTuner
from skllm_cluster.embedders import HashingEmbedder
from skllm_cluster.guard import cross_fit

torch = pytest.importorskip("torch")


def small():
    return HashingEmbedder(32, n_features=512)


def agreement(embedder, texts, triplets):
    """Share of the answers that cosine similarity agrees with."""
    anchor, taken, left = embedder.encode(texts)[triplets.T]
    return np.mean((anchor * (taken - left)).sum(axis=1) > 0)


class Spy(BaseEstimator):
    """An adapter that learns nothing and remembers what it was given."""

    def __init__(self):
        self.seen = []

    def adapt(self, embedder, texts, triplets, *, random_state=None):
        self.seen.append(triplets)
        return embedder


@pytest.mark.parametrize("seed", range(4))
def test_no_anchor_is_in_both_halves_and_each_answer_in_one(seed, texts, triplets):
    spy, z = Spy(), small().encode(texts)
    report = cross_fit(spy, small(), texts, z, triplets, random_state=seed)
    first, second = spy.seen
    assert not set(first[:, 0]) & set(second[:, 0])
    both = np.concatenate(spy.seen)
    assert sorted(both.tolist()) == sorted(triplets.tolist())
    n_anchors = [len(set(half[:, 0])) for half in spy.seen]
    assert abs(n_anchors[0] - n_anchors[1]) <= 1
    # Nothing was learnt, so nothing can be said for it.
    assert report["p_value"] == 1.0
    assert report["accuracy_after"] == report["accuracy_before"]
    assert report["accuracy_before"] == agreement(small(), texts, triplets)


def test_the_halves_are_drawn_from_the_seed(texts, triplets):
    def halves(seed):
        spy, z = Spy(), small().encode(texts)
        cross_fit(spy, small(), texts, z, triplets, random_state=seed)
        return {frozenset(half[:, 0].tolist()) for half in spy.seen}

    assert halves(0) == halves(0) != halves(1)


def test_each_half_is_judged_by_the_embedder_that_did_not_see_it(texts, triplets):
    judged = []

    class Judge(Spy):
        def adapt(self, embedder, texts, triplets, *, random_state=None):
            self.anchors = {texts[a] for a in triplets[:, 0]}
            return copy.copy(self)

        def encode(self, used):
            judged.append((self.anchors, set(used)))
            return small().encode(used)

    z = small().encode(texts)
    cross_fit(Judge(), small(), texts, z, triplets, random_state=0)
    assert len(judged) == 2
    for trained_on, used in judged:
        held_out = [row for row in triplets if texts[row[0]] not in trained_on]
        assert used == {texts[i] for row in held_out for i in row}


def test_report_equals_the_slow_loop(texts, triplets):
    other = HashingEmbedder(32, n_features=512, random_state=1)

    class Exchange(Spy):
        def adapt(self, embedder, texts, triplets, *, random_state=None):
            super().adapt(embedder, texts, triplets)
            return other

    def margin(z, triplet):
        a, p, n = (z[i] / np.linalg.norm(z[i]) for i in triplet)
        return a @ p - a @ n

    adapter, z = Exchange(), small().encode(texts).astype(float)
    report = cross_fit(adapter, small(), texts, z, triplets, random_state=0)
    tuned, changes = other.encode(texts).astype(float), []
    for half in adapter.seen:
        before = np.array([margin(z, triplet) for triplet in half])
        after = np.array([margin(tuned, triplet) for triplet in half])
        scale = [np.sqrt(np.mean(m**2)) for m in (before, after)]
        changes += (after / scale[1] - before / scale[0]).tolist()
    t = np.mean(changes) / (np.std(changes, ddof=1) / np.sqrt(150))
    p_change = scipy.stats.t.sf(t, df=149)
    right = round(150 * agreement(other, texts, triplets))
    p_accuracy = scipy.stats.binom.sf(right - 1, 150, 0.5)
    assert report == pytest.approx(
        {
            "accuracy_before": agreement(small(), texts, triplets),
            "accuracy_after": agreement(other, texts, triplets),
            "p_value": p_change,
            "p_coin": min(1, 2 * min(p_change, p_accuracy)),
        }
    )


def test_answers_that_say_nothing_have_no_small_p_value(texts, triplets):
    """Under coin flips, p is about uniform."""
    z, p_values = small().encode(texts), []
    for seed in range(16):
        flips = np.random.default_rng(seed).random(150) < 0.5
        coin = np.where(flips[:, None], triplets, triplets[:, [0, 2, 1]])
        report = cross_fit(
            FineTuner(learning_rate=1e-3), small(), texts, z, coin, random_state=seed
        )
        p_values.append(report["p_value"])
        assert report["p_coin"] > 0.0025
    assert min(p_values) > 0.0025
    assert 0.25 < np.mean(p_values) < 0.75  # 3.5 standard errors of uniform values
    assert max(p_values) > 0.5


def test_exact_answers_have_a_tiny_p_value(texts, exact):
    tuner, z = FineTuner(learning_rate=0.01), small().encode(texts)
    report = cross_fit(tuner, small(), texts, z, exact, random_state=0)
    assert report["p_value"] < 1e-6
    assert report["p_coin"] < 1e-6
    assert report["accuracy_after"] > report["accuracy_before"] + 0.1
    assert set(report) == {
        "accuracy_before",
        "accuracy_after",
        "p_value",
        "p_coin",
    }


def test_answers_that_the_embedding_shares_are_seen_to_be_no_coin_flips(texts, exact):
    z = small().encode(texts)
    agreed = exact[(z[exact[:, 0]] * (z[exact[:, 1]] - z[exact[:, 2]])).sum(axis=1) > 0]
    report = cross_fit(FineTuner(), small(), texts, z, agreed[:100], random_state=0)
    assert report["accuracy_before"] == 1
    assert report["p_coin"] < 1e-9


def test_the_length_of_vectors_does_not_matter_to_the_test(texts, triplets):
    tuner, z = FineTuner(n_epochs=1), small().encode(texts)
    expected = cross_fit(tuner, small(), texts, z, triplets, random_state=0)
    scaled = z * np.random.default_rng(0).uniform(0.1, 10, size=(80, 1))
    again = cross_fit(tuner, small(), texts, scaled, triplets, random_state=0)
    assert again == pytest.approx(expected, rel=1e-3)
