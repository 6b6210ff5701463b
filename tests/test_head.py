"""The map that is learnt behind a frozen embedder."""

import copy
import logging
import pickle

import numpy as np
import pytest
from scipy.optimize import approx_fprime
from sklearn.base import clone

from skllm_cluster.adaptation import LinearMap, MappedEmbedder, MetricHead
from skllm_cluster.adaptation._head import _strongest_of_the_best
from skllm_cluster.adaptation._turning import (
    Coordinates,
    best_turn,
    leading_directions,
    margins_of,
    objective,
)
from skllm_cluster.embedders import HashingEmbedder
from skllm_cluster.guard import adapt_guarded, cross_fit


class BlackBox:
    """Nothing but ``encode``: no module, no parameters, no groups unless given."""

    def __init__(self, d=32):
        self.inner, self.seen = HashingEmbedder(d), []

    def encode(self, texts, groups=None):
        self.seen.append((list(texts), groups))
        return self.inner.encode(texts)

    def __deepcopy__(self, memo):
        raise AssertionError("a black box was copied")


def unit(z):
    return z / np.linalg.norm(z, axis=1, keepdims=True)


def cosine_margins(z, triplets):
    anchor, taken, left = unit(z)[triplets.T]
    return (anchor * (taken - left)).sum(axis=1)


def agreement(z, triplets):
    return np.mean(cosine_margins(z, triplets) > 0)


