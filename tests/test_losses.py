"""The contrastive loss, against the released code's values and a slow loop."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from skllm_cluster.losses import contrastive_loss  # noqa: E402


def batch(n, d, seed=0):
    """Anchors, positives and negatives; three float64 tensors of shape (n, d)."""
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.normal(size=(3, n, d))).unbind()


def slow(anchors, positives, negatives, temperature):
    """Eq. 5, word for word."""

    def likeness(u, v):
        cosine = sum(a * b for a, b in zip(u, v, strict=True)) / (
            math.sqrt(sum(a * a for a in u)) * math.sqrt(sum(b * b for b in v))
        )
        return math.exp(cosine / temperature)

    triples = [z.tolist() for z in (anchors, positives, negatives)]
    total = 0.0
    for a, p in zip(*triples[:2], strict=True):
        hard = sum(likeness(a, n) for n in triples[2])
        total -= math.log(likeness(a, p) / (likeness(a, p) + hard))
        back = sum(likeness(p, b) for b in triples[0])
        total -= math.log(likeness(p, a) / back)
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
    for temperature in (0.05, 1.0):
        loss = contrastive_loss(*z, temperature=temperature)
        assert loss.shape == ()
        assert loss.item() == pytest.approx(slow(*z, temperature), rel=1e-9)


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
