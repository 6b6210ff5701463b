"""Training on answers, and the test of whether it pays."""

import copy
import logging
import math

import numpy as np
import pytest
from sklearn.base import BaseEstimator, clone

from skllm_cluster import adaptation
from skllm_cluster.adaptation import FineTuner
from skllm_cluster.embedders import HashingEmbedder
from skllm_cluster.guard import cross_fit

torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def texts(support):
    return support[0][:80]


@pytest.fixture(scope="module")
def exact(support):
    """400 exact answers: the choice taken shares the anchor's topic, the other not."""
    topics, rng, found = support[1][:80], np.random.default_rng(0), []
    while len(found) < 400:
        a, p, n = rng.choice(80, size=3, replace=False)
        if topics[a] == topics[p] != topics[n]:
            found.append((a, p, n))
    return np.array(found)


@pytest.fixture(scope="module")
def triplets(exact):
    return exact[:150]


def small():
    return HashingEmbedder(32, n_features=512)


def agreement(embedder, texts, triplets):
    """Share of the answers that cosine similarity agrees with."""
    anchor, taken, left = embedder.encode(texts)[triplets.T]
    return np.mean((anchor * (taken - left)).sum(axis=1) > 0)


def test_the_embedder_that_is_given_does_not_change(texts, triplets):
    embedder = small()
    before = embedder.encode(texts)
    weight = embedder.module.weight.detach().clone()
    tuned = FineTuner(learning_rate=0.01).adapt(embedder, texts, triplets)
    assert np.abs(tuned.encode(texts) - before).max() > 0.01
    np.testing.assert_array_equal(embedder.encode(texts), before)
    assert torch.equal(embedder.module.weight, weight)
    assert type(tuned) is HashingEmbedder
    assert tuned.get_params() == embedder.get_params()


def test_equal_seeds_train_alike_and_others_otherwise(texts, triplets):
    def tune(random_state):
        tuned = FineTuner().adapt(small(), texts, triplets, random_state=random_state)
        return tuned.encode(texts)

    np.testing.assert_array_equal(tune(0), tune(0))
    np.testing.assert_array_equal(tune(np.random.RandomState(0)), tune(0))
    assert (tune(0) != tune(1)).any()


def test_tuned_embedder_agrees_better_with_the_answers(texts, triplets):
    tuner = FineTuner(learning_rate=0.003)
    tuned = tuner.adapt(small(), texts, triplets, random_state=0)
    before = agreement(small(), texts, triplets)
    assert agreement(tuned, texts, triplets) > before + 0.1
    # And worse with their opposite: it is the answers that it learnt.
    turned = triplets[:, [0, 2, 1]]
    against = tuner.adapt(small(), texts, turned, random_state=0)
    assert agreement(against, texts, triplets) < before - 0.1


def test_global_random_generators_are_left_alone(texts, triplets):
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()
    FineTuner(n_epochs=1).adapt(small(), texts, triplets, random_state=0)
    cross_fit(
        FineTuner(n_epochs=1), small(), texts, small().encode(texts), triplets,
        random_state=0,
    )  # fmt: skip
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert str(np.random.get_state()) == str(numpy_state)


def test_equal_texts_in_different_rows_are_one_text(texts, triplets):
    doubled = [*texts, *texts]
    moved = triplets + 80 * np.random.default_rng(0).integers(2, size=triplets.shape)
    expected = FineTuner().adapt(small(), texts, triplets, random_state=0)
    tuned = FineTuner().adapt(small(), doubled, moved, random_state=0)
    np.testing.assert_allclose(tuned.encode(texts), expected.encode(texts), atol=1e-5)


@pytest.mark.parametrize(
    ("batch_size", "n_epochs"), [(16, 2), (64, 1), (149, 3), (1000, 2), (1, 1)]
)
def test_number_of_steps_is_epochs_times_batches(
    batch_size, n_epochs, texts, triplets, monkeypatch
):
    seen = []

    def spy(module, loss_of, batches, *, n_steps, **settings):
        seen.extend(batches)
        assert n_steps == len(seen)

    monkeypatch.setattr(adaptation, "train", spy)
    tuner = FineTuner(batch_size=batch_size, n_epochs=n_epochs)
    tuner.adapt(small(), texts, triplets, random_state=0)
    per_epoch = math.ceil(150 / batch_size)
    assert len(seen) == n_epochs * per_epoch
    epochs = [
        np.concatenate(seen[i * per_epoch : (i + 1) * per_epoch])
        for i in range(n_epochs)
    ]
    for order in epochs:
        assert sorted(order) == list(range(150))
    assert len({tuple(order) for order in epochs}) == n_epochs


def test_learning_rate_falls_linearly_to_0(monkeypatch):
    rates = []
    step = torch.optim.AdamW.step

    def spy(self, *args, **kwargs):
        rates.append(self.param_groups[0]["lr"])
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", spy)
    module = torch.nn.Linear(2, 1)
    history = adaptation.train(
        module,
        lambda x: module(x).square().mean(),
        iter(torch.eye(2).repeat(4, 1, 1)),
        n_steps=4,
        learning_rate=0.1,
    )
    assert rates == pytest.approx([0.1, 0.075, 0.05, 0.025])
    assert history[-1] < history[0]
    assert not module.training


def test_training_is_reported_in_the_log(texts, triplets, caplog, capsys):
    with caplog.at_level(logging.INFO, logger="skllm_cluster"):
        FineTuner().adapt(small(), texts, triplets, random_state=0)
    assert "trained 20 steps, loss" in caplog.text
    assert capsys.readouterr() == ("", "")


