"""The sum of all hinges of triplets, with no triplet ever written down."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["hinge_sums", "wide"]

# Up to here comparing all with all is faster than sorting.
_DENSE = 16
# Similarities that are sorted at a time: on a CPU they should stay in cache, elsewhere
# there should be few calls.
_CPU_BLOCK = 2**15
_BLOCK = 2**22


def hinge_sums(
    similarity: Tensor, positive: Tensor, negative: Tensor, margin: float
) -> Tensor:
    r"""Sum the hinges of all triplets of each set.

    Parameters
    ----------
    similarity : Tensor of shape (..., N, N)
        Row e holds the similarities to anchor e.
    positive, negative : Tensor of bool, shape (..., N, N)
        Which entities are the positives and the negatives of each anchor. None is both.
    margin : float

    Returns
    -------
    sums : Tensor of shape (...), float64 where the device has it

    Notes
    -----
    Let :math:`a_p = S_{ep} - \gamma` for the positives of an anchor and
    :math:`b_n = S_{en}` for its negatives, :math:`c_n` be the number of positives with
    :math:`a_p < b_n`, and :math:`c_p` that of negatives with :math:`b_n > a_p`. Then

    .. math::

        \sum_{p, n} (b_n - a_p)^+ = \sum_n c_n b_n - \sum_p c_p a_p,

    and :math:`c_n` and :math:`-c_p` are also the derivatives. They are integers,
    found by sorting each row in :math:`O(N \log N)`. The sum is taken in double
    precision, since its two halves nearly cancel.
    """
    sums: Tensor = _Hinges.apply(similarity, positive, negative, margin)  # type: ignore[no-untyped-call]
    return sums


def wide(tensor: Tensor) -> torch.dtype:
    """Tell the widest floating-point type that a tensor's device has."""
    return torch.float32 if tensor.device.type == "mps" else torch.float64


class _Hinges(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, similarity: Tensor, positive: Tensor, negative: Tensor, margin: float
    ) -> Tensor:
        n = similarity.shape[-1]
        count = _count_by_comparing if n <= _DENSE else _count_by_sorting
        rows, low, high = (
            t.reshape(-1, n) for t in (similarity, positive, negative)
        )  # (R, N)
        counts = torch.empty_like(rows, dtype=torch.int32)
        sums = rows.new_empty(len(rows), dtype=wide(rows))
        block = _CPU_BLOCK if rows.device.type == "cpu" else _BLOCK
        size = max(1, block // n)
        for start in range(0, len(rows), size):
            at = slice(start, start + size)
            here = count(rows[at], low[at], high[at], margin)
            values = torch.where(here < 0, rows[at] - margin, rows[at])
            sums[at] = (values.to(sums.dtype) * here).sum(1)
            counts[at] = here
        ctx.save_for_backward(counts.reshape(similarity.shape))
        ctx.dtype = similarity.dtype
        return sums.reshape(similarity.shape[:-1]).sum(-1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (counts,) = ctx.saved_tensors
        gradient = gradients[0].to(ctx.dtype)
        return gradient[..., None, None] * counts, None, None, None


def _count_by_comparing(
    similarity: Tensor, positive: Tensor, negative: Tensor, margin: float
) -> Tensor:
    """Count what exceeds what, one pair at a time; shapes (R, N)."""
    low = torch.where(positive, similarity - margin, torch.inf)
    high = torch.where(negative, similarity, -torch.inf)
    active = high[:, None, :] > low[:, :, None]  # (R, positive, negative)
    return active.sum(1, dtype=torch.int32) - active.sum(2, dtype=torch.int32)


def _count_by_sorting(
    similarity: Tensor, positive: Tensor, negative: Tensor, margin: float
) -> Tensor:
    """Count what exceeds what by the order of each row; shapes (R, N)."""
    # A negative that equals a positive does not exceed it: it must come before.
    low = torch.nextafter(similarity - margin, similarity.new_full((), torch.inf))
    values = torch.where(positive, low, similarity)
    order = torch.where(positive | negative, values, torch.inf).argsort(dim=1)
    is_low, is_high = positive.gather(1, order), negative.gather(1, order)
    below = is_low.cumsum(1, dtype=torch.int32)
    above = is_high.cumsum(1, dtype=torch.int32)
    counts = is_high * below + is_low * (above - above[:, -1:])
    return torch.empty_like(counts).scatter_(1, order, counts)
