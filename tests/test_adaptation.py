"""Training on answers, and the test of whether it pays."""

import copy
import logging
import math

import numpy as np
import pytest
from sklearn.base import clone

from skllm_cluster import adaptation
from skllm_cluster.adaptation import FineTuner, _fine_tuner
from skllm_cluster.embedders import HashingEmbedder
from skllm_cluster.guard import cross_fit

torch = pytest.importorskip("torch")


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

    monkeypatch.setattr(_fine_tuner, "train", spy)
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


def encoded(texts, triplets, weights=None, **settings):
    """Vectors of the texts by an embedder tuned on weighted triplets."""
    tuner = FineTuner(learning_rate=0.003, **settings)
    tuned = tuner.adapt(small(), texts, triplets, weights=weights, random_state=0)
    return tuned.encode(texts)


@pytest.mark.parametrize("weight", [1, 0.1, 1 / 3, 1e6])
def test_equal_weights_train_exactly_as_none_do(weight, texts, triplets):
    expected = encoded(texts, triplets)
    np.testing.assert_array_equal(encoded(texts, triplets, [weight] * 150), expected)


def test_triplets_that_count_nothing_train_exactly_as_if_not_there(texts, triplets):
    weights = np.random.default_rng(0).uniform(0.5, 1, size=150)
    weights[::3] = 0
    expected = encoded(texts, triplets[weights > 0], weights[weights > 0])
    np.testing.assert_array_equal(encoded(texts, triplets, weights), expected)
    # And if the others count the same, as without weights.
    expected = encoded(texts, triplets[weights > 0])
    got = encoded(texts, triplets, (weights > 0).astype(int))
    np.testing.assert_array_equal(got, expected)


def test_only_the_ratios_of_weights_matter(texts, triplets):
    weights = np.random.default_rng(0).uniform(size=150)
    expected = encoded(texts, triplets, weights)
    np.testing.assert_array_equal(encoded(texts, triplets, 4 * weights), expected)
    np.testing.assert_allclose(
        encoded(texts, triplets, weights.tolist()), expected, atol=1e-6
    )
    assert (encoded(texts, triplets, weights[::-1]) != expected).any()


def test_every_triplet_meets_its_own_weight_and_their_mean_is_1(
    texts, triplets, monkeypatch
):
    batches, seen = [], []
    epochs, loss = _fine_tuner._epochs, _fine_tuner.contrastive_loss

    def spy_epochs(*args):
        for batch in epochs(*args):
            batches.append(batch)
            yield batch

    def spy_loss(*z, temperature, weights):
        seen.append(weights)
        assert (weights.dtype, weights.device) == (z[0].dtype, z[0].device)
        return loss(*z, temperature=temperature, weights=weights)

    monkeypatch.setattr(_fine_tuner, "_epochs", spy_epochs)
    monkeypatch.setattr(_fine_tuner, "contrastive_loss", spy_loss)
    weights = np.random.default_rng(0).uniform(size=150)
    encoded(texts, triplets, weights, n_epochs=1)
    met = torch.cat(seen).numpy()
    np.testing.assert_allclose(met, (weights / weights.mean())[np.concatenate(batches)])
    assert met.mean() == pytest.approx(1)


def test_answers_that_count_more_are_followed(texts, exact):
    """Half of the answers are wrong; the weights know, a little, which."""
    answers = exact[:300].copy()
    answers[1::2] = answers[1::2][:, [0, 2, 1]]
    weights = np.tile([0.8, 0.2], 150)

    def gain(weights):
        tuner = FineTuner(learning_rate=0.003)
        tuned = tuner.adapt(small(), texts, answers, weights=weights, random_state=0)
        return agreement(tuned, texts, exact) - agreement(small(), texts, exact)

    assert gain(weights) > gain(None) + 0.05
    assert gain(weights[::-1]) < gain(None) - 0.05


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1.0] * 149, r"one per triplet, 150, got shape \(149,\)"),
        (1.0, r"one per triplet, 150, got shape \(\)"),
        (np.ones((150, 1)), r"got shape \(150, 1\)"),
        ([1.0] * 149 + [-0.5], r"none negative and not all 0, got .* -0\.5 to 1\.0"),
        ([1.0] * 149 + [np.nan], "must be finite.*got values from nan"),
        ([1.0] * 149 + [np.inf], "must be finite.*to inf"),
        ([0.0] * 150, r"not all 0, got values from 0\.0 to 0\.0"),
    ],
)
def test_wrong_weights_are_refused(weights, message, texts, triplets):
    with pytest.raises(ValueError, match=message):
        FineTuner().adapt(small(), texts, triplets, weights=weights)
