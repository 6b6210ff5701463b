"""The contrastive loss, against the released code's values and a slow loop."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from skllm_cluster.losses import answer_weights, contrastive_loss  # noqa: E402


def batch(n, d, seed=0):
    """Anchors, positives and negatives; three float64 tensors of shape (n, d)."""
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.normal(size=(3, n, d))).unbind()


def slow(anchors, positives, negatives, temperature, weights=None):
    """Eq. 5, word for word, each triplet's two terms times its weight."""

    def likeness(u, v):
        cosine = sum(a * b for a, b in zip(u, v, strict=True)) / (
            math.sqrt(sum(a * a for a in u)) * math.sqrt(sum(b * b for b in v))
        )
        return math.exp(cosine / temperature)

    triples = [z.tolist() for z in (anchors, positives, negatives)]
    total = 0.0
    weights = [1] * len(anchors) if weights is None else weights.tolist()
    for a, p, w in zip(*triples[:2], weights, strict=True):
        hard = sum(likeness(a, n) for n in triples[2])
        total -= w * math.log(likeness(a, p) / (likeness(a, p) + hard))
        back = sum(likeness(p, b) for b in triples[0])
        total -= w * math.log(likeness(p, a) / back)
    return total / len(anchors)


@pytest.mark.parametrize(
    ("n", "d", "temperature", "expected"),
    [
        (4, 8, 0.01, 6.190482291071318),
        (4, 8, 1.0, 1.950332347172305),
        (1, 3, 0.5, 3.928895039397473),
        (2, 3, 0.05, 0.115511712294662),
    ],
)
def test_loss_is_that_of_the_released_code(n, d, temperature, expected):
    z = torch.sin(torch.arange(1, 3 * n * d + 1, dtype=torch.float64)).reshape(3, n, d)
    loss = contrastive_loss(*z, temperature=temperature)
    assert loss.item() == pytest.approx(expected, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("n", [1, 2, 7])
def test_loss_equals_the_slow_loop(n, seed):
    z = batch(n, 4, seed)
    weights = torch.rand(n, dtype=torch.float64) * 2
    for temperature in (0.05, 1.0):
        for w in (None, weights):
            loss = contrastive_loss(*z, temperature=temperature, weights=w)
            assert loss.shape == ()
            assert loss.item() == pytest.approx(slow(*z, temperature, w), rel=1e-9)


def test_loss_does_not_depend_on_the_length_of_vectors():
    z = batch(5, 3)
    lengths = torch.rand(3, 5, 1, dtype=torch.float64) * 100 + 0.01
    scaled = [u * length for u, length in zip(z, lengths, strict=True)]
    expected = contrastive_loss(*z, temperature=0.1)
    torch.testing.assert_close(contrastive_loss(*scaled, temperature=0.1), expected)


def test_loss_does_not_depend_on_the_order_of_the_batch():
    z = batch(6, 3)
    order = [3, 0, 5, 1, 4, 2]
    expected = contrastive_loss(*z, temperature=0.1)
    turned = contrastive_loss(*(u[order] for u in z), temperature=0.1)
    torch.testing.assert_close(turned, expected)


def test_loss_grows_when_the_choices_are_exchanged():
    anchor, other, _ = batch(6, 8)
    near = anchor + 0.1 * other
    right = contrastive_loss(anchor, near, other, temperature=0.1)
    wrong = contrastive_loss(anchor, other, near, temperature=0.1)
    assert right < wrong


def test_gradient_is_that_of_finite_differences():
    z = [u.clone().requires_grad_() for u in batch(3, 4)]
    assert torch.autograd.gradcheck(
        lambda *inputs: contrastive_loss(*inputs, temperature=0.5), z
    )


def test_loss_and_gradient_are_finite_at_low_temperature_in_float32():
    anchor = torch.eye(4, requires_grad=True)
    loss = contrastive_loss(anchor, -anchor, anchor, temperature=0.001)
    loss.backward()
    assert loss.item() > 1000
    assert torch.isfinite(loss)
    assert torch.isfinite(anchor.grad).all()


def test_weights_of_1_give_exactly_the_loss_and_gradient_without_weights():
    results = []
    for weights in (None, torch.ones(5, dtype=torch.float64)):
        z = [u.clone().requires_grad_() for u in batch(5, 3)]
        loss = contrastive_loss(*z, temperature=0.1, weights=weights)
        loss.backward()
        results.append([loss.detach(), *(u.grad for u in z)])
    for without, ones in zip(*results, strict=True):
        assert torch.equal(without, ones)


def test_a_triplet_that_counts_nothing_is_only_a_negative_of_the_others():
    anchor, positive, negative = [u.clone().requires_grad_() for u in batch(4, 3)]
    weights = torch.tensor([2.0, 0.0, 1.0, 1.0], dtype=torch.float64)
    contrastive_loss(
        anchor, positive, negative, temperature=0.5, weights=weights
    ).backward()
    assert (positive.grad[1] == 0).all()
    assert (positive.grad[[0, 2, 3]] != 0).any(dim=1).all()
    assert (anchor.grad[1] != 0).any()
    assert (negative.grad[1] != 0).any()


def test_gradient_of_the_weighted_loss_is_that_of_finite_differences():
    inputs = [u.clone().requires_grad_() for u in batch(3, 4)]
    weights = torch.tensor([0.2, 1.8, 1.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda a, p, n, w: contrastive_loss(a, p, n, temperature=0.5, weights=w),
        [*inputs, weights],
    )


@pytest.mark.parametrize("seed", range(4))
def test_an_answer_weighs_what_it_is_worth_beyond_a_coin(seed):
    confidence = np.random.default_rng(seed).uniform(0.5, 1, size=50)
    given = confidence.copy()
    weights = answer_weights(confidence)
    assert weights.mean() == pytest.approx(1)
    np.testing.assert_allclose(
        weights / weights[0], (2 * given - 1) / (2 * given[0] - 1)
    )
    np.testing.assert_array_equal(confidence, given)


def test_a_coin_weighs_nothing_and_certainty_most():
    assert answer_weights([1.0, 0.5]).tolist() == [2, 0]
    assert answer_weights([0.5, 0.75, 0.75, 1.0]).tolist() == [0, 1, 1, 2]


def test_an_unknown_confidence_weighs_the_mean_of_the_known_ones():
    known = [0.5, 0.6, 0.9, 1.0]
    weights = answer_weights([0.5, np.nan, 0.6, 0.9, np.nan, 1.0])
    np.testing.assert_allclose(weights[[0, 2, 3, 5]], answer_weights(known))
    np.testing.assert_allclose(weights[[1, 4]], 1)


@pytest.mark.parametrize(
    "confidence",
    [
        [0.8] * 7,
        [1.0, 1.0],
        [0.5, 0.5, 0.5],
        [0.7],
        [0.7, np.nan, 0.7, 0.7],
        [0.5, np.nan],
        [np.nan, np.nan],
        [],
    ],
)
def test_equal_or_unknown_confidences_are_no_weights(confidence):
    assert answer_weights(confidence) is None


@pytest.mark.parametrize(
    ("confidence", "message"),
    [
        ([0.9, 0.4], r"in \[0\.5, 1\] or NaN, got 0\.4 at index 1\. An answer that is"),
        ([1.1, 0.9], r"got 1\.1 at index 0"),
        ([np.nan, np.inf], "got inf at index 1"),
        ([-1.0], r"got -1\.0 at index 0"),
        (0.9, r"one-dimensional, got shape \(\)"),
        ([[0.9]], r"one-dimensional, got shape \(1, 1\)"),
        (np.empty((0, 2)), r"one-dimensional, got shape \(0, 2\)"),
    ],
)
def test_a_confidence_that_is_none_is_refused(confidence, message):
    with pytest.raises(ValueError, match=message):
        answer_weights(confidence)