def test_paper_has_the_settings_of_the_paper():
    assert FineTuner.paper().get_params() == {
        "learning_rate": 2e-6,
        "batch_size": 4,
        "n_epochs": 15,
        "temperature": 0.01,
        "frozen": 0.0,
        "dropout": True,
    }
    changed = FineTuner.paper(n_epochs=5, dropout=False)
    assert (changed.n_epochs, changed.dropout) == (5, False)
    assert clone(changed).get_params() == changed.get_params()
    with pytest.raises(TypeError, match="n_epoch"):
        FineTuner.paper(n_epoch=5)


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("learning_rate", 0.0, ValueError),
        ("learning_rate", float("nan"), ValueError),
        ("learning_rate", "fast", TypeError),
        ("batch_size", 0, ValueError),
        ("batch_size", 4.0, TypeError),
        ("n_epochs", 0, ValueError),
        ("n_epochs", True, TypeError),
        ("temperature", -1.0, ValueError),
        ("temperature", float("inf"), ValueError),
        ("frozen", 1.0, ValueError),
        ("frozen", -0.1, ValueError),
        ("frozen", None, TypeError),
    ],
)
def test_wrong_parameters_are_refused_by_name_and_value(name, value, error, texts):
    tuner = FineTuner(**{name: value})
    with pytest.raises(
        error, match=f"The '{name}' parameter of FineTuner must be .*Got {value!r}"
    ):
        tuner.adapt(small(), texts, [[0, 1, 2]])


def test_an_embedder_that_cannot_be_trained_is_refused(texts):
    class BlackBox:
        def encode(self, texts, groups=None):
            return np.zeros((len(texts), 2), np.float32)

    with pytest.raises(TypeError, match="cannot train BlackBox: it has no 'forward_f"):
        FineTuner().adapt(BlackBox(), texts, [[0, 1, 2]])


def test_no_triplet_is_refused(texts):
    with pytest.raises(ValueError, match="triplet"):
        FineTuner().adapt(small(), texts, np.empty((0, 3), dtype=int))


def test_a_loss_that_is_not_finite_stops_the_training(texts, triplets):
    class Broken(HashingEmbedder):
        calls = 0

        def forward_from(self, texts, frozen=0.0):
            forward = super().forward_from(texts, frozen)

            def broken(rows):
                Broken.calls += 1
                return forward(rows) * (np.nan if Broken.calls == 3 else 1)

            return broken

    embedder = Broken(32, n_features=512)
    with pytest.raises(
        FloatingPointError, match=r"became nan at step 3 of 20\. Lower learning_rate"
    ):
        FineTuner().adapt(embedder, texts, triplets, random_state=0)
    assert Broken.calls == 3


def test_frozen_layers_do_not_change_and_the_others_do(minilm, texts, triplets):
    tuner = FineTuner(n_epochs=1, batch_size=8, learning_rate=1e-3)
    tuned = tuner.adapt(minilm, texts, triplets[:16], random_state=0)
    before = dict(minilm.module.named_parameters())
    changed = {
        name
        for name, weight in tuned.module.named_parameters()
        if not torch.equal(weight, before[name])
    }
    assert {name.split("layer.")[1][0] for name in changed if "layer." in name} == {
        "4",
        "5",
    }
    assert not any("embeddings" in name for name in changed)
    # All can be trained again: by another round, which may freeze others.
    assert all(p.requires_grad for p in tuned.module.parameters())
    assert all(p.requires_grad for p in before.values())
    assert not tuned.module.training


def test_at_least_one_layer_is_trained_however_much_is_frozen(minilm, texts):
    own = copy.deepcopy(minilm)
    z = own.forward_from(texts[:3], frozen=0.99)(np.arange(3))
    assert z.requires_grad


def test_without_dropout_the_training_depends_on_the_order_alone(minilm, texts):
    def tune(seed, **settings):
        # One batch: every order of it is the same batch.
        tuner = FineTuner(n_epochs=1, batch_size=4, **settings)
        tuned = tuner.adapt(minilm, texts, [[0, 1, 2]], random_state=seed)
        return tuned.encode(texts[:3])

    np.testing.assert_array_equal(tune(0, dropout=False), tune(1, dropout=False))
    assert (tune(0) != tune(1)).any()


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
    assert min(p_values) > 0.0025
    assert 0.25 < np.mean(p_values) < 0.75  # 3.5 standard errors of uniform values
    assert max(p_values) > 0.5


def test_exact_answers_have_a_tiny_p_value(texts, exact):
    tuner, z = FineTuner(learning_rate=0.01), small().encode(texts)
    report = cross_fit(tuner, small(), texts, z, exact, random_state=0)
    assert report["p_value"] < 1e-6
    assert report["accuracy_after"] > report["accuracy_before"] + 0.1
    assert set(report) == {"accuracy_before", "accuracy_after", "p_value"}


def test_the_length_of_vectors_does_not_matter_to_the_test(texts, triplets):
    tuner, z = FineTuner(n_epochs=1), small().encode(texts)
    expected = cross_fit(tuner, small(), texts, z, triplets, random_state=0)
    scaled = z * np.random.default_rng(0).uniform(0.1, 10, size=(80, 1))
    again = cross_fit(tuner, small(), texts, scaled, triplets, random_state=0)
    assert again == pytest.approx(expected, rel=1e-3)