def planted(seed=0, n=200, d=12, q=600):
    """Vectors, and triplets answered by their first three columns alone."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, d))
    triplets = rng.permuted(np.tile(np.arange(n), (q, 1)), axis=1)[:, :3]
    wrong = cosine_margins(z[:, :3], triplets) < 0
    triplets[wrong] = triplets[wrong][:, [0, 2, 1]]
    return z, triplets


def coins(triplets, seed):
    swap = np.random.default_rng(seed).random(len(triplets)) < 0.5
    return np.where(swap[:, None], triplets[:, [0, 2, 1]], triplets)


def coordinates(rank, m=9, d=6, q=14):
    rng = np.random.default_rng(1)
    X = unit(rng.normal(size=(m, d)))
    triplets = rng.permuted(np.tile(np.arange(m), (q, 1)), axis=1)[:, :3]
    basis = leading_directions(X, rank, 0)
    return X, triplets, basis, Coordinates.of(X, triplets, basis)


@pytest.mark.parametrize("rank", [2, 6, 50])
def test_gradient_is_that_of_finite_differences(rank):
    _, triplets, basis, answers = coordinates(rank)
    rng = np.random.default_rng(0)
    weights = rng.uniform(0.2, 2, size=len(triplets))
    flat = 0.5 * rng.normal(size=basis.shape[1] ** 2)
    settings = answers, weights, 0.3, 0.1
    _, gradient = objective(flat, *settings)
    numeric = approx_fprime(flat, lambda m: objective(m, *settings)[0], 1e-7)
    np.testing.assert_allclose(gradient, numeric, atol=1e-6)
    assert np.abs(gradient).max() > 0.01


@pytest.mark.parametrize("rank", [2, 6, 50])
def test_objective_equals_the_slow_loop_in_all_dimensions(rank):
    X, triplets, basis, answers = coordinates(rank)
    rng = np.random.default_rng(0)
    weights = rng.uniform(0.2, 2, size=len(triplets))
    M = 0.5 * rng.normal(size=(basis.shape[1],) * 2)
    turned = X @ (np.eye(6) + basis @ M @ basis.T)
    np.testing.assert_allclose(
        margins_of(M, answers), cosine_margins(turned, triplets), atol=1e-12
    )
    expected = 0.1 * (M**2).sum()
    for (a, p, n), w in zip(triplets, weights, strict=True):
        z = unit(turned[[a, p, n]])
        margin = z[0] @ z[1] - z[0] @ z[2]
        expected += w / (1 + np.exp(margin / 0.3)) / len(triplets)
    value, _ = objective(M.ravel(), answers, weights, 0.3, 0.1)
    assert value == pytest.approx(expected)


def test_an_answer_and_its_opposite_push_nowhere():
    _, triplets, basis, answers = coordinates(6)
    both = np.concatenate([triplets, triplets[:, [0, 2, 1]]])
    X = answers.inside @ basis.T
    answers = Coordinates.of(X, both, basis)
    flat = np.random.default_rng(0).normal(size=36)
    value, gradient = objective(flat, answers, np.ones(len(both)), 0.1, 0.0)
    assert value == pytest.approx(0.5)
    np.testing.assert_allclose(gradient, 0, atol=1e-12)


def test_optimum_in_the_span_of_the_texts_is_the_optimum_of_all_dimensions():
    """The penalty makes the best map vanish where no text points."""
    rng = np.random.default_rng(0)
    X = unit(rng.normal(size=(5, 8)))
    triplets = rng.permuted(np.tile(np.arange(5), (12, 1)), axis=1)[:, :3]
    minima = []
    for basis in (leading_directions(X, 8, 0), np.eye(8)):
        answers = Coordinates.of(X, triplets, basis)
        start, weights = np.zeros((basis.shape[1],) * 2), np.ones(12)
        M = best_turn(start, answers, weights, 0.1, 1.0)
        minima.append((basis @ M @ basis.T, basis.shape[1]))
    (spanned, five), (full, eight) = minima
    assert (five, eight) == (5, 8)
    np.testing.assert_allclose(spanned, full, atol=1e-4)
    assert np.abs(full).max() > 0.01


def test_leading_directions_are_orthonormal_and_leave_out_what_is_not_there():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 3)) @ rng.normal(size=(3, 20))
    for rank, expected in ((2, 2), (10, 3), (30, 3)):
        basis = leading_directions(X, rank, 0)
        assert basis.shape == (20, expected)
        np.testing.assert_allclose(basis.T @ basis, np.eye(expected), atol=1e-8)


def test_a_planted_map_is_recovered():
    z, triplets = planted()
    learnt = MetricHead().fit_map(z, triplets, random_state=0)
    assert not learnt.is_identity
    _, fresh = planted(q=2000)
    fresh = fresh[600:]  # of the same texts, other questions
    after = learnt.transform(z)
    assert agreement(z, fresh) < 0.75
    assert agreement(after, fresh) > 0.85
    # The columns that decide have grown relative to the others.
    size = np.abs(unit(after)).mean(axis=0)
    assert size[:3].min() > 1.5 * size[3:].max()
    assert learnt.regularization in (0.03, 0.1, 0.3, 1.0)


def test_opposite_answers_are_learnt_as_well():
    z, triplets = planted()
    against = triplets[:, [0, 2, 1]]
    learnt = MetricHead(regularization=0.03).fit_map(z, against)
    assert agreement(learnt.transform(z), triplets) < agreement(z, triplets) - 0.2


def test_coin_flips_leave_the_vectors_as_they_are():
    identities = 0
    for seed in range(8):
        z, triplets = planted(seed, n=100, d=20, q=200)
        flipped = coins(triplets, seed)
        learnt = MetricHead().fit_map(z, flipped, random_state=seed)
        if learnt.is_identity:
            np.testing.assert_array_equal(learnt.transform(z), z)
            identities += 1
    assert identities >= 7


def test_stronger_regularisation_stays_closer_to_the_identity():
    z, triplets = planted()
    moved = [
        np.abs(MetricHead(regularization=s).fit_map(z, triplets).transform(z) - z).max()
        for s in (0.01, 0.1, 1, 1e4)
    ]
    assert moved == sorted(moved, reverse=True)
    assert moved[0] > 0.5
    assert moved[-1] < 1e-3


def test_order_of_the_triplets_does_not_matter():
    z, triplets = planted(d=40)
    weights = np.random.default_rng(0).uniform(0.5, 1, size=600)
    order = np.random.default_rng(1).permutation(600)
    for given, turned in ((None, None), (weights, weights[order])):
        one = MetricHead(rank=20).fit_map(z, triplets, given, random_state=0)
        other = MetricHead(rank=20).fit_map(z, triplets[order], turned, random_state=0)
        assert one.regularization == other.regularization
        np.testing.assert_allclose(
            one.transform(z), other.transform(z), rtol=1e-2, atol=1e-3
        )


def test_equal_seeds_learn_alike_and_others_hold_out_others():
    z, triplets = planted(d=40)

    def learn(seed):
        return MetricHead(rank=20).fit_map(z, triplets, random_state=seed)

    np.testing.assert_array_equal(learn(0).left, learn(0).left)
    np.testing.assert_array_equal(learn(np.random.RandomState(0)).left, learn(0).left)
    state = str(np.random.get_state())
    learn(1)
    assert str(np.random.get_state()) == state


def test_rows_of_equal_vectors_are_one_text():
    z, triplets = planted()
    moved = triplets + 200 * np.random.default_rng(0).integers(2, size=triplets.shape)
    one = MetricHead().fit_map(z, triplets, random_state=0)
    other = MetricHead().fit_map(np.tile(z, (2, 1)), moved, random_state=0)
    np.testing.assert_array_equal(one.transform(z), other.transform(z))


def test_triplets_that_count_nothing_are_as_if_not_there():
    z, triplets = planted()
    weights = np.random.default_rng(0).uniform(0.5, 1, size=600)
    weights[::3] = 0
    some = weights > 0
    expected = MetricHead().fit_map(z, triplets[some], weights[some], random_state=0)
    got = MetricHead().fit_map(z, triplets, weights, random_state=0)
    np.testing.assert_array_equal(got.left, expected.left)
    alike = MetricHead().fit_map(z, triplets[some], random_state=0)
    got = MetricHead().fit_map(z, triplets, 3 * some, random_state=0)
    np.testing.assert_array_equal(got.left, alike.left)


def test_answers_that_count_more_are_followed():
    """Half of the answers are wrong; the weights know, a little, which."""
    z, triplets = planted()
    answers = triplets.copy()
    answers[1::2] = answers[1::2][:, [0, 2, 1]]
    weights, head = np.tile([0.8, 0.2], 300), MetricHead(regularization=0.03)
    along = head.fit_map(z, answers, weights).transform(z)
    against = head.fit_map(z, answers, weights[::-1]).transform(z)
    assert agreement(along, triplets) > agreement(z, triplets) + 0.05
    assert agreement(against, triplets) < agreement(z, triplets) - 0.05


def test_more_dimensions_than_texts_can_be_learnt_from():
    z, triplets = planted(n=60, q=200)
    rng = np.random.default_rng(0)
    wide = z @ np.linalg.qr(rng.normal(size=(3072, 12)))[0].T  # (60, 3072)
    learnt = MetricHead(regularization=0.03).fit_map(wide, triplets)
    assert (learnt.left.shape, learnt.right.shape) == ((3072, 12), (12, 3072))
    # In other axes the vectors are the same, and so is what is learnt.
    narrow = MetricHead(regularization=0.03).fit_map(z, triplets).transform(z)
    mapped = learnt.transform(wide)
    np.testing.assert_allclose(mapped @ mapped.T, narrow @ narrow.T, atol=0.02)


def test_rank_limits_in_how_many_directions_the_map_acts():
    z, triplets = planted()
    learnt = MetricHead(rank=5, regularization=0.03).fit_map(z, triplets)
    assert learnt.left.shape == (12, 5)
    A = learnt.left @ learnt.right
    assert np.linalg.matrix_rank(A, tol=1e-4) == 5
    assert agreement(learnt.transform(z), triplets) > agreement(z, triplets)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_vectors_keep_their_length_and_precision(dtype):
    z, triplets = planted()
    z = z.astype(dtype)
    z[0] = 0  # a text without a word
    learnt = MetricHead(regularization=0.03).fit_map(z, triplets)
    after = learnt.transform(z)
    assert after.dtype == dtype
    np.testing.assert_allclose(
        np.linalg.norm(after, axis=1), np.linalg.norm(z, axis=1), rtol=1e-5
    )
    assert not after[0].any()
    # Only directions matter for what is learnt.
    same = MetricHead(regularization=0.03).fit_map(7 * z, triplets)
    np.testing.assert_allclose(same.transform(z), after, atol=0.02)


def test_vectors_that_are_all_zero_teach_nothing():
    learnt = MetricHead(regularization=0.01).fit_map(np.zeros((5, 3)), [[0, 1, 2]])
    assert learnt.is_identity
    assert learnt.regularization == float("inf")


def test_the_map_refuses_vectors_of_another_length():
    with pytest.raises(ValueError, match=r"for vectors of 4 dimensions, got 3\. Use"):
        LinearMap.identity(4).transform(np.ones((2, 3)))


def test_one_regularization_is_taken_as_it_is_and_several_are_chosen_from():
    z, triplets = planted()
    flipped = coins(triplets, 3)
    assert MetricHead(regularization=0.03).fit_map(z, flipped).regularization == 0.03
    several = MetricHead(regularization=[0.03]).fit_map(z, flipped, random_state=0)
    assert several.is_identity
    found = MetricHead(regularization=(10, 0.02)).fit_map(z, triplets, random_state=0)
    assert found.regularization == 0.02


def test_ties_go_to_the_stronger_regularisation():
    rng = np.random.default_rng(0)
    noise, gain = rng.normal(size=400), rng.normal(0.5, 1, size=400)
    flat = np.stack([gain, gain + 0.01 * noise])
    assert _strongest_of_the_best(flat) == 1
    assert _strongest_of_the_best(np.stack([gain, gain + 0.5])) == 2
    assert _strongest_of_the_best(np.stack([gain, gain - 0.2])) == 1
    # What is no gain by itself is not taken because it is close to one that is.
    assert _strongest_of_the_best(np.stack([noise, noise + 0.5])) == 2
    assert _strongest_of_the_best(np.stack([noise - noise.mean()] * 2)) == 0
    assert _strongest_of_the_best(np.zeros((3, 5))) == 0


def test_answers_about_one_anchor_cannot_be_held_out():
    z, triplets = planted()
    about = triplets.copy()
    about[:, 0] = 0
    about = about[(about[:, 1:] != 0).all(axis=1)]
    with pytest.warns(UserWarning, match="All answers are about one anchor"):
        learnt = MetricHead().fit_map(z, about)
    assert learnt.is_identity
    assert not MetricHead(regularization=0.03).fit_map(z, about).is_identity


def test_two_answers_are_too_few_to_leave_the_identity():
    z, triplets = planted()
    assert MetricHead().fit_map(z, triplets[:2], random_state=0).is_identity


def test_what_was_chosen_is_in_the_log(caplog, capsys):
    z, triplets = planted()
    with caplog.at_level(logging.INFO, logger="skllm_cluster"):
        MetricHead(regularization=0.03).fit_map(z, triplets)
    assert "regularization 0.03, norm of M" in caplog.text
    assert capsys.readouterr() == ("", "")


def test_a_black_box_is_adapted_and_only_what_was_asked_about_is_embedded(
    texts, triplets
):
    box = BlackBox()
    tuned = MetricHead(regularization=0.01).adapt(box, texts, triplets)
    assert box.seen == [([texts[i] for i in np.unique(triplets)], None)]
    assert isinstance(tuned, MappedEmbedder)
    assert tuned.embedder is box
    before, after = box.encode(texts), tuned.encode(texts)
    assert after.dtype == np.float32
    assert agreement(after, triplets) > agreement(before, triplets) + 0.1
    assert not hasattr(tuned, "module")
    assert MetricHead.needs_module is False


def test_embeddings_at_hand_are_not_made_again(texts, triplets):
    box = BlackBox()
    z = box.inner.encode(texts)
    head = MetricHead(regularization=0.03)
    tuned = head.adapt(box, texts, triplets, embeddings=z)
    assert box.seen == []
    again = head.adapt(box, texts, triplets)
    np.testing.assert_array_equal(tuned.linear_map.left, again.linear_map.left)
    alone = head.fit_map(z, triplets)
    np.testing.assert_array_equal(tuned.linear_map.left, alone.left)


def test_texts_have_one_vector_whatever_their_batch(texts, triplets):
    tuned = MetricHead(regularization=0.01).adapt(BlackBox(), texts, triplets)
    whole = tuned.encode([*texts, *texts[:7]])
    np.testing.assert_array_equal(whole[80:], whole[:7])
    alone = np.concatenate([tuned.encode([text]) for text in texts])
    np.testing.assert_allclose(alone, whole[:80], atol=1e-6)
    expected = tuned.linear_map.transform(tuned.embedder.inner.encode(texts))
    np.testing.assert_allclose(expected, whole[:80], atol=1e-6)


def test_groups_reach_the_embedder(texts):
    box = BlackBox()
    mapped = MappedEmbedder(box, LinearMap.identity(32))
    z = mapped.encode(["a", "a"], groups=[0, 1])
    assert box.seen == [(["a", "a"], [0, 1])]
    assert z.dtype == np.float32
    with pytest.raises(TypeError, match="texts must be a sequence of str"):
        mapped.encode("a")


def test_clone_shares_the_embedder_and_a_pickle_is_whole(texts, triplets):
    tuned = MetricHead(regularization=0.01).adapt(BlackBox(), texts, triplets)
    twin = clone(tuned)
    assert twin is not tuned
    assert twin.embedder is tuned.embedder
    assert twin.linear_map is tuned.linear_map
    # As a parameter of something else it is cloned no deeper.
    assert clone(MappedEmbedder(tuned, LinearMap.identity(32))).embedder is tuned
    restored = pickle.loads(pickle.dumps(tuned))
    np.testing.assert_array_equal(restored.encode(texts), tuned.encode(texts))
    head = MetricHead(regularization=(3.0, 1.0), rank=7)
    assert clone(head).get_params() == head.get_params()


def test_a_second_round_goes_on_from_the_first(texts, triplets):
    head = MetricHead(regularization=0.1)
    first = head.adapt(HashingEmbedder(32), texts, triplets)
    before = copy.deepcopy(first).encode(texts)
    second = head.adapt(first, texts, triplets)
    np.testing.assert_array_equal(first.encode(texts), before)
    gained = [
        cosine_margins(e.encode(texts), triplets).mean()
        for e in (HashingEmbedder(32), first, second)
    ]
    assert gained == sorted(gained)


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("temperature", 0.0, ValueError),
        ("temperature", "warm", TypeError),
        ("rank", 0, ValueError),
        ("rank", 2.5, TypeError),
        ("n_folds", 1, ValueError),
        ("regularization", 0.0, ValueError),
        ("regularization", -1, ValueError),
        ("regularization", float("nan"), ValueError),
        ("regularization", (1.0, float("inf")), ValueError),
        ("regularization", (), ValueError),
        ("regularization", "strong", ValueError),
        ("regularization", ["1", "2"], ValueError),
        ("regularization", [[1.0]], ValueError),
        ("regularization", True, ValueError),
    ],
)
def test_wrong_parameters_are_refused_by_name(name, value, error):
    head = MetricHead(**{name: value})
    message = f"The '{name}' parameter of MetricHead must be"
    for refuse in (
        lambda: head.check(HashingEmbedder()),
        lambda: head.fit_map(np.eye(3), [[0, 1, 2]]),
    ):
        with pytest.raises(error, match=message):
            refuse()


def test_what_cannot_be_learnt_from_is_refused(texts):
    with pytest.raises(TypeError, match="must have a method 'encode', got object"):
        MetricHead().adapt(object(), texts, [[0, 1, 2]])
    for refuse in (
        lambda: MetricHead().adapt(BlackBox(), texts, []),
        lambda: MetricHead().fit_map(np.eye(3), np.empty((0, 3), dtype=int)),
    ):
        with pytest.raises(ValueError, match="at least one answered triplet, got none"):
            refuse()
    with pytest.raises(ValueError, match=r"one per triplet, 1, got shape \(2,\)"):
        MetricHead().fit_map(np.eye(3), [[0, 1, 2]], [1, 2])


def test_guard_keeps_what_answers_back_without_embedding_again(texts, exact):
    box = BlackBox(128)
    z = box.inner.encode(texts)
    tuned, report = adapt_guarded(
        MetricHead(), box, texts, z, exact, level=0.0025, random_state=0
    )
    assert report["kept"]
    assert report["accuracy_after"] > report["accuracy_before"]
    assert box.seen == []
    assert isinstance(tuned, MappedEmbedder)
    alone, same = adapt_guarded(
        MetricHead(), None, texts, z, exact, level=0.0025, random_state=0
    )
    assert same == report
    assert isinstance(alone, LinearMap)
    np.testing.assert_array_equal(alone.left, tuned.linear_map.left)


def test_guard_refuses_a_map_that_coins_made():
    for seed in range(5):
        z, triplets = planted(seed, q=200)
        tuned, report = adapt_guarded(
            MetricHead(regularization=0.03), None, [], z, coins(triplets, seed),
            level=0.0025, random_state=seed,
        )  # fmt: skip
        assert tuned is None
        assert report["p_coin"] > 0.0025


def test_guard_weighs_the_answers_for_the_map(texts, exact):
    z = HashingEmbedder(32).encode(texts)
    weights = np.random.default_rng(0).uniform(size=len(exact))
    seen = []

    class Spy(MetricHead):
        def fit_map(self, embeddings, triplets, weights=None, *, random_state=None):
            seen.append((len(triplets), None if weights is None else len(weights)))
            return super().fit_map(embeddings, triplets, weights)

    cross_fit(Spy(regularization=0.03), None, texts, z, exact, weights=weights)
    assert [n for n, _ in seen] == [m for _, m in seen]
    assert sum(n for n, _ in seen) == len(exact)
