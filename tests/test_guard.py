"""The test of whether answers pay, and what is done about it."""

import copy

import numpy as np
import pytest
import scipy.stats
from sklearn.base import BaseEstimator

from skllm_cluster.adaptation import FineTuner
from skllm_cluster.embedders import HashingEmbedder
from skllm_cluster.guard import (
    MIN_ANSWERS,
    adapt_guarded,
    cross_fit,
    held_out_accuracy,
)

torch = pytest.importorskip("torch")


def small():
    return HashingEmbedder(32, n_features=512)


def agreement(embedder, texts, triplets):
    """Share of the answers that cosine similarity agrees with."""
    anchor, taken, left = embedder.encode(texts)[triplets.T]
    return np.mean((anchor * (taken - left)).sum(axis=1) > 0)


class Spy(BaseEstimator):
    """An adapter that learns nothing, remembers what it was given, knows no weights."""

    def __init__(self):
        self.seen = []

    def adapt(self, embedder, texts, triplets, *, random_state=None):
        self.seen.append(triplets)
        return embedder


class WeightedSpy(Spy):
    def __init__(self):
        super().__init__()
        self.weights = []

    def adapt(self, embedder, texts, triplets, *, weights, random_state=None):
        self.weights.append(weights)
        return super().adapt(embedder, texts, triplets)


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


@pytest.mark.parametrize("weighted", [False, True])
def test_report_equals_the_slow_loop(weighted, texts, triplets):
    other = HashingEmbedder(32, n_features=512, random_state=1)
    rng = np.random.default_rng(0)
    weights = rng.uniform(0.1, 3, size=150) if weighted else np.ones(150)

    class Exchange(WeightedSpy):
        def adapt(self, embedder, texts, triplets, *, weights=None, random_state=None):
            given = np.ones(len(triplets)) if weights is None else weights
            super().adapt(embedder, texts, triplets, weights=given)
            return other

    def margin(z, triplet):
        a, p, n = (z[i] / np.linalg.norm(z[i]) for i in triplet)
        return a @ p - a @ n

    adapter, z = Exchange(), small().encode(texts).astype(float)
    report = cross_fit(
        adapter, small(), texts, z, triplets, weights=weights, random_state=0
    )
    tuned, changes, hits = other.encode(texts).astype(float), [], []
    for half, w in zip(adapter.seen, adapter.weights, strict=True):
        before = np.array([margin(z, triplet) for triplet in half])
        after = np.array([margin(tuned, triplet) for triplet in half])
        scale = [np.sqrt(np.mean(m**2)) for m in (before, after)]
        changes += (w * (after / scale[1] - before / scale[0])).tolist()
        hits += list(zip(w, before > 0, after > 0, strict=True))
    t = np.mean(changes) / (np.std(changes, ddof=1) / np.sqrt(150))
    p_change = scipy.stats.t.sf(t, df=149)
    if weighted:
        score = sum(w if right else -w for w, _, right in hits)
        score /= np.sqrt(sum(w * w for w, _, _ in hits))
        p_accuracy = scipy.stats.norm.sf(score)
    else:
        right = sum(hit for _, _, hit in hits)
        p_accuracy = scipy.stats.binom.sf(right - 1, 150, 0.5)
    total = sum(w for w, _, _ in hits)
    assert report == pytest.approx(
        {
            "accuracy_before": sum(w * hit for w, hit, _ in hits) / total,
            "accuracy_after": sum(w * hit for w, _, hit in hits) / total,
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


def guarded(texts, triplets, adapter=None, *, level=0.0025, weights=None):
    """What adapt_guarded makes of answers, and its report."""
    return adapt_guarded(
        adapter or FineTuner(learning_rate=0.003),
        small(),
        texts,
        small().encode(texts),
        triplets,
        level=level,
        weights=weights,
        random_state=0,
    )


def test_exact_answers_are_learnt_from_and_coin_flips_are_not(texts, exact):
    tuned, report = guarded(texts, exact)
    assert report["kept"]
    assert report["answers"] == 400
    assert agreement(tuned, texts, exact) > agreement(small(), texts, exact)
    flips = np.random.default_rng(0).random(400) < 0.5
    coin = np.where(flips[:, None], exact, exact[:, [0, 2, 1]])
    tuned, report = guarded(texts, coin)
    assert tuned is None
    assert not report["kept"]
    tuned, report = guarded(texts, coin, level=None)
    assert tuned is not None
    assert report == {"answers": 400, "kept": True}


def test_an_adapter_is_told_of_weights_only_where_there_are_any(texts, triplets):
    spy = Spy()
    guarded(texts, triplets, spy)
    guarded(texts, triplets, spy, level=None)
    assert [len(seen) for seen in spy.seen[2:]] == [150]
    with pytest.warns(UserWarning, match="Spy.adapt takes no weights="):
        guarded(texts, triplets, spy, weights=np.arange(1, 151), level=None)
    np.testing.assert_array_equal(spy.seen[-1], triplets)  # nothing paid for is lost


def test_each_answer_keeps_its_weight_in_its_half_and_at_the_end(texts, triplets):
    weights = np.random.default_rng(0).uniform(0.1, 2, size=150)
    rows = np.unique(triplets, axis=0, return_index=True)[1]
    triplets, weights = triplets[rows], weights[rows]  # no answer twice
    of = {tuple(row): w for row, w in zip(triplets.tolist(), weights, strict=True)}
    spy = WeightedSpy()
    guarded(texts, triplets, spy, weights=weights)
    guarded(texts, triplets, spy, weights=weights, level=None)
    assert len(spy.seen) == 3
    for seen, given in zip(spy.seen, spy.weights, strict=True):
        assert [of[tuple(row)] for row in seen.tolist()] == given.tolist()


@pytest.mark.parametrize("level", [0.0025, None])
def test_answers_that_count_nothing_are_as_if_not_given(level, texts, exact):
    weights = np.random.default_rng(0).uniform(0.5, 1, size=400)
    weights[::4] = 0
    some = weights > 0
    # Those that count nothing are wrong: they would show.
    answers = np.where(some[:, None], exact, exact[:, [0, 2, 1]])
    tuned, report = guarded(texts, answers, level=level, weights=weights)
    expected, other = guarded(texts, exact[some], level=level, weights=weights[some])
    assert report == other
    assert report["answers"] == 300
    np.testing.assert_array_equal(tuned.encode(texts), expected.encode(texts))


def test_answers_are_counted_that_count(texts, triplets):
    weights = np.zeros(150)
    with pytest.warns(UserWarning, match=r"^0 usable answers about 0 anchors are too"):
        tuned, report = guarded(texts, triplets, weights=weights)
    assert tuned is None
    assert report == {"answers": 0, "kept": False}
    weights[: MIN_ANSWERS - 1] = 1
    with pytest.warns(UserWarning, match="^19 usable answers"):
        assert guarded(texts, triplets, weights=weights)[0] is None
    weights[MIN_ANSWERS] = 1
    assert "p_value" in guarded(texts, triplets, weights=weights)[1]


@pytest.mark.parametrize("weight", [1, 0.1, 1e9])
def test_equal_weights_give_exactly_the_result_without_weights(weight, texts, exact):
    tuned, report = guarded(texts, exact, weights=np.full(400, weight))
    expected, unweighted = guarded(texts, exact)
    assert report == unweighted
    np.testing.assert_array_equal(tuned.encode(texts), expected.encode(texts))


def test_answers_kept_or_left_out_need_no_adapter_that_knows_weights(texts, triplets):
    spy = Spy()
    guarded(texts, triplets, spy, weights=np.arange(150) % 2)
    assert sum(map(len, spy.seen[:2])) == 75


@pytest.mark.parametrize("wrong", [-1.0, np.nan])
@pytest.mark.parametrize("where", [[3, 77, 140], slice(None)])
def test_wrong_weights_are_refused_and_not_left_out(wrong, where, texts, triplets):
    weights = np.ones(150)
    weights[where] = wrong
    with pytest.raises(ValueError, match="weights must be finite, none negative"):
        guarded(texts, triplets, weights=weights)


def test_answers_that_count_more_count_more_in_the_test(texts, exact):
    """Half are right and count; the rest are coin flips that count little."""
    flips = np.random.default_rng(0).random(400) < 0.5
    flips[::2] = True
    answers = np.where(flips[:, None], exact, exact[:, [0, 2, 1]])
    weights = np.where(np.arange(400) % 2, 0.05, 1.0)
    tuner, z = FineTuner(learning_rate=0.01), small().encode(texts)
    weighted, unweighted = (
        cross_fit(tuner, small(), texts, z, answers, weights=w, random_state=0)
        for w in (weights, None)
    )
    for name in ("p_value", "p_coin"):
        assert weighted[name] < 0.1 * unweighted[name]


def test_only_the_ratios_of_weights_matter(texts, triplets):
    weights = np.random.default_rng(0).uniform(0.1, 2, size=150)
    report = guarded(texts, triplets, weights=weights)[1]
    assert guarded(texts, triplets, weights=8 * weights)[1] == pytest.approx(report)
    assert guarded(texts, triplets, weights=weights[::-1])[1] != report


def test_weights_of_coin_flips_give_no_small_p_value(texts, triplets):
    """Even if they follow the margins, as those of a model well may."""
    z, p_values = small().encode(texts), []
    anchor, taken, left = z[triplets.T]
    margins = np.abs((anchor * (taken - left)).sum(axis=1))
    for seed in range(16):
        flips = np.random.default_rng(seed).random(150) < 0.5
        coin = np.where(flips[:, None], triplets, triplets[:, [0, 2, 1]])
        report = cross_fit(
            FineTuner(learning_rate=1e-3), small(), texts, z, coin,
            weights=margins**2 if seed % 2 else 1 / (0.01 + margins),
            random_state=seed,
        )  # fmt: skip
        p_values.append(report["p_value"])
        assert report["p_coin"] > 0.0025
    assert min(p_values) > 0.0025
    assert 0.25 < np.mean(p_values) < 0.75  # 3.5 standard errors of uniform values
    assert max(p_values) > 0.5


def test_score_without_labels_is_that_of_the_last_round_that_was_tested():
    first = {"kept": True, "accuracy_before": 0.6, "accuracy_after": 0.7}
    second = {"kept": False, "accuracy_before": 0.65, "accuracy_after": 0.5}
    assert held_out_accuracy({"rounds": [first]}) == 0.7
    assert held_out_accuracy({"rounds": [first, second]}) == 0.65
    assert held_out_accuracy({"rounds": [first, {"kept": False}]}) == 0.7
    with pytest.raises(ValueError, match="no answer was held out"):
        held_out_accuracy({"rounds": [{"kept": True}]})
